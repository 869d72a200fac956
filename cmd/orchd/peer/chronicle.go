package peer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// chronicle keeps what entries of the log change: it takes it from the machine and
// gives it to the change files, from before the first entry is applied until after
// the last.
type chronicle struct {
	files *snapshot.History
	stop  context.CancelFunc
	ended chan struct{}

	mu   sync.Mutex
	lost error // why changes could not be kept, while they cannot
}

// losing is why changes are not kept just now; nil when they are.
func (c *chronicle) losing() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

func (c *chronicle) setLosing(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = err
}

// openChronicle begins where the change files in dir end.
func openChronicle(dir string, machine *fsm.Machine, log *slog.Logger) (*chronicle, error) {
	files, err := snapshot.OpenHistory(dir, log)
	if err != nil {
		return nil, fmt.Errorf("open changes: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &chronicle{files: files, stop: stop, ended: make(chan struct{})}
	files.OnDurable(func(index uint64) {
		c.setLosing(nil)
		machine.ChangesDurable(index)
	})
	machine.OnLostChanges(func(to uint64, err error) {
		c.setLosing(err)
		log.Error("changes cannot be kept: what is missed is fetched from another peer later", "index", to, "err", err)
	})
	machine.KeepChanges(files.End())
	go func() {
		defer close(c.ended)
		_ = machine.WriteChanges(ctx, files) // it ends with ctx, and gives no other error
	}()
	return c, nil
}

// close writes what waits. The node must have been closed: its last snapshot waits for changes.
func (c *chronicle) close() error {
	c.stop()
	<-c.ended
	return c.files.Close()
}

// keepChronicle fills gaps of the change files from other peers, and deletes what
// is past its time, until ctx ends.
func (p *Peer) keepChronicle(ctx context.Context) error {
	tick := time.NewTicker(p.cfg.HistoryLook)
	defer tick.Stop()
	for {
		p.retireChanges()
		p.moments.expire()
		if err := p.backfill(ctx); err != nil && ctx.Err() == nil && len(p.chronicle.files.Gaps()) > 0 { // or who did not answer was not needed
			p.log.Warn("missing changes were not fetched; tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// retireChanges deletes the files of changes that are past their time.
func (p *Peer) retireChanges() {
	gone, err := p.chronicle.files.Retire(p.oldestWanted())
	if err != nil {
		p.log.Warn("old changes not deleted; tried again", "err", err)
	}
	if len(gone) > 0 {
		p.log.Info("old changes deleted", "ranges", gone)
	}
}

// oldestWanted is the time before which changes are not kept.
func (p *Peer) oldestWanted() time.Time {
	r := p.machine.Read()
	if r.Now().IsZero() {
		return time.Time{}
	}
	return p.soberNow(r).Add(-r.HistoryRetainFor())
}

// soberNow is what is taken for the time where something is deleted for its age: the cluster's,
// but not later than this host's. One leader whose clock ran ahead moves the cluster's for
// good, on every peer, and years of history would be past their time at once.
func (p *Peer) soberNow(r fsm.Reader) time.Time {
	if own := p.cfg.Now(); own.Before(r.Now()) {
		return own
	}
	return r.Now()
}
