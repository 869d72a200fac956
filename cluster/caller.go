package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// callers are this peer's own connections for calls: one to each peer that it has
// called, kept open, and dialed again when it has ended.
type callers struct {
	ctx   context.Context // ends with the node
	dial  func(ctx context.Context, id string) (net.Conn, error)
	start func(...func()) // runs what the node waits for

	mu    sync.Mutex
	lines map[string]*line // by peer
}

func newCallers(ctx context.Context, start func(...func()), dial func(ctx context.Context, id string) (net.Conn, error)) *callers {
	return &callers{ctx: ctx, dial: dial, start: start, lines: map[string]*line{}}
}

// call asks a peer and gives what it answers. An *api.Error of the other side
// comes back as one. ctx has a deadline, of a second or more: a connection on which
// nothing comes in all that time is given up.
func (c *callers) call(ctx context.Context, id string, kind callKind, body []byte) ([]byte, error) {
	l, err := c.line(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("call peer %s: %w", id, err)
	}
	f, err := l.call(ctx, kind, body)
	if err != nil {
		return nil, fmt.Errorf("call peer %s: %w", id, err)
	}
	return f.content()
}

// line is the connection to a peer, once it stands.
func (c *callers) line(ctx context.Context, id string) (*line, error) {
	c.mu.Lock()
	l := c.lines[id]
	if l == nil || l.ended() != nil {
		l = &line{up: make(chan struct{}), over: make(chan struct{}), waiting: map[uint64]chan callFrame{}}
		c.lines[id] = l
		c.start(func() { c.open(l, id) })
	}
	c.mu.Unlock()
	select {
	case <-l.up:
		return l, nil
	case <-l.over:
		return nil, l.ended()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open dials, for all who wait, and then sees to the connection until it ends.
func (c *callers) open(l *line, id string) {
	ctx, cancel := context.WithTimeout(c.ctx, handshakeTime)
	defer cancel()
	conn, err := c.dial(ctx, id)
	if err != nil {
		l.end(err)
		return
	}
	defer conn.Close()
	l.out = newCallWriter(conn)
	close(l.up)
	c.start(func() { l.listen(conn) })
	l.watch(c.ctx)
}

// line is one connection, or the attempt at one.
type line struct {
	up    chan struct{} // closed once it stands
	out   *callWriter   // from then on
	heard atomic.Uint64 // bytes that came
	over  chan struct{} // closed when it has ended

	mu      sync.Mutex
	calls   uint64                    // number of the last call
	waiting map[uint64]chan callFrame // calls without an answer, by number
	err     error                     // why it has ended
}

// errSilent is why a connection was given up on which nothing came any more.
var errSilent = errors.New("the connection was silent for too long")

// call asks and waits for the answer. Whoever waits no longer drops it.
func (l *line) call(ctx context.Context, kind callKind, body []byte) (callFrame, error) {
	heard := l.heard.Load()
	number, answer, err := l.begin()
	if err != nil {
		return callFrame{}, err
	}
	defer l.drop(number)
	until, _ := ctx.Deadline()
	l.send(callFrame{kind: kind, call: number, patience: max(0, time.Until(until)), body: body})
	select {
	case f := <-answer:
		return f, nil
	case <-l.over:
		return callFrame{}, l.ended()
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && l.heard.Load() == heard {
			l.end(errSilent)
		}
		return callFrame{}, ctx.Err()
	}
}

// begin numbers a call and gives where its answer will be.
func (l *line) begin() (number uint64, answer chan callFrame, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxCalls {
		return 0, nil, fmt.Errorf("%d calls wait for its answer", maxCalls)
	}
	l.calls++
	answer = make(chan callFrame, 1)
	l.waiting[l.calls] = answer
	return l.calls, answer, nil
}

// ping asks something for whose answer nobody waits: that it comes is enough.
func (l *line) ping() {
	l.mu.Lock()
	l.calls++
	number := l.calls
	l.mu.Unlock()
	l.send(callFrame{kind: askTerm, call: number})
}

func (l *line) drop(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, number)
}

func (l *line) send(q callFrame) {
	if err := l.out.send(q); err != nil {
		l.end(err)
	}
}

// listen gives each answer to its call.
func (l *line) listen(conn net.Conn) {
	r := bufio.NewReaderSize(countingReader{conn, &l.heard}, callBuffer)
	for {
		f, err := readCall(r, maxAnswer)
		if err == nil {
			err = l.take(f)
		}
		if err != nil {
			l.end(err)
			return
		}
	}
}

func (l *line) take(f callFrame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.call > l.calls {
		return fmt.Errorf("%w: call %d was answered, which nobody made", errFrame, f.call)
	}
	if answer, waits := l.waiting[f.call]; waits {
		delete(l.waiting, f.call)
		answer <- f
	}
	return nil
}

// countingReader counts the bytes that are read.
type countingReader struct {
	io.Reader
	count *atomic.Uint64
}

func (r countingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.count.Add(uint64(n))
	return n, err
}

// watch asks the other side, time and again, whether it is there, and gives it up
// when it does not say a word. It returns when the connection has ended.
func (l *line) watch(ctx context.Context) {
	tick := time.NewTicker(pingAfter)
	defer tick.Stop()
	for heard, silent := uint64(0), 0; ; {
		select {
		case <-tick.C:
		case <-l.over:
			return
		case <-ctx.Done():
			l.end(ctx.Err())
			return
		}
		if now := l.heard.Load(); now != heard {
			heard, silent = now, 0
		} else if silent++; silent > int(pingWait/pingAfter) {
			l.end(errSilent)
			return
		}
		l.ping()
	}
}

// end ends the connection for all who wait on it. The first reason stays.
func (l *line) end(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = reason
		close(l.over)
	}
}

// ended is why the connection has ended; nil while it has not.
func (l *line) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
