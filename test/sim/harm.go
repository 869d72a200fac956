package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/vmm"
)

// kill ends processes; at the end they are started again.
func (m *moment) kill(targets []*host) *harm {
	if len(targets) == 0 {
		return nil
	}
	for _, h := range targets {
		h.kill()
	}
	return &harm{targets: targets, end: func() {
		for _, h := range targets {
			h.start()
		}
	}}
}

func (m *moment) reboot() *harm {
	h := m.anyone()
	h.driver.Reboot()
	return m.kill([]*host{h})
}

// freeze lets processes stand still, and nothing reach them.
func (m *moment) freeze(targets []*host) *harm {
	if len(targets) == 0 {
		return nil
	}
	return &harm{targets: targets, end: m.w.freeze(targets)}
}

func (w *world) freeze(targets []*host) (end func()) {
	mended := w.changing(both(targets, w.all()), cut, mend)
	for _, h := range targets {
		h.freeze(true)
	}
	return func() {
		for _, h := range targets {
			h.freeze(false)
		}
		mended()
	}
}

// lateClaim freezes the next follower that is about to claim a VM, for so long
// that the VM is given to another meanwhile.
func (m *moment) lateClaim() *harm {
	if len(m.followers) == 0 {
		return nil
	}
	var once sync.Once
	for _, h := range m.followers {
		h.mu.Lock()
		h.ambush = func() {
			once.Do(func() {
				end := m.w.freeze([]*host{h})
				m.w.count("late claims")
				m.w.trace("%s is frozen as it claims a VM", h.name)
				m.w.after(m.last, end)
			})
		}
		h.mu.Unlock()
	}
	return &harm{targets: m.followers}
}

// trap is the pause in which a leader takes old answers for new ones: nothing
// leaves it, and what its followers said before reaches it one by one. Meanwhile
// it is read, and the others are written to.
func (m *moment) trap() *harm {
	if m.leader == nil || len(m.followers) < 2 {
		return nil
	}
	const by = 900 * time.Millisecond
	quick := m.w.changing(oneWay(m.followers, m.leaders()), func(c *condition) { c.delay += by }, func(c *condition) { c.delay = max(0, c.delay-by) })
	m.w.sleep(time.Duration(m.rng.IntN(300)) * time.Millisecond)
	open := m.w.changing(oneWay(m.leaders(), m.followers), cut, mend)
	stop := make(chan struct{})
	m.trapped(true, stop)
	m.trapped(false, stop)
	return &harm{targets: append(m.leaders(), m.followers...), end: func() {
		close(stop)
		open()
		quick()
	}}
}

// trapped asks again and again until stop: the leader that was for what it has,
// or the others to change it.
func (m *moment) trapped(reads bool, stop <-chan struct{}) {
	w := m.w
	w.mu.Lock()
	w.counts["trap client"]++
	k := uint64(5000 + w.counts["trap client"])
	w.mu.Unlock()
	c := w.newClient(fmt.Sprintf("trap%d", k), k, 200*time.Millisecond)
	c.run(stop, func() {
		id, ok := w.registers.use(c.rng, 1)
		if !ok {
			return
		}
		if reads {
			w.work.Go(func() { c.lookAt(m.leader, id, true) })
			return
		}
		w.work.Go(func() {
			c.writingAt(pick(rand.New(rand.NewPCG(k, uint64(time.Now().UnixNano()))), m.followers), id)
		})
	})
}

// oneWay are all ways from one group to another, both all in both directions.
func oneWay(from, to []*host) (list []way) {
	for _, x := range from {
		for _, y := range to {
			if x != y {
				list = append(list, way{x.name, y.name})
			}
		}
	}
	return list
}

func both(a, b []*host) []way { return append(oneWay(a, b), oneWay(b, a)...) }

// changing changes ways until end.
func (w *world) changing(ways []way, begin, end func(*condition)) func() {
	w.net.change(ways, begin)
	return func() { w.net.change(ways, end) }
}

func cut(c *condition)  { c.cuts++ }
func mend(c *condition) { c.cuts = max(0, c.cuts-1) }

// split cuts all ways between two groups.
func (m *moment) split(a, b []*host) *harm {
	b = slices.DeleteFunc(slices.Clone(b), func(h *host) bool { return slices.Contains(a, h) })
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	return &harm{targets: a, end: m.w.changing(both(a, b), cut, mend)}
}

func (m *moment) splitAnywhere() *harm {
	k := min(1+m.rng.IntN(len(m.up)), len(m.up)-1)
	return m.split(m.up[:k], m.up[k:])
}

// leaderInMinority leaves the leader as many others as do not make a majority.
func (m *moment) leaderInMinority() *harm {
	if m.leader == nil || len(m.followers) < 2 {
		return nil
	}
	k := max(0, (len(m.up)-1)/2-1)
	return m.split(append(m.leaders(), m.followers[:k]...), m.followers[k:])
}

// bridge cuts two halves off each other that both see one host.
func (m *moment) bridge() *harm {
	if len(m.up) < 3 {
		return nil
	}
	half := (len(m.up) - 1) / 2
	return m.split(m.up[1:1+half], m.up[1+half:])
}

// ring leaves each host only its two neighbours, so that all see another majority.
func (m *moment) ring() *harm {
	if len(m.up) < 4 {
		return nil
	}
	var ways []way
	for i, a := range m.up {
		for k, b := range m.up {
			if d := (i - k + len(m.up)) % len(m.up); d > 1 && d < len(m.up)-1 {
				ways = append(ways, way{a.name, b.name})
			}
		}
	}
	return &harm{targets: m.up, end: m.w.changing(ways, cut, mend)}
}

// oneWay lets nothing through from one group to the other, and all the other way.
func (m *moment) oneWay(from, to, leader []*host) *harm {
	if len(from) == 0 || len(to) == 0 {
		return nil
	}
	return &harm{targets: append(slices.Clone(leader), m.followers...), end: m.w.changing(oneWay(from, to), cut, mend)}
}

func (m *moment) delay() *harm {
	by := time.Duration(1+m.rng.IntN(1500)) * time.Millisecond
	return &harm{targets: m.up, end: m.w.changing(both(m.up, m.up), func(c *condition) { c.delay += by }, func(c *condition) { c.delay = max(0, c.delay-by) })}
}

func (m *moment) loss() *harm {
	share := 0.05 + m.rng.Float64()*0.45
	return &harm{targets: m.up, end: m.w.changing(both(m.up, m.up), func(c *condition) { c.loss += share }, func(c *condition) { c.loss = max(0, c.loss-share) })}
}

// disks does something to a host's disk, and takes it back.
func (m *moment) disks(h *host, turn func(d *disk, on bool)) *harm {
	h.disk.set(func(d *disk) { turn(d, true) })
	return &harm{targets: []*host{h}, end: func() { h.disk.set(func(d *disk) { turn(d, false) }) }}
}

func (m *moment) slowDisks() *harm {
	by := time.Duration(5+m.rng.IntN(400)) * time.Millisecond
	for _, h := range m.up {
		h.disk.set(func(d *disk) { d.slow = by })
	}
	return &harm{targets: m.up, end: func() {
		for _, h := range m.up {
			h.disk.set(func(d *disk) { d.slow = 0 })
		}
	}}
}

// clockJumps sets a host's clock, by two minutes at most, now and then by an hour, and back.
func (m *moment) clockJumps() *harm {
	h, by := m.anyone(), time.Duration(m.rng.IntN(240)-120)*time.Second
	if m.rng.IntN(4) == 0 {
		by *= 30
	}
	h.jump(by)
	return &harm{targets: []*host{h}, end: func() { h.jump(-by) }}
}

// jump moves the host's clock.
func (h *host) jump(by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offset += by
}

func (m *moment) hypervisorDown() *harm {
	h := m.anyone()
	h.driver.Down()
	return &harm{targets: []*host{h}, end: h.driver.Mend}
}

func (m *moment) hypervisorSlow() *harm {
	h, op := m.anyone(), pick(m.rng, []string{"Start", "Define", "List", "Destroy", "Undefine", "MakeDisk", "Clean"})
	h.driver.Delay(op, time.Duration(1+m.rng.IntN(14))*time.Second)
	return &harm{targets: []*host{h}, end: h.driver.Mend}
}

// guestEnds is a guest that crashes, or switches itself off.
func (m *moment) guestEnds() *harm {
	h := m.anyone()
	l, err := h.driver.List(context.Background())
	if err != nil || len(l.Domains) == 0 {
		return nil
	}
	d := pick(m.rng, l.Domains)
	if d.Power == vmm.Running && m.rng.IntN(2) == 0 {
		h.driver.Crash(d.UUID)
	} else {
		h.driver.PowerOff(d.UUID)
	}
	return &harm{targets: []*host{h}}
}
