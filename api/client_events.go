package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/orchd/orchd/api/planted"
)

// Now is where events begin that come after the first peer was asked.
var Now = After(math.MaxUint64)

// eventPatience is how long a stream may be silent: peers break their silence every 15 s.
const eventPatience = 45 * time.Second

// WithSince begins with the first event kept that is not before t. It goes with Now.
func WithSince(t time.Time) CallOption {
	return WithQuery("since", t.UTC().Format(time.RFC3339Nano))
}

// Events walks through the events behind since, those that f wants: in order, none
// missing, none twice, across broken connections, for it goes on at the next address
// behind the last event that it gave. With follow it goes on for ever, else it ends
// with what had happened when it began. It ends after the first error, which is the
// end of ctx, or what a peer answered that no other would answer otherwise, or, as
// long as nothing was heard, and always without follow, that no peer could be
// reached within Timeout.
func (c *Client) Events(ctx context.Context, since Position, f EventFilter, follow bool, opts ...CallOption) iter.Seq2[Event, error] {
	k := &call{method: http.MethodGet, path: "/v1/events", query: url.Values{}, header: http.Header{"Accept": {"text/event-stream"}}}
	k.query["table"], k.query["key"] = f.Tables, f.Keys
	k.query.Set("follow", strconv.FormatBool(follow))
	if f.Account != "" {
		k.query.Set("account", f.Account)
	}
	if since != Now {
		k.query.Set("since", since.String())
	}
	for _, o := range opts {
		o(k)
	}
	return func(yield func(Event, error) bool) {
		r := &reading{client: c, call: k, follow: follow, yield: yield, at: since}
		if err := r.persist(ctx); err != nil && !errors.Is(err, errEnough) {
			yield(Event{}, err)
		}
	}
}

// errEnough ends a walk whose caller wants no more.
var errEnough = errors.New("the caller wants no more")

// reading is a walk through events over one or many connections.
type reading struct {
	client *Client
	call   *call
	follow bool
	yield  func(Event, error) bool
	at     Position // all up to here has been given; Now: nobody has said yet where that is
	heard  bool     // a peer has said something
}

// persist visits the addresses in turn until the walk ends. It goes to the next one
// at once after a visit that brought something, else it waits when all have been tried.
func (r *reading) persist(ctx context.Context) error {
	peers := r.client.peers
	deadline := time.Now().Add(r.client.cfg.Timeout)
	pause, idle, underway := firstPause, 0, false
	for n := int(r.client.newest.Load()); ; n = (n + 1) % len(peers) {
		before := r.at
		err := r.visit(ctx, n)
		switch {
		case err == nil, ctx.Err() != nil:
			return ctx.Err()
		case attempt{err: err}.final():
			return err
		case r.at != before:
			deadline = time.Now().Add(r.client.cfg.Timeout)
			pause, idle, underway = firstPause, 0, false
			continue
		}
		underway = underway || mayHaveArrived(err)
		if idle++; idle%len(peers) != 0 {
			continue
		}
		if !(r.heard && r.follow) && (!underway || time.Now().Add(pause).After(deadline)) {
			return r.giveUp(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause, underway = min(2*pause, lastPause), false
	}
}

// giveUp is the error of a walk for which no peer was there.
func (r *reading) giveUp(err error) error {
	if IsKind(err, Unavailable) {
		return err
	}
	return r.client.unreachable(err)
}

// visit opens the stream of one address and gives its events; nil at the end of the walk.
func (r *reading) visit(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(r.client.cfg.Attempt, cancel)
	defer silence.Stop()
	if r.at != Now {
		r.call.header.Set("Last-Event-ID", r.at.String())
	}
	to := r.client.peers[n]
	req, err := r.client.request(ctx, to, r.call)
	if err != nil {
		return Errorf(Invalid, "client", "make the request: %w", err)
	}
	res, err := to.http.Do(req)
	if err != nil {
		return &lostError{err}
	}
	defer res.Body.Close()
	if err := refusedStream(res); err != nil {
		return err
	}
	r.client.newest.Store(int64(n))
	return r.read(res.Body, func() { silence.Reset(eventPatience) })
}

// refusedStream is nil when the answer is an event stream.
func refusedStream(res *http.Response) error {
	if res.StatusCode == http.StatusOK && res.Header.Get("Content-Type") == "text/event-stream" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return &lostError{err}
	}
	if err := answerOf(res, body).failure(); err != nil {
		return err
	}
	return Errorf(Internal, "client", "the answer is no stream of events: it is not from orchd")
}

// read gives the events of one connection; nil at the end of the walk.
func (r *reading) read(body io.Reader, heard func()) error {
	for f, err := range frames(body, heard) {
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			return Errorf(Internal, "client", "an event has more than %d MiB", maxEventLine>>20)
		case err != nil:
			return &lostError{err}
		case f.event == "end":
			return nil
		}
		if err := r.give(f); err != nil {
			return err
		}
	}
	return &lostError{io.ErrUnexpectedEOF}
}

// give hands on an event, unless it has been given.
func (r *reading) give(f frame) error {
	r.heard = true
	at, err := ParsePosition(f.id)
	if err != nil {
		return Errorf(Internal, "client", "an event has the id %q: %w", f.id, err)
	}
	if r.at != Now && !r.at.Before(at) && !planted.Is(planted.EventTwice) { // what was given is given again
		return nil
	}
	if f.event == "change" {
		var e Event
		if err := json.Unmarshal(f.data, &e); err != nil {
			return Errorf(Internal, "client", "event %s is not what it should be: %w", f.id, err)
		}
		if !r.yield(e, nil) {
			return errEnough
		}
	}
	r.at = at
	return nil
}

// Settings shows what must be alike on all peers.
func (c *Client) Settings(ctx context.Context, opts ...CallOption) (Settings, error) {
	return ask[Settings](ctx, c, http.MethodGet, "/v1/settings", nil, opts)
}

// PatchSettings changes settings by a merge patch (RFC 7396): null gives one its
// default again. It gives all of them as they are then.
func (c *Client) PatchSettings(ctx context.Context, patch json.RawMessage, opts ...CallOption) (Settings, error) {
	return ask[Settings](ctx, c, http.MethodPatch, "/v1/settings", patch, opts)
}
