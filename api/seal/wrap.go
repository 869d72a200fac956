package seal

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"
)

// WrapKey is a peer's private key for receiving the cluster's keys: HPKE base
// mode (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM. Its zero value
// holds no key.
type WrapKey struct{ private hpke.PrivateKey }

// NewWrapKey makes a random key.
func NewWrapKey() (WrapKey, error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return WrapKey{}, fmt.Errorf("make wrap key: %w", err)
	}
	return WrapKey{k}, nil
}

// ParseWrapKey reads what Bytes gave.
func ParseWrapKey(private []byte) (WrapKey, error) {
	k, err := kem().NewPrivateKey(private)
	if err != nil {
		return WrapKey{}, fmt.Errorf("read wrap key: %w", err)
	}
	return WrapKey{k}, nil
}

// IsZero tells whether there is no key.
func (k WrapKey) IsZero() bool { return k.private == nil }

// Bytes is the private key in the form of RFC 9180 (32 bytes), for a file that
// its owner alone may read.
func (k WrapKey) Bytes() ([]byte, error) { return k.private.Bytes() }

// Public is the key that others wrap to (32 bytes).
func (k WrapKey) Public() []byte { return k.private.PublicKey().Bytes() }

// Unwrap opens what Wrap made for this key under the same name.
func (k WrapKey) Unwrap(name string, wrapped []byte) ([]byte, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("unwrap key %q: this peer has no wrap key", name)
	}
	key, err := hpke.Open(k.private, hpke.HKDFSHA256(), hpke.AES256GCM(), info(name), wrapped)
	if err != nil {
		return nil, fmt.Errorf("unwrap key %q: it is not for this peer, has another name, or was altered: %w", name, err)
	}
	return key, nil
}

// Wrap encrypts a small key to the holder of public and binds it to name.
func Wrap(public []byte, name string, key []byte) ([]byte, error) {
	pub, err := kem().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("wrap key %q: the receiver's wrap key is no X25519 public key: %w", name, err)
	}
	wrapped, err := hpke.Seal(pub, hpke.HKDFSHA256(), hpke.AES256GCM(), info(name), key)
	if err != nil {
		return nil, fmt.Errorf("wrap key %q: %w", name, err)
	}
	return wrapped, nil
}

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

func info(name string) []byte { return []byte("orchd key wrap 1 " + name) }
