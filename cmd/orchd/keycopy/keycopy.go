// Package keycopy reads and writes copies of a cluster's keys: a JSON document
// (api.KeyDocument) in a file that age opens (https://age-encryption.org).
package keycopy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster/ca"
)

// Format is the format of the documents that this program reads and writes.
const Format = 1

// maxFile bounds a document that is read, in bytes.
const maxFile = 4 << 20

// keySize is the size of the keys of gossip and of sealing, in bytes.
const keySize = 32

// Plain names of the keys of each kind; one that was rotated has ".2" and so on behind it.
var plain = map[string]string{api.KeySeal: "key.seal", api.KeyGossip: "key.gossip", api.KeyCA: "key.ca"}

// Encrypt gives a document that whoever the recipient is can open.
func Encrypt(doc api.KeyDocument, to age.Recipient) ([]byte, error) {
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	return out.Bytes(), nil
}

// Lock gives a document that opens with a passphrase (age, scrypt).
func Lock(doc api.KeyDocument, passphrase string) ([]byte, error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	return Encrypt(doc, to)
}

// Unlock opens what Lock gave. The error says what is wrong with the file or the passphrase.
func Unlock(file []byte, passphrase string) (api.KeyDocument, error) {
	with, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return api.KeyDocument{}, err
	}
	return Open(file, with)
}

// Open decrypts a document and checks that it is whole: what is in it are the keys that it
// says. The error says what is wrong.
func Open(file []byte, with age.Identity) (doc api.KeyDocument, err error) {
	r, err := age.Decrypt(bytes.NewReader(file), with)
	var stranger *age.NoIdentityMatchError
	switch {
	case errors.As(err, &stranger):
		return doc, errors.New("it does not open: the passphrase is not the one that it was made with, or it was encrypted to somebody else")
	case err != nil:
		return doc, fmt.Errorf("it is no file of age's, or damaged: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return doc, fmt.Errorf("it is damaged: %w", err)
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return doc, fmt.Errorf("it opens, and holds no keys of a cluster: %w", err)
	}
	if doc.Format != Format {
		return doc, fmt.Errorf("its format is %d, this program reads %d: take the release of orchd that wrote it", doc.Format, Format)
	}
	return doc, sound(doc)
}

// sound checks that keys are what they are said to be.
func sound(doc api.KeyDocument) error {
	if doc.ClusterID == "" {
		return errors.New("it names no cluster")
	}
	if len(doc.InUse) != len(api.KeyKinds) {
		return fmt.Errorf("%d keys are in use in it, want %d", len(doc.InUse), len(api.KeyKinds))
	}
	for _, name := range doc.InUse {
		if len(doc.Keys[name]) == 0 {
			return fmt.Errorf("%s is in use and not in it", name)
		}
	}
	for _, kind := range api.KeyKinds {
		if InUse(doc, kind) == "" {
			return fmt.Errorf("no key of kind %s is in use in it", kind)
		}
	}
	for name, key := range doc.Keys {
		cert, isCA := doc.Authorities[name]
		if isCA {
			if _, err := ca.Parse(doc.ClusterID, []byte(cert), key); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		} else if len(key) != keySize {
			return fmt.Errorf("%s has %d bytes, not %d", name, len(key), keySize)
		}
	}
	if name := InUse(doc, api.KeyCA); doc.Authorities[name] == "" {
		return fmt.Errorf("the certificate of %s is not in it", name)
	}
	return nil
}

// InUse is the name of the key of one kind that is in use; empty: none.
func InUse(doc api.KeyDocument, kind string) string {
	for _, name := range doc.InUse {
		if Is(name, kind) {
			return name
		}
	}
	return ""
}

// Is tells whether a key of that name is of that kind.
func Is(name, kind string) bool {
	return name == plain[kind] || strings.HasPrefix(name, plain[kind]+".")
}
