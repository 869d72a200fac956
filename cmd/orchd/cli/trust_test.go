package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/voucher"
)

// RFC 8032, section 7.1, test 1.
const (
	trustSeed   = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
	trustPublic = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)

// keyFile is a file with that key.
func keyFile(t *testing.T, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "me.key")
	if err := errors.Join(os.WriteFile(path, []byte(trustSeed+"\n"), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func offline(t *testing.T, args ...string) result {
	t.Helper()
	return run(t.Context(), App{}, args...)
}

func TestTrustKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.key")
	made := offline(t, "trust", "key", path)
	info, err := os.Stat(path)
	if err != nil || made.code != 0 || info.Mode().Perm() != 0o600 || !voucher.IsKey(strings.TrimSuffix(made.stdout, "\n")) {
		t.Fatalf("exit %d, %q, %q, %v, %v", made.code, made.stdout, made.stderr, info, err)
	}
	if r := offline(t, "trust", "public", path); r.code != 0 || r.stdout != made.stdout {
		t.Errorf("public: exit %d, %q, want %q", r.code, r.stdout, made.stdout)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again := offline(t, "trust", "key", path)
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) || again.code != exitConflict || again.stdout != "" || !strings.Contains(again.stderr, "is there already") {
		t.Errorf("again: exit %d, %q, %q, changed %v, %v", again.code, again.stdout, again.stderr, string(after) != string(before), err)
	}
	if r := offline(t, "trust", "public", keyFile(t, 0o600), "-o", "json"); r.code != 0 || r.stdout != "{\n  \"key\": \""+trustPublic+"\"\n}\n" {
		t.Errorf("as JSON: exit %d, %q", r.code, r.stdout)
	}
}

func TestTrustStatements(t *testing.T) {
	path, other := keyFile(t, 0o400), strings.Repeat("ab", 32)
	key, err := voucher.ParseKey(trustSeed)
	if err != nil {
		t.Fatal(err)
	}
	line := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	until := func(days int) int64 { return now.Add(time.Duration(days) * 24 * time.Hour).Unix() }
	for args, want := range map[string]string{
		"certify":           line(voucher.Certify(key, other, now.Unix(), until(365))),
		"certify --days 30": line(voucher.Certify(key, other, now.Unix(), until(30))),
		"revoke":            line(voucher.Revoke(key, other, now.Unix())),
	} {
		all := append([]string{"trust"}, strings.Fields(args)...)
		if r := offline(t, append(all, "--for", other, "--key", path)...); r.code != 0 || r.stdout != want {
			t.Errorf("%s: exit %d %s, %q, want %q", args, r.code, r.stderr, r.stdout, want)
		}
	}
}

func TestTrustRefused(t *testing.T) {
	good, open, other := keyFile(t, 0o600), keyFile(t, 0o640), strings.Repeat("ab", 32)
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct{ line, want string }{
		{"trust certify --for " + other, `required flag(s) "key" not set`},
		{"trust certify --key " + good, `required flag(s) "for" not set`},
		{"trust certify --for anna --key " + good, `--for wants a public key, 64 of 0-9 and a-f as orchd trust public prints it, got "anna"`},
		{"trust certify --for " + trustPublic + " --key " + good, "nobody vouches for himself"},
		{"trust certify --days 0 --for " + other + " --key " + good, "--days wants 1 to 36500, got 0"},
		{"trust certify --for " + other + " --key " + open, "close it: chmod 600 " + open},
		{"trust revoke --for " + other + " --key " + none, "make one: orchd trust key " + none},
		{"trust public " + os.DevNull, "others on this host can get at the key"},
		{"trust weight anna", "KEY wants a public key"},
		{"join h1 --token a.b.c --trust-key " + open, "close it: chmod 600 " + open},
		{"image create d --file x --trust-key " + none, "make one: orchd trust key " + none},
		{"image create d --path /x --trust-key " + good, "--trust-key: orchd does not check files that lie on all peers"},
		{"image create d --kernel /x --trust-key " + good, "--trust-key: orchd does not check files that lie on all peers"},
		{"image create d --peer h1 --path /x --trust-key " + good, "--trust-key with --peer needs --sha256"},
	} {
		f, d := newFake(t), &recorder{}
		r := run(t.Context(), App{Daemon: d, Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}, strings.Fields(c.line)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || r.stdout != "" || len(f.asked) > 0 || len(d.did) > 0 {
			t.Errorf("orchd %s: exit %d, %q, asked %v, did %v; want 2 and %q", c.line, r.code, r.stderr, f.asked, d.did, c.want)
		}
	}
	wrong := keyFile(t, 0o600)
	if err := os.WriteFile(wrong, []byte(trustSeed[:60]), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := offline(t, "trust", "public", wrong); r.code != exitUsage || !strings.Contains(r.stderr, wrong+": a key is the seed of an Ed25519 one") {
		t.Errorf("half a key: exit %d, %q", r.code, r.stderr)
	}
}

func TestTrustWeight(t *testing.T) {
	graph := api.ServiceView{Service: api.Service{ID: spellID, Scope: api.ScopeCluster, Alias: trustService, CallTTL: 60}, Functions: []api.ServiceFunction{{Name: "get_weight", Role: api.RoleViewer}}}
	const path = "POST /v1/services/" + spellID + "/get_weight"
	with := func(answer string) *fake {
		return newFake(t).answer("GET /v1/services/trust-graph", graph).text(path, answer)
	}
	f := with(`{"key":"` + trustPublic + `","weight":50}`)
	if r := f.run("trust", "weight", trustPublic); r.code != 0 || r.stdout != "50\n" ||
		strings.Join(f.asked, "; ") != "GET /v1/services/trust-graph?scope=cluster; "+path+` {"key":"`+trustPublic+`"}` {
		t.Errorf("exit %d, %q, %q, asked %v", r.code, r.stdout, r.stderr, f.asked)
	}
	if r := f.run("trust", "weight", trustPublic, "-o", "json"); r.code != 0 || !strings.Contains(r.stdout, `"weight": 50`) {
		t.Errorf("as JSON: exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if r := with(`[]`).run("trust", "weight", trustPublic); r.code != exitFailed || !strings.Contains(r.stderr, "answers in another way") {
		t.Errorf("another package: exit %d, %q", r.code, r.stderr)
	}
	missing := newFake(t).answer("GET /v1/services/trust-graph", &api.Error{Kind: api.NotFound, Msg: `no service "trust-graph"`})
	if r := missing.run("trust", "weight", trustPublic); r.code != exitNotFound || !strings.Contains(r.stderr, "see orchd package list") {
		t.Errorf("no package: exit %d, %q", r.code, r.stderr)
	}
}

// TestTrustKeysSign: join hands the key on, image create signs the sum of what it sends.
func TestTrustKeysSign(t *testing.T) {
	path := keyFile(t, 0o600)
	key, err := voucher.ParseKey(trustSeed)
	if err != nil {
		t.Fatal(err)
	}
	d := &recorder{}
	r := run(t.Context(), App{Daemon: d, Environ: daemonEnv(t)}, "join", "h1:7700", "--token", "a.b.c", "--no-serve", "--trust-key", path)
	if r.code != 0 || !key.Equal(d.key) {
		t.Errorf("join: exit %d, %q, key %v", r.code, r.stderr, d.key != nil)
	}
	content := aDisk()
	sent := func(asked []string) (want api.ImageCreate) {
		t.Helper()
		for _, line := range asked {
			if body, create := strings.CutPrefix(line, "POST /v1/images "); create {
				if err := json.Unmarshal([]byte(body), &want); err != nil {
					t.Fatal(err)
				}
			}
		}
		return want
	}
	signs := func(what string, r result, want api.ImageCreate, sum string) {
		t.Helper()
		if r.code != 0 || want.Voucher == nil || want.SHA256 != sum || *want.Voucher != voucher.Sign(key, voucher.ImageText(sum)) {
			t.Errorf("%s: exit %d, %q, sent %+v", what, r.code, r.stderr, want)
		}
	}
	p := newImagePeer(t, api.Image{})
	r = p.run("image", "create", "d", "--file", diskFile(t, content), "--trust-key", path)
	signs("a file", r, sent(p.asked), sumOf(content))
	f := newFake(t).answer("POST /v1/images", api.Image{ID: "i1", Name: "d", State: api.ImagePending})
	r = f.run("image", "create", "d", "--url", "https://x.org/d", "--sha256", sumOf(content), "--no-wait", "--trust-key", path)
	signs("a URL", r, sent(f.asked), sumOf(content))
	p = newImagePeer(t, api.Image{})
	if r := p.run("image", "create", "d", "--file", diskFile(t, content)); r.code != 0 || sent(p.asked).Voucher != nil {
		t.Errorf("without a key: exit %d, %q, sent %+v", r.code, r.stderr, sent(p.asked))
	}
}

// TestUnsignedImage: no role helps, so none is advised.
func TestUnsignedImage(t *testing.T) {
	unsigned := &api.Error{Kind: api.Forbidden, Msg: "trust.image_weight is 100, and nobody has signed this"}
	r := newFake(t).answer("POST /v1/images", unsigned).run("image", "create", "d", "--path", "/x")
	if want := "orchd image create: " + unsigned.Msg + "\n"; r.code != exitNotAllowed || r.stderr != want {
		t.Errorf("exit %d, %q, want %q", r.code, r.stderr, want)
	}
}

func TestTabOfTrust(t *testing.T) {
	for line, want := range map[string]string{"trust public ": ":0\n", "trust public me.key ": ":4\n", "trust weight ": ":4\n"} {
		if r := offline(t, append([]string{"__completeNoDesc"}, strings.Split(line, " ")...)...); r.stdout != want {
			t.Errorf("orchd %s<Tab>: got %q, want %q", line, r.stdout, want)
		}
	}
}
