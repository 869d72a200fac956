package peer

import (
	"context"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

const (
	// reassignAfter is how long the owner of a VM that it never began may be silent, or
	// without a working hypervisor, before the leader gives the VM to another.
	reassignAfter = 30 * time.Second
	leaderTick    = time.Second
	sweepEvery    = time.Minute
)

// lead is what only the leader does, for one term.
func (p *Peer) lead(ctx context.Context) error {
	ctx = p.asPeer(ctx)
	p.log.Info("leading", "index", p.machine.Index())
	tick := time.NewTicker(leaderTick)
	defer tick.Stop()
	swept, marked, troubled := p.cfg.Now(), p.cfg.Now(), map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p.reassignIdle(ctx, troubled)
		p.raiseLevel(ctx)
		if now := p.cfg.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			p.sweep(ctx)
		}
		if now, every := p.cfg.Now(), p.machine.Read().SnapshotInterval(); every > 0 && now.Sub(marked) >= every {
			marked = now
			p.tried(ctx, "mark a snapshot", func() error { _, err := p.writer.Mark(ctx); return err })
		}
	}
}

// reassignIdle gives the VMs that peers own, and never began, to others, where those peers
// are silent, or their hypervisors do not work, which is since when they say so.
func (p *Peer) reassignIdle(ctx context.Context, since map[string]time.Time) {
	now, heard := p.machine.Read(), p.ownHeard()
	for host := range now.Members() {
		silent := host.ID != p.identity.PeerID && p.cfg.Now().Sub(heard[host.ID]) >= reassignAfter
		if !silent && !p.troubled(host, since) {
			continue
		}
		for vm := range now.VMsOn(host.ID) {
			if vm.Status.Begun || vm.Status.Desired == api.WantDeleted || !p.roomElsewhere(now, vm) {
				continue
			}
			p.tried(ctx, "reassign", func() error {
				moved, err := p.writer.ReassignVM(ctx, vm)
				if err == nil {
					p.log.Info("vm reassigned", "vm", vm.ID, "from", host.Name, "peer", moved.Status.Owner, "epoch", moved.Status.Epoch)
				}
				return err
			})
		}
	}
}

// troubled tells whether a peer's hypervisor has not worked for a while, as far as this
// peer knows, which notes since when.
func (p *Peer) troubled(host api.Peer, since map[string]time.Time) bool {
	if host.Problem == "" {
		delete(since, host.ID)
		return false
	}
	if _, known := since[host.ID]; !known {
		since[host.ID] = p.cfg.Now()
	}
	return p.cfg.Now().Sub(since[host.ID]) >= reassignAfter
}

// roomElsewhere tells whether another host could take the VM: asked before the
// log is, which would otherwise be written to at every tick while there is none.
func (p *Peer) roomElsewhere(now fsm.Reader, vm api.VM) bool {
	candidates, _ := p.Rank(vm.Spec.Resources(), vm.Spec.Image)
	return now.Movable(vm, candidates)
}

// sweep forgets what is past its time, if anything is.
func (p *Peer) sweep(ctx context.Context) {
	for p.machine.Read().SweepDue() && ctx.Err() == nil {
		if !p.tried(ctx, "sweep", func() error { return p.writer.Sweep(ctx) }) {
			return
		}
	}
}

// tried does a thing that is tried again at the next tick when it fails.
func (p *Peer) tried(ctx context.Context, what string, do func() error) bool {
	err := do()
	if err != nil && ctx.Err() == nil {
		p.log.Warn(what+" failed", "err", err)
	}
	return err == nil
}
