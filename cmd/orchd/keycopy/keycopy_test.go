package keycopy

import (
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster/ca"
)

// whole is a document with everything in it; its sealing key has been replaced once.
func whole(t *testing.T) api.KeyDocument {
	t.Helper()
	authority, err := ca.New("c", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	caKey, err := authority.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	key := []byte(strings.Repeat("k", keySize))
	return api.KeyDocument{Format: Format, ClusterID: "c", Authorities: map[string]string{"key.ca": string(authority.PEM())},
		Keys: map[string][]byte{"key.ca": caKey, "key.gossip": key, "key.seal.2": key}, InUse: []string{"key.ca", "key.gossip", "key.seal.2"}}
}

func TestWhatIsLockedOpens(t *testing.T) {
	doc := whole(t)
	file, err := Lock(doc, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unlock(file, "correct horse")
	if err != nil || InUse(got, api.KeySeal) != "key.seal.2" || string(got.Keys["key.seal.2"]) != string(doc.Keys["key.seal.2"]) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := Unlock(file, "wrong horse"); err == nil || !strings.Contains(err.Error(), "the passphrase is not the one") {
		t.Errorf("with another passphrase: %v", err)
	}
}

// TestFilesThatAreCutOff: none of them opens.
func TestFilesThatAreCutOff(t *testing.T) {
	me, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file, err := Encrypt(whole(t), me.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(file) {
		if _, err := Open(file[:cut], me); err == nil {
			t.Errorf("the first %d of %d bytes open", cut, len(file))
		}
	}
}

// TestWhatIsNotWhole is refused, with what is wrong.
func TestWhatIsNotWhole(t *testing.T) {
	me, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for sentence, harm := range map[string]func(*api.KeyDocument){
		"its format is 7":              func(d *api.KeyDocument) { d.Format = 7 },
		"names no cluster":             func(d *api.KeyDocument) { d.ClusterID = "" },
		"2 keys are in use":            func(d *api.KeyDocument) { d.InUse = d.InUse[:2] },
		"key.gossip is in use and not": func(d *api.KeyDocument) { delete(d.Keys, "key.gossip") },
		"no key of kind seal":          func(d *api.KeyDocument) { d.InUse[2] = "key.gossip" },
		"key.seal.2 has 3 bytes":       func(d *api.KeyDocument) { d.Keys["key.seal.2"] = []byte("abc") },
		"key.ca: ":                     func(d *api.KeyDocument) { d.Keys["key.ca"] = d.Keys["key.gossip"] },
		"the certificate of key.ca is no": func(d *api.KeyDocument) {
			delete(d.Authorities, "key.ca")
			d.Keys["key.ca"] = d.Keys["key.gossip"]
		},
	} {
		doc := whole(t)
		harm(&doc)
		file, err := Encrypt(doc, me.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(file, me); err == nil || !strings.Contains(err.Error(), sentence) {
			t.Errorf("got %v, want it to say %q", err, sentence)
		}
	}
}
