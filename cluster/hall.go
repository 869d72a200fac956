package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/cluster/ca"
)

// handshakeTime is how long a connection may take to say who it is.
const handshakeTime = 5 * time.Second

// How long, and for how many bytes, a refused connection is listened to.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// hall is the one raft port: it takes connections, has the door look at them,
// and leads each to raft, to the peer channel or to the calls. It also dials, and
// knows every connection that is open.
type hall struct {
	door     *door
	dialer   func(ctx context.Context, network, address string) (net.Conn, error)
	listener net.Listener
	log      *slog.Logger
	maxConns int
	maxPerIP int
	refused  said // a stranger who knocks again and again is worth a line a minute

	raft, peers, calls queue       // accepted connections, by protocol
	stalled            atomic.Bool // the disk does not answer: take no part in raft

	mu     sync.Mutex
	conns  map[*conn]struct{} // all that are open, in and out
	perIP  map[string]int     // of those, accepted ones by address
	closed bool
	active sync.WaitGroup
}

// conn is a connection to a peer whose identity has been checked.
type conn struct {
	net.Conn
	hall  *hall
	peer  string // empty until the handshake is done
	key   []byte // its public key
	proto string
	ip    string // accepted from there; empty when dialed
}

func newHall(d *door, cfg Config, log *slog.Logger) *hall {
	h := &hall{
		door: d, dialer: cfg.Dial, listener: cfg.Ports.Raft, log: log,
		maxConns: cfg.MaxConns, maxPerIP: cfg.MaxConnsPerIP,
		conns: map[*conn]struct{}{}, perIP: map[string]int{},
	}
	h.raft.init(cfg.Ports.Raft.Addr())
	h.peers.init(cfg.Ports.Raft.Addr())
	h.calls.init(cfg.Ports.Raft.Addr())
	return h
}

// run accepts until the hall is closed.
func (h *hall) run() {
	const least, most = 5 * time.Millisecond, time.Second
	pause := least
	for {
		c, err := h.listener.Accept()
		if errors.Is(err, net.ErrClosed) || h.isClosed() {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil {
			h.log.Warn("cannot accept on the raft port", "err", err)
			time.Sleep(pause) // out of files, most likely: it passes or it does not
			pause = min(2*pause, most)
			continue
		}
		pause = least
		noticeForgotten(c)
		h.admit(c)
	}
}

// admit gives a connection a place, or refuses it, and never blocks.
func (h *hall) admit(raw net.Conn) {
	c := &conn{Conn: raw, hall: h, ip: hostOf(raw.RemoteAddr().String())}
	if reason := h.enter(c); reason != "" {
		h.refuse(c, errors.New(reason))
		return
	}
	go func() {
		defer h.active.Done()
		if err := h.greet(c); err != nil {
			linger(raw)
			h.refuse(c, err)
		}
	}()
}

// enter counts the connection in, and one more active goroutine; the answer is why it cannot.
func (h *hall) enter(c *conn) (refusal string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return "this peer is shutting down"
	case c.ip != "" && len(h.conns) >= h.maxConns:
		return fmt.Sprintf("%d connections are open", h.maxConns)
	case c.ip != "" && h.perIP[c.ip] >= h.maxPerIP:
		return fmt.Sprintf("%d connections are open from that address", h.maxPerIP)
	}
	h.conns[c] = struct{}{}
	if c.ip != "" {
		h.perIP[c.ip]++
		h.active.Add(1)
	}
	return ""
}

// greet does the handshake and hands the connection on.
func (h *hall) greet(c *conn) error {
	if err := c.secure(context.Background(), tls.Server(c.Conn, h.door.server())); err != nil {
		return err
	}
	if h.stalled.Load() && ofRaft(c.proto) {
		return errStalled
	}
	switch c.proto {
	case protoRaft:
		return h.raft.put(c)
	case protoCall:
		return h.calls.put(c)
	}
	return h.peers.put(c)
}

// ofRaft tells whether a protocol is part of how the peers agree: calls are about
// the term, the log's index and what comes into the log.
func ofRaft(proto string) bool { return proto == protoRaft || proto == protoCall }

// secure runs the handshake on t, in which the door checks, and notes who is there.
func (c *conn) secure(ctx context.Context, t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	state := t.ConnectionState()
	cert := state.PeerCertificates[0]
	peer, err := ca.PeerID(cert, c.hall.door.clusterID)
	if err != nil {
		return err
	}
	c.hall.mu.Lock()
	defer c.hall.mu.Unlock()
	c.Conn, c.peer, c.key, c.proto = t, peer, cert.RawSubjectPublicKeyInfo, state.NegotiatedProtocol
	return nil
}

// linger lets the other side read why it is refused. It may have sent its first
// request by then: to close with that unread is a reset (RFC 1122, 4.2.2.13), which
// overtakes the TLS alert. A peer that has left knows by that alert that it was dropped.
func linger(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.SetReadDeadline(time.Now().Add(lingerTime))
		io.Copy(io.Discard, io.LimitReader(c, lingerBytes))
	}
}

func (h *hall) refuse(c *conn, reason error) {
	level := slog.LevelWarn
	if h.isClosed() || h.refused.again(c.ip+" "+reason.Error()) {
		level = slog.LevelDebug
	}
	h.log.Log(context.Background(), level, "connection to the raft port refused", "from", c.RemoteAddr().String(), "err", reason)
	c.Close()
}

// Close ends the connection and gives its place back.
func (c *conn) Close() error {
	return closed(c.hall.leave(c).Close())
}

// leave takes the connection out of the count and gives what is below it: TCP
// during the handshake, TLS after.
func (h *hall) leave(c *conn) net.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, entered := h.conns[c]; entered {
		delete(h.conns, c)
		if c.ip != "" {
			h.perIP[c.ip]--
		}
		if h.perIP[c.ip] == 0 {
			delete(h.perIP, c.ip)
		}
	}
	return c.Conn
}

// errStalled is why a peer with a dead disk does not speak raft: its
// heartbeats would go on from memory and keep the others from electing a leader
// that can write.
var errStalled = errors.New("this peer's disk does not answer: it takes no part in raft until it does")

// dial connects to a peer, and to nobody else, at the address that the book has for it,
// or at the one that the peer gave itself.
func (h *hall) dial(ctx context.Context, id, proto string) (net.Conn, error) {
	if ofRaft(proto) && h.stalled.Load() {
		return nil, errStalled
	}
	m, ok := h.door.book.find(id)
	if !ok {
		return nil, fmt.Errorf("dial peer %s: it does not belong to this cluster, or not any more", id)
	}
	var errs []error
	for _, address := range h.door.book.addresses(m) {
		c, err := h.dialAt(ctx, m, address, proto)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dialAt connects to a peer at one address.
func (h *hall) dialAt(ctx context.Context, m Member, address, proto string) (net.Conn, error) {
	raw, err := h.dialer(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("dial peer %s: %w", m.Name, err)
	}
	noticeForgotten(raw)
	c := &conn{Conn: raw, hall: h}
	if reason := h.enter(c); reason != "" {
		raw.Close()
		return nil, fmt.Errorf("dial peer %s: %s", m.Name, reason)
	}
	if err := c.secure(ctx, tls.Client(raw, h.door.client(m.ID, proto))); err != nil {
		c.Close()
		return nil, fmt.Errorf("dial peer %s at %s: %w", m.Name, address, err)
	}
	if ofRaft(proto) && h.stalled.Load() { // it began while this was under way, and was not closed with the rest
		c.Close()
		return nil, errStalled
	}
	return c, nil
}

// sweep closes the connections of those whom the door would not let in any more.
func (h *hall) sweep() {
	h.closeWhere(func(c *conn) bool { return c.peer != "" && h.door.admits(c.peer, c.key) != nil })
}

// setStalled leaves raft, or takes part again.
func (h *hall) setStalled(stalled bool) {
	h.stalled.Store(stalled)
	if stalled {
		h.closeWhere(func(c *conn) bool { return ofRaft(c.proto) })
	}
}

func (h *hall) closeWhere(match func(*conn) bool) {
	h.mu.Lock()
	var found []*conn
	for c := range h.conns {
		if match(c) {
			found = append(found, c)
		}
	}
	h.mu.Unlock()
	var all sync.WaitGroup // TLS says goodbye, which takes its time where nobody listens
	for _, c := range found {
		all.Go(func() { c.Close() })
	}
	all.Wait()
}

func (h *hall) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// close ends the listener and every connection, and waits for handshakes in hand.
func (h *hall) close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	err := closed(h.listener.Close())
	h.raft.Close()
	h.peers.Close()
	h.calls.Close()
	h.closeWhere(func(*conn) bool { return true })
	h.active.Wait()
	return err
}

// queue hands accepted connections to a server, which sees a net.Listener.
type queue struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (q *queue) init(addr net.Addr) {
	q.addr, q.conns, q.closed = addr, make(chan net.Conn), make(chan struct{})
}

func (q *queue) put(c net.Conn) error {
	select {
	case q.conns <- c:
		return nil
	case <-q.closed:
		return net.ErrClosed
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }

// raftStream is the hall as raft's transport sees it. Raft's addresses are
// peer ids: the hall finds the address of the day, so that a host may move and
// no address in raft's configuration ever grows old.
type raftStream struct {
	*queue
	ctx  context.Context // ends with the node: no dial holds up its end
	hall *hall
	self raft.ServerAddress
}

func (s raftStream) Addr() net.Addr { return peerAddr(s.self) }

func (s raftStream) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	return s.hall.dial(ctx, string(id), protoRaft)
}

// peerAddr is a peer's id where Go wants an address.
type peerAddr string

func (peerAddr) Network() string  { return "orchd" }
func (a peerAddr) String() string { return string(a) }
