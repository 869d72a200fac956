package onehost

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/voucher"
)

// trustKey is the key of somebody, the same in each run.
func trustKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// weightOf is what the cluster says that somebody's key weighs.
func weightOf(t *testing.T, p *Peer, name string) int {
	t.Helper()
	return callInto[struct{ Weight int }](t, p, "trust-graph", "get_weight", fmt.Sprintf(`[%q]`, voucher.Public(trustKey(name)))).Weight
}

// asJSON is a value as an argument of that name.
func asJSON(t *testing.T, name string, v any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{name: v})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// certify lets one key trust another for an hour.
func certify(t *testing.T, p *Peer, by, of string) {
	t.Helper()
	now := time.Now().Unix()
	callInto[json.RawMessage](t, p, "trust-graph", "insert_cert", asJSON(t, "cert", voucher.Certify(trustKey(by), voucher.Public(trustKey(of)), now, now+3600)))
}

// revoke takes that back.
func revoke(t *testing.T, p *Peer, by, of string) {
	t.Helper()
	callInto[json.RawMessage](t, p, "trust-graph", "revoke", asJSON(t, "revocation", voucher.Revoke(trustKey(by), voucher.Public(trustKey(of)), time.Now().Unix())))
}

// trusting starts peers that ask for a weight of 100, of a root that weighs 400: anna has
// 200, bert, whom anna trusts, 100, and carl, whom bert trusts, 50.
func trusting(t *testing.T, n int) *Cluster {
	t.Helper()
	c := Start(t, n, withPackages(t, []string{"trust-graph"}))
	deployed(t, c)
	first := c.Peers[0]
	callInto[json.RawMessage](t, first, "trust-graph", "set_root", fmt.Sprintf(`[%q, 400]`, voucher.Public(trustKey("root"))))
	for _, link := range [][2]string{{"root", "anna"}, {"anna", "bert"}, {"bert", "carl"}} {
		certify(t, first, link[0], link[1])
	}
	for name, want := range map[string]int{"anna": 200, "bert": 100, "carl": 50} {
		if got := weightOf(t, first, name); got != want {
			t.Fatalf("%s weighs %d, want %d", name, got, want)
		}
	}
	patch(t, c, `{"trust":{"join_weight":100,"image_weight":100}}`)
	return c
}

// patch changes settings.
func patch(t *testing.T, c *Cluster, settings string) {
	t.Helper()
	if a := c.Peers[0].Do("PATCH", "/v1/settings", settings, "Content-Type: application/merge-patch+json"); a.Status != 200 {
		t.Fatalf("settings %s: %d %s", settings, a.Status, a.Body)
	}
}

// refused holds that an error is of a kind and says something.
func refused(t *testing.T, what string, err error, kind api.Kind, says string) {
	t.Helper()
	if !api.IsKind(err, kind) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want %s and %q", what, err, kind.Code(), says)
	}
}

// TestJoinsThatMustBeSigned: whoever joins needs a signature with a key that weighs
// enough when it is used, for itself; a refusal leaves its token good.
//
//race:out
func TestJoinsThatMustBeSigned(t *testing.T) {
	c := trusting(t, 2)
	first, second := c.Peers[0], c.Peers[1]
	token := c.JoinToken("1h")
	p := newcomer(t, "h9")
	try := func(through *Peer, signer string) error {
		p.Config.TrustKey = nil
		if signer != "" {
			p.Config.TrustKey = trustKey(signer)
		}
		return p.Join(through, token)
	}
	for _, through := range []*Peer{first, second} { // one leads, the other passes it on
		refused(t, "no signature", try(through, ""), api.Forbidden, "--trust-key FILE")
		refused(t, "a key that nobody trusts", try(through, "stranger"), api.Forbidden, "weighs 0, and trust.join_weight asks for 100")
		refused(t, "a key that weighs too little", try(through, "carl"), api.Forbidden, "weighs 50, and trust.join_weight asks for 100")
	}
	revoke(t, first, "anna", "bert")
	refused(t, "a key that was revoked", try(second, "bert"), api.Forbidden, "weighs 0")
	if err := try(second, "anna"); err != nil {
		t.Fatalf("a key that weighs 200: %v", err)
	}
	revoke(t, first, "root", "anna")
	again := newcomer(t, "h10")
	again.Config.TrustKey = trustKey("anna")
	token = c.JoinToken("1h")
	refused(t, "the same key, revoked since", again.Join(first, token), api.Forbidden, "weighs 0")
	patch(t, c, `{"trust":{"join_weight":null}}`)
	if err := again.Join(first, token); err != nil {
		t.Errorf("nothing is asked for any more: %v", err)
	}
	members := 0
	for range first.Running.Machine().Read().Members() {
		members++
	}
	if members != 4 {
		t.Errorf("there are %d members, want 4", members)
	}
}

// TestImagesThatMustBeSigned: the same of images, on any peer.
//
//race:out
func TestImagesThatMustBeSigned(t *testing.T) {
	c := trusting(t, 2)
	sum := func(content string) string {
		s := sha256.Sum256([]byte(content))
		return hex.EncodeToString(s[:])
	}
	create := func(p *Peer, image api.ImageCreate, signer, text string, opts ...api.CallOption) error {
		if signer != "" {
			v := voucher.Sign(trustKey(signer), text)
			image.Voucher = &v
		}
		_, err := p.Client().CreateImage(t.Context(), image, opts...)
		return err
	}
	disk, text := api.ImageCreate{Name: "disk", SHA256: sum("a")}, voucher.ImageText(sum("a"))
	for _, p := range c.Peers {
		refused(t, "no signature", create(p, disk, "", ""), api.Forbidden, "--trust-key FILE")
		refused(t, "a signature for another content", create(p, disk, "anna", voucher.ImageText(sum("b"))), api.Forbidden, "is not that of key")
		refused(t, "a key that weighs too little", create(p, disk, "carl", text), api.Forbidden, "weighs 50, and trust.image_weight asks for 100")
		refused(t, "no sum", create(p, api.ImageCreate{Name: "disk"}, "anna", text), api.Invalid, "not valid")
		refused(t, "a file on each peer", create(p, api.ImageCreate{Name: "disk", Path: "/srv/disk.raw"}, "anna", text), api.Forbidden, "does not check")
		refused(t, "a kernel", create(p, api.ImageCreate{Name: "tiny", Kind: api.ImageKernel, Kernel: "/srv/vmlinuz"}, "anna", text), api.Forbidden, "does not check")
	}
	once := api.WithKey("disk-1")
	for _, p := range []*Peer{c.Peers[1], c.Peers[0]} { // the answer of the first was lost, say
		if err := create(p, disk, "anna", text, once); err != nil {
			t.Fatalf("%s: a key that weighs 200: %v", p.Name, err)
		}
	}
	if i, err := c.Peers[0].Client().ImageView(t.Context(), "disk"); err != nil || i.SHA256 != disk.SHA256 {
		t.Errorf("the image is %+v, %v", i, err)
	}
	revoke(t, c.Peers[0], "root", "anna")
	other := api.ImageCreate{Name: "other", SHA256: sum("b")}
	refused(t, "a key that was revoked", create(c.Peers[1], other, "anna", voucher.ImageText(sum("b"))), api.Forbidden, "weighs 0")
	if err := create(c.Peers[1], other, "root", voucher.ImageText(sum("b"))); err != nil {
		t.Errorf("the root: %v", err)
	}
}

// TestTrustWithoutItsPackage: while nobody can say what a key weighs, nobody gets in.
//
//race:out
func TestTrustWithoutItsPackage(t *testing.T) {
	c := Start(t, 1, withPackages(t, []string{"none"}))
	patch(t, c, `{"trust":{"join_weight":1}}`)
	token, p := c.JoinToken("1h"), newcomer(t, "h9")
	p.Config.TrustKey = trustKey("anna")
	refused(t, "no package", p.Join(c.Peers[0], token), api.Unavailable, "there is no service trust-graph")
	patch(t, c, `{"trust":{"join_weight":0}}`)
	if err := p.Join(c.Peers[0], token); err != nil {
		t.Errorf("with the same token, when nothing is asked for: %v", err)
	}
}
