package modules_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/modules"
)

// others are the other peers: what they have by digest, and how often they were asked.
type others struct {
	mu    sync.Mutex
	have  map[string][]byte
	asked int
	hold  chan struct{} // until it is closed nothing comes
}

func (o *others) FetchModule(ctx context.Context, digest string) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	content, has := o.have[digest]
	if !has {
		return nil, errors.New("no peer has it")
	}
	if o.hold != nil {
		select {
		case <-o.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

func open(t *testing.T, dir string, from *others) *modules.Store {
	t.Helper()
	s, err := modules.Open(dir, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s *modules.Store, content string) string {
	t.Helper()
	digest, err := s.Put([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func wantModule(t *testing.T, s *modules.Store, digest, want string) {
	t.Helper()
	got, err := s.Module(t.Context(), digest)
	if err != nil || string(got) != want {
		t.Fatalf("module: got %q, %v, want %q", got, err, want)
	}
}

func TestModuleIsKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, &others{})
	digest := put(t, s, "code")
	if again := put(t, s, "code"); again != digest || digest != modules.Digest([]byte("code")) {
		t.Errorf("digests: %s and %s, want %s twice", digest, again, modules.Digest([]byte("code")))
	}
	if !s.Has(digest) || s.Has(modules.Digest(nil)) || s.Has("../x") {
		t.Error("Has is wrong")
	}
	wantModule(t, open(t, dir, &others{}), digest, "code")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != digest {
		t.Errorf("folder: %v, %v; want the module alone", files, err)
	}
}

// TestRottenModule: a damaged file is noticed, fetched anew, and not served meanwhile.
func TestRottenModule(t *testing.T) {
	dir := t.TempDir()
	digest := modules.Digest([]byte("code"))
	from := &others{have: map[string][]byte{digest: []byte("code")}}
	s := open(t, dir, from)
	put(t, s, "code")
	rot := func() {
		if err := os.WriteFile(filepath.Join(dir, digest), []byte("c0de"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rot()
	if _, err := s.Serve(digest); !api.IsKind(err, api.NotFound) {
		t.Errorf("a damaged module is served: %v", err)
	}
	wantModule(t, s, digest, "code")
	wantModule(t, s, digest, "code")
	if from.asked != 1 {
		t.Errorf("asked %d times, want once", from.asked)
	}
	rot()
	put(t, s, "code") // mends it too
	body, err := s.Serve(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || string(got) != "code" {
		t.Errorf("served: %q, %v", got, err)
	}
}

// TestWhatComesIsVerified: nothing is kept that is not what was asked for.
func TestWhatComesIsVerified(t *testing.T) {
	wrong, big := modules.Digest([]byte("a")), modules.Digest([]byte("b"))
	from := &others{have: map[string][]byte{wrong: []byte("not a"), big: make([]byte, api.MaxModule+1)}}
	s := open(t, t.TempDir(), from)
	for digest, want := range map[string]string{
		wrong:                        "what came has the digest",
		big:                          "more than",
		modules.Digest([]byte("c")):  "no peer has it",
		"../../etc/passwd":           "is no SHA-256",
		strings.ToUpper(wrong) + "Z": "is no SHA-256",
	} {
		if _, err := s.Module(t.Context(), digest); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", digest, err, want)
		}
		if s.Has(digest) {
			t.Errorf("%s was kept", digest)
		}
	}
	if _, err := s.Put(make([]byte, api.MaxModule+1)); err == nil {
		t.Error("a module beyond the limit is kept")
	}
}

// TestManyAskOnce: who asks while a module is on its way waits for it.
func TestManyAskOnce(t *testing.T) {
	digest := modules.Digest([]byte("code"))
	from := &others{have: map[string][]byte{digest: []byte("code")}, hold: make(chan struct{})}
	s := open(t, t.TempDir(), from)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := s.Module(t.Context(), digest); err != nil || string(got) != "code" {
				t.Errorf("module: %q, %v", got, err)
			}
		})
	}
	close(from.hold)
	all.Wait()
	if from.asked != 1 {
		t.Errorf("asked %d times, want once", from.asked)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, &others{})
	named, old, young := put(t, s, "named"), put(t, s, "old"), put(t, s, "young")
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for digest, age := range map[string]time.Duration{named: 48 * time.Hour, old: 61 * time.Minute, young: 59 * time.Minute} {
		if err := os.Chtimes(filepath.Join(dir, digest), now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sweep(map[string]bool{named: true}, now); err != nil {
		t.Fatal(err)
	}
	if !s.Has(named) || s.Has(old) || !s.Has(young) {
		t.Errorf("after the sweep: named %v, old %v, young %v; want old gone alone", s.Has(named), s.Has(old), s.Has(young))
	}
}

// TestHalfWritten: what was not whole when the process ended goes at the next start.
func TestHalfWritten(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, ".new-abc")
	if err := os.WriteFile(half, []byte("co"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir, &others{})
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half-written file is there still: %v", err)
	}
}
