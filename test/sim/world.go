package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// shape is what a seed makes a cluster of.
type shape struct {
	hosts     int
	voters    int
	profile   string
	threshold uint64
	trailing  uint64
	interval  time.Duration
	commit    time.Duration // how long a follower that nobody asks may not know what is committed
	spread    time.Duration // clocks are so far apart at the beginning
	vcpus     int64
	wired     bool // requests among peers go by HTTP/2 inside TLS, as they do outside of here
}

// world is one cluster, its hosts and all that befalls them.
type world struct {
	seed  uint64
	shape shape
	dir   string
	log   *slog.Logger
	began time.Time

	net       *network
	rafts     *exchange
	machines  *machines
	journal   *journal
	history   *history
	registers *registers
	followers []*follower

	ctx    context.Context // ends with the run
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu         sync.Mutex
	hosts      []*host
	counts     map[string]int
	lines      []string
	violations []string
}

// maxLines bounds the trace that is kept.
const maxLines = 400_000

// trace notes what happens, with the virtual time.
func (w *world) trace(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) < maxLines {
		w.lines = append(w.lines, fmt.Sprintf("%12.6f ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
	}
}

// violation notes that something does not hold that always must.
func (w *world) violation(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.trace("VIOLATION: %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, text)
}

func (w *world) count(what string) { w.add(what, 1) }

func (w *world) add(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what] += n
}

// all are the hosts, whether they run or not.
func (w *world) all() []*host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hosts)
}

// up are the hosts whose peer runs.
func (w *world) up() (list []*host) {
	for _, h := range w.all() {
		if h.running() != nil {
			list = append(list, h)
		}
	}
	return list
}

// hostOf is the host of a peer.
func (w *world) hostOf(id string) string {
	for _, h := range w.all() {
		if h.id() == id {
			return h.name
		}
	}
	return ""
}

// leader is the host whose peer says that it leads, in the highest term; nil when none does.
func (w *world) leader() (found *host) {
	var highest uint64
	for _, h := range w.up() {
		if l := h.running(); l != nil && l.peer.Node().IsLeader() {
			if _, term := l.peer.Node().Leader(); found == nil || term > highest {
				found, highest = h, term
			}
		}
	}
	return found
}

// term is the highest term that a running peer is in.
func (w *world) term() (highest uint64) {
	for _, h := range w.up() {
		if l := h.running(); l != nil {
			_, term := l.peer.Node().Leader()
			highest = max(highest, term)
		}
	}
	return highest
}

// over tells whether the run has ended.
func (w *world) over() bool { return w.ctx.Err() != nil }

// after does something later, unless the run ends before.
func (w *world) after(pause time.Duration, do func()) {
	w.work.Go(func() {
		if w.sleep(pause) {
			do()
		}
	})
}

// sleep pauses; false when the run ends before.
func (w *world) sleep(pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// await waits for a condition, whose error says what is missing.
func (w *world) await(limit time.Duration, met func() error) error {
	end := time.Now().Add(limit)
	for {
		err := met()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %w", limit, err)
		}
		if !w.sleep(100 * time.Millisecond) {
			return err
		}
	}
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// draw makes a shape.
func draw(rng *rand.Rand) shape {
	s := shape{
		hosts: pick(rng, []int{3, 3, 3, 3, 5, 4}), voters: pick(rng, []int{3, 3, 3, 5, 1}),
		profile:   pick(rng, []string{"lan", "wan"}),
		threshold: uint64(20 + rng.IntN(80)), trailing: uint64(4 + rng.IntN(40)),
		interval: time.Duration(3+rng.IntN(6)) * time.Second,
		commit:   pick(rng, []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, time.Second}),
		spread:   time.Duration(rng.IntN(20)) * time.Second,
		vcpus:    int64(8 + rng.IntN(8)),
	}
	if s.hosts == 5 {
		s.voters = pick(rng, []int{3, 5, 5})
	}
	if rng.IntN(5) == 0 { // whoever was away for a moment is sent a snapshot
		s.threshold, s.trailing, s.interval = uint64(20+rng.IntN(20)), uint64(2+rng.IntN(4)), 2*time.Second
	}
	s.wired = rng.IntN(4) == 0
	return s
}

func newWorld(seed uint64, dir string, log *slog.Logger) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{seed: seed, shape: draw(rng), dir: dir, log: log, began: time.Now(), net: newNetwork(seed), counts: map[string]int{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.rafts = &exchange{net: w.net, peers: map[raft.ServerID]*transport{}}
	w.machines, w.journal, w.history = newMachines(w), newJournal(w), &history{}
	w.registers = &registers{}
	return w
}

// summary is what was counted, in order.
func (w *world) summary() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name := range w.counts {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, " %s=%d", strings.ReplaceAll(name, " ", "-"), w.counts[name])
	}
	return b.String()
}
