package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// history answers /v1/events as a peer does: each row is an event, index n / 10 + 1.
type history struct {
	events int
	cut    func(i int) bool // whether the connection breaks in the middle of the i-th event that it sends

	mu    sync.Mutex
	asked []string // "since|Last-Event-ID" of each request
}

func eventAt(n int) Event {
	return Event{Index: uint64(n/10 + 1), N: uint64(n%10 + 1), Actor: "uid:0", Table: "vms", Key: strconv.Itoa(n), Verb: Updated}
}

func (h *history) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, r.URL.Query().Get("since")+"|"+r.Header.Get("Last-Event-ID"))
	h.mu.Unlock()
	since := After(0)
	for _, text := range []string{r.URL.Query().Get("since"), r.Header.Get("Last-Event-ID")} {
		if at, err := ParsePosition(text); err == nil {
			since = at
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, ": hello\nid: %s\n\n", since)
	sent := 0
	for n := range h.events {
		e := eventAt(n)
		if !since.Before(e.Position()) {
			continue
		}
		text, _ := json.Marshal(e)
		line := fmt.Sprintf("id: %s\r\nevent: change\ndata: %s\n\n", e.Position(), text)
		if sent++; h.cut != nil && h.cut(sent) {
			io.WriteString(w, line[:len(line)-1-sent%len(line)])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, line)
	}
	if r.URL.Query().Get("follow") == "false" {
		io.WriteString(w, "event: end\ndata: {}\n\n")
		return
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// inOrder checks that the events are those from the first on, each once.
func inOrder(t *testing.T, events iter.Seq2[Event, error], want int) {
	t.Helper()
	n := 0
	for e, err := range events {
		if err != nil {
			t.Fatalf("after %d events: %v", n, err)
		}
		if e.Key != strconv.Itoa(n) {
			t.Fatalf("event %d: got %s", n, e.Key)
		}
		if n++; n == want {
			return
		}
	}
	if n != want {
		t.Fatalf("got %d events, want %d", n, want)
	}
}

// TestEventsAcrossCuts: connections break in the middle of events, at two peers in
// turn, and yet none is missing and none comes twice.
func TestEventsAcrossCuts(t *testing.T) {
	for name, cut := range map[string]func(int) bool{
		"never":        nil,
		"every 7th":    func(i int) bool { return i == 7 },
		"the 5000th":   func(i int) bool { return i == 5000 },
		"now and then": func(int) bool { return rand.IntN(50) == 0 },
	} {
		for _, follow := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, follow %v", name, follow), func(t *testing.T) {
				a, b := &history{events: 10_000, cut: cut}, &history{events: 10_000, cut: cut}
				c := newClient(t, ClientConfig{Addrs: []string{serve(t, a.ServeHTTP), closed(t), serve(t, b.ServeHTTP)}})
				inOrder(t, c.Events(t.Context(), After(0), EventFilter{}, follow), 10_000)
				if cut != nil && len(b.asked) == 0 {
					t.Error("the other peer was never asked")
				}
			})
		}
	}
}

// TestEventsSayWhatIsWanted: every request says what the first one asked for, and
// the later ones where to go on.
func TestEventsSayWhatIsWanted(t *testing.T) {
	h := &history{events: 25, cut: func(i int) bool { return i == 12 }}
	var queries []url.Values
	c := newClient(t, ClientConfig{Token: "secret", Addrs: []string{serve(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.Query())
		if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("headers: %v", r.Header)
		}
		h.ServeHTTP(w, r)
	})}})
	f := EventFilter{Tables: []string{"vms", "images"}, Keys: []string{"a,b"}, Account: "team"}
	at := time.Date(2026, 11, 1, 3, 12, 0, 0, time.UTC)
	inOrder(t, c.Events(t.Context(), Now, f, false, WithSince(at)), 25)
	want := url.Values{"table": {"vms", "images"}, "key": {"a,b"}, "account": {"team"}, "follow": {"false"}, "since": {"2026-11-01T03:12:00Z"}}
	for _, q := range queries {
		if q.Encode() != want.Encode() {
			t.Errorf("asked %v, want %v", q, want)
		}
	}
	if places := []string{"2026-11-01T03:12:00Z|", "2026-11-01T03:12:00Z|2.1", "2026-11-01T03:12:00Z|3.2"}; !slices.Equal(h.asked, places) {
		t.Errorf("places: got %v, want %v", h.asked, places)
	}
}

// TestEventsBeginAtNow: a connection that breaks before the first event has told where now was.
func TestEventsBeginAtNow(t *testing.T) {
	visits := 0
	c := newClient(t, ClientConfig{Addrs: []string{serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if visits++; visits == 1 {
			fmt.Fprint(w, "id: 40\n\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		if got := r.Header.Get("Last-Event-ID"); got != "40" {
			t.Errorf("comes back behind %q, want 40", got)
		}
		fmt.Fprint(w, "id: 41.1\nevent: change\ndata: {\"index\":41,\"n\":1}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})}})
	for e, err := range c.Events(t.Context(), Now, EventFilter{}, true) {
		if err != nil || e.Index != 41 {
			t.Errorf("got %+v, %v", e, err)
		}
		break
	}
}

func TestEventsThatCannotGoOn(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }
	stream := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, text)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   Kind
	}{
		"too old":       {func(w http.ResponseWriter, _ *http.Request) { refuse(w, Gone, 410) }, Gone},
		"no credential": {func(w http.ResponseWriter, _ *http.Request) { refuse(w, Unauthenticated, 401) }, Unauthenticated},
		"too many":      {func(w http.ResponseWriter, _ *http.Request) { refuse(w, TooMany, 429) }, TooMany},
		"another page":  {page, Internal},
		"a bad id":      {stream("id: x\nevent: change\ndata: {}\n\n"), Internal},
		"bad JSON":      {stream("id: 1.1\nevent: change\ndata: {\n\n"), Internal},
		"endless line":  {stream("data: " + strings.Repeat("x", maxEventLine)), Internal},
	} {
		visits := 0
		client := newClient(t, ClientConfig{Addrs: []string{serve(t, func(w http.ResponseWriter, r *http.Request) {
			visits++
			c.answer(w, r)
		})}})
		var last error
		n := 0
		for _, err := range client.Events(t.Context(), After(0), EventFilter{}, true) {
			last = err
			n++
		}
		if !IsKind(last, c.kind) || n != 1 || visits != 1 {
			t.Errorf("%s: got %v after %d visits, want one error of kind %s", name, last, visits, c.kind.Code())
		}
	}
}

func TestEventsOfNobody(t *testing.T) {
	c := newClient(t, ClientConfig{Addrs: []string{closed(t), closed(t)}})
	for _, err := range c.Events(t.Context(), Now, EventFilter{}, true) {
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
	}
}

func TestEventsUntilCancelled(t *testing.T) {
	h := &history{events: 3}
	c := newClient(t, ClientConfig{Addrs: []string{serve(t, h.ServeHTTP)}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for e, err := range c.Events(ctx, After(0), EventFilter{}, true) {
		if last = err; e.Key == "2" {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", last)
	}
}

// byHand answers each request of a client with what a test says.
type byHand func(*http.Request) (*http.Response, error)

func (f byHand) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// streamOf is an answer whose body ends with the request.
func streamOf(r *http.Request, text string) *http.Response {
	body, end := io.Pipe()
	go func() {
		io.WriteString(end, text)
		<-r.Context().Done()
		end.CloseWithError(r.Context().Err())
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body}
}

// clientByHand is a client of two addresses, whose requests answer takes.
func clientByHand(t *testing.T, answer func(n int, r *http.Request) (*http.Response, error)) *Client {
	c := newClient(t, ClientConfig{Addrs: []string{"http://a", "http://b"}})
	for n := range c.peers {
		c.peers[n].http = &http.Client{Transport: byHand(func(r *http.Request) (*http.Response, error) { return answer(n, r) })}
	}
	return c
}

// TestSilentPeerIsLeft: a peer that says nothing for 45 s is gone, though its connection stands.
func TestSilentPeerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		c := clientByHand(t, func(n int, r *http.Request) (*http.Response, error) {
			return streamOf(r, fmt.Sprintf("id: %d.1\nevent: change\ndata: {\"index\":%d,\"n\":1}\n\n", n+1, n+1)), nil
		})
		for e, err := range c.Events(t.Context(), After(0), EventFilter{}, true) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Index == 2 {
				break
			}
		}
		if took := time.Since(begun); took != eventPatience {
			t.Errorf("went to the next peer after %s, want %s", took, eventPatience)
		}
	})
}

// TestEventsOutlastAnOutage: who follows waits for the peers to come back, for as long
// as it takes; who does not gives up in time.
func TestEventsOutlastAnOutage(t *testing.T) {
	for _, follow := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			back := time.Now().Add(time.Hour)
			visits := 0
			c := clientByHand(t, func(_ int, r *http.Request) (*http.Response, error) {
				visits++
				switch {
				case visits == 1:
					res := streamOf(r, "id: 1.1\nevent: change\ndata: {\"index\":1,\"n\":1}\n\n")
					time.AfterFunc(time.Second, func() { res.Body.Close() })
					return res, nil
				case time.Now().Before(back):
					return nil, errors.New("connection reset")
				}
				return streamOf(r, "id: 2.1\nevent: change\ndata: {\"index\":2,\"n\":1}\n\n"), nil
			})
			var last uint64
			var failed error
			for e, err := range c.Events(t.Context(), After(0), EventFilter{}, follow) {
				if last, failed = max(last, e.Index), err; last == 2 {
					break
				}
			}
			if follow && (last != 2 || failed != nil || visits > 2*3700) {
				t.Errorf("follow: got event %d, %v after %d visits", last, failed, visits)
			}
			if !follow && (last != 1 || !errors.Is(failed, ErrUnreachable) || time.Now().After(back)) {
				t.Errorf("no follow: got event %d, %v", last, failed)
			}
		})
	}
}

func TestFrames(t *testing.T) {
	text := ": comment\n\nid: 1\n\nretry: 5\n\nevent: change\ndata: a\ndata:  b\ndata\n\nid:2\r\ndata:x\r\n\r\nid: \x00\ndata: y\n\ndata: cut off"
	want := []frame{{id: "1"}, {"1", "change", []byte("a\n b\n")}, {"2", "", []byte("x")}, {"2", "", []byte("y")}}
	lines := 0
	var got []frame
	for f, err := range frames(strings.NewReader(text), func() { lines++ }) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if lines != 18 {
		t.Errorf("heard %d lines, want 18", lines)
	}
}
