package cluster

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
)

// retryPause is how long a proposal waits before it is tried again when nothing
// rings before.
const retryPause = 50 * time.Millisecond

// Propose gets a command into the log and gives the answer of the machine
// (MarshalBinary of what Apply returned) once a majority has it on disk and the
// leader has applied it. Any peer may be asked: one that does not lead passes it
// on, once. An election is waited out, up to ProposeTimeout or the end of ctx;
// the same bytes are sent again then, so a command must carry an id by which the
// machine knows it. After that the error is an *api.Error of kind Unavailable,
// and the command may or may not take effect. TooLarge: it fits into no entry.
func (n *Node) Propose(ctx context.Context, command []byte) ([]byte, error) {
	if _, err := encodeFrame(time.Time{}, command); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, n.cfg.ProposeTimeout)
	defer cancel()
	for {
		turned := n.turn.wait()
		answer, err := n.offer(limited, command)
		if err == nil || !retryable(err) {
			return answer, err
		}
		if halt := n.failed(); halt != nil {
			return nil, api.Errorf(api.Unavailable, "cluster.propose", "this peer has stopped; outcome unknown: %w", halt)
		}
		select {
		case <-turned:
		case <-time.After(retryPause):
		case <-limited.Done():
			return nil, n.gaveUp(ctx, err)
		case <-n.ctx.Done():
			return nil, n.gaveUp(ctx, err)
		}
	}
}

// gaveUp is what a caller hears whose proposal found no majority in time.
func (n *Node) gaveUp(ctx context.Context, last error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("propose: %w", ctx.Err())
	}
	return api.Errorf(api.Unavailable, "cluster.propose",
		"no majority of the voters confirmed the change in time, outcome unknown: it may still take effect. "+
			"Send it again with the same id or Idempotency-Key: %w", last)
}

// retryable tells whether the same command may be sent again: yes, unless it
// was understood and refused.
func retryable(err error) bool {
	e, refused := errors.AsType[*api.Error](err)
	return !refused || e.Kind == api.Unavailable
}

// offer brings the command to the leader: here, or one hop away.
func (n *Node) offer(ctx context.Context, command []byte) ([]byte, error) {
	leader, _ := n.Leader()
	switch leader {
	case "":
		return nil, errors.New("no leader is in sight")
	case n.id:
		return n.append(ctx, command)
	}
	return n.call(ctx, leader, http.MethodPost, "/peer/propose", command)
}

// servePropose takes a command that another peer passes on. It goes no further from here.
func (n *Node) servePropose(r *http.Request) (any, error) {
	if !n.book.belongs(CallerPeer(r)) {
		return nil, api.Errorf(api.Forbidden, "cluster.propose", "this peer does not belong to the cluster any more")
	}
	command, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, api.Errorf(api.TooLarge, "cluster.propose", "the change is larger than a log entry: %w", err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), n.cfg.ProposeTimeout)
	defer cancel()
	answer, err := n.append(ctx, command)
	if errors.Is(err, raft.ErrNotLeader) {
		return nil, errNotLeader
	}
	if err != nil && retryable(err) {
		return nil, api.Errorf(api.Unavailable, "cluster.propose", "the leader could not complete the change: %w", err)
	}
	return answer, err
}

// append puts the command into this peer's log as the leader, stamped with its
// time, and waits until it has been applied here.
func (n *Node) append(ctx context.Context, command []byte) ([]byte, error) {
	n.proposals.add(1)
	defer n.proposals.add(-1)
	frame, err := encodeFrame(n.cfg.Now(), command)
	if err != nil {
		return nil, err
	}
	done := make(chan raft.ApplyFuture, 1)
	go func() {
		// The future is given on when it is done, so that its answer may be read.
		f := n.raft.Apply(frame, n.cfg.ProposeTimeout)
		f.Error()
		done <- f
	}()
	select {
	case f := <-done:
		if err := f.Error(); err != nil {
			return nil, fmt.Errorf("append to the log: %w", err)
		}
		return firstAnswer(f.Response())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// firstAnswer encodes what the machine answered to an entry's only command.
func firstAnswer(response any) ([]byte, error) {
	if err, halted := response.(error); halted {
		return nil, err
	}
	answers, ok := response.([]any)
	if !ok || len(answers) == 0 || answers[0] == nil {
		return nil, nil
	}
	m, ok := answers[0].(encoding.BinaryMarshaler)
	if !ok {
		return nil, fmt.Errorf("the machine answered a %T, which cannot be encoded", answers[0])
	}
	return m.MarshalBinary()
}

// proposals counts the proposals in hand.
type proposals struct {
	mu      sync.Mutex
	count   int
	changed bell
}

func (p *proposals) add(delta int) {
	p.mu.Lock()
	p.count += delta
	p.mu.Unlock()
	p.changed.ring()
}

// drain gives them a moment to end: raft forgets those that it has not applied
// when it shuts down.
func (p *proposals) drain(limit time.Duration) {
	timeout := time.After(limit)
	for {
		changed := p.changed.wait()
		p.mu.Lock()
		none := p.count == 0
		p.mu.Unlock()
		if none {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			return
		}
	}
}
