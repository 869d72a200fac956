package libvirt

import (
	"context"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
)

const (
	pingEvery   = 5 * time.Second
	pingLimit   = 3 * time.Second
	redialAfter = time.Second
)

// Watch hears the lifecycle events of all domains on a connection of its own and
// calls wake for each, and once whenever it begins to listen, because it knows
// nothing of what happened before. It goes on until ctx ends.
func (d *Driver) Watch(ctx context.Context, wake func()) {
	heard := true // so that each silence is logged once
	for ctx.Err() == nil {
		err := d.listen(ctx, func() { heard = true; wake() })
		if err != nil && heard && ctx.Err() == nil {
			d.log.Warn("libvirtd's events are not heard", "uri", d.cfg.URI, "err", err)
		}
		heard = false
		wake() // domains may have changed with libvirtd, or because of it
		select {
		case <-ctx.Done():
		case <-time.After(redialAfter):
		}
	}
}

// listen hears events on one connection until that is lost, is silent when
// pinged, or ctx ends. The subscription is never cancelled: go-libvirt deadlocks
// when events arrive meanwhile. Its socket is closed instead, and the events
// that are left are drained.
func (d *Driver) listen(ctx context.Context, wake func()) error {
	c, err := dial(ctx, d.address)
	if err != nil {
		return err
	}
	events, err := c.subscribe(ctx)
	if err != nil {
		c.close()
		return err
	}
	defer func() {
		c.close()
		for range events {
		}
	}()
	wake()
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-events:
			if !open {
				return golibvirt.ErrInterrupted
			}
			wake()
		case <-tick.C:
			if err := c.ping(ctx); err != nil {
				return err
			}
		}
	}
}

// subscribe asks for lifecycle events, which end with the connection and not with ctx.
func (c *conn) subscribe(ctx context.Context) (<-chan golibvirt.DomainEventLifecycleMsg, error) {
	limited, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return do(limited, c, func(rpc *golibvirt.Libvirt) (<-chan golibvirt.DomainEventLifecycleMsg, error) {
		return rpc.LifecycleEvents(context.WithoutCancel(ctx))
	})
}

func (c *conn) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	_, err := do(ctx, c, (*golibvirt.Libvirt).ConnectGetLibVersion)
	return err
}
