//go:debug tlsmlkem=0

package sim

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the garbage wait: the worlds are small, and to collect it took a
// quarter of the time. Snapshots are unpacked in memory where there is such a folder:
// what a power cut leaves of them is for test/crash.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	if shm, err := os.MkdirTemp("/dev/shm", "orchd-sim-"); err == nil {
		os.Setenv("TMPDIR", shm)
		defer os.RemoveAll(shm)
	}
	m.Run()
}

// longest is how long one cluster lives at most: what it remembers makes it slower.
const longest = 30 * time.Minute

// TestSim runs clusters in virtual time: HOURS of it in all, with SEED, which
// changes with the commit unless it is given.
func TestSim(t *testing.T) {
	seed := startSeed(t)
	hours := 0.25
	if text := os.Getenv("HOURS"); text != "" {
		var err error
		if hours, err = strconv.ParseFloat(text, 64); err != nil {
			t.Fatalf("HOURS=%s: %v", text, err)
		}
	}
	t.Logf("SEED=%d HOURS=%g", seed, hours)
	began, all := time.Now(), time.Duration(hours*float64(time.Hour))
	runs := max(2, int((all+longest-1)/longest)) // one for each of two cores, at least
	length := (all / time.Duration(runs)).Round(time.Second)
	var counted tally
	live := func(t *testing.T, k int) {
		r := Run(t, Options{Seed: seed + uint64(k), Length: length, MayBeVoid: true}) // they count together
		counted.add(r)
		judge(t, r)
	}
	t.Run("runs", func(t *testing.T) {
		for k := range runs {
			t.Run(fmt.Sprint(seed+uint64(k)), func(t *testing.T) {
				t.Parallel()
				live(t, k)
			})
		}
	})
	for k := runs; k < runs+max(4, runs/8) && counted.void() != "" && !t.Failed(); k++ { // few runs may have few faults by chance, more of them have not
		t.Logf("%s: so there is one more", counted.void())
		t.Run(fmt.Sprint("more/", seed+uint64(k)), func(t *testing.T) { live(t, k) })
	}
	counted.sum(t, time.Since(began))
}

// startSeed is $SEED, or a number made of the commit.
func startSeed(t *testing.T) uint64 {
	if text := os.Getenv("SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SEED=%s: %v", text, err)
		}
		return seed
	}
	commit, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		commit = []byte("no repository") // a copy without one: any seed will do
	}
	h := sha256.Sum256(commit)
	return uint64(binary.BigEndian.Uint32(h[:]))
}

// judge fails the test for what a run has found, and keeps its trace.
func judge(t *testing.T, r Report) {
	t.Helper()
	t.Logf("seed %d:%s", r.Seed, r.Summary)
	if len(r.Violations) == 0 && r.Void == "" && os.Getenv("SIM_TRACE") == "" {
		return
	}
	dir := cmp.Or(os.Getenv("SIM_ARTIFACTS"), t.ArtifactDir())
	path := filepath.Join(dir, fmt.Sprintf("sim-%d.trace", r.Seed))
	if err := os.WriteFile(path, []byte(strings.Join(r.Trace, "\n")+"\n"), 0o644); err != nil {
		t.Errorf("the trace was not kept: %v", err)
	}
	for i, v := range r.Violations {
		if i == 10 {
			t.Errorf("and %d more", len(r.Violations)-i)
			break
		}
		t.Error(v)
	}
	if r.Void != "" {
		t.Errorf("the run is void: %s", r.Void)
	}
	t.Errorf("trace: %s; again: SEED=%d HOURS=%.4f go test ./test/sim -run TestAgain -count=1", path, r.Seed, r.Length.Hours())
}

// TestAgain runs one seed for HOURS as one run, TIMES times over or until one fails. SIM_LOG is
// a file for what the peers log in the last of them.
func TestAgain(t *testing.T) {
	if os.Getenv("TIMES") == "" && os.Getenv("SEED") == "" {
		return // TestSim runs
	}
	seed := startSeed(t)
	hours, err := strconv.ParseFloat(cmp.Or(os.Getenv("HOURS"), "0.1"), 64)
	if err != nil {
		t.Fatal(err)
	}
	times, err := strconv.Atoi(cmp.Or(os.Getenv("TIMES"), "1"))
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		again(t, Options{Seed: seed, Length: time.Duration(hours * float64(time.Hour)), MayBeVoid: true})
		if t.Failed() {
			return
		}
	}
}

func again(t *testing.T, o Options) {
	if path := os.Getenv("SIM_LOG"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		o.Log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	judge(t, Run(t, o))
}

// tally is what the runs of a test give together.
type tally struct {
	mu     sync.Mutex
	runs   int
	length time.Duration
	counts map[string]int
}

func (all *tally) add(r Report) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.counts == nil {
		all.counts = map[string]int{}
	}
	all.runs++
	all.length += r.Length
	for name, k := range r.Counts {
		all.counts[name] += k
	}
}

// void is why the runs do not count; empty where they do.
func (all *tally) void() string {
	need := all.length.Hours()
	if float64(all.counts["effective"]) < need*faultsAnHour || float64(all.counts["acknowledged"]) < need*writesAnHour {
		return fmt.Sprintf("the runs are void: an hour counts with %d effective faults and %d acknowledged writes", faultsAnHour, writesAnHour)
	}
	if need >= 4 && float64(all.counts["installs"]) < need*installsAnHour {
		return fmt.Sprintf("the runs are void: in %.0f hours %d snapshots were installed", need, all.counts["installs"])
	}
	for _, k := range kinds {
		if need >= 4 && all.counts["fault "+k.name] == 0 {
			return fmt.Sprintf("the runs are void: in %.0f hours the fault %q never had an effect", need, k.name)
		}
	}
	return ""
}

// sum says what the runs were, and fails the test where they do not count.
func (all *tally) sum(t *testing.T, took time.Duration) {
	if void := all.void(); void != "" {
		t.Error(void)
	}
	var faults []string
	for _, k := range kinds {
		faults = append(faults, fmt.Sprintf("%s %d", k.name, all.counts["fault "+k.name]))
	}
	fmt.Printf("result: sim: %d runs, %.2f virtual hours, %d effective faults (%s), %d acknowledged writes, %d reads, %d unknown outcomes, %d snapshots installed, %.0f x real time on %d cores\n",
		all.runs, all.length.Hours(), all.counts["effective"], strings.Join(faults, ", "), all.counts["acknowledged"], all.counts["reads"]+all.counts["lists"], all.counts["unknown"], all.counts["installs"],
		all.length.Seconds()/took.Seconds(), runtime.GOMAXPROCS(0))
}
