package jwt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"

	"github.com/orchd/orchd/api"
)

// issuer serves a JWK set that can be changed, or fails.
type issuer struct {
	*httptest.Server
	asked atomic.Int64

	mu     sync.Mutex
	set    []byte
	status int
}

func newIssuer(t *testing.T, set []byte) *issuer {
	i := &issuer{set: set, status: 200}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		w.WriteHeader(i.status)
		w.Write(i.set)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) publish(status int, set []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.set = status, set
}

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return now.Add(time.Duration(c.at.Load())) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func TestKeysRotateAtTheURL(t *testing.T) {
	first, second := rsaKey, must(rsa.GenerateKey(rand.Reader, 2048))
	i := newIssuer(t, setOf(t, map[string]any{"1": first.Public()}))
	var c clock
	v := verifier(t, func(cfg *Config) { cfg.JWKS, cfg.Secrets, cfg.JWKSURL, cfg.Now = nil, nil, i.URL, c.now })
	old := sign(t, jwa.RS256(), first, with(map[string]any{"exp": nil}), map[string]any{"kid": "1"})
	fresh := sign(t, jwa.RS256(), second, with(map[string]any{"exp": nil}), map[string]any{"kid": "2"})

	ask := func(token string, want *api.Error, asked int64) {
		t.Helper()
		got, err := v.Verify(t.Context(), token)
		check(t, got, err, want)
		if n := i.asked.Load(); n != asked {
			t.Errorf("the issuer was asked %d times, want %d", n, asked)
		}
	}
	ask(old, nil, 1)
	ask(old, nil, 1)
	ask(fresh, ErrUnauthorized, 1) // fetched a moment ago

	i.publish(200, setOf(t, map[string]any{"1": first.Public(), "2": second.Public()}))
	c.advance(fetchPause - time.Second)
	ask(fresh, ErrUnauthorized, 1)
	c.advance(time.Second)
	ask(fresh, nil, 2)
	ask(old, nil, 2)

	i.publish(200, setOf(t, map[string]any{"2": second.Public()})) // the old one is withdrawn
	c.advance(fetchPause)
	ask(sign(t, jwa.RS256(), second, good(), map[string]any{"kid": "3"}), ErrUnauthorized, 3)
	ask(old, ErrUnauthorized, 3)

	for _, dead := range []struct {
		status int
		set    string
	}{{500, ""}, {200, "no keys"}, {200, `{"keys":[]}`}, {200, strings.Repeat(" ", maxSet+1)}} {
		before := i.asked.Load()
		i.publish(dead.status, []byte(dead.set))
		c.advance(fetchPause)
		ask(old, ErrUnauthorized, before+1)
		ask(fresh, nil, before+1) // the last keys stay
	}
}

func TestNoKeysYetIsNotTheTokensFault(t *testing.T) {
	i := newIssuer(t, nil)
	i.publish(503, nil)
	var c clock
	v := verifier(t, func(cfg *Config) { cfg.JWKS, cfg.JWKSURL, cfg.Now = nil, i.URL, c.now })
	token := sign(t, jwa.ES256(), ecKey, good(), map[string]any{"kid": "e"})
	if _, err := v.Verify(t.Context(), token); !api.IsKind(err, api.Unavailable) {
		t.Errorf("got %v, want Unavailable", err)
	}
	got, err := v.Verify(t.Context(), sign(t, jwa.HS256(), secret, good(), nil))
	check(t, got, err, nil) // what needs no key from there goes on
	i.publish(200, public(t))
	c.advance(firstPause)
	got, err = v.Verify(t.Context(), token)
	check(t, got, err, nil)
}

// TestOneFetchForAll sends tokens with unknown keys all at once: the issuer must not feel them.
func TestOneFetchForAll(t *testing.T) {
	i := newIssuer(t, public(t))
	v := verifier(t, func(cfg *Config) { cfg.JWKS, cfg.JWKSURL = nil, i.URL })
	stranger := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	token := sign(t, jwa.ES256(), stranger, good(), map[string]any{"kid": "x"})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			got, err := v.Verify(t.Context(), token)
			check(t, got, err, ErrUnauthorized)
		})
	}
	all.Wait()
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times, want 1", n)
	}
}

func TestRedirectsStaySafe(t *testing.T) {
	claims := good()
	reachable := newIssuer(t, public(t))
	for name, c := range map[string]struct {
		to    string
		taken bool
	}{
		"loopback":    {reachable.URL, true},
		"plain, away": {"http://192.0.2.1/keys", false},
		"other sort":  {"file:///etc/passwd", false},
		"round":       {"/", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.RedirectHandler(c.to, http.StatusFound))
			defer s.Close()
			v := verifier(t, func(cfg *Config) { cfg.JWKS, cfg.JWKSURL = nil, s.URL })
			_, err := v.Verify(t.Context(), sign(t, jwa.ES256(), ecKey, claims, map[string]any{"kid": "e"}))
			if (err == nil) != c.taken {
				t.Errorf("got %v, want taken: %v", err, c.taken)
			}
		})
	}
}

// answering is a transport that counts and answers from memory, for virtual time.
type answering struct {
	asked *atomic.Int64
	set   []byte
}

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if a.asked.Add(1)%2 == 0 {
		w.WriteHeader(http.StatusBadGateway)
	} else {
		w.Write(a.set)
	}
	return w.Result(), nil
}

func TestRunFetchesInTheBackground(t *testing.T) {
	set := public(t)
	synctest.Test(t, func(t *testing.T) {
		var asked, failures atomic.Int64
		v := verifier(t, func(cfg *Config) {
			cfg.JWKS, cfg.JWKSURL = nil, "https://issuer.example/keys"
			cfg.Client = &http.Client{Transport: answering{&asked, set}}
		})
		go v.Run(t.Context(), func(error) { failures.Add(1) })
		for hours := int64(0); hours < 2; hours++ {
			time.Sleep(time.Hour)
			synctest.Wait()
		}
		if n := asked.Load(); n < 8 || n > 9 {
			t.Errorf("fetched %d times in 2 hours, want 8 or 9", n)
		}
		if n := failures.Load(); n != 4 {
			t.Errorf("told of %d failures, want 4", n)
		}
		if v.found.Load() == nil {
			t.Error("the keys of the last good fetch are gone")
		}
	})
}
