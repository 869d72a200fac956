package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// readTime is how long a linearizable read may wait for proof.
const readTime = 5 * time.Second

// proofTime is how long one voter may take to confirm a term.
const proofTime = time.Second

// ReadIndex returns once the machine here holds everything that was answered
// before the call, on any peer. It takes a majority of the voters: without one
// it fails with an *api.Error of kind Unavailable, after 5 s at most.
//
// raft's own VerifyLeader is not used: it takes an answer to a heartbeat that
// was sent before the read for a proof, so a leader that was paused and cut off
// serves old state. Here the voters are asked after the read has arrived.
func (n *Node) ReadIndex(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	for {
		if halt := n.failed(); halt != nil {
			return api.Errorf(api.Unavailable, "cluster.read", "this peer has stopped: %w", halt)
		}
		turned := n.turn.wait()
		began := n.cfg.Now()
		index, err := n.reads.join(limited)
		if err == nil {
			err = n.replica.await(limited, n.ctx.Done(), index)
		}
		if err == nil {
			n.contacts.confirmed(began)
			return nil
		}
		select {
		case <-turned:
		case <-time.After(retryPause):
		case <-limited.Done():
			return unproven(ctx, err)
		case <-n.ctx.Done():
			return unproven(ctx, err)
		}
	}
}

func unproven(ctx context.Context, last error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("read: %w", ctx.Err())
	}
	return api.Errorf(api.Unavailable, "cluster.read",
		"no majority of the voters could confirm that this is the newest state. Try again, or read what this peer has (?consistency=local, on the command line --local): %w", last)
}

// askIndex is the index that a read on this peer must wait for. It stops waiting for
// a leader's answer when another leads: one that was cut off never gives it.
func (n *Node) askIndex(ctx context.Context) (uint64, error) {
	leader, led := n.sight.now()
	switch leader {
	case "":
		return 0, errors.New("no leader is in sight")
	case n.id:
		return n.proofs.join(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(led, cancel)()
	answer, err := n.calls.call(ctx, leader, askReadIndex, nil)
	if err != nil {
		return 0, err
	}
	m, _, err := decodeNews(answer)
	if err != nil {
		return 0, err
	}
	n.tell(leader, m)
	return m.index, nil
}

// callTerm asks a peer for its term.
func (n *Node) callTerm(ctx context.Context, id string) (uint64, error) {
	answer, err := n.calls.call(ctx, id, askTerm, nil)
	if err != nil {
		return 0, err
	}
	if len(answer) != 8 {
		return 0, fmt.Errorf("peer %s answered %d bytes, a term has 8", id, len(answer))
	}
	return binary.BigEndian.Uint64(answer), nil
}

func (n *Node) answerReadIndex(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	index, err := n.proofs.join(ctx)
	if errors.Is(err, errNotLeader) {
		return nil, err
	}
	if err != nil {
		return nil, api.Errorf(api.Unavailable, "cluster.read", "the leader cannot prove that it leads: %w", err)
	}
	return n.newsOf(index).encode(nil), nil
}

// proveIndex notes what the machine holds and then proves that this peer led
// after that. The machine has applied every entry that this leader acknowledged
// and, by the barrier, every one of earlier terms. A voter stores a later term
// before it votes in it; so when a majority, asked now, still has this term, no
// other leader was elected before, and nobody can have acknowledged anything that
// is missing here.
func (n *Node) proveIndex(ctx context.Context) (uint64, error) {
	if planted.Is(planted.VerifyLeaderReads) { // an old leader, or one without its barrier, serves old state
		return n.replica.whole.Load(), n.await(ctx, n.raft.VerifyLeader())
	}
	r, ok := n.term.now()
	if !ok {
		return 0, errNotLeader
	}
	index := n.replica.whole.Load()
	if err := n.confirm(ctx, r.term); err != nil {
		return 0, err
	}
	if now, yes := n.leads(); !yes || now != r.term {
		return 0, errNotLeader
	}
	return index, nil
}

// confirm asks the voters for their terms and returns when a majority, this
// peer among them, has exactly this one.
func (n *Node) confirm(ctx context.Context, term uint64) error {
	ids := voters(n.Servers())
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	answers := make(chan error, len(ids))
	for _, id := range ids {
		if id == n.id {
			answers <- nil
			continue
		}
		go func() { answers <- n.confirmAt(ctx, id, term) }()
	}
	yes, last := 0, errNotLeader
	for range ids {
		if err := <-answers; err != nil {
			last = err
		} else if yes++; yes > len(ids)/2 {
			return nil
		}
	}
	return fmt.Errorf("%d of %d voters confirm term %d: %w", yes, len(ids), term, last)
}

func (n *Node) confirmAt(ctx context.Context, id string, term uint64) error {
	there, err := n.callTerm(ctx, id)
	if err == nil && there != term {
		err = fmt.Errorf("peer %s is in term %d", id, there)
	}
	return err
}

// awaitTime is how long Await waits at most.
const awaitTime = 10 * time.Second

// Await returns once the machine here has applied the entry at index, all of its
// commands: after a write that another peer led, the tables here show it then. An
// *api.Error of kind Unavailable if ctx ends first, after 10 s, and when this peer
// stops: what was written is not in doubt by that.
func (n *Node) Await(ctx context.Context, index uint64) error {
	if n.replica.whole.Load() >= index {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, awaitTime)
	defer cancel()
	if err := n.replica.await(ctx, n.ctx.Done(), index); err != nil {
		return api.Errorf(api.Unavailable, "cluster.await", "this peer does not have entry %d of the log yet: the change itself is made, ask again or ask another peer: %w", index, err)
	}
	return nil
}

// await waits until the machine has applied index, or until over is closed.
func (r *replica) await(ctx context.Context, over <-chan struct{}, index uint64) error {
	for {
		applied := r.applied.wait()
		if r.whole.Load() >= index {
			return nil
		}
		select {
		case <-applied:
		case <-ctx.Done():
			return fmt.Errorf("this peer has applied entry %d, %d is needed: %w", r.whole.Load(), index, ctx.Err())
		case <-over:
			return fmt.Errorf("this peer has applied entry %d, %d is needed: %w", r.whole.Load(), index, context.Canceled)
		}
	}
}

// rounds lets all who wait share one question. Whoever joins takes part in the
// first round that begins after; never in one that is under way, for its answer
// may be older than the question.
type rounds struct {
	node *Node
	ask  func(context.Context) (uint64, error)

	mu      sync.Mutex
	running bool
	waiting []chan outcome
}

type outcome struct {
	index uint64
	err   error
}

func newRounds(n *Node, ask func(context.Context) (uint64, error)) *rounds {
	return &rounds{node: n, ask: ask}
}

// join waits for the next round's outcome.
func (r *rounds) join(ctx context.Context) (uint64, error) {
	mine := make(chan outcome, 1)
	r.mu.Lock()
	r.waiting = append(r.waiting, mine)
	if !r.running {
		r.running = true
		r.node.start(r.run)
	}
	r.mu.Unlock()
	select {
	case o := <-mine:
		return o.index, o.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-r.node.ctx.Done():
		return 0, r.node.ctx.Err()
	}
}

// run holds rounds as long as somebody waits.
func (r *rounds) run() {
	for {
		r.mu.Lock()
		asking := r.waiting
		r.waiting = nil
		if len(asking) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(r.node.ctx, readTime)
		index, err := r.ask(ctx)
		cancel()
		for _, a := range asking {
			a <- outcome{index, err}
		}
	}
}
