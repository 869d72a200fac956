package fsm

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestAuthSettingsWhereNothingIsSet(t *testing.T) {
	want := AuthSettings{SMDAnonymous: true, JWTRole: api.RoleAdmin}
	if got := newLog(t, "a").m.Read().Auth(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAuthSettingsAreSeededOnceAndThenAnAdmins(t *testing.T) {
	l := newLog(t, "a", "b")
	seed := authSet{
		Values: map[string]string{SettingJWKS: "https://issuer/keys", SettingIssuer: "i", SettingAudience: "f", SettingAnonymousRead: "true", SettingSMDAnonymous: "false", SettingJWTRole: "viewer"},
		Secret: secretWrite{Given: true, Sealed: []byte("sealed")},
	}
	for _, who := range []api.Actor{operator, {ID: "x", Role: api.RoleViewer}, {ID: "x", Role: api.RoleAdmin, Account: "default"}, ActorOfPeer("stranger")} {
		l.refused(api.Forbidden, who, setAuth, seed)
	}
	l.must(ActorOfPeer("a"), setAuth, seed)
	want := AuthSettings{JWTSecret: []byte("sealed"), JWKS: "https://issuer/keys", Issuer: "i", Audience: "f", AnonymousRead: true, JWTRole: api.RoleViewer}
	if got := l.m.Read().Auth(); !reflect.DeepEqual(got, want) {
		t.Errorf("seeded: got %+v, want %+v", got, want)
	}
	l.refused(api.Forbidden, ActorOfPeer("b"), setAuth, seed) // a joining peer with other values changes nothing

	changed := l.m.Read().SettingsChanged()
	l.must(admin, setAuth, authSet{Values: map[string]string{SettingAudience: "g"}})
	want.Audience = "g"
	if got := l.m.Read().Auth(); !reflect.DeepEqual(got, want) {
		t.Errorf("after one change: got %+v, want %+v", got, want)
	}
	select {
	case <-changed:
	default:
		t.Error("who watches the settings was not woken")
	}
	l.must(admin, setAuth, authSet{Secret: secretWrite{Given: true}})
	if got := l.m.Read().Auth().JWTSecret; got != nil {
		t.Errorf("the secret was taken away, and is %q", got)
	}
}

func TestWrongAuthSettings(t *testing.T) {
	l := newLog(t, "a")
	for name, value := range map[string]string{
		SettingJWTRole: "peer", SettingAnonymousRead: "yes", SettingSMDAnonymous: "", SettingIssuer: strings.Repeat("x", maxAuthValue+1), SettingVoters: "5", KeyCA: "x",
	} {
		err := l.refused(api.Invalid, admin, setAuth, authSet{Values: map[string]string{SettingAudience: "must not come in alone", name: value}})
		if len(err.Fields) != 1 || err.Fields[0].Pointer != "/"+name || strings.Contains(err.Fields[0].Detail, value) && value != "" {
			t.Errorf("%s: got %+v, want a pointer to it, and not its value", name, err.Fields)
		}
	}
	if got := l.m.Read().Setting(SettingAudience); got != "" {
		t.Errorf("a refused change left %q", got)
	}
	l.refused(api.Invalid, admin, setAuth, authSet{Secret: secretWrite{Given: true, Sealed: make([]byte, maxAuthValue+1)}})
}

// marking is a Sealer that shows what it was asked.
type marking struct{}

func (marking) Seal(purpose string, plaintext []byte) ([]byte, error) {
	return []byte(purpose + "|" + string(plaintext)), nil
}

// atOnce is a Proposer that applies what it is given.
type atOnce struct{ *log }

func (p atOnce) Propose(_ context.Context, command []byte) ([]byte, error) {
	p.index++
	return p.m.Apply(p.index, 0, p.at, command).(Result).MarshalBinary()
}

func TestWriterSealsTheJWTSecret(t *testing.T) {
	l := newLog(t, "a")
	w := NewWriter(atOnce{l}, nil, marking{})
	secret, role, on := "s3cret", api.RoleOperator, true
	ctx := api.WithCaller(t.Context(), api.Caller{Actor: admin})
	if err := w.SetAuth(ctx, AuthChange{JWTSecret: &secret, JWTRole: &role, AnonymousRead: &on}); err != nil {
		t.Fatal(err)
	}
	want := AuthSettings{JWTSecret: []byte("auth.jwt_secret|s3cret"), AnonymousRead: true, SMDAnonymous: true, JWTRole: role}
	if got := l.m.Read().Auth(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
