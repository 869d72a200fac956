package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// reign is a term that this peer leads, from the moment its barrier has been
// applied: the machine then holds everything that earlier terms acknowledged.
type reign struct {
	term uint64
	ctx  context.Context // ends with the term
}

// termHolder holds the reign, if there is one.
type termHolder struct {
	mu      sync.Mutex
	reign   *reign
	changed bell
}

func (h *termHolder) set(r *reign) {
	h.mu.Lock()
	h.reign = r
	h.mu.Unlock()
	h.changed.ring()
}

// now is the reign that has not ended.
func (h *termHolder) now() (*reign, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reign == nil || h.reign.ctx.Err() != nil {
		return nil, false
	}
	return h.reign, true
}

// sight is the leader that this peer sees.
type sight struct {
	mu     sync.Mutex
	leader string
	led    context.Context // ends when another is seen, or none
	end    context.CancelFunc
}

// now is the leader, empty without one, and a context that ends when that changes.
func (s *sight) now() (leader string, led context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leader, s.led
}

// turned takes note that leader, term or raft's state may have changed.
func (n *Node) turned() {
	n.sight.mu.Lock()
	if leader, _ := n.Leader(); n.sight.led == nil || leader != n.sight.leader {
		if n.sight.end != nil {
			n.sight.end()
		}
		n.sight.leader = leader
		n.sight.led, n.sight.end = context.WithCancel(n.ctx)
	}
	n.sight.mu.Unlock()
	n.turn.ring()
}

// drain empties raft's channel of leadership changes. Raft waits for it in its
// main loop, so nothing else happens here.
func (n *Node) drain(changes <-chan bool) {
	for {
		select {
		case <-changes:
			n.turn.ring()
		case <-n.ctx.Done():
			return // raft does not wait for a reader while it shuts down
		}
	}
}

// observe rings when raft sees another leader or changes its own state.
func (n *Node) observe() {
	seen := make(chan raft.Observation, 1) // a full channel loses the news, but not that there is some
	o := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	n.raft.RegisterObserver(o)
	n.turned() // raft has been running for a moment
	n.start(func() {
		defer n.raft.DeregisterObserver(o)
		for {
			select {
			case <-seen:
				n.turned()
			case <-n.ctx.Done():
				return
			}
		}
	})
}

// leads tells whether raft says that this peer leads, and in which term.
func (n *Node) leads() (term uint64, yes bool) {
	term = n.raft.CurrentTerm()
	return term, n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// lead begins and ends this peer's reigns.
func (n *Node) lead() {
	for n.ctx.Err() == nil {
		turned := n.turn.wait()
		var again <-chan time.Time
		if term, yes := n.leads(); yes {
			n.reign(term)
			again = time.After(retryPause) // raft refuses the barrier at once while it hands leadership over
		}
		select {
		case <-turned:
		case <-again:
		case <-n.ctx.Done():
		}
	}
}

// reign lasts as long as this peer leads in that term.
func (n *Node) reign(term uint64) {
	// The barrier is of this term if the term is still the same after it.
	if err := await(n.ctx, n.raft.Barrier(0)); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(n.ctx)
	defer n.term.set(nil)
	defer cancel()
	n.contacts.takeOver(n.others())
	n.log.Info("this peer leads", "term", term)
	defer n.log.Info("this peer leads no more", "term", term)
	for {
		turned := n.turn.wait()
		if now, yes := n.leads(); !yes || now != term {
			return
		}
		if _, begun := n.term.now(); !begun {
			n.term.set(&reign{term, ctx})
		}
		select {
		case <-turned:
		case <-n.ctx.Done():
			return
		}
	}
}

// await is the outcome of a raft future, or the end of ctx: a future that raft
// has in hand when it shuts down may never be answered.
func await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WhileLeader runs f whenever this peer leads: after a barrier of the term has
// been applied, with a context that ends with the term. A next term waits until f
// has returned. An error of f during the term ends WhileLeader with it; if f
// returns nil, it is called again in the next term. It returns nil when ctx ends.
func (n *Node) WhileLeader(ctx context.Context, f func(ctx context.Context) error) error {
	var done uint64 // term that f has been called in
	for {
		changed := n.term.changed.wait()
		if r, ok := n.term.now(); ok && r.term != done {
			done = r.term
			if err := during(ctx, r.ctx, f); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		case <-n.ctx.Done():
			return nil
		}
	}
}

// during runs f in a context that ends with either.
func during(ctx, term context.Context, f func(context.Context) error) error {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(term, cancel)()
	if err := f(both); err != nil && both.Err() == nil {
		return err
	}
	return nil
}

// Leader is the id of the peer that leads as far as this one knows, and the
// term; empty when none is in sight.
func (n *Node) Leader() (id string, term uint64) {
	_, leader := n.raft.LeaderWithID()
	return string(leader), n.raft.CurrentTerm()
}

// IsLeader tells whether this peer leads and has applied all that earlier terms
// acknowledged. It may not know yet that another leads by now.
func (n *Node) IsLeader() bool {
	_, ok := n.term.now()
	return ok
}

// Server is a peer in raft's configuration.
type Server struct {
	ID    string
	Voter bool
}

// Servers is raft's configuration as this peer has it, by id.
func (n *Node) Servers() []Server {
	var all []Server
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		all = append(all, Server{string(s.ID), s.Suffrage == raft.Voter})
	}
	slices.SortFunc(all, func(a, b Server) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}

func voters(servers []Server) (ids []string) {
	for _, s := range servers {
		if s.Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}
