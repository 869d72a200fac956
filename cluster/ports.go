package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
)

// Ports are the sockets of a peer, open. They belong to whoever holds them
// until Open takes Raft, Gossip and Packets over.
type Ports struct {
	API     net.Listener
	Raft    net.Listener
	Gossip  net.Listener
	Packets net.PacketConn // gossip's UDP socket, on the same port as Gossip; nil: no gossip
}

// Listen opens a peer's ports, each HOST:PORT with the host empty for all
// addresses and the port 0 for any free one. It opens all or none.
func Listen(addresses api.PeerAddresses) (*Ports, error) {
	p := &Ports{}
	var err error
	if p.API, err = net.Listen("tcp", addresses.API); err != nil {
		return nil, fmt.Errorf("open the API port: %w", err)
	}
	if p.Raft, err = net.Listen("tcp", addresses.Raft); err != nil {
		return nil, errors.Join(fmt.Errorf("open the raft port: %w", err), p.Close())
	}
	if p.Gossip, p.Packets, err = listenGossip(addresses.Gossip); err != nil {
		return nil, errors.Join(fmt.Errorf("open the gossip port: %w", err), p.Close())
	}
	return p, nil
}

// listenGossip opens TCP and UDP on one port. Where any port will do, the
// one that TCP was given may be taken for UDP: then another is tried.
func listenGossip(address string) (net.Listener, net.PacketConn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	tries := 1
	if port == "0" {
		tries = 10
	}
	for range tries {
		var l net.Listener
		if l, err = net.Listen("tcp", address); err != nil {
			continue
		}
		var packets net.PacketConn
		if packets, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, packets, nil
		}
		err = errors.Join(err, l.Close())
	}
	return nil, nil, err
}

// Close closes what is open.
func (p *Ports) Close() error {
	var errs []error
	for _, c := range []io.Closer{p.API, p.Raft, p.Gossip, p.Packets} {
		if c != nil {
			errs = append(errs, closed(c.Close()))
		}
	}
	return errors.Join(errs...)
}

// closed forgives closing twice.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// answerTime is how long one connection may take to read the nonce.
const answerTime = 2 * time.Second

// Answer lets the three TCP ports of a host that wants to join say nonce to
// whoever connects, so that the leader can tell that it reached this host and no
// other. stop ends that; the ports stay open for Open to take over.
func (p *Ports) Answer(nonce string) (stop func()) {
	var all sync.WaitGroup
	stopping := make(chan struct{})
	for _, l := range p.tcp() {
		all.Go(func() { answer(l, nonce, stopping) })
	}
	return func() {
		close(stopping)
		for _, l := range p.tcp() {
			setDeadline(l, time.Now())
		}
		all.Wait()
		for _, l := range p.tcp() {
			setDeadline(l, time.Time{})
		}
	}
}

func (p *Ports) tcp() []net.Listener { return []net.Listener{p.API, p.Raft, p.Gossip} }

// setDeadline interrupts an Accept without closing the listener.
func setDeadline(l net.Listener, t time.Time) {
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(t)
	}
}

func answer(l net.Listener, nonce string, stopping <-chan struct{}) {
	for {
		conn, err := l.Accept()
		select {
		case <-stopping:
			if err == nil {
				conn.Close()
			}
			return
		default:
		}
		if err != nil {
			return // closed under us: Open, or whoever closed it, will say so
		}
		conn.SetDeadline(time.Now().Add(answerTime))
		io.WriteString(conn, nonce+"\n")
		conn.Close()
	}
}

// dialBackTime is how long one port of a newcomer may take to answer.
const dialBackTime = 3 * time.Second

// DialBack is the leader's side of joining: it connects to a newcomer's three
// ports and reads the nonce from each. The error, an *api.Error of kind Invalid,
// names the port that failed and what to look at.
func (n *Node) DialBack(ctx context.Context, nonce string, addresses api.PeerAddresses) error {
	for _, port := range []struct{ name, address string }{
		{"API", addresses.API}, {"raft", addresses.Raft}, {"gossip", addresses.Gossip},
	} {
		if err := n.readNonce(ctx, port.address, nonce); err != nil {
			return api.Errorf(api.Invalid, "peer.join",
				"the leader (%s) cannot reach the newcomer's %s port at %s: %w. Check --advertise, the port and any firewall between the two",
				n.cfg.Identity.Name, port.name, port.address, err)
		}
	}
	return nil
}

func (n *Node) readNonce(ctx context.Context, address, nonce string) error {
	ctx, cancel := context.WithTimeout(ctx, dialBackTime)
	defer cancel()
	conn, err := n.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	got := make([]byte, len(nonce)+1)
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("something answers there that is not the newcomer: %w", err)
	}
	if string(got) != nonce+"\n" {
		return errors.New("another program than the newcomer answers there")
	}
	return nil
}

// closeTaken closes the ports that a node took over.
func (p *Ports) closeTaken() error {
	if p == nil {
		return nil
	}
	taken := Ports{Raft: p.Raft, Gossip: p.Gossip, Packets: p.Packets}
	return taken.Close()
}
