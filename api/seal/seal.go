// Package seal keeps secrets unreadable wherever they lie: it wraps the
// cluster's few keys to one peer's public key, seals values under such a key,
// and gives plaintext a type that prints as ***.
//
// A key reaches a peer as Wrap(peer's public key, name, key) and is opened with
// that peer's WrapKey. A value is sealed with Seal under a named Key and bound to
// the object it belongs to, so that it cannot be moved to another. A Secret is
// such a value in memory.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// KeySize is the length of a sealing key in bytes (AES-256).
const KeySize = 32

// format is the first byte of every sealed value; another layout takes another number.
const format = 1

// maxKeyID is the longest name of a key in bytes: its length takes one byte.
const maxKeyID = 255

var errSealed = errors.New("seal: this is no sealed value")

// Key is a sealing key with the name by which sealed values refer to it.
type Key struct {
	ID    string // 1 to 255 bytes, never used for other bytes again
	Bytes []byte // KeySize bytes
}

// NewKey makes a random key of that name.
func NewKey(id string) Key {
	k := Key{ID: id, Bytes: make([]byte, KeySize)}
	rand.Read(k.Bytes) // never fails: crypto/rand ends the program instead
	return k
}

// Seal encrypts plaintext with AES-256-GCM (NIST SP 800-38D, random 96-bit
// nonce) and binds it to object, the id of what it belongs to. The result
// names the key: {format, length of key id, key id, nonce, ciphertext}.
func Seal(k Key, object string, plaintext []byte) ([]byte, error) {
	if k.ID == "" || len(k.ID) > maxKeyID {
		return nil, fmt.Errorf("seal: a key's name has 1 to %d bytes, not %d", maxKeyID, len(k.ID))
	}
	aead, err := aeadOf(k.Bytes)
	if err != nil {
		return nil, err
	}
	header := append([]byte{format, byte(len(k.ID))}, k.ID...)
	return append(header, aead.Seal(nil, nil, plaintext, bound(header, object))...), nil
}

// Open decrypts what Seal made for the same object. find gives the bytes of a
// key by its id; an unknown key, another object or an altered value is an error.
func Open(find func(id string) ([]byte, bool), object string, sealed []byte) ([]byte, error) {
	id, err := KeyID(sealed)
	if err != nil {
		return nil, err
	}
	key, known := find(id)
	if !known {
		return nil, fmt.Errorf("seal: the value is sealed with key %q, which this peer does not hold", id)
	}
	aead, err := aeadOf(key)
	if err != nil {
		return nil, err
	}
	header, body := sealed[:2+len(id)], sealed[2+len(id):]
	plaintext, err := aead.Open(nil, nil, body, bound(header, object))
	if err != nil {
		return nil, fmt.Errorf("seal: the value does not open with key %q: it was altered, or belongs to another object", id)
	}
	return plaintext, nil
}

// KeyID is the id of the key that a sealed value needs.
func KeyID(sealed []byte) (string, error) {
	if len(sealed) < 2 || sealed[0] != format || sealed[1] == 0 || len(sealed) < 2+int(sealed[1]) {
		return "", errSealed
	}
	return string(sealed[2 : 2+int(sealed[1])]), nil
}

func aeadOf(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("seal: a key has %d bytes, not %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bound is the additional data: header and object. The header says its own
// length, so that no other pair gives the same bytes.
func bound(header []byte, object string) []byte {
	return append(append([]byte{}, header...), object...)
}
