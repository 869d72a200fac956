package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/orchd/orchd/api"
)

// client calls the API of the first peer that answers.
type client struct {
	app   *App
	to    target
	peers []endpoint
}

// endpoint is one address of a peer.
type endpoint struct {
	addr string // as the user named it
	base string // of URLs
	http *http.Client
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	ifMatch      uint64 // version that it must still have; 0: any
	in, out      any    // bodies; nil for none
}

// client finds the cluster to talk to. It looks at the output format first, so
// that a misspelt one is said before anything is done.
func (a *App) client() (client, error) {
	if !slices.Contains(formats, a.flags.output) {
		return client{}, unknownWord("output format", a.flags.output, formats)
	}
	to, err := a.target()
	if err != nil {
		return client{}, err
	}
	return a.connect(to)
}

// connect makes the client of a target; it does not talk yet.
func (a *App) connect(to target) (client, error) {
	c := client{app: a, to: to}
	conf, err := to.tls()
	if err != nil {
		return c, err
	}
	for _, addr := range to.addrs {
		e, err := endpointAt(strings.TrimSpace(addr), conf)
		if err != nil {
			return c, err
		}
		c.peers = append(c.peers, e)
	}
	return c, nil
}

func (to target) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS13}
	if to.cacert != "" {
		pem, err := os.ReadFile(to.cacert)
		if err != nil {
			return nil, fmt.Errorf("read the CA certificate: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("%s holds no certificate", to.cacert)
		}
	}
	if to.clientCert != "" {
		pair, err := tls.LoadX509KeyPair(to.clientCert, to.key)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// connectTime is how long a peer may take to accept a connection before the next is tried.
const connectTime = 3 * time.Second

func endpointAt(addr string, conf *tls.Config) (endpoint, error) {
	dialer := net.Dialer{Timeout: connectTime}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: conf, TLSHandshakeTimeout: connectTime, ForceAttemptHTTP2: true}
	e := endpoint{addr, "https://" + addr, &http.Client{Transport: transport}}
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		e.base = "http://orchd"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
		return e, nil
	}
	if strings.Contains(addr, "://") {
		e.base = strings.TrimSuffix(addr, "/")
	}
	u, err := url.Parse(e.base)
	if err != nil || u.Scheme != "https" || u.Port() == "" || u.Path != "" {
		return e, usagef("address %q is neither HOST:PORT nor unix://PATH", addr)
	}
	return e, nil
}

func (c client) get(ctx context.Context, path string, q url.Values, out any) error {
	return c.do(ctx, call{method: "GET", path: path, query: q, out: out})
}

// do sends a call to the first peer that can take it. A write carries an
// Idempotency-Key, so that one that may have happened can be sent to the next peer.
func (c client) do(ctx context.Context, k call) error {
	var body []byte
	if k.in != nil {
		var err error
		if body, err = json.Marshal(k.in); err != nil {
			return err
		}
	}
	key := uuid.NewString()
	var tried []string
	var last error
	for _, e := range c.peers {
		last = c.ask(ctx, e, k, body, key)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if last == nil || errors.As(last, new(*api.Error)) && !api.IsKind(last, api.Unavailable) {
			return last
		}
		tried = append(tried, fmt.Sprintf("%s: %s", e.addr, reason(last)))
	}
	if api.IsKind(last, api.Unavailable) {
		return last
	}
	return &failure{exitUnreachable, "no peer answers: " + strings.Join(tried, "; "), c.hint(last)}
}

func (c client) ask(ctx context.Context, e endpoint, k call, body []byte, key string) error {
	request, err := c.request(ctx, e, k, body, key)
	if err != nil {
		return err
	}
	answer, err := e.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 400 {
		return c.problem(answer, text)
	}
	if age := answer.Header.Get("Orchd-Age-Ms"); age != "" && age != "0" && k.method == "GET" && k.path != "/v1/status" {
		c.app.say("as %s had it %s ms ago", answer.Header.Get("Orchd-Peer"), age)
	}
	if k.out == nil || len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, k.out)
}

func (c client) request(ctx context.Context, e endpoint, k call, body []byte, key string) (*http.Request, error) {
	u, err := url.Parse(e.base + k.path)
	if err != nil {
		return nil, usagef("%q is no path", k.path)
	}
	q := u.Query()
	for name, values := range k.query {
		q[name] = values
	}
	if c.app.flags.local && k.method == "GET" {
		q.Set("consistency", string(api.Local))
	}
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, k.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.to.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.to.token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if k.method != "GET" {
		r.Header.Set("Idempotency-Key", key)
	}
	if k.ifMatch != 0 {
		r.Header.Set("If-Match", fmt.Sprintf("%q", number(k.ifMatch)))
	}
	return r, nil
}

// problem is the error that an answer tells of.
func (c client) problem(answer *http.Response, text []byte) error {
	var p api.Problem
	if err := json.Unmarshal(text, &p); err != nil || p.Code == "" {
		return &failure{exitFailed, fmt.Sprintf("the answer is %s and no orchd's", answer.Status), "is the address right?"}
	}
	if c.app.flags.verbose {
		c.app.say("request %s", p.RequestID)
	}
	return p.Err()
}

// reason is why a peer could not be asked, without the URL that net/http puts before it.
func reason(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return err.Error()
}

// hint is what to do about a cluster that cannot be reached.
func (c client) hint(err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return "run this as root, or name a peer with --addr and a token with --token-file"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "give the cluster's CA with --cacert: tls/ca.pem in the data folder of any peer"
	case c.to.assumed:
		return "start it with orchd serve, or name another peer with --addr or ORCHD_ADDR"
	default:
		return "the addresses are from " + c.to.from
	}
}

// list reads all pages of a list.
func list[T any](ctx context.Context, a *App, path string, q url.Values) ([]T, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	if q == nil {
		q = url.Values{}
	}
	q.Set("limit", "1000")
	var items []T
	for {
		var page api.Page[T]
		if err := c.get(ctx, path, q, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.Next == "" {
			return items, nil
		}
		q.Set("cursor", page.Next)
	}
}

// show reads one resource.
func show[T any](ctx context.Context, a *App, path string) (T, error) {
	var v T
	c, err := a.client()
	if err != nil {
		return v, err
	}
	return v, c.get(ctx, path, nil, &v)
}
