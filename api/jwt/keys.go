package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// The algorithms that are taken (RFC 7518, section 3.1; RFC 8037).
const (
	hs256 = "HS256"
	rs256 = "RS256"
	es256 = "ES256"
	eddsa = "EdDSA"
)

func isPublicAlgorithm(alg string) bool { return alg == rs256 || alg == es256 || alg == eddsa }

const (
	minRSABits = 2048 // RFC 7518, section 3.3
	maxKeys    = 64   // of one set: each may have to be tried for a token that names none
)

// key is a public key and the one algorithm that it verifies here.
type key struct {
	alg, kid string
	public   any
}

func (k key) algorithm() jwa.SignatureAlgorithm {
	switch k.alg {
	case rs256:
		return jwa.RS256()
	case es256:
		return jwa.ES256()
	}
	return jwa.EdDSA()
}

type keys []key

// fitting are the keys that may have signed a token with that header: a key, or
// a token, without a kid fits any.
func (ks keys) fitting(h header) keys {
	return slices.DeleteFunc(slices.Clone(ks), func(k key) bool {
		return k.alg != h.alg || h.kid != "" && k.kid != "" && k.kid != h.kid
	})
}

// hasNamed tells whether one of the keys is surely the one that the header means.
func (ks keys) hasNamed(h header) bool {
	return slices.ContainsFunc(ks, func(k key) bool { return h.kid == "" || k.kid == h.kid })
}

// parseKeys reads a JWK set (RFC 7517). Keys that serve for something else are
// passed over, as section 5 asks; a secret key among them is an error, for whoever
// could read the set can sign with it.
func parseKeys(doc []byte) (keys, error) {
	set, err := jwk.Parse(doc, jwk.WithIgnoreParseError(true))
	if err != nil {
		return nil, errors.New("this is no JWK set (RFC 7517)") // the cause may quote the document
	}
	var all keys
	for i := range set.Len() {
		one, _ := set.Key(i)
		kid, _ := one.KeyID()
		if isSecret(one) {
			return nil, fmt.Errorf("the JWK set holds a secret key (number %d, kid %q); publish public keys only, and make a new pair", i+1, kid)
		}
		if alg, public, ok := usable(one); ok {
			all = append(all, key{alg, kid, public})
		}
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("of %d keys in the JWK set none verifies RS256 (RSA of %d bits or more), ES256 (P-256) or EdDSA (Ed25519)", set.Len(), minRSABits)
	case len(all) > maxKeys:
		return nil, fmt.Errorf("the JWK set has %d keys, at most %d are taken", len(all), maxKeys)
	}
	return all, nil
}

// isSecret tells whether a key can sign.
func isSecret(k jwk.Key) bool {
	if k.KeyType() == jwa.OctetSeq() {
		return true
	}
	private, err := jwk.IsPrivateKey(k)
	return err == nil && private
}

// usable gives the algorithm that a key serves by its type, if what the set says of
// it allows that.
func usable(k jwk.Key) (alg string, public any, ok bool) {
	if jwk.Export(k, &public) != nil {
		return "", nil, false
	}
	switch p := public.(type) {
	case *rsa.PublicKey:
		alg, ok = rs256, p.N.BitLen() >= minRSABits && p.E >= 3
	case *ecdsa.PublicKey:
		alg, ok = es256, p.Curve == elliptic.P256()
	case ed25519.PublicKey:
		alg, ok = eddsa, len(p) == ed25519.PublicKeySize
	}
	return alg, public, ok && saysNothingElse(k, alg)
}

// saysNothingElse tells whether alg, use and key_ops of a key (RFC 7517, section 4)
// leave it free to verify signatures with that algorithm.
func saysNothingElse(k jwk.Key, alg string) bool {
	if only, said := k.Algorithm(); said && only.String() != alg {
		return false
	}
	if use, said := k.KeyUsage(); said && use != string(jwk.ForSignature) {
		return false
	}
	ops, said := k.KeyOps()
	return !said || slices.Contains(ops, jwk.KeyOpVerify)
}
