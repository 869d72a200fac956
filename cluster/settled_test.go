package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// asItIs is what a transport makes of a message that it leaves alone.
func asItIs(q *raft.AppendEntriesRequest) *raft.AppendEntriesRequest { return q }

// followsNobody leaves every heartbeat to raft's loop.
func followsNobody(*raft.AppendEntriesRequest) *raft.AppendEntriesResponse { return nil }

// ofTerm are the entries from first to last, of one term.
func ofTerm(first, last, term uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: term, Type: raft.LogNoop})
	}
	return logs
}

// TestSettle: what raft is given of a message, by what is committed here and what the log holds.
func TestSettle(t *testing.T) {
	message := func(prev, prevTerm uint64, logs []*raft.Log, committed uint64) *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{Term: 9, PrevLogEntry: prev, PrevLogTerm: prevTerm, Entries: logs, LeaderCommitIndex: committed}
	}
	log := func(first, last uint64) func(uint64) (uint64, bool) {
		return func(i uint64) (uint64, bool) {
			if i < first || i > last {
				return 0, false
			}
			return 3, true
		}
	}
	for _, c := range []struct {
		what       string
		said       *raft.AppendEntriesRequest
		committed  uint64
		termOf     func(uint64) (uint64, bool)
		understood *raft.AppendEntriesRequest
	}{
		{"a heartbeat", message(0, 0, nil, 0), 10, log(1, 12), message(0, 0, nil, 0)},
		{"after what is settled", message(11, 3, ofTerm(12, 13, 9), 11), 10, log(1, 12), message(11, 3, ofTerm(12, 13, 9), 11)},
		{"right after what is settled", message(10, 3, ofTerm(11, 13, 9), 10), 10, log(1, 10), message(10, 3, ofTerm(11, 13, 9), 10)},
		{"right after a snapshot of which the log knows nothing", message(10, 3, ofTerm(11, 13, 9), 10), 10, log(11, 12), message(0, 0, ofTerm(11, 13, 9), 10)},
		{"from before a snapshot to after it", message(8, 2, ofTerm(9, 13, 9), 12), 10, log(11, 12), message(0, 0, ofTerm(11, 13, 9), 12)},
		{"from before what is settled to after it", message(8, 2, ofTerm(9, 13, 9), 12), 10, log(9, 12), message(10, 3, ofTerm(11, 13, 9), 12)},
		{"all of it settled", message(6, 2, ofTerm(7, 9, 9), 9), 10, log(11, 12), message(0, 0, nil, 9)},
		{"no entries, far back", message(6, 2, nil, 6), 10, log(11, 12), message(0, 0, nil, 6)},
		{"the first entries of all", message(0, 0, ofTerm(1, 4, 1), 2), 0, log(0, 0), message(0, 0, ofTerm(1, 4, 1), 2)},
		{"more is committed than it speaks of", message(11, 3, ofTerm(12, 13, 9), 40), 10, log(1, 12), message(11, 3, ofTerm(12, 13, 9), 13)},
		{"more is committed than it speaks of, without entries", message(11, 3, nil, 40), 10, log(1, 12), message(11, 3, nil, 11)},
	} {
		before := *c.said
		got := settle(c.said, c.committed, c.termOf)
		if len(got.Entries) == 0 {
			got.Entries = nil
		}
		if !reflect.DeepEqual(got, c.understood) {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.understood)
		}
		if !reflect.DeepEqual(&before, c.said) {
			t.Errorf("%s: the sender's own message was changed", c.what)
		}
	}
}

// follower is raft as a node runs it, in virtual time, with the test for its leader.
type follower struct {
	t      *testing.T
	log    *journal
	leader *raft.InmemTransport
	state  *takingOver
}

// takingOver counts, and restores as a replica does; faulty: its snapshots cannot be read.
type takingOver struct {
	counter
	faulty atomic.Bool
}

func (s *takingOver) Restore(from io.ReadCloser) error {
	return takenOver(from, func(io.ReadCloser) error {
		if s.faulty.Load() {
			return errors.New("the disk cannot read it")
		}
		return nil
	})
}

// newFollower is one that settles what it hears and keeps its log strict, or raft alone.
func newFollower(t *testing.T, settles bool) *follower {
	ctx, cancel := context.WithCancel(t.Context())
	_, inner := raft.NewInmemTransport("me")
	_, leader := raft.NewInmemTransport("leader")
	leader.Connect("me", inner)
	store := raft.NewInmemStore()
	f := &follower{t, &journal{LogStore: store, stable: store}, leader, &takingOver{}}
	var r *raft.Raft
	nt := newNewsTransport(ctx, inner, func() bool { return true }, nil, asItIs, followsNobody)
	var snapshots raft.SnapshotStore = raft.NewInmemSnapshotStore()
	if settles {
		snapshots = strictSnapshots{snapshots, f.log}
		node := func() *Node {
			return &Node{id: "me", raft: r, transport: inner, stores: &stores{logs: f.log, snapshots: snapshots}}
		}
		nt.settle = func(q *raft.AppendEntriesRequest) *raft.AppendEntriesRequest { return node().settle(q) }
		nt.answered = func(rpc *raft.RPC) bool { return node().answered(rpc) }
	}
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger = "me", hclog.NewNullLogger()
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = time.Hour, time.Hour // no election: the test leads
	must(t, raft.BootstrapCluster(cfg, store, store, snapshots, nt, bothServers))
	r, err := raft.NewRaft(cfg, f.state, f.log, store, snapshots, nt)
	must(t, err)
	var all sync.WaitGroup
	all.Go(func() { nt.run(ctx, func(told) (ready, moot bool) { return false, true }) })
	t.Cleanup(func() {
		must(t, r.Shutdown().Error())
		cancel()
		all.Wait()
	})
	return f
}

var bothServers = raft.Configuration{Servers: []raft.Server{{ID: "me", Address: "me"}, {ID: "leader", Address: "leader"}}}

// hears sends what the leader of a term has after an entry, and tells whether it was taken.
func (f *follower) hears(term, prev, prevTerm, committed uint64, logs ...*raft.Log) bool {
	f.t.Helper()
	var answer raft.AppendEntriesResponse
	must(f.t, f.leader.AppendEntries("me", "me", &raft.AppendEntriesRequest{
		RPCHeader: f.header(), Term: term, PrevLogEntry: prev, PrevLogTerm: prevTerm, Entries: logs, LeaderCommitIndex: committed,
	}, &answer))
	return answer.Success
}

func (f *follower) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"), Addr: f.leader.EncodePeer("leader", "leader")}
}

// installs sends the leader's snapshot, and expects that it is taken.
func (f *follower) installs(term, index, indexTerm uint64) {
	f.t.Helper()
	if !f.sent(term, index, indexTerm) {
		f.t.Fatalf("the snapshot of entry %d was refused", index)
	}
}

// sent sends the leader's snapshot, and tells whether it was taken.
func (f *follower) sent(term, index, indexTerm uint64) bool {
	f.t.Helper()
	var answer raft.InstallSnapshotResponse
	err := f.leader.InstallSnapshot("me", "me", &raft.InstallSnapshotRequest{
		RPCHeader: f.header(), SnapshotVersion: raft.SnapshotVersionMax, Term: term, LastLogIndex: index, LastLogTerm: indexTerm,
		Configuration: raft.EncodeConfiguration(bothServers), ConfigurationIndex: 1,
	}, &answer, bytes.NewReader(nil))
	return err == nil && answer.Success
}

// terms are those of the entries in the log, 0 for one that is missing.
func (f *follower) terms(first, last uint64) (terms []uint64) {
	for i := first; i <= last; i++ {
		term, _ := f.log.termOf(i)
		terms = append(terms, term)
	}
	return terms
}

// TestTailThatWasNotCommittedAfterASnapshot: a follower that was sent a snapshot, and after it
// entries that their leader did not get committed, takes those of the next leader. Raft alone
// refuses them, and whatever that leader sends instead.
func TestTailThatWasNotCommittedAfterASnapshot(t *testing.T) {
	for _, settles := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFollower(t, settles)
			f.installs(2, 10, 2)
			if !f.hears(2, 10, 2, 10, ofTerm(11, 13, 2)...) {
				t.Fatal("the entries after the snapshot were refused")
			}
			next := ofTerm(11, 11, 3)
			if got := f.hears(3, 10, 2, 10, next...); got != settles {
				t.Fatalf("settles %t: the next leader's entry was taken: %t", settles, got)
			}
			if !settles {
				f.installs(3, 10, 2) // which is what the leader does then
				if f.hears(3, 10, 2, 10, next...) {
					t.Error("raft alone takes the entries after all: this test says nothing")
				}
				return
			}
			if got, want := f.terms(9, 13), []uint64{0, 0, 3, 0, 0}; !slices.Equal(got, want) {
				t.Errorf("the log holds terms %v, want %v", got, want)
			}
		})
	}
}

// TestSnapshotReplacesWhatContradictsIt: entries that their leader did not get committed do not
// outlive the snapshot that a later leader sends, to be handed on to others.
func TestSnapshotReplacesWhatContradictsIt(t *testing.T) {
	for _, settles := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFollower(t, settles)
			if !f.hears(2, 0, 0, 3, ofTerm(2, 8, 2)...) {
				t.Fatal("the first entries were refused")
			}
			f.installs(4, 20, 4)
			if !f.hears(4, 20, 4, 20, ofTerm(21, 22, 4)...) {
				t.Fatal("the entries after the snapshot were refused")
			}
			want := []uint64{0, 0, 0, 4, 4}
			if !settles {
				want = []uint64{2, 2, 0, 4, 4}
			}
			if got := append(f.terms(7, 8), f.terms(20, 22)...); !slices.Equal(got, want) {
				t.Errorf("settles %t: the log holds terms %v, want %v", settles, got, want)
			}
		})
	}
}

// TestSnapshotThatCannotBeReadLeavesTheLog: what is not applied yet is in the log, and nowhere
// else, until the state has been made from the snapshot. Raft panics over an entry that is gone.
func TestSnapshotThatCannotBeReadLeavesTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, true)
		if !f.hears(2, 0, 0, 3, ofTerm(2, 8, 2)...) {
			t.Fatal("the first entries were refused")
		}
		f.state.faulty.Store(true)
		if f.sent(2, 20, 2) {
			t.Fatal("a snapshot was taken that cannot be read")
		}
		if got, want := f.terms(2, 8), []uint64{2, 2, 2, 2, 2, 2, 2}; !slices.Equal(got, want) {
			t.Errorf("the log holds terms %v, want %v", got, want)
		}
		if !f.hears(2, 8, 2, 9, ofTerm(9, 9, 2)...) {
			t.Error("the next entry was refused")
		}
		f.state.faulty.Store(false)
		f.installs(2, 20, 2)
		if got := f.terms(2, 9); !slices.Equal(got, make([]uint64, 8)) {
			t.Errorf("the log holds terms %v, want none", got)
		}
	})
}

// TestSnapshotOfWhatIsAppliedChangesNothing: raft alone goes back to it, and panics over the
// next message, for its log does not reach back so far.
func TestSnapshotOfWhatIsAppliedChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, true)
		f.installs(2, 20, 2)
		if !f.hears(2, 20, 2, 22, ofTerm(21, 22, 2)...) {
			t.Fatal("the entries after the snapshot were refused")
		}
		f.installs(2, 10, 2)
		if !f.hears(2, 22, 2, 23, ofTerm(23, 23, 2)...) {
			t.Error("the next entry was refused")
		}
		if got, want := f.terms(20, 23), []uint64{0, 2, 2, 2}; !slices.Equal(got, want) {
			t.Errorf("the log holds terms %v, want %v", got, want)
		}
	})
}

// TestSnapshotOfWhatTheLogHoldsKeepsIt: for those who lack no more than a few entries.
func TestSnapshotOfWhatTheLogHoldsKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, true)
		if !f.hears(2, 0, 0, 8, ofTerm(2, 8, 2)...) {
			t.Fatal("the first entries were refused")
		}
		f.installs(2, 6, 2)
		if got, want := f.terms(2, 8), []uint64{2, 2, 2, 2, 2, 2, 2}; !slices.Equal(got, want) {
			t.Errorf("the log holds terms %v, want %v", got, want)
		}
	})
}
