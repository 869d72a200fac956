package fsm

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// defaultSettings are what holds where nothing is set.
var defaultSettings = api.Settings{Voters: 3, Snapshot: api.SnapshotSettings{Interval: "1h", Retain: 24, Daily: 30, Monthly: 12},
	History: api.HistorySettings{RetainFor: "9600h"}, Auth: api.AuthSettings{SMDAnonymous: true, JWTRole: api.RoleAdmin}}

func TestSettingsWhereNothingIsSet(t *testing.T) {
	r := newLog(t, "a").m.Read()
	if got := r.Settings(); !reflect.DeepEqual(got, defaultSettings) {
		t.Errorf("got %+v, want %+v", got, defaultSettings)
	}
	if r.SnapshotInterval() != time.Hour || r.HistoryRetainFor() != 400*24*time.Hour {
		t.Errorf("the times are %v and %v", r.SnapshotInterval(), r.HistoryRetainFor())
	}
}

// TestSettingsAreSeeded: what the first entry carries holds, but for what cannot.
func TestSettingsAreSeeded(t *testing.T) {
	l := &log{t: t, m: New(), at: epoch0}
	l.must(ActorOfPeer("a"), initCluster, clusterInit{Peer: testPeer("a"), Settings: map[string]string{SettingCluster: "c", SettingVoters: "5",
		SettingSnapshotInterval: SettingDuration(90 * time.Minute), SettingSnapshotRetain: "7", SettingSnapshotDaily: "-1"}})
	want := defaultSettings
	want.Voters, want.Snapshot.Interval, want.Snapshot.Retain = 5, "1h30m", 7
	if got := l.m.Read().Settings(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Second: "1m30s", 9600 * time.Hour: "9600h", 0: "0s", 10 * time.Minute: "10m", time.Hour + 20*time.Minute: "1h20m"} {
		if got := SettingDuration(d); got != want {
			t.Errorf("%v as a setting: got %q, want %q", d, got, want)
		}
	}
}

func TestPatchSettings(t *testing.T) {
	l := newLog(t, "a")
	w, want := NewWriter(atOnce{l}, nil, marking{}), defaultSettings
	const keySet = `{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}` // RFC 7517, appendix A.1
	const keys = "https://issuer.example/keys"
	for _, step := range []struct {
		patch  string
		change func(*api.Settings)
	}{
		{`{}`, func(*api.Settings) {}},
		{`{"voters":5,"snapshot":{"interval":"0s","daily":0}}`, func(s *api.Settings) { s.Voters, s.Snapshot.Interval, s.Snapshot.Daily = 5, "0s", 0 }},
		{`{"snapshot":{"daily":null,"retain":100000},"history":{"retain_for":"24h"}}`, func(s *api.Settings) {
			s.Snapshot.Daily, s.Snapshot.Retain, s.History.RetainFor = 30, 100000, "24h"
		}},
		{`{"auth":{"jwt_secret":"s3cret","jwks":"` + keys + `","issuer":"i","audience":"f","anonymous_read":true,"smd_anonymous":false,"jwt_role":"viewer"}}`, func(s *api.Settings) {
			s.Auth = api.AuthSettings{JWTSecretSet: true, JWKS: keys, Issuer: "i", Audience: "f", AnonymousRead: true, JWTRole: api.RoleViewer}
		}},
		{` {"auth":{"issuer":""},"snapshot":null} `, func(s *api.Settings) { s.Auth.Issuer, s.Snapshot = "", defaultSettings.Snapshot }},
		{`{"auth":{"jwt_secret":null}}`, func(s *api.Settings) { s.Auth.JWTSecretSet = false }},
		{`{"auth":{"jwt_secret":"again","jwks":` + strconv.Quote(keySet) + `}}`, func(s *api.Settings) { s.Auth.JWTSecretSet, s.Auth.JWKS = true, keySet }},
		{`{"auth":null,"voters":null}`, func(s *api.Settings) { s.Auth, s.Voters = defaultSettings.Auth, 3 }},
	} {
		step.change(&want)
		changed := l.m.Read().SettingsChanged()
		got, err := w.PatchSettings(asAdmin(), []byte(step.patch))
		if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(l.m.Read().Settings(), want) {
			t.Fatalf("%s: got %+v, %v; stored %+v; want %+v", step.patch, got, err, l.m.Read().Settings(), want)
		}
		if step.patch == `{}` {
			continue
		}
		select {
		case <-changed:
		default:
			t.Errorf("%s: who watches the settings was not woken", step.patch)
		}
	}
	if l.m.Read().hasAuth() == false {
		t.Error("a peer may seed the settings once more")
	}
}

// TestThePatchedSecretIsSealed: as it is when it is seeded, and one reader sees both.
func TestThePatchedSecretIsSealed(t *testing.T) {
	l := newLog(t, "a")
	w := NewWriter(atOnce{l}, nil, marking{})
	got, err := w.PatchSettings(asAdmin(), []byte(`{"auth":{"jwt_secret":"s3cret"}}`))
	if err != nil || got.Auth.JWTSecret != nil || !got.Auth.JWTSecretSet {
		t.Errorf("got %+v, %v; want to hear that there is a secret, and not which", got.Auth, err)
	}
	if sealed := l.m.Read().Auth().JWTSecret; string(sealed) != SealJWTSecret+"|s3cret" {
		t.Errorf("stored is %q", sealed)
	}
}

func TestPatchesThatAreNone(t *testing.T) {
	l := newLog(t, "a")
	w, before := NewWriter(atOnce{l}, nil, marking{}), l.m.Index()
	for patch, want := range map[string]map[string]string{
		`{"voter":3}`:                       {"/voter": "did you mean voters?"},
		`{"quorum":3}`:                      {"/quorum": "is no setting"},
		`{"auth.jwt_role":"viewer"}`:        {"": `has no setting "auth.jwt_role"`},
		`{"snapshot":{"a/b":1}}`:            {"/snapshot": `has no setting "a/b"`},
		`{"voters":4}`:                      {"/voters": "must be 1, 3 or 5"},
		`{"voters":"3"}`:                    {"/voters": "must be a whole number"},
		`{"voters":3.5}`:                    {"/voters": "must be a whole number"},
		`{"voters":{"voters":3}}`:           {"/voters": "must be a whole number"},
		`{"snapshot":3}`:                    {"/snapshot": "must be an object"},
		`{"snapshot":[]}`:                   {"/snapshot": "must be an object"},
		`{"snapshot":{"retian":3}}`:         {"/snapshot/retian": "did you mean retain?"},
		`{"snapshot":{"retain":0}}`:         {"/snapshot/retain": "must be a whole number from 1 to 100000"},
		`{"snapshot":{"daily":-1}}`:         {"/snapshot/daily": "from 0 to 100000"},
		`{"snapshot":{"monthly":1e5}}`:      {"/snapshot/monthly": "must be a whole number"},
		`{"snapshot":{"interval":"999ms"}}`: {"/snapshot/interval": "must be 0s, or a duration from 1s to 876000h"},
		`{"snapshot":{"interval":3600}}`:    {"/snapshot/interval": "must be a string"},
		`{"snapshot":{"interval":"1 hour"},"history":{"retain_for":"0s"}}`:   {"/snapshot/interval": "must be 0s", "/history/retain_for": "must be a duration from 1h"},
		`{"history":{"retain_for":"-9600h"}}`:                                {"/history/retain_for": "must be a duration"},
		`{"auth":{"jwt_secret_set":true}}`:                                   {"/auth/jwt_secret_set": "only to be read"},
		`{"auth":{"jwt_secret":1}}`:                                          {"/auth/jwt_secret": "must be a string"},
		`{"auth":{"jwt_secret":"` + strings.Repeat("x", maxSecret+1) + `"}}`: {"/auth/jwt_secret": "at most 64 KiB"},
		`{"auth":{"jwt_role":"peer"}}`:                                       {"/auth/jwt_role": "must be viewer"},
		`{"auth":{"anonymous_read":"true"}}`:                                 {"/auth/anonymous_read": "must be true or false"},
		`{"auth":{"jwks":"http://far.example/"}}`:                            {"/auth/jwks": "must be a JWK set"},
		`{"auth":{"jwks":"{}x"}}`:                                            {"/auth/jwks": "must be a JWK set"},
		`{"auth":{"jwt_sceret":"x","issuer":"must not come in"}}`:            {"/auth/jwt_sceret": "did you mean jwt_secret?"},
	} {
		_, err := w.PatchSettings(asAdmin(), []byte(patch))
		if !api.IsKind(err, api.Invalid) {
			t.Errorf("%.80s: got %v", patch, err)
			continue
		}
		got := map[string]string{}
		for _, f := range refusal(err).Fields {
			got[f.Pointer] = f.Detail
		}
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Errorf("%.80s: got %v, want faults at %v", patch, got, want)
		}
		for at, words := range want {
			if !strings.Contains(got[at], words) {
				t.Errorf("%.80s: at %q %q, want %q", patch, at, got[at], words)
			}
		}
	}
	for _, patch := range []string{``, `null`, `[]`, `3`, `{"voters":3`, `{} {}`} {
		if _, err := w.PatchSettings(asAdmin(), []byte(patch)); !api.IsKind(err, api.Malformed) {
			t.Errorf("%q: got %v, want it malformed", patch, err)
		}
	}
	if l.m.Index() != before {
		t.Error("a patch that is wrong got into the log")
	}
}

// TestApplyChecksSettings: whatever proposed them.
func TestApplyChecksSettings(t *testing.T) {
	l := newLog(t, "a")
	for name, value := range map[string]string{SettingVoters: "2", SettingSnapshotRetain: "007", SettingSnapshotInterval: "1ms", SettingHistoryRetainFor: "", SettingJWTRole: "peer",
		SettingLevel: "2", KeySeal: "x", SettingCluster: "d", SettingJWTSecret: "in clear"} {
		err := l.refused(api.Invalid, admin, putSettings, settingsPut{Values: map[string]string{SettingAudience: "must not come in alone", name: value}})
		if len(err.Fields) != 1 || err.Fields[0].Pointer != settingPointer(name) {
			t.Errorf("%s: got %+v, want a pointer to it", name, err.Fields)
		}
	}
	l.refused(api.Invalid, admin, putSettings, settingsPut{Secret: secretWrite{Given: true, Sealed: make([]byte, maxAuthValue+1)}})
	good := settingsPut{Values: map[string]string{SettingVoters: "1"}}
	for _, who := range []api.Actor{operator, viewer, ActorOfPeer("a"), {ID: "x", Role: api.RoleAdmin, Account: "default"}} {
		l.refused(api.Forbidden, who, putSettings, good)
	}
	if got := l.m.Read().Settings(); !reflect.DeepEqual(got, defaultSettings) {
		t.Errorf("refused changes left %+v", got)
	}
}

// TestPatchSettingsOnce: a replay gives the settings as they are now.
func TestPatchSettingsOnce(t *testing.T) {
	l := newLog(t, "a")
	w := NewWriter(atOnce{l}, nil, marking{})
	ctx := api.WithCaller(context.Background(), api.Caller{Actor: admin, Once: &api.OnceKey{Key: "uid:0 PATCH /v1/settings k", Body: []byte("b")}})
	for range 2 {
		if _, err := w.PatchSettings(ctx, []byte(`{"voters":5}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.PatchSettings(asAdmin(), []byte(`{"voters":1,"snapshot":{"retain":9}}`)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.PatchSettings(ctx, []byte(`{"voters":5}`))
	if err != nil || got.Voters != 1 || got.Snapshot.Retain != 9 {
		t.Errorf("replayed: got %+v, %v", got, err)
	}
}
