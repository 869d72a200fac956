package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// memory is an io.WriterAt that a download goes to.
type memory struct{ text []byte }

func (m *memory) WriteAt(b []byte, at int64) (int, error) {
	if need := int(at) + len(b); need > len(m.text) {
		m.text = append(m.text, make([]byte, need-len(m.text))...)
	}
	return copy(m.text[at:], b), nil
}

// cutter breaks the connection off after so many bytes of an answer.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	if c.left < len(b) {
		c.ResponseWriter.Write(b[:c.left])
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

// origin serves one file and notes what it is asked.
type origin struct {
	text []byte
	etag string

	mu    sync.Mutex
	cut   int // bytes of an answer after which the connection breaks; 0: none
	asked []string
	kind  Kind // what it refuses with, once it has answered so many requests:
	after int  // 0: never
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked = append(o.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
	refusing, cut := o.after > 0 && len(o.asked) > o.after, o.cut
	o.mu.Unlock()
	if refusing {
		refuse(w, o.kind, map[Kind]int{Unavailable: 503, NotFound: 404}[o.kind])
		return
	}
	w.Header().Set("ETag", o.etag)
	if cut > 0 {
		w = &cutter{w, cut}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.text))
}

func (o *origin) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

// aFile is n bytes that differ from one another.
func aFile(n int) []byte {
	text := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(text)
	return text
}

const filePath = "/v1/snapshots/12/vms.parquet"

func TestDownloadGoesOnWhereItBroke(t *testing.T) {
	o := &origin{text: aFile(1 << 20), etag: `"e1"`, cut: 300000}
	c := newClient(t, ClientConfig{Addrs: []string{serve(t, o.ServeHTTP)}})
	var got memory
	var last, total int64
	err := c.Download(t.Context(), filePath, &got, func(done, of int64) {
		if done < last {
			t.Errorf("progress went back from %d to %d", last, done)
		}
		last, total = done, of
	})
	if err != nil || !bytes.Equal(got.text, o.text) {
		t.Fatalf("got %d bytes, %v; want all %d", len(got.text), err, len(o.text))
	}
	if last != 1<<20 || total != 1<<20 {
		t.Errorf("progress ended at %d of %d, want %d", last, total, 1<<20)
	}
	asked := o.requests()
	if len(asked) != 4 || asked[0] != filePath {
		t.Fatalf("asked %q, want all at first and then three times the rest", asked)
	}
	for i, a := range asked[1:] {
		if want := fmt.Sprintf("%s bytes=%d- %s", filePath, (i+1)*300000, `"e1"`); a != want {
			t.Errorf("asked %q, want %q", a, want)
		}
	}
}

// TestDownloadFromTheNextAddress: only the very same file is gone on with.
func TestDownloadFromTheNextAddress(t *testing.T) {
	text := aFile(100000)
	for _, c := range []struct {
		name        string
		first, next *origin
		want        []byte // nil: Conflict
	}{
		{"that has the same", &origin{text: text, etag: `"e1"`, cut: 30000, kind: Unavailable, after: 1}, &origin{text: text, etag: `"e1"`}, text},
		{"that lost it", &origin{text: text, etag: `"e1"`, cut: 60000}, &origin{kind: NotFound, after: -1}, text},
		{"that has another, and the first is back", &origin{text: text, etag: `"e1"`, cut: 60000}, &origin{text: aFile(90000), etag: `"e2"`}, text},
		{"that has another, and the first has none", &origin{text: text, etag: `"e1"`, cut: 60000, kind: NotFound, after: 1}, &origin{text: aFile(90000), etag: `"e2"`}, nil},
		{"that has a shorter one of that name", &origin{text: text, etag: `"e1"`, cut: 60000, kind: NotFound, after: 1}, &origin{text: aFile(50000), etag: `"e1"`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := c.next.ServeHTTP
			if c.next.after < 0 {
				next = func(w http.ResponseWriter, _ *http.Request) { refuse(w, NotFound, 404) }
			}
			client := newClient(t, ClientConfig{Addrs: []string{serve(t, c.first.ServeHTTP), serve(t, next)}})
			var got memory
			err := client.Download(t.Context(), filePath, &got, nil)
			switch {
			case c.want == nil && (!IsKind(err, Conflict) || !strings.Contains(err.Error(), "download it again")):
				t.Errorf("got %v, want a conflict that says what to do", err)
			case c.want != nil && (err != nil || !bytes.Equal(got.text, c.want)):
				t.Errorf("got %d bytes, %v; want %d", len(got.text), err, len(c.want))
			}
		})
	}
}

// TestDownloadWithoutAStrongTag: what cannot be told apart begins anew.
func TestDownloadWithoutAStrongTag(t *testing.T) {
	for _, etag := range []string{"", `W/"e1"`} {
		o := &origin{text: aFile(100000), etag: etag, cut: 60000}
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if len(o.requests()) == 1 {
				o.mu.Lock()
				o.cut = 0
				o.mu.Unlock()
			}
			o.ServeHTTP(w, r)
		})
		var got memory
		err := newClient(t, ClientConfig{Addrs: []string{address}}).Download(t.Context(), filePath, &got, nil)
		if want := []string{filePath, filePath}; err != nil || !bytes.Equal(got.text, o.text) || !slices.Equal(o.requests(), want) {
			t.Errorf("ETag %q: %d bytes, %v, asked %q; want all of it, asked whole twice", etag, len(got.text), err, o.requests())
		}
	}
}

func TestDownloadStaysWithTheFileThatItBegan(t *testing.T) {
	o := &origin{text: aFile(100000), etag: `"e1"`, cut: 60000}
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Location", "/v1/snapshots/at-7/vms.parquet")
		o.ServeHTTP(w, r)
	})
	var got memory
	if err := newClient(t, ClientConfig{Addrs: []string{address}}).Download(t.Context(), "/v1/snapshots/now/vms.parquet", &got, nil); err != nil {
		t.Fatal(err)
	}
	if asked, want := o.requests()[1], `/v1/snapshots/at-7/vms.parquet bytes=60000- "e1"`; asked != want || !bytes.Equal(got.text, o.text) {
		t.Errorf("asked %q and got %d bytes, want %q and all", asked, len(got.text), want)
	}
}

// TestDownloadFromASilentPeer: a connection on which nothing comes is as good as none.
func TestDownloadFromASilentPeer(t *testing.T) {
	text := aFile(100000)
	for _, sent := range []int{-1, 0, 60000} { // -1: not even a head
		asked := 0
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.Header().Set("ETag", `"e1"`)
			if asked > 1 {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
				return
			}
			if sent >= 0 {
				w.Header().Set("Content-Length", strconv.Itoa(len(text)))
				w.Write(text[:sent])
				http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		var got memory
		err := newClient(t, ClientConfig{Addrs: []string{address}, Attempt: 20 * time.Millisecond}).Download(t.Context(), filePath, &got, nil)
		if err != nil || !bytes.Equal(got.text, text) || asked < 2 {
			t.Errorf("silent after %d bytes: got %d, %v, asked %d times", sent, len(got.text), err, asked)
		}
	}
}

func TestDownloadOfNothing(t *testing.T) {
	o := &origin{etag: `"e0"`}
	told := int64(-7)
	err := newClient(t, ClientConfig{Addrs: []string{serve(t, o.ServeHTTP)}}).Download(t.Context(), filePath, &memory{}, func(done, _ int64) { told = done })
	if err != nil || told != 0 {
		t.Errorf("got %v, told %d bytes; want none", err, told)
	}
}

func TestDownloadRefused(t *testing.T) {
	text := aFile(1000)
	lies := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 10-19/20")
		w.WriteHeader(http.StatusPartialContent)
	})
	for _, c := range []struct {
		name    string
		address string
		path    string
		kind    Kind
	}{
		{"no such file", serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, NotFound, 404) }), filePath, NotFound},
		{"not allowed", serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, Forbidden, 403) }), filePath, Forbidden},
		{"never ready", serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, Unavailable, 503) }), filePath, Unavailable},
		{"nobody there", closed(t), filePath, Unavailable},
		{"a piece that nobody asked for", lies, filePath, Internal},
		{"another host", lies, "http://elsewhere/x", Invalid},
		{"no path", lies, "x", Invalid},
	} {
		var got memory
		err := newClient(t, ClientConfig{Addrs: []string{c.address}, Timeout: 100 * time.Millisecond}).Download(t.Context(), c.path, &got, nil)
		if !IsKind(err, c.kind) || len(got.text) > 0 {
			t.Errorf("%s: got %v and %d bytes, want %s", c.name, err, len(got.text), c.kind.Code())
		}
	}
	o := &origin{text: text, etag: `"e1"`, cut: 600, kind: Unavailable, after: 1}
	err := newClient(t, ClientConfig{Addrs: []string{serve(t, o.ServeHTTP)}, Timeout: 100 * time.Millisecond}).Download(t.Context(), filePath, &memory{}, nil)
	if !IsKind(err, Unavailable) || !strings.Contains(err.Error(), "600 of 1000 bytes") {
		t.Errorf("broken off for good: got %v, want how far it came", err)
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

var errFull = errors.New("no space left on device")

func (fullDisk) WriteAt([]byte, int64) (int, error) { return 0, errFull }

func TestDownloadThatCannotBeWritten(t *testing.T) {
	o := &origin{text: aFile(1000), etag: `"e1"`}
	c := newClient(t, ClientConfig{Addrs: []string{serve(t, o.ServeHTTP)}})
	if err := c.Download(t.Context(), filePath, fullDisk{}, nil); !errors.Is(err, errFull) || len(o.requests()) != 1 {
		t.Errorf("got %v, asked %d times; want the disk's error at once", err, len(o.requests()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if err := newClient(t, ClientConfig{Addrs: []string{silent}}).Download(ctx, filePath, &memory{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestSnapshotCalls(t *testing.T) {
	var asked []string
	c := newClient(t, ClientConfig{Attempt: time.Nanosecond, Addrs: []string{serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.EscapedPath()+" "+string(body)))
		if r.URL.Path == "/v1/changes" {
			fmt.Fprint(w, `{"items":[{"from":1,"to":9,"file":"1-9.parquet"}],"next":""}`)
			return
		}
		fmt.Fprint(w, `{"id":"12","ok":true,"tables":[{"table":"bmcs","create":3}]}`)
	})}})
	check, err := c.VerifySnapshot(t.Context(), "12") // for longer than an attempt
	if err != nil || !check.OK {
		t.Errorf("verify: got %+v, %v", check, err)
	}
	r, err := c.RestoreSnapshot(t.Context(), "a/b", RestoreCreate{DryRun: true})
	if err != nil || len(r.Tables) != 1 || r.Tables[0].Create != 3 {
		t.Errorf("restore: got %+v, %v", r, err)
	}
	if err := c.DeleteSnapshot(t.Context(), "12", WithPatience(time.Minute)); err != nil {
		t.Errorf("delete: %v", err)
	}
	for r, err := range c.ChangeRanges(t.Context(), WithPatience(time.Minute)) {
		if err != nil || r.File != "1-9.parquet" {
			t.Errorf("changes: got %+v, %v", r, err)
		}
	}
	want := []string{"POST /v1/snapshots/12/verify", `POST /v1/snapshots/a%2Fb/restore {"dry_run":true}`, "DELETE /v1/snapshots/12", "GET /v1/changes"}
	for i, a := range asked {
		asked[i], _, _ = strings.Cut(a, "?")
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	if _, err := c.Snapshot(t.Context(), "12", WithOneRound()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("without patience: got %v, want no answer in a nanosecond", err)
	}
}
