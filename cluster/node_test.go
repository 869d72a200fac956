package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
)

func TestOnePeerRemembers(t *testing.T) {
	h := newHouse(t, 1)
	p := h.peers[0]
	if got, want := p.propose(set("a", "1")), "a=1"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	must(t, p.ReadIndex(t.Context()))
	p.close()

	p.open()
	if got := p.machine.get("a"); got != "1" {
		t.Errorf("after a restart a = %q, want 1", got)
	}
	if got, want := p.propose(set("b", "2")), "b=2"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
}

func TestThreePeersAgree(t *testing.T) {
	h := newHouse(t, 3)
	for i, p := range h.peers {
		key := fmt.Sprint("k", i)
		if got, want := p.propose(set(key, "v")), key+"=v"; got != want {
			t.Errorf("peer %d answered %q, want %q", i, got, want)
		}
		for j, other := range h.peers {
			must(t, other.ReadIndex(t.Context()))
			if got := other.machine.get(key); got != "v" {
				t.Errorf("peer %d read %s = %q, want v", j, key, got)
			}
		}
	}
}

func TestLeaderIsKilled(t *testing.T) {
	h := newHouse(t, 3)
	old := h.leader()
	old.propose(set("before", "1"))
	old.kill()
	began := time.Now()
	rest := h.peers[slices.IndexFunc(h.peers, func(p *peer) bool { return p.running })]
	rest.propose(set("after", "2"))
	t.Logf("killed to next acknowledged write: %s", time.Since(began))
	for _, p := range h.peers {
		if !p.running {
			continue
		}
		must(t, p.ReadIndex(t.Context()))
		if p.machine.get("before") != "1" || p.machine.get("after") != "2" {
			t.Errorf("peer %s lost a write", p.identity.Name)
		}
	}
	old.open()
	must(t, old.ReadIndex(t.Context()))
	if got := old.machine.get("after"); got != "2" {
		t.Errorf("the killed peer came back and read after = %q, want 2", got)
	}
}

func TestClosingLeaderHandsOver(t *testing.T) {
	h := newHouse(t, 3)
	old := h.leader()
	term := old.raft.CurrentTerm()
	old.close()
	leader := h.leader()
	if got, want := leader.raft.CurrentTerm(), term+1; got != want {
		t.Errorf("term %d after the hand-over, want %d: somebody had to run for it", got, want)
	}
}

func TestCommandSentAgainIsAppliedOnce(t *testing.T) {
	h := newHouse(t, 3)
	c := set("a", "1")
	h.peers[0].propose(c)
	before := h.leader().machine.times()
	for _, p := range h.peers {
		if got := p.propose(c); got != "again" {
			t.Errorf("answer %q, want again", got)
		}
	}
	if got := h.leader().machine.times(); got != before {
		t.Errorf("%d commands took effect, want %d", got, before)
	}
}

func TestNothingIsAnsweredWithoutQuorum(t *testing.T) {
	h := newHouse(t, 3, func(c *Config) { c.ProposeTimeout = time.Second })
	var last *peer
	write := set("a", "1")
	h.eventually(func() (err error) { // a second may be too short on a busy machine
		last = h.leader()
		_, err = last.Propose(t.Context(), write)
		return err
	})
	for _, p := range h.peers {
		if p != last {
			p.kill()
		}
	}
	_, err := last.Propose(t.Context(), set("b", "2"))
	wantKind(t, err, api.Unavailable)
	if err != nil && !strings.Contains(err.Error(), "outcome unknown") {
		t.Errorf("the error does not say that the outcome is unknown: %v", err)
	}
	began := time.Now()
	wantKind(t, last.ReadIndex(t.Context()), api.Unavailable)
	if took := time.Since(began); took > readTime+500*time.Millisecond {
		t.Errorf("the read failed after %s, want at most %s", took, readTime)
	}
	h.eventually(func() error {
		if err := last.Quorum(); !api.IsKind(err, api.Unavailable) {
			return fmt.Errorf("Quorum says %v", err)
		}
		return nil
	})
	if got := last.machine.get("a"); got != "1" {
		t.Errorf("the local state has a = %q, want 1", got)
	}
	if age := last.Age(); age < time.Second || age > time.Minute {
		t.Errorf("the local state is %s old, want some seconds", age)
	}
}

func TestCallerMayGiveUp(t *testing.T) {
	h := newHouse(t, 2)
	follower := h.followers()[0]
	h.leader().kill()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := follower.Propose(ctx, set("a", "1")); !errors.Is(err, context.Canceled) {
		t.Errorf("propose: %v, want context.Canceled", err)
	}
	if err := follower.ReadIndex(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v, want context.Canceled", err)
	}
}

func TestLeaderThatIsCutOffServesNothingOld(t *testing.T) {
	h := newHouse(t, 3)
	old := h.leader()
	old.propose(set("a", "old"))
	h.cutOff(old)
	others := slices.DeleteFunc(slices.Clone(h.peers), func(p *peer) bool { return p == old })
	others[0].propose(set("a", "new"))
	if err := old.ReadIndex(within(t, time.Second)); err == nil {
		t.Errorf("cut off it read a = %q", old.machine.get("a"))
	}
	if got := old.machine.get("a"); got != "old" {
		t.Errorf("its local state has a = %q, want old", got)
	}
	h.heal(old)
	must(t, old.ReadIndex(t.Context()))
	if got := old.machine.get("a"); got != "new" {
		t.Errorf("back again it read a = %q, want new", got)
	}
}

func TestPeerAloneShowsWhatItHadApplied(t *testing.T) {
	h := newHouse(t, 3)
	for i := range 20 {
		h.peers[i%3].propose(set(fmt.Sprint("k", i), "v"))
	}
	alone := h.followers()[0]
	must(t, alone.ReadIndex(t.Context()))
	for _, p := range h.peers {
		p.kill()
	}
	alone.open()
	for i := range 20 {
		if got := alone.machine.get(fmt.Sprint("k", i)); got != "v" {
			t.Errorf("k%d = %q, want v", i, got)
		}
	}
	if age := alone.Age(); age <= 0 || age > time.Minute {
		t.Errorf("its state is %s old, want some seconds", age)
	}
	for _, p := range h.peers {
		if p != alone {
			p.open()
		}
	}
	alone.propose(set("together", "again"))
}

func TestLongLogIsReplayed(t *testing.T) {
	// More than fits into the channel that raft v1.8.0 fills before anybody reads it.
	const n = 128*64 + 500
	h := newHouse(t, 1)
	p := h.peers[0]
	p.close()
	bolt, err := openBolt(boltPath(p.dir))
	must(t, err)
	last, err := bolt.LastIndex()
	must(t, err)
	var logs []*raft.Log
	for i := range uint64(n) {
		frame, err := encodeFrame(time.Now(), set("n", fmt.Sprint(i)))
		must(t, err)
		logs = append(logs, &raft.Log{Index: last + 1 + i, Term: 1, Data: frame})
	}
	checked, values, err := withChecksums(bolt.path, bolt, bolt)
	must(t, err)
	j := &journal{LogStore: checked, stable: values}
	must(t, j.StoreLogs(logs))
	must(t, j.note(last+n))
	must(t, bolt.Close())

	p.open()
	if got, want := p.machine.get("n"), fmt.Sprint(n-1); got != want {
		t.Errorf("n = %q, want %q", got, want)
	}
	p.propose(set("m", "1"))
}

// TestSnapshotAtTheEnd: what was applied is in a snapshot when a peer was stopped,
// a leader without its majority too.
func TestSnapshotAtTheEnd(t *testing.T) {
	h := newHouse(t, 2, func(c *Config) { c.SnapshotAtEnd = true })
	leader, other := h.leader(), h.followers()[0]
	leader.propose(set("a", "1"))
	must(t, other.ReadIndex(t.Context()))
	index := leader.machine.Index()
	for _, p := range []*peer{other, leader} {
		p.close()
		store, err := raft.NewFileSnapshotStore(filepath.Join(p.dir, "raft"), 2, io.Discard)
		must(t, err)
		found, err := store.List()
		if err != nil || len(found) == 0 || found[0].Index < index {
			t.Errorf("snapshots of %s: %v, %v; one at %d is wanted", p.id, found, err, index)
		}
	}
}

func TestDamagedEntryStopsThePeer(t *testing.T) {
	h := newHouse(t, 1)
	p := h.peers[0]
	p.propose(set("a", "1"))
	index := p.machine.Index()
	p.propose(set("b", "2"))
	p.close()
	bolt, err := openBolt(boltPath(p.dir))
	must(t, err)
	var l raft.Log
	must(t, bolt.GetLog(index, &l))
	l.Data[len(l.Data)-3] ^= 1
	must(t, bolt.StoreLog(&l))
	must(t, bolt.Close())

	err = p.tryOpen()
	if err == nil {
		p.close()
		t.Fatal("the peer started over a damaged entry")
	}
	for _, part := range []string{fmt.Sprintf("log entry %d does not match its checksum", index), "raft.db", "join the cluster again"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error is %q; want %q in it", err, part)
		}
	}
	if got := p.machine.get("b"); got != "" {
		t.Errorf("the entry after the damaged one was applied: b = %q", got)
	}
}

func TestCommandThatTheMachineCannotReadStopsThePeer(t *testing.T) {
	h := newHouse(t, 1, func(c *Config) { c.ProposeTimeout = time.Second })
	p := h.peers[0]
	_, err := p.Propose(t.Context(), []byte("not a command"))
	wantKind(t, err, api.Unavailable)
	if err := p.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be applied") {
		t.Errorf("Wait gives %v; want the sentence", err)
	}
	_, err = p.Propose(t.Context(), set("a", "1"))
	wantKind(t, err, api.Unavailable)
	wantKind(t, p.ReadIndex(t.Context()), api.Unavailable)
	if _, err := p.replica.Snapshot(); !errors.Is(err, errHalted) {
		t.Errorf("a snapshot of a stopped machine: %v", err)
	}
}

func TestNewcomerGetsASnapshotWhenTheLogIsShort(t *testing.T) {
	h := newHouse(t, 1, func(c *Config) { c.TrailingLogs = 1 })
	first := h.peers[0]
	for i := range 50 {
		first.propose(set(fmt.Sprint("k", i), "v"))
	}
	must(t, first.Snapshot(t.Context()))
	must(t, first.Snapshot(t.Context())) // nothing new is no error
	if from, err := first.stores.logs.FirstIndex(); err != nil || from < 2 {
		t.Fatalf("the log begins at %d, %v; it was to be shortened", from, err)
	}
	late := h.join()
	must(t, late.ReadIndex(t.Context()))
	if got := late.machine.get("k7"); got != "v" {
		t.Errorf("k7 = %q, want v", got)
	}
	installed, err := late.stores.snapshots.List()
	must(t, err)
	if len(installed) != 1 {
		t.Errorf("%d snapshots were installed, want 1", len(installed))
	}
	h.eventually(func() error {
		if len(voters(first.Servers())) != 2 {
			return errors.New("the newcomer is no voter")
		}
		return nil
	})
	late.close()
	late.open()
	if got := late.machine.get("k49"); got != "v" {
		t.Errorf("after a restart k49 = %q, want v", got)
	}
}

// TestNewcomerComesToAShortLog: who joins a log that has not been shortened for long is sent
// a snapshot of now; one that is short is left as it is.
func TestNewcomerComesToAShortLog(t *testing.T) {
	h := newHouse(t, 1, func(c *Config) { c.TrailingLogs = 40 })
	first := h.peers[0]
	h.join()
	if last, err := first.lastSnapshot(); err != nil || last != 0 {
		t.Errorf("a snapshot was taken at %d, %v, of a short log", last, err)
	}
	for i := range 100 {
		first.propose(set(fmt.Sprint("k", i), "v"))
	}
	before := first.machine.Index()
	late := h.join()
	must(t, late.ReadIndex(t.Context()))
	if got := late.machine.get("k99"); got != "v" {
		t.Errorf("k99 = %q, want v", got)
	}
	installed, err := late.lastSnapshot()
	if must(t, err); installed < before {
		t.Errorf("the newcomer was sent a snapshot of %d, want one of %d or later", installed, before)
	}
	if from, err := late.stores.logs.FirstIndex(); err != nil || 0 < from && from <= installed {
		t.Errorf("the newcomer has the log from %d on, %v; want what comes behind %d alone", from, err, installed)
	}
}

func TestPeersFindEachOtherAgain(t *testing.T) {
	h := newHouse(t, 3)
	away := h.followers()[0]
	away.close()

	// While it is away a peer joins, becomes a voter in its place and leads; and
	// the one that it knows lives at other addresses.
	gone := h.leader()
	newcomer := h.join()
	gone.propose(command{ID: uuid.NewString(), Leaves: gone.id}.bytes())
	h.eventually(func() error {
		leader := h.leader()
		if len(leader.Servers()) != 3 || leader == gone || !slices.Contains(voters(leader.Servers()), newcomer.id) {
			return fmt.Errorf("the servers are %v", leader.Servers())
		}
		return nil
	})
	gone.close()
	if h.leader() != newcomer {
		must(t, h.leader().raft.LeadershipTransferToServer(raft.ServerID(newcomer.id), raft.ServerAddress(newcomer.id)).Error())
	}
	h.eventually(func() error {
		if !newcomer.IsLeader() {
			return errors.New("the newcomer does not lead")
		}
		return nil
	})
	newcomer.propose(set("a", "1"))

	away.at = api.PeerAddresses{} // another port for everything
	away.open()
	moved := away.member()
	newcomer.propose(command{ID: uuid.NewString(), Member: &moved}.bytes())
	h.eventually(func() error { return away.ReadIndex(within(t, time.Second)) })
	if got := away.machine.get("a"); got != "1" {
		t.Errorf("a = %q, want 1", got)
	}
	h.eventually(func() error {
		identity, err := LoadIdentity(away.dir)
		must(t, err)
		if !slices.ContainsFunc(identity.Peers, func(m Member) bool { return m.ID == newcomer.id }) ||
			slices.ContainsFunc(identity.Peers, func(m Member) bool { return m.ID == gone.id }) {
			return fmt.Errorf("known.json has %d peers, not those of the tables", len(identity.Peers))
		}
		return nil
	})
}

func TestWhileLeader(t *testing.T) {
	h := newHouse(t, 3)
	type call struct {
		peer   *peer
		ended  chan struct{} // closed when its context has ended
		finish chan struct{} // closed by the test: the function returns
	}
	calls := make(chan call, 9)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, p := range h.peers {
		all.Go(func() {
			p.WhileLeader(ctx, func(ctx context.Context) error {
				c := call{p, make(chan struct{}), make(chan struct{})}
				calls <- c
				<-ctx.Done()
				close(c.ended)
				<-c.finish
				return ctx.Err()
			})
		})
	}
	first := <-calls
	if first.peer != h.leader() {
		t.Error("the work runs where nobody leads")
	}
	must(t, first.peer.TransferLeadership(t.Context(), ""))
	<-first.ended
	second := <-calls
	if second.peer == first.peer {
		t.Error("the next term began before the work of the last had ended")
	}

	// Back to the first: its next term must wait until its function has returned.
	id := first.peer.id
	h.eventually(func() error {
		return second.peer.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(id)).Error()
	})
	<-second.ended
	h.eventually(func() error {
		if !first.peer.IsLeader() {
			return errors.New("the first peer does not lead again")
		}
		return nil
	})
	select {
	case <-calls:
		t.Error("two terms of one peer ran at once")
	default:
	}
	close(first.finish)
	third := <-calls
	stop()
	<-third.ended
	close(second.finish)
	close(third.finish)
	all.Wait()

	failed := errors.New("failed")
	if err := h.leader().WhileLeader(t.Context(), func(context.Context) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("WhileLeader gives %v, want the error of its function", err)
	}
}

// TestPeerThatMovedIsFound: a follower comes back at another address, while its row,
// which it alone changes, has the old one: it hears of the leader all the same.
func TestPeerThatMovedIsFound(t *testing.T) {
	h := newHouse(t, 3)
	moved := h.followers()[0]
	moved.close()
	moved.at = api.PeerAddresses{}
	moved.open()
	h.leader().propose(set("key", "value"))
	h.eventually(func() error {
		if leader, _ := moved.Leader(); leader == "" || moved.machine.get("key") != "value" {
			return fmt.Errorf("%s, which moved, sees the leader %q and has %q", moved.identity.Name, leader, moved.machine.get("key"))
		}
		return nil
	})
	moved.propose(set("key", "its own"))
}
