package peer

import (
	"context"
	"slices"
	"time"

	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/fsm"
)

// Marked states are written in turn: not by a majority of the voters at once, unless there
// are two or somebody waits, so that those who are not at it can commit without waiting for
// processors or disks. Who is at which state is what gossip says, and a peer that is not
// heard does not hold up the others.
const (
	turnNotice = time.Second            // until a peer's word gets here that it writes at once, because somebody waits there
	turnLook   = 100 * time.Millisecond // how often a peer looks what the others say
	turnLimit  = 2 * time.Minute        // after which it waits for nobody: a peer may hang, or be far behind
)

// awaitTurn waits until this peer is to write a marked state: in its turn; at once when
// somebody waits for it, when it is there already, or when the peer stops.
func (p *Peer) awaitTurn(ctx context.Context, k *fsm.Mark) {
	if p.marks.files.Newest() >= k.Index {
		return // met again in the log: they are written in order
	}
	for began := time.Now(); ctx.Err() == nil; {
		asked, change := p.marks.wanted(k.Index)
		waited := time.Since(began)
		switch voters := voterIDs(p.node.Servers()); {
		case asked, waited >= turnLimit, len(voters) < 2:
			return
		case waited >= turnNotice && mayWrite(k.Index, p.identity.PeerID, voters, p.node.Loads()):
			return
		}
		select {
		case <-ctx.Done():
		case <-k.Hurry():
			return
		case <-change:
		case <-time.After(turnLook):
		}
	}
}

// voterIDs are the ids of the voters, in their order.
func voterIDs(servers []cluster.Server) (ids []string) {
	for _, s := range servers {
		if s.Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// mayWrite tells whether it is this peer's turn to write the marked state of an index. The
// voters, in the order of their ids, begin with another one each time. As many write at
// once as a majority can do without, and one at least; who does not vote keeps nobody
// waiting.
func mayWrite(index uint64, self string, voters []string, loads map[string]cluster.Load) bool {
	n, me := len(voters), slices.Index(voters, self)
	if me < 0 {
		return true
	}
	place := func(i int) int { return (i + n - int(index%uint64(n))) % n }
	before := 0
	for i, id := range voters {
		l, alive := loads[id]
		if id == self || !alive || l.Marked == 0 || l.Marked >= index {
			continue
		}
		if place(i) < place(me) || l.Marking == index {
			before++
		}
	}
	return before < max(1, (n-1)/2)
}
