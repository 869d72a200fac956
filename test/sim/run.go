package sim

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// Options of a run.
type Options struct {
	Seed   uint64
	Length time.Duration // virtual time with clients and faults
	Log    *slog.Logger  // of the peers; nil: dropped
	// MayBeVoid lets a run pass that had fewer effective faults or writes than a run of its length must have.
	MayBeVoid bool
	// Wired has the peers' requests go by HTTP/2 inside TLS, whatever the seed says.
	Wired bool
}

// What an hour must have to count.
const (
	faultsAnHour   = 400
	writesAnHour   = 2000
	installsAnHour = 10 // of snapshots from the leader; for runs of many hours
)

// Report is what a run did and found.
type Report struct {
	Seed       uint64
	Length     time.Duration
	Violations []string
	Void       string // why it does not count; empty when it does
	Counts     map[string]int
	Trace      []string
	Summary    string
}

// Run is one cluster from its foundation to its end, in a bubble of its own.
func Run(t *testing.T, o Options) (r Report) {
	dir := t.TempDir()
	if o.Log == nil {
		o.Log = quietLog()
	}
	theDesk()
	w := bubble(t, o, dir)
	w.verify()
	r = Report{Seed: o.Seed, Length: o.Length, Violations: w.violations, Counts: maps.Clone(w.counts), Trace: w.lines, Summary: w.summary()}
	hours := o.Length.Hours()
	if n, want := r.Counts["effective"], int(hours*faultsAnHour); n < want {
		r.Void = fmt.Sprintf("%d effective faults, %d are needed", n, want)
	}
	if n, want := r.Counts["acknowledged"], int(hours*writesAnHour); n < want {
		r.Void += fmt.Sprintf(" %d acknowledged writes, %d are needed", n, want)
	}
	if o.MayBeVoid {
		r.Void = ""
	}
	return r
}

// bubble runs a world. A bubble in which everybody waits for ever is a violation
// like others, so that its seed and its trace are told.
func bubble(t *testing.T, o Options, dir string) (w *world) {
	defer func() {
		p := recover()
		if p == nil || w == nil {
			return
		}
		stacks := make([]byte, 1<<20)
		w.violation("%v\n%s", p, stacks[:runtime.Stack(stacks, true)])
	}()
	synctest.Test(t, func(*testing.T) {
		w = newWorld(o.Seed, dir, o.Log)
		w.shape.wired = w.shape.wired || o.Wired
		w.live(o.Length)
	})
	return w
}

// live is the whole life of the world.
func (w *world) live(length time.Duration) {
	w.trace("shape: %+v", w.shape)
	rng := rand.New(rand.NewPCG(w.seed, 2))
	if err := w.settle(rng); err != nil {
		w.violation("the cluster does not come up: %v", err)
	} else {
		w.suffer(rng, length)
		w.recover()
	}
	w.end()
}

// settle founds the cluster and lets the other hosts join.
func (w *world) settle(rng *rand.Rand) error {
	if err := w.found(); err != nil {
		return err
	}
	for range w.shape.hosts - 1 {
		if err := w.grow(); err != nil {
			return err
		}
	}
	want := min(w.shape.voters, w.shape.hosts)
	err := w.await(2*time.Minute, func() error {
		if h := w.leader(); h != nil {
			voters := 0
			for _, s := range h.running().peer.Node().Servers() {
				if s.Voter {
					voters++
				}
			}
			if voters >= want {
				return nil
			}
		}
		return errors.New("there are too few voters")
	})
	for _, h := range w.all() {
		h.mu.Lock()
		h.offset, h.rate = time.Duration(rng.Float64()*float64(w.shape.spread)), (rng.Float64()-0.5)/50
		h.mu.Unlock()
	}
	return err
}

// suffer lets clients work while things go wrong.
func (w *world) suffer(rng *rand.Rand, length time.Duration) {
	stop := make(chan struct{})
	var followers []*follower
	for k := range 10 {
		c := w.newClient(fmt.Sprintf("c%d", k), uint64(k), 5500*time.Millisecond)
		switch {
		case k < 4:
			c.run(stop, func() { c.inventory(w.registers) })
		case k < 6:
			c.run(stop, func() {
				if id, ok := w.registers.use(c.rng, 1); ok {
					c.look(id, c.rng.IntN(3) > 0)
				}
			})
		case k < 8:
			c.run(stop, c.guests)
		default:
			f := &follower{}
			followers = append(followers, f)
			c.run(stop, func() { c.follow(f) })
		}
	}
	w.followers = followers
	began := time.Now()
	for _, f := range planned(rng, length) {
		w.work.Go(func() {
			if w.sleep(time.Until(began.Add(f.at))) {
				w.befall(f)
			}
		})
	}
	w.sleep(length)
	close(stop)
}

// Bounds of coming to itself again.
const (
	healTime     = 90 * time.Second // for faults that are under way, and processes that start again
	convergeTime = 60 * time.Second
)

// recover heals everything and waits until what is wanted is what is there.
func (w *world) recover() {
	w.trace("HEAL")
	w.sleep(20 * time.Second) // for faults that end by themselves
	w.net.heal()
	for _, h := range w.all() {
		h.freeze(false)
		h.disk.set(func(d *disk) { d.full, d.failing, d.hanging, d.slow = false, false, false, 0 })
		h.driver.Mend()
		h.mu.Lock()
		h.offset = 0
		h.mu.Unlock()
		h.start()
	}
	if err := w.await(convergeTime, w.ready); err != nil {
		w.violation("the cluster does not come to itself: %v", err)
		return
	}
	if err := w.await(convergeTime, w.converged); err != nil {
		w.violation("what is wanted is not what is there: %v", err)
	}
}

// ready: there is a leader, and every member has all of the log.
func (w *world) ready() error {
	leader := w.leader()
	if leader == nil {
		return errors.New("nobody leads")
	}
	l := leader.running()
	if l == nil {
		return errors.New("nobody leads")
	}
	index := l.machine.Index()
	for p := range l.machine.Read().Members() {
		h := w.named(p.Name, p.ID)
		if h == nil {
			continue // it was admitted, and its host does not know
		}
		other := h.running()
		if other == nil {
			return fmt.Errorf("%s does not run", h.name)
		}
		if at := other.machine.Index(); at < index {
			return fmt.Errorf("%s has applied %d of %d", h.name, at, index)
		}
	}
	return nil
}

func (w *world) named(name, id string) *host {
	for _, h := range w.all() {
		if h.name == name && h.id() == id && h.enrolled {
			return h
		}
	}
	return nil
}

// converged: every VM is as it is wanted, in the tables and on its host.
func (w *world) converged() error {
	if err := w.ready(); err != nil {
		return err
	}
	now := w.leader()
	if now == nil || now.running() == nil {
		return errors.New("nobody leads")
	}
	for vm := range now.running().machine.Read().VMs("") {
		h := w.named(vm.Status.Owner, vm.Status.OwnerID)
		if h == nil {
			continue
		}
		d, there := h.driver.Domain(vm.ID)
		switch {
		case vm.Status.Desired == api.WantDeleted:
			return fmt.Errorf("VM %s is still being deleted", vm.ID)
		case vm.Status.State == api.VMFailed || vm.Status.State == api.VMCrashed || vm.Status.State == api.VMStopped && vm.Status.Desired == api.WantRunning:
			// it was tried, and its owner says how that went
		case vm.Status.Desired == api.WantRunning && (!there || d.Power != vmm.Running || vm.Status.State != api.VMRunning):
			return fmt.Errorf("VM %s is wanted running and is %s on %s (there %t, power %d)", vm.ID, vm.Status.State, h.name, there, d.Power)
		case vm.Status.Desired == api.WantStopped && (there && d.Power != vmm.Off || vm.Status.State != api.VMStopped):
			return fmt.Errorf("VM %s is wanted stopped and is %s on %s", vm.ID, vm.Status.State, h.name)
		}
	}
	return nil
}

// end stops all peers, and looks whether anything is left of them.
func (w *world) end() {
	w.trace("END")
	var all sync.WaitGroup
	for _, h := range w.all() {
		all.Go(h.stop)
	}
	all.Wait()
	w.cancel()
	w.work.Wait()
	time.Sleep(time.Minute) // what ends by its own time-outs
	synctest.Wait()
	if left := leftovers(); left != "" {
		w.violation("goroutines are left:\n%s", left)
	}
}

// leftovers are the goroutines of this bubble beside this one.
func leftovers() string {
	b := make([]byte, 8<<20)
	b = b[:runtime.Stack(b, true)]
	parts := bytes.Split(b, []byte("\n\n"))
	head, _, _ := strings.Cut(string(parts[0]), "\n") // this goroutine comes first
	_, bubble, in := strings.Cut(head, "synctest bubble ")
	if !in {
		return ""
	}
	bubble, _, _ = strings.Cut(bubble, "]")
	var left []string
	for _, p := range parts[1:] {
		head, _, _ := strings.Cut(string(p), "\n")
		if strings.Contains(head, "synctest bubble "+bubble+"]") || strings.Contains(head, "synctest bubble "+bubble+",") {
			if !strings.Contains(string(p), "testing/synctest.testingSynctestTest(") && !strings.Contains(string(p), "internal/synctest.Run(") {
				left = append(left, string(p))
			}
		}
	}
	return strings.Join(left, "\n\n")
}
