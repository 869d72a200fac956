package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// TestMain is also the worker, and the fakes of one.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "worker":
		os.Exit(Main())
	case len(os.Args) == 4 && os.Args[1] == "fake":
		os.Exit(fakeMain(os.Args[2]))
	}
	os.Exit(m.Run())
}

// modules are a Source in memory.
type modules struct {
	mu    sync.Mutex
	texts map[string][]byte
	asked int
}

func (s *modules) Module(_ context.Context, digest string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	text, is := s.texts[digest]
	if !is {
		return nil, fmt.Errorf("no module %s", digest)
	}
	return text, nil
}

func (s *modules) put(text []byte) string {
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.texts == nil {
		s.texts = map[string][]byte{}
	}
	s.texts[digest] = text
	return digest
}

func (s *modules) star(name, text string) Module {
	return Module{Name: name, Kind: api.ModuleStarlark, Digest: s.put([]byte(text))}
}

func (s *modules) service(text string) Program {
	return Program{Modules: []Module{s.star("svc", text)}}
}

// bench is a pool under test, and where its modules come from.
type bench struct {
	*Pool
	*modules
}

func newPool(t testing.TB, change ...func(*Config)) bench {
	t.Helper()
	b := bench{modules: &modules{}}
	cfg := Config{Command: []string{"/proc/self/exe", "worker"}, Workers: 2, Source: b.modules, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range change {
		f(&cfg)
	}
	b.Pool = New(cfg)
	t.Cleanup(b.Pool.Close)
	return b
}

func during(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// call calls a function, with a minute to spare.
func (b bench) call(t testing.TB, p Program, function, args string, host Host) (string, error) {
	t.Helper()
	return b.callWithin(t, time.Minute, p, function, args, host)
}

func (b bench) callWithin(t testing.TB, d time.Duration, p Program, function, args string, host Host) (string, error) {
	t.Helper()
	result, err := b.Call(during(t, d), Call{Program: p, Function: function, Args: json.RawMessage(args), Host: host,
		Context: Context{Caller: api.Actor{ID: "uid:0", Role: api.RoleAdmin, Account: "default"}}})
	return string(result), err
}

// works asserts that the pool answers.
func (b bench) works(t testing.TB) {
	t.Helper()
	got, err := b.call(t, b.service("def hello(name):\n    return 'hello ' + name"), "hello", `{"name": "you"}`, &host{})
	if want := `"hello you"`; err != nil || got != want {
		t.Errorf("the next call: got %s, %v, want %s", got, err, want)
	}
}

// host does what its functions say, and notes what it was asked.
type host struct {
	functions map[string]func(args json.RawMessage) (any, error)
	services  map[string]Program
	mu        sync.Mutex
	asked     []string
}

func (h *host) Do(_ context.Context, name string, args json.RawMessage) (json.RawMessage, error) {
	h.mu.Lock()
	h.asked = append(h.asked, name+" "+string(args))
	h.mu.Unlock()
	f, is := h.functions[name]
	if !is && name == "log" {
		return nil, nil
	}
	if !is {
		return nil, &api.Error{Kind: api.Forbidden, Msg: "not granted: " + name + " needs kv = true under [grants] of package.toml"}
	}
	v, err := f(args)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func (h *host) Enter(_ context.Context, service string) (Program, Context, Host, error) {
	p, is := h.services[service]
	if !is {
		return Program{}, Context{}, nil, errors.New("there is no service " + service)
	}
	return p, Context{Caller: api.Actor{ID: "service:outer"}}, h, nil
}

// keeping is a host with a few values.
func keeping() *host {
	values := map[string]string{}
	counts := map[string]int{}
	return &host{functions: map[string]func(json.RawMessage) (any, error){
		"kv.set": func(args json.RawMessage) (any, error) {
			var a struct{ Key, Text string }
			err := json.Unmarshal(args, &a)
			values[a.Key] = a.Text
			return nil, err
		},
		"kv.get": func(args json.RawMessage) (any, error) {
			var a struct{ Key string }
			err := json.Unmarshal(args, &a)
			if v, is := values[a.Key]; is {
				return v, err
			}
			return nil, err
		},
		"kv.items": func(json.RawMessage) (any, error) { return maps.Clone(values), nil },
		"kv.add_u32": func(args json.RawMessage) (any, error) {
			var a struct {
				Key string
				N   int
			}
			err := json.Unmarshal(args, &a)
			counts[a.Key] += a.N
			return counts[a.Key], err
		},
	}}
}

var built struct {
	sync.Mutex
	byFolder map[string][]byte
}

// build builds a WASM module that is written in Go.
func build(t testing.TB, folder string) []byte {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if text := built.byFolder[folder]; text != nil {
		return text
	}
	out := filepath.Join(t.TempDir(), "module.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=-p=1")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", folder, err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if built.byFolder == nil {
		built.byFolder = map[string][]byte{}
	}
	built.byFolder[folder] = text
	return text
}

func (b bench) wasm(t testing.TB, folder string) Program {
	return Program{Modules: []Module{{Name: "module", Kind: api.ModuleWASM, Digest: b.put(build(t, folder))}}}
}

const (
	exampleFolder = "../guest/example"
	attackFolder  = "testdata/attacks"
)

func contains(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got error %q, want %q in it", err, part)
		}
	}
}
