package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// client is the API's client, and where its addresses are from.
type client struct {
	app *App
	api *api.Client
	to  target
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	wait         time.Duration // how long the peer may wait before it answers
	ifMatch      uint64        // version that it must still have; 0: any
	in, out      any           // bodies; nil for none
	answer       *api.Answer   // takes what came beside the body; nil: nobody asks
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
	trust, err := to.tls()
	if err != nil {
		return client{}, err
	}
	c, err := api.NewClient(api.ClientConfig{Addrs: to.addrs, Token: to.token, TLS: trust})
	return client{a, c, to}, err
}

// tls is whom to trust and who to be.
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

func (c client) get(ctx context.Context, path string, q url.Values, out any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: q, out: out})
}

// with is the call with one more query parameter.
func (k call) with(name, value string) call {
	k.query = maps.Clone(k.query)
	if k.query == nil {
		k.query = url.Values{}
	}
	k.query.Set(name, value)
	return k
}

// do makes a call and reads its answer.
func (c client) do(ctx context.Context, k call) error {
	body, err := c.bytes(ctx, k)
	if err != nil || k.out == nil || len(body) == 0 {
		return err
	}
	return json.Unmarshal(body, k.out)
}

// bytes makes a call and gives the body of its answer.
func (c client) bytes(ctx context.Context, k call) ([]byte, error) {
	var body []byte
	if k.in != nil {
		var err error
		if body, err = json.Marshal(k.in); err != nil {
			return nil, err
		}
	}
	answer, err := c.api.Raw(ctx, k.method, k.path, body, c.options(k)...)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, c.explained(answer, err)
	}
	if answer.Local && answer.Age >= noticeable && k.path != "/v1/status" {
		c.app.say("this is what %s had %s ago", answer.Peer, answer.Age)
	}
	return answer.Body, nil
}

// noticeable is the age from which on a local read is worth a word.
const noticeable = time.Second

func (c client) options(k call) []api.CallOption {
	var options []api.CallOption
	for name, values := range k.query {
		for _, v := range values {
			options = append(options, api.WithQuery(name, v))
		}
	}
	if c.app.flags.local && k.method == http.MethodGet {
		options = append(options, api.WithConsistency(api.Local))
	}
	if k.wait > 0 {
		options = append(options, api.WithWait(k.wait))
	}
	if k.ifMatch != 0 {
		options = append(options, api.WithVersion(k.ifMatch))
	}
	if k.answer != nil {
		options = append(options, api.WithAnswer(k.answer))
	}
	return options
}

// explained adds to a failed call what only the command line knows: where the
// addresses are from, and that somebody wants to know which request it was.
func (c client) explained(answer api.Answer, err error) error {
	if errors.Is(err, api.ErrUnreachable) {
		return &failure{exitUnreachable, message(err) + ": " + reason(err), c.hint(err)}
	}
	if c.app.flags.verbose && answer.RequestID != "" {
		c.app.say("request %s, answered by %s", answer.RequestID, answer.Peer)
	}
	return err
}

// reason is why the last peer could not be asked, without the address, which has been named.
func reason(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
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
