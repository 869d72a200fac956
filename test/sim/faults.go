package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// kind is a sort of fault: how often it comes, relative to the others, how long it lasts, and how it begins.
type kind struct {
	name   string
	weight int
	least  time.Duration
	most   time.Duration
	begin  func(*moment) *harm // nil where it finds nobody: another fault takes its place
}

// kinds are all faults.
var kinds = []kind{
	// Processes that die.
	{"kill leader", 9, 300 * time.Millisecond, 6 * time.Second, func(m *moment) *harm { return m.kill(m.leaders()) }},
	{"kill follower", 7, 300 * time.Millisecond, 10 * time.Second, func(m *moment) *harm { return m.kill(m.follower()) }},
	{"kill majority", 2, time.Second, 5 * time.Second, func(m *moment) *harm { return m.kill(m.up[:len(m.up)/2+1]) }},
	{"kill all", 2, time.Second, 4 * time.Second, func(m *moment) *harm { return m.kill(m.up) }},
	{"owner away", 2, 32 * time.Second, 45 * time.Second, func(m *moment) *harm { return m.kill(m.follower()) }},
	{"host reboots", 2, time.Second, 10 * time.Second, (*moment).reboot},

	// Processes that stand still.
	{"freeze leader", 9, 200 * time.Millisecond, 8 * time.Second, func(m *moment) *harm { return m.freeze(m.leaders()) }},
	{"freeze follower", 4, 500 * time.Millisecond, 12 * time.Second, func(m *moment) *harm { return m.freeze(m.follower()) }},
	{"trap", 12, 2 * time.Second, 4 * time.Second, (*moment).trap},
	{"late claim", 6, 32 * time.Second, 42 * time.Second, (*moment).lateClaim},

	// The network.
	{"cut off leader", 7, time.Second, 8 * time.Second, func(m *moment) *harm { return m.split(m.leaders(), m.followers) }},
	{"cut off follower", 5, time.Second, 15 * time.Second, func(m *moment) *harm { return m.split(m.follower(), m.w.all()) }},
	{"split", 4, time.Second, 8 * time.Second, (*moment).splitAnywhere},
	{"leader in minority", 4, time.Second, 8 * time.Second, (*moment).leaderInMinority},
	{"ring", 3, time.Second, 8 * time.Second, (*moment).ring},
	{"bridge", 3, time.Second, 8 * time.Second, (*moment).bridge},
	{"one way from leader", 4, time.Second, 6 * time.Second, func(m *moment) *harm { return m.oneWay(m.leaders(), m.followers, m.leaders()) }},
	{"one way to leader", 4, time.Second, 6 * time.Second, func(m *moment) *harm { return m.oneWay(m.followers, m.leaders(), m.leaders()) }},
	{"delay", 4, 2 * time.Second, 8 * time.Second, (*moment).delay},
	{"loss", 4, 2 * time.Second, 8 * time.Second, (*moment).loss},

	// Disks.
	{"disk error", 3, time.Second, 4 * time.Second, func(m *moment) *harm {
		return m.disks(m.anyone(), func(d *disk, on bool) { d.failing = on })
	}},
	{"disk hangs", 4, time.Second, 9 * time.Second, func(m *moment) *harm {
		return m.disks(m.anyoneOrLeader(), func(d *disk, on bool) { d.hanging = on })
	}},
	{"disk full", 3, time.Second, 6 * time.Second, func(m *moment) *harm {
		return m.disks(m.anyoneOrLeader(), func(d *disk, on bool) { d.full = on })
	}},
	{"disk slow", 2, 2 * time.Second, 8 * time.Second, (*moment).slowDisks},

	// Clocks, hypervisors, guests.
	{"clock jumps", 2, 5 * time.Second, 30 * time.Second, (*moment).clockJumps},
	{"hypervisor down", 3, 2 * time.Second, 20 * time.Second, (*moment).hypervisorDown},
	{"hypervisor slow", 2, 2 * time.Second, 15 * time.Second, (*moment).hypervisorSlow},
	{"guest ends", 3, 100 * time.Millisecond, time.Second, (*moment).guestEnds},

	// Who belongs, who votes, who leads.
	{"join", 3, 2 * time.Second, 5 * time.Second, (*moment).join},
	{"leave", 4, 2 * time.Second, 5 * time.Second, (*moment).leave},
	{"voters", 4, 6 * time.Second, 15 * time.Second, (*moment).voters},
	{"transfer", 6, 100 * time.Millisecond, time.Second, (*moment).transfer},
	{"transfer to", 4, 200 * time.Millisecond, 2 * time.Second, (*moment).transferTo},
	{"transfer storm", 2, 3 * time.Second, 6 * time.Second, (*moment).transferStorm},
}

// kindAt is the kind that n stands for, below the sum of all weights.
func kindAt(n int) kind {
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			return k
		}
	}
	panic("n is not below the sum of all weights")
}

func allWeights() (sum int) {
	for _, k := range kinds {
		sum += k.weight
	}
	return sum
}

// moment is the cluster as a fault finds it.
type moment struct {
	w         *world
	rng       *rand.Rand
	last      time.Duration // how long the fault is to last
	leader    *host         // nil: nobody leads
	up        []*host       // who runs, in random order; somebody does
	followers []*host       // those of them that do not lead
}

// harm is a fault that has begun.
type harm struct {
	targets []*host
	end     func()      // undoes it; nil: there is nothing to undo
	took    func() bool // tells at the end whether it had the effect that it is for; nil: befall looks for one
}

// befall lets a fault begin and, after its time, end. A fault that finds nobody gives way to another.
func (w *world) befall(f fault) {
	rng := rand.New(rand.NewPCG(f.salt, 0))
	term, leader := w.term(), w.leader()
	h := w.begin(f, rng, leader)
	for range 4 {
		if h != nil {
			break
		}
		w.count("void " + f.kind.name)
		f = drawn(rng, f.at)
		h = w.begin(f, rng, leader)
	}
	if h == nil {
		return
	}
	w.trace("FAULT %s: %v", f, names(h.targets))
	w.sleep(f.last)
	effective := w.hurt(h.targets) || w.term() != term || w.leader() != leader || h.took != nil && h.took()
	if h.end != nil {
		h.end()
	}
	w.trace("END of %s: %v", f.kind.name, names(h.targets))
	if !effective { // a transfer may take its moment
		effective = w.term() != term
	}
	if effective {
		w.count("effective")
		w.count("fault " + f.kind.name)
	} else {
		w.count("idle " + f.kind.name)
	}
}

// begin begins a fault; nil where it finds nobody.
func (w *world) begin(f fault, rng *rand.Rand, leader *host) *harm {
	up := w.up()
	if len(up) == 0 {
		return nil
	}
	rng.Shuffle(len(up), func(i, k int) { up[i], up[k] = up[k], up[i] })
	followers := slices.DeleteFunc(slices.Clone(up), func(h *host) bool { return h == leader })
	return f.kind.begin(&moment{w, rng, f.last, leader, up, followers})
}

func names(hosts []*host) (list []string) {
	for _, h := range hosts {
		list = append(list, h.name)
	}
	return list
}

// hurt tells whether one of the hosts lags behind what others have applied, or is down.
func (w *world) hurt(targets []*host) bool {
	w.journal.mu.Lock()
	last := w.journal.last
	w.journal.mu.Unlock()
	for _, h := range targets {
		if l := h.running(); l == nil || l.machine.Index() < last {
			return true
		}
	}
	return false
}

// leaders is the leader, as a list; empty when nobody leads.
func (m *moment) leaders() []*host {
	if m.leader == nil {
		return nil
	}
	return []*host{m.leader}
}

// leading is the leader's process; nil when nobody leads.
func (m *moment) leading() *life {
	if m.leader == nil {
		return nil
	}
	return m.leader.running()
}

// follower is one that does not lead, as a list; empty when there is none.
func (m *moment) follower() []*host { return m.followers[:min(1, len(m.followers))] }

// anyone is one of those that run.
func (m *moment) anyone() *host { return pick(m.rng, m.up) }

// anyoneOrLeader is the leader in more than every second case.
func (m *moment) anyoneOrLeader() *host {
	if m.leader != nil && m.rng.IntN(2) == 0 {
		return m.leader
	}
	return m.anyone()
}
