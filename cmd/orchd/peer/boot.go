package peer

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sync/errgroup"
)

// doors are the listeners beside the API's own that serve a part of it without TLS.
type doors struct {
	plain net.Listener // on loopback: the fleet's routes; nil: none
	boot  net.Listener // nodes get their own boot data; nil: none
}

// openDoors opens those that the configuration asks for.
func (p *Peer) openDoors() (err error) {
	if p.doors.plain, err = listenIfSet("api.plain_listen", p.cfg.PlainListen); err != nil {
		return err
	}
	p.doors.boot, err = listenIfSet("boot.listen", p.cfg.BootListen)
	return err
}

func listenIfSet(key, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", key, err)
	}
	return l, nil
}

// serveDoors serves on them until ctx ends.
func (p *Peer) serveDoors(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if l := p.doors.plain; l != nil {
		p.log.Warn("serving the inventory without TLS on loopback: tokens pass there in clear, and whoever may watch this host's loopback sees them", "plain", l.Addr().String())
		g.Go(func() error { return p.web.ServePlain(ctx, l) })
	}
	if l := p.doors.boot; l != nil {
		p.log.Info("serving boot data to nodes by their recorded addresses, without TLS", "boot", l.Addr().String())
		g.Go(func() error { return p.web.ServeBoot(ctx, l) })
	}
	return g.Wait()
}

// close closes what was opened and not served.
func (d doors) close() error {
	var errs []error
	for _, l := range []net.Listener{d.plain, d.boot} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// isLoopback tells whether an address is reachable from this host only.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
