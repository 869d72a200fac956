package seal

import (
	"bytes"
	"testing"
)

// FuzzOpen: what was not sealed with a key that is known opens with none, for any object.
func FuzzOpen(f *testing.F) {
	key := Key{ID: "seal-1", Bytes: bytes.Repeat([]byte{7}, KeySize)}
	find := func(id string) ([]byte, bool) { return key.Bytes, id == key.ID }
	sealed, err := Seal(key, "bmc-1", []byte("hunter2"))
	if err != nil {
		f.Fatal(err)
	}
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
