package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// network joins the hosts. What goes from one to another takes its time; while
// the way is cut, or one of the two is frozen, it waits, as bytes of TCP do that
// are sent again. Single messages of raft may be lost as well.
type network struct {
	mu        sync.Mutex
	rng       *rand.Rand
	changed   chan struct{} // closed when a way, or a host, has changed
	ways      map[way]*condition
	listeners map[string]*listener // by address
	conns     map[*conn]way        // that are open, by where they were dialed from
}

// way is from one host to another, by name.
type way struct{ from, to string }

// condition is how a way is just now.
type condition struct {
	cuts  int           // faults that cut it
	delay time.Duration // on top of the usual
	loss  float64       // share of raft's messages that are lost
}

func newNetwork(seed uint64) *network {
	return &network{rng: rand.New(rand.NewPCG(seed, 7)), changed: make(chan struct{}), ways: map[way]*condition{}, listeners: map[string]*listener{}, conns: map[*conn]way{}}
}

// change changes ways and wakes whoever waits for one.
func (n *network) change(ways []way, f func(*condition)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range ways {
		if n.ways[w] == nil {
			n.ways[w] = &condition{}
		}
		f(n.ways[w])
	}
	n.turnLocked()
}

func (n *network) turnLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// heal makes all ways as they were.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.ways)
	n.turnLocked()
}

// usual is how long a message takes when nothing is wrong.
const usual = 500 * time.Microsecond

// draw is how long the next message on a way takes, and whether it is lost.
func (n *network) draw(w way) (delay time.Duration, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delay = usual + time.Duration(n.rng.Int64N(int64(usual)))
	if c := n.ways[w]; c != nil {
		if c.delay > 0 {
			delay += time.Duration(n.rng.Int64N(int64(c.delay)))
		}
		lost = c.loss > 0 && n.rng.Float64() < c.loss
	}
	return delay, lost
}

// open tells whether a way is open; changed is closed when that may be otherwise.
func (n *network) open(w way) (yes bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.ways[w]
	return c == nil || c.cuts == 0, n.changed
}

// dialTime is how long a connection is tried for, where the caller has more patience.
const dialTime = 30 * time.Second

var errLost = errors.New("the message was lost")

// hop is a message on its way: it returns when it is there, or with an error.
func (n *network) hop(ctx context.Context, w way) error {
	delay, lost := n.draw(w)
	if lost {
		return errLost
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		yes, changed := n.open(w)
		if yes {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reset ends a host's listeners and connections, as a process that dies does.
func (n *network) reset(host string) {
	n.mu.Lock()
	var found []*conn
	for c, w := range n.conns {
		if w.from == host || w.to == host {
			found = append(found, c)
		}
	}
	var ports []*listener
	for _, l := range n.listeners {
		if at, _, _ := net.SplitHostPort(string(l.addr)); at == host {
			ports = append(ports, l)
		}
	}
	n.mu.Unlock()
	for _, l := range ports {
		l.Close()
	}
	for _, c := range found {
		c.in.end(true)
		c.out.end(true)
		c.Close()
	}
}

// addr is HOST:PORT.
type addr string

func (addr) Network() string  { return "sim" }
func (a addr) String() string { return string(a) }

// listener is a port that is open.
type listener struct {
	net    *network
	addr   addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline chan struct{} // closed when Accept is to return
}

// listen opens a port.
func (n *network) listen(address string) *listener {
	l := &listener{net: n, addr: addr(address), conns: make(chan net.Conn), closed: make(chan struct{}), deadline: make(chan struct{})}
	n.mu.Lock()
	n.listeners[address] = l
	n.mu.Unlock()
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	deadline := l.deadline
	l.mu.Unlock()
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-deadline:
		return nil, os.ErrDeadlineExceeded
	}
}

// SetDeadline interrupts Accept for a time that is past, and lets it be for none.
func (l *listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.IsZero() {
		l.deadline = make(chan struct{})
	} else {
		close(l.deadline)
	}
	return nil
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		if l.net.listeners[string(l.addr)] == l {
			delete(l.net.listeners, string(l.addr))
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// dial connects a host to an address.
func (n *network) dial(ctx context.Context, from, address string) (net.Conn, error) {
	to, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	for err = errLost; errors.Is(err, errLost); { // what is lost is sent again
		if err = n.hop(ctx, way{from, to}); errors.Is(err, errLost) {
			time.Sleep(time.Second)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	there, here := newStream(n, way{from, to}), newStream(n, way{to, from})
	mine := &conn{in: here, out: there, local: addr(from + ":0"), remote: addr(address)}
	theirs := &conn{in: there, out: here, local: addr(address), remote: addr(from + ":0")}
	mine.net, theirs.net = n, n
	n.mu.Lock()
	n.conns[mine], n.conns[theirs] = way{from, to}, way{from, to}
	n.mu.Unlock()
	select {
	case l.conns <- theirs:
		return mine, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s: connection refused", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stream is one direction of a connection. One goroutine at a time reads it.
type stream struct {
	net     *network
	way     way
	changed chan struct{} // holds a token when there is something to look at for whoever reads

	mu     sync.Mutex
	chunks []chunk
	last   time.Time // when the last chunk may be there
	until  time.Time // when a read must end; zero: never
	ended  bool      // the writer has closed it; what was written still arrives
	broken bool      // nothing more is read or written
}

type chunk struct {
	at   time.Time
	data []byte
}

func newStream(n *network, w way) *stream {
	return &stream{net: n, way: w, changed: make(chan struct{}, 1)}
}

func (s *stream) turn() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

var errReset = errors.New("connection reset by peer")

func (s *stream) write(b []byte) (int, error) {
	delay, _ := s.net.draw(s.way) // what TCP loses it sends again: that is delay, and the ways have that as well
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken || s.ended {
		return 0, errReset
	}
	at := time.Now().Add(delay)
	if at.Before(s.last) {
		at = s.last
	}
	s.last = at
	s.chunks = append(s.chunks, chunk{at, append([]byte(nil), b...)})
	s.turn()
	return len(b), nil
}

// end closes the writer's side, and with broken both: unread bytes are gone.
func (s *stream) end(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.broken = s.broken || broken
	s.turn()
}

// readBy sets when a read must end.
func (s *stream) readBy(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = t
	s.turn()
}

func (s *stream) read(b []byte) (int, error) {
	for {
		open, turned := s.net.open(s.way)
		n, wake, err := s.take(b, open)
		if n > 0 || err != nil {
			return n, err
		}
		var timer *time.Timer
		var woken <-chan time.Time
		if !wake.IsZero() {
			timer = time.NewTimer(time.Until(wake))
			woken = timer.C
		}
		select {
		case <-s.changed:
		case <-turned:
		case <-woken:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// take gives what has arrived. Where that is nothing, and no error, there may be something at wake; zero: not by itself.
func (s *stream) take(b []byte, open bool) (n int, wake time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.broken:
		return 0, wake, errReset
	case len(s.chunks) > 0 && open:
		if wake = s.chunks[0].at; wake.After(now) {
			break
		}
		n = copy(b, s.chunks[0].data)
		if s.chunks[0].data = s.chunks[0].data[n:]; len(s.chunks[0].data) == 0 {
			s.chunks = s.chunks[1:]
		}
		return n, wake, nil
	case len(s.chunks) == 0 && s.ended && open:
		return 0, wake, net.ErrClosed // read as an end: TLS's own goodbye came before, or it did not
	}
	if !s.until.IsZero() && !s.until.After(now) {
		return 0, wake, os.ErrDeadlineExceeded
	}
	if wake.IsZero() || !s.until.IsZero() && s.until.Before(wake) {
		wake = s.until
	}
	return 0, wake, nil
}

// conn is one end of a connection.
type conn struct {
	net           *network
	in, out       *stream
	local, remote addr
	once          sync.Once
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

func (c *conn) Close() error {
	c.once.Do(func() {
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
		c.out.end(false)
		c.in.end(true)
	})
	return nil
}

func (c *conn) LocalAddr() net.Addr               { return c.local }
func (c *conn) RemoteAddr() net.Addr              { return c.remote }
func (c *conn) SetReadDeadline(t time.Time) error { c.in.readBy(t); return nil }
func (c *conn) SetWriteDeadline(time.Time) error  { return nil } // a write waits for nothing
func (c *conn) SetDeadline(t time.Time) error     { return c.SetReadDeadline(t) }
