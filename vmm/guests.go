package vmm

import (
	"maps"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
)

// guests are the VMs that are on, and what was found out about their insides.
type guests struct {
	mu   sync.Mutex
	on   map[string]time.Time       // since when it was seen on
	seen map[string][]api.VMAddress // addresses that it was last seen to use
}

func newGuests() *guests {
	return &guests{on: map[string]time.Time{}, seen: map[string][]api.VMAddress{}}
}

// look takes in which VMs are on now.
func (g *guests) look(ids []string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.on
	g.on = make(map[string]time.Time, len(ids))
	for _, id := range ids {
		since, was := before[id]
		if !was {
			since = now
		}
		g.on[id] = since
	}
	for id := range g.seen {
		if _, still := g.on[id]; !still {
			delete(g.seen, id)
		}
	}
}

// forget makes the next look take a VM for one that was just switched on.
func (g *guests) forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.on, id)
}

// since are the VMs that are on, and since when.
func (g *guests) since() map[string]time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.on)
}

func (g *guests) saw(id string, found []api.VMAddress) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen[id] = found
}

// addresses are what the VMs that are on were last seen to use.
func (g *guests) addresses() map[string][]api.VMAddress {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.seen)
}
