package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// stream makes the peer answer /v1/events: the events, and then an end when the
// client does not follow, else what more says, until the client leaves.
func (f *fake) stream(more <-chan api.Event, events ...api.Event) *fake {
	f.mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "id: 40\n\n")
		for _, e := range events {
			f.send(w, e)
		}
		if r.URL.Query().Get("follow") == "false" {
			fmt.Fprint(w, "event: end\ndata: {}\n\n")
			return
		}
		for {
			select {
			case e := <-more:
				f.send(w, e)
			case <-r.Context().Done():
				return
			}
		}
	})
	return f
}

func (f *fake) send(w http.ResponseWriter, e api.Event) {
	fmt.Fprintf(w, "id: %s\nevent: change\ndata: ", e.Position())
	text := json.NewEncoder(w)
	text.SetEscapeHTML(false)
	if err := text.Encode(e); err != nil {
		f.t.Error(err)
	}
	fmt.Fprintln(w)
	w.(http.Flusher).Flush()
}

func someEvents() []api.Event {
	return []api.Event{
		{Index: 41, N: 1, Time: now.Add(-time.Hour), Actor: "uid:0", RequestID: "r41", Table: "vms", Key: vmID, Account: "default", Verb: api.Created, Value: json.RawMessage(`{"name":"<web1>"}`)},
		{Index: 41, N: 2, Time: now.Add(-time.Hour), Actor: "uid:0", RequestID: "r41", Table: "operations", Key: opID, Account: "default", Verb: api.Created, Value: json.RawMessage(`{}`)},
		{Index: 57, N: 1, Time: now, Actor: "token:3fQx", Table: "ethernet_interfaces", Key: "a4bf0138ee65", Verb: api.Deleted},
	}
}

func TestEvents(t *testing.T) {
	for _, format := range formats {
		r := newFake(t).stream(nil, someEvents()...).run("events", "--since", "40", "-o", format)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%s: exit %d, %q", format, r.code, r.stderr)
		}
		golden(t, "events-"+format+".golden", r.stdout)
	}
	if r := newFake(t).stream(nil).run("events"); r.code != 0 || r.stdout != "" || r.stderr != "nothing has changed\n" {
		t.Errorf("no events: exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

func TestEventsAskFor(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"events", "follow=false&since=2026-11-01T11%3A00%3A00Z"},
		{"events --since 24h", "follow=false&since=2026-10-31T12%3A00%3A00Z"},
		{"events --since 2026-10-01T00:00:00+02:00", "follow=false&since=2026-09-30T22%3A00%3A00Z"},
		{"events --since 0", "follow=false&since=0"},
		{"events --since 4711.3", "follow=false&since=4711.3"},
		{"events --since 1 --table vms,images --table peers --key a --account team --local", "account=team&consistency=local&follow=false&key=a&since=1&table=vms&table=images&table=peers"},
	} {
		f := newFake(t).stream(nil)
		f.run(strings.Fields(c.line)...)
		if len(f.asked) != 1 || f.asked[0] != "GET /v1/events?"+c.want {
			t.Errorf("%s: asked %v, want %s", c.line, f.asked, c.want)
		}
	}
}

func TestEventsThatFail(t *testing.T) {
	for _, c := range []struct {
		line   string
		err    *api.Error
		code   int
		stderr string
	}{
		{"events --since x", nil, exitUsage, "--since wants INDEX or INDEX.N, as 4711 or 4711.3, or a time, as 90m or 2026-11-01T03:12:00Z; got \"x\""},
		{"events --since -1h", nil, exitUsage, "--since wants"},
		{"events x", nil, exitUsage, "want: orchd events"},
		{"events --since 5", &api.Error{Kind: api.Gone, Msg: "the oldest index that is kept is 9"}, exitNotFound, "the oldest index that is kept is 9"},
		{"events", &api.Error{Kind: api.Forbidden, Msg: "no"}, exitNotAllowed, "use a token of a role that may"},
		{"events --table vsm", &api.Error{Kind: api.Invalid, Msg: "no changes are kept of a table \"vsm\""}, exitUsage, "of a table \"vsm\""},
	} {
		f := newFake(t)
		if c.err != nil {
			f.answer("GET /v1/events", c.err)
		}
		if r := f.run(strings.Fields(c.line)...); r.code != c.code || !strings.Contains(r.stderr, c.stderr) {
			t.Errorf("%s: exit %d, %q; want %d, %q", c.line, r.code, r.stderr, c.code, c.stderr)
		}
	}
}

// screen is a stdout that a test looks at while the command runs.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // has something whenever text has grown
}

func newScreen() *screen { return &screen{more: make(chan struct{}, 1)} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// until waits until the screen shows that.
func (s *screen) until(t *testing.T, want string) {
	t.Helper()
	late := time.After(10 * time.Second)
	for !strings.Contains(s.String(), want) {
		select {
		case <-s.more:
		case <-late:
			t.Fatalf("still missing: %q in\n%s", want, s)
		}
	}
}

// follow runs a command that does not end by itself; stop interrupts it and gives its exit code.
func (f *fake) follow(args ...string) (out, errs *screen, stop func() int) {
	ctx, cancel := context.WithCancel(f.t.Context())
	out, errs = newScreen(), newScreen()
	code := make(chan int)
	go func() {
		a := App{Environ: []string{"ORCHD_ADDR=unix://" + f.socket}, Stdout: out, Stderr: errs, Now: func() time.Time { return now }}
		code <- a.Run(ctx, args)
	}()
	return out, errs, func() int {
		cancel()
		return <-code
	}
}

func TestEventsFollowed(t *testing.T) {
	more := make(chan api.Event)
	f := newFake(t).stream(more)
	out, errs, stop := f.follow("events", "--follow", "-o", "json")
	for _, e := range someEvents() {
		more <- e
		out.until(t, fmt.Sprintf("\"index\":%d,\"n\":%d,", e.Index, e.N))
	}
	if code := stop(); code != exitInterrupted || errs.String() != "" {
		t.Errorf("interrupted: exit %d, %q", code, errs)
	}
	if f.asked[0] != "GET /v1/events?follow=true" {
		t.Errorf("asked %v, want those from now on", f.asked)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 3 {
		t.Errorf("%d lines for 3 events:\n%s", lines, out)
	}
}
