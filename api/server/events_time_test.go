package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
)

// clientEnd is a client's end of an answer: what it has been sent, unless it does
// not read; then a write lasts until its deadline.
type clientEnd struct {
	header http.Header
	stuck  bool

	mu       sync.Mutex
	text     strings.Builder
	deadline time.Time
}

func newClientEnd() *clientEnd { return &clientEnd{header: http.Header{}} }

func (w *clientEnd) Header() http.Header { return w.header }
func (w *clientEnd) WriteHeader(int)     {}
func (w *clientEnd) Flush()              {}

func (w *clientEnd) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return nil
}

func (w *clientEnd) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stuck {
		time.Sleep(time.Until(w.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	return w.text.Write(b)
}

func (w *clientEnd) sent() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// followSlowly lets a server answer to w; done is closed when it has.
func followSlowly(ctx context.Context, s *Server, w *clientEnd, query string) (done chan struct{}) {
	r := httptest.NewRequestWithContext(ctx, "GET", "/v1/events?"+query, nil)
	r.Header.Set("Authorization", "Bearer viewer")
	done = make(chan struct{})
	go func() {
		defer close(done)
		s.Handler().ServeHTTP(w, r)
	}()
	return done
}

// TestSilentStreamIsKeptAlive: proxies and clients see every 15 s that it lives, and
// how far it has come.
func TestSilentStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ctx, leave := context.WithCancel(t.Context())
		w := newClientEnd()
		done := followSlowly(ctx, New(Config{}, f, testLog(t)), w, "since=7&account=other&table=images")
		time.Sleep(3*eventSilence + time.Second)
		synctest.Wait()
		if want := "id: 7\n\n" + strings.Repeat(":\nid: 9.1\n\n", 3); w.sent() != want {
			t.Errorf("got %q\nwant %q", w.sent(), want)
		}
		if !w.deadline.IsZero() {
			t.Errorf("a deadline of %s stands over a silent stream", w.deadline)
		}
		leave()
		<-done
		if f.openStreams() != 0 {
			t.Error("the stream is open for a client that left")
		}
	})
}

// TestEventsTravelTogether: what happens at once is sent at once, and not later than 5 ms.
func TestEventsTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ctx, leave := context.WithCancel(t.Context())
		w := newClientEnd()
		done := followSlowly(ctx, New(Config{}, f, testLog(t)), w, "")
		synctest.Wait()
		f.happen(api.Event{Index: 11, N: 1, Table: "vms"}, api.Event{Index: 11, N: 2, Table: "vms"})
		synctest.Wait()
		if strings.Contains(w.sent(), "change") {
			t.Errorf("sent before others could come: %q", w.sent())
		}
		time.Sleep(eventLinger)
		synctest.Wait()
		if n := strings.Count(w.sent(), "event: change"); n != 2 {
			t.Errorf("got %d events, want 2: %q", n, w.sent())
		}
		leave()
		<-done
	})
}

// TestClientThatDoesNotRead holds one buffer, and after a minute its stream is over.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fillMany(20, 100_000)
		w := newClientEnd()
		w.stuck = true
		begun := time.Now()
		<-followSlowly(t.Context(), New(Config{}, f, testLog(t)), w, "since=0")
		if took := time.Since(begun); took != sendTimeout {
			t.Errorf("the stream ended after %s, want %s", took, sendTimeout)
		}
		if f.openStreams() != 0 || f.given() > 0 {
			t.Errorf("%d streams open, %d events taken for a client that reads none", f.openStreams(), f.given())
		}
	})
}

// TestClientThatStopsReading is the same in the midst of it.
func TestClientThatStopsReading(t *testing.T) {
	f, follow := serveEvents(t)
	f.fillMany(20, 200_000)
	res := follow("since=0")
	if _, err := io.CopyN(io.Discard, res.Body, 1<<16); err != nil {
		t.Fatal(err)
	}
	before := -1
	eventually(t, func() error { // what is on its way ends in the buffers of the connection
		defer func() { before = f.given() }()
		if now := f.given(); now != before {
			return fmt.Errorf("still taking events: %d by now", now)
		}
		return nil
	})
	if before == 200_000 {
		t.Error("all events were taken for a client that does not read")
	}
}

// revocable is a fake whose credentials can be taken back.
type revocable struct {
	*fake
	revoked, mute atomic.Bool
}

func (r *revocable) Authenticate(ctx context.Context, bearer string) (api.Actor, error) {
	switch {
	case r.mute.Load():
		return api.Actor{}, &api.Error{Kind: api.Unavailable, Msg: "starting"}
	case r.revoked.Load():
		return api.Actor{}, &api.Error{Kind: api.Unauthenticated, Msg: "the token has expired"}
	}
	return r.fake.Authenticate(ctx, bearer)
}

func TestStreamEndsWithItsCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &revocable{fake: newFake()}
		w := newClientEnd()
		done := followSlowly(t.Context(), New(Config{}, b, testLog(t)), w, "")
		synctest.Wait()
		b.mute.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("a peer that cannot tell whether a credential is good has ended a stream")
		default:
		}
		b.mute.Store(false)
		b.revoked.Store(true)
		begun := time.Now()
		<-done
		if took := time.Since(begun); took > credentialCheck+eventSilence {
			t.Errorf("the stream went on for %s", took)
		}
		if !strings.HasSuffix(w.sent(), ": the credential is no longer good\n\n") {
			t.Errorf("the client was told %q", w.sent())
		}
	})
}

func TestStreamEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		s := New(Config{}, f, testLog(t))
		done := followSlowly(t.Context(), s, newClientEnd(), "")
		synctest.Wait()
		close(s.stopping)
		<-done
	})
}
