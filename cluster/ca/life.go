package ca

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// authorityWarning is how long before its end an authority is worth a warning.
const authorityWarning = 365 * 24 * time.Hour

// ErrNotSigned is what a certificate is refused with that no trusted authority signed.
var ErrNotSigned = errors.New("no authority of this cluster has signed it")

// Due tells whether a peer's certificate is to be renewed: two thirds of its life
// are over, or it has not begun because somebody's clock was ahead.
func Due(cert *x509.Certificate, now time.Time) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return now.Before(cert.NotBefore) || !now.Before(cert.NotBefore.Add(life/3*2))
}

// EndsSoon tells whether an authority is good for less than a year.
func EndsSoon(authority *x509.Certificate, now time.Time) bool {
	return now.Add(authorityWarning).After(authority.NotAfter)
}

// SpeaksFor tells whether a certificate names each of hosts, as Authority.Peer takes them.
func SpeaksFor(cert *x509.Certificate, hosts ...string) bool {
	wanted := x509.Certificate{IPAddresses: slices.Clone(cert.IPAddresses), DNSNames: slices.Clone(cert.DNSNames)}
	for _, h := range hosts {
		addHost(&wanted, h)
	}
	return len(wanted.IPAddresses) == len(cert.IPAddresses) && len(wanted.DNSNames) == len(cert.DNSNames)
}

// Signed checks the chain of a certificate for a peer whose key is pinned: one of the
// authorities has signed it, for that use. It looks at no clock: such a peer is known by
// its key, to remove it is to revoke it, and if dates kept peers apart, nothing could be
// renewed where all of it has expired, be it the certificates or the authority. Use it
// beside the pin, never in place of it.
func Signed(cert *x509.Certificate, authorities []*x509.Certificate, use x509.ExtKeyUsage) error {
	switch {
	case !slices.ContainsFunc(authorities, func(a *x509.Certificate) bool { return SignedBy(cert, a) }):
		return ErrNotSigned
	case cert.IsCA || !slices.Contains(cert.ExtKeyUsage, use) || len(cert.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("%w: it is for another use", ErrUntrusted)
	}
	return nil
}

// SignedBy tells whether that authority has signed the certificate, whatever the time.
func SignedBy(cert, authority *x509.Certificate) bool {
	return cert.CheckSignatureFrom(authority) == nil
}

// Vouch makes a certificate of another authority's key, signed by this one: who
// trusts this one learns from it that both are of one cluster. It ends when either does.
func (a *Authority) Vouch(other *x509.Certificate) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: other.Subject.CommonName},
		NotBefore:             other.NotBefore,
		NotAfter:              other.NotAfter,
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              other.KeyUsage,
	}
	if a.cert.NotAfter.Before(template.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, other.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("vouch for another CA: %w", err)
	}
	return encode(der), nil
}

// Certificate is the authority's own.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// ParseCerts reads all certificates of a PEM text; there must be one at least.
func ParseCerts(bundle []byte) (certs []*x509.Certificate, err error) {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("there is no PEM certificate in it")
	}
	return certs, nil
}

// Encode writes certificates as PEM, one behind the other.
func Encode(certs ...*x509.Certificate) (bundle []byte) {
	for _, cert := range certs {
		bundle = append(bundle, encode(cert.Raw)...)
	}
	return bundle
}

// Reached are the hosts that a peer's certificate must name: its own name, and where
// it is reached by others.
func Reached(name string, addresses ...string) (hosts []string) {
	hosts = []string{name}
	for _, a := range addresses {
		if host, _, err := net.SplitHostPort(a); err == nil && host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
