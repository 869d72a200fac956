package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultPort is where a peer's API listens when nobody says otherwise.
const DefaultPort = "7700"

// ErrUnreachable is behind the error of a call that no address answered.
var ErrUnreachable = errors.New("no peer could be reached")

// ClientConfig says how to reach a cluster. Only Addrs is needed.
type ClientConfig struct {
	// Addrs are peers, tried in turn: "host:port", "host", "https://host:port",
	// "http://host:port", "unix:///path". Any peer answers everything.
	Addrs []string
	// Token is sent as the bearer. It is not needed on a unix socket that is ours.
	Token string
	// CACert is the cluster's CA, as PEM or as the path of a PEM file; without
	// one the system's certificates are trusted.
	CACert string
	// TLS replaces CACert, for who must check a certificate in another way.
	TLS *tls.Config
	// Timeout bounds how long a call goes on trying, beside the time that it
	// was told to wait; 0: 30 s.
	Timeout time.Duration
	// Attempt bounds one try at one address, beside the time to wait. It is
	// longer than a peer waits out an election; 0: 15 s.
	Attempt time.Duration
}

// Client talks to a cluster through whichever of its peers answers. A call goes
// to the address that answered last; when that is silent or has no leader in
// sight, to the next. Writes carry an Idempotency-Key, the same in each try, so
// that they take effect once. It is safe for concurrent use.
type Client struct {
	cfg    ClientConfig
	peers  []address
	newest atomic.Int64 // index of the address that answered last
}

// address is one way to reach a peer.
type address struct {
	given string // as it was given, for messages
	base  string // "https://host:port"
	http  *http.Client
}

// NewClient makes a client; it connects to nobody yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Attempt == 0 {
		cfg.Attempt = 15 * time.Second
	}
	if len(cfg.Addrs) == 0 {
		return nil, Errorf(Invalid, "client", "no address of a peer is given")
	}
	trust, err := cfg.trust()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg}
	overTCP := transport(trust, "tcp", "")
	for _, given := range cfg.Addrs {
		a, err := parseAddress(given, overTCP)
		if err != nil {
			return nil, err
		}
		c.peers = append(c.peers, a)
	}
	return c, nil
}

// Close gives back idle connections.
func (c *Client) Close() {
	for _, a := range c.peers {
		a.http.CloseIdleConnections()
	}
}

// trust is how the peers' certificates are checked.
func (cfg ClientConfig) trust() (*tls.Config, error) {
	if cfg.TLS != nil {
		return cfg.TLS, nil
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CACert == "" {
		return trust, nil
	}
	pem := []byte(cfg.CACert)
	if !strings.Contains(cfg.CACert, "-----BEGIN") {
		var err error
		if pem, err = os.ReadFile(cfg.CACert); err != nil {
			return nil, Errorf(Invalid, "client", "read the CA certificate: %w", err)
		}
	}
	trust.RootCAs = x509.NewCertPool()
	if !trust.RootCAs.AppendCertsFromPEM(pem) {
		return nil, Errorf(Invalid, "client", "the CA certificate holds no PEM certificate")
	}
	return trust, nil
}

// parseAddress reads one of ClientConfig.Addrs.
func parseAddress(given string, overTCP *http.Transport) (address, error) {
	bad := Errorf(Invalid, "client", "%q is no address of a peer: give HOST:PORT, https://HOST:PORT or unix:///PATH", given)
	if path, ok := strings.CutPrefix(given, "unix://"); ok {
		if path == "" {
			return address{}, bad
		}
		return address{given, "http://local", &http.Client{Transport: transport(nil, "unix", path), CheckRedirect: noRedirect}}, nil
	}
	raw := given
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return address{}, bad
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), DefaultPort)
	}
	return address{given, u.Scheme + "://" + u.Host, &http.Client{Transport: overTCP, CheckRedirect: noRedirect}}, nil
}

// noRedirect keeps the token where it was meant to go: peers never redirect.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// transport dials plainly over the network and address that it is given, or,
// for "tcp", to whom the request names. It stays with HTTP/1.1: a connection
// that hangs then holds up one call and not all of them.
func transport(trust *tls.Config, network, path string) *http.Transport {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
			if network == "unix" {
				to = path
			}
			return dialer.DialContext(ctx, network, to)
		},
		TLSClientConfig:       trust,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: 10 * time.Second, // a peer looks up what an upload is for before it asks for it
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
	}
}

// unreachable is the error when every address was tried in vain.
func (c *Client) unreachable(cause error) error {
	var tried []string
	for _, a := range c.peers {
		tried = append(tried, a.given)
	}
	return &Error{Kind: Unavailable, Op: "client",
		Msg: "no peer could be reached; tried " + strings.Join(tried, ", "), Err: fmt.Errorf("%w: %w", ErrUnreachable, cause)}
}
