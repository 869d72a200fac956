package cli

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
	"github.com/orchd/orchd/fsm"
)

// loaded is a configuration out of a file that has this below [auth].
func loaded(t *testing.T, auth string) config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "o.toml")
	text := "name = \"h1\"\nadvertise = \"10.0.0.1\"\ndata_dir = \"" + t.TempDir() + "\"\nvmm.driver = \"none\"\n[auth]\n" + auth
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := config.Load(config.Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	return l.Config
}

// TestAuthGiven tells what was said from what is by default: only the one is
// compared with the cluster's settings.
func TestAuthGiven(t *testing.T) {
	files := config.AuthFiles{JWTSecret: "s", JWKS: "{}"}
	for auth, want := range map[string]fsm.AuthChange{
		"":                          {},
		"smd_anonymous = true\n":    {SMDAnonymous: new(true)},
		"anonymous_read = true\n":   {AnonymousRead: new(true)},
		"jwt_role = \"viewer\"\n":   {JWTRole: new(api.RoleViewer)},
		"jwks_file = \"/f\"\n":      {JWKS: new("{}")},
		"jwt_secret_file = \"/f\"":  {JWTSecret: new("s")},
		"issuer = \"i\"\n":          {Issuer: new("i")},
		"audience = \"\"\n":         {Audience: new("")},
		"jwks_url = \"https://h/\"": {JWKS: new("https://h/")},
	} {
		if got := authGiven(loaded(t, auth), files); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", auth, got, want)
		}
	}
}

func TestInitWantsTheFilesOfAuth(t *testing.T) {
	c := loaded(t, "jwt_secret_file = \"/nowhere/secret\"\n")
	err := thisPeer{}.Init(t.Context(), c, nil, io.Discard, slog.New(slog.DiscardHandler))
	if !api.IsKind(err, api.Invalid) || !strings.Contains(err.Error(), "auth.jwt_secret_file: open /nowhere/secret") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(c.DataDir); len(left) > 0 {
		t.Errorf("it made %v all the same", left)
	}
}

// TestServeGoesOnWithoutTheFilesOfAuth: who has sealed a secret in the cluster may
// delete the file.
func TestServeGoesOnWithoutTheFilesOfAuth(t *testing.T) {
	c := loaded(t, "jwt_secret_file = \"/nowhere/secret\"\n")
	var log bytes.Buffer
	err := thisPeer{}.Serve(t.Context(), c, slog.New(slog.NewTextHandler(&log, nil)))
	if !api.IsKind(err, api.NotFound) { // there is no peer in that folder: it came this far
		t.Errorf("got %v, want NotFound", err)
	}
	if !strings.Contains(log.String(), "not compared") {
		t.Errorf("nothing was said:\n%s", log.String())
	}
}

func TestConfigCheckReadsTheFilesOfAuth(t *testing.T) {
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "secret"), filepath.Join(dir, "o.toml")
	if err := os.WriteFile(file, []byte("name = \"h1\"\nadvertise = \"10.0.0.1\"\n[auth]\njwt_secret_file = \""+secret+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t.Context(), App{}, "config", "check", "--config", file); r.code != exitUsage || !strings.Contains(r.stderr, file+":4: auth.jwt_secret_file: open "+secret) {
		t.Errorf("without the file: exit %d\n%s", r.code, r.stderr)
	}
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), App{}, "config", "check", "--config", file)
	if r.code != 0 || !strings.Contains(r.stderr, "less than the 32 bytes") || strings.Contains(r.stderr+r.stdout, "hunter2") {
		t.Errorf("with a weak secret: exit %d, want 0 with a warning\n%s", r.code, r.stderr)
	}
}

func TestDevPeersShareAuth(t *testing.T) {
	d := devCluster{app: &App{Environ: []string{"ORCHD_AUTH__ANONYMOUS_READ=true", "ORCHD_API__PLAIN_LISTEN=127.0.0.1:1", "PATH=/bin"}}}
	got := strings.Join(d.environ(), " ")
	if !strings.Contains(got, "ORCHD_AUTH__ANONYMOUS_READ=true") || strings.Contains(got, "PLAIN_LISTEN") {
		t.Errorf("got %s", got)
	}
}
