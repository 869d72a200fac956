package cluster

import (
	"errors"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Raft answers heartbeats on the goroutine that reads them, beside its own loop, so that
// nobody is taken for dead whose disk is slow. One of a later term makes it a follower of that
// term there and then, while its loop may still lead: that appends the next command with the
// new term, at an index where the new leader has another entry of that very term. Log
// and state differ from then on, and raft has no means to see it (hashicorp/raft issue 695).
//
// So heartbeats that change nothing are answered here, at once, and raft's loop hears of them
// when it comes to it, which is soon enough for its election timer: who campaigns
// although there is a leader is refused by the others. All other heartbeats wait for the loop.
type heartbeats struct {
	latest atomic.Pointer[raft.AppendEntriesRequest] // that was answered, and raft has not heard of
	wake   chan struct{}                             // there is one
}

// SetHeartbeatHandler has heartbeats come to this transport; raft's own handler is not called.
func (t *newsTransport) SetHeartbeatHandler(func(raft.RPC)) {
	t.raftTransport.SetHeartbeatHandler(t.heartbeat)
}

// heartbeat answers one, or has raft's loop answer it.
func (t *newsTransport) heartbeat(rpc raft.RPC) {
	q, is := rpc.Command.(*raft.AppendEntriesRequest)
	if is && t.up.Load() {
		if a := t.follows(q); a != nil {
			rpc.Respond(a, nil)
			t.beats.latest.Store(q)
			select {
			case t.beats.wake <- struct{}{}:
			default:
			}
			return
		}
	}
	select {
	case t.late <- rpc:
	default:
		rpc.Respond(nil, errLateHeartbeats)
	}
}

// lateHeartbeats is how many wait for raft's loop at most. Their senders wait for an answer
// to each, so there are no more than a few.
const lateHeartbeats = 64

var errLateHeartbeats = errors.New("this peer is busy: too many heartbeats wait for it")

// heard is the latest heartbeat that was answered, as raft hears it.
func (b *heartbeats) heard() (rpc raft.RPC, there bool) {
	q := b.latest.Swap(nil)
	return raft.RPC{Command: q, RespChan: make(chan raft.RPCResponse, 1)}, q != nil
}

// follows answers a heartbeat of the leader that this peer follows already, in the same
// term; nil for any other.
func (n *Node) follows(q *raft.AppendEntriesRequest) *raft.AppendEntriesResponse {
	if _, leader := n.raft.LeaderWithID(); string(leader) != string(q.ID) {
		return nil
	}
	term := n.raft.CurrentTerm()
	if term != q.Term || n.raft.State() != raft.Follower {
		return nil
	}
	return &raft.AppendEntriesResponse{RPCHeader: n.header(), Term: term, LastLog: n.raft.LastIndex(), Success: true}
}
