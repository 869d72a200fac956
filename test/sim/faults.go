package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// befall lets a fault begin and, after its time, end.
func (w *world) befall(f fault) {
	rng := rand.New(rand.NewPCG(f.salt, 0))
	term, leader := w.term(), w.leader()
	targets, end := w.begin(f, rng, leader)
	if end == nil {
		w.count("void " + f.kind)
		return
	}
	w.trace("FAULT %s: %v", f, names(targets))
	w.sleep(f.last)
	effective := w.hurt(targets) || w.term() != term || w.leader() != leader
	end()
	w.trace("END of %s: %v", f.kind, names(targets))
	if !effective { // a transfer may take its moment
		effective = w.term() != term
	}
	if effective {
		w.count("effective")
		w.count("fault " + f.kind)
	} else {
		w.count("idle " + f.kind)
	}
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

// begin does what the fault is; end undoes it, and is nil where the fault finds nobody.
func (w *world) begin(f fault, rng *rand.Rand, leader *host) (targets []*host, end func()) {
	up := w.up()
	rng.Shuffle(len(up), func(i, k int) { up[i], up[k] = up[k], up[i] })
	if len(up) == 0 {
		return nil, nil
	}
	followers := slices.DeleteFunc(slices.Clone(up), func(h *host) bool { return h == leader })
	follower := func() *host {
		if len(followers) == 0 {
			return nil
		}
		return followers[0]
	}
	one := func(h *host) []*host {
		if h == nil {
			return nil
		}
		return []*host{h}
	}
	switch f.kind {
	case "kill leader":
		return w.kill(one(leader))
	case "kill follower":
		return w.kill(one(follower()))
	case "kill majority":
		return w.kill(up[:len(up)/2+1])
	case "kill all":
		return w.kill(up)
	case "freeze leader":
		return w.freezing(one(leader))
	case "freeze follower":
		return w.freezing(one(follower()))
	case "trap":
		return w.trap(leader, followers, rng)
	case "cut off leader":
		return w.split(one(leader), followers)
	case "cut off follower":
		h := follower()
		return w.split(one(h), slices.DeleteFunc(slices.Clone(w.all()), func(o *host) bool { return o == h }))
	case "split":
		k := 1 + rng.IntN(len(up))
		return w.split(up[:min(k, len(up)-1)], up[min(k, len(up)-1):])
	case "leader in minority":
		if leader == nil || len(followers) < 2 {
			return nil, nil
		}
		k := (len(up) - 1) / 2 // it and so many less one
		return w.split(append(one(leader), followers[:max(0, k-1)]...), followers[max(0, k-1):])
	case "ring":
		return w.ring(up)
	case "bridge":
		if len(up) < 3 {
			return nil, nil
		}
		half := (len(up) - 1) / 2
		return w.split(up[1:1+half], up[1+half:])
	case "one way from leader":
		return w.oneWay(leader, followers, true)
	case "one way to leader":
		return w.oneWay(leader, followers, false)
	case "delay":
		by := time.Duration(1+rng.IntN(1500)) * time.Millisecond
		return up, w.changing(w.ways(up, up), func(c *condition) { c.delay += by }, func(c *condition) { c.delay = max(0, c.delay-by) })
	case "loss":
		share := 0.05 + rng.Float64()*0.45
		return up, w.changing(w.ways(up, up), func(c *condition) { c.loss += share }, func(c *condition) { c.loss = max(0, c.loss-share) })
	case "disk error":
		return w.disks(one(pick(rng, up)), func(d *disk) { d.failing = true }, func(d *disk) { d.failing = false })
	case "disk hangs":
		at := pick(rng, up)
		if leader != nil && rng.IntN(2) == 0 {
			at = leader
		}
		return w.disks(one(at), func(d *disk) { d.hanging = true }, func(d *disk) { d.hanging = false })
	case "disk full":
		at := pick(rng, up)
		if leader != nil && rng.IntN(2) == 0 {
			at = leader
		}
		return w.disks(one(at), func(d *disk) { d.full = true }, func(d *disk) { d.full = false })
	case "disk slow":
		by := time.Duration(5+rng.IntN(400)) * time.Millisecond
		return w.disks(up, func(d *disk) { d.slow = by }, func(d *disk) { d.slow = 0 })
	case "transfer":
		if leader == nil {
			return nil, nil
		}
		l := leader.running()
		if l == nil {
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(l.ctx, f.last+2*time.Second)
		w.work.Go(func() {
			defer cancel()
			l.peer.Node().TransferLeadership(ctx, "")
		})
		return one(leader), func() {}
	case "clock jumps":
		h, by := pick(rng, up), time.Duration(rng.IntN(240)-120)*time.Second
		if rng.IntN(4) == 0 {
			by *= 30 // an hour
		}
		h.jump(by)
		return one(h), func() { h.jump(-by) }
	case "hypervisor down":
		h := pick(rng, up)
		h.driver.Down()
		return one(h), h.driver.Mend
	case "hypervisor slow":
		h, op := pick(rng, up), pick(rng, []string{"Start", "Define", "List", "Destroy", "Undefine", "MakeDisk", "Clean"})
		h.driver.Delay(op, time.Duration(1+rng.IntN(14))*time.Second)
		return one(h), h.driver.Mend
	case "host reboots":
		h := pick(rng, up)
		h.driver.Reboot()
		return w.kill(one(h))
	case "guest ends":
		return w.guestEnds(pick(rng, up), rng)
	case "owner away":
		return w.kill(one(follower()))
	case "late claim":
		return w.lateClaim(followers, f.last)
	case "join":
		return w.joins(rng)
	case "leave":
		return w.leaves(leader, followers)
	case "voters":
		if leader == nil || leader.running() == nil {
			return nil, nil
		}
		n, l := pick(rng, []int{3, 3, 5}), leader.running()
		w.work.Go(func() {
			ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
			defer cancel()
			l.peer.Writer().PatchSettings(asAdmin(ctx), fmt.Appendf(nil, `{"voters":%d}`, n))
		})
		return one(leader), func() {}
	}
	panic("there is no fault " + f.kind)
}

// ways are all from one group to the other, in both directions.
func (w *world) ways(a, b []*host) (list []way) {
	for _, x := range a {
		for _, y := range b {
			if x != y {
				list = append(list, way{x.name, y.name}, way{y.name, x.name})
			}
		}
	}
	return list
}

// changing changes ways until end.
func (w *world) changing(ways []way, begin, end func(*condition)) func() {
	w.net.change(ways, begin)
	return func() { w.net.change(ways, end) }
}

func cut(c *condition)  { c.cuts++ }
func mend(c *condition) { c.cuts = max(0, c.cuts-1) }

func (w *world) kill(targets []*host) ([]*host, func()) {
	if len(targets) == 0 {
		return nil, nil
	}
	for _, h := range targets {
		h.kill()
	}
	return targets, func() {
		for _, h := range targets {
			h.start()
		}
	}
}

func (w *world) freezing(targets []*host) ([]*host, func()) {
	if len(targets) == 0 {
		return nil, nil
	}
	ways := w.ways(targets, w.all())
	w.net.change(ways, cut)
	for _, h := range targets {
		h.freeze(true)
	}
	return targets, func() {
		for _, h := range targets {
			h.freeze(false)
		}
		w.net.change(ways, mend)
	}
}

// lateClaim freezes the next of the hosts that is about to claim a VM, for so long
// that the VM is given to another meanwhile.
func (w *world) lateClaim(hosts []*host, last time.Duration) ([]*host, func()) {
	if len(hosts) == 0 {
		return nil, nil
	}
	var once sync.Once
	for _, h := range hosts {
		h.mu.Lock()
		h.ambush = func() {
			once.Do(func() {
				_, end := w.freezing([]*host{h})
				w.count("late claims")
				w.trace("%s is frozen as it claims a VM", h.name)
				w.after(last, end)
			})
		}
		h.mu.Unlock()
	}
	return hosts, func() {}
}

func (w *world) split(a, b []*host) ([]*host, func()) {
	if len(a) == 0 || len(b) == 0 {
		return nil, nil
	}
	return a, w.changing(w.ways(a, b), cut, mend)
}

// ring leaves each host only its two neighbours, so that all see another majority.
func (w *world) ring(up []*host) ([]*host, func()) {
	if len(up) < 4 {
		return nil, nil
	}
	var ways []way
	for i, a := range up {
		for k, b := range up {
			if d := (i - k + len(up)) % len(up); d > 1 && d < len(up)-1 {
				ways = append(ways, way{a.name, b.name})
			}
		}
	}
	return up, w.changing(ways, cut, mend)
}

func (w *world) oneWay(leader *host, followers []*host, from bool) ([]*host, func()) {
	if leader == nil || len(followers) == 0 {
		return nil, nil
	}
	var ways []way
	for _, h := range followers {
		if from {
			ways = append(ways, way{leader.name, h.name})
		} else {
			ways = append(ways, way{h.name, leader.name})
		}
	}
	return append([]*host{leader}, followers...), w.changing(ways, cut, mend)
}

// trap is the pause in which a leader takes old answers for new ones: nothing
// leaves it, and what its followers said before reaches it one by one. Meanwhile
// it is read, and the others are written to.
func (w *world) trap(leader *host, followers []*host, rng *rand.Rand) ([]*host, func()) {
	if leader == nil || len(followers) < 2 {
		return nil, nil
	}
	var out, in []way
	for _, h := range followers {
		out, in = append(out, way{leader.name, h.name}), append(in, way{h.name, leader.name})
	}
	slow := func(c *condition) { c.delay += 900 * time.Millisecond }
	w.net.change(in, slow)
	w.sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	w.net.change(out, cut)
	stop := make(chan struct{})
	for i := range 2 {
		w.trapped(leader, followers, i == 0, stop)
	}
	return append([]*host{leader}, followers...), func() {
		close(stop)
		w.net.change(out, mend)
		w.net.change(in, func(c *condition) { c.delay = max(0, c.delay-900*time.Millisecond) })
	}
}

// trapped asks again and again until stop: the leader that was for what it has,
// or the others to change it.
func (w *world) trapped(leader *host, followers []*host, reads bool, stop <-chan struct{}) {
	w.mu.Lock()
	w.counts["trap client"]++
	k := uint64(5000 + w.counts["trap client"])
	w.mu.Unlock()
	c := w.newClient(fmt.Sprintf("trap%d", k), k, 120*time.Millisecond)
	c.run(stop, func() {
		id, ok := w.registers.use(c.rng, 1)
		if !ok {
			return
		}
		if reads {
			w.work.Go(func() { c.lookAt(leader, id, true) })
			return
		}
		w.work.Go(func() {
			c.writingAt(pick(rand.New(rand.NewPCG(k, uint64(time.Now().UnixNano()))), followers), id)
		})
	})
}

func (w *world) disks(targets []*host, begin, end func(*disk)) ([]*host, func()) {
	for _, h := range targets {
		h.disk.set(begin)
	}
	return targets, func() {
		for _, h := range targets {
			h.disk.set(end)
		}
	}
}

// guestEnds is a guest that crashes, or switches itself off.
func (w *world) guestEnds(h *host, rng *rand.Rand) ([]*host, func()) {
	l, err := h.driver.List(context.Background())
	if err != nil || len(l.Domains) == 0 {
		return nil, nil
	}
	d := pick(rng, l.Domains)
	if d.Power == vmm.Running && rng.IntN(2) == 0 {
		h.driver.Crash(d.UUID)
	} else {
		h.driver.PowerOff(d.UUID)
	}
	return []*host{h}, func() {}
}

// mostHosts bounds how many are members at once.
const mostHosts = 6

// joins lets two hosts ask with one token, each through another peer: one comes in.
func (w *world) joins(rng *rand.Rand) ([]*host, func()) {
	members := slices.DeleteFunc(w.all(), func(h *host) bool { return h.left || !h.enrolled })
	up := w.up()
	if len(members) >= mostHosts || len(up) < 2 {
		return nil, nil
	}
	w.work.Go(func() {
		via := up[0].running()
		if via == nil {
			return
		}
		ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
		defer cancel()
		token, err := w.newToken(ctx, via)
		if err != nil {
			w.trace("no token: %v", err)
			return
		}
		var both sync.WaitGroup
		for i := range 2 {
			h := w.addHost()
			both.Go(func() { w.tryToJoin(ctx, h, token, up[i%len(up)]) })
		}
		both.Wait()
	})
	return up[:1], func() {}
}

func (w *world) tryToJoin(ctx context.Context, h *host, token string, at *host) {
	k, err := newKeys()
	if err != nil {
		w.violation("%v", err)
		return
	}
	for ctx.Err() == nil {
		if via := at.running(); via != nil {
			err = w.join(ctx, h, k, token, via)
		}
		w.trace("%s joins through %s: %v", h.name, at.name, err)
		if err == nil && h.enrolled {
			w.count("joined")
			h.start()
			return
		}
		if err != nil && !passes(err) && !api.IsKind(err, api.Invalid) {
			w.count("join refused")
			return
		}
		if !w.sleep(500 * time.Millisecond) {
			return
		}
	}
}

// leaves takes a host out that has no VMs left.
func (w *world) leaves(leader *host, followers []*host) ([]*host, func()) {
	members := slices.DeleteFunc(w.all(), func(h *host) bool { return h.left || !h.enrolled })
	if leader == nil || leader.running() == nil || len(members) <= 3 || len(followers) == 0 {
		return nil, nil
	}
	h, l := followers[0], leader.running()
	w.work.Go(func() {
		ctx, cancel := context.WithTimeout(l.ctx, time.Minute)
		defer cancel()
		l.peer.Writer().SetSchedulable(asAdmin(ctx), h.id(), false)
		for vm := range l.machine.Read().VMsOn(h.id()) {
			l.peer.Writer().DeleteVM(asAdmin(ctx), vm.ID, 0)
		}
		for ctx.Err() == nil {
			if err := l.peer.RemovePeer(asAdmin(ctx), h.id()); err == nil {
				return
			}
			if !w.sleep(2 * time.Second) {
				return
			}
		}
		ctx, cancel = context.WithTimeout(l.ctx, 10*time.Second)
		defer cancel()
		l.peer.Writer().SetSchedulable(asAdmin(ctx), h.id(), true)
	})
	return []*host{h}, func() {}
}

// jump moves the host's clock.
func (h *host) jump(by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offset += by
}
