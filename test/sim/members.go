package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
)

// mostHosts bounds how many are members at once.
const mostHosts = 5

// members are the hosts that belong to the cluster, as far as they know.
func (w *world) members() []*host {
	return slices.DeleteFunc(w.all(), func(h *host) bool { return h.left || !h.enrolled })
}

// join lets two hosts ask with one token, each through another peer: one comes in.
func (m *moment) join() *harm {
	if len(m.w.members()) >= mostHosts || len(m.up) < 2 {
		return nil
	}
	m.w.work.Go(func() {
		via := m.up[0].running()
		if via == nil {
			return
		}
		ctx, cancel := context.WithTimeout(m.w.ctx, 30*time.Second)
		defer cancel()
		token, err := m.w.newToken(ctx, via)
		if err != nil {
			m.w.trace("no token: %v", err)
			return
		}
		var both sync.WaitGroup
		for i := range 2 {
			h := m.w.addHost()
			both.Go(func() { m.w.tryToJoin(ctx, h, token, m.up[i%len(m.up)]) })
		}
		both.Wait()
	})
	return &harm{targets: m.up[:1]}
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

// leave takes a host out that has no VMs left.
func (m *moment) leave() *harm {
	l := m.leading()
	if l == nil || len(m.w.members()) <= 3 || len(m.followers) == 0 {
		return nil
	}
	h := m.followers[0]
	m.w.work.Go(func() {
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
			if !m.w.sleep(2 * time.Second) {
				return
			}
		}
		ctx, cancel = context.WithTimeout(l.ctx, 10*time.Second)
		defer cancel()
		l.peer.Writer().SetSchedulable(asAdmin(ctx), h.id(), true)
	})
	return &harm{targets: []*host{h}}
}

// voters asks for another number of voters than there are, among 1, 3 and 5, and at the
// end for the number that the world began with. It took where the number that vote has changed.
func (m *moment) voters() *harm {
	l := m.leading()
	if l == nil {
		return nil
	}
	before, most := votersOf(l), len(m.w.members())
	wanted := slices.DeleteFunc([]int{1, 3, 5}, func(n int) bool { return min(n, most) == before })
	if len(wanted) == 0 {
		return nil
	}
	m.w.want(pick(m.rng, wanted), m.last)
	return &harm{targets: m.leaders(),
		took: func() bool {
			now := m.w.leader()
			return now != nil && now.running() != nil && votersOf(now.running()) != before
		},
		end: func() { m.w.want(m.w.shape.voters, 20*time.Second) }}
}

func votersOf(l *life) int {
	return len(slices.DeleteFunc(l.peer.Node().Servers(), func(s cluster.Server) bool { return !s.Voter }))
}

// want asks whoever leads for a number of voters, for so long at most.
func (w *world) want(voters int, limit time.Duration) {
	end := time.Now().Add(limit)
	w.work.Go(func() {
		for time.Now().Before(end) {
			if h := w.leader(); h != nil && h.running() != nil {
				ctx, cancel := context.WithTimeout(h.running().ctx, 5*time.Second)
				_, err := h.running().peer.Writer().PatchSettings(asAdmin(ctx), fmt.Appendf(nil, `{"voters":%d}`, voters))
				cancel()
				w.trace("%d voters are asked for through %s: %v", voters, h.name, err)
				if err == nil {
					return
				}
			}
			if !w.sleep(500 * time.Millisecond) {
				return
			}
		}
	})
}

// transfer has the leader hand over to whoever raft takes.
func (m *moment) transfer() *harm {
	l := m.leading()
	if l == nil {
		return nil
	}
	m.w.transfer(l, "", m.last+2*time.Second)
	return &harm{targets: m.leaders()}
}

// transferTo asks any peer that a certain one leads.
func (m *moment) transferTo() *harm {
	via := m.anyone().running()
	if via == nil || m.leader == nil || len(m.followers) == 0 {
		return nil
	}
	m.w.transfer(via, m.followers[0].id(), m.last+2*time.Second)
	return &harm{targets: m.leaders()}
}

// transferStorm asks for another leader each second.
func (m *moment) transferStorm() *harm {
	if m.leader == nil {
		return nil
	}
	end := time.Now().Add(m.last)
	m.w.work.Go(func() {
		for time.Now().Before(end) {
			if h := m.w.leader(); h != nil && h.running() != nil {
				m.w.transfer(h.running(), "", time.Second)
			}
			if !m.w.sleep(time.Second) {
				return
			}
		}
	})
	return &harm{targets: m.leaders()}
}

// transfer asks a peer for another leader, and does not wait for it.
func (w *world) transfer(via *life, to string, limit time.Duration) {
	w.work.Go(func() {
		ctx, cancel := context.WithTimeout(via.ctx, limit)
		defer cancel()
		err := via.peer.Node().TransferLeadership(ctx, to)
		w.trace("leadership to %q through %s: %v", to, via.host.name, err)
		if err == nil {
			w.count("transfers")
		}
	})
}
