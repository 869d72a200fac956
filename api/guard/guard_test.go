package guard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// site is an https server on loopback under the name example.com.
type site struct {
	*httptest.Server
	port uint16
	hits atomic.Int64
}

func newSite(t *testing.T, handle http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		handle(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what is tested
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	s.port = uint16(port)
	return s
}

// url is a URL of the site under a name.
func (s *site) url(host, path string) string {
	return fmt.Sprintf("https://%s:%d%s", host, s.port, path)
}

// names answers in turn, and with the last answer from then on.
type names struct {
	answers [][]string
	asked   int
}

func (n *names) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	answer := n.answers[min(n.asked, len(n.answers)-1)]
	n.asked++
	var ips []netip.Addr
	for _, a := range answer {
		ips = append(ips, netip.MustParseAddr(a))
	}
	return ips, nil
}

// guardOf opens 127.0.0.1, and nothing else, to a guard that trusts the sites.
func guardOf(t *testing.T, n *names, sites ...*site) *Guard {
	t.Helper()
	g := &Guard{Allow: prefixes(t, "127.0.0.1/32"), Roots: x509.NewCertPool(), Resolver: n}
	for _, s := range sites {
		g.Roots.AddCert(s.Certificate())
		g.Ports = append(g.Ports, s.port)
	}
	return g
}

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

// get fetches a URL once, over a connection of its own.
func get(t *testing.T, g *Guard, url string) (string, error) {
	t.Helper()
	client := g.Client(Limits{})
	defer client.CloseIdleConnections()
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// wantRefused wants an error of kind Invalid that names the rule.
func wantRefused(t *testing.T, err error, rule string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Kind != api.Invalid || !strings.Contains(e.Msg, rule) {
		t.Errorf("got %v, want it refused with %q", err, rule)
	}
}

func TestFetch(t *testing.T) {
	s := newSite(t, hello)
	g := guardOf(t, &names{answers: [][]string{{"127.0.0.1"}}}, s)
	for _, host := range []string{"127.0.0.1", "example.com"} {
		if body, err := get(t, g, s.url(host, "/")); body != "hello" || err != nil {
			t.Errorf("%s: got %q, %v; want hello", host, body, err)
		}
	}
}

func TestRefusedURLs(t *testing.T) {
	s := newSite(t, hello)
	for _, c := range []struct{ name, url, rule string }{
		{"plain http", "http://example.com/", "only https"},
		{"file (CWE-73)", "file:///etc/passwd", "only https"},
		{"gopher", "gopher://example.com/", "only https"},
		{"upper case is https too, the port is not", "HTTPS://example.com:22/", "port 22"},
		{"no host", "https:///etc/passwd", "names no host"},
		{"password in the URL (CWE-522)", "https://root:secret@example.com/", "user name"},
		{"user that looks like the host", "https://example.com@127.0.0.1/", "user name"},
		{"port of ssh", "https://example.com:22/", "port 22"},
		{"port of this API", "https://example.com:7700/", "port 7700"},
		{"metadata", "https://169.254.169.254/latest/meta-data/", "link-local"},
		{"metadata as IPv4-mapped (CVE-2024-24790)", "https://[::ffff:169.254.169.254]/", "IPv4 in the form"},
		{"metadata as mapped hexadecimal", "https://[::ffff:a9fe:a9fe]/", "IPv4 in the form"},
		{"loopback", "https://127.0.0.2/", "loopback"},
		{"loopback IPv6", "https://[::1]/", "loopback"},
		{"zone", "https://[fe80::1%25eth0]/", "zone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := get(t, guardOf(t, &names{answers: [][]string{{"127.0.0.1"}}}, s), c.url)
			wantRefused(t, err, c.rule)
			if s.hits.Load() != 0 {
				t.Errorf("the server was asked")
			}
		})
	}
}

// TestRefusedNames has names that lead inside (CVE-2020-8555), also names that are
// an address to some resolvers only (127.1, 2130706433, 0x7f.1: as CVE-2021-29923).
func TestRefusedNames(t *testing.T) {
	s := newSite(t, hello)
	for host, c := range map[string]struct {
		answer []string
		rule   string
	}{
		"inner.example.com": {[]string{"10.0.0.1"}, "private"},
		"localhost":         {[]string{"127.0.0.2", "::1"}, "loopback"},
		"127.1":             {[]string{"127.0.0.2"}, "loopback"},
		"2130706433":        {[]string{"127.0.0.2"}, "loopback"},
		"0x7f.1":            {[]string{"127.0.0.2"}, "loopback"},
		"mapped.example":    {[]string{"::ffff:10.0.0.1"}, "private"},
		"none.example":      {nil, "no address"},
	} {
		t.Run(host, func(t *testing.T) {
			_, err := get(t, guardOf(t, &names{answers: [][]string{c.answer}}, s), s.url(host, "/"))
			wantRefused(t, err, c.rule)
		})
	}
	t.Run("one of two", func(t *testing.T) {
		g := guardOf(t, &names{answers: [][]string{{"10.0.0.1", "127.0.0.1"}}}, s)
		if body, err := get(t, g, s.url("example.com", "/")); body != "hello" || err != nil {
			t.Errorf("got %q, %v; want the address that is open to be used", body, err)
		}
	})
}

// TestRebinding has a resolver that answers differently the second time (DNS
// rebinding). CVE-2020-8562: a filter that resolved once to look at the address
// and once more to connect.
func TestRebinding(t *testing.T) {
	s := newSite(t, hello)
	n := &names{answers: [][]string{{"127.0.0.1"}, {"127.0.0.2"}}}
	g := guardOf(t, n, s)
	client := g.Client(Limits{})
	r, err := client.Get(s.url("example.com", "/"))
	if err != nil {
		t.Fatalf("the first answer is open: %v", err)
	}
	r.Body.Close()
	if n.asked != 1 {
		t.Errorf("the name was resolved %d times for one connection, want once", n.asked)
	}
	client.CloseIdleConnections()
	if _, err = client.Get(s.url("example.com", "/")); err == nil {
		t.Fatal("the second answer leads inside, and was followed")
	}
	wantRefused(t, err, "loopback")
}

// TestSocket looks at the last check of all, of the address that a socket connects to.
func TestSocket(t *testing.T) {
	g := &Guard{}
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "[fe80::1%eth0]:443", "10.0.0.1:443", "no address"} {
		if err := g.control("tcp", address, nil); !api.IsKind(err, api.Invalid) {
			t.Errorf("%s: got %v, want it refused", address, err)
		}
	}
	if err := g.control("tcp4", "8.8.8.8:443", nil); err != nil {
		t.Errorf("8.8.8.8: got %v, want it allowed", err)
	}
	dial := net.Dialer{Control: g.control}
	s := newSite(t, hello)
	if conn, err := dial.Dial("tcp", s.Listener.Addr().String()); err == nil {
		conn.Close()
		t.Error("a socket connected to loopback")
	}
}

func TestRedirects(t *testing.T) {
	inner := newSite(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") })
	var s *site
	s = newSite(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/hops/")); err == nil && n > 0 {
			http.Redirect(w, r, s.url("127.0.0.1", "/hops/"+strconv.Itoa(n-1)), http.StatusFound)
			return
		}
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			return
		}
		hello(w, r)
	})
	g := guardOf(t, &names{answers: [][]string{{"127.0.0.2"}}}, s) // any name leads inside
	for hops, ok := range map[int]bool{0: true, 3: true, 4: false} {
		body, err := get(t, g, s.url("127.0.0.1", "/hops/"+strconv.Itoa(hops)))
		if ok && (body != "hello" || err != nil) {
			t.Errorf("%d redirects: got %q, %v; want hello", hops, body, err)
		}
		if !ok {
			wantRefused(t, err, "more than 3 times")
		}
	}
	for _, c := range []struct{ name, to, rule string }{
		{"metadata", "https://169.254.169.254/", "link-local"},
		{"down to http (CWE-757)", "http://127.0.0.1/", "only https"},
		{"file", "file:///etc/shadow", "only https"},
		{"a name that leads inside", s.url("inner.example.com", "/"), "loopback"},
		{"another port", inner.url("127.0.0.1", "/"), "port"},
		{"a password", "https://a:b@127.0.0.1/", "user name"},
		{"IPv4-mapped", "https://[::ffff:127.0.0.1]/", "IPv4 in the form"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := get(t, g, s.url("127.0.0.1", "/?to="+url.QueryEscape(c.to)))
			wantRefused(t, err, c.rule)
			if inner.hits.Load() != 0 {
				t.Error("the inner server was asked")
			}
		})
	}
}

// TestNothingAlong looks that neither credentials nor the first URL reach the
// server that a redirect leads to (CVE-2022-27774, CVE-2023-45289), and that
// cookies are not kept.
func TestNothingAlong(t *testing.T) {
	var got http.Header
	second := newSite(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone(); hello(w, r) })
	first := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b", Path: "/"})
		http.Redirect(w, r, second.url("127.0.0.1", "/"), http.StatusFound)
	})
	client := guardOf(t, nil, first, second).Client(Limits{})
	defer client.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodGet, first.url("127.0.0.1", "/?signature=abc"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("Cookie", "session=secret")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got == nil {
		t.Fatal("the second server was not asked")
	}
	for _, name := range []string{"Authorization", "Cookie", "Referer"} {
		if v := got.Get(name); v != "" {
			t.Errorf("%s %q went along with the redirect", name, v)
		}
	}
}

// TestNoProxy: what the environment says of proxies could lead anywhere.
func TestNoProxy(t *testing.T) {
	s := newSite(t, hello)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.9:1")
	t.Setenv("https_proxy", "http://127.0.0.9:1")
	client := guardOf(t, nil, s).Client(Limits{})
	if p := client.Transport.(checked).next.Proxy; p != nil {
		t.Error("the client has a proxy")
	}
	if client.Jar != nil {
		t.Error("the client keeps cookies")
	}
}

func TestTLS(t *testing.T) {
	s := newSite(t, hello)
	g := guardOf(t, nil, s)
	g.Roots = x509.NewCertPool()
	_, err := get(t, g, s.url("127.0.0.1", "/"))
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("a certificate that nobody trusts: got %v, want it refused", err)
	}
	old := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	defer old.Close()
	u, _ := url.Parse(old.URL)
	port, _ := strconv.ParseUint(u.Port(), 10, 16)
	g = guardOf(t, nil)
	g.Ports, g.Roots = []uint16{uint16(port)}, x509.NewCertPool()
	g.Roots.AddCert(old.Certificate())
	if _, err := get(t, g, old.URL); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: got %v, want it refused for its version", err)
	}
}

// TestLimits has servers that never come to an end.
func TestLimits(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/headers":
			w.Header().Set("X-Long", strings.Repeat("a", 2*maxHeaderBytes))
		case "/silent":
			<-r.Context().Done()
		case "/body":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/zipped":
			if r.Header.Get("Accept-Encoding") != "" {
				w.Header().Set("Content-Encoding", "gzip")
			}
		}
		hello(w, r)
	})
	g := guardOf(t, nil, s)
	if body, err := get(t, g, s.url("127.0.0.1", "/zipped")); body != "hello" || err != nil {
		t.Errorf("gzip was asked for: got %q, %v", body, err)
	}
	if _, err := get(t, g, s.url("127.0.0.1", "/headers")); err == nil {
		t.Error("endless headers were read")
	}
	var timeout net.Error
	client := g.Client(Limits{Header: 50 * time.Millisecond})
	if _, err := client.Get(s.url("127.0.0.1", "/silent")); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a silent server: got %v, want a timeout", err)
	}
	client = g.Client(Limits{Total: 200 * time.Millisecond})
	r, err := client.Get(s.url("127.0.0.1", "/body"))
	if err == nil {
		_, err = io.ReadAll(r.Body)
		r.Body.Close()
	}
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("an endless body: got %v, want a timeout", err)
	}
}
