package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/test/history"
	"github.com/orchd/orchd/test/lab"
)

// run is one run: a cluster, its clients, and what is done to it.
type run struct {
	*house
	seed  uint64
	kept  string   // where artifacts go
	logs  []string // folders with logs that were kept of peers which dropped them
	story *os.File
	work  sync.WaitGroup
	ended context.CancelFunc // of the clients

	following sync.WaitGroup
	followers []*follower
	unfollow  []context.CancelFunc

	errs   []error
	began  time.Time
	worked time.Duration // how long clients worked

	effective  map[string]int // faults that took effect, by name
	idle       map[string]int // faults that did not
	failovers  []time.Duration
	stalls     []time.Duration // from a hung disk to the next write
	recoveries []time.Duration
	joins      int
	traps      int
	watch      *watch // of guests; nil in a run without
	power      *power // disks that forget; nil in a run without
}

// Limits of a run.
const (
	failoverLimit = 15 * time.Second
	healLimit     = 5 * time.Second  // from the end of a fault to an acknowledged write
	endLimit      = 30 * time.Second // from the end of all faults to full agreement
	leastPerSec   = 5                // acknowledged operations, or the run is void
	leastFaults   = 3                // effective ones a minute, or the run is void
)

// options are how a run is asked for.
type options struct {
	seed    uint64
	minutes float64
	share   float64 // of the minutes that were asked for; 0: all of them
	only    string
	peers   int  // 0: 3 or 5, by seed
	guests  bool // real libvirt and QEMU, and their faults
	power   bool // disks that forget what was not synced, and power that goes
}

// fromEnv reads SEED, MINUTES, of which the run gets a share, and ONLY. Without a seed
// the commit gives one, so that each has its own and finds the same again.
func fromEnv(t *testing.T, share float64) (o options) {
	t.Helper()
	o.minutes, o.share, o.only = share, share, os.Getenv("ONLY")
	if text := os.Getenv("MINUTES"); text != "" {
		m, err := strconv.ParseFloat(text, 64)
		if err != nil || m <= 0 {
			t.Fatalf("MINUTES=%s is no number of minutes", text)
		}
		o.minutes = m * share
	}
	if text := os.Getenv("SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SEED=%s is no whole number", text)
		}
		o.seed = seed
		return o
	}
	o.seed = seedOfCommit(t)
	return o
}

// chance is the source of chance of a role.
func (r *run) chance(role string, n int) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(fmt.Sprintf("%s %d", role, n)) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(r.seed, h))
}

// do is a whole run.
func do(t *testing.T, o options) {
	r := &run{seed: o.seed, effective: map[string]int{}, idle: map[string]int{}}
	n, deck := o.peers, faults
	if n == 0 {
		n = []int{3, 3, 5}[r.chance("peers", 0).IntN(3)]
	}
	if o.guests {
		n, deck, r.watch = 3, guestFaults, &watch{}
	}
	if o.power {
		n, deck, r.power = 3, powerFaults, &power{}
	}
	steps, err := plan(deck, o.seed, int(o.minutes*60/2)+1, o.only)
	if err != nil {
		t.Fatal(err)
	}
	r.open(t, o, n, steps)
	r.begin()
	deadline := time.Now().Add(time.Duration(o.minutes * float64(time.Minute)))
	for i, s := range steps {
		if time.Now().After(deadline) || len(r.errs) > 0 {
			break
		}
		r.step(i, s)
	}
	r.finish()
}

// open forms the cluster and what all clients need.
func (r *run) open(t *testing.T, o options, n int, steps []step) {
	r.keep(t, o, steps)
	settings := []lab.Option{lab.With(fmt.Sprintf("vmm.capacity.vcpus = %d", vcpusPerHost))}
	ready := func(*lab.Lab) error { return nil }
	switch {
	case o.power:
		settings, ready = append(settings, lab.Loopback), r.power.install
		t.Cleanup(r.power.remove)
	case !o.guests:
		settings = append(settings, lab.Sim)
	}
	r.house = form(t, n, ready, settings...)
	if o.guests {
		g := guest.Make(t)
		r.must(http.StatusCreated, "POST", "/v1/images", api.ImageCreate{Name: guestImage, Kind: api.ImageKernel, Kernel: g.Kernel, Initrd: g.Initrd, Cmdline: "console=ttyS0"})
		r.image = guestImage
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.keepLogs()
		}
	})
	r.must(http.StatusCreated, "POST", "/ComputeNode", body(probeNode, "probe"))
	r.began = time.Now()
	r.say("%d peers, formed", n)
}

// keep makes the folder of artifacts, which goes when nothing failed.
func (r *run) keep(t *testing.T, o options, steps []step) {
	root := os.Getenv("KEEP")
	if root == "" {
		root = os.TempDir()
	}
	dir, err := os.MkdirTemp(root, fmt.Sprintf("orchd-chaos-%d-", r.seed))
	if err != nil {
		t.Fatal(err)
	}
	r.kept = dir
	if r.story, err = os.Create(filepath.Join(dir, "story")); err != nil {
		t.Fatal(err)
	}
	again := fmt.Sprintf("SEED=%d MINUTES=%.3g ONLY='%s' go test ./test/chaos -run '^%s$' -count=1 -v -timeout 2h", o.seed, o.minutes/cmp.Or(o.share, 1), o.only, t.Name())
	text := again + "\n\n" + tell(steps)
	if err := os.WriteFile(filepath.Join(dir, "plan"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d. The same again: %s\nThe plan, as far as time goes:\n%s", r.seed, again, tell(steps))
	t.Cleanup(func() {
		r.story.Close()
		if !t.Failed() {
			os.RemoveAll(dir)
			return
		}
		t.Logf("what was kept: %s\nThe same again: %s", dir, again)
	})
}

// say writes a line into the story.
func (r *run) say(format string, args ...any) {
	line := fmt.Sprintf("%8.3f ", r.recorder.Now().Seconds()) + fmt.Sprintf(format, args...)
	fmt.Fprintln(r.story, line)
	if testing.Verbose() {
		fmt.Println(line)
	}
}

// wrong notes a failure; the run goes to its end with it.
func (r *run) wrong(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
		r.say("WRONG: %v", err)
	}
}

// begin starts the clients.
func (r *run) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	r.ended = cancel
	nodes, known := newSlots(6, 220, nodeName), &versions{of: map[string]uint64{}}
	vms := newSlots(5, 200, vmName)
	number := 0
	client := func(role string, n int, work func(*worker)) {
		for i := range n {
			w := &worker{house: r.house, number: number, rng: r.chance(role, i)}
			number++
			r.work.Go(func() { work(w) })
		}
	}
	if r.watch != nil { // QEMU takes what there is of the machine
		few := newSlots(3, 200, vmName)
		r.watch.done.Go(func() { r.watch.run(ctx, r) })
		client("nodes", 2, func(w *worker) { w.workOnNodes(ctx, nodes, known) })
		client("vms", 2, func(w *worker) { w.workOnVMs(ctx, few) })
		return
	}
	client("nodes", 6, func(w *worker) { w.workOnNodes(ctx, nodes, known) })
	client("vms", 4, func(w *worker) { w.workOnVMs(ctx, vms) })
	client("snapshots", 1, func(w *worker) { w.workOnSnapshots(ctx) })
	for i := range 2 {
		f := &follower{house: r.house, rng: r.chance("events", i)}
		r.followers = append(r.followers, f)
		following, stop := context.WithCancel(context.Background())
		r.following.Go(func() { f.follow(following) })
		r.unfollow = append(r.unfollow, stop)
	}
}

// step does one fault and waits until the cluster is whole again.
func (r *run) step(i int, s step) {
	r.say("%d. %s begins", i+1, s.name)
	effect, err := r.try(s)
	if err != nil {
		r.wrong(fmt.Errorf("%s: %w", s.name, err))
	}
	r.mend()
	r.wrong(r.majorityUp(endLimit))
	healed := time.Now()
	took, err := r.firstWrite(failoverLimit, r.members())
	if err == nil && took > healLimit {
		err = fmt.Errorf("a write was acknowledged %v after everything was healed, at most %v are allowed", took, healLimit)
	}
	if err != nil {
		r.wrong(fmt.Errorf("after %s: %w", s.name, err))
	}
	r.wrong(r.allReady(endLimit))
	if effect == "" {
		r.idle[s.name]++
		effect = "NO EFFECT"
	} else {
		r.effective[s.name]++
	}
	r.recoveries = append(r.recoveries, took)
	r.say("%d. %s ends: %s; a write after %v, all ready after %v", i+1, s.name, effect, took.Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
}

// try is a fault that may panic without taking the artifacts with it.
func (r *run) try(s step) (effect string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v\n%s", p, debug.Stack())
		}
	}()
	return s.do(r, rand.New(rand.NewPCG(s.seed, 0)))
}

// mend heals the network and starts what does not run.
func (r *run) mend() {
	r.Heal()
	for _, h := range r.members() {
		h.Resume()
		if !h.Running() {
			h.Start()
		}
	}
}

// majorityUp waits until the processes of a majority answer: then it is whole. How long
// a program takes to start on a busy machine is another question.
func (r *run) majorityUp(limit time.Duration) error {
	all := r.members()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		up := 0
		for _, h := range all {
			if a, err := r.within(500*time.Millisecond, h, "GET", "/healthz", nil); err == nil && a.Status == http.StatusOK {
				up++
			}
		}
		if up > len(all)/2 {
			return nil
		}
	}
	return fmt.Errorf("no majority of the peers answers %v after everything was healed", limit)
}

// allReady waits until every peer says that it is ready.
func (r *run) allReady(limit time.Duration) error {
	var missing []string
	for deadline := time.Now().Add(limit); ; {
		missing = nil
		for _, h := range r.members() {
			switch a, err := r.within(time.Second, h, "GET", "/readyz", nil); {
			case err != nil:
				missing = append(missing, fmt.Sprintf("%s: %v", h.Name, err))
			case a.Status != http.StatusOK:
				missing = append(missing, fmt.Sprintf("%s: %d %.200s", h.Name, a.Status, a.Body))
			}
		}
		if len(missing) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("not ready " + limit.String() + " after everything was healed: " + strings.Join(missing, "; "))
		}
		for _, h := range r.members() {
			if !h.Running() {
				return fmt.Errorf("%s ended by itself though nothing was broken:\n%s", h.Name, lastLines(h.Log(), 15))
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// lastLines are the last lines of a file.
func lastLines(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// summary is the line that a run ends with.
func (r *run) summary(s history.Summary) string {
	kinds := make([]string, 0, len(r.effective))
	total := 0
	for name, n := range r.effective {
		kinds = append(kinds, fmt.Sprintf("%s %d", name, n))
		total += n
	}
	slices.Sort(kinds)
	idle := 0
	for _, n := range r.idle {
		idle += n
	}
	slices.Sort(r.failovers)
	slices.Sort(r.stalls)
	slices.Sort(r.recoveries)
	return fmt.Sprintf("chaos: seed %d, operations %d ok %d fail %d unknown (%d of them happened), %.0f ok/s, %d objects (longest %d) judged in %v; faults %d effective, %d not: %s; leader killed to next write p50 %v p99 %v of %d; leader's disk hung to next write at worst %v; slowest recovery %v",
		r.seed, s.OK, s.Fail, s.Unknown, s.Happened, float64(s.OK)/r.worked.Seconds(), s.Objects, s.Longest, s.Took.Round(time.Millisecond),
		total, idle, strings.Join(kinds, ", "), quantile(r.failovers, 50), quantile(r.failovers, 99), len(r.failovers), quantile(r.stalls, 100), quantile(r.recoveries, 100))
}

// quantile of sorted durations, in percent.
func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*percent+99)/100-1)].Round(time.Millisecond)
}
