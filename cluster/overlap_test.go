package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

// overlapping is a disk whose writes go on beside raft, above one that a test holds.
func overlapping(t *testing.T) (*disk, *badDisk, *[]error) {
	below := &badDisk{InmemStore: raft.NewInmemStore()}
	var fatal []error
	d := &disk{LogStore: below, stable: below, fail: func(err error) { fatal = append(fatal, err) }}
	d.overlap.begin(func() bool { return true })
	return d, below, &fatal
}

// returns is closed when f has come back.
func returns(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

func waits(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
		t.Errorf("%s did not wait for the disk", what)
	default:
	}
}

func TestWriteBesideRaftIsWaitedFor(t *testing.T) {
	d, below, _ := overlapping(t)
	below.hold.Lock()
	must(t, d.StoreLogs(entries(1, 3))) // comes back though the disk is held
	var l raft.Log
	reads := map[string]<-chan struct{}{
		"a read":               returns(func() { must(t, d.GetLog(2, &l)) }),
		"a follower's answer":  returns(func() { must(t, d.onDisk(1)) }),
		"the last index":       returns(func() { d.LastIndex() }),
		"another write":        returns(func() { must(t, d.StoreLogs(entries(4, 4))) }),
		"taking entries out":   returns(func() { must(t, d.DeleteRange(1, 1)) }),
		"the end of the store": returns(func() { must(t, d.settled()) }),
	}
	must(t, d.onDisk(0)) // what was there before needs no waiting
	if err := below.GetLog(1, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Fatalf("the entry is stored though the disk is held: %v", err)
	}
	for what, done := range reads {
		waits(t, what, done)
	}
	below.hold.Unlock()
	for _, done := range reads {
		<-done
	}
	must(t, d.settled())
	if last, err := below.LastIndex(); err != nil || last != 4 {
		t.Errorf("the log ends at %d, %v; want 4", last, err)
	}
}

func TestOnlyALeadersCommandsAreWrittenBesideRaft(t *testing.T) {
	for name, c := range map[string]struct {
		ready func() bool
		logs  []*raft.Log
	}{
		"a follower, or a lone voter":    {func() bool { return false }, entries(1, 1)},
		"before raft has started":        {nil, entries(1, 1)},
		"a change of the configuration":  {func() bool { return true }, []*raft.Log{{Index: 1, Type: raft.LogConfiguration}}},
		"the first entry of a term":      {func() bool { return true }, []*raft.Log{{Index: 1, Type: raft.LogNoop}}},
		"a barrier between two commands": {func() bool { return true }, []*raft.Log{{Index: 1}, {Index: 2, Type: raft.LogBarrier}, {Index: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			d, below, _ := overlapping(t)
			d.overlap.begin(c.ready)
			must(t, d.StoreLogs(c.logs))
			if last, err := below.LastIndex(); err != nil || last != c.logs[len(c.logs)-1].Index {
				t.Errorf("StoreLogs came back with the log on disk up to %d, %v", last, err)
			}
		})
	}
}

func TestFailedWriteBesideRaftEndsThePeer(t *testing.T) {
	d, below, fatal := overlapping(t)
	below.err = io.ErrUnexpectedEOF
	must(t, d.StoreLogs(entries(1, 1)))
	if err := d.onDisk(1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a follower's answer was let through with %v", err)
	}
	below.err = nil
	if err := d.StoreLogs(entries(2, 2)); err == nil {
		t.Error("a disk that failed once was written to again")
	}
	if len(*fatal) == 0 {
		t.Error("the node was not told")
	}
}

// TestLeadersOwnDiskBelongsToTheMajority: the followers have an entry while the
// leader still writes it; nothing is committed or answered before it has it too.
func TestLeadersOwnDiskBelongsToTheMajority(t *testing.T) {
	var mu sync.Mutex
	disks := map[string]*badDisk{}
	h := newHouse(t, 3, func(c *Config) {
		mu.Lock()
		defer mu.Unlock()
		d, ok := disks[c.Identity.PeerID]
		if !ok {
			d = &badDisk{InmemStore: raft.NewInmemStore()}
			disks[c.Identity.PeerID] = d
		}
		c.Logs, c.Stable = d, d
	})
	leader := h.leader()
	leader.propose(set("a", "1"))
	mu.Lock()
	held := disks[leader.identity.PeerID]
	mu.Unlock()
	held.hold.Lock()
	before := leader.raft.CommitIndex()
	answers, errs, done := propositions(leader, [][]byte{set("a", "2")})
	h.eventually(func() error {
		for _, f := range h.followers() {
			if last := f.raft.LastIndex(); last <= before {
				return fmt.Errorf("a follower's log ends at %d, the leader has %d committed", last, before)
			}
		}
		return nil
	})
	must(t, leader.confirm(t.Context(), leader.raft.CurrentTerm())) // the followers' answers had their time
	if got := leader.raft.CommitIndex(); got != before {
		t.Errorf("the leader committed up to %d, it has only %d on disk", got, before)
	}
	for _, p := range h.peers {
		if got := p.machine.get("a"); got != "1" {
			t.Errorf("a = %q on a peer before the leader's disk had it", got)
		}
	}
	if answers[0] != "" {
		t.Errorf("the proposer was answered %q", answers[0])
	}
	held.hold.Unlock()
	done()
	must(t, errs[0])
	if answers[0] != "a=2" {
		t.Errorf("the proposer was answered %q in the end", answers[0])
	}
}
