package cli

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// home is a user's home with a profile and a token.
func home(t *testing.T, profile string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".config/orchd/config.toml"), strings.ReplaceAll(profile, "HOME", dir))
	write(t, filepath.Join(dir, "token"), "secret-of-file\n")
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const twoClusters = `current = "lab"
[contexts.lab]
addr = "lab1:7700,lab2:7700"
token_file = "HOME/token"
cacert = "/lab/ca.pem"
[contexts.prod]
addr = "prod1:7700"
`

// TestWhichCluster: the command line, then the environment, then the profile,
// then the peer on this host.
func TestWhichCluster(t *testing.T) {
	user := home(t, twoClusters)
	none := t.TempDir()
	for _, c := range []struct {
		name  string
		flags globals
		env   []string
		addrs []string
		token string
		ca    string
	}{
		{"flag", globals{addr: "a:1,b:2", context: "prod"}, []string{"ORCHD_ADDR=c:3", "HOME=" + user}, []string{"a:1", "b:2"}, "", ""},
		{"environment", globals{}, []string{"ORCHD_ADDR=c:3", "ORCHD_TOKEN=t", "ORCHD_CACERT=/c.pem", "HOME=" + user}, []string{"c:3"}, "t", "/c.pem"},
		{"token file beats the variable", globals{tokenFile: user + "/token"}, []string{"ORCHD_ADDR=c:3", "ORCHD_TOKEN=t"}, []string{"c:3"}, "secret-of-file", ""},
		{"token file variable", globals{}, []string{"ORCHD_ADDR=c:3", "ORCHD_TOKEN_FILE=" + user + "/token"}, []string{"c:3"}, "secret-of-file", ""},
		{"data folder", globals{dataDir: "/srv/o"}, []string{"HOME=" + user}, []string{"unix:///srv/o/orchd.sock"}, "", ""},
		{"profile", globals{}, []string{"HOME=" + user}, []string{"lab1:7700", "lab2:7700"}, "secret-of-file", "/lab/ca.pem"},
		{"context flag", globals{context: "prod"}, []string{"HOME=" + user, "ORCHD_CONTEXT=lab"}, []string{"prod1:7700"}, "", ""},
		{"context flag beats the environment", globals{context: "prod"}, []string{"HOME=" + user, "ORCHD_ADDR=c:3", "ORCHD_DATA_DIR=/srv/o"}, []string{"prod1:7700"}, "", ""},
		{"with its own credential", globals{context: "lab"}, []string{"HOME=" + user, "ORCHD_ADDR=c:3", "ORCHD_TOKEN=t", "ORCHD_CACERT=/c.pem"}, []string{"lab1:7700", "lab2:7700"}, "secret-of-file", "/lab/ca.pem"},
		{"or that of the environment where it has none", globals{context: "prod"}, []string{"HOME=" + user, "ORCHD_TOKEN=t", "ORCHD_CACERT=/c.pem"}, []string{"prod1:7700"}, "t", "/c.pem"},
		{"data folder flag beats the environment", globals{dataDir: "/srv/o"}, []string{"HOME=" + user, "ORCHD_ADDR=c:3"}, []string{"unix:///srv/o/orchd.sock"}, "", ""},
		{"context variable", globals{}, []string{"HOME=" + user, "ORCHD_CONTEXT=prod"}, []string{"prod1:7700"}, "", ""},
		{"this host", globals{}, []string{"HOME=" + none}, []string{"unix:///var/lib/orchd/orchd.sock"}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := App{Environ: append(c.env, "ORCHD_CONFIG="+filepath.Join(none, "none.toml")), flags: c.flags}
			got, err := a.target()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.addrs, c.addrs) || got.token != c.token || got.cacert != c.ca {
				t.Errorf("got %v token %q CA %q, want %v %q %q", got.addrs, got.token, got.cacert, c.addrs, c.token, c.ca)
			}
		})
	}
}

func TestDataFolderOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/o.toml", "data_dir = \""+dir+"/data\"\n")
	write(t, dir+"/data/tls/ca.pem", "x")
	a := App{Environ: []string{"ORCHD_CONFIG=" + dir + "/o.toml"}}
	got, err := a.target()
	if err != nil || got.addrs[0] != "unix://"+dir+"/data/orchd.sock" || got.cacert != dir+"/data/tls/ca.pem" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWrongProfile(t *testing.T) {
	for _, c := range []struct{ profile, context, want string }{
		{"current = \"x\"\nadr = 1\n", "", ".config/orchd/config.toml:2: unknown key adr"},
		{"current = \n", "", ".config/orchd/config.toml:1: "},
		{twoClusters, "prd", `has no context "prd"` + "\ndid you mean prod?"},
		{"[contexts.a]\ncacert = \"x\"\n", "a", "context a has no addr"},
	} {
		r := run(t.Context(), App{Environ: []string{"HOME=" + home(t, c.profile), "ORCHD_CONTEXT=" + c.context}}, "vm", "list")
		if r.code == exitDone || !strings.Contains(r.stderr, c.want) {
			t.Errorf("exit %d, %q; want %q", r.code, r.stderr, c.want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	r := run(t.Context(), App{Environ: []string{"HOME=" + dir}}, "vm", "list", "--data-dir", dir)
	if r.code != exitUnreachable || !strings.Contains(r.stderr, "orchd.sock") || !strings.Contains(r.stderr, "start it with orchd serve") {
		t.Errorf("no socket: exit %d, %q", r.code, r.stderr)
	}
	r = run(t.Context(), App{Environ: []string{"ORCHD_ADDR=127.0.0.1:1"}}, "vm", "list")
	if r.code != exitUnreachable || !strings.Contains(r.stderr, "connection refused\nthe addresses are from ORCHD_ADDR") {
		t.Errorf("no peer: exit %d, %q", r.code, r.stderr)
	}
}

// TestOverTLS: the CA is checked, the token is sent, and the next address is tried when one is silent.
func TestOverTLS(t *testing.T) {
	var bearer string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearer = r.Header.Get("Authorization")
		fmt.Fprint(w, `{"items":[{"name":"default"}],"next":""}`)
	}))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	addr := "127.0.0.1:1," + server.Listener.Addr().String()
	env := []string{"ORCHD_ADDR=" + addr, "ORCHD_TOKEN=t0p"}
	r := run(t.Context(), App{Environ: env}, "account", "list", "-o", "name", "--cacert", ca)
	if r.stdout != "default\n" || bearer != "Bearer t0p" {
		t.Errorf("got %q %q with %q", r.stdout, r.stderr, bearer)
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that must fail
	r = run(t.Context(), App{Environ: env}, "account", "list", "--addr", server.Listener.Addr().String())
	if r.code != exitUnreachable || !strings.Contains(r.stderr, "give the cluster's CA with --cacert") {
		t.Errorf("without the CA: exit %d, %q", r.code, r.stderr)
	}
}
