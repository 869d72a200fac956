package jwt

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/orchd/orchd/api"
)

// Config is whose tokens are good. With neither a secret nor a key set none is.
type Config struct {
	Secrets  [][]byte // any of them verifies HS256; see Secrets
	JWKS     []byte   // public keys, as a JWK set (RFC 7517)
	JWKSURL  string   // where such a set is fetched: https, or http on loopback
	Issuer   string   // what the claim iss must be; empty: anything
	Audience string   // what the claim aud must hold; empty: anything
	Role     api.Role // of a token without the claim orchd_role; empty: such a token is refused

	Now    func() time.Time // the clock; nil: the machine's
	Client *http.Client     // fetches JWKSURL; nil: one that trusts the system's authorities
}

// minSecret is how many bytes an HS256 secret should have at least (RFC 7518, section 3.2).
const minSecret = 32

// Validate names everything that is wrong at once.
func (c Config) Validate() error {
	var wrong []error
	for _, s := range c.Secrets {
		if len(s) == 0 {
			wrong = append(wrong, errors.New("a secret is empty"))
		}
	}
	if len(c.JWKS) > 0 {
		if _, err := parseKeys(c.JWKS); err != nil {
			wrong = append(wrong, err)
		}
	}
	if c.JWKSURL != "" {
		wrong = append(wrong, ValidURL(c.JWKSURL))
	}
	if c.Role != "" && !IsRole(c.Role) {
		wrong = append(wrong, fmt.Errorf("a token cannot have the role %q; the roles are viewer, operator, controller and admin", c.Role))
	}
	return errors.Join(wrong...)
}

// Secrets takes a secret file apart: one HS256 secret a line, as it stands, so
// that a new one can be taken while the old one still is. Empty lines are none.
func Secrets(file []byte) (all [][]byte) {
	for line := range bytes.Lines(file) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			all = append(all, line)
		}
	}
	return all
}

// IsShort tells whether a secret is shorter than HS256 asks for, so that who has
// a token may find it by trying.
func IsShort(secret []byte) bool { return len(secret) < minSecret }

// ValidURL refuses an address from which keys would come unprotected: anybody
// on the way could put in keys of their own.
func ValidURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return fmt.Errorf("%q is not of the form https://HOST/PATH", address)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%q would bring the keys unprotected; use https (http is taken on loopback only)", address)
	}
	return fmt.Errorf("%q is neither https nor http", address)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// IsRole tells whether a token may have that role: those of people, not a peer's.
func IsRole(r api.Role) bool {
	switch r {
	case api.RoleViewer, api.RoleOperator, api.RoleController, api.RoleAdmin:
		return true
	}
	return false
}
