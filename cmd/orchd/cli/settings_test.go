package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func theSettings() api.Settings {
	return api.Settings{
		Voters:   3,
		Snapshot: api.SnapshotSettings{Interval: "1h", Retain: 24, Daily: 30, Monthly: 12},
		History:  api.HistorySettings{RetainFor: "9600h"},
		Trust:    api.TrustSettings{JoinWeight: 100},
		Auth:     api.AuthSettings{JWTSecretSet: true, Issuer: "https://issuer", SMDAnonymous: true, JWTRole: api.RoleAdmin},
	}
}

func TestSettingsShow(t *testing.T) {
	for _, format := range []string{"table", "json", "name"} {
		r := newFake(t).answer("GET /v1/settings", theSettings()).run("settings", "show", "-o", format)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%s: exit %d, %q", format, r.code, r.stderr)
		}
		golden(t, "settings-"+format+".golden", r.stdout)
	}
}

func TestSettingsSet(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\nolder\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, patch string }{
		{"snapshot.interval=2h snapshot.retain=48 history.retain_for=2160h", `{"history":{"retain_for":"2160h"},"snapshot":{"interval":"2h","retain":48}}`},
		{"voters=5", `{"voters":5}`},
		{"trust.join_weight=100 trust.image_weight-", `{"trust":{"image_weight":null,"join_weight":100}}`},
		{"snapshot.daily- voters-", `{"snapshot":{"daily":null},"voters":null}`},
		{"auth.anonymous_read=true auth.smd_anonymous=false auth.issuer=a=b auth.audience=", `{"auth":{"anonymous_read":true,"audience":"","issuer":"a=b","smd_anonymous":false}}`},
		{"auth.jwt_secret=@" + secret, `{"auth":{"jwt_secret":"s3cret\nolder"}}`},
		{"auth.jwt_secret=", `{"auth":{"jwt_secret":""}}`},
		{"auth.jwks=@-", `{"auth":{"jwks":"from stdin"}}`},
	} {
		f := newFake(t).answer("PATCH /v1/settings", theSettings())
		a := App{Stdin: strings.NewReader("from stdin"), Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}
		r := run(t.Context(), a, append([]string{"settings", "set"}, strings.Fields(c.line)...)...)
		if r.code != 0 || len(f.asked) != 1 || f.asked[0] != "PATCH /v1/settings "+c.patch {
			t.Errorf("%s: exit %d %s, asked %v, want %s", c.line, r.code, r.stderr, f.asked, c.patch)
		}
		if f.header.Get("Idempotency-Key") == "" || !strings.Contains(r.stdout, "snapshot.interval") {
			t.Errorf("%s: header %v, shown %q", c.line, f.header, r.stdout)
		}
	}
}

func TestSettingsRefused(t *testing.T) {
	for _, c := range []struct{ line, stderr string }{
		{"", "want: orchd settings set NAME=VALUE..."},
		{"voters", `want NAME=VALUE, or NAME- for the default, got "voters"`},
		{"voters=many", `voters: want a whole number, got "many"`},
		{"auth.anonymous_read=1", `auth.anonymous_read: want true or false, got "1"`},
		{"snapshot.intervall=2h", "did you mean snapshot.interval?"},
		{"auth.jwt_secret=hunter2", "put it into a file and give auth.jwt_secret=@FILE"},
		{"auth.jwks=@/does/not/exist", "no such file"},
	} {
		f := newFake(t)
		r := f.run(append([]string{"settings", "set"}, strings.Fields(c.line)...)...)
		if r.code == 0 || !strings.Contains(r.stderr, c.stderr) || len(f.asked) != 0 {
			t.Errorf("%s: exit %d, %q, asked %v; want %q", c.line, r.code, r.stderr, f.asked, c.stderr)
		}
	}
	wrong := &api.Error{Kind: api.Invalid, Msg: "the request is not valid: see errors", Fields: []api.FieldError{{Pointer: "/snapshot/retain", Detail: "expected number >= 1"}}}
	r := newFake(t).answer("PATCH /v1/settings", wrong).run("settings", "set", "snapshot.retain=0")
	if r.code != exitUsage || !strings.Contains(r.stderr, "snapshot/retain must be at least 1") {
		t.Errorf("refused by the peer: exit %d, %q", r.code, r.stderr)
	}
}

func TestSettingsComplete(t *testing.T) {
	r := run(t.Context(), App{}, "__completeNoDesc", "settings", "set", "snapshot.daily-", "snapshot.retain=3", "snapshot.")
	if want := "voters= snapshot.interval= snapshot.monthly= history.retain_for= "; !strings.HasPrefix(strings.ReplaceAll(r.stdout, "\n", " "), want) {
		t.Errorf("got %s, want those that are left: %s...", r.stdout, want)
	}
	if !strings.HasSuffix(r.stdout, ":6\n") {
		t.Errorf("got %s, want no space behind the name", r.stdout)
	}
}
