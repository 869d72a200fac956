package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forget ends a TCP connection and tells its other end nothing, as a firewall does that
// loses its state. It needs CAP_NET_ADMIN.
func forget(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	must(t, err)
	must(t, errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	}), err))
	must(t, c.Close())
}

// TestForgottenConnectionIsNoticed on both sides: whoever reads there hears of a reset, long
// before a message's time is up.
func TestForgottenConnectionIsNoticed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a connection vanish")
	}
	for _, side := range []string{"accepted", "dialed"} {
		t.Run(side, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			dialed, err := net.Dial("tcp", l.Addr().String())
			must(t, err)
			accepted, err := l.Accept()
			must(t, err)
			stays, goes := dialed, accepted
			if side == "accepted" {
				stays, goes = accepted, dialed
			}
			defer stays.Close()
			noticeForgotten(stays)
			forget(t, goes)
			stays.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := stays.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the end that stays read %v, want %v", err, syscall.ECONNRESET)
			}
		})
	}
}

// taps remembers the raw connections of a house, to ask the kernel about them.
type taps struct {
	mu  sync.Mutex
	all []*net.TCPConn
}

func (k *taps) add(c net.Conn, err error) (net.Conn, error) {
	if err == nil {
		k.mu.Lock()
		k.all = append(k.all, c.(*net.TCPConn))
		k.mu.Unlock()
	}
	return c, err
}

// tappedListener adds what it accepts.
type tappedListener struct {
	net.Listener
	taps *taps
}

func (l tappedListener) Accept() (net.Conn, error) { return l.taps.add(l.Listener.Accept()) }

// TestConnectionsAreWatched: all between peers, whoever dialed.
func TestConnectionsAreWatched(t *testing.T) {
	var dialed, accepted taps
	h := newHouse(t, 3, func(c *Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialed.add(dial(ctx, network, address))
		}
		c.Ports.Raft = tappedListener{c.Ports.Raft, &accepted}
	})
	for side, k := range map[string]*taps{"dialed": &dialed, "accepted": &accepted} {
		h.eventually(func() error {
			k.mu.Lock()
			defer k.mu.Unlock()
			open := 0
			for _, c := range k.all {
				switch idle, err := keepIdle(c); {
				case err != nil: // it was closed
				case idle != int(askWhetherKnown.Idle/time.Second):
					return fmt.Errorf("%s: the kernel asks after %d s, want %v", side, idle, askWhetherKnown.Idle)
				default:
					open++
				}
			}
			if open == 0 {
				return fmt.Errorf("no connection that was %s is open", side)
			}
			return nil
		})
	}
}

// keepIdle is after how many silent seconds the kernel asks.
func keepIdle(c *net.TCPConn) (idle int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	closed := raw.Control(func(fd uintptr) {
		idle, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
	})
	return idle, errors.Join(closed, err)
}
