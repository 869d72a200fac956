package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// gossipTransport lets memberlist use sockets that are open already, so that
// the ports that answered the leader while joining are the ones that go on.
type gossipTransport struct {
	ports   *Ports
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	log     *slog.Logger
	packets chan *memberlist.Packet
	streams chan net.Conn
	ctx     context.Context // ends with Shutdown
	cancel  context.CancelFunc
	loops   sync.WaitGroup
}

func newGossipTransport(p *Ports, dial func(context.Context, string, string) (net.Conn, error), log *slog.Logger) *gossipTransport {
	t := &gossipTransport{
		ports: p, dial: dial, log: log,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.loops.Go(t.receive)
	t.loops.Go(t.accept)
	return t
}

// receive hands on packets until the socket is closed.
func (t *gossipTransport) receive() {
	buf := make([]byte, 64<<10)
	for {
		size, from, err := t.ports.Packets.ReadFrom(buf)
		if t.ended(err) {
			return
		}
		if err != nil || size == 0 {
			continue // what one sender did wrong ends nothing
		}
		p := &memberlist.Packet{Buf: append([]byte{}, buf[:size]...), From: from, Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.ctx.Done():
			return
		}
	}
}

// accept hands on connections until the listener is closed.
func (t *gossipTransport) accept() {
	for {
		c, err := t.ports.Gossip.Accept()
		if t.ended(err) {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil {
			t.log.Warn("cannot accept on the gossip port", "err", err)
			time.Sleep(gossipWait) // out of files, most likely
			continue
		}
		select {
		case t.streams <- c:
		case <-t.ctx.Done():
			c.Close()
			return
		}
	}
}

func (t *gossipTransport) ended(err error) bool {
	return t.ctx.Err() != nil || errors.Is(err, net.ErrClosed)
}

func (t *gossipTransport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	addr := net.ParseIP(ip)
	if addr == nil {
		return nil, 0, fmt.Errorf("advertised gossip address %q is no IP address", ip)
	}
	if v4 := addr.To4(); v4 != nil {
		addr = v4
	}
	return addr, port, nil
}

func (t *gossipTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.ports.Packets.WriteTo(b, to)
	return time.Now(), err
}

func (t *gossipTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	return t.dial(ctx, "tcp", addr)
}

func (t *gossipTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *gossipTransport) StreamCh() <-chan net.Conn           { return t.streams }

func (t *gossipTransport) Shutdown() error {
	t.cancel()
	err := errors.Join(closed(t.ports.Gossip.Close()), closed(t.ports.Packets.Close()))
	t.loops.Wait()
	return err
}
