package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// A read that arrives while a round is under way must wait for the next: the
// answers of this one may be older than the read.
func TestReadTakesPartInNoRoundThatBeganBefore(t *testing.T) {
	n := &Node{}
	n.ctx, n.cancel = context.WithCancel(t.Context())
	defer n.cancel()
	began, finish := make(chan uint64, 9), make(chan struct{})
	var round uint64
	r := newRounds(n, func(context.Context) (uint64, error) {
		round++
		began <- round
		<-finish
		return round, nil
	})
	join := func() <-chan uint64 {
		got := make(chan uint64, 1)
		go func() {
			index, err := r.join(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- index
		}()
		return got
	}
	waiting := func(want int) func() error {
		return func() error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.waiting) != want {
				return fmt.Errorf("%d reads wait, want %d", len(r.waiting), want)
			}
			return nil
		}
	}
	first := join()
	<-began
	second, third := join(), join()
	eventually(t, waiting(2))
	finish <- struct{}{}
	if got := <-first; got != 1 {
		t.Errorf("the first read was answered by round %d, want 1", got)
	}
	if got := <-began; got != 2 {
		t.Errorf("round %d began, want 2", got)
	}
	finish <- struct{}{}
	for _, r := range []<-chan uint64{second, third} {
		if got := <-r; got != 2 {
			t.Errorf("a read that came during round 1 was answered by round %d, want 2", got)
		}
	}
	n.awaitWork()
}

func TestVotersOfALaterTermProveNothing(t *testing.T) {
	h := newHouse(t, 3)
	leader := h.leader()
	term := leader.raft.CurrentTerm()
	must(t, leader.confirm(t.Context(), term))
	for _, wrong := range []uint64{term - 1, term + 1} {
		if err := leader.confirm(t.Context(), wrong); err == nil {
			t.Errorf("the voters, in term %d, confirmed term %d", term, wrong)
		}
	}
	if _, err := h.followers()[0].proveIndex(t.Context()); !errors.Is(err, errNotLeader) {
		t.Errorf("a follower proved that it leads: %v", err)
	}
}

func TestFollowerWaitsUntilItHasApplied(t *testing.T) {
	h := newHouse(t, 3)
	follower := h.followers()[0]
	follower.machine.hold.Lock() // it lags
	h.leader().propose(set("a", "1"))
	err := follower.ReadIndex(within(t, 300*time.Millisecond))
	follower.machine.hold.Unlock()
	if err == nil {
		t.Error("a read was answered before the write that preceded it was applied")
	}
	must(t, follower.ReadIndex(t.Context()))
	if got := follower.machine.get("a"); got != "1" {
		t.Errorf("a = %q, want 1", got)
	}
}

// TestReadDoesNotWaitForWhoLedBefore: a leader that is cut off does not answer, and whoever
// asked it asks again as soon as another leads.
func TestReadDoesNotWaitForWhoLedBefore(t *testing.T) {
	h := newHouse(t, 3)
	silent, follower := h.leader(), h.followers()[0]
	asked := make(chan struct{}, 1)
	silent.proofs.ask = func(ctx context.Context) (uint64, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return 0, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := follower.askIndex(ctx)
		answered <- err
	}()
	<-asked
	must(t, silent.raft.LeadershipTransfer().Error())
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("the question to the peer that led ended with %v", err)
	}
	must(t, follower.ReadIndex(t.Context()))
}

func TestManyReadsAndWritesAtOnce(t *testing.T) {
	h := newHouse(t, 3)
	var all sync.WaitGroup
	for i := range 30 {
		p := h.peers[i%3]
		all.Go(func() {
			key := fmt.Sprint("k", i)
			if _, err := p.Propose(t.Context(), set(key, "v")); err != nil {
				t.Error(err)
			}
			reader := h.peers[(i+1)%3]
			if err := reader.ReadIndex(t.Context()); err != nil {
				t.Error(err)
			}
			if got := reader.machine.get(key); got != "v" {
				t.Errorf("%s = %q after its write was answered, want v", key, got)
			}
		})
	}
	all.Wait()
}
