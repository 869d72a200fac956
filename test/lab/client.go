package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// HTTP gives a client that dials from inside the host, trusts the cluster's CA as
// this host knows it, and sends the token, unless it is empty. To ask this host's
// orchd, begin the address with [Host.URL]. It is made fresh: a test keeps it.
func (h *Host) HTTP(token string) (*http.Client, error) {
	pem, err := os.ReadFile(filepath.Join(h.DataDir(), "tls", "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in ca.pem of %s", h.Name)
	}
	transport := &http.Transport{
		DialContext:         h.Dial,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 1000, // a test with many clients keeps its connections
	}
	return &http.Client{Transport: bearer{token, transport}}, nil
}

// Dial connects as a process of the host would.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if h.space == nil {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return h.space.dial(ctx, network, address)
}

// Listen listens as a process of the host would.
func (h *Host) Listen(network, address string) (l net.Listener, err error) {
	if h.space == nil {
		return net.Listen(network, address)
	}
	err = h.space.enter(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// bearer sends a token with every request.
type bearer struct {
	token string
	next  *http.Transport
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the transport.
func (b bearer) CloseIdleConnections() { b.next.CloseIdleConnections() }
