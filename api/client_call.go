package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Answer is what a peer said, and what it said about it.
type Answer struct {
	Status    int
	Header    http.Header
	Body      []byte
	Index     uint64        // log index of the state that it shows; 0: not said
	Age       time.Duration // of a local read; see Local
	Local     bool          // Age was said: this may be old
	Peer      string        // name of the peer that answered
	RequestID string        // to be found in that peer's log
	Replayed  bool          // an earlier request with the same key did it
	Operation string        // path of the operation that was begun
}

// CallOption changes one call.
type CallOption func(*call)

// WithKey uses a key of the caller's own as Idempotency-Key, so that a write
// can be repeated by another process too.
func WithKey(key string) CallOption { return func(c *call) { c.key = key } }

// WithWait waits up to d for the work that the call begins.
func WithWait(d time.Duration) CallOption {
	return func(c *call) {
		c.wait = d
		c.query.Set("wait", d.String())
	}
}

// WithVersion writes only if the object still has that version; Precondition otherwise.
func WithVersion(v uint64) CallOption {
	return func(c *call) { c.header.Set("If-Match", `"`+strconv.FormatUint(v, 10)+`"`) }
}

// WithoutBody asks for an answer without what was written (RFC 7240, section 4.2), where
// the caller has no use for it. A peer may send it all the same.
func WithoutBody() CallOption {
	return func(c *call) { c.header.Set("Prefer", "return=minimal") }
}

// WithConsistency asks for a read of that freshness.
func WithConsistency(k Consistency) CallOption { return WithQuery("consistency", string(k)) }

// WithAccount says which account's name is meant.
func WithAccount(account string) CallOption { return WithQuery("account", account) }

// WithQuery adds a query parameter; an empty value adds nothing.
func WithQuery(name, value string) CallOption {
	return func(c *call) {
		if value != "" {
			c.query.Add(name, value)
		}
	}
}

// WithOneRound asks each address once and takes no for an answer.
func WithOneRound() CallOption { return func(c *call) { c.oneRound = true } }

// WithAnswer puts all that was said into a.
func WithAnswer(a *Answer) CallOption { return func(c *call) { c.answer = a } }

// call is one request, however often it is sent.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	key          string
	wait         time.Duration
	oneRound     bool
	answer       *Answer
}

func (k *call) writes() bool { return k.method != http.MethodGet && k.method != http.MethodHead }

// Raw sends any request, as `orchd api` does. The answer is there with an error
// too, when a peer answered at all. A path may carry a query.
func (c *Client) Raw(ctx context.Context, method, path string, body []byte, opts ...CallOption) (Answer, error) {
	k, err := newCall(method, path, body, opts)
	if err != nil {
		return Answer{}, err
	}
	answer, err := c.persist(ctx, k)
	if k.answer != nil {
		*k.answer = answer
	}
	return answer, err
}

// newCall is a call to a path, which may carry a query.
func newCall(method, path string, body []byte, opts []CallOption) (*call, error) {
	u, err := url.Parse(path)
	if err != nil || u.Host != "" {
		return nil, Errorf(Invalid, "client", "%q is no path", path)
	}
	k := &call{method: method, path: u.EscapedPath(), query: u.Query(), header: http.Header{}, body: body}
	for _, o := range opts {
		o(k)
	}
	if k.key == "" && k.writes() {
		k.key = rand.Text()
	}
	return k, nil
}

// send makes a call with a JSON body and reads a JSON answer into out; nil for none.
func (c *Client) send(ctx context.Context, method, path string, in, out any, opts []CallOption) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return Errorf(Invalid, "client", "encode the request: %w", err)
		}
	}
	answer, err := c.Raw(ctx, method, path, body, opts...)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer.Body, out); err != nil {
		return Errorf(Internal, "client", "%s %s: the peer's answer is not what it should be: %w", method, path, err)
	}
	return nil
}
