package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// slowToTell has raft's own messages tell followers of a commit after minutes only.
func slowToTell(c *Config) { c.CommitTimeout = 10 * time.Minute }

// TestWriteThroughAFollowerIsSeenThereAtOnce, though raft itself would tell it in minutes.
func TestWriteThroughAFollowerIsSeenThereAtOnce(t *testing.T) {
	h := newHouse(t, 3, slowToTell)
	leader, followers := h.leader(), h.followers()
	for i := range 30 {
		p, key := followers[i%2], fmt.Sprint("k", i)
		p.propose(set(key, "v"))
		must(t, p.Await(within(t, 9*time.Second), leader.replica.whole.Load()))
		if got := p.machine.get(key); got != "v" {
			t.Fatalf("%s = %q after Await, want v", key, got)
		}
	}
}

// TestReadOfAFollowerWaitsForNoMessageOfRafts: it brings what it needs.
func TestReadOfAFollowerWaitsForNoMessageOfRafts(t *testing.T) {
	h := newHouse(t, 3, slowToTell)
	for i := range 10 {
		key := fmt.Sprint("k", i)
		h.leader().propose(set(key, "v"))
		for _, p := range h.followers() {
			must(t, p.ReadIndex(within(t, 4*time.Second)))
			if got := p.machine.get(key); got != "v" {
				t.Fatalf("%s = %q, want v", key, got)
			}
		}
	}
}

// ask gives raft a message and waits for its answer.
func (p *peer) ask(m told) *raft.AppendEntriesResponse {
	p.house.t.Helper()
	answer := make(chan raft.RPCResponse, 1)
	rpc := p.news.message(m)
	rpc.RespChan = answer
	p.news.rpcs <- rpc
	r := <-answer
	must(p.house.t, r.Error)
	return r.Response.(*raft.AppendEntriesResponse)
}

// TestNewsThatIsWrongChangesNothing: in raft itself, whatever got past our own look at it.
func TestNewsThatIsWrongChangesNothing(t *testing.T) {
	h := newHouse(t, 3, slowToTell)
	leader, follower := h.leader(), h.followers()[0]
	must(t, follower.ReadIndex(within(t, 4*time.Second)))
	for i := range 5 {
		leader.propose(set(fmt.Sprint("k", i), "v"))
	}
	var last, committed uint64
	h.eventually(func() error { // until it has all entries and has not been told that the last one is committed
		if now := leader.raft.LastIndex(); now != last {
			last = now
		} else if follower.raft.CommitIndex() >= last { // it was told, on a busy machine, before we looked
			leader.propose(set("again", "v"))
			last = leader.raft.LastIndex()
		}
		if committed = follower.raft.CommitIndex(); follower.raft.LastIndex() < last || committed != last-1 { // which the last entry's message carries
			return errors.New("the follower lacks entries, or knows too much")
		}
		return nil
	})
	term := leader.raft.CurrentTerm()
	unchanged := func(what string) {
		t.Helper()
		if got := follower.raft.CommitIndex(); got != committed {
			t.Errorf("%s: commit index %d, want %d", what, got, committed)
		}
		if got := follower.raft.LastIndex(); got != last {
			t.Errorf("%s: the log ends at %d, want %d", what, got, last)
		}
		if id, now := follower.Leader(); id != leader.id || now != term {
			t.Errorf("%s: it follows %s in term %d, want %s in term %d", what, id, now, leader.id, term)
		}
		for i := uint64(1); i <= last; i++ {
			if _, have := follower.stores.logs.termOf(i); !have {
				t.Fatalf("%s: entry %d is gone", what, i)
			}
		}
	}
	for what, m := range map[string]news{
		"an older term":                    {term - 1, last},
		"an entry that is not there":       {term, last + 1},
		"one far away":                     {term, 1 << 60},
		"an entry that is of another term": {term, 1},
		"an entry of an older term":        {term - 1, 1},
	} {
		if follower.ask(told{m, leader.id}).Success {
			t.Errorf("%s: raft accepted it", what)
		}
		unchanged(what)
		if ready, _ := follower.hears(told{m, leader.id}); ready {
			t.Errorf("%s: it would be passed on", what)
		}
	}
	for what, m := range map[string]told{
		"another peer than the leader": {news{term, last}, follower.id},
		"a term to come":               {news{term + 1, last}, leader.id},
	} {
		if ready, moot := follower.hears(m); ready || !moot {
			t.Errorf("%s: ready %t, moot %t; want it dropped", what, ready, moot)
		}
		follower.news.tell(m.leader, m.news)
		h.eventually(func() error {
			if follower.news.latest.Load() != nil {
				return errors.New("it was not looked at")
			}
			return nil
		})
		unchanged(what)
	}

	// True news of an entry before the last takes nothing off after it.
	if !follower.ask(told{news{term, last - 2}, leader.id}).Success {
		t.Error("raft refused true news")
	}
	unchanged("true news of an earlier entry")
	follower.tell(leader.id, leader.newsOf(last))
	must(t, follower.Await(within(t, 9*time.Second), last))
}

// TestLeaderSaysNothingOfEarlierTerms, nor of what it does not have, nor as a follower.
func TestLeaderSaysNothingOfEarlierTerms(t *testing.T) {
	h := newHouse(t, 3)
	old := h.leader()
	old.propose(set("a", "1"))
	index := old.replica.whole.Load()
	if m := old.newsOf(index); m != (news{old.raft.CurrentTerm(), index}) {
		t.Errorf("the leader says %+v of its own entry", m)
	}
	for _, elsewhere := range []uint64{0, 1, 1 << 60} {
		if m := old.newsOf(elsewhere); m.term != 0 {
			t.Errorf("the leader says %+v of entry %d", m, elsewhere)
		}
	}
	must(t, old.TransferLeadership(t.Context(), ""))
	var leader *peer
	h.eventually(func() error {
		if leader = h.leader(); leader == old {
			return errors.New("the old one leads still")
		}
		return nil
	})
	must(t, leader.ReadIndex(t.Context()))
	for _, p := range []*peer{leader, old} {
		if m := p.newsOf(index); m.term != 0 {
			t.Errorf("%s says %+v of an entry of an earlier term", p.identity.Name, m)
		}
	}
}

// TestNewsWaitsForItsEntry: raft hears it after the entry, and other messages meanwhile.
func TestNewsWaitsForItsEntry(t *testing.T) {
	_, inner := raft.NewInmemTransport("me")
	var mu sync.Mutex
	have := uint64(4)
	nt := newNewsTransport(t.Context(), inner, nil, nil, asItIs, followsNobody)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		nt.run(ctx, func(m told) (ready, moot bool) {
			mu.Lock()
			defer mu.Unlock()
			return m.term == 7 && m.index <= have, m.term != 7
		})
	})
	defer all.Wait()
	defer cancel()
	_, sender := raft.NewInmemTransport("peer")
	sender.Connect("me", inner)
	defer sender.Close()
	passOn := func() {
		t.Helper()
		all.Go(func() {
			sender.AppendEntries("me", "me", &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{})
		})
		rpc := <-nt.Consumer()
		if a := rpc.Command.(*raft.AppendEntriesRequest); a.Term != 1 {
			t.Fatalf("raft heard %+v, want the other peer's message", a)
		}
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	}
	nt.tell("peer", news{7, 5})
	nt.tell("peer", news{7, 3}) // older
	nt.tell("peer", news{6, 9}) // of an older term
	nt.tell("peer", news{0, 9}) // none
	passOn()
	mu.Lock()
	have = 5
	mu.Unlock()
	nt.look()
	heard := (<-nt.Consumer()).Command.(*raft.AppendEntriesRequest)
	if heard.Term != 7 || heard.PrevLogEntry != 5 || heard.PrevLogTerm != 7 || heard.LeaderCommitIndex != 5 || len(heard.Entries) != 0 || string(heard.ID) != "peer" {
		t.Errorf("raft heard %+v", heard)
	}
	nt.tell("peer", news{8, 1}) // moot
	nt.look()
	passOn()
}
