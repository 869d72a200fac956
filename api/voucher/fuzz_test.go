package voucher

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// FuzzVerify: a voucher holds for the text that was signed and for none else, whatever
// names and pins are put together, and in the one spelling that it was given.
func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	text := JoinText("pin", []byte("public"), "h2")
	good := Sign(key, text)
	f.Add(good.Key, good.Signature, "pin", []byte("public"), "h2")
	f.Add(good.Key, good.Signature, "pin\nx", []byte("public"), "h2")
	f.Add(strings.ToUpper(good.Key), good.Signature, "pin", []byte("public"), "h2\n")
	f.Add("", "", "", []byte(nil), "")
	f.Fuzz(func(t *testing.T, public, signature, pin string, newcomer []byte, name string) {
		v := api.Voucher{Key: public, Signature: signature}
		asked := JoinText(pin, newcomer, name)
		if Verify(v, asked) == nil && v.Key == good.Key && asked != text {
			t.Errorf("%+v holds for %q", v, asked)
		}
		if Verify(v, ImageText(name)) == nil && v.Key == good.Key {
			t.Errorf("%+v of a host holds for an image", v)
		}
		if k, err := ParseKey(public); err == nil {
			if again, err := ParseKey(FormatKey(k)); err != nil || !again.Equal(k) {
				t.Errorf("a key read again: %v", err)
			}
			c := Certify(k, good.Key, 1, 2)
			if !IsKey(c.IssuedBy) || len(c.Signature) != 2*ed25519.SignatureSize {
				t.Errorf("a certificate by %q with the signature %q", c.IssuedBy, c.Signature)
			}
		}
	})
}
