package builtin_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// key is the private key of somebody, the same in each run.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// public is somebody's public key in hex.
func public(name string) string {
	return hex.EncodeToString(key(name).Public().(ed25519.PublicKey))
}

func signed(by, text string) string {
	return hex.EncodeToString(ed25519.Sign(key(by), []byte(text)))
}

// cert is a certificate by one for another, as the package documents it.
func cert(by, of string, issued, expires int64) map[string]any {
	return map[string]any{"issued_for": public(of), "issued_by": public(by), "issued_at": issued, "expires_at": expires,
		"signature": signed(by, fmt.Sprintf("orchd trust\n%s\n%s\n%d\n%d\n", public(of), public(by), issued, expires))}
}

func revocation(by, of string, at int64) map[string]any {
	return map[string]any{"key": public(of), "revoked_by": public(by), "revoked_at": at,
		"signature": signed(by, fmt.Sprintf("orchd revoke\n%s\n%s\n%d\n", public(of), public(by), at))}
}

func with(name string, v any) string {
	text, err := json.Marshal(map[string]any{name: v})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// trust is a world with a trust graph, whose certificates live a day.
type trust struct{ *world }

func newTrust(t testing.TB, settings map[string]any) trust {
	return trust{newWorld(t, folder(t, "trust-graph", settings))}
}

func (w trust) vouches(by, of string) {
	w.t.Helper()
	now := w.Now().Unix()
	if _, err := w.call(anna, "trust-graph", "insert_cert", with("cert", cert(by, of, now, now+86400))); err != nil {
		w.t.Fatalf("%s for %s: %v", by, of, err)
	}
}

func (w trust) weighs(name string, want int) {
	w.t.Helper()
	got := answers[struct{ Weight int }](w.world, watcher, "trust-graph", "get_weight", `["`+public(name)+`"]`)
	if got.Weight != want {
		w.t.Errorf("%s weighs %d, want %d", name, got.Weight, want)
	}
}

func (w trust) chains(name string) (lengths []string) {
	w.t.Helper()
	got := answers[struct {
		Chains []struct {
			Weight int
			Certs  []map[string]any
		}
	}](w.world, watcher, "trust-graph", "get_all_certs", `["`+public(name)+`"]`)
	for _, c := range got.Chains {
		lengths = append(lengths, fmt.Sprintf("%d:%d", len(c.Certs), c.Weight))
	}
	return lengths
}

func (w trust) root(name string, weight int) {
	w.t.Helper()
	if _, err := w.call(root, "trust-graph", "set_root", fmt.Sprintf(`[%q, %d]`, public(name), weight)); err != nil {
		w.t.Fatal(err)
	}
}

func TestTrustHalvesWithEachLink(t *testing.T) {
	w := newTrust(t, nil)
	w.root("r", 100)
	for _, link := range []string{"ra", "ab", "bc"} {
		w.vouches(link[:1], link[1:])
	}
	for name, want := range map[string]int{"r": 100, "a": 50, "b": 25, "c": 12, "stranger": 0} {
		w.weighs(name, want)
	}
	same(t, "chains of c", w.chains("c"), []string{"3:12"})

	// Of several chains the best one counts; a circle is no chain.
	w.root("s", 80)
	w.vouches("s", "c")
	w.vouches("c", "a")
	w.weighs("c", 40)
	same(t, "chains of c", w.chains("c"), []string{"1:40", "3:12"})
	w.root("s", 0)
	w.weighs("c", 12)
}

func TestTrustExpires(t *testing.T) {
	w := newTrust(t, nil)
	w.root("r", 100)
	w.vouches("r", "a")
	w.pass(12 * time.Hour)
	w.vouches("a", "b")
	w.weighs("b", 25)
	w.pass(13 * time.Hour) // that of a is over, and b's leads nowhere
	w.weighs("a", 0)
	w.weighs("b", 0)
	w.vouches("r", "a")
	w.weighs("b", 25)
}

func TestTrustIsTakenBack(t *testing.T) {
	w := newTrust(t, nil)
	w.root("r", 100)
	w.root("s", 16)
	for _, link := range []string{"ra", "ab", "bc", "sb"} {
		w.vouches(link[:1], link[1:])
	}
	revoke := func(by, of string) {
		t.Helper()
		if _, err := w.call(anna, "trust-graph", "revoke", with("revocation", revocation(by, of, w.Now().Unix()))); err != nil {
			t.Fatal(err)
		}
	}
	revoke("c", "b") // c is beneath b, not above: this means nothing
	w.weighs("b", 25)
	revoke("r", "b") // r is above a, which vouches for b
	w.weighs("b", 8)
	w.weighs("c", 4)
	w.weighs("a", 50)
	w.pass(time.Minute)
	w.vouches("a", "b") // r still does not trust it
	w.weighs("b", 8)
	w.vouches("r", "b")
	w.weighs("b", 50)
}

func TestTrustChainsAreOfSomeLength(t *testing.T) {
	w := newTrust(t, map[string]any{"max_chain_length": int64(2)})
	w.root("r", 100)
	w.vouches("r", "a")
	w.vouches("a", "b")
	now := w.Now().Unix()
	w.refuses(anna, "trust-graph", "insert_cert", with("cert", cert("b", "c", now, now+60)), "as long as it may be")

	w = newTrust(t, nil)
	w.root("r", 2)
	w.vouches("r", "a")
	w.refuses(anna, "trust-graph", "insert_cert", with("cert", cert("a", "b", now, now+60)), "weighs too little")
}

func TestTrustRefuses(t *testing.T) {
	w := newTrust(t, nil)
	w.root("r", 100)
	now := w.Now().Unix()
	changed := func(field string, v any) map[string]any {
		c := cert("r", "a", now, now+60)
		c[field] = v
		return c
	}
	for name, c := range map[string]struct {
		cert   any
		saying string
	}{
		"another's signature":      {changed("signature", signed("a", "x")), "the signature is not that of issued_by"},
		"a longer life":            {changed("expires_at", now+3600), "the signature is not that of issued_by"},
		"another key":              {changed("issued_for", public("b")), "the signature is not that of issued_by"},
		"no signature":             {changed("signature", ""), "128 of 0-9 and a-f"},
		"no key":                   {changed("issued_for", "ABC"), "64 of 0-9 and a-f"},
		"a time in words":          {changed("issued_at", "today"), "whole seconds since 1970"},
		"one that has expired":     {cert("r", "a", now-60, now-1), "has expired"},
		"one of the future":        {cert("r", "a", now+3600, now+7200), "issued in the future"},
		"one for oneself":          {cert("r", "r", now, now+60), "cannot vouch for itself"},
		"one that leads to nobody": {cert("stranger", "a", now, now+60), "weighs too little"},
		"a number":                 {5, "is an object"},
	} {
		t.Run(name, func(t *testing.T) { w.refuses(anna, "trust-graph", "insert_cert", with("cert", c.cert), c.saying) })
	}
	r := revocation("r", "a", now)
	r["key"] = public("b")
	w.refuses(anna, "trust-graph", "revoke", with("revocation", r), "the signature is not that of revoked_by")
	w.refuses(anna, "trust-graph", "revoke", with("revocation", revocation("stranger", "a", now)), "weighs nothing")
	w.refuses(anna, "trust-graph", "set_root", `["`+public("a")+`"]`, "is for admins")
	w.refuses(root, "trust-graph", "set_root", `["`+public("a")+`", 65537]`, "from 0 to 65536")
	w.refuses(watcher, "trust-graph", "get_weight", `["x"]`, "64 of 0-9 and a-f")
}

func TestTrustOfTheSettings(t *testing.T) {
	p := folder(t, "trust-graph", nil)
	now := newWorld(t).Now().Unix()
	text := func(c map[string]any) string {
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	given := map[string]any{
		"root":  []string{public("r") + "=64", public("s")},
		"certs": []string{text(cert("r", "a", now, now+86400)), text(cert("a", "b", now, now+86400)), text(cert("r", "old", now-60, now-1))},
	}
	w := newTrust(t, given)
	for name, want := range map[string]int{"r": 64, "s": 65536, "a": 32, "b": 16, "old": 0} {
		w.weighs(name, want)
	}
	w.root("mine", 10)

	// The same again writes nothing; without s it is no root, what a person set stays one.
	deployer := api.Actor{ID: "deployer", Role: api.RoleAdmin}
	before := w.machine.Index()
	if _, err := w.call(deployer, "trust-graph", "init", "{}"); err != nil || w.machine.Index() != before {
		t.Errorf("init again: %v, and the log went from %d to %d", err, before, w.machine.Index())
	}
	changed, err := p.With(map[string]any{"root": []string{public("r")}})
	w.must(err)
	w.install(changed)
	for name, want := range map[string]int{"r": 65536, "s": 0, "mine": 10, "a": 32768} {
		w.weighs(name, want)
	}
	w.refuses(anna, "trust-graph", "init", "{}", "is for admins")
}

func TestTrustSettingsThatAreWrong(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]any
		saying   string
	}{
		"no key":        {map[string]any{"root": []string{"me"}}, "setting root: a key is an Ed25519 public key"},
		"no weight":     {map[string]any{"root": []string{public("r") + "=70000"}}, "setting root: a weight is"},
		"a cert of air": {map[string]any{"certs": []string{`{"expires_at": 99999999999}`}}, "setting certs: number 1: certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			p := folder(t, "trust-graph", c.settings)
			p.Init = nil
			w := newWorld(t, p)
			w.refuses(root, "trust-graph", "init", "{}", c.saying)
		})
	}
}
