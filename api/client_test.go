package api

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// refuse answers with a problem.
func refuse(w http.ResponseWriter, kind Kind, status int) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(Problem{Status: status, Code: kind.Code(), Detail: "because",
		Errors: []FieldError{{Pointer: "/name", Detail: "bad"}}, Hosts: []HostPart{{Peer: "h1", Status: NotApplicable}}})
}

// closed is an address where nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func newClient(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestClientGoesToTheNextAddress(t *testing.T) {
	lost := serve(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	leaderless := serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, Unavailable, 503) })
	proxy := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	good := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":"1","name":"web1"}`) })
	for _, bad := range []string{closed(t), lost, leaderless, proxy} {
		c := newClient(t, ClientConfig{Addrs: []string{bad, good}})
		vm, err := c.CreateVM(t.Context(), VMCreate{Name: "web1"})
		if err != nil || vm.Name != "web1" {
			t.Errorf("past %s: got %+v, %v", bad, vm, err)
		}
		if got := c.newest.Load(); got != 1 {
			t.Errorf("past %s: goes on with address %d, want 1", bad, got)
		}
	}
}

// A write whose first answers are lost is sent again with the same key, until it has an outcome.
func TestClientKeepsItsKey(t *testing.T) {
	var mu sync.Mutex
	var keys []string
	flaky := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		n := len(keys)
		mu.Unlock()
		switch n {
		case 1:
			panic(http.ErrAbortHandler)
		case 2, 3:
			refuse(w, Unavailable, 503)
		default:
			w.Header().Set("Idempotency-Replayed", "true")
			w.Header().Set("Orchd-Index", "17")
			fmt.Fprint(w, `{"id":"1"}`)
		}
	})
	c := newClient(t, ClientConfig{Addrs: []string{flaky}})
	var a Answer
	if _, err := c.DeleteVM(t.Context(), "web1", WithAnswer(&a)); err != nil {
		t.Fatal(err)
	}
	if !a.Replayed || a.Index != 17 {
		t.Errorf("answer: got %+v, want replayed, index 17", a)
	}
	slices.Sort(keys)
	if keys = slices.Compact(keys); len(keys) != 1 || len(keys[0]) < 16 {
		t.Errorf("keys: got %q, want one", keys)
	}
	if _, err := c.DeleteVM(t.Context(), "web1", WithKey("mine")); err != nil || keysSeen(&mu, &keys) != "mine" {
		t.Errorf("own key: got %q, %v", keys, err)
	}
}

func keysSeen(mu *sync.Mutex, keys *[]string) string {
	mu.Lock()
	defer mu.Unlock()
	return (*keys)[len(*keys)-1]
}

func TestClientGivesUp(t *testing.T) {
	a, b := closed(t), closed(t)
	c := newClient(t, ClientConfig{Addrs: []string{a, b}})
	_, err := c.Status(t.Context())
	if !errors.Is(err, ErrUnreachable) || !IsKind(err, Unavailable) || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), b) {
		t.Errorf("nobody there: got %v, want ErrUnreachable that names both addresses", err)
	}

	leaderless := serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, Unavailable, 503) })
	c = newClient(t, ClientConfig{Addrs: []string{leaderless, a}, Timeout: 200 * time.Millisecond})
	if _, err := c.Status(t.Context()); !IsKind(err, Unavailable) || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "because") {
		t.Errorf("no leader: got %v, want what the peer said", err)
	}
	if err := c.Ready(t.Context()); !IsKind(err, Unavailable) {
		t.Errorf("ready: got %v, want Unavailable", err)
	}

	release := make(chan struct{})
	silent := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c = newClient(t, ClientConfig{Addrs: []string{silent}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: got %v, want the deadline", err)
	}
	c = newClient(t, ClientConfig{Addrs: []string{silent}, Timeout: 10 * time.Millisecond, Attempt: 50 * time.Millisecond})
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("silent for longer than an attempt: got %v, want ErrUnreachable", err)
	}
}

func TestClientGivesProblemsAsErrors(t *testing.T) {
	status := map[Kind]int{Invalid: 422, NotFound: 404, Conflict: 409, NoCapacity: 507, Unauthenticated: 401, Forbidden: 403, Precondition: 412,
		Gone: 410, TooLarge: 413, TooMany: 429, Mismatch: 422, Malformed: 400, Internal: 500}
	for kind, status := range status {
		c := newClient(t, ClientConfig{Addrs: []string{serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, kind, status) })}})
		_, err := c.VM(t.Context(), "web1")
		var e *Error
		if !errors.As(err, &e) || e.Kind != kind || e.Msg != "because" || len(e.Fields) != 1 || len(e.Hosts) != 1 {
			t.Errorf("%s: got %#v", kind.Code(), err)
		}
	}
}

func TestClientPages(t *testing.T) {
	var asked []string
	c := newClient(t, ClientConfig{Addrs: []string{serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		switch r.URL.Query().Get("cursor") {
		case "":
			fmt.Fprint(w, `{"items":[{"id":"1"},{"id":"2"}],"next":"c2"}`)
		case "c2":
			fmt.Fprint(w, `{"items":[{"id":"3"}],"next":"c3"}`)
		default:
			refuse(w, NotFound, 404)
		}
	})}})
	var ids []string
	var last error
	for vm, err := range c.VMs(t.Context(), VMFilter{State: VMRunning, Labels: map[string]string{"a": "b c"}}) {
		if last = err; err == nil {
			ids = append(ids, vm.ID)
		}
	}
	if got := strings.Join(ids, ","); got != "1,2,3" || !IsKind(last, NotFound) {
		t.Errorf("got %s, then %v; want 1,2,3, then not found", got, last)
	}
	if want := "cursor=c2&label=a%3Db+c&limit=1000&state=running"; len(asked) != 3 || asked[1] != want {
		t.Errorf("asked %q, want %q second", asked, want)
	}
	asked = nil
	for range c.VMs(t.Context(), VMFilter{}) {
		break
	}
	if len(asked) != 1 {
		t.Errorf("a list that nobody reads on: asked %d times, want once", len(asked))
	}
}

func TestClientRaw(t *testing.T) {
	c := newClient(t, ClientConfig{Token: "T", Addrs: []string{serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Orchd-Age-Ms", "0")
		fmt.Fprint(w, r.Method, " ", r.URL, " ", r.Header.Get("Authorization"), " ", r.Header.Get("Content-Type"))
	})}})
	a, err := c.Raw(t.Context(), "PUT", "/v1/vms/a%2Fb?x=1", []byte("{}"))
	if got, want := string(a.Body), "PUT /v1/vms/a%2Fb?x=1 Bearer T application/json"; err != nil || got != want || !a.Local {
		t.Errorf("got %q, %v, local %v; want %q", got, err, a.Local, want)
	}
	if _, err := c.Raw(t.Context(), "GET", "http://elsewhere/", nil); !IsKind(err, Invalid) {
		t.Errorf("another host: got %v, want Invalid", err)
	}
	missing := newClient(t, ClientConfig{Addrs: []string{serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, NotFound, 404) })}})
	if a, err := missing.Raw(t.Context(), "GET", "/x", nil); !IsKind(err, NotFound) || a.Status != 404 || len(a.Body) == 0 {
		t.Errorf("refused: got %+v, %v; want the answer and the error", a, err)
	}
}

func TestClientTrust(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }))
	defer s.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(s.URL, "https://")
	for _, given := range []string{ca, file} {
		if _, err := newClient(t, ClientConfig{Addrs: []string{addr}, CACert: given}).Status(t.Context()); err != nil {
			t.Errorf("with the CA: %v", err)
		}
	}
	begun := time.Now()
	if _, err := newClient(t, ClientConfig{Addrs: []string{addr}}).Status(t.Context()); !errors.Is(err, ErrUnreachable) || time.Since(begun) > 10*time.Second {
		t.Errorf("without the CA: got %v after %s, want a refusal at once", err, time.Since(begun))
	}
}

func TestClientAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"h1": "https://h1:7700", "h1:8": "https://h1:8", "https://h1": "https://h1:7700", "http://h1:8/": "http://h1:8", "[::1]:9": "https://[::1]:9",
		"unix:///run/s": "http://local",
		"":              "", "ftp://h1": "", "h1/path": "", "unix://": "", "https://u:p@h1": "", "h1:x": "",
	} {
		c, err := NewClient(ClientConfig{Addrs: []string{given}})
		switch {
		case want == "" && !IsKind(err, Invalid):
			t.Errorf("%q: got %v, want Invalid", given, err)
		case want != "" && (err != nil || c.peers[0].base != want):
			t.Errorf("%q: got %+v, %v; want %s", given, c, err, want)
		}
	}
	for _, cfg := range []ClientConfig{{}, {Addrs: []string{"h1"}, CACert: "/nowhere"}, {Addrs: []string{"h1"}, CACert: "-----BEGIN"}} {
		if _, err := NewClient(cfg); !IsKind(err, Invalid) {
			t.Errorf("%+v: got %v, want Invalid", cfg, err)
		}
	}
}

func TestClientOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"peer":"h1"}`) })}
	go s.Serve(l)
	defer s.Close()
	st, err := newClient(t, ClientConfig{Addrs: []string{"unix://" + path}}).Status(t.Context())
	if err != nil || st.Peer != "h1" {
		t.Errorf("got %+v, %v", st, err)
	}
}
