package cluster

import (
	"slices"

	"github.com/hashicorp/raft"
)

// Raft refuses its vote to whoever is no voter in its own newest configuration. That may be an
// old one: where a change of voters reached its new voters but for one, that one refused the
// others, they refused it because its log is older, and nobody led any more while everybody
// ran. In Raft a vote is given by the log alone (Ongaro's thesis, 4.1: a server votes also
// for a candidate that is not part of its newest configuration); whose votes count is
// the candidate's affair. That keeps it safe: raft stores one vote a term, and has still to find
// the candidate's log no older than its own.

// ballot lets a candidate pass that raft would refuse for that reason alone: one whose log is newer
// than this peer's, and so its configuration may be. The question whether one would vote is
// answered here, which changes nothing; true says so.
func (n *Node) ballot(rpc *raft.RPC) (answered bool) {
	switch q := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		if n.isNewer(q.ID, q.LastLogTerm, q.LastLogIndex) {
			unnamed := *q
			unnamed.ID = nil // as releases of raft sent it that had no ids: its address says who it is
			rpc.Command = &unnamed
		}
	case *raft.RequestPreVoteRequest:
		leader, _ := n.raft.LeaderWithID()
		term := n.raft.CurrentTerm()
		if (leader == "" || leader == n.transport.DecodePeer(q.Addr)) && q.Term >= term && n.isNewer(q.ID, q.LastLogTerm, q.LastLogIndex) {
			rpc.Respond(&raft.RequestPreVoteResponse{RPCHeader: n.header(), Term: q.Term, Granted: true}, nil)
			return true
		}
	}
	return false
}

// answered tells whether a message needs nothing more of raft.
func (n *Node) answered(rpc *raft.RPC) bool { return n.ballot(rpc) || n.held(rpc) }

// isNewer tells whether a peer that is no voter as far as this one knows has a log that ends
// after this one's.
func (n *Node) isNewer(id []byte, term, index uint64) bool {
	if slices.Contains(voters(n.Servers()), string(id)) {
		return false
	}
	lastTerm, last, known := n.lastEntry()
	return known && (term > lastTerm || term == lastTerm && index > last)
}

// lastEntry is the end of the log, or of the snapshot where nothing follows that.
func (n *Node) lastEntry() (term, index uint64, known bool) {
	index = n.raft.LastIndex()
	if term, known = n.stores.logs.termOf(index); known {
		return term, index, true
	}
	all, err := n.stores.snapshots.List()
	if err != nil || len(all) == 0 || all[0].Index != index {
		return 0, 0, false
	}
	return all[0].Term, index, true
}

// header is of what this peer says to raft elsewhere.
func (n *Node) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.id), Addr: n.transport.EncodePeer(raft.ServerID(n.id), raft.ServerAddress(n.id))}
}
