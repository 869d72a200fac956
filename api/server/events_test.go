package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// block is what stands between two empty lines of an event stream.
type block struct{ id, event, data string }

// blocks reads an event stream, comments left out.
func blocks(r io.Reader) func() (block, error) {
	lines := bufio.NewReader(r)
	return func() (b block, err error) {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return b, err
			}
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch field {
			case "id":
				b.id = value
			case "event":
				b.event = value
			case "data":
				b.data += value
			case "":
				if b != (block{}) {
					return b, nil
				}
			}
		}
	}
}

// idsOf asks for a stream that ends, and gives the ids of its changes.
func idsOf(t *testing.T, res *http.Response) (ids []string) {
	t.Helper()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %d %s: %s", res.StatusCode, res.Header.Get("Content-Type"), read(t, res))
	}
	for next := blocks(res.Body); ; {
		b, err := next()
		if err != nil {
			t.Fatalf("%v before the event that ends the stream", err)
		}
		switch b.event {
		case "end":
			return ids
		case "change":
			var e api.Event
			if err := json.Unmarshal([]byte(b.data), &e); err != nil || e.Position().String() != b.id {
				t.Fatalf("event %s: %v in %s", b.id, err, b.data)
			}
			ids = append(ids, b.id)
		}
	}
}

func TestEventsFromAPosition(t *testing.T) {
	_, _, ask := startFake(t)
	for _, c := range []struct {
		query  string
		header []string
		want   string
	}{
		{"since=0", nil, "4.1 7.1 7.2 7.3 9.1"},
		{"since=4", nil, "7.1 7.2 7.3 9.1"},
		{"since=7.1", nil, "7.2 7.3 9.1"},
		{"since=7.2", nil, "7.3 9.1"},
		{"since=7", nil, "9.1"},
		{"since=10", nil, ""},
		{"since=99", nil, ""},
		{"", nil, ""}, // now
		{"consistency=local", nil, ""},
		{"since=0", []string{"Last-Event-ID", "7.2"}, "7.3 9.1"},
		{"since=2026-01-02T03:04:06Z", []string{"Last-Event-ID", "4.1"}, "9.1"},
		{"since=0&table=vms", nil, "7.1 9.1"},
		{"since=0&table=vms,images", nil, "4.1 7.1 9.1"},
		{"since=0&table=vms&table=images", nil, "4.1 7.1 9.1"},
		{"since=0&key=" + vmID + "," + opID, nil, "7.1 7.2"},
		{"since=0&account=other", nil, "9.1"},
		{"since=2026-01-02T03:04:05Z", nil, "7.1 7.2 7.3 9.1"},
		{"since=2026-01-02T03:04:06Z", nil, "9.1"},
		{"since=2026-02-02T03:04:06Z", nil, ""},
		{"since=2020-01-01T00:00:00Z", nil, "4.1 7.1 7.2 7.3 9.1"},
	} {
		res := ask("GET", "/v1/events?follow=false&"+c.query, "", c.header...)
		if got := strings.Join(idsOf(t, res), " "); got != c.want {
			t.Errorf("%s %v: got %s, want %s", c.query, c.header, got, c.want)
		}
	}
}

// TestEventsOfAnAccount: who is bound to an account sees its rows, of the tables
// that have a kind which that role may read.
func TestEventsOfAnAccount(t *testing.T) {
	f, _, ask := startFake(t)
	f.happen(api.Event{Index: 10, N: 1, Table: "tokens", Account: "default"}, api.Event{Index: 10, N: 2, Table: "settings"})
	for _, c := range []struct{ role, query, want string }{
		{"viewer", "", "4.1 7.1 7.2 7.3 9.1 10.1 10.2"},
		{"viewer@default", "", "7.1 7.2"},
		{"operator@default", "&account=default", "7.1 7.2"},
		{"controller@other", "", "9.1"},
		{"admin@default", "", "7.1 7.2 10.1"},
		{"viewer@empty", "", ""},
	} {
		res := ask("GET", "/v1/events?since=0&follow=false"+c.query, "", "Authorization", "Bearer "+c.role)
		if got := strings.Join(idsOf(t, res), " "); got != c.want {
			t.Errorf("%s: got %s, want %s", c.role, got, c.want)
		}
	}
	if res := ask("GET", "/v1/events?account=other", "", "Authorization", "Bearer viewer@default"); res.StatusCode != http.StatusForbidden {
		t.Errorf("the events of another account: got %d, want 403", res.StatusCode)
	}
}

func TestEventsRefused(t *testing.T) {
	f, _, ask := startFake(t)
	f.oldest = 7
	for _, c := range []struct {
		query   string
		header  []string
		status  int
		pointer string
	}{
		{"since=5", nil, http.StatusGone, ""},
		{"since=-1", nil, http.StatusBadRequest, "/query/since"},
		{"since=7.", nil, http.StatusBadRequest, "/query/since"},
		{"since=7.x", nil, http.StatusBadRequest, "/query/since"},
		{"since=99999999999999999999", nil, http.StatusBadRequest, "/query/since"},
		{"since=yesterday", nil, http.StatusBadRequest, "/query/since"},
		{"", []string{"Last-Event-ID", "x"}, http.StatusBadRequest, "/header/Last-Event-ID"},
		{"follow=maybe", nil, http.StatusBadRequest, "/query/follow"},
		{"consistency=maybe", nil, http.StatusBadRequest, "/query/consistency"},
		{"tabel=vms", nil, http.StatusBadRequest, "/query/tabel"},
		{"key=" + strings.Repeat("k", 200), nil, http.StatusBadRequest, "/query/key"},
		{"table=" + strings.Repeat("t,", 200), nil, http.StatusBadRequest, "/query/table"},
		{"account=%00", nil, http.StatusBadRequest, "/query/account"},
	} {
		res := ask("GET", "/v1/events?"+c.query, "", c.header...)
		var p api.Problem
		if err := json.Unmarshal([]byte(read(t, res)), &p); err != nil || res.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d (%v)", c.query, res.StatusCode, c.status, err)
		}
		if c.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer) {
			t.Errorf("%s: got %v, want an error at %s", c.query, p.Errors, c.pointer)
		}
		if c.status == http.StatusGone && !strings.Contains(p.Detail, "the oldest index that is kept is 7") {
			t.Errorf("%s: %q does not name the oldest index", c.query, p.Detail)
		}
	}
	if f.openStreams() != 0 {
		t.Errorf("%d streams are open for nobody", f.openStreams())
	}
	f.fail = &api.Error{Kind: api.Unavailable, Msg: "no leader"}
	if res := ask("GET", "/v1/events", ""); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("now, without quorum: got %d, want 503", res.StatusCode)
	}
}

func TestEventsMethods(t *testing.T) {
	f, _, ask := startFake(t)
	res := ask("HEAD", "/v1/events?since=0", "")
	if body := read(t, res); res.StatusCode != http.StatusOK || body != "" || res.Header.Get("Content-Type") != "text/event-stream" || f.openStreams() != 0 {
		t.Errorf("HEAD: got %d %q, %d streams open", res.StatusCode, body, f.openStreams())
	}
	f.oldest = 100
	if res := ask("HEAD", "/v1/events?since=0", ""); res.StatusCode != http.StatusGone {
		t.Errorf("HEAD of what is no longer kept: got %d, want 410", res.StatusCode)
	}
	if res := ask("POST", "/v1/events", ""); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("POST: got %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	if res := ask("GET", "/v1/events/1", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("a path below: got %d, want 404", res.StatusCode)
	}
}

// serveEvents answers over TCP for a fake; follow opens a stream.
func serveEvents(t *testing.T) (f *fake, follow func(query string) *http.Response) {
	f = newFake()
	web := httptest.NewServer(awaited(t, New(Config{}, f, testLog(t)).Handler()))
	t.Cleanup(web.Close)
	return f, func(query string) *http.Response {
		return getFrom(t, web.Listener.Addr().String(), "/v1/events?"+query)
	}
}

// TestEventsAreFollowed: a stream that begins at now says where that is, and gives
// what comes, as it comes.
func TestEventsAreFollowed(t *testing.T) {
	f, follow := serveEvents(t)
	res := follow("")
	next := blocks(res.Body)
	if b, err := next(); err != nil || b != (block{id: "10"}) {
		t.Fatalf("got %v, %v, want the position of now", b, err)
	}
	for n := range 3 {
		f.happen(api.Event{Index: uint64(11 + n), N: 1, Table: "vms", Key: vmID, Verb: api.Updated})
		if b, err := next(); err != nil || b.id != fmt.Sprintf("%d.1", 11+n) || b.event != "change" {
			t.Fatalf("got %v, %v, want change %d.1", b, err, 11+n)
		}
	}
	res.Body.Close()
	eventually(t, func() error {
		if n := f.openStreams(); n != 0 {
			return fmt.Errorf("%d streams are open for a client that left", n)
		}
		return nil
	})
}

// TestEventsCutAndResumed reads 10,000 changes of one entry, and leaves after each
// few of them.
func TestEventsCutAndResumed(t *testing.T) {
	f, follow := serveEvents(t)
	f.fillMany(20, 10000)
	var ids []string
	for since := "9"; len(ids) < 10000; {
		res := follow("since=" + since)
		next := blocks(res.Body)
		for range 1 + 777 {
			b, err := next()
			if err != nil {
				t.Fatal(err)
			}
			since = b.id
			if b.event == "change" {
				ids = append(ids, b.id)
			}
			if len(ids) == 10000 {
				break
			}
		}
		res.Body.Close()
	}
	for i, id := range ids {
		if want := fmt.Sprintf("20.%d", i+1); id != want {
			t.Fatalf("change %d: got %s, want %s", i, id, want)
		}
	}
}

// TestLargeEvent: a row of a mebibyte is one line.
func TestLargeEvent(t *testing.T) {
	f, _, ask := startFake(t)
	value, _ := json.Marshal(strings.Repeat("<é\n", 300_000))
	f.events[0].Value = value
	_, body, _ := strings.Cut(read(t, ask("GET", "/v1/events?since=0&follow=false&table=images", "")), "data: ")
	line, _, _ := strings.Cut(body, "\n")
	var e api.Event
	if err := json.Unmarshal([]byte(line), &e); err != nil || string(e.Value) != string(value) {
		t.Errorf("got %d bytes (%v), want %d", len(e.Value), err, len(value))
	}
}

func TestEventsPerCredential(t *testing.T) {
	f, follow := serveEvents(t)
	for range maxFollowersEach {
		if res := follow("since=9"); res.StatusCode != http.StatusOK {
			t.Fatalf("got %d", res.StatusCode)
		}
	}
	res := follow("since=9")
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: got %d, want 429 with Retry-After", res.StatusCode)
	}
	if n := f.openStreams(); n != maxFollowersEach {
		t.Errorf("%d streams are open, want %d", n, maxFollowersEach)
	}
}

func TestFollowersOfAPeer(t *testing.T) {
	f := newFollowers()
	var leave []func()
	for n := range maxFollowers {
		l, err := f.enter(fmt.Sprint(n))
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		leave = append(leave, l)
	}
	if _, err := f.enter("late"); !api.IsKind(err, api.Unavailable) {
		t.Errorf("one too many: got %v, want Unavailable: another peer may have room", err)
	}
	leave[0]()
	if _, err := f.enter("late"); err != nil {
		t.Errorf("after one left: %v", err)
	}
	for _, l := range leave[1:] {
		l()
	}
	if f.all != 1 || len(f.of) != 1 {
		t.Errorf("all but one left: %d of %v are counted", f.all, f.of)
	}
}

func TestWhereATimeBegins(t *testing.T) {
	ranges := []api.ChangeRange{
		{From: 5, To: 9, Since: day(1), Until: day(3)},
		{From: 10, To: 19}, // nothing changed
		{From: 20, To: 29, Since: day(4), Until: day(6)},
	}
	for _, c := range []struct {
		at     time.Time
		ranges []api.ChangeRange
		want   uint64
	}{
		{day(1), nil, 0},
		{day(1), ranges, 4},
		{day(3), ranges, 4},
		{day(3).Add(1), ranges, 19},
		{day(6), ranges, 19},
		{day(7), ranges, 29},
	} {
		if got := behindAllBefore(c.at, c.ranges); got != api.After(c.want) {
			t.Errorf("%s: got %s, want %d", c.at, got, c.want)
		}
	}
}

func TestEventIsInTheDocuments(t *testing.T) {
	_, _, ask := startFake(t)
	if page := read(t, ask("GET", "/docs", "")); !strings.Contains(page, "Last-Event-ID") {
		t.Error("/docs says nothing of Last-Event-ID")
	}
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal([]byte(read(t, ask("GET", "/schemas/Event.json", ""))), &schema); err != nil || schema.Properties["verb"] == nil {
		t.Errorf("/schemas/Event.json: %v, %v", schema, err)
	}
}

// TestEventsOfGuests: who is bound follows what belongs to its account and no more.
func TestEventsOfGuests(t *testing.T) {
	f, _, ask := startFake(t)
	for n, table := range []string{"images", "ssh_keys", "disk_snapshots", "placements", "usage", "leases", "sizes", "seeds"} {
		f.happen(api.Event{Index: uint64(20 + n), N: 1, Table: table, Key: "mine", Account: "default"},
			api.Event{Index: uint64(20 + n), N: 2, Table: table, Key: "theirs", Account: "other"})
	}
	f.happen(api.Event{Index: 40, N: 1, Table: "images", Key: "everybodys"})
	f.index = 50
	res := ask("GET", "/v1/events?since=19&follow=false", "", "Authorization", "Bearer viewer@default")
	body := read(t, res)
	if got := strings.Count(body, `"mine"`); got != 5 || strings.Contains(body, "theirs") {
		t.Errorf("got %d of 5 of its own:\n%s", got, body)
	}
}
