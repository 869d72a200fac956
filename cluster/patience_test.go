package cluster

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// counter is a machine that counts what it applies.
type counter struct {
	mu    sync.Mutex
	count int
}

func (c *counter) Apply(*raft.Log) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	return nil
}

func (c *counter) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return kvSnapshot(nil), nil }
func (c *counter) Restore(io.ReadCloser) error         { return nil }

// behindAfter is how long a follower that was away for that long waits for its first entry,
// in virtual time, with raft's own peers.
func behindAfter(t *testing.T, away time.Duration, hasty bool) (waited time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var names []raft.ServerAddress
		inner := map[raft.ServerAddress]*raft.InmemTransport{}
		var servers []raft.Server
		for i := range 3 {
			name, transport := raft.NewInmemTransport(raft.ServerAddress(fmt.Sprint("p", i)))
			names, inner[name] = append(names, name), transport
			servers = append(servers, raft.Server{ID: raft.ServerID(name), Address: name})
		}
		rafts, machines := map[raft.ServerAddress]*raft.Raft{}, map[raft.ServerAddress]*counter{}
		var all sync.WaitGroup
		for _, name := range names {
			for _, other := range names {
				inner[name].Connect(other, inner[other])
			}
			var r *raft.Raft
			nt := newNewsTransport(ctx, inner[name], func() bool { return false }, func(_ raft.ServerID, term uint64) bool {
				return r.State() == raft.Leader && r.CurrentTerm() == term
			}, asItIs, followsNobody)
			nt.audience.hasty = hasty
			all.Go(func() { nt.run(ctx, func(told) (ready, moot bool) { return false, true }) })
			cfg := raft.DefaultConfig()
			cfg.LocalID, cfg.Logger = raft.ServerID(name), hclog.NewNullLogger()
			cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = time.Second/2, time.Second/2, time.Second/2
			store := raft.NewInmemStore()
			snapshots := raft.NewInmemSnapshotStore()
			must(t, raft.BootstrapCluster(cfg, store, store, snapshots, nt, raft.Configuration{Servers: servers}))
			machines[name] = &counter{}
			var err error
			r, err = raft.NewRaft(cfg, machines[name], store, store, snapshots, nt)
			must(t, err)
			nt.up.Store(true)
			rafts[name] = r
		}
		until := func(met func() bool) time.Duration {
			began := time.Now()
			for !met() {
				if time.Since(began) > time.Hour {
					t.Fatal("it did not come about within an hour")
				}
				time.Sleep(time.Millisecond)
			}
			return time.Since(began)
		}
		var leader raft.ServerAddress
		until(func() bool {
			for name, r := range rafts {
				if r.State() == raft.Leader {
					leader = name
				}
			}
			return leader != ""
		})
		var gone raft.ServerAddress
		for _, name := range names {
			if name != leader {
				gone = name
			}
		}
		must(t, rafts[leader].Apply([]byte("a"), 0).Error())
		until(func() bool { return machines[gone].now() == 1 })
		for _, name := range names {
			inner[name].Disconnect(gone)
			inner[gone].Disconnect(name)
		}
		for range away / time.Second {
			must(t, rafts[leader].Apply([]byte("b"), 0).Error())
			time.Sleep(time.Second)
		}
		for _, name := range names {
			inner[name].Connect(gone, inner[gone])
			inner[gone].Connect(name, inner[name])
		}
		want := machines[leader].now()
		waited = until(func() bool { return machines[gone].now() >= want })
		cancel()
		for _, r := range rafts {
			must(t, r.Shutdown().Error())
		}
		all.Wait()
	})
	return waited
}

// TestPeerThatIsBackGetsEntriesAtOnce: however long it was away, and whatever that made raft
// wait for.
func TestPeerThatIsBackGetsEntriesAtOnce(t *testing.T) {
	worst, without := time.Duration(0), time.Duration(0)
	for _, away := range []time.Duration{4, 15, 31, 120} {
		worst = max(worst, behindAfter(t, away*time.Second, false))
		without = max(without, behindAfter(t, away*time.Second, true))
	}
	t.Logf("its first entries come after %s at worst, as raft would have it after %s", worst, without)
	if worst > time.Second {
		t.Errorf("a peer that is back waits %s for its first entries", worst)
	}
	if without < 2*time.Second {
		t.Errorf("raft alone lets it wait %s: this test says nothing", without)
	}
}
