package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/orchd/orchd/test/lab"
)

// proxy sits between the peers: connections to a raft port are led through it by
// their own host, and it does with the bytes what a bad network does. (This machine
// may lack netem.)
type proxy struct {
	delay  time.Duration // each piece comes so much later, with as much jitter again
	broken atomic.Bool   // half open: what is sent arrives nowhere, and nobody is told

	mu        sync.Mutex
	rng       *rand.Rand
	listeners []net.Listener
	conns     map[net.Conn]bool
	pieces    atomic.Int64
	closed    bool
}

// through leads everything that peers tell each other on their raft ports through a
// proxy, until the function that it gives is called.
func (r *run) through(p *proxy) (func(), error) {
	p.conns = map[net.Conn]bool{}
	var hosts []*lab.Host
	end := func() {
		for _, h := range hosts {
			h.Run("iptables", "--wait", "-t", "nat", "-F", "OUTPUT")
		}
		p.close()
	}
	for _, from := range r.members() {
		hosts = append(hosts, from)
		for _, to := range r.but(from) {
			l, err := from.Listen("tcp", "0.0.0.0:0")
			if err != nil {
				end()
				return nil, err
			}
			p.listeners = append(p.listeners, l)
			go p.serve(l, to)
			_, port, _ := net.SplitHostPort(l.Addr().String())
			from.Run("iptables", "--wait", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", to.Addr, "--dport", "7701", "-j", "REDIRECT", "--to-ports", port)
		}
	}
	// What is open already goes its old way: it is reset, and opened anew.
	for _, h := range hosts {
		h.Run("iptables", "--wait", "-A", "INPUT", "-i", "eth0", "-p", "tcp", "--dport", "7701", "-j", "REJECT", "--reject-with", "tcp-reset")
	}
	time.Sleep(300 * time.Millisecond)
	r.Heal()
	return end, nil
}

func (p *proxy) serve(l net.Listener, to *lab.Host) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go p.connect(in, to)
	}
}

// connect dials from the target's own host, where nothing is led astray.
func (p *proxy) connect(in net.Conn, to *lab.Host) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	out, err := to.Dial(ctx, "tcp", net.JoinHostPort(to.Addr, "7701"))
	if err != nil {
		in.Close()
		return
	}
	p.mu.Lock()
	p.conns[in], p.conns[out] = true, true
	closed := p.closed
	p.mu.Unlock()
	if closed {
		in.Close()
		out.Close()
		return
	}
	go p.copy(out, in)
	p.copy(in, out)
}

// copy hands on one direction, piece by piece.
func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	type piece struct {
		bytes []byte
		due   time.Time
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 && !p.broken.Load() {
				p.pieces.Add(1)
				pieces <- piece{buf[:n], time.Now().Add(p.lateness())}
			}
			if err != nil {
				return
			}
		}
	}()
	for piece := range pieces {
		time.Sleep(time.Until(piece.due))
		if _, err := to.Write(piece.bytes); err != nil {
			from.Close()
			io.Copy(io.Discard, from)
		}
	}
}

// lateness is by how much a piece is late.
func (p *proxy) lateness() time.Duration {
	if p.delay == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay/2 + time.Duration(p.rng.Int64N(int64(p.delay)))
}

func (p *proxy) close() {
	for _, l := range p.listeners {
		l.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
}

// forget ends every connection and tells nobody, neither those whose bytes it led nor
// anybody who asks later: the kernel has none of them any more.
func (p *proxy) forget() (gone int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns { // all of them first: when one closes, the other way of it is closed too
		if vanishes(c) == nil {
			gone++
		}
	}
	for c := range p.conns {
		c.Close()
	}
	return gone
}

// vanishes has the kernel say nothing when the connection is closed.
func vanishes(c net.Conn) error {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	closed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	})
	return errors.Join(closed, err)
}

// delay is F4: what peers tell each other comes late, by up to some hundred milliseconds.
func delay(r *run, rng *rand.Rand) (string, error) {
	p := &proxy{rng: rng, delay: time.Duration(1+rng.IntN(250)) * time.Millisecond}
	end, err := r.through(p)
	if err != nil {
		return "", err
	}
	defer end()
	time.Sleep(between(rng, 2*time.Second, 5*time.Second))
	if p.pieces.Load() == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d pieces came about %v late", p.pieces.Load(), p.delay), nil
}

// halfOpen is F4: connections stay open and carry nothing any more.
func halfOpen(r *run, rng *rand.Rand) (string, error) {
	p := &proxy{rng: rng}
	end, err := r.through(p)
	if err != nil {
		return "", err
	}
	defer end()
	time.Sleep(time.Second)
	before := p.pieces.Load()
	p.broken.Store(true)
	time.Sleep(between(rng, time.Second, 5*time.Second))
	if before == 0 {
		return "", nil
	}
	return strconv.FormatInt(before, 10) + " pieces came, then none", nil
}

// forgotten is F4: what is between the peers, a firewall say, forgets their connections. Nobody
// is told, and new ones go through.
func forgotten(r *run, rng *rand.Rand) (string, error) {
	p := &proxy{rng: rng}
	end, err := r.through(p)
	if err != nil {
		return "", err
	}
	defer end()
	time.Sleep(between(rng, time.Second, 3*time.Second))
	p.broken.Store(true) // what was taken is acknowledged, and its sender waits for an answer
	time.Sleep(between(rng, 50*time.Millisecond, 500*time.Millisecond))
	gone := p.forget()
	if gone == 0 || p.pieces.Load() == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d connections were forgotten after %d pieces", gone/2, p.pieces.Load()), nil
}
