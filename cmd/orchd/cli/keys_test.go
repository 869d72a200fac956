package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/cmd/orchd/keycopy"
)

func TestKeysStatus(t *testing.T) {
	until := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	k := api.Keys{
		Authorities:  []api.AuthorityView{{Hash: "new", NotAfter: until}, {Hash: "old", NotAfter: until}},
		Certificates: []api.CertificateView{{Peer: "h1", NotAfter: until, Issuer: "new", State: api.CertificateGood}},
		Keys:         []api.KeyView{{Name: "key.ca.2", Kind: api.KeyCA, InUse: true}, {Name: "key.ca", Kind: api.KeyCA}},
		Rotations: []api.KeyRotation{{Kind: api.KeyCA, Step: "issuing", Key: "key.ca.2", Old: "key.ca", NotBefore: &until},
			{Kind: api.KeyGossip, Step: "spreading", Key: "key.gossip.2", Waiting: []string{"h3"}}, {Kind: api.KeySeal, Step: "resealing", Old: "key.seal", Values: 17}},
	}
	r := newFake(t).answer("GET /v1/keys", k).run("keys", "status")
	for _, want := range []string{"h1", "good", "still trusted", "still accepted", "key.ca is accepted until 2026-11-23", "peers h3", "orchd peer remove", "17 values", "both certificates"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, r.stdout)
		}
	}
	if r.code != 0 {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
}

func TestKeysRotate(t *testing.T) {
	begun := api.KeyRotation{Kind: api.KeySeal, Step: "resealing", Key: "key.seal.2", Old: "key.seal"}
	f := newFake(t).answer("POST /v1/keys/rotate", begun)
	if r := f.run("keys", "rotate", "all", "--now"); r.code != 0 || len(f.asked) != 3 || !strings.Contains(r.stderr, "orchd keys status") {
		t.Errorf("exit %d, asked %v, %s", r.code, f.asked, r.stderr)
	}
	if want := `POST /v1/keys/rotate {"kind":"ca","now":true}`; !slices.Contains(f.asked, want) {
		t.Errorf("asked %v; want %s among it", f.asked, want)
	}
	for _, args := range [][]string{{"keys", "rotate", "gosip"}, {"keys", "rotate", "seal", "--now"}, {"keys", "rotate"}} {
		if r := newFake(t).run(args...); r.code != exitUsage {
			t.Errorf("%v: exit %d, %s", args, r.code, r.stderr)
		}
	}
}

// TestKeysCopy: what is locked with a passphrase opens with that one and no other, and a
// copy that is not whole is not taken for good.
func TestKeysCopy(t *testing.T) {
	authority, err := ca.New("c", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	caKey, err := authority.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	key := []byte(strings.Repeat("k", 32))
	doc := api.KeyDocument{Format: 1, ClusterID: "c", MadeAt: time.Now(), Authorities: map[string]string{"key.ca": string(authority.PEM())},
		Keys: map[string][]byte{"key.ca": caKey, "key.gossip": key, "key.seal": key}, InUse: []string{"key.ca", "key.gossip", "key.seal"}}
	dir := t.TempDir()
	put := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const passphrase = "correct horse battery"
	good, bad, short := put("good", []byte(passphrase+"\n")), put("bad", []byte("wrong horse battery\n")), put("short", []byte("horse\n"))
	lock := func(d api.KeyDocument) []byte {
		text, err := keycopy.Lock(d, passphrase)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	locked := func(d api.KeyDocument) string {
		text := lock(d)
		if strings.Contains(string(text), "kkkk") {
			t.Error("the copy shows a key")
		}
		return put("keys.age", text)
	}
	file := locked(doc)
	pin, _ := ca.Hash(authority.PEM())
	if r := newFake(t).run("keys", "export", "--verify", file, "--passphrase-file", good); r.code != 0 || !strings.Contains(r.stdout, "key.gossip") || !strings.Contains(r.stdout, pin) || strings.Contains(r.stdout, "kkkk") {
		t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if r := newFake(t).run("keys", "export", "--verify", file, "--passphrase-file", bad); r.code != exitFailed || !strings.Contains(r.stderr, "make a new one") {
		t.Errorf("with another passphrase: exit %d, %s", r.code, r.stderr)
	}
	if r := newFake(t).run("keys", "export", "--verify", file, "--passphrase-file", short); r.code != exitUsage {
		t.Errorf("with a short passphrase: exit %d, %s", r.code, r.stderr)
	}
	start := func(args ...string) (*recorder, result) {
		d := &recorder{}
		return d, run(t.Context(), App{Daemon: d, Environ: daemonEnv(t)}, append([]string{"init", "--no-serve"}, args...)...)
	}
	if d, r := start("--keys", file, "--passphrase-file", good); r.code != 0 || d.keys == nil || d.keys.ClusterID != "c" || string(d.keys.Keys["key.seal"]) != string(key) {
		t.Errorf("init with the copy: exit %d, %+v, %s", r.code, d.keys, r.stderr)
	}
	to, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	others, err := keycopy.Encrypt(doc, to.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	newer := doc
	newer.Format = 2
	for sentence, args := range map[string][]string{
		"the passphrase is not the one": {"--keys", file, "--passphrase-file", bad},
		"encrypted to somebody else":    {"--keys", put("others.age", others), "--passphrase-file", good},
		"no file of age's":              {"--keys", put("text", []byte("no keys")), "--passphrase-file", good},
		"its format is 2":               {"--keys", put("newer.age", lock(newer)), "--passphrase-file", good},
		"read the copy":                 {"--keys", filepath.Join(dir, "none"), "--passphrase-file", good},
		"read the passphrase":           {"--keys", file, "--passphrase-file", filepath.Join(dir, "none")},
		"passphrase-file":               {"--keys", file},
	} {
		if d, r := start(args...); r.code == 0 || !strings.Contains(r.stderr, sentence) || len(d.did) > 0 {
			t.Errorf("%v: exit %d, did %v, %q; want it to say %q", args, r.code, d.did, r.stderr, sentence)
		}
	}
	delete(doc.Keys, "key.seal")
	if r := newFake(t).run("keys", "export", "--verify", locked(doc), "--passphrase-file", good); r.code != exitFailed || !strings.Contains(r.stderr, "key.seal") {
		t.Errorf("without a key: exit %d, %s", r.code, r.stderr)
	}
}
