// Package guard makes HTTP clients for addresses that users give: they speak
// https to the outside and to nothing else.
//
// Whoever can make a server fetch a URL can otherwise reach what only that
// server can: its own loopback, the private network, the cloud's metadata, other
// peers (server-side request forgery, CWE-918). A Guard therefore looks at every
// request, also at those that a redirect leads to: its scheme, its port, and the
// address that is really dialed. A name is resolved once for each connection, and
// the very addresses that were looked at are dialed; the socket is looked at once
// more before it connects. So a name that changes its answer between the look and
// the connection (DNS rebinding) gains nothing.
//
// Start with Guard and its Client. The table of what is refused is in rules.go.
package guard

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Resolver turns a name into addresses; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Guard says where its clients may go. The zero value allows port 443 of every
// address that is public.
type Guard struct {
	// Allow opens prefixes that are otherwise refused, Refuse closes more, such as
	// the cluster's own addresses. Where both hold an address the longer prefix
	// decides, and Allow if they are equal: so 10.0.0.0/8 in Allow does not open
	// 10.0.0.7/32 in Refuse.
	Allow, Refuse []netip.Prefix

	Plain    bool           // http may be spoken too, where the port is opened
	Ports    []uint16       // ports that may be used beside 443
	Roots    *x509.CertPool // whom a server's certificate may come from; nil: whom the host trusts
	Resolver Resolver       // nil: net.DefaultResolver
}

// Limits bound one request; zero takes the default.
type Limits struct {
	Connect time.Duration // to one address, and again for the TLS handshake; default 10 s
	Header  time.Duration // until the answer begins; default 30 s
	Total   time.Duration // for everything, redirects and the whole body; default 1 h
}

const (
	maxRedirects   = 3
	maxHeaderBytes = 64 << 10
)

// Client makes a client that goes where g lets it. It takes no proxy from the
// environment, keeps no cookies, unpacks nothing, follows at most 3 redirects, and
// carries no credentials along with one. What is refused is an *api.Error of kind
// Invalid that says which rule it was; errors.As finds it in what Do returns.
func (g *Guard) Client(l Limits) *http.Client {
	connect := cmp.Or(l.Connect, 10*time.Second)
	return &http.Client{
		Timeout:       cmp.Or(l.Total, time.Hour),
		CheckRedirect: redirect,
		Transport: checked{g, &http.Transport{
			DialContext:            g.dialer(connect),
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: g.Roots},
			TLSHandshakeTimeout:    connect,
			ResponseHeaderTimeout:  cmp.Or(l.Header, 30*time.Second),
			MaxResponseHeaderBytes: maxHeaderBytes,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConns:           4,
			ForceAttemptHTTP2:      true, // a dialer of one's own would switch it off
			DisableCompression:     true, // a few bytes could become very many
		}},
	}
}

// checked looks at each request, the first and those after a redirect.
type checked struct {
	g    *Guard
	next *http.Transport
}

// RoundTrip sends a request that may be sent.
func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := c.g.CheckURL(r.URL); err != nil {
		return nil, err
	}
	return c.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client close what is kept open.
func (c checked) CloseIdleConnections() { c.next.CloseIdleConnections() }

// redirect counts the redirects and takes away what was meant for the first
// server only. The URL that the redirect leads to is checked when it is asked.
func redirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return refuse("%s redirects more than %d times: give the URL that it leads to", via[0].URL.Host, maxRedirects)
	}
	for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization", "Referer", "Www-Authenticate"} {
		r.Header.Del(name)
	}
	return nil
}

// CheckURL refuses a URL that no client of g would fetch, as far as that can be
// seen without asking anybody: names are looked at when they are resolved.
func (g *Guard) CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "https" && !(g.Plain && u.Scheme == "http"):
		return refuse("the scheme %q is refused: only https URLs are fetched", u.Scheme)
	case u.User != nil:
		return refuse("the URL holds a user name or password: both would be stored and shown; leave them out")
	case u.Hostname() == "":
		return refuse("the URL names no host")
	}
	if err := g.checkPort(cmp.Or(u.Port(), usualPort[u.Scheme])); err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return g.Check(ip)
	}
	return nil
}

// usualPort is the port of a URL that names none.
var usualPort = map[string]string{"https": "443", "http": "80"}

// checkPort refuses a port that is neither 443 nor opened.
func (g *Guard) checkPort(port string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n != 443 && !slices.Contains(g.Ports, uint16(n)) {
		return refuse("port %s is refused: only port 443 may be used, and those that the configuration opens", port)
	}
	return nil
}

// dialer gives what the transport dials with.
func (g *Guard) dialer(limit time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := net.Dialer{Timeout: limit, Control: g.control}
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, refuse("%q is no address: %w", address, err)
		}
		if err := g.checkPort(port); err != nil {
			return nil, err
		}
		ips, err := g.resolve(ctx, host)
		if err != nil {
			return nil, err
		}
		var conn net.Conn
		for _, ip := range ips {
			if conn, err = dial.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port)); err == nil {
				break
			}
		}
		return conn, err
	}
}

// resolve gives those addresses of a host that may be dialed, at least one.
func (g *Guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, g.Check(ip)
	}
	var from Resolver = net.DefaultResolver
	if g.Resolver != nil {
		from = g.Resolver
	}
	found, err := from.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var open []netip.Addr
	why := "it has no address"
	for _, ip := range found {
		ip = ip.Unmap() // a resolver may give IPv4 addresses in the form of IPv6 ones
		if w := g.why(ip); w != "" {
			why = w
			continue
		}
		open = append(open, ip)
	}
	if len(open) == 0 {
		return nil, refuse("%s cannot be fetched from: %s", host, why)
	}
	return open, nil
}
