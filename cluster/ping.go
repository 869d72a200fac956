package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
)

// How often peers are pinged, and for how long each has to answer.
const (
	leaderPings = time.Second
	otherPings  = 2 * time.Second
	pingTime    = time.Second
)

const (
	nearEntries  = 100              // a peer this close to the leader's index has caught up
	currentFor   = 6 * time.Second  // the tables count as current for so long after they were known to be
	quorumHeard  = 5 * time.Second  // a voter that answered within it is there
	maxClockSkew = 60 * time.Second // a leader this far off the median hands leadership over
)

// ping is what a peer says when it asks another whether it is there.
type ping struct {
	Leader bool   `json:"leader,omitempty"` // it leads
	Term   uint64 `json:"term"`
	Index  uint64 `json:"index"`        // its machine's
	At     string `json:"at,omitempty"` // its raft address
}

// pingAnswer is what the other answers.
type pingAnswer struct {
	Leader      bool            `json:"leader,omitempty"`
	Term        uint64          `json:"term"`
	Applied     uint64          `json:"applied"`
	Clock       int64           `json:"clock"` // Unix microseconds
	Unreachable []string        `json:"unreachable,omitempty"`
	Report      json.RawMessage `json:"report,omitempty"`
}

// pingLoop pings everyone, until the node is closed.
func (n *Node) pingLoop() {
	for {
		changed, turned := n.book.changed.wait(), n.term.changed.wait()
		began := time.Now()
		n.pingAll()
		n.hall.sweep() // who has left may have been spoken to until it was out of raft as well
		pause := otherPings
		if n.IsLeader() {
			pause = leaderPings
		}
		// A tenth of jitter keeps peers that were started together apart.
		pause += time.Duration((rand.Float64() - 0.5) / 5 * float64(pause))
		select {
		case <-time.After(pause - time.Since(began)):
		case <-changed:
		case <-turned:
		case <-n.ctx.Done():
			return
		}
	}
}

// pingAll pings everyone at once and takes stock.
func (n *Node) pingAll() {
	others := n.others()
	n.contacts.keep(others)
	var ids []string
	for _, m := range others {
		ids = append(ids, m.ID)
	}
	n.pingThese(ids)
	n.takeStock()
}

// pingThese pings peers, all at once, and returns when each has answered or has not.
func (n *Node) pingThese(ids []string) {
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() { n.ping(id) })
	}
	all.Wait()
}

// others are all peers but this one.
func (n *Node) others() []Member {
	return slices.DeleteFunc(n.book.members(), func(m Member) bool { return m.ID == n.id })
}

func (n *Node) ping(id string) {
	ctx, cancel := context.WithTimeout(n.ctx, pingTime)
	defer cancel()
	sent := n.cfg.Now()
	have := n.replica.whole.Load()
	a, err := exchange[pingAnswer](ctx, n, id, "/peer/ping", ping{n.IsLeader(), n.raft.CurrentTerm(), have, n.cfg.Advertise.Raft})
	if err != nil {
		n.contacts.missed(id, refused(err))
		return
	}
	n.contacts.heard(id, sent, a, have)
	if a.Leader && a.Term == n.raft.CurrentTerm() {
		n.contacts.promised(sent, a.Applied, n.replica.whole.Load())
	}
	if !n.book.isCurrent() {
		n.askKnown(ctx, id)
	}
}

// refused tells whether the other side is there and does not let this peer in:
// it ended the TLS handshake with an alert, or said so on a connection that was open.
func refused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" || api.IsKind(err, api.Forbidden)
}

// takeStock draws what follows from the answers.
func (n *Node) takeStock() {
	n.book.setCurrent(n.Age() < currentFor)
	skew, known := n.ClockError()
	if known && skew.Abs() > maxClockSkew && n.IsLeader() {
		n.log.Warn("this peer's clock is off, it hands leadership over: set the clock", "skew", skew)
		ctx, cancel := context.WithTimeout(n.ctx, handoverTime)
		defer cancel()
		if err := n.stepAside(ctx, ""); err != nil {
			n.log.Warn("leadership was not handed over", "err", err)
		}
	}
	n.leaveLead()
}

func (n *Node) servePing(r *http.Request) (any, error) {
	var p ping
	received := n.cfg.Now()
	if err := read(r, &p); err != nil {
		return nil, err
	}
	n.book.tell(CallerPeer(r), p.At)
	if p.Leader && p.Term == n.raft.CurrentTerm() {
		n.contacts.promised(received, p.Index, n.replica.whole.Load())
	}
	a := pingAnswer{
		Leader: n.IsLeader(), Term: n.raft.CurrentTerm(), Applied: n.replica.whole.Load(),
		Clock: received.UnixMicro(), Unreachable: n.contacts.unreachable(),
	}
	if n.cfg.Report != nil {
		a.Report = n.cfg.Report()
	}
	return a, nil
}

// askKnown learns whom another peer knows.
func (n *Node) askKnown(ctx context.Context, id string) {
	answer, err := n.call(ctx, id, http.MethodGet, "/peer/known", nil)
	if err != nil {
		return // the next ping asks again
	}
	var members []Member
	if err := json.Unmarshal(answer, &members); err != nil {
		n.log.Warn("a peer's list of peers cannot be read", "peer", id, "err", err)
		return
	}
	n.book.hear(members)
}

func (n *Node) serveKnown(*http.Request) (any, error) { return n.book.members(), nil }

// Contacts is what pinging the other peers has shown, by peer id.
func (n *Node) Contacts() map[string]Contact { return n.contacts.all() }

// ClockError is how far this peer's clock is ahead of the median of the voters'
// clocks; not known with fewer than three voters in reach.
func (n *Node) ClockError() (ahead time.Duration, known bool) {
	return n.contacts.clockError(voters(n.Servers()), n.id)
}

// Age is for how long this peer has not known its state to be current: for the
// leader since a majority was last seen in its term, for others since the leader
// last said how far it was and the machine here has got there. A peer that has
// not heard a leader since its start goes by the time in the last entry that it
// applied; where there is none either, the age is the largest Duration.
func (n *Node) Age() time.Duration {
	now := n.cfg.Now()
	at := n.contacts.freshness(n.replica.whole.Load())
	if r, ok := n.term.now(); ok {
		if led := n.contacts.led(voters(n.Servers()), n.id, r.term, now); led.After(at) {
			at = led
		}
	}
	if stamp := n.replica.stamp.Load(); at.IsZero() && stamp != 0 {
		at = time.UnixMicro(stamp)
	}
	if at.IsZero() {
		return math.MaxInt64
	}
	return max(0, now.Sub(at))
}

// Quorum is nil while a majority of the voters is there, this peer's own vote
// included. The error is an *api.Error of kind Unavailable that names the silent ones.
func (n *Node) Quorum() error {
	ids := voters(n.Servers())
	heard, names := 0, ""
	for _, id := range ids {
		c := n.contacts.all()[id]
		if id == n.id || c.Reachable || n.cfg.Now().Sub(c.HeardAt) < quorumHeard {
			heard++
			continue
		}
		name := id
		if m, ok := n.book.find(id); ok {
			name = m.Name
		}
		names += " " + name
	}
	if len(ids) == 0 {
		return api.Errorf(api.Unavailable, "cluster.quorum", "this peer does not know who votes: it has not heard the leader yet")
	}
	if heard <= len(ids)/2 {
		return api.Errorf(api.Unavailable, "cluster.quorum", "no quorum: %d of %d voters answer; silent:%s", heard, len(ids), names)
	}
	return nil
}
