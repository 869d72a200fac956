package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSealedValueOpensOnlyAsItWasSealed(t *testing.T) {
	key, other := NewKey("seal-1"), NewKey("seal-2")
	keys := map[string][]byte{key.ID: key.Bytes, other.ID: other.Bytes}
	find := func(id string) ([]byte, bool) { k, ok := keys[id]; return k, ok }
	sealed, err := Seal(key, "bmc-1", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Error("the sealed value shows its plaintext")
	}
	if id, err := KeyID(sealed); err != nil || id != key.ID {
		t.Errorf("KeyID = %q, %v; want %q", id, err, key.ID)
	}
	if got, err := Open(find, "bmc-1", sealed); err != nil || string(got) != "hunter2" {
		t.Errorf("Open = %q, %v; want hunter2", got, err)
	}

	if _, err := Open(find, "bmc-2", sealed); err == nil {
		t.Error("a value opened for another object")
	}
	renamed := bytes.Replace(sealed, []byte("seal-1"), []byte("seal-2"), 1)
	if _, err := Open(find, "bmc-1", renamed); err == nil {
		t.Error("a value opened under another key")
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		if _, err := Open(find, "bmc-1", altered); err == nil {
			t.Errorf("a value opened with byte %d altered", i)
		}
		if _, err := Open(find, "bmc-1", sealed[:i]); err == nil {
			t.Errorf("a value opened though cut at byte %d", i)
		}
	}
	delete(keys, key.ID)
	if _, err := Open(find, "bmc-1", sealed); err == nil || !strings.Contains(err.Error(), key.ID) {
		t.Errorf("without its key: %v; want an error that names %s", err, key.ID)
	}
}

func TestSealRefusesBadKeys(t *testing.T) {
	for name, k := range map[string]Key{
		"no name":   {Bytes: make([]byte, KeySize)},
		"long name": {ID: strings.Repeat("k", 256), Bytes: make([]byte, KeySize)},
		"short":     {ID: "k", Bytes: make([]byte, 16)},
	} {
		if _, err := Seal(k, "o", nil); err == nil {
			t.Errorf("%s: a key was taken that is none", name)
		}
	}
}

func TestWrappedKeyOpensForItsReceiverAndName(t *testing.T) {
	mine, theirs := wrapKey(t), wrapKey(t)
	wrapped, err := Wrap(mine.Public(), "gossip", []byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := mine.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseWrapKey(stored)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Unwrap("gossip", wrapped); err != nil || string(got) != "0123456789abcdef" {
		t.Errorf("Unwrap = %q, %v", got, err)
	}
	if _, err := mine.Unwrap("ca", wrapped); err == nil {
		t.Error("a key opened under another name")
	}
	if _, err := theirs.Unwrap("gossip", wrapped); err == nil {
		t.Error("a key opened for another peer")
	}
	if _, err := (WrapKey{}).Unwrap("gossip", wrapped); err == nil {
		t.Error("a key opened without a wrap key")
	}
	if _, err := Wrap([]byte("short"), "gossip", nil); err == nil {
		t.Error("a key was wrapped to what is no key")
	}
}

func TestSecretNeverShows(t *testing.T) {
	type body struct{ Password Secret }
	var b body
	if err := json.Unmarshal([]byte(`{"Password":"hunter2"}`), &b); err != nil {
		t.Fatal(err)
	}
	if b.Password.Reveal() != "hunter2" {
		t.Fatalf("Reveal = %q, want hunter2", b.Password.Reveal())
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "secret", b.Password, "body", b)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "secret", b.Password, "body", b)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" ", b, b.Password)
	}
	if err := json.NewEncoder(&out).Encode(b); err != nil {
		t.Fatal(err)
	}
	text, _ := b.Password.MarshalText()
	binary, _ := b.Password.MarshalBinary()
	out.Write(text)
	out.Write(binary)
	if shown := out.String(); strings.Contains(shown, "hunter2") || strings.Contains(shown, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("the secret shows:\n%s", shown)
	}
	if err := json.Unmarshal([]byte(`{"Password":4711}`), &b); err == nil || strings.Contains(err.Error(), "4711") {
		t.Errorf("a wrong secret gives %v; want an error that does not quote it", err)
	}
}

func wrapKey(t *testing.T) WrapKey {
	t.Helper()
	k, err := NewWrapKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}
