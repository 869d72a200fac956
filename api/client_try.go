package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// maxAnswer bounds an answer's size: a list of 10,000 of the largest objects fits.
const maxAnswer = 256 << 20

// The pause between rounds grows from the first to the last of these.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// attempt is what came of sending a call.
type attempt struct {
	answer Answer // Status 0: none came
	err    error
}

// final tells whether no other address and no later try would do better.
func (a attempt) final() bool {
	var lost *lostError
	return !errors.As(a.err, &lost) && !IsKind(a.err, Unavailable)
}

// persist sends a call until it has an outcome: an answer that is not 503. It
// gives up when ctx or Timeout ends, and at once when every address refused to
// be connected to, for then nothing is under way and nobody is there to ask.
func (c *Client) persist(ctx context.Context, k *call) (Answer, error) {
	return c.persistWith(ctx, k, c.try)
}

// trier sends a call to one address.
type trier func(ctx context.Context, to address, k *call) attempt

// persistWith is persist with another way to send.
func (c *Client) persistWith(ctx context.Context, k *call, try trier) (Answer, error) {
	deadline := time.Now().Add(c.cfg.Timeout + k.wait)
	var newest attempt // of those that were answered, else the last
	underway := false
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		for _, a := range c.round(ctx, k, try) {
			if a.final() {
				return a.answer, a.err
			}
			if a.answer.Status != 0 || newest.answer.Status == 0 {
				newest = a
			}
			underway = underway || mayHaveArrived(a.err)
		}
		if !underway || k.oneRound || ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return c.giveUp(newest)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// giveUp ends a call that never had an outcome.
func (c *Client) giveUp(newest attempt) (Answer, error) {
	if newest.answer.Status != 0 {
		return newest.answer, newest.err
	}
	return newest.answer, c.unreachable(newest.err)
}

// round tries the addresses, beginning with the one that answered last, until
// an attempt is final. It gives all attempts.
func (c *Client) round(ctx context.Context, k *call, try trier) []attempt {
	var all []attempt
	first := int(c.newest.Load())
	for i := range c.peers {
		n := (first + i) % len(c.peers)
		a := try(ctx, c.peers[n], k)
		all = append(all, a)
		if a.final() {
			c.newest.Store(int64(n))
			break
		}
	}
	return all
}

// try sends the call to one address.
func (c *Client) try(ctx context.Context, to address, k *call) attempt {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Attempt+k.wait)
	defer cancel()
	req, err := c.request(ctx, to, k)
	if err != nil {
		return attempt{err: Errorf(Invalid, "client", "make the request: %w", err)}
	}
	res, err := to.http.Do(req)
	if err != nil {
		return attempt{err: &lostError{err}}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return attempt{err: &lostError{err}}
	}
	answer := answerOf(res, body)
	return attempt{answer, answer.failure()}
}

func (c *Client) request(ctx context.Context, to address, k *call) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, k.method, to.base+k.path, bytes.NewReader(k.body))
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = k.query.Encode()
	req.Header = k.header.Clone()
	if len(k.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	if k.key != "" {
		req.Header.Set("Idempotency-Key", k.key)
	}
	return req, nil
}

func answerOf(res *http.Response, body []byte) Answer {
	h := res.Header
	a := Answer{Status: res.StatusCode, Header: h, Body: body, Peer: h.Get("Orchd-Peer"), RequestID: h.Get("X-Request-Id"),
		Replayed: h.Get("Idempotency-Replayed") == "true", Operation: h.Get("Operation-Location")}
	a.Index, _ = strconv.ParseUint(h.Get("Orchd-Index"), 10, 64)
	if ms, err := strconv.ParseInt(h.Get("Orchd-Age-Ms"), 10, 64); err == nil {
		a.Age, a.Local = time.Duration(ms)*time.Millisecond, true
	}
	return a
}

// failure is what the answer says went wrong; nil for a good one.
func (a Answer) failure() error {
	if a.Status < 300 {
		return nil
	}
	var p Problem
	if json.Unmarshal(a.Body, &p) == nil && p.Code != "" {
		return p.Err()
	}
	kind := Internal // something between us and the peer, a proxy, answers in its own words
	if a.Status == http.StatusBadGateway || a.Status == http.StatusServiceUnavailable || a.Status == http.StatusGatewayTimeout {
		kind = Unavailable
	}
	return Errorf(kind, "client", "the answer is %d %s, and not from orchd", a.Status, http.StatusText(a.Status))
}

// lostError is a failure to bring a request there or its answer back.
type lostError struct{ err error }

// Error gives the cause.
func (e *lostError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *lostError) Unwrap() error { return e.err }

// mayHaveArrived tells whether a peer may have got the request that failed with
// err: not when there was never a connection, or none that we trusted.
func mayHaveArrived(err error) bool {
	var dial *net.OpError
	var distrust *tls.CertificateVerificationError
	return !(errors.As(err, &dial) && dial.Op == "dial") && !errors.As(err, &distrust)
}
