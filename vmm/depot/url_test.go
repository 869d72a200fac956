package depot

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/guard"
)

// fetchURL fetches with a client that may go to loopback, as the configuration could allow.
func fetchURL(t *testing.T, d *Depot, w Wanted, s *httptest.Server, path string, max int64) (api.ImageContent, error) {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	g := &guard.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []uint16{uint16(port)}, Roots: x509.NewCertPool()}
	g.Roots.AddCert(s.Certificate())
	client := g.Client(guard.Limits{})
	defer client.CloseIdleConnections()
	return d.FetchURL(t.Context(), w, s.URL+path, client, max, nil)
}

// web serves b in each way that a server may.
func web(t *testing.T, b []byte) *httptest.Server {
	t.Helper()
	cut := func(w http.ResponseWriter, r *http.Request, from int64) {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)-int(from)))
		w.Write(b[from : int(from)+(len(b)-int(from))/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	tries := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/ranges", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			cut(w, r, 0)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	})
	mux.HandleFunc("/cut-without-ranges", func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 1 {
			cut(w, r, 0)
		}
		w.Write(b)
	})
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, r *http.Request) {
		w.Write(b[:10])
		w.(http.Flusher).Flush()
		w.Write(b[10:])
	})
	mux.HandleFunc("/wrong-range", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			cut(w, r, 0)
		}
		w.Header().Set("Content-Range", "bytes 0-9/10")
		w.WriteHeader(http.StatusPartialContent)
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/inside", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://169.254.169.254/latest/", http.StatusFound)
	})
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestFetchURL(t *testing.T) {
	b := content(5*piece + 3)
	for _, path := range []string{"/ranges", "/cut", "/cut-without-ranges", "/chunked"} {
		t.Run(path, func(t *testing.T) {
			d, w, s := newDepot(t), rawOf(b), web(t, b)
			w.Bytes = 0 // nobody says before
			got, err := fetchURL(t, d, w, s, path, 1<<30)
			wantStored(t, d, w, got, err, b)
		})
	}
	t.Run("all is here", func(t *testing.T) { // and only the check is missing
		d, w, s := newDepot(t), rawOf(b), web(t, b)
		w.Bytes = 0
		write(t, d.path(part, w.ID), b)
		got, err := fetchURL(t, d, w, s, "/ranges", 1<<30)
		wantStored(t, d, w, got, err, b)
	})
}

func TestFetchURLRefused(t *testing.T) {
	b := content(5 * piece)
	for _, c := range []struct {
		path string
		max  int64
		kind api.Kind
		says string
		kept bool
	}{
		{path: "/status/404", kind: api.Invalid, says: "404 Not Found"},
		{path: "/status/403", kind: api.Invalid, says: "403"},
		{path: "/status/204", kind: api.Invalid, says: "204"},
		{path: "/status/503", kind: api.Unavailable, says: "503", kept: true},
		{path: "/status/429", kind: api.Unavailable, says: "429", kept: true},
		{path: "/wrong-range", kind: api.Invalid, says: "bytes 0-9/10"},
		{path: "/inside", kind: api.Invalid, says: "link-local"},
		{path: "/ranges", max: 1000, kind: api.TooLarge, says: "1000 bytes"},
		{path: "/chunked", max: 1000, kind: api.TooLarge, says: "1000 bytes"},
	} {
		t.Run(c.path, func(t *testing.T) {
			d, w, s := newDepot(t), rawOf(b), web(t, b)
			w.Bytes = 0
			if c.max == 0 {
				c.max = 1 << 30
			}
			_, err := fetchURL(t, d, w, s, c.path, c.max)
			wantKind(t, d, w, err, c.kind)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q in it", err, c.says)
			}
			if c.kept {
				wantFiles(t, d, part.name(w.ID))
			} else {
				wantFiles(t, d)
			}
		})
	}
	d, w, s := newDepot(t), rawOf(b), web(t, b)
	s.Close()
	_, err := fetchURL(t, d, w, s, "/ranges", 1<<30)
	wantKind(t, d, w, err, api.Unavailable)
}
