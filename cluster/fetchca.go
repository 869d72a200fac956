package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/orchd/orchd/cluster/ca"
)

// fetchTime is how long the peer that a newcomer was pointed at may take.
const fetchTime = 10 * time.Second

// FetchCA asks a peer's API port for the cluster's CA certificate and gives it
// as PEM, if it is the one that pin (ca.Hash) names and the peer's own
// certificate is signed by it. While the CA is rotated a peer shows both; the pinned
// one may then vouch for the one that signed, which comes behind it. Nothing is sent
// before that is certain.
func FetchCA(ctx context.Context, addr, pin string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // there is nothing to verify with yet: pinned does it
	}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster at %s: %w. Check the address and that orchd serves there", addr, err)
	}
	defer conn.Close()
	authorities, err := pinned(conn.(*tls.Conn).ConnectionState().PeerCertificates, pin)
	if err != nil {
		return nil, fmt.Errorf("%s is not the cluster that made this token: %w", addr, err)
	}
	return ca.Encode(authorities...), nil
}

// pinned finds the CA that pin names in the chain and checks that it signed the first
// certificate, or vouches for the one that did.
func pinned(chain []*x509.Certificate, pin string) ([]*x509.Certificate, error) {
	own := func(match func(*x509.Certificate) bool) *x509.Certificate {
		i := slices.IndexFunc(chain, func(c *x509.Certificate) bool { return c.IsCA && ca.SignedBy(c, c) && match(c) })
		if i < 0 {
			return nil
		}
		return chain[i]
	}
	named := own(func(c *x509.Certificate) bool { return ca.HashOf(c) == pin })
	if named == nil {
		return nil, fmt.Errorf("no CA certificate with the hash %s is shown there. Copy the whole token again, or ask for a new one with `orchd token create --role peer`", pin)
	}
	err := chain[0].CheckSignatureFrom(named)
	if err == nil {
		return []*x509.Certificate{named}, nil
	}
	signer := own(func(c *x509.Certificate) bool { return ca.SignedBy(chain[0], c) })
	for _, bridge := range chain {
		if signer != nil && bridge.IsCA && ca.HashOf(bridge) == ca.HashOf(signer) && ca.SignedBy(bridge, named) {
			return []*x509.Certificate{named, signer}, nil
		}
	}
	return nil, fmt.Errorf("it shows the right CA certificate, but its own is not signed by it: %w", err)
}

// hostOf is the host of HOST:PORT, or the whole where there is no port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
