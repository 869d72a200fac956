package cluster

import (
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// What is committed here is settled: every leader that may still speak has the very same
// entries up to there (Ongaro's thesis, 3.6.3, Leader Completeness). Raft asks its log
// nevertheless whether the entry before a leader's message is the leader's, and where a
// snapshot that was installed has left no such entry, but an entry after it which another
// leader did not get committed, the answer is no to whatever is sent: the leader goes back
// to a snapshot, which changes nothing, for ever (hashicorp/raft issue 697).

// settle is a leader's message without what is settled here. committed is an entry of this
// peer's that is known to be committed, 0 for none; termOf gives the term of an entry
// of its log. The message itself is left as it is: its sender may use it again.
//
// No message makes more committed than what it speaks of (Figure 3.1 there: the index of the last new
// entry); raft would take the end of its log, of which a leader's next message may take something off.
func settle(q *raft.AppendEntriesRequest, committed uint64, termOf func(index uint64) (term uint64, have bool)) *raft.AppendEntriesRequest {
	m := *q
	end := q.PrevLogEntry + uint64(len(q.Entries))
	m.LeaderCommitIndex = min(q.LeaderCommitIndex, end)
	if q.PrevLogEntry > committed || isHeartbeat(q) {
		return &m
	}
	term, have := termOf(committed)
	if q.PrevLogEntry == committed && have {
		return &m // raft can see for itself
	}
	m.Entries = q.Entries[min(committed, end)-q.PrevLogEntry:]
	m.PrevLogEntry, m.PrevLogTerm = committed, term
	if !have {
		m.PrevLogEntry, m.PrevLogTerm = 0, 0 // raft asks for nothing before the first entry
	}
	return &m
}

// settle is a leader's message without what is settled on this peer.
func (n *Node) settle(q *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	// After a start from a snapshot raft knows what it has applied, and no commit index yet.
	return settle(q, max(n.raft.CommitIndex(), n.raft.AppliedIndex()), n.stores.logs.termOf)
}

// held answers for raft a snapshot of what has been applied here already, which a leader sends
// that does not know how far this peer is. Raft would go back to it, and look in its log for
// entries after it that may be compacted. True: it was answered.
func (n *Node) held(rpc *raft.RPC) (answered bool) {
	q, is := rpc.Command.(*raft.InstallSnapshotRequest)
	if !is || q.Term != n.raft.CurrentTerm() || q.LastLogIndex > n.raft.AppliedIndex() {
		return false
	}
	go func() { // the next message comes behind it on its connection
		_, err := io.Copy(io.Discard, rpc.Reader)
		rpc.Respond(&raft.InstallSnapshotResponse{RPCHeader: n.header(), Term: q.Term, Success: err == nil}, err)
	}()
	return true
}

// strictSnapshots are the snapshots as raft sees them: once the state has been made from
// one, the log holds nothing that contradicts it.
type strictSnapshots struct {
	raft.SnapshotStore
	logs *journal
}

// strictSnapshot is a snapshot that is read, and what is left to do when it has been.
type strictSnapshot struct {
	io.ReadCloser
	agree func() error
}

// Open gives a strictSnapshot. Its entries stay in the log until the state has been made:
// where that fails raft goes on from them.
func (s strictSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, r, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	return meta, &strictSnapshot{r, func() error { return s.logs.agree(meta.Index, meta.Term) }}, nil
}

// takenOver restores from a snapshot that raft has opened, and makes the log agree with
// it then. Where the log cannot be changed the state is newer than raft takes it to be, which
// a replica minds; raft tries again.
func takenOver(from io.ReadCloser, restore func(io.ReadCloser) error) error {
	if w, ok := from.(raft.ReadCloserWrapper); ok { // raft counts what is read; the machine may know more of the store's own reader
		from = w.WrappedReadCloser()
	}
	agree := func() error { return nil }
	if s, ok := from.(*strictSnapshot); ok {
		from, agree = s.ReadCloser, s.agree
	}
	if err := restore(from); err != nil {
		return err
	}
	return agree()
}

// agree deletes the entries up to a snapshot's, unless the log holds its last one: they
// may be of a leader that did not get them committed, and raft would hand them on when
// this peer leads. What comes after them raft compares itself.
func (j *journal) agree(index, term uint64) error {
	if have, ok := j.termOf(index); ok && have == term {
		return nil
	}
	first, err := j.FirstIndex()
	if err != nil {
		return fmt.Errorf("read the log's first index: %w", err)
	}
	last, err := j.LastIndex()
	if err != nil {
		return fmt.Errorf("read the log's last index: %w", err)
	}
	if first == 0 || first > index {
		return nil
	}
	if err := j.DeleteRange(first, min(last, index)); err != nil {
		return fmt.Errorf("take entries %d to %d out of the log, which a snapshot replaces: %w", first, min(last, index), err)
	}
	return nil
}
