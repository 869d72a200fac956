package vmm

import (
	"context"
	"sync"
	"time"
)

// VMStats are the counters of one of our VMs that is on.
type VMStats struct {
	VM      string // id
	Name    string
	Account string
	Stats
}

// statsLife is how old the counters may be that are given out: whoever asks more
// often than that does not trouble the hypervisor.
const statsLife = 5 * time.Second

type statsCache struct {
	mu    sync.Mutex
	stats []Stats
	at    time.Time
}

// Stats are the counters of this host's VMs that are on, at most 5 s old.
func (l *Loop) Stats(ctx context.Context) ([]VMStats, error) {
	all, err := l.stats.of(ctx, l.hv)
	if err != nil {
		return nil, err
	}
	wanted, _ := l.records.Wanted()
	var known []VMStats
	for _, s := range all {
		if row, ok := wanted.Row(s.UUID); ok && row.Status.OwnerID == l.cfg.Peer {
			known = append(known, VMStats{VM: row.ID, Name: row.Name, Account: row.Account, Stats: s})
		}
	}
	return known, nil
}

// of asks the hypervisor when nobody has for a while; those who come meanwhile wait.
func (c *statsCache) of(ctx context.Context, hv Hypervisor) ([]Stats, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && time.Since(c.at) < statsLife {
		return c.stats, nil
	}
	stats, err := hv.Stats(ctx)
	if err != nil {
		return nil, err
	}
	c.stats, c.at = stats, time.Now()
	return stats, nil
}
