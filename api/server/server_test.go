package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchd/orchd/api"
)

func TestUnroutedRequests(t *testing.T) {
	_, _, ask := startFake(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""},
		{"GET", "/v2/vms", 404, ""},
		{"BREW", "/v1/vms", 405, "GET, HEAD, POST, OPTIONS"},
		{"PUT", "/v1/vms", 405, "GET, HEAD, POST, OPTIONS"},
		{"DELETE", "/healthz", 405, "GET, HEAD, OPTIONS"},
		{"OPTIONS", "/v1/vms/web1", 204, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"},
		{"OPTIONS", "/nowhere", 404, ""},
		{"HEAD", "/v1/vms", 200, ""},
		{"HEAD", "/nowhere", 404, ""},
		{"GET", "//v1//vms/", 200, ""},
		{"GET", "/v1/./vms/../vms", 200, ""},
		{"POST", "/v1/vms//web1/start/", 202, ""},
	} {
		res := ask(c.method, "http://h1"+c.path, "")
		if res.StatusCode != c.status || res.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: got %d, Allow %q; want %d, Allow %q", c.method, c.path, res.StatusCode, res.Header.Get("Allow"), c.status, c.allow)
		}
		if c.status >= 400 && c.method != "HEAD" {
			problemIn(t, res)
		}
	}
}

func TestKindsBecomeStatuses(t *testing.T) {
	f, _, ask := startFake(t)
	for kind, status := range statusOf {
		f.fail = &api.Error{Kind: kind, Msg: "because", Hosts: []api.HostPart{{Peer: "h1", Status: api.NotApplicable, Reason: "full"}},
			Err: errors.New("secret cause")}
		p := problemIn(t, ask("POST", "/v1/vms", `{"name":"n",`+goodSpec+`}`))
		if p.Status != status || p.Code != kind.Code() {
			t.Errorf("%s: got %d %s, want %d", kind.Code(), p.Status, p.Code, status)
		}
		if strings.Contains(p.Detail, "secret") || kind == api.Internal && strings.Contains(p.Detail, "because") {
			t.Errorf("%s: detail tells too much: %q", kind.Code(), p.Detail)
		}
		if kind != api.Internal && (len(p.Hosts) != 1 || p.Detail != "because") {
			t.Errorf("%s: got %+v, want the hosts and the message", kind.Code(), p)
		}
	}
	for kind, header := range map[api.Kind]string{api.Unavailable: "Retry-After", api.TooMany: "Retry-After", api.Unauthenticated: "WWW-Authenticate"} {
		f.fail = &api.Error{Kind: kind, Msg: "m"}
		if res := ask("GET", "/v1/vms", ""); res.Header.Get(header) == "" {
			t.Errorf("%s: no %s header", kind.Code(), header)
		}
	}
	f.fail = errors.New("plain")
	if p := problemIn(t, ask("GET", "/v1/vms", "")); p.Status != 500 || strings.Contains(p.Detail, "plain") {
		t.Errorf("plain error: got %+v, want 500 without the cause", p)
	}
}

func TestIdempotencyKey(t *testing.T) {
	f, _, ask := startFake(t)
	body := `{"name":"n",` + goodSpec + `}`
	first := ask("POST", "/v1/vms", body, "Idempotency-Key", "k 1")
	if first.StatusCode != 201 || first.Header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("first: got %d, replayed %q", first.StatusCode, first.Header.Get("Idempotency-Replayed"))
	}
	if want := "token:admin POST /v1/vms k 1"; f.who.Once == nil || f.who.Once.Key != want || len(f.who.Once.Body) != 32 {
		t.Errorf("once: got %+v, want key %q and a SHA-256", f.who.Once, want)
	}
	var vm api.VM
	if err := json.Unmarshal([]byte(read(t, first)), &vm); err != nil {
		t.Fatal(err)
	}

	again := ask("POST", "/v1/vms", body, "Idempotency-Key", "k 1")
	if got := read(t, again); again.StatusCode != 201 || again.Header.Get("Idempotency-Replayed") != "true" || !strings.Contains(got, vm.ID) {
		t.Errorf("again: got %d, replayed %q, %s", again.StatusCode, again.Header.Get("Idempotency-Replayed"), got)
	}

	delete(f.vms, vm.ID)
	gone := ask("POST", "/v1/vms", body, "Idempotency-Key", "k 1")
	if got, want := strings.TrimSpace(read(t, gone)), `{"id":"`+vm.ID+`"}`; gone.StatusCode != 201 || got != want {
		t.Errorf("gone: got %d %s, want 201 %s", gone.StatusCode, got, want)
	}

	// The retry of a delete whose answer was lost finds no VM any more.
	for i, replayed := range []string{"", "true"} {
		res := ask("DELETE", "/v1/vms/web1", "", "Idempotency-Key", "k2")
		if res.StatusCode != 200 || res.Header.Get("Idempotency-Replayed") != replayed {
			t.Errorf("delete %d: got %d, replayed %q; want 200, %q", i, res.StatusCode, res.Header.Get("Idempotency-Replayed"), replayed)
		}
	}
	if res := ask("DELETE", "/v1/vms/web1", ""); res.StatusCode != 404 {
		t.Errorf("delete without a key: got %d, want 404", res.StatusCode)
	}
}

func TestVersions(t *testing.T) {
	_, _, ask := startFake(t)
	if got := ask("GET", "/v1/vms/web1", "").Header.Get("ETag"); got != `"3"` {
		t.Errorf("ETag: got %s, want \"3\"", got)
	}
	for _, c := range []struct {
		method, path, match string
		status              int
	}{
		{"PUT", "/v1/vms/web1", `"2"`, 412},
		{"PATCH", "/v1/vms/web1", `"2"`, 412},
		{"POST", "/v1/vms/web1/start", `"2"`, 412},
		{"PUT", "/v1/vms/web1", `"3"`, 200},
		{"PATCH", "/v1/vms/web1", `*`, 200},
	} {
		if res := ask(c.method, c.path, "{}", "If-Match", c.match); res.StatusCode != c.status {
			t.Errorf("%s %s If-Match %s: got %d, want %d", c.method, c.path, c.match, res.StatusCode, c.status)
		}
	}
}

func TestMergePatch(t *testing.T) {
	for patch, want := range map[string]string{
		`{}`:                                `map[a:1]`,
		`{"labels":{"b":"2"}}`:              `map[a:1 b:2]`,
		`{"labels":{"a":null,"b":"2"}}`:     `map[b:2]`,
		`{"labels":{"x":null}}`:             `map[a:1]`,
		`{"labels":null}`:                   `map[]`,
		`{"labels":{"a":"","c.d/e":"ü x"}}`: `map[a: c.d/e:ü x]`,
	} {
		f, _, ask := startFake(t)
		if res := ask("PATCH", "/v1/vms/web1", patch, "Content-Type", "application/merge-patch+json"); res.StatusCode != 200 {
			t.Errorf("%s: got %d: %s", patch, res.StatusCode, read(t, res))
		}
		if got := fmt.Sprint(f.vms[vmID].Labels); got != want {
			t.Errorf("%s: got %s, want %s", patch, got, want)
		}
	}
}

// A patch that comes too late is merged anew, with a key of its own for each
// try: the cluster remembers the answer to the first.
func TestPatchThatIsLate(t *testing.T) {
	f, _, ask := startFake(t)
	f.interfere = 2
	if res := ask("PATCH", "/v1/vms/web1", `{"labels":{"b":"2"}}`, "Idempotency-Key", "k"); res.StatusCode != 200 {
		t.Fatalf("got %d: %s", res.StatusCode, read(t, res))
	}
	if got, want := fmt.Sprint(f.vms[vmID].Labels), "map[a:1 b:2 late:1]"; got != want {
		t.Errorf("labels: got %s, want %s", got, want)
	}
	if want := "token:admin PATCH /v1/vms/web1 k\n2"; f.who.Once.Key != want {
		t.Errorf("key of the third try: got %q, want %q", f.who.Once.Key, want)
	}
	f.interfere = 1000
	if got := ask("PATCH", "/v1/vms/web1", `{}`).StatusCode; got != 409 {
		t.Errorf("someone is always faster: got %d, want 409", got)
	}
}

func TestReadsSayHowFreshTheyAre(t *testing.T) {
	f, _, ask := startFake(t)
	f.age = 1500
	if h := ask("GET", "/v1/vms", "").Header; h.Get("Orchd-Index") != "10" || h.Get("Orchd-Age-Ms") != "" {
		t.Errorf("linearizable: got index %q, age %q; want 10 and none", h.Get("Orchd-Index"), h.Get("Orchd-Age-Ms"))
	}
	f.fail = &api.Error{Kind: api.Unavailable, Msg: "no quorum"}
	if got := ask("GET", "/v1/vms", "").StatusCode; got != 503 {
		t.Errorf("linearizable without quorum: got %d, want 503", got)
	}
	res := ask("GET", "/v1/vms?consistency=local", "")
	if res.StatusCode != 200 || res.Header.Get("Orchd-Age-Ms") != "1500" {
		t.Errorf("local without quorum: got %d, age %q; want 200, 1500", res.StatusCode, res.Header.Get("Orchd-Age-Ms"))
	}
	f.fail = nil
	if got := ask("GET", "/v1/capacity", "").Header.Get("Orchd-Age-Ms"); got != "1500" {
		t.Errorf("capacity without quorum: age %q, want 1500", got)
	}
	if got := ask("GET", "/v1/capacity?consistency=linearizable", "").StatusCode; got != 503 {
		t.Errorf("capacity that must be linearizable without quorum: got %d, want 503", got)
	}
}

func TestPages(t *testing.T) {
	f, _, ask := startFake(t)
	for i := range 25 {
		id := fmt.Sprintf("99999999-9999-4999-8999-%012d", i)
		f.vms[id] = api.VM{ID: id, Name: fmt.Sprintf("n%d", i), Account: "default", Labels: map[string]string{"odd": fmt.Sprint(i % 2)}}
	}
	var seen []string
	cursor, pages := "", 0
	for {
		var page api.Page[api.VM]
		if err := json.Unmarshal([]byte(read(t, ask("GET", "/v1/vms?limit=5&label=odd=1&cursor="+cursor, ""))), &page); err != nil {
			t.Fatal(err)
		}
		for _, vm := range page.Items {
			seen = append(seen, vm.ID)
		}
		if pages++; page.Next == "" {
			break
		}
		cursor = page.Next
	}
	if len(seen) != 12 || pages != 3 || !slices.IsSorted(seen) {
		t.Errorf("got %d in %d pages, want 12 in 3, in order: %v", len(seen), pages, seen)
	}
	if got := strings.TrimSpace(read(t, ask("GET", "/v1/vms?peer=nobody", ""))); got != `{"items":[],"next":""}` {
		t.Errorf("empty list: got %s", got)
	}
	for cursor, want := range map[string]string{"": "12", "MTI": "9", "OQ": ""} { // newest first; by number, not by text
		var page api.Page[api.Snapshot]
		if err := json.Unmarshal([]byte(read(t, ask("GET", "/v1/snapshots?limit=1&cursor="+cursor, ""))), &page); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, sn := range page.Items {
			got += sn.ID
		}
		if got != want {
			t.Errorf("snapshots after %q: got %q, want %q", cursor, got, want)
		}
	}
}

func TestOtherAccountsAreNotThere(t *testing.T) {
	f, _, ask := startFake(t)
	bound := []string{"Authorization", "Bearer operator@default"}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/vms/" + otherID, "", 404},
		{"GET", "/v1/vms/db1?account=other", "", 404},
		{"GET", "/v1/vms/" + vmID, "", 200},
		{"PUT", "/v1/vms/" + otherID, "{}", 404},
		{"PATCH", "/v1/vms/" + otherID, "{}", 404},
		{"DELETE", "/v1/vms/" + otherID, "", 404},
		{"POST", "/v1/vms/" + otherID + "/stop", "", 404},
		{"POST", "/v1/vms", `{"name":"n","account":"other",` + goodSpec + `}`, 403},
		{"GET", "/v1/snapshots", "", 403},
	} {
		if res := ask(c.method, c.path, c.body, bound...); res.StatusCode != c.status {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, res.StatusCode, c.status)
		}
	}
	nothingWritten(t, f)
	for _, path := range []string{"/v1/vms", "/v1/accounts"} {
		if body := read(t, ask("GET", path, "", bound...)); strings.Contains(body, "other") || !strings.Contains(body, "default") {
			t.Errorf("%s: got %s, want its own account only", path, body)
		}
	}
	f.operations[opID] = api.Operation{ID: opID, Account: "other"}
	if got := ask("GET", "/v1/operations/"+opID, "", bound...).StatusCode; got != 404 {
		t.Errorf("operation of another account: got %d, want 404", got)
	}
	if body := read(t, ask("GET", "/v1/operations", "", bound...)); strings.Contains(body, opID) {
		t.Errorf("operations: got %s, want none of another account", body)
	}
	res := ask("POST", "/v1/vms", `{"name":"mine",`+goodSpec+`}`, "Authorization", "Bearer operator@mine")
	if res.StatusCode != 201 || f.wroteSince(0)[0] != "vm.create mine/mine" {
		t.Errorf("create in one's own account: got %d, %v", res.StatusCode, f.wroteSince(0))
	}
}

func TestWaiting(t *testing.T) {
	f, s, ask := startFake(t)
	f.hold = true

	res := ask("POST", "/v1/vms/web1/stop", "")
	location := res.Header.Get("Operation-Location")
	if res.StatusCode != 202 || !strings.HasPrefix(location, "/v1/operations/") {
		t.Fatalf("stop: got %d, Operation-Location %q", res.StatusCode, location)
	}
	if got := ask("GET", location+"?wait=20ms", ""); got.StatusCode != 200 || !strings.Contains(read(t, got), `"pending"`) {
		t.Errorf("wait that ends first: got %d", got.StatusCode)
	}
	if got := ask("POST", "/v1/vms/web1/stop?wait=20ms", "").StatusCode; got != 202 {
		t.Errorf("action whose wait ends first: got %d, want 202", got)
	}

	answer := make(chan *http.Response)
	go func() { answer <- ask("GET", location+"?wait=1m", "") }()
	f.finish(strings.TrimPrefix(location, "/v1/operations/"), api.OpFailed)
	if got := read(t, <-answer); !strings.Contains(got, `"failed"`) {
		t.Errorf("wait to the end: got %s, want failed", got)
	}

	go func() { answer <- ask("DELETE", "/v1/vms/web1?wait=1m", "") }()
	eventually(t, func() error { return f.finishPending("delete") })
	if got := <-answer; got.StatusCode != 200 || !strings.Contains(read(t, got), `"succeeded"`) {
		t.Errorf("delete that waits: got %d", got.StatusCode)
	}

	go func() { answer <- ask("POST", "/v1/vms?wait=1m", `{"name":"n",`+goodSpec+`}`) }()
	eventually(t, func() error { return f.finishPending("create") })
	if got := <-answer; got.StatusCode != 201 || got.Header.Get("Location") == "" || got.Header.Get("Operation-Location") == "" {
		t.Errorf("create that waits: got %d, %v", got.StatusCode, got.Header)
	}

	close(s.stopping)
	if got := ask("POST", "/v1/vms?wait=1m", `{"name":"n2",`+goodSpec+`}`).StatusCode; got != 201 {
		t.Errorf("create while the peer stops: got %d, want 201 at once", got)
	}
}

// finishPending finishes operations of a kind that an earlier request began.
func (f *fake) finishPending(kind string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, op := range f.operations {
		if op.Kind == kind && op.State == api.OpPending {
			f.finishLocked(id, api.OpSucceeded)
			return nil
		}
	}
	return errors.New("an operation " + kind)
}

func TestReadiness(t *testing.T) {
	f, _, ask := startFake(t)
	f.down = errors.New("no leader in sight")
	if p := problemIn(t, ask("GET", "/readyz", "", "Authorization", "")); p.Status != 503 || p.Detail != "no leader in sight" {
		t.Errorf("got %+v, want 503 that says what is missing", p)
	}
	f.down, f.failed = nil, []string{"odo"}
	if ready := read(t, ask("GET", "/readyz", "", "Authorization", "")); !strings.Contains(ready, `"status":"ready","failed_packages":["odo"]`) {
		t.Errorf("got %s, want ready, with a package that failed", ready)
	}
	if got := ask("GET", "/healthz", "", "Authorization", "").StatusCode; got != 200 {
		t.Errorf("healthz: got %d, want 200", got)
	}
}

func TestFailedAuthentication(t *testing.T) {
	var log bytes.Buffer
	f := newFake()
	s := New(Config{}, f, slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Unix(0, 0)
	s.failures.now = func() time.Time { return now }
	ask := func(credential, remote string) int {
		r := httptest.NewRequest("GET", "/v1/vms", nil)
		r.RemoteAddr = remote
		r.Header.Set("Authorization", credential)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code
	}
	for _, bad := range []string{"Bearer", "Basic YWRtaW4=", "Bearer " + strings.Repeat("x", 5000), "Bearer t\x01", "bearer s3cr3t"} {
		if got := ask(bad, "192.0.2.9:1"); got != 401 {
			t.Errorf("%.20q: got %d, want 401", bad, got)
		}
	}
	if strings.Contains(log.String(), "s3cr3t") || !strings.Contains(log.String(), "192.0.2.9") {
		t.Errorf("the log must name the address and not the token:\n%s", log.String())
	}
	for range failureBurst {
		ask("Bearer wrong", "192.0.2.1:1")
	}
	if got := ask("Bearer wrong", "192.0.2.1:2"); got != 429 {
		t.Errorf("after %d failures: got %d, want 429", failureBurst, got)
	}
	if got := ask("Bearer admin", "192.0.2.1:3"); got != 200 {
		t.Errorf("valid credential from there: got %d, want 200", got)
	}
	if got := ask("Bearer wrong", "192.0.2.2:1"); got != 401 {
		t.Errorf("another address: got %d, want 401", got)
	}
	now = now.Add(time.Second)
	if got := ask("Bearer wrong", "192.0.2.1:4"); got != 401 {
		t.Errorf("a second later: got %d, want 401", got)
	}
}

func TestFailuresForget(t *testing.T) {
	now := time.Unix(0, 0)
	f := newFailures(func() time.Time { return now })
	for i := range 3 * failureClocks {
		f.take(fmt.Sprint(i))
	}
	if len(f.buckets) > failureClocks {
		t.Errorf("remembers %d addresses, want at most %d", len(f.buckets), failureClocks)
	}
}

func TestRequestLogAndMetrics(t *testing.T) {
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	s := New(Config{Metrics: reg}, newFake(), slog.New(slog.NewJSONHandler(&log, nil)))
	r := httptest.NewRequest("GET", "/v1/vms/web1", nil)
	r.Header.Set("Authorization", "Bearer admin")
	r.Header.Set("X-Request-Id", "my-id.1")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if got := w.Header().Get("X-Request-Id"); got != "my-id.1" {
		t.Errorf("X-Request-Id: got %q, want the caller's", got)
	}
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("want one line of JSON: %v: %s", err, log.String())
	}
	for key, want := range map[string]any{"request": "my-id.1", "method": "GET", "route": "/v1/vms/{id}", "status": 200.0, "actor": "token:admin", "remote": r.RemoteAddr, "bytes": float64(w.Body.Len())} {
		if line[key] != want {
			t.Errorf("log %s: got %v, want %v", key, line[key], want)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			series := family.GetName()
			for _, l := range m.GetLabel() {
				series += " " + l.GetName() + "=" + l.GetValue()
			}
			got[series] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"orchd_http_requests_total code=200 method=GET route=/v1/vms/{id}": 1,
		"orchd_http_request_seconds method=GET route=/v1/vms/{id}":         1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("metrics: got %v, want %v", got, want)
	}
	for _, id := range []string{"a b", "x\ny", strings.Repeat("x", 65)} {
		r.Header.Set("X-Request-Id", id)
		if got := requestID(r); got == id || !requestIDForm.MatchString(got) {
			t.Errorf("request id %q: got %q, want a new one", id, got)
		}
	}
}

func TestPanicIsA500(t *testing.T) {
	f, s, ask := startFake(t)
	s.mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	if p := problemIn(t, ask("GET", "/panic", "")); p.Status != 500 || strings.Contains(p.Detail, "boom") {
		t.Errorf("got %+v, want 500 without the cause", p)
	}
	nothingWritten(t, f)
}

func TestDocuments(t *testing.T) {
	_, s, ask := startFake(t)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(read(t, ask("GET", "/openapi.json", ""))), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("openapi: got %q, want 3.1", doc.OpenAPI)
	}
	for _, rt := range routes {
		if doc.Paths[rt.path][strings.ToLower(rt.method)] == nil {
			t.Errorf("openapi lacks %s %s", rt.method, rt.path)
		}
	}
	page := read(t, ask("GET", "/docs", ""))
	for _, rt := range routes {
		if !strings.Contains(page, `id="`+rt.id+`"`) {
			t.Errorf("/docs lacks %s", rt.id)
		}
	}
	if strings.Contains(page, "http://") || strings.Contains(page, "https://") || strings.Contains(page, "<script") {
		t.Error("/docs loads something from elsewhere")
	}
	for kind := range statusOf {
		if !strings.Contains(page, `id="`+kind.Code()+`"`) {
			t.Errorf("/docs does not explain %s", kind.Code())
		}
	}
	for name := range s.docs.texts().schemas {
		body := read(t, ask("GET", "/schemas/"+name, ""))
		if !json.Valid([]byte(body)) || strings.Contains(body, "#/components") {
			t.Errorf("/schemas/%s does not stand alone: %s", name, body)
		}
	}
	for _, name := range []string{"VM.json", "Peer.json", "Operation.json", "Image.json", "Token.json", "Snapshot.json", "Problem.json"} {
		if s.docs.texts().schemas[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
}

// serveOn runs Serve until the test ends.
func serveOn(t *testing.T, s *Server, listeners ...net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listeners...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

// TestHTTP2BesideAUnixSocket: whichever listener is served first, a TLS client
// is answered over HTTP/2.
func TestHTTP2BesideAUnixSocket(t *testing.T) {
	certificate := httptest.NewTLSServer(http.NotFoundHandler())
	defer certificate.Close()
	socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{TLS: &tls.Config{Certificates: certificate.TLS.Certificates}}, newFake(), testLog(t))
	serveOn(t, s, held{tcp, heldUntilAsked(t, socket)}, socket)
	client := http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	r, err := client.Get("https://" + tcp.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.ProtoMajor != 2 || r.StatusCode != http.StatusOK {
		t.Errorf("answered %s over %s", r.Status, r.Proto)
	}
}

// held is a listener that is only looked at once another is served.
type held struct {
	net.Listener
	free <-chan struct{}
}

func (h held) Addr() net.Addr {
	<-h.free
	return h.Listener.Addr()
}

// heldUntilAsked is closed when the socket has answered a request.
func heldUntilAsked(t *testing.T, socket net.Listener) <-chan struct{} {
	t.Helper()
	free := make(chan struct{})
	go func() {
		defer close(free)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket.Addr().String())
		}}}
		if r, err := client.Get("http://local/healthz"); err != nil {
			t.Errorf("ask the socket: %v", err)
		} else {
			r.Body.Close()
		}
	}()
	return free
}

func TestUnixSocketKnowsItsCaller(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	s := New(Config{}, f, testLog(t))
	serveOn(t, s, l)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	ask := func(credential string) int {
		r, _ := http.NewRequest("POST", "http://local/v1/snapshots", nil)
		if credential != "" {
			r.Header.Set("Authorization", credential)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if got := ask(""); got != 201 {
		t.Errorf("as the daemon's own user: got %d, want 201", got)
	}
	if want := (api.Actor{ID: fmt.Sprintf("uid:%d", s.uid), Role: api.RoleAdmin}); f.who.Actor != want {
		t.Errorf("actor: got %+v, want %+v", f.who.Actor, want)
	}
	if got := ask("Bearer viewer"); got != 403 {
		t.Errorf("with a viewer's token: got %d, want 403", got)
	}
	if got := ask("Bearer wrong"); got != 401 {
		t.Errorf("with a wrong token: got %d, want 401", got)
	}
}

func TestServeTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	donor := httptest.NewUnstartedServer(nil) // for its certificate
	donor.StartTLS()
	defer donor.Close()
	cert := donor.TLS.Certificates[0]
	s := New(Config{TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}}, newFake(), testLog(t))
	serveOn(t, s, l)

	pool := x509.NewCertPool()
	pool.AddCert(donor.Certificate())
	for _, http2 := range []bool{false, true} {
		client := http.Client{Transport: &http.Transport{ForceAttemptHTTP2: http2, TLSClientConfig: &tls.Config{RootCAs: pool}}}
		res, err := client.Get("https://" + l.Addr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || (res.ProtoMajor == 2) != http2 {
			t.Errorf("got %d over %s", res.StatusCode, res.Proto)
		}
		client.CloseIdleConnections()
	}
}

// A wait outlives the deadline for the body, and ends when its client leaves.
func TestClientThatLeavesEndsItsWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	f.hold = true
	s := New(Config{}, f, testLog(t))
	serveOn(t, s, l)
	ctx, leave := context.WithCancel(context.Background())
	r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+l.Addr().String()+"/v1/vms?wait=10m", strings.NewReader(`{"name":"n",`+goodSpec+`}`))
	r.Header.Set("Authorization", "Bearer admin")
	done := make(chan error, 1)
	go func() {
		res, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	eventually(t, func() error {
		if len(f.wroteSince(0)) == 0 {
			return errors.New("the create")
		}
		return nil
	})
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("client: got %v, want canceled", err)
	}
	// serveOn's cleanup shows that no request is left in hand.
}
