package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

// recorder is a Daemon that notes what it is told and serves until the context ends.
type recorder struct {
	did     []string
	token   string
	key     ed25519.PrivateKey
	config  config.Config
	keys    *api.KeyDocument
	refusal error
	serving chan struct{} // closed when Serve has begun; nil: Serve returns at once
}

func (d *recorder) Init(_ context.Context, c config.Config, keys *api.KeyDocument, progress io.Writer, _ *slog.Logger) error {
	d.did, d.config, d.keys = append(d.did, "init"), c, keys
	fmt.Fprintln(progress, "made")
	return d.refusal
}

func (d *recorder) Join(_ context.Context, c config.Config, to Invitation, _ io.Writer, _ *slog.Logger) error {
	d.did, d.config, d.token, d.key = append(d.did, "join "+to.Addr), c, to.Token, to.TrustKey
	return d.refusal
}

func (d *recorder) Serve(ctx context.Context, c config.Config, log *slog.Logger) error {
	d.did, d.config = append(d.did, "serve"), c
	log.Info("serving")
	if d.serving != nil {
		close(d.serving)
		<-ctx.Done()
	}
	return d.refusal
}

// daemonEnv is an environment in which the defaults of a host that has no route do not matter.
func daemonEnv(t *testing.T) []string {
	return []string{"ORCHD_NAME=h9", "ORCHD_ADVERTISE=10.0.0.9", "ORCHD_DATA_DIR=" + filepath.Join(t.TempDir(), "o"), "HOME=" + t.TempDir(),
		"ORCHD_CONFIG=" + os.DevNull, "ORCHD_OUTPUT=nonsense", "ORCHD_TOKEN=from-env"}
}

func TestDaemonVerbs(t *testing.T) {
	for _, c := range []struct{ line, did, token string }{
		{"init", "init serve", ""},
		{"init --no-serve", "init", ""},
		{"join h1:7700 --token a.b.c", "join h1:7700 serve", "a.b.c"},
		{"join h1:7700 --no-serve", "join h1:7700", "from-env"},
		{"serve", "serve", ""},
	} {
		d := &recorder{}
		r := run(t.Context(), App{Daemon: d, Environ: daemonEnv(t)}, strings.Fields(c.line)...)
		if r.code != 0 || strings.Join(d.did, " ") != c.did || d.token != c.token || r.stdout != "" {
			t.Errorf("%s: exit %d, did %v with token %q, stdout %q; want %s, %q\n%s", c.line, r.code, d.did, d.token, r.stdout, c.did, c.token, r.stderr)
		}
	}
}

func TestDaemonFlags(t *testing.T) {
	d := &recorder{}
	r := run(t.Context(), App{Daemon: d, Environ: daemonEnv(t)}, strings.Fields(
		"serve --data-dir /srv/x --name h1 --advertise 10.0.0.1 --api-listen :1 --raft-listen :2 --gossip-listen :3 --driver sim")...)
	c := d.config
	got := fmt.Sprint(c.DataDir, c.Name, c.Advertise, c.API.Listen, c.Raft.Listen, c.Gossip.Listen, c.VMM.Driver)
	if want := fmt.Sprint("/srv/x", "h1", "10.0.0.1", ":1", ":2", ":3", "sim"); r.code != 0 || got != want {
		t.Errorf("exit %d, got %s, want %s\n%s", r.code, got, want, r.stderr)
	}
}

func TestRefusedInit(t *testing.T) {
	d := &recorder{refusal: &api.Error{Kind: api.Conflict, Msg: "/srv/o is not empty"}}
	r := run(t.Context(), App{Daemon: d, Environ: daemonEnv(t)}, "init")
	if r.code != exitConflict || r.stderr != "made\norchd init: /srv/o is not empty\n" {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestServeThatFails(t *testing.T) {
	d := &recorder{refusal: errors.New("bind :7700: in use")}
	if r := run(t.Context(), App{Daemon: d, Environ: daemonEnv(t)}, "serve"); r.code != exitFailed || !strings.Contains(r.stderr, "orchd serve: bind :7700: in use") {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

// TestInitWritesAProfile that later commands find, and leaves one that is there alone.
func TestInitWritesAProfile(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms", page(aVM()))
	env := []string{"HOME=" + t.TempDir(), "ORCHD_NAME=h1", "ORCHD_ADVERTISE=::1", "ORCHD_CONFIG=" + os.DevNull}
	r := run(t.Context(), App{Daemon: &recorder{}, Environ: env}, "init", "--no-serve", "--data-dir", filepath.Dir(f.socket))
	if r.code != 0 {
		t.Fatalf("exit %d, %s", r.code, r.stderr)
	}
	if r := run(t.Context(), App{Environ: env}, "vm", "list", "-o", "name"); r.stdout != "web1\n" {
		t.Errorf("the profile does not lead to the cluster: %q, %q", r.stdout, r.stderr)
	}
	run(t.Context(), App{Daemon: &recorder{}, Environ: env}, "init", "--no-serve", "--data-dir", "/srv/other")
	if r := run(t.Context(), App{Environ: env}, "vm", "list", "-o", "name"); r.stdout != "web1\n" {
		t.Errorf("a second init changed the profile: %q", r.stderr)
	}
}

// TestSystemdIsTold that the peer is ready, once it is, and that it stops.
func TestSystemdIsTold(t *testing.T) {
	f := newFake(t).answer("GET /readyz", &api.Error{Kind: api.Unavailable, Msg: "replaying"}, struct{}{})
	path := filepath.Join(filepath.Dir(f.socket), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan result, 1)
	d := &recorder{serving: make(chan struct{})}
	go func() {
		ended <- run(ctx, App{Daemon: d, Environ: daemonEnv(t)}, "serve", "--data-dir", filepath.Dir(f.socket))
	}()
	if got := datagram(t, systemd); got != "READY=1" {
		t.Errorf("got %q", got)
	}
	if len(f.asked) < 2 {
		t.Errorf("said ready after %v", f.asked)
	}
	stop()
	if got := datagram(t, systemd); got != "STOPPING=1" {
		t.Errorf("got %q", got)
	}
	if r := <-ended; r.code != 0 {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
}

func datagram(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestLogger(t *testing.T) {
	for _, c := range []struct {
		conf config.Log
		want string
	}{
		{config.Log{Level: "info", Format: "auto"}, `"msg":"kept"`}, // no terminal: JSON
		{config.Log{Level: "warn", Format: "text"}, `msg=kept`},
		{config.Log{Level: "error", Format: "json"}, ``},
	} {
		var out bytes.Buffer
		log := logger(&out, c.conf)
		log.Debug("dropped")
		log.Warn("kept")
		if got := out.String(); !strings.Contains(got, c.want) || strings.Contains(got, "dropped") || c.want == "" && got != "" {
			t.Errorf("%+v: got %q", c.conf, got)
		}
	}
}
