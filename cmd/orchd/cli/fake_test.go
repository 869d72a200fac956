package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
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

	"github.com/orchd/orchd/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is the time of every test: ages in tables must not change.
var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// fake is a peer that answers what the test says, on a unix socket.
type fake struct {
	t      *testing.T
	mux    *http.ServeMux
	socket string
	mu     sync.Mutex
	asked  []string // "METHOD PATH?QUERY BODY" of each request
	keys   []string // the Idempotency-Key of each that writes
	header http.Header
	raw    map[string]http.HandlerFunc // "METHOD PATH" that reads its body itself
}

func newFake(t *testing.T) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "orchd") // not t.TempDir: the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, mux: http.NewServeMux(), socket: filepath.Join(dir, "orchd.sock")}
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: f}}
	server.Start()
	t.Cleanup(func() {
		server.Close()
		os.RemoveAll(dir)
	})
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if handle, ok := f.raw[r.Method+" "+r.URL.Path]; ok {
		handle(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	f.header = r.Header
	if r.Method != http.MethodGet {
		f.keys = append(f.keys, r.Header.Get("Idempotency-Key"))
	}
	f.mu.Unlock()
	f.mux.ServeHTTP(w, r)
}

// requests is what was asked so far, while a command runs.
func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// count is how many requests began so.
func (f *fake) count(prefix string) (n int) {
	for _, r := range f.requests() {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// answer makes the peer answer a route: errors as problems, all else as JSON.
// Several answers are given in turn, the last one for ever.
func (f *fake) answer(route string, answers ...any) *fake {
	given := 0
	f.mux.HandleFunc(route, func(w http.ResponseWriter, _ *http.Request) {
		next := answers[min(given, len(answers)-1)]
		given++
		e, failed := next.(*api.Error)
		if !failed {
			if err := json.NewEncoder(w).Encode(next); err != nil {
				f.t.Error(err)
			}
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("X-Request-Id", "r1")
		w.Header().Set("Orchd-Peer", "h1")
		w.WriteHeader(http.StatusBadRequest) // the code decides, not the status
		p := api.Problem{Code: e.Kind.Code(), Detail: e.Msg, Errors: e.Fields, Hosts: e.Hosts}
		if err := json.NewEncoder(w).Encode(p); err != nil {
			f.t.Error(err)
		}
	})
	return f
}

// text makes the peer answer a route with bytes that are no JSON.
func (f *fake) text(route, body string) *fake {
	f.mux.HandleFunc(route, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
	return f
}

func page[T any](items ...T) api.Page[T] { return api.Page[T]{Items: items} }

// result is what a command line did.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a command line against the fake.
func (f *fake) run(args ...string) result {
	f.t.Helper()
	return run(f.t.Context(), App{Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}, args...)
}

// run runs a command line of an App that may say what it needs.
func run(ctx context.Context, a App, args ...string) result {
	var out, err bytes.Buffer
	a.Stdout, a.Stderr, a.Now = &out, &err, func() time.Time { return now }
	code := a.Run(ctx, args)
	return result{out.String(), err.String(), code}
}

// golden compares with testdata/NAME.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

const (
	vmID = "0b9f2d1e-0000-4000-8000-000000000001"
	opID = "0b9f2d1e-0000-4000-8000-0000000000aa"
)

func aVM() api.VM {
	return api.VM{
		ID: vmID, Name: "web1", Account: "default", Labels: map[string]string{"tier": "web", "owner": "anna"},
		Spec:    api.VMSpec{VCPUs: 2, MemoryMiB: 4096, DiskGiB: 20, Image: "debian-12"},
		Status:  api.VMStatus{Owner: "h2", Epoch: 1, State: api.VMRunning, Desired: api.WantRunning, Operation: opID},
		Version: 7, CreatedAt: now.Add(-3 * time.Hour),
	}
}

func anOperation(state api.OpState) api.Operation {
	return api.Operation{
		ID: opID, Kind: "create", Mode: api.Asynchronous, Target: api.OpTarget{Kind: "vm", ID: vmID, Name: "web1"}, State: state,
		Hosts: []api.HostPart{{Peer: "h1", Status: api.NotApplicable, Reason: "memory: 4096 MiB wanted, 100 free"}, {Peer: "h2", Status: api.Assigned}},
		Steps: []api.OpStep{{Name: "define", TookMs: 12}, {Name: "start", TookMs: 340}},
		Actor: "uid:0", CreatedAt: now.Add(-time.Minute), FinishedAt: now.Add(-59 * time.Second),
	}
}

func aPeer() api.PeerView {
	return api.PeerView{
		Peer: api.Peer{
			ID: "0b9f2d1e-0000-4000-8000-0000000000b1", Name: "h1", Addresses: api.PeerAddresses{API: "10.0.0.1:7700"},
			Capacity: api.Resources{VCPUs: 8, MemoryMiB: 32768, DiskGiB: 500}, Ratios: api.Ratios{VCPUs: 200},
			Driver: api.DriverLibvirt, Schedulable: true, Software: "1.0.0",
		},
		Voter: true, Leader: true, Health: "alive", HeardAt: now.Add(-time.Second), AppliedIndex: 42,
		Reserved: api.Resources{VCPUs: 2, MemoryMiB: 4096, DiskGiB: 20}, VMs: 1,
	}
}

func aStatus(warnings ...api.Warning) api.Status {
	return api.Status{
		ClusterID: "0b9f2d1e-0000-4000-8000-0000000000c1", Peer: "h1", Leader: "h1", Term: 3, AppliedIndex: 42, CommitIndex: 42,
		StateHash: "00ff", Voters: 3, VotersWanted: 3, Tolerates: 1, Peers: []api.PeerView{aPeer()},
		VMs: map[string]int{"running": 5, "stopped": 1, "failed": 0}, Software: "1.0.0", Level: 2, Warnings: warnings,
	}
}
