package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Raft waits longer after each message of entries that did not get through, 10 ms x 2^10 at
// most, and nothing tells it that the peer is back: one that was away for 15 s would get
// its first entry, and serve its first linearizable read, up to 10 s late. So such a message
// that failed is not given up before a heartbeat gets through, of which raft sends several a
// second whatever becomes of them. So failures are few, however long the peer is away.
const (
	quickFailures = 3           // of messages in a row that are given up at once: a connection that broke is no peer that is away
	patienceTick  = time.Second // how often it is looked at whether the message is of use still
)

// audience knows which peers hear this one.
type audience struct {
	hasty bool // nothing is waited for: so tests see what raft does by itself

	mu    sync.Mutex
	peers map[raft.ServerID]*listener
}

type listener struct {
	failures int    // messages of entries in a row that did not get through
	through  uint64 // messages of entries that got through
	heard    bell   // rings when a message got through
	offer    offer  // of leadership, the last one
}

// of is what is known of a peer.
func (a *audience) of(id raft.ServerID) *listener {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.peers == nil {
		a.peers = map[raft.ServerID]*listener{}
	}
	if a.peers[id] == nil {
		a.peers[id] = &listener{}
	}
	return a.peers[id]
}

// failed counts one more message of entries that did not get through.
func (a *audience) failed(l *listener) (inRow int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l.failures++
	return l.failures
}

// got notes that a message got through.
func (a *audience) got(l *listener, entries bool) {
	a.mu.Lock()
	if entries {
		l.failures = 0
		l.through++
	}
	a.mu.Unlock()
	l.heard.ring()
}

// AppendEntries sends entries, or a heartbeat.
func (t *newsTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, q *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse) error {
	l := t.audience.of(id)
	heard := l.heard.wait()
	err := t.raftTransport.AppendEntries(id, target, q, a)
	switch {
	case err == nil:
		t.audience.got(l, !isHeartbeat(q))
	case !isHeartbeat(q) && t.audience.failed(l) > quickFailures && !t.audience.hasty:
		t.untilHeard(heard, id, q.Term)
	}
	return err
}

// untilHeard returns when a peer hears this one, does not belong to raft any more, or this
// one does not lead that term any more.
func (t *newsTransport) untilHeard(heard <-chan struct{}, id raft.ServerID, term uint64) {
	tick := time.NewTicker(patienceTick)
	defer tick.Stop()
	for t.up.Load() && t.sends(id, term) {
		select {
		case <-heard:
			return
		case <-tick.C:
		case <-t.ended:
			return
		}
	}
}

// isHeartbeat knows heartbeats as raft's own transport does.
func isHeartbeat(q *raft.AppendEntriesRequest) bool {
	return q.PrevLogEntry == 0 && q.PrevLogTerm == 0 && len(q.Entries) == 0 && q.LeaderCommitIndex == 0
}
