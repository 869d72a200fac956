package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestImageContentDownload(t *testing.T) {
	f, _, ask := startFake(t)
	path := "/v1/images/debian/content"
	tag := `"` + f.images[imageID].SHA256 + `"`
	for name, c := range map[string]struct {
		headers []string
		status  int
		body    string
	}{
		"whole":                {nil, 200, imageContent},
		"the rest":             {[]string{"Range", "bytes=4-"}, 206, imageContent[4:]},
		"a part":               {[]string{"Range", "bytes=4-10"}, 206, imageContent[4:11]},
		"the end":              {[]string{"Range", "bytes=-3"}, 206, imageContent[len(imageContent)-3:]},
		"the same file":        {[]string{"Range", "bytes=4-", "If-Range", tag}, 206, imageContent[4:]},
		"another file":         {[]string{"Range", "bytes=4-", "If-Range", `"other"`}, 200, imageContent},
		"many parts":           {[]string{"Range", "bytes=0-1,4-5"}, 200, imageContent},
		"known":                {[]string{"If-None-Match", tag}, 304, ""},
		"beyond":               {[]string{"Range", "bytes=99999-"}, 416, ""},
		"not what was matched": {[]string{"If-Match", `"other"`}, 412, ""},
	} {
		res := ask("GET", path, "", c.headers...)
		body := read(t, res)
		if res.StatusCode != c.status || c.status < 400 && body != c.body {
			t.Errorf("%s: got %d %q, want %d %q", name, res.StatusCode, body, c.status, c.body)
		}
		if c.status < 300 && (res.Header.Get("ETag") != tag || res.Header.Get("Repr-Digest") != "sha-256=:"+digestOf(imageContent)+":" || res.Header.Get("Content-Length") != fmt.Sprint(len(c.body))) {
			t.Errorf("%s: headers are %v", name, res.Header)
		}
	}
	res := ask("HEAD", path, "")
	if res.StatusCode != 200 || res.Header.Get("Content-Length") != fmt.Sprint(len(imageContent)) {
		t.Errorf("HEAD: got %d %v", res.StatusCode, res.Header)
	}
	delete(f.content, imageID)
	res = ask("GET", path, "", "Range", "bytes=4-")
	if p := problemIn(t, res); p.Status != 503 || res.Header.Get("ETag") != "" || res.Header.Get("Content-Range") != "" {
		t.Errorf("no peer that has it answers: got %+v %v, want a 503 that is no file", p, res.Header)
	}
	checkRefused(t, ask, "GET", "/v1/images/upload/content", "", 409, "conflict", "-")
	f.images[imageID] = api.Image{ID: imageID, Name: "debian", Kind: api.ImageDisk, Source: api.SourcePath, Path: "/img", State: api.ImageAvailable}
	checkRefused(t, ask, "GET", path, "", 409, "conflict", "-")
}

func TestImageContentUpload(t *testing.T) {
	f, _, ask := startFake(t)
	const path, content = "/v1/images/upload/content", "what an image holds"
	for name, c := range map[string]struct {
		path, digest string
		status       int
		code         string
	}{
		"an image with its content": {"/v1/images/debian/content", "", 409, "conflict"},
		"another digest":            {path, "sha-256=:" + digestOf("other") + ":", 400, "malformed"},
		"no digest":                 {path, "sha-256=:AAAA:", 400, "malformed"},
		"no such image":             {"/v1/images/nothing/content", "", 404, "not-found"},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefused(t, ask, "PUT", c.path, content, c.status, c.code, "-", "Repr-Digest", c.digest)
			if got := f.images[uploadID].State; got != api.ImagePending {
				t.Errorf("the image is %s, want it to go on waiting", got)
			}
		})
	}
	res := ask("PUT", path, content, "Repr-Digest", "sha-512=:AAAA:, sha-256=:"+digestOf(content)+":", "Idempotency-Key", "k")
	var image api.Image
	if err := json.Unmarshal([]byte(read(t, res)), &image); err != nil || res.StatusCode != 200 || image.State != api.ImageAvailable || image.Bytes != int64(len(content)) {
		t.Fatalf("got %d %+v (%v), want the image, available", res.StatusCode, image, err)
	}
	if res.Header.Get("ETag") != etag(image.Version) {
		t.Errorf("ETag: got %s, want %s", res.Header.Get("ETag"), etag(image.Version))
	}
	checkRefused(t, ask, "PUT", path, content, 409, "conflict", "-")
	f.fill()
	if res := ask("PUT", path, content, "Digest", "SHA-256="+digestOf(content)); res.StatusCode != 200 {
		t.Errorf("the older header: got %d %s", res.StatusCode, read(t, res))
	}
	f.fill()
	state := func(source string, state api.ImageState) {
		i := f.images[uploadID]
		i.Source, i.State = source, state
		f.images[uploadID] = i
	}
	state(api.SourceURL, api.ImagePending)
	checkRefused(t, ask, "PUT", path, content, 409, "conflict", "-")
	state(api.SourceUpload, api.ImageFailed)
	checkRefused(t, ask, "PUT", path, content, 409, "conflict", "-")
}

// TestImageUploadStreams: no more than a piece is in memory, and nothing is asked for
// that would be refused.
func TestImageUploadStreams(t *testing.T) {
	f := newFake()
	s := New(Config{}, f, testLog(t))
	web := httptest.NewServer(awaited(t, s.Handler()))
	defer web.Close()
	send := func(head, body string) *http.Response {
		t.Helper()
		conn, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprint(conn, "PUT /v1/images/upload/content HTTP/1.1\r\nHost: x\r\n"+head+"\r\n"+body)
		conn.(*net.TCPConn).CloseWrite()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	admin := "Authorization: Bearer admin\r\n"
	for name, c := range map[string]struct {
		head, body string
		status     int
	}{
		"cut short":         {admin + "Content-Length: 100\r\n", "half", 400},
		"cut in a chunk":    {admin + "Transfer-Encoding: chunked\r\n", "5\r\nhel", 400},
		"no last chunk":     {admin + "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n", 400},
		"larger than 1 TiB": {admin + "Content-Length: 1099511627777\r\n", "", 413},
		"nobody":            {"Expect: 100-continue\r\nContent-Length: 5\r\n", "", 401},
		"viewer":            {"Authorization: Bearer viewer\r\nExpect: 100-continue\r\nContent-Length: 5\r\n", "", 403},
		"other account":     {"Authorization: Bearer operator@other\r\nExpect: 100-continue\r\nContent-Length: 5\r\n", "", 404},
	} {
		f.fill()
		if res := send(c.head, c.body); res.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d", name, res.StatusCode, c.status)
		}
		if f.images[uploadID].State != api.ImagePending {
			t.Errorf("%s: the image is %s, want it to go on waiting", name, f.images[uploadID].State)
		}
	}
	if res := send(admin+"Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"); res.StatusCode != 100 {
		t.Errorf("a good one is asked for: got %d, want 100", res.StatusCode)
	}
	eventually(t, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if got := f.images[uploadID].State; got != api.ImageAvailable {
			return fmt.Errorf("the image is %s", got)
		}
		return nil
	})
	f.fill()
	const size = 256 << 20
	before := s.bodies.left
	r, _ := http.NewRequest("PUT", web.URL+"/v1/images/upload/content", io.LimitReader(zeros{}, size))
	r.Header.Set("Authorization", "Bearer admin")
	res, err := http.DefaultClient.Do(r)
	if err != nil || res.StatusCode != 200 || f.images[uploadID].Bytes != size {
		t.Fatalf("%d bytes in chunks: got %v %v, stored %d", size, res, err, f.images[uploadID].Bytes)
	}
	res.Body.Close()
	if s.bodies.left != before {
		t.Errorf("the upload was counted as a body in memory")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestUploadsAreCounted(t *testing.T) {
	f, s, ask := startFake(t)
	for range maxUploadsEach {
		if _, err := s.uploads.enter("token:admin"); err != nil {
			t.Fatal(err)
		}
	}
	checkRefused(t, ask, "PUT", "/v1/images/upload/content", "x", 429, "too-many", "-")
	nothingWritten(t, f)
}

// TestClientUploads: a file goes to the first peer that takes it, from its beginning
// each time; what cannot be read twice is not sent twice.
func TestClientUploads(t *testing.T) {
	f := newFake()
	web := httptest.NewServer(awaited(t, New(Config{}, f, testLog(t)).Handler()))
	defer web.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 1000)
		conn, _, _ := http.NewResponseController(w).Hijack()
		conn.Close()
	}))
	defer broken.Close()
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // has no leader in sight
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(503)
		fmt.Fprint(w, `{"code":"unavailable","detail":"no leader"}`)
	}))
	defer full.Close()
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{"127.0.0.1:1", full.URL, broken.URL, web.URL}, Token: "admin", TLS: nil, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	content := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(content)
	name := t.TempDir() + "/image"
	if err := os.WriteFile(name, append([]byte("skipped"), content...), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.Seek(7, io.SeekStart)
	last := int64(0)
	answer, err := c.Upload(t.Context(), api.ImageContentPath("upload"), file, int64(len(content)), func(done, total int64) { last = done })
	if err != nil || answer.Status != 200 || last != int64(len(content)) {
		t.Fatalf("got %d %v after %d bytes: %s", answer.Status, err, last, answer.Body)
	}
	sum := sha256.Sum256(content)
	if got := f.images[uploadID].SHA256; got != hex.EncodeToString(sum[:]) {
		t.Errorf("what arrived is not what was sent")
	}
	f.fill()
	once, err := api.NewClient(api.ClientConfig{Addrs: []string{broken.URL, web.URL}, Token: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	defer once.Close()
	if _, err := once.Upload(t.Context(), api.ImageContentPath("upload"), io.MultiReader(bytes.NewReader(content)), -1, nil); !api.IsKind(err, api.Conflict) || !strings.Contains(err.Error(), "second time") {
		t.Errorf("a pipe that broke: got %v, want a failure that says so", err)
	}
	fails := io.MultiReader(strings.NewReader("abc"), failing{})
	if _, err := once.Upload(t.Context(), api.ImageContentPath("upload"), fails, -1, nil); !errors.Is(err, errDisk) {
		t.Errorf("a file that cannot be read: got %v, want why", err)
	}
	if _, err := once.Upload(t.Context(), api.ImageContentPath("debian"), bytes.NewReader(content), int64(len(content)), nil); !api.IsKind(err, api.Conflict) {
		t.Errorf("an image with its content: got %v, want Conflict", err)
	}
}

var errDisk = errors.New("the disk is broken")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }

// TestClientDownloadsAnImage goes on at another peer where the first broke off.
func TestClientDownloadsAnImage(t *testing.T) {
	f := newFake()
	h := awaited(t, New(Config{}, f, testLog(t)).Handler())
	web := httptest.NewServer(h)
	defer web.Close()
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			w.WriteHeader(503)
			return
		}
		h.ServeHTTP(&cutWriter{ResponseWriter: w, left: 10}, r)
	}))
	defer cut.Close()
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{cut.URL, web.URL}, Token: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to, err := os.Create(t.TempDir() + "/image")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Download(ctx, api.ImageContentPath("debian"), to, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(to.Name()); string(got) != imageContent {
		t.Errorf("got %q, want %q", got, imageContent)
	}
}

// cutWriter breaks the connection after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *cutWriter) Write(b []byte) (int, error) {
	n := min(w.left, len(b))
	w.ResponseWriter.Write(b[:n])
	if w.left -= n; n < len(b) {
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}
