package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
)

// TestDownloadsAreCounted: each is a file on this peer's disk as long as it is under way.
func TestDownloadsAreCounted(t *testing.T) {
	_, s, ask := startFake(t)
	for range maxDownloadsEach {
		if _, err := s.downloads.enter("token:admin"); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/v1/snapshots/12/vms.parquet", "/v1/snapshots/12/all.tar", "/v1/changes/1-9.parquet"} {
		checkRefused(t, ask, "GET", path, "", 429, "too-many", "-")
	}
}

func TestSnapshotFiles(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct{ path, media, name, body, location string }{
		{"/v1/snapshots/12/vms.parquet", typeParquet, "vms-12.parquet", "PAR1 vms of 12 PAR1", ""},
		{"/v1/snapshots/9/peers.parquet", typeParquet, "peers-9.parquet", "PAR1 peers of 9 PAR1", ""},
		{"/v1/snapshots/12/all.tar", typeTar, "snapshot-12.tar", "tar of 12", ""},
		{"/v1/snapshots/at-13/vms.parquet", typeParquet, "vms-at-13.parquet", "PAR1 vms of at-13 PAR1", ""},
		{"/v1/snapshots/now/vms.parquet", typeParquet, "vms-at-13.parquet", "PAR1 vms of at-13 PAR1", "/v1/snapshots/at-13/vms.parquet"},
		{"/v1/snapshots/now/all.tar", typeTar, "snapshot-at-13.tar", "tar of at-13", "/v1/snapshots/at-13/all.tar"},
		{"/v1/changes/1-9.parquet", typeParquet, "1-9.parquet", "PAR1 changes PAR1", ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			res := ask(method, c.path, "")
			want := c.body
			if method == "HEAD" {
				want = ""
			}
			if body := read(t, res); res.StatusCode != 200 || body != want {
				t.Errorf("%s %s: got %d %q, want 200 %q", method, c.path, res.StatusCode, body, want)
			}
			wantHead := map[string]string{"Content-Type": c.media, "Content-Length": strconv.Itoa(len(c.body)), "Accept-Ranges": "bytes",
				"Content-Location": c.location, "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}
			for name, want := range wantHead {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s %s: %s: got %q, want %q", method, c.path, name, got, want)
				}
			}
			if etag := res.Header.Get("ETag"); !strings.HasPrefix(etag, `"of-`) || !strings.HasSuffix(etag, `"`) {
				t.Errorf("%s %s: ETag %s, want the document's in quotes", method, c.path, etag)
			}
			how, params, err := mime.ParseMediaType(res.Header.Get("Content-Disposition"))
			if err != nil || how != "attachment" || params["filename"] != c.name {
				t.Errorf("%s %s: Content-Disposition %s, %v; want %s", method, c.path, res.Header.Get("Content-Disposition"), err, c.name)
			}
		}
	}
	nothingOpen(t, f)
}

func nothingOpen(t *testing.T, f *fake) {
	t.Helper()
	if n := f.open.Load(); n != 0 {
		t.Errorf("%d files were opened and not closed", n)
	}
}

func TestRangesOfFiles(t *testing.T) {
	f, _, ask := startFake(t)
	const path, etag, whole = "/v1/snapshots/12/vms.parquet", `"of-12/vms-19"`, "PAR1 vms of 12 PAR1"
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		body    string // of 200 and 206
		piece   string // Content-Range
	}{
		{"beginning", []string{"Range", "bytes=0-3"}, 206, "PAR1", "bytes 0-3/19"},
		{"rest", []string{"Range", "bytes=15-"}, 206, "PAR1", "bytes 15-18/19"},
		{"end", []string{"Range", "bytes=-4"}, 206, "PAR1", "bytes 15-18/19"},
		{"longer than the file", []string{"Range", "bytes=5-1000"}, 206, "vms of 12 PAR1", "bytes 5-18/19"},
		{"the same file", []string{"Range", "bytes=5-7", "If-Range", etag}, 206, "vms", "bytes 5-7/19"},
		{"another file", []string{"Range", "bytes=5-7", "If-Range", `"of-12/vms-18"`}, 200, whole, ""},
		{"a weak tag is not enough", []string{"Range", "bytes=5-7", "If-Range", "W/" + etag}, 200, whole, ""},
		{"other units", []string{"Range", "rows=1-2"}, 416, "", ""},
		{"behind the end", []string{"Range", "bytes=19-"}, 416, "", "bytes */19"},
		{"far behind the end", []string{"Range", "bytes=9999999999-"}, 416, "", "bytes */19"},
		{"nonsense", []string{"Range", "bytes=9-3"}, 416, "", ""},
		{"unchanged", []string{"If-None-Match", etag}, 304, "", ""},
		{"unchanged, weakly", []string{"If-None-Match", `"other", W/` + etag}, 304, "", ""},
		{"unchanged, whatever it is", []string{"If-None-Match", "*"}, 304, "", ""},
		{"changed", []string{"If-None-Match", `"other"`}, 200, whole, ""},
		{"must be this", []string{"If-Match", etag}, 200, whole, ""},
		{"must be another", []string{"If-Match", `"other"`}, 412, "", ""},
		{"not since", []string{"If-Modified-Since", "Sat, 03 Jan 2026 00:00:00 GMT"}, 304, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD"} {
				res := ask(method, path, "", c.headers...)
				if res.StatusCode != c.status || res.Header.Get("Content-Range") != c.piece {
					t.Errorf("%s: got %d, Content-Range %q; want %d, %q", method, res.StatusCode, res.Header.Get("Content-Range"), c.status, c.piece)
				}
				switch {
				case c.status >= 400 && method == "GET":
					problemIn(t, res)
					fallthrough
				case c.status >= 400:
					if got := res.Header.Get("ETag") + res.Header.Get("Content-Disposition"); got != "" {
						t.Errorf("%s: a refusal that looks like the file: %q", method, got)
					}
					continue
				case method == "HEAD":
					c.body = ""
				}
				if body := read(t, res); body != c.body || res.Header.Get("ETag") != etag {
					t.Errorf("%s: got %q, ETag %s; want %q, %s", method, body, res.Header.Get("ETag"), c.body, etag)
				}
			}
		})
	}
	nothingOpen(t, f)
}

// TestDeleteOfAPeersFiles: another peer than the one that is meant refuses.
func TestDeleteOfAPeersFiles(t *testing.T) {
	f, _, ask := startFake(t)
	if p := problemIn(t, ask("DELETE", "/v1/snapshots/9?peer=h2", "")); p.Status != 409 || !strings.Contains(p.Detail, "h2") {
		t.Errorf("at h1, meant for h2: %+v, want 409", p)
	}
	nothingWritten(t, f)
	if got := ask("DELETE", "/v1/snapshots/9?peer=h1", "").StatusCode; got != 204 {
		t.Errorf("at h1, meant for it: got %d, want 204", got)
	}
}

func TestSeveralRangesAtOnce(t *testing.T) {
	_, _, ask := startFake(t)
	res := ask("GET", "/v1/snapshots/12/vms.parquet", "", "Range", "bytes=0-3,12-13")
	media, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || res.StatusCode != 206 || media != "multipart/byteranges" {
		t.Fatalf("got %d %s, %v; want 206 multipart/byteranges", res.StatusCode, media, err)
	}
	parts := multipart.NewReader(res.Body, params["boundary"])
	for _, want := range []string{"bytes 0-3/19 PAR1", "bytes 12-13/19 12"} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if got := part.Header.Get("Content-Range") + " " + string(body); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

// TestWhatIsNotThere: no path leads anywhere but to what the names say, and a
// refusal says what there is.
func TestWhatIsNotThere(t *testing.T) {
	f, _, ask := startFake(t)
	const snapshots, files = "it has 12, 9", "all.tar, and TABLE.parquet"
	for _, c := range []struct{ method, path, says string }{
		{"GET", "/v1/snapshots/7", snapshots},
		{"GET", "/v1/snapshots/7/vms.parquet", snapshots},
		{"GET", "/v1/snapshots/7/all.tar", snapshots},
		{"GET", "/v1/snapshots/-12", snapshots},
		{"GET", "/v1/snapshots/+12", snapshots},
		{"GET", "/v1/snapshots/0x12", snapshots},
		{"GET", "/v1/snapshots/12.parquet", snapshots},
		{"GET", "/v1/snapshots/99999999999999999999999", snapshots},
		{"GET", "/v1/snapshots/Now", snapshots},
		{"GET", "/v1/snapshots/at-", snapshots},
		{"GET", "/v1/snapshots/at--1/vms.parquet", snapshots},
		{"GET", "/v1/snapshots/at-7", "GET /v1/snapshots/now"},
		{"GET", "/v1/snapshots/at-7/vms.parquet", "GET /v1/snapshots/now"},
		{"GET", "/v1/snapshots/..%2f..%2fetc/passwd", snapshots},
		{"GET", "/v1/snapshots/12%2fvms.parquet", snapshots},
		{"GET", "/v1/snapshots/%2e%2e%2f12/vms.parquet", snapshots},
		{"GET", "/v1/snapshots/12%00/vms.parquet", snapshots},
		{"GET", "/v1/snapshots/%ff/vms.parquet", snapshots},
		{"POST", "/v1/snapshots/now/verify", snapshots},
		{"POST", "/v1/snapshots/at-13/verify", snapshots},
		{"POST", "/v1/snapshots/7/verify", snapshots},
		{"POST", "/v1/snapshots/now/restore", snapshots},
		{"POST", "/v1/snapshots/7/restore", snapshots},
		{"POST", "/v1/snapshots/..%2f12/restore", snapshots},
		{"DELETE", "/v1/snapshots/now", snapshots},
		{"DELETE", "/v1/snapshots/at-13", snapshots},
		{"DELETE", "/v1/snapshots/7", snapshots},
		{"DELETE", "/v1/snapshots/..%2f12", snapshots},

		{"GET", "/v1/snapshots/12/tables.parquet", "12/peers, 12/vms"},
		{"GET", "/v1/snapshots/12/vms", files},
		{"GET", "/v1/snapshots/12/.parquet", files},
		{"GET", "/v1/snapshots/12/all.parquet.tar", files},
		{"GET", "/v1/snapshots/12/vms.parquet.parquet", files},
		{"GET", "/v1/snapshots/12/VMS.parquet", files},
		{"GET", "/v1/snapshots/12/manifest.json", files},
		{"GET", "/v1/snapshots/12/..%2fvms.parquet", files},
		{"GET", "/v1/snapshots/12/..%2f..%2f..%2fetc%2fpasswd", files},
		{"GET", "/v1/snapshots/12/..%2f9%2fvms.parquet", files},
		{"GET", "/v1/snapshots/12/..%5cvms.parquet", files},
		{"GET", "/v1/snapshots/12/vms%00.parquet", files},
		{"GET", "/v1/snapshots/12/vms.parquet%00", files},
		{"GET", "/v1/snapshots/12/vms.parquet%0a", files},
		{"GET", "/v1/snapshots/12/%ff.parquet", files},
		{"GET", "/v1/snapshots/now/manifest.json", files},
		{"GET", "/v1/snapshots/12/vms.parquet/x", "/docs"},
		{"GET", "/v1/snapshots/12/../../../etc/passwd", "/docs"},

		{"GET", "/v1/changes/1-10.parquet", "1-9.parquet, 10-20.parquet"},
		{"GET", "/v1/changes/1-9", "GET /v1/changes lists"},
		{"GET", "/v1/changes/1-9.tar", "GET /v1/changes lists"},
		{"GET", "/v1/changes/-1-9.parquet", "GET /v1/changes lists"},
		{"GET", "/v1/changes/1-9.parquet%0a", "GET /v1/changes lists"},
		{"GET", "/v1/changes/..%2fchanges%2f1-9.parquet", "GET /v1/changes lists"},
		{"GET", "/v1/changes/100000000000000000000000-9.parquet", "GET /v1/changes lists"},
	} {
		p := problemIn(t, ask(c.method, c.path, ""))
		if p.Status != 404 || p.Code != "not-found" || !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s %s: got %d %s: %s; want 404 that says %q", c.method, c.path, p.Status, p.Code, p.Detail, c.says)
		}
	}
	nothingWritten(t, f)
	nothingOpen(t, f)

	for n, want := range map[int]string{0: "POST /v1/snapshots takes one", 7: "it has 7, 6, 5, 4, 3 and 2 older ones"} {
		f.marked = nil
		for i := range n {
			f.marked = append(f.marked, snapshotOf(strconv.Itoa(n-i), uint64(n-i)))
		}
		if p := problemIn(t, ask("GET", "/v1/snapshots/99", "")); !strings.Contains(p.Detail, want) {
			t.Errorf("%d snapshots: got %q, want %q", n, p.Detail, want)
		}
	}
}

func TestBadParametersOfFiles(t *testing.T) {
	_, _, ask := startFake(t)
	for _, path := range []string{"/v1/snapshots/12/vms.parquet?limit=1", "/v1/changes/1-9.parquet?x=1"} {
		if p := problemIn(t, ask("GET", path, "")); p.Status != 400 || len(p.Errors) != 1 {
			t.Errorf("%s: got %+v, want 400 that names the parameter", path, p)
		}
	}
	res := ask("OPTIONS", "/v1/snapshots/12/all.tar", "")
	if got := res.Header.Get("Allow"); got != "GET, HEAD, OPTIONS" {
		t.Errorf("Allow: got %q", got)
	}
	if p := problemIn(t, ask("PUT", "/v1/snapshots/12/all.tar", "{}")); p.Status != 405 {
		t.Errorf("PUT: got %d, want 405", p.Status)
	}
}

// TestRolesOfTheBound: who is bound to an account sees nothing of all accounts.
func TestSnapshotsAreNotForTheBound(t *testing.T) {
	f, _, ask := startFake(t)
	for name, e := range examples {
		method, route, _ := strings.Cut(name, " ")
		if !strings.HasPrefix(route, "/v1/snapshots") && !strings.HasPrefix(route, "/v1/changes") {
			continue
		}
		for _, role := range []string{"viewer", "operator", "admin"} {
			if res := ask(method, e.path, e.body, "Authorization", "Bearer "+role+"@default"); res.StatusCode != 403 {
				t.Errorf("%s as %s of an account: got %d, want 403", name, role, res.StatusCode)
			}
		}
	}
	nothingWritten(t, f)
	nothingOpen(t, f)
}

func TestRestoreBodies(t *testing.T) {
	f, _, ask := startFake(t)
	for _, c := range []struct {
		body   string
		status int
		wrote  int
	}{
		{"", 200, 1}, {"{}", 200, 1}, {`{"dry_run":false}`, 200, 1}, {`{"dry_run":true}`, 200, 0},
		{"[]", 400, 0}, {"true", 400, 0}, {`{"dry_run":true`, 400, 0}, {`{"dry_run":"yes"}`, 422, 0}, {`{"dryrun":true}`, 422, 0},
	} {
		before := len(f.wroteSince(0))
		res := ask("POST", "/v1/snapshots/9/restore", c.body, "Idempotency-Key", "k")
		body := read(t, res)
		if wrote := f.wroteSince(before); res.StatusCode != c.status || len(wrote) != c.wrote {
			t.Errorf("%s: got %d and %v, want %d and %d writes: %s", c.body, res.StatusCode, wrote, c.status, c.wrote, body)
		}
		if c.status != 200 {
			continue
		}
		var done api.Restore
		if err := json.Unmarshal([]byte(body), &done); err != nil {
			t.Fatal(err)
		}
		if done.ID != "9" || done.DryRun != (c.wrote == 0) || len(done.Tables) != 1 || len(done.MissingVMs) != 1 {
			t.Errorf("%s: got %+v", c.body, done)
		}
		if index := res.Header.Get("Orchd-Index"); (index != "") != (c.wrote == 1) {
			t.Errorf("%s: Orchd-Index %q", c.body, index)
		}
	}
	if once := f.who.Once; once == nil || once.Key != "token:admin POST /v1/snapshots/9/restore k" {
		t.Errorf("once: got %+v, want the key of the request", once)
	}
}

func TestVerifyAndDelete(t *testing.T) {
	f, _, ask := startFake(t)
	f.broken = []string{"vms.parquet: checksum"}
	var check api.SnapshotCheck
	if err := json.Unmarshal([]byte(read(t, ask("POST", "/v1/snapshots/9/verify", ""))), &check); err != nil || check.OK || check.ID != "9" || !slices.Equal(check.Problems, f.broken) {
		t.Errorf("verify: got %+v, %v; want what is wrong", check, err)
	}
	if p := problemIn(t, ask("DELETE", "/v1/snapshots/12", "")); p.Status != 409 || p.Detail != "it is the newest one that is whole" {
		t.Errorf("delete the newest: got %+v, want 409", p)
	}
	if res := ask("DELETE", "/v1/snapshots/9", ""); res.StatusCode != 204 {
		t.Errorf("delete: got %d, want 204", res.StatusCode)
	}
}

func TestListOfChanges(t *testing.T) {
	_, _, ask := startFake(t)
	for cursor, want := range map[string]string{"": "1-9.parquet ", "OQ": "10-20.parquet ", "MjA": ""} {
		var page api.Page[api.ChangeRange]
		if err := json.Unmarshal([]byte(read(t, ask("GET", "/v1/changes?limit=1&cursor="+cursor, ""))), &page); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range page.Items {
			got += c.File + " "
		}
		if got != want {
			t.Errorf("behind %q: got %q, want %q", cursor, got, want)
		}
	}
	if p := problemIn(t, ask("GET", "/v1/changes?cursor=eHg", "")); p.Status != 400 {
		t.Errorf("a cursor of another list: got %d, want 400", p.Status)
	}
}

// TestFileThatCannotBeRead: the client notices, and the log says why.
func TestFileThatCannotBeRead(t *testing.T) {
	var log bytes.Buffer
	f := newFake()
	f.unread = errors.New("input/output error")
	web := httptest.NewServer(New(Config{}, f, slog.New(slog.NewTextHandler(&log, nil))).Handler())
	res := getFrom(t, web.Listener.Addr().String(), "/v1/snapshots/12/vms.parquet")
	body, err := io.ReadAll(res.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q, %v; want an unexpected end", body, err)
	}
	web.Close() // waits for the handler
	if !strings.Contains(log.String(), "input/output error") {
		t.Errorf("the log does not say why:\n%s", log.String())
	}
	nothingOpen(t, f)
}

// TestDownloadWithTheClient: a connection that breaks again and again is no
// obstacle, neither for a file that has its own path nor for that of now.
func TestDownloadWithTheClient(t *testing.T) {
	f := newFake()
	f.files["at-13/vms"] = bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	var requests atomic.Int64
	handler := New(Config{}, f, slog.New(slog.DiscardHandler)).Handler()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler.ServeHTTP(&breaking{w, 100000}, r)
	}))
	t.Cleanup(web.Close)
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{web.URL}, Token: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var got fileSink
	if err := c.Download(t.Context(), "/v1/snapshots/now/vms.parquet", &got, nil); err != nil || !bytes.Equal(got.text, f.files["at-13/vms"]) {
		t.Errorf("got %d bytes, %v; want %d", len(got.text), err, len(f.files["at-13/vms"]))
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

// breaking is a connection that breaks after so many bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *breaking) Write(piece []byte) (int, error) {
	if len(piece) > b.left {
		b.ResponseWriter.Write(piece[:b.left])
		http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= len(piece)
	return b.ResponseWriter.Write(piece)
}

// fileSink takes a file that is written from its beginning on.
type fileSink struct{ text []byte }

func (s *fileSink) WriteAt(b []byte, at int64) (int, error) {
	s.text = append(s.text[:at], b...)
	return len(b), nil
}

// pipes is a listener for connections within the process, on which virtual time passes.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// inVirtualTime serves a file of 1 MiB and gives a connection that has asked for it.
func inVirtualTime(t *testing.T, play func(f *fake, conn net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.files["12/vms"] = make([]byte, 1<<20)
		listener := make(pipes)
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- New(Config{}, f, slog.New(slog.DiscardHandler)).Serve(ctx, listener) }()
		client, server := net.Pipe()
		defer func() {
			client.Close()
			close(listener)
			stop()
			<-served
		}()
		listener <- server
		if _, err := io.WriteString(client, "GET /v1/snapshots/12/vms.parquet HTTP/1.1\r\nHost: h1\r\nAuthorization: Bearer viewer\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		play(f, client)
	})
}

// TestSlowReader: who takes a little now and then gets everything, however long it takes.
func TestSlowReader(t *testing.T) {
	inVirtualTime(t, func(f *fake, conn net.Conn) {
		begun := time.Now()
		piece := make([]byte, 32<<10)
		for got := 0; got < 1<<20; got += len(piece) {
			time.Sleep(sendTimeout / 4)
			if _, err := io.ReadFull(conn, piece); err != nil {
				t.Fatalf("cut off after %d bytes and %s: %v", got, time.Since(begun), err)
			}
		}
		if took := time.Since(begun); took < 5*sendTimeout {
			t.Errorf("took %s: too fast to prove anything", took)
		}
	})
}

// TestDeadReader: who no longer reads holds the file for no longer than sendTimeout.
func TestDeadReader(t *testing.T) {
	inVirtualTime(t, func(f *fake, conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, 100000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if f.open.Load() != 1 {
			t.Fatalf("%d files are open while one is read, want 1", f.open.Load())
		}
		time.Sleep(sendTimeout + time.Second)
		synctest.Wait()
		nothingOpen(t, f)
	})
}
