package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// news is that the entry at an index is committed, and everything before it: what
// raft's next message to a follower would say. A leader puts it in front of an
// answer for which the follower's client has to see that entry there, so that the
// client need not wait for that message.
//
// The entry is of the very term that the leader leads, or nothing is said: then
// no other peer ever had another entry of that index and that term, and a follower
// that has it has everything before it as well (Ongaro's thesis, 3.5).
type news struct {
	term  uint64 // of the entry and of the leader who says so; 0: the leader says nothing
	index uint64
}

const newsSize = 8 + 8

// encode puts the news in front of the rest of an answer.
func (m news) encode(rest []byte) []byte {
	b := make([]byte, 0, newsSize+len(rest))
	b = binary.BigEndian.AppendUint64(b, m.term)
	b = binary.BigEndian.AppendUint64(b, m.index)
	return append(b, rest...)
}

func decodeNews(b []byte) (m news, rest []byte, err error) {
	if len(b) < newsSize {
		return m, nil, errors.New("the leader's answer ends too early")
	}
	return news{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, b[newsSize:], nil
}

// newsOf is what this peer can say of an entry that it has applied.
func (n *Node) newsOf(index uint64) news {
	r, leads := n.term.now()
	if term, ok := n.stores.logs.termOf(index); leads && ok && term == r.term {
		return news{term, index}
	}
	return news{0, index}
}

// raftTransport is a transport of raft's that can do what this package uses.
type raftTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// newsTransport is raft's transport, with news among the messages that raft hears.
// To raft they are messages of the leader without entries (AppendEntries), which
// any follower may get late or twice: a leader of that term that had committed the entry
// could have sent this very one. Raft refuses it when it has come to a later
// term, and when it does not have that entry of that term; it takes nothing out of the log
// for it, and takes no more for committed than the entry. It counts as a word of
// the leader, as of now; the leader has just answered, and no more than an election
// timeout depends on it.
type newsTransport struct {
	raftTransport
	rpcs   chan raft.RPC
	wake   chan struct{}        // there is something to look at
	latest atomic.Pointer[told] // what raft has not been told yet

	up         atomic.Bool                              // raft runs, so that the functions below can be asked
	standsBack func() bool                              // this peer leaves the lead to others
	sends      func(to raft.ServerID, term uint64) bool // this peer leads that term, and that other is to get its entries
	settle     func(*raft.AppendEntriesRequest) *raft.AppendEntriesRequest
	follows    func(*raft.AppendEntriesRequest) *raft.AppendEntriesResponse // to a heartbeat that changes nothing; nil to any other
	answered   func(*raft.RPC) bool                                         // looks at what is answered without raft; nil: nobody does
	beats      heartbeats
	late       chan raft.RPC // heartbeats that raft's loop is to answer
	audience   audience
	ended      <-chan struct{} // closed when the node ends
}

// told is news and who told it.
type told struct {
	news
	leader string
}

// newNewsTransport lasts as long as ctx.
func newNewsTransport(ctx context.Context, t raftTransport, standsBack func() bool, sends func(to raft.ServerID, term uint64) bool,
	settle func(*raft.AppendEntriesRequest) *raft.AppendEntriesRequest, follows func(*raft.AppendEntriesRequest) *raft.AppendEntriesResponse) *newsTransport {
	return &newsTransport{
		raftTransport: t, rpcs: make(chan raft.RPC), wake: make(chan struct{}, 1),
		standsBack: standsBack, sends: sends, settle: settle, follows: follows, ended: ctx.Done(),
		beats: heartbeats{wake: make(chan struct{}, 1)}, late: make(chan raft.RPC, lateHeartbeats),
	}
}

// RequestPreVote asks a peer whether it would vote for this one, unless this one stands
// back: then the answer is no without a question, and raft campaigns no further.
func (t *newsTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, q *raft.RequestPreVoteRequest, a *raft.RequestPreVoteResponse) error {
	if t.up.Load() && t.standsBack() {
		return nil
	}
	return t.raftTransport.RequestPreVote(id, target, q, a)
}

// Consumer is where raft takes its messages from.
func (t *newsTransport) Consumer() <-chan raft.RPC { return t.rpcs }

// tell takes what a leader said. Only the newest is of interest.
func (t *newsTransport) tell(leader string, m news) {
	if m.term == 0 {
		return
	}
	for {
		old := t.latest.Load()
		if old != nil && (old.term > m.term || old.term == m.term && old.index >= m.index) {
			return
		}
		if t.latest.CompareAndSwap(old, &told{m, leader}) {
			t.look()
			return
		}
	}
}

// look has the news looked at, if there is some: it may have come before its entry.
func (t *newsTransport) look() {
	if t.latest.Load() == nil {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run hands raft what comes from the other peers, and news when their time has
// come, until ctx ends.
func (t *newsTransport) run(ctx context.Context, ripe func(told) (ready, moot bool)) {
	for {
		var rpc raft.RPC
		select {
		case rpc = <-t.raftTransport.Consumer():
			if q, entries := rpc.Command.(*raft.AppendEntriesRequest); entries {
				rpc.Command = t.settle(q)
			} else if t.answered != nil && t.answered(&rpc) {
				continue
			}
		case rpc = <-t.late:
		case <-t.beats.wake:
			var there bool
			if rpc, there = t.beats.heard(); !there {
				continue
			}
		case <-t.wake:
			m := t.latest.Load()
			if m == nil {
				continue
			}
			ready, moot := ripe(*m)
			if ready || moot {
				t.latest.CompareAndSwap(m, nil)
			}
			if !ready {
				continue
			}
			rpc = t.message(*m)
		case <-ctx.Done():
			return
		}
		select {
		case t.rpcs <- rpc:
		case <-ctx.Done():
			return
		}
	}
}

// message is the news as raft would hear it from the leader.
func (t *newsTransport) message(m told) raft.RPC {
	id, leader := []byte(m.leader), t.EncodePeer(raft.ServerID(m.leader), raft.ServerAddress(m.leader))
	return raft.RPC{
		RespChan: make(chan raft.RPCResponse, 1), // raft answers, and nobody asks
		Command: &raft.AppendEntriesRequest{
			RPCHeader:    raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: id, Addr: leader},
			Term:         m.term,
			PrevLogEntry: m.index, PrevLogTerm: m.term,
			LeaderCommitIndex: m.index,
		},
	}
}

// hears tells what is to be done with news: it is ready for raft when its entry is
// here, and moot when raft knows already, or does not follow who told it.
func (n *Node) hears(m told) (ready, moot bool) {
	leader, term := n.Leader()
	if leader != m.leader || term != m.term || n.raft.CommitIndex() >= m.index {
		return false, true
	}
	term, have := n.stores.logs.termOf(m.index)
	return have && term == m.term, false
}

// tell lets raft here know what the leader said of what is committed.
func (n *Node) tell(leader string, m news) {
	if n.news != nil {
		n.news.tell(leader, m)
	}
}
