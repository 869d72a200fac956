// Package jwt says who a JSON Web Token (RFC 7519) speaks for.
//
// A Verifier takes tokens signed with HS256 by a shared secret, or with RS256,
// ES256 or EdDSA by a key of a JWK set that lies in a file or at a URL, and no
// others: above all not "none", and never with a public key as HMAC secret, for
// a key serves the one algorithm that its type stands for. Start with New; a
// Verifier with a URL wants Run beside it.
package jwt

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/orchd/orchd/api"
)

// skew is how far the clocks of an issuer and of this host may be apart.
const skew = 30 * time.Second

// Why a token is refused. The texts are those that clients of the inventory know.
var (
	ErrNoToken      = refusal("no token found")
	ErrUnauthorized = refusal("token is unauthorized")
	ErrExpired      = refusal("token is expired")
	ErrMissing      = refusal("missing required claim")
)

func refusal(text string) *api.Error {
	return &api.Error{Kind: api.Unauthenticated, Op: "token", Msg: text}
}

// because is a refusal with its cause, which is for the log only.
func because(e *api.Error, cause string) error {
	with := *e
	with.Err = errors.New(cause)
	return &with
}

// Verifier decides by one Config. It may be used from anywhere at once.
type Verifier struct {
	cfg   Config
	given keys                 // of Config.JWKS
	found atomic.Pointer[keys] // of Config.JWKSURL, as last fetched; nil: never

	fetching sync.Mutex // held while keys are fetched
	tried    time.Time  // when they were last asked for
}

// New makes a Verifier; it fetches nothing and starts nothing.
func New(cfg Config) (*Verifier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: fetchTime, CheckRedirect: onlySafeRedirects}
	}
	v := &Verifier{cfg: cfg}
	if len(cfg.JWKS) > 0 {
		v.given, _ = parseKeys(cfg.JWKS) // Validate has
	}
	return v, nil
}

// Looks tells whether a bearer token has the form of a JSON Web Token: three
// parts in base64url, the first of which is a JSON object.
func Looks(token string) bool {
	_, ok := parse(token)
	return ok
}

// signed is a compact JWS (RFC 7515, section 7.1) taken apart.
type signed struct {
	header    map[string]json.RawMessage
	input     string // what the signature is of
	payload   []byte
	signature []byte
}

func parse(token string) (s signed, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return s, false
	}
	var decoded [3][]byte
	for i, part := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return s, false
		}
		decoded[i] = b
	}
	s.input, s.payload, s.signature = token[:len(token)-len(parts[2])-1], decoded[1], decoded[2]
	return s, json.Unmarshal(decoded[0], &s.header) == nil && s.header != nil
}

// header is the part of a JOSE header (RFC 7515, section 4) that matters here.
type header struct{ alg, kid string }

// readHeader takes the header of a token that this package can judge. A header
// with "crit" asks for an extension, of which none is known here.
func (s signed) readHeader() (h header, ok bool) {
	if s.header["crit"] != nil || json.Unmarshal(s.header["alg"], &h.alg) != nil {
		return h, false
	}
	return h, s.header["kid"] == nil || json.Unmarshal(s.header["kid"], &h.kid) == nil
}

// Verify gives the actor of a token, or an *api.Error that says why there is none:
// Unauthenticated, or Unavailable while keys cannot be fetched.
func (v *Verifier) Verify(ctx context.Context, token string) (api.Actor, error) {
	if token == "" {
		return api.Actor{}, ErrNoToken
	}
	t, ok := parse(token)
	if !ok {
		return api.Actor{}, because(ErrUnauthorized, "it is no JSON Web Token")
	}
	h, ok := t.readHeader()
	if !ok {
		return api.Actor{}, because(ErrUnauthorized, "its header names no algorithm, or asks for an extension")
	}
	payload, err := v.payload(ctx, h, t, token)
	if err != nil {
		return api.Actor{}, err
	}
	c, err := readClaims(payload)
	if err != nil {
		return api.Actor{}, err
	}
	return v.actor(c)
}

// payload is what a key that is known here has signed.
func (v *Verifier) payload(ctx context.Context, h header, s signed, token string) ([]byte, error) {
	if h.alg == hs256 {
		if !slices.ContainsFunc(v.cfg.Secrets, s.isBy) {
			return nil, because(ErrUnauthorized, "no secret verifies it")
		}
		return s.payload, nil
	}
	if !isPublicAlgorithm(h.alg) {
		return nil, because(ErrUnauthorized, "it is signed with an algorithm that is not taken")
	}
	candidates, err := v.keysFor(ctx, h)
	if err != nil {
		return nil, err
	}
	for _, k := range candidates {
		if payload, err := jws.Verify([]byte(token), jws.WithKey(k.algorithm(), k.public)); err == nil {
			return payload, nil
		}
	}
	return nil, because(ErrUnauthorized, "no public key verifies it")
}

// isBy tells whether the signature is HS256 with that secret (RFC 7518, section
// 3.2). The library would take the token apart once more, which costs more than the signature.
func (s signed) isBy(secret []byte) bool {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(s.input))
	return hmac.Equal(mac.Sum(nil), s.signature)
}

// keysFor are the keys that may have signed a token. Keys are fetched anew for one
// whose key is not known: an issuer has changed its keys.
func (v *Verifier) keysFor(ctx context.Context, h header) (keys, error) {
	if fit := v.known(h); fit.hasNamed(h) || v.cfg.JWKSURL == "" {
		return fit, nil
	}
	err := v.refresh(ctx, h)
	fit := v.known(h)
	if len(fit) == 0 && v.found.Load() == nil {
		return nil, &api.Error{Kind: api.Unavailable, Op: "token", Err: err,
			Msg: "the keys that sign tokens cannot be fetched just now; try again"}
	}
	return fit, nil
}

// known are the keys at hand that may have signed a token.
func (v *Verifier) known(h header) keys {
	all := v.given
	if found := v.found.Load(); found != nil {
		all = append(all[:len(all):len(all)], *found...)
	}
	return all.fitting(h)
}
