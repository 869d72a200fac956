package seal

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// once is "hunter2", sealed for bmc-1 with a key of sevens. It is sealed once for all: those
// who fuzz are several processes, and what one of them sealed the others would call a forgery.
const once = "01067365616c2d31234ff9dd4c4bb39ecff03fa5b3b364547a14be51c9b8e8b3cb6886095627cbe9f228cb"

// FuzzOpen: what was not sealed with a key that is known opens with none, for any object.
func FuzzOpen(f *testing.F) {
	key := Key{ID: "seal-1", Bytes: bytes.Repeat([]byte{7}, KeySize)}
	find := func(id string) ([]byte, bool) { return key.Bytes, id == key.ID }
	sealed, err := hex.DecodeString(once)
	if err != nil {
		f.Fatal(err)
	}
	if b, err := Open(find, "bmc-1", sealed); err != nil || string(b) != "hunter2" {
		f.Fatalf("it opens as %q, %v", b, err)
	}
	f.Add(sealed, "bmc-1")
	f.Add(sealed, "bmc-2")
	f.Add([]byte{1, 6, 's', 'e', 'a', 'l', '-', '1'}, "bmc-1")
	f.Add([]byte{1, 255, 'x'}, "")
	f.Fuzz(func(t *testing.T, b []byte, object string) {
		plaintext, err := Open(find, object, b)
		if err == nil && !(bytes.Equal(b, sealed) && object == "bmc-1") {
			t.Errorf("%x opened for %q: %q", b, object, plaintext)
		}
	})
}

// FuzzWrapKey: keys as they stand in files, and keys that are wrapped to one.
func FuzzWrapKey(f *testing.F) {
	k, err := NewWrapKey()
	if err != nil {
		f.Fatal(err)
	}
	private, err := k.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := Wrap(k.Public(), "key.ca", []byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(private, "key.ca", wrapped)
	f.Add([]byte{}, "", []byte{})
	f.Add(private[1:], "key.gossip", wrapped[:10])
	f.Fuzz(func(t *testing.T, private []byte, name string, wrapped []byte) {
		k, err := ParseWrapKey(private)
		if err != nil {
			return
		}
		k.Unwrap(name, wrapped)
		again, err := Wrap(k.Public(), name, []byte("x"))
		if err != nil {
			t.Fatalf("nothing can be wrapped to a key that was read: %v", err)
		}
		if got, err := k.Unwrap(name, again); err != nil || string(got) != "x" {
			t.Errorf("unwrapped: %q, %v", got, err)
		}
		Wrap(wrapped, name, []byte("x")) // a key that a newcomer sent
	})
}
