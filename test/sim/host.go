package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/test/model"
	"github.com/orchd/orchd/vmm/sim"
)

// host is one of the hosts: its disk, clock and guests outlive its peer's process.
type host struct {
	world  *world
	name   string
	disk   *disk
	driver *sim.Driver
	events *eventLog

	mu       sync.Mutex
	identity cluster.Identity
	enrolled bool
	left     bool
	life     *life // nil: no process
	lives    int
	thawed   chan struct{} // closed unless the host is frozen
	frozenAt time.Time
	ambush   func() // called when the peer is about to claim a VM, once; nil: nobody waits for that
	offset   time.Duration
	rate     float64
}

// life is one process of a peer, from its start to its end.
type life struct {
	host    *host
	number  int
	ctx     context.Context // ends when the process does
	cancel  context.CancelFunc
	machine *fsm.Machine
	rafts   *transport

	writing context.Context // ends when changes are not written any more: at the end of serve, or with a kill
	unwrite context.CancelFunc

	ready chan struct{} // closed when peer is there
	peer  *peer.Peer
	gone  chan struct{} // closed when nothing of it runs any more
}

func newHost(w *world, name string, capacity api.Resources, seed uint64) *host {
	h := &host{world: w, name: name, driver: sim.New(capacity, ""), thawed: make(chan struct{}), events: &eventLog{}}
	h.disk = newDisk(h, filepath.Join(w.dir, name), seed)
	close(h.thawed)
	return h
}

// now is the host's clock.
func (h *host) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := time.Now()
	if !h.frozenAt.IsZero() {
		at = h.frozenAt // whoever asks did so before
	}
	return at.Add(h.offset + time.Duration(float64(at.Sub(h.world.began))*h.rate))
}

// thaw waits while the host is frozen.
func (h *host) thaw(ctx context.Context) error {
	h.mu.Lock()
	thawed := h.thawed
	h.mu.Unlock()
	select {
	case <-thawed: // nearly always: a context makes its channel when it is first asked for it
		return nil
	default:
	}
	select {
	case <-thawed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// freeze stops all that the host's peer does outside of itself.
func (h *host) freeze(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if frozen := !h.frozenAt.IsZero(); frozen == on {
		return
	}
	if on {
		h.thawed, h.frozenAt = make(chan struct{}), time.Now()
		return
	}
	h.frozenAt = time.Time{}
	close(h.thawed)
}

func (h *host) lifeNow() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lives
}

// running is the process, once it serves; nil without one.
func (h *host) running() *life {
	h.mu.Lock()
	l := h.life
	h.mu.Unlock()
	if l == nil || l.ctx.Err() != nil {
		return nil
	}
	select {
	case <-l.ready:
		return l
	default:
		return nil
	}
}

func (h *host) id() string { return h.identity.PeerID }

func (h *host) addresses() api.PeerAddresses {
	return api.PeerAddresses{API: h.name + ":7700", Raft: h.name + ":7701", Gossip: h.name + ":7702"}
}

// config is the configuration of the host's node.
func (h *host) config(number int, ports *cluster.Ports, rafts raft.Transport) cluster.Config {
	c := cluster.DefaultConfig()
	m := mount{h.disk, number}
	c.Identity, c.Ports, c.Advertise = h.identity, ports, h.addresses()
	c.Logs, c.Stable, c.Snapshots = m, m, shelf{m}
	c.Profile, c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = h.world.shape.profile, h.world.shape.threshold, h.world.shape.interval, h.world.shape.trailing
	c.CommitTimeout = h.world.shape.commit
	c.Now, c.RaftTransport = h.now, rafts
	c.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
		return h.world.net.dial(ctx, h.name, address)
	}
	return c
}

// start begins a process. It is a no-op where there is one.
func (h *host) start() {
	h.mu.Lock()
	if h.life != nil || h.left || !h.enrolled || h.world.over() {
		h.mu.Unlock()
		return
	}
	h.disk.mu.Lock()
	number := h.disk.life
	h.disk.mu.Unlock()
	h.lives = number
	l := &life{host: h, number: number, machine: fsm.New(), ready: make(chan struct{}), gone: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(h.world.ctx)
	l.writing, l.unwrite = context.WithCancel(context.Background())
	h.life = l
	h.mu.Unlock()
	h.world.work.Go(func() { l.run() })
}

// config is the configuration of this life's node.
func (l *life) config(ports *cluster.Ports) cluster.Config {
	c := l.host.config(l.number, ports, l.rafts)
	if !l.host.world.shape.wired {
		c.PeerTransport = &lane{l}
	}
	return c
}

// run is the process.
func (l *life) run() {
	h := l.host
	defer close(l.gone)
	defer l.cancel()
	err := l.serve()
	h.mu.Lock()
	mine := h.life == l
	if mine {
		h.life = nil
	}
	h.left = h.left || errors.Is(err, peer.ErrLeft)
	left := h.left
	h.mu.Unlock()
	if !mine || h.world.ctx.Err() != nil {
		return // it was killed, or it is all over
	}
	h.world.trace("%s ends: %v", h.name, err)
	h.disk.crash()
	h.world.net.reset(h.name)
	if left {
		h.world.count("left")
		return
	}
	h.world.count("exit")
	h.world.after(5*time.Second, h.start) // what started it starts it again
}

// serve opens the peer and lets it work until the process ends.
func (l *life) serve() error {
	h := l.host
	ports := &cluster.Ports{Raft: h.world.net.listen(h.addresses().Raft)}
	l.rafts = h.world.rafts.join(l)
	defer l.rafts.Close()
	sink := h.events.keep(l)
	l.machine.KeepChanges(sink.end())
	var changes sync.WaitGroup
	changes.Go(func() { l.machine.WriteChanges(l.writing, sink) })
	defer changes.Wait()
	defer l.unwrite()
	p, err := peer.Assemble(l.ctx, peer.Parts{
		Config:     peer.Config{Name: h.name, DataDir: filepath.Join(h.disk.dir, "none"), Now: h.now, Driver: api.DriverSim, RaftProfile: h.world.shape.profile},
		Cluster:    l.config(ports),
		Machine:    l.machine,
		Replica:    &replica{l.machine, l},
		Hold:       l.hold,
		Hypervisor: &hypervisor{driver: h.driver, host: h, life: l.number, all: h.world.machines},
	}, h.world.log)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	l.peer = p
	close(l.ready)
	h.world.trace("%s serves, life %d, index %d", h.name, l.number, l.machine.Index())
	err = p.RunParts(l.ctx)
	l.remember()
	return errors.Join(err, p.CloseParts())
}

// hold keeps commands back while the host is frozen. Where a fault waits for this host to claim
// a VM, the host is frozen at that very moment: what it was about to say comes late.
func (l *life) hold(ctx context.Context, command []byte) error {
	h := l.host
	h.mu.Lock()
	ambush := h.ambush
	h.mu.Unlock()
	if ambush != nil {
		if c, err := model.Decode(command); err == nil && c.Type == model.BeginVM {
			h.mu.Lock()
			h.ambush = nil
			h.mu.Unlock()
			ambush()
		}
	}
	return h.thaw(ctx)
}

// remember keeps whom this peer knew, as known.json does.
func (l *life) remember() {
	var known []cluster.Member
	for p := range l.machine.Read().Members() {
		known = append(known, cluster.Member{ID: p.ID, Name: p.Name, Addresses: p.Addresses, PublicKey: p.PublicKey})
	}
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	if len(known) > 0 {
		l.host.identity.Peers = known
	}
}

// kill ends the process at once: what it had not synced is gone, and nothing that
// it still does reaches anything.
func (h *host) kill() (was bool) {
	h.mu.Lock()
	l := h.life
	h.life = nil
	h.mu.Unlock()
	h.disk.crash()
	h.mu.Lock()
	h.lives = h.disk.life
	h.mu.Unlock()
	h.events.crash()
	h.freeze(false)
	if l == nil {
		return false
	}
	l.remember()
	l.cancel()
	l.unwrite() // a snapshot may wait for them, and the end of raft for that
	if l.rafts != nil {
		l.rafts.Close()
	}
	h.world.net.reset(h.name)
	return true
}

// stop ends the process as an administrator does.
func (h *host) stop() {
	h.mu.Lock()
	l := h.life
	h.mu.Unlock()
	if l != nil {
		l.cancel()
		<-l.gone
	}
}

// replica is the machine, with the world looking on.
type replica struct {
	*fsm.Machine
	life *life
}

// ApplyAll applies an entry and shows what became of it.
func (r *replica) ApplyAll(index uint64, at time.Time, commands [][]byte) []any {
	behind := r.Index()
	answers := r.Machine.ApplyAll(index, at, commands)
	r.life.host.world.journal.applied(r.life.host, entry{index: index, at: at, commands: commands, hash: r.Read().Hash(), now: r.Time(), answers: answers, behind: behind})
	return answers
}

// quietLog drops everything.
func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
