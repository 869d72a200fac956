package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
)

const transferOp = "raft.transfer"

// transfer is the wish that another voter leads.
type transfer struct {
	To string `json:"to,omitempty"` // id; empty: whoever is furthest ahead
}

// TransferLeadership has another voter lead: the one with the id to or, where that is
// empty, the one furthest ahead of those that answer. Any peer may be asked; it returns
// when this one sees the other lead. While leadership is on its way the leader refuses
// commands; Propose waits that out and sends them again.
//
// The error is an *api.Error. Conflict: to is no voter, leads already or does
// not answer, or there is nobody else. Unavailable: nobody took over within
// ProposeTimeout or the end of ctx; the one that led leads on, or the others elect.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ProposeTimeout)
	defer cancel()
	var from string // who led when it was asked to step aside
	for asked := false; ; {
		turned := n.turn.wait()
		leader, _ := n.Leader()
		err := errors.New("no leader is in sight")
		switch {
		case from != "" && leader != "" && leader != from && (to == "" || leader == to):
			return nil
		case asked && leader == from: // it has stepped aside, which this peer does not see yet
			err = errors.New("the peer that led has stepped aside, and no other is in sight")
		case leader != "":
			if leader != to { // else it leads already, as it seems from here; it is asked, and knows
				from = leader
			}
			if err = n.offerTransfer(ctx, leader, to); err != nil && !retryable(err) {
				return err
			}
			asked = err == nil
		}
		select {
		case <-turned:
		case <-time.After(retryPause):
		case <-ctx.Done():
			return api.Errorf(api.Unavailable, transferOp, "no other peer took over leadership in time; see who leads with: orchd status: %w", err)
		}
	}
}

// offerTransfer asks the leader to step aside: here, or one hop away.
func (n *Node) offerTransfer(ctx context.Context, leader, to string) error {
	if leader == n.id {
		return n.stepAside(ctx, to)
	}
	_, err := exchange[transfer](ctx, n, leader, "/peer/transfer", transfer{to})
	return err
}

// serveTransfer steps aside because another peer was asked for it.
func (n *Node) serveTransfer(r *http.Request) (any, error) {
	var t transfer
	if err := read(r, &t); err != nil {
		return nil, err
	}
	if n.raft.State() != raft.Leader {
		return nil, errNotLeader
	}
	ctx, cancel := context.WithTimeout(r.Context(), handoverTime)
	defer cancel()
	err := n.stepAside(ctx, t.To)
	if err != nil && retryable(err) {
		err = api.Errorf(api.Unavailable, transferOp, "the leader could not step aside: %w", err)
	}
	return t, err
}

// stepAside hands leadership to another voter, see heir, and returns when another
// leads, or at once when this peer does not lead.
func (n *Node) stepAside(ctx context.Context, to string) error {
	if n.raft.State() != raft.Leader {
		return nil
	}
	heir, err := n.heir(ctx, to)
	if err != nil {
		return err
	}
	if term, leads := n.leads(); !leads {
		return nil
	} else if !n.audience().claim(raft.ServerID(heir), term) {
		return api.Errorf(api.Unavailable, transferOp, "leadership stays where it is: %s", n.stillAsked(heir))
	}
	asked := make(chan error, 1)
	go func() {
		asked <- n.offerTo(ctx, raft.ServerID(heir))
	}()
	for {
		turned := n.turn.wait()
		if leader, _ := n.Leader(); leader != "" && leader != n.id {
			return nil
		}
		select {
		case err := <-asked:
			if err != nil && !errors.Is(err, raft.ErrNotLeader) {
				return fmt.Errorf("hand over leadership to %s: %w", n.nameOf(heir), err)
			}
			asked = nil // it is under way: wait until the other is seen to lead
		case <-turned:
		case <-ctx.Done():
			return api.Errorf(api.Unavailable, transferOp, "no other peer took over leadership: %w", ctx.Err())
		}
	}
}

// offerTo has raft hand leadership to a voter, and waits until that is done or given up.
func (n *Node) offerTo(ctx context.Context, heir raft.ServerID) error {
	err := n.await(ctx, n.raft.LeadershipTransferToServer(heir, raft.ServerAddress(heir)))
	if errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		n.audience().given(heir) // raft has not asked it anything
	}
	return err
}

// stillAsked says why leadership is not offered to a voter once more.
func (n *Node) stillAsked(id string) string {
	return fmt.Sprintf("voter %s was asked a moment ago, and has not caught up since; try again in a few seconds", n.nameOf(id))
}

// heir is the voter that is to lead next: to or, where that is empty, the one
// furthest ahead. It has answered a ping just now, and has almost all of the log: while
// leadership is on its way to a peer that does not answer, raft refuses commands for as
// long as one message may take (raftIO), and by itself it would choose such a one.
func (n *Node) heir(ctx context.Context, to string) (string, error) {
	others := slices.DeleteFunc(voters(n.Servers()), func(id string) bool { return id == n.id })
	switch {
	case to == n.id:
		if _, err := n.proofs.join(ctx); err != nil { // it may have led
			return "", err
		}
		return "", api.Errorf(api.Conflict, transferOp, "peer %s leads already", n.nameOf(to))
	case to != "" && !slices.Contains(others, to):
		return "", api.Errorf(api.Conflict, transferOp, "peer %s is no voter, so it cannot lead; the voters are in: orchd raft peers", n.nameOf(to))
	case to != "":
		others = []string{to}
	}
	n.pingThese(others)
	seen, have := n.contacts.all(), n.replica.whole.Load()
	best, kind, why := "", api.Conflict, "there is no other voter"
	// Of those that could lead, who is not hindered comes first, then who is furthest ahead.
	better := func(id string) bool {
		free, bestFree := n.cfg.Hindered(id) == "", n.cfg.Hindered(best) == ""
		return best == "" || free && !bestFree || free == bestFree && seen[id].Applied > seen[best].Applied
	}
	for _, id := range others {
		hindered := n.cfg.Hindered(id)
		switch c := seen[id]; {
		case !c.Reachable:
			kind, why = api.Conflict, fmt.Sprintf("voter %s does not answer; start it, or mend the network", n.nameOf(id))
		case c.Applied+nearEntries < have:
			kind, why = api.Unavailable, fmt.Sprintf("voter %s is %d entries behind; try again when it has caught up", n.nameOf(id), have-c.Applied)
		case n.audience().waits(raft.ServerID(id), n.raft.CurrentTerm()):
			kind, why = api.Unavailable, n.stillAsked(id)
		case to != "" && hindered != "":
			kind, why = api.Conflict, fmt.Sprintf("voter %s should not lead: %s", n.nameOf(id), hindered)
		case better(id):
			best = id
		}
	}
	if best == "" {
		return "", api.Errorf(kind, transferOp, "leadership stays where it is: %s", why)
	}
	return best, ctx.Err()
}

// standBack is for how long a peer that is hindered leaves it to the others to elect one
// of them.
const standBack = 10 * time.Second

// standsBack tells whether this peer should not campaign just now: something hinders it
// to lead, another voter is there that nothing hinders, and not much time has passed yet.
func (n *Node) standsBack() bool {
	if n.cfg.Hindered(n.id) == "" || !n.othersCan() {
		return false
	}
	n.sight.mu.Lock()
	defer n.sight.mu.Unlock()
	return n.sight.leader != "" || time.Since(n.sight.since) < standBack
}

// sends tells whether this peer leads that term, and sends its entries to another.
func (n *Node) sends(to raft.ServerID, term uint64) bool {
	now, leads := n.leads()
	return leads && now == term && slices.ContainsFunc(n.Servers(), func(s Server) bool { return s.ID == string(to) })
}

// othersCan tells whether another voter answers that nothing hinders to lead.
func (n *Node) othersCan() bool {
	seen := n.contacts.all()
	return slices.ContainsFunc(voters(n.Servers()), func(id string) bool {
		return id != n.id && seen[id].Reachable && n.cfg.Hindered(id) == ""
	})
}

// leaveLead hands leadership over when something hinders this peer to lead, and another
// can.
func (n *Node) leaveLead() {
	why := n.cfg.Hindered(n.id)
	if why == "" || !n.IsLeader() || !n.othersCan() {
		return
	}
	n.log.Warn("this peer hands leadership over: "+why, "term", n.raft.CurrentTerm())
	ctx, cancel := context.WithTimeout(n.ctx, handoverTime)
	defer cancel()
	if err := n.stepAside(ctx, ""); err != nil {
		n.log.Warn("leadership was not handed over", "err", err)
	}
}

// nameOf is a peer's name, or its id where it is not known.
func (n *Node) nameOf(id string) string {
	if m, ok := n.book.find(id); ok {
		return m.Name
	}
	return id
}
