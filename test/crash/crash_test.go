package crash

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/lossy"
)

// number is a number from the environment.
func number(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// life is recorded once for all tests.
var life struct {
	sync.Once
	*Life
}

func recorded(t *testing.T) *Life {
	t.Helper()
	life.Do(func() {
		began := time.Now()
		life.Life = Record(t)
		t.Logf("recorded %d operations, %d acknowledgements and %d snapshots in %v", len(life.Trace), len(life.Acks), len(life.Marks), time.Since(began).Round(time.Millisecond))
	})
	if life.Life == nil {
		t.Fatal("no life was recorded")
	}
	return life.Life
}

// points are the operations before which power goes: all, if there are enough points, again
// and again with other seeds.
func points(r *rand.Rand, ops, n int) (ks []int) {
	for len(ks) < n {
		round := r.Perm(ops + 1)
		ks = append(ks, round[:min(len(round), n-len(ks))]...)
	}
	slices.Sort(ks)
	return ks
}

// TestPowerLoss takes the power away: see the package. Points: CRASH_POINTS.
func TestPowerLoss(t *testing.T) {
	l, seed, n := recorded(t), number(t, "SEED", rand.Uint64()), int(number(t, "CRASH_POINTS", 150))
	t.Logf("SEED=%d CRASH_POINTS=%d", seed, n)
	began := time.Now()
	ks := points(rand.New(rand.NewPCG(seed, 0)), len(l.Trace), n)
	const workers = 2
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { lose(t, l, seed, ks[w*len(ks)/workers:(w+1)*len(ks)/workers]) })
	}
	all.Wait()
	fmt.Printf("result: crash: %d points of %d operations in %v, %.0f/s\n", n, len(l.Trace), time.Since(began).Round(time.Millisecond), float64(n)/time.Since(began).Seconds())
}

// lose goes through some points, which are in order.
func lose(t *testing.T, l *Life, seed uint64, ks []int) {
	r, dir := lossy.NewReplay(l.Trace), memory(t)
	for i, k := range ks {
		if t.Failed() {
			return
		}
		r.Advance(k)
		s := seed + uint64(i)
		into := filepath.Join(dir, "disk")
		err := errors.Join(os.RemoveAll(into), os.Mkdir(into, 0o700), r.Materialise(s, into))
		if err == nil {
			err = l.Judge(into, k)
		}
		if err != nil {
			t.Errorf("power was lost before operation %d of %d (%s), seed %d: %v\n%s", k, len(l.Trace), next(l.Trace, k), s, err, keep(t, r, l, k, s))
		}
	}
}

// TestUnsyncedSnapshotsAreFound: of a life in which no snapshot was ever synced, a loss is
// found that must not be: this test would notice.
func TestUnsyncedSnapshotsAreFound(t *testing.T) {
	careless := *recorded(t)
	careless.Trace = slices.Clone(careless.Trace)
	for i, o := range careless.Trace {
		if o.Kind == lossy.Fsync && strings.Contains("/"+o.Path+"/", "/snapshots/") {
			careless.Trace[i] = lossy.Op{Kind: lossy.Write, Ino: o.Ino, Path: o.Path} // of no bytes
		}
	}
	dir := memory(t)
	for seed := range uint64(50) {
		r := lossy.NewReplay(careless.Trace)
		for _, k := range points(rand.New(rand.NewPCG(seed, 0)), len(careless.Trace), 20) {
			r.Advance(k)
			into := filepath.Join(dir, "disk")
			must(t, errors.Join(os.RemoveAll(into), os.Mkdir(into, 0o700), r.Materialise(seed, into)))
			if err := careless.Judge(into, k); err != nil {
				t.Logf("found with seed %d: %v", seed, err)
				return
			}
		}
	}
	t.Error("50 seeds of 20 points each have found nothing")
}

// TestInitAgain: a host whose power went while it made a cluster can make one all the same.
func TestInitAgain(t *testing.T) {
	l, seed := recorded(t), number(t, "SEED", rand.Uint64())
	t.Logf("SEED=%d", seed)
	r, dir := lossy.NewReplay(l.Trace), memory(t)
	again := 0
	for i := range uint64(8) {
		k := int(i+1) * l.Ready / 8
		r.Advance(k)
		into := filepath.Join(dir, fmt.Sprint(i))
		must(t, os.Mkdir(into, 0o700))
		must(t, r.Materialise(seed+i, into))
		must(t, l.Judge(into, k))
		if _, err := cluster.LoadIdentity(into); err == nil {
			continue // it was made
		}
		again++
		c := peer.Config{Name: "h1", DataDir: into, Advertise: "127.0.0.1", APIListen: "127.0.0.1:1", RaftListen: "127.0.0.1:2", GossipListen: "127.0.0.1:3", Driver: api.DriverSim}
		if err := peer.Init(t.Context(), c, io.Discard, nil); err != nil {
			t.Errorf("power was lost before operation %d (%s), seed %d, and init again gives: %v", k, next(l.Trace, k), seed+i, err)
		}
	}
	if again == 0 {
		t.Error("init was tried again nowhere")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPowerLossOfAProgram: the same with orchd itself, for CRASH_FULL points.
func TestPowerLossOfAProgram(t *testing.T) {
	l, seed := recorded(t), number(t, "SEED", rand.Uint64())
	t.Logf("SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range number(t, "CRASH_FULL", 2) {
		k := l.Ready + r.IntN(len(l.Trace)-l.Ready+1)
		t.Run(fmt.Sprint("operation ", k), func(t *testing.T) {
			h := lab.Start(t, 1, loopback, settings).Host(0)
			must(t, os.MkdirAll(h.DataDir(), 0o755))
			must(t, lossy.Materialise(l.Trace, k, seed+i, h.DataDir()))
			h.Start()
			h.AwaitReady()
			has := map[string]bool{}
			for line := range strings.Lines(h.CLI("vm", "list", "-o", "name")) {
				has[strings.TrimSpace(line)] = true
			}
			for _, a := range l.Acks {
				if a.Ops <= k && a.Name != "" && !has[a.Name] && !slices.Contains(deleted, a.Name) {
					t.Errorf("power was lost before operation %d, seed %d: %s was acknowledged and is not there (%v)", k, seed+i, a.Name, has)
				}
			}
			h.Stop()
		})
	}
}

func next(trace lossy.Trace, k int) string {
	if k == len(trace) {
		return "the end"
	}
	return trace[k].String()
}

// keep keeps the folder as the power loss left it, and the operations up to there.
func keep(t *testing.T, r *lossy.Replay, l *Life, k int, seed uint64) string {
	t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprintf("orchd-crash-%d-%d-", k, seed))
	if err != nil {
		return err.Error()
	}
	disk := filepath.Join(dir, "disk")
	ops, err := os.Create(filepath.Join(dir, "trace"))
	if err != nil {
		return err.Error()
	}
	defer ops.Close()
	for i, o := range l.Trace[:min(k+20, len(l.Trace))] {
		fmt.Fprintln(ops, i, o)
	}
	if err := errors.Join(os.Mkdir(disk, 0o700), r.Materialise(seed, disk)); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("kept: %s", dir)
}
