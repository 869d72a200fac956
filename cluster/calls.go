package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchd/orchd/api"
)

// Calls are the questions on the way of every read and of every write through a
// follower. They go over a stream of their own (protoCall), because HTTP/2 costs
// several times what the answers do. Whoever dialed asks, the other answers, in
// frames, big endian:
//
//	length of the body 4 bytes | kind 1 byte | call 8 bytes | patience 4 bytes, ms | body
//
// The caller numbers its calls on a connection from 1 and uses no number twice;
// the answer carries the number of its call. So what comes back under a number
// was said by that very peer, on this very connection, after the question with
// that number had got there: no answer to an older question can pass for it.
type callFrame struct {
	kind     callKind
	call     uint64
	patience time.Duration // in a question: how long the caller waits
	body     []byte
}

type callKind byte

// What a frame is: a question, or an answer.
const (
	askTerm      callKind = 1  // no body; the answer is raft's term, 8 bytes
	askReadIndex callKind = 2  // no body; the answer is news of the index
	askPropose   callKind = 3  // commands in a frame; the answer is news of their entry, and verdicts
	answerGood   callKind = 16 // what was asked for
	answerOther  callKind = 17 // no body: this peer does not lead
	answerError  callKind = 18 // an api.Error as JSON
)

// Limits of a connection for calls. That one lives, its caller asks every
// pingAfter, and gives it up when nothing has come for pingWait after that.
const (
	callHeader  = 4 + 1 + 8 + 4
	callBuffer  = 16 << 10
	maxAnswer   = 2 * maxMessage // bytes of an answer's body; a question has maxMessage at most
	maxCalls    = 64             // calls of one connection in hand at once
	callWrite   = 5 * time.Second
	callSilence = 2 * (pingAfter + pingWait) // who asks nothing for so long is gone
)

// errFrame is behind whatever a peer sends that is no frame of this protocol.
var errFrame = errors.New("that is no call")

// readCall reads the next frame, whose body has most bytes at most.
func readCall(r *bufio.Reader, most uint32) (callFrame, error) {
	head, err := r.Peek(callHeader)
	if err != nil {
		return callFrame{}, err
	}
	size := binary.BigEndian.Uint32(head)
	f := callFrame{
		kind: callKind(head[4]), call: binary.BigEndian.Uint64(head[5:]),
		patience: time.Duration(binary.BigEndian.Uint32(head[13:])) * time.Millisecond,
	}
	if size > most {
		return f, fmt.Errorf("%w: its body is said to have %d bytes, at most %d are allowed", errFrame, size, most)
	}
	r.Discard(callHeader) // cannot fail: it was peeked at
	if size == 0 {
		return f, nil
	}
	f.body = make([]byte, size)
	if _, err := io.ReadFull(r, f.body); err != nil {
		return f, err
	}
	return f, nil
}

// callWriter sends frames. Those that are sent at the same moment leave together.
type callWriter struct {
	conn    net.Conn
	senders atomic.Int32 // who sends or waits to
	mu      sync.Mutex
	buf     *bufio.Writer
}

func newCallWriter(c net.Conn) *callWriter {
	return &callWriter{conn: c, buf: bufio.NewWriterSize(c, callBuffer)}
}

// send sends a frame, or leaves it to whoever waits to send another. An error
// ends the connection: a part of the frame may have left.
func (w *callWriter) send(f callFrame) error {
	w.senders.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn.SetWriteDeadline(time.Now().Add(callWrite))
	var head [callHeader]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(f.body)))
	head[4] = byte(f.kind)
	binary.BigEndian.PutUint64(head[5:], f.call)
	binary.BigEndian.PutUint32(head[13:], uint32(min(f.patience.Milliseconds(), math.MaxUint32)))
	w.buf.Write(head[:]) // an error stays with the buffer: Flush tells it
	w.buf.Write(f.body)
	if w.senders.Add(-1) > 0 {
		return nil
	}
	return w.buf.Flush()
}

// content is what an answer says to its call.
func (f callFrame) content() ([]byte, error) {
	switch f.kind {
	case answerGood:
		return f.body, nil
	case answerOther:
		return nil, errNotLeader
	}
	e := &api.Error{}
	if err := json.Unmarshal(f.body, e); err != nil || e.Msg == "" {
		return nil, fmt.Errorf("%w: an error cannot be read", errFrame)
	}
	return nil, e
}

// serveCalls answers on the connections that others dialed, until the hall is closed.
func (n *Node) serveCalls() {
	for {
		c, err := n.hall.calls.Accept()
		if err != nil {
			return
		}
		n.start(func() { n.answerCalls(c.(*conn)) })
	}
}

// answerCalls answers one connection's calls until it ends.
func (n *Node) answerCalls(c *conn) {
	defer c.Close()
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	a := &answerer{node: n, peer: c.peer, ctx: ctx, out: newCallWriter(c), places: make(chan struct{}, maxCalls)}
	r := bufio.NewReaderSize(c, callBuffer)
	for {
		c.SetReadDeadline(time.Now().Add(callSilence))
		q, err := readCall(r, maxMessage)
		if err == nil {
			err = a.take(q)
		}
		if errors.Is(err, errFrame) {
			n.log.Warn("a peer's connection is closed", "peer", c.peer, "err", err)
		}
		if err != nil {
			return
		}
	}
}

// answerer is the end of a connection that answers.
type answerer struct {
	node   *Node
	peer   string          // who asks
	ctx    context.Context // ends with the connection
	out    *callWriter
	places chan struct{} // one for each call in hand
}

// take answers a question, or has it answered. An error ends the connection.
func (a *answerer) take(q callFrame) error {
	if _, ok := a.node.book.find(a.peer); !ok { // a connection outlives its peer's removal by a moment
		return a.reply(q, nil, errRemoved)
	}
	switch q.kind {
	case askTerm:
		return a.reply(q, binary.BigEndian.AppendUint64(nil, a.node.raft.CurrentTerm()), nil)
	case askReadIndex:
		return a.handOver(q, readTime, a.node.answerReadIndex)
	case askPropose:
		return a.handOver(q, a.node.cfg.ProposeTimeout, a.node.answerPropose)
	}
	return fmt.Errorf("%w: a question of kind %d is not known", errFrame, q.kind)
}

// handOver has a question answered while the next one is read.
func (a *answerer) handOver(q callFrame, most time.Duration, answer func(ctx context.Context, from string, body []byte) ([]byte, error)) error {
	select {
	case a.places <- struct{}{}:
	default:
		return a.reply(q, nil, api.Errorf(api.Unavailable, "", "%d calls of this peer are in hand", maxCalls))
	}
	if !a.node.begin() {
		return net.ErrClosed
	}
	go func() {
		defer a.node.work.Done()
		ctx, cancel := context.WithTimeout(a.ctx, min(q.patience, most))
		defer cancel()
		body, err := answer(ctx, a.peer, q.body)
		<-a.places
		if a.reply(q, body, err) != nil {
			a.out.conn.Close()
		}
	}()
	return nil
}

// reply answers a question. An error goes whole, so that it means at the other end
// what it meant here.
func (a *answerer) reply(q callFrame, body []byte, err error) error {
	if len(body) > maxAnswer {
		err = fmt.Errorf("an answer has %d bytes, at most %d are allowed", len(body), maxAnswer)
	}
	f := callFrame{kind: answerGood, call: q.call, body: body}
	switch {
	case errors.Is(err, errNotLeader):
		f.kind, f.body = answerOther, nil
	case err != nil:
		f.kind, f.body = answerError, a.node.errorFor(a.peer, err)
	}
	return a.out.send(f)
}
