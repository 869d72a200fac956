package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// served is a server for a fuzz target, with what it logs left out.
func served() http.Handler {
	f := newFake()
	newFakeStates(f)
	return New(Config{Version: "test"}, f, slog.New(slog.DiscardHandler)).Handler()
}

// fuzzTime bounds a request: some routes wait for something to happen.
const fuzzTime = 50 * time.Millisecond

// answerHolds asks, as an admin, and looks at the answer: whatever was asked it is not
// the server's fault, and what says that it is JSON is.
func answerHolds(t *testing.T, h http.Handler, r *http.Request) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fuzzTime)
	defer cancel()
	r = r.WithContext(ctx)
	r.Header.Set("Authorization", "Bearer admin")
	r.RemoteAddr = "192.0.2.1:1234"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == http.StatusInternalServerError || w.Code < 100 {
		t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
	if strings.Contains(w.Header().Get("Content-Type"), "json") && w.Body.Len() > 0 && r.Method != http.MethodHead && !json.Valid(w.Body.Bytes()) {
		for line := range bytes.Lines(w.Body.Bytes()) { // a stream of documents, a line each
			if !json.Valid(line) {
				t.Errorf("%s %s: %d, and no JSON: %s", r.Method, r.URL, w.Code, w.Body)
				return
			}
		}
	}
}

var inBraces = regexp.MustCompile(`\{[^}]*\}`)

// FuzzBodies sends bodies to every route that takes one.
func FuzzBodies(f *testing.F) {
	var with []route
	for _, rt := range routes {
		if rt.method != get && !strings.HasSuffix(rt.path, "...}") {
			with = append(with, rt)
		}
	}
	for i := range with {
		f.Add(uint16(i), []byte(`{"name":"n","spec":{"vcpus":1,"memory_mib":64}}`))
	}
	for i, body := range []string{``, `null`, `[]`, `{"name":"n"`, `{"a":1,"a":2}`, `{"labels":{"\ud800":"\u0000"}}`, `{"count":9223372036854775808}`, `{"ttl":1e400}`,
		`{"cidr":"::/0","gateway":"fe80::1%eth0"}`, strings.Repeat("[", 200) + strings.Repeat("]", 200), `{"kv":{"w_a":{"b":1.5}}}`, "{\"name\":\"\xff\"}", `{} {}`,
		`{"name":"../../etc","path":"/a/../b"}`, `{"script":"def main():\n  pass","trigger":{"every_seconds":-1}}`, `[{"NID":1,"XName":"x0c0s0b0n0"}]`, `{"Components":[{"ID":"x0"}]}`} {
		f.Add(uint16(7*i), []byte(body))
	}
	h := served()
	f.Fuzz(func(t *testing.T, which uint16, body []byte) {
		rt := with[int(which)%len(with)]
		path := inBraces.ReplaceAllString(rt.path, vmID)
		answerHolds(t, h, httptest.NewRequest(strings.ToUpper(rt.method), path, bytes.NewReader(body)))
	})
}

// FuzzRequests sends whatever net/http takes for a request: paths, queries, cursors,
// If-Match, Idempotency-Key, Last-Event-ID, ranges, double and odd headers.
func FuzzRequests(f *testing.F) {
	for _, line := range []string{
		"GET /v1/vms?limit=1&cursor=dm0%2F HTTP/1.1", "GET /v1/vms/..%2f..%2fetc HTTP/1.1", "GET //v1//vms/%00 HTTP/1.1", "GET /v1/vms?cursor=%ff&cursor=x HTTP/1.1",
		"GET /v1/events?since=7.1&follow=false&table=vms,,images&key=%0a HTTP/1.1\r\nLast-Event-ID: 7.2", "GET /v1/events?since=2026-01-02T03:04:05Z HTTP/1.1",
		"PUT /v1/vms/web1 HTTP/1.1\r\nIf-Match: \"18446744073709551616\"", "DELETE /v1/vms/web1 HTTP/1.1\r\nIf-Match: W/\"1\", \"2\"\r\nIdempotency-Key: k",
		"POST /v1/vms HTTP/1.1\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\n{}", "POST /v1/vms HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0",
		"GET /v1/snapshots/..%2f..%2fraft/known.json HTTP/1.1", "GET /v1/changes/1-18446744073709551615.parquet HTTP/1.1\r\nRange: bytes=-1,5-4,0-", "HEAD /v1/status HTTP/1.1",
		"GET /hsm/v2/State/Components?nid_start=-1&type=!Node&type=x HTTP/1.1", "GET /hsm/v2/State/Components/x0c0 HTTP/1.1", "GET /inventory/ComputeNode?xname=x1&hostname= HTTP/1.1",
		"OPTIONS * HTTP/1.1", "GET /v1/vms/" + vmID + "/console HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
		"GET /cloud-init/user-data HTTP/1.1\r\nX-Forwarded-For: 10.1.0.1", "GET /boot/v1/bootscript?mac=52:54:00:00:00:01&nid=1 HTTP/1.1", "GET /v1/vms?consistency=LOCAL&a=b;c=d&%zz HTTP/1.1",
		"GET /openapi.json HTTP/1.1\r\nAccept-Encoding: gzip;q=0, *", "GET /v1/spells/a/kv/w_%2F..?wait=1h HTTP/1.1", "PATCH /v1/settings HTTP/1.1\r\nContent-Type: application/json-patch+json",
	} {
		f.Add([]byte(line + "\r\n\r\n"))
	}
	h := served()
	f.Fuzz(func(t *testing.T, raw []byte) {
		// What net/http itself refuses never gets here. A host must be named.
		first, rest, _ := bytes.Cut(raw, []byte("\r\n"))
		r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(first), strings.NewReader("\r\nHost: h1\r\n"), bytes.NewReader(rest))))
		if err != nil || strings.EqualFold(r.Method, http.MethodConnect) {
			return
		}
		answerHolds(t, h, r)
	})
}

// FuzzCursor walks a list page by page: every row once, in order, however cursors are spelled.
func FuzzCursor(f *testing.F) {
	f.Add("dm0", 1)
	f.Add("", 2)
	f.Add("AA==", 3)
	f.Fuzz(func(t *testing.T, cursor string, limit int) {
		p := Paging{Limit: 1 + (limit&0xff)%7, Cursor: cursor}
		if p.Resolve(nil) != nil {
			return
		}
		rows := []string{"a", "b", "c", "d", "e"}
		seen, from := 0, p.after
		for pages := 0; ; pages++ {
			page := pageOf(p, func(yield func(string) bool) {
				for _, row := range rows {
					if row > p.after && !yield(row) {
						return
					}
				}
			}, func(s string) string { return s }, func(string) bool { return true })
			for _, row := range page.Items {
				if row <= from {
					t.Fatalf("row %q comes behind %q", row, from)
				}
				from = row
			}
			if seen += len(page.Items); page.Next == "" {
				break
			}
			if p = (Paging{Limit: p.Limit, Cursor: page.Next}); p.Resolve(nil) != nil || pages > len(rows) {
				t.Fatal(fmt.Errorf("the cursor %q of a page is refused, or leads nowhere", page.Next))
			}
		}
		if begin := (Paging{Cursor: cursor}); begin.Resolve(nil) == nil {
			want := 0
			for _, row := range rows {
				if row > begin.after {
					want++
				}
			}
			if seen != want {
				t.Errorf("%d rows behind %q, want %d", seen, begin.after, want)
			}
		}
	})
}
