// Package voucher signs for newcomers and images, and checks such signatures.
//
// A signature is an Ed25519 one (RFC 8032) over a text that says what it is for and all
// that it holds for, a line each with a newline at its end. So one for a host is good for
// no other host and in no other cluster, and one for an image for its content alone,
// wherever that key weighs something.
package voucher

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
)

// JoinText is what is signed for a host that wants to be a peer: the pin of the cluster's
// CA as it stands in a join token, the newcomer's public key (PKIX, DER) as it stands in
// its certificate request, and its name.
func JoinText(pin string, public []byte, name string) string {
	sum := sha256.Sum256(public)
	return lines("orchd join", pin, hex.EncodeToString(sum[:]), name)
}

// ImageText is what is signed for an image: the SHA-256 of its content, hexadecimal.
func ImageText(sum string) string { return lines("orchd image", sum) }

func lines(all ...string) string { return strings.Join(all, "\n") + "\n" }

// Sign vouches for a text.
func Sign(key ed25519.PrivateKey, text string) api.Voucher {
	return api.Voucher{Key: Public(key), Signature: hex.EncodeToString(ed25519.Sign(key, []byte(text)))}
}

// Verify tells what is wrong with a voucher for a text. What its key weighs is another question.
func Verify(v api.Voucher, text string) error {
	key, signature := decoded(v.Key, ed25519.PublicKeySize), decoded(v.Signature, ed25519.SignatureSize)
	switch {
	case key == nil:
		return errors.New("the key of a voucher is an Ed25519 public key: 64 of 0-9 and a-f")
	case signature == nil:
		return errors.New("the signature of a voucher is an Ed25519 signature: 128 of 0-9 and a-f")
	case !ed25519.Verify(key, []byte(text), signature):
		return errors.New("the signature is not that of key " + v.Key + " over what it is to vouch for")
	}
	return nil
}

// decoded are the bytes that a text of so many stands for in lower case; nil when it stands for none.
func decoded(text string, size int) []byte {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != size || strings.ToLower(text) != text {
		return nil
	}
	return b
}

// IsKey tells whether a text is a public key as vouchers and the package trust-graph have them.
func IsKey(text string) bool { return decoded(text, ed25519.PublicKeySize) != nil }

// Public is the public key that belongs to a key, hexadecimal, as the package trust-graph names it.
func Public(key ed25519.PrivateKey) string {
	return hex.EncodeToString(key.Public().(ed25519.PublicKey))
}

// ParseKey reads a private key as it stands in a file: the 32 bytes of its seed, hexadecimal.
func ParseKey(text string) (ed25519.PrivateKey, error) {
	seed := decoded(strings.TrimSpace(text), ed25519.SeedSize)
	if seed == nil {
		return nil, errors.New("a key is the seed of an Ed25519 one: 64 of 0-9 and a-f")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// FormatKey is what ParseKey reads.
func FormatKey(key ed25519.PrivateKey) string { return hex.EncodeToString(key.Seed()) + "\n" }

// Certificate is what the package trust-graph takes with insert_cert: its issuer trusts
// a key until it expires. Times are seconds since 1970.
type Certificate struct {
	IssuedFor string `json:"issued_for"`
	IssuedBy  string `json:"issued_by"`
	IssuedAt  int64  `json:"issued_at"`
	ExpiresAt int64  `json:"expires_at"`
	Signature string `json:"signature"`
}

// Certify signs a certificate for a public key, hexadecimal.
func Certify(key ed25519.PrivateKey, public string, issuedAt, expiresAt int64) Certificate {
	c := Certificate{IssuedFor: public, IssuedBy: Public(key), IssuedAt: issuedAt, ExpiresAt: expiresAt}
	c.Signature = Sign(key, lines("orchd trust", c.IssuedFor, c.IssuedBy, strconv.FormatInt(issuedAt, 10), strconv.FormatInt(expiresAt, 10))).Signature
	return c
}

// Revocation is what the package trust-graph takes with revoke: RevokedBy trusts Key no more.
type Revocation struct {
	Key       string `json:"key"`
	RevokedBy string `json:"revoked_by"`
	RevokedAt int64  `json:"revoked_at"`
	Signature string `json:"signature"`
}

// Revoke signs a revocation of a public key, hexadecimal.
func Revoke(key ed25519.PrivateKey, public string, at int64) Revocation {
	r := Revocation{Key: public, RevokedBy: Public(key), RevokedAt: at}
	r.Signature = Sign(key, lines("orchd revoke", r.Key, r.RevokedBy, strconv.FormatInt(at, 10))).Signature
	return r
}
