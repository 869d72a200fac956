package cluster

import (
	"context"
	"encoding"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// retryPause is how long a proposal waits before it is tried again when nothing
// rings before.
const retryPause = 50 * time.Millisecond

// A large command waits here until few enough others of its size are under way
// from this peer, so that a bulk load cannot pile itself up in front of raft:
// they are let in one after the other, in order.
const (
	largeCommand = 64 << 10 // bytes
	largeAtOnce  = 8        // with MaxEntry: 4 MiB
)

// Groups under way at once. One each was measured to carry the most: a second
// takes commands away from the first, and the disk and the cores are shared.
const (
	maxEntriesUnderway  = 1
	maxForwardsUnderway = 1
)

// Propose gets a command into the log and gives the answer of the machine
// (MarshalBinary of what Apply returned) once a majority has it on disk and the
// leader has applied it. Any peer may be asked: one that does not lead passes it
// on, once. An election is waited out, up to ProposeTimeout or the end of ctx;
// the same bytes are sent again then, so a command must carry an id by which the
// machine knows it. After that the error is an *api.Error of kind Unavailable,
// and the command may or may not take effect. TooLarge: it fits into no entry.
func (n *Node) Propose(ctx context.Context, command []byte) ([]byte, error) {
	if err := fits(command); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, n.cfg.ProposeTimeout)
	defer cancel()
	if len(command) >= largeCommand {
		select {
		case n.large <- struct{}{}:
			defer func() { <-n.large }()
		case <-limited.Done():
			return nil, n.gaveUp(ctx, errors.New("too many large changes are under way"))
		case <-n.able.Done():
			return nil, n.gaveUp(ctx, errors.New("this peer stops"))
		}
	}
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
		case <-n.able.Done():
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
		v := n.append(ctx, command)[0]
		return v.encode()
	}
	v := n.forwards.submit(ctx, command)[0]
	return v.encode()
}

// append puts commands into this peer's log as the leader, with others that wait
// beside them, and waits until they have been applied here.
func (n *Node) append(ctx context.Context, commands ...[]byte) []verdict {
	n.proposals.add(1)
	defer n.proposals.add(-1)
	return n.groups.submit(ctx, commands...)
}

// writeEntry puts a group into this peer's log as one entry, stamped with its
// time, and waits until it has been applied here.
func (n *Node) writeEntry(commands [][]byte) []verdict {
	frame, err := encodeFrame(n.cfg.Now(), commands...)
	if err != nil {
		return all(len(commands), verdict{err: err})
	}
	f := n.raft.Apply(frame, n.cfg.ProposeTimeout)
	if _, leads := n.leads(); leads && planted.Is(planted.AckBeforeCommit) { // what no majority has is lost with this peer
		return n.foretold(n.cfg.Now(), commands)
	}
	if err := n.await(n.able, f); err != nil {
		return all(len(commands), verdict{err: fmt.Errorf("append to the log: %w", err)})
	}
	verdicts := all(len(commands), verdict{index: f.Index()}) // without answers if the replay at the start was faster
	switch r := f.Response().(type) {
	case error: // this peer has halted
		return all(len(commands), verdict{err: r})
	case []any:
		for i := range r {
			verdicts[i].answer = r[i]
		}
	}
	return verdicts
}

// forward sends a group to the leader, and stops waiting for it when another leads.
func (n *Node) forward(commands [][]byte) []verdict {
	leader, led := n.sight.now()
	if leader == "" || leader == n.id {
		return all(len(commands), verdict{err: errNotLeader})
	}
	frame, err := encodeFrame(n.cfg.Now(), commands...)
	if err != nil {
		return all(len(commands), verdict{err: err})
	}
	ctx, cancel := context.WithTimeout(led, n.cfg.ProposeTimeout)
	defer cancel()
	answer, err := n.calls.call(ctx, leader, askPropose, frame)
	if err != nil {
		return all(len(commands), verdict{err: noMember(err)})
	}
	m, answer, err := decodeNews(answer)
	if err != nil {
		return all(len(commands), verdict{err: err})
	}
	n.tell(leader, m)
	verdicts, err := decodeVerdicts(answer)
	if err == nil && len(verdicts) != len(commands) {
		err = fmt.Errorf("peer %s answered to %d commands, it was sent %d", leader, len(verdicts), len(commands))
	}
	if err != nil {
		return all(len(commands), verdict{err: err})
	}
	return verdicts
}

// noMember is what who asks this peer for something is told of the leader's refusal to talk
// to it: nobody is forbidden anything. It was removed, and another peer must be asked; or it
// has just joined, which the leader has not applied yet, and hears better in a moment.
func noMember(err error) error {
	if !api.IsKind(err, api.Forbidden) {
		return err
	}
	return api.Errorf(api.Unavailable, "cluster.call", "the leader does not know this peer as a member; ask another peer: %v", err)
}

// answerPropose takes a group that another peer passes on. It goes no further from here.
func (n *Node) answerPropose(ctx context.Context, from string, frame []byte) ([]byte, error) {
	if !n.book.belongs(from) {
		return nil, errRemoved
	}
	_, commands, err := decodeFrame(frame)
	if err != nil {
		return nil, api.Errorf(api.Malformed, "cluster.propose", "the message of peer %s cannot be read: %w", from, err)
	}
	verdicts := n.append(ctx, commands...)
	var last uint64
	for _, v := range verdicts {
		last = max(last, v.index)
	}
	return n.newsOf(last).encode(encodeVerdicts(verdicts)), nil
}

// encode gives the machine's answer as its proposer gets it.
func (v verdict) encode() ([]byte, error) {
	if v.err != nil || v.answer == nil {
		return nil, v.err
	}
	m, ok := v.answer.(encoding.BinaryMarshaler)
	if !ok {
		return nil, fmt.Errorf("the machine answered a %T, which cannot be encoded", v.answer)
	}
	return m.MarshalBinary()
}

// encoded is an answer that the leader has encoded.
type encoded []byte

func (e encoded) MarshalBinary() ([]byte, error) { return e, nil }

// Verdicts travel from the leader as n x {outcome 1 byte, length 4 bytes big
// endian, content}. Outcomes:
const (
	outAnswered  = 0 // the content is the machine's answer
	outRefused   = 1 // the content is an api.Error as JSON
	outNotLeader = 2 // no content: the command is not in the log
)

func encodeVerdicts(verdicts []verdict) []byte {
	var b []byte
	for _, v := range verdicts {
		outcome := byte(outAnswered)
		content, err := v.encode()
		switch {
		case errors.Is(err, raft.ErrNotLeader):
			outcome, content = outNotLeader, nil
		case err != nil:
			outcome, content = outRefused, refusal(err)
		}
		b = binary.BigEndian.AppendUint32(append(b, outcome), uint32(len(content)))
		b = append(b, content...)
	}
	return b
}

// refusal is an error as it travels: one that may pass is sent again by the other side.
func refusal(err error) []byte {
	e, known := errors.AsType[*api.Error](err)
	if !known || e.Kind == api.Unavailable {
		e = api.Errorf(api.Unavailable, "cluster.propose", "the leader could not complete the change: %w", err)
	}
	return encodeError(e)
}

func decodeVerdicts(b []byte) (verdicts []verdict, err error) {
	for len(b) > 0 {
		if len(b) < 5 || uint64(len(b)-5) < uint64(binary.BigEndian.Uint32(b[1:])) {
			return nil, errors.New("the leader's answer ends too early")
		}
		outcome, end := b[0], 5+int(binary.BigEndian.Uint32(b[1:]))
		content := b[5:end:end]
		b = b[end:]
		switch outcome {
		case outAnswered:
			verdicts = append(verdicts, verdict{answer: encoded(content)})
		case outNotLeader:
			verdicts = append(verdicts, verdict{err: errNotLeader})
		default:
			e := &api.Error{}
			if err := json.Unmarshal(content, e); err != nil {
				return nil, fmt.Errorf("read the leader's answer: %w", err)
			}
			verdicts = append(verdicts, verdict{err: e})
		}
	}
	return verdicts, nil
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
