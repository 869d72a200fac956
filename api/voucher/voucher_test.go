package voucher_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/voucher"
)

// RFC 8032, section 7.1, test 1.
const (
	knownSeed   = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
	knownPublic = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)

func known(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	key, err := voucher.ParseKey(knownSeed + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeyOfTheRFC(t *testing.T) {
	key := known(t)
	if got := voucher.Public(key); got != knownPublic {
		t.Errorf("public key %s, want %s", got, knownPublic)
	}
	if got := voucher.FormatKey(key); got != knownSeed+"\n" {
		t.Errorf("written as %q", got)
	}
	const empty = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
	if got := voucher.Sign(key, ""); got != (api.Voucher{Key: knownPublic, Signature: empty}) {
		t.Errorf("signed %+v", got)
	}
}

// TestTexts holds the texts, which others sign too, as they are documented.
func TestTexts(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for name, c := range map[string]struct{ got, want string }{
		"join": {voucher.JoinText("pin", []byte("abc"), "h2"),
			"orchd join\npin\nba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nh2\n"},
		"image": {voucher.ImageText(sum), "orchd image\n" + sum + "\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
}

func TestVerify(t *testing.T) {
	key := known(t)
	join := voucher.JoinText("pin", []byte("abc"), "h2")
	good := voucher.Sign(key, join)
	other := voucher.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), join)
	for name, c := range map[string]struct {
		v    api.Voucher
		text string
		says string
	}{
		"good":                {good, join, ""},
		"another name":        {good, voucher.JoinText("pin", []byte("abc"), "h3"), "is not that of key " + knownPublic},
		"another host":        {good, voucher.JoinText("pin", []byte("abd"), "h2"), "is not that of key"},
		"another cluster":     {good, voucher.JoinText("pim", []byte("abc"), "h2"), "is not that of key"},
		"of something else":   {good, voucher.ImageText("pin"), "is not that of key"},
		"another's signature": {api.Voucher{Key: good.Key, Signature: other.Signature}, join, "is not that of key"},
		"another's key":       {api.Voucher{Key: other.Key, Signature: good.Signature}, join, "is not that of key " + other.Key},
		"no key":              {api.Voucher{Signature: good.Signature}, join, "the key of a voucher"},
		"a key in capitals":   {api.Voucher{Key: strings.ToUpper(good.Key), Signature: good.Signature}, join, "the key of a voucher"},
		"a long key":          {api.Voucher{Key: good.Key + "00", Signature: good.Signature}, join, "the key of a voucher"},
		"no signature":        {api.Voucher{Key: good.Key}, join, "the signature of a voucher"},
		"half a signature":    {api.Voucher{Key: good.Key, Signature: good.Signature[:64]}, join, "the signature of a voucher"},
	} {
		err := voucher.Verify(c.v, c.text)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func TestNoKeys(t *testing.T) {
	for _, text := range []string{"", "rubbish", knownSeed[:62], knownSeed + "00", strings.ToUpper(knownSeed), knownSeed + "\n" + knownSeed} {
		if _, err := voucher.ParseKey(text); err == nil {
			t.Errorf("%q is taken for a key", text)
		}
	}
	if !voucher.IsKey(knownPublic) || voucher.IsKey(knownPublic[1:]) || voucher.IsKey(strings.Repeat("g", 64)) {
		t.Error("IsKey is wrong about what is a public key")
	}
}

// TestStatements: what trust-graph takes is signed over the texts that it documents.
func TestStatements(t *testing.T) {
	key, other := known(t), strings.Repeat("ab", 32)
	signedBy := func(signature, text string) bool {
		b, err := hex.DecodeString(signature)
		return err == nil && ed25519.Verify(key.Public().(ed25519.PublicKey), []byte(text), b)
	}
	c := voucher.Certify(key, other, 100, 200)
	if want := (voucher.Certificate{IssuedFor: other, IssuedBy: knownPublic, IssuedAt: 100, ExpiresAt: 200, Signature: c.Signature}); c != want ||
		!signedBy(c.Signature, "orchd trust\n"+other+"\n"+knownPublic+"\n100\n200\n") {
		t.Errorf("certificate %+v", c)
	}
	r := voucher.Revoke(key, other, 300)
	if want := (voucher.Revocation{Key: other, RevokedBy: knownPublic, RevokedAt: 300, Signature: r.Signature}); r != want ||
		!signedBy(r.Signature, "orchd revoke\n"+other+"\n"+knownPublic+"\n300\n") {
		t.Errorf("revocation %+v", r)
	}
}
