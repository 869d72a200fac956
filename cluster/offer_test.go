package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// stuck is a transport whose messages of entries to one peer wait while it is held.
type stuck struct {
	raftTransport
	to   raft.ServerID // set before held
	held atomic.Bool
	free chan struct{} // closed when it is held no more
}

func (s *stuck) AppendEntries(id raft.ServerID, target raft.ServerAddress, q *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse) error {
	if s.held.Load() && id == s.to && !isHeartbeat(q) {
		<-s.free
		return errors.New("it was held")
	}
	return s.raftTransport.AppendEntries(id, target, q, a)
}

// AppendEntriesPipeline is not there, as on a node.
func (s *stuck) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// refusesAfterTwoOffers tells whether a leader that has offered leadership to a lagging
// voter twice refuses commands when it leads again, much later.
func refusesAfterTwoOffers(t *testing.T) (refuses bool) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		names := []raft.ServerAddress{"a", "b", "c"}
		inner, rafts := map[raft.ServerAddress]*raft.InmemTransport{}, map[raft.ServerAddress]*raft.Raft{}
		news, holds := map[raft.ServerAddress]*newsTransport{}, map[raft.ServerAddress]*stuck{}
		var servers []raft.Server
		for _, name := range names {
			_, inner[name] = raft.NewInmemTransport(name)
			servers = append(servers, raft.Server{ID: raft.ServerID(name), Address: name})
		}
		for _, name := range names {
			for _, other := range names {
				inner[name].Connect(other, inner[other])
			}
			holds[name] = &stuck{raftTransport: inner[name], free: make(chan struct{})}
			n := newNewsTransport(ctx, holds[name], func() bool { return false }, func(raft.ServerID, uint64) bool { return false }, asItIs, followsNobody)
			news[name] = n
			all.Go(func() { n.run(ctx, func(told) (ready, moot bool) { return false, true }) })
			cfg := raft.DefaultConfig()
			cfg.LocalID, cfg.Logger = raft.ServerID(name), hclog.NewNullLogger()
			cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = time.Second/2, time.Second/2, time.Second/2
			store, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
			must(t, raft.BootstrapCluster(cfg, store, store, snapshots, news[name], raft.Configuration{Servers: servers}))
			r, err := raft.NewRaft(cfg, &counter{}, store, store, snapshots, news[name])
			must(t, err)
			news[name].up.Store(true)
			rafts[name] = r
		}
		leads := func() (name raft.ServerAddress) {
			for began := time.Now(); ; time.Sleep(time.Millisecond) {
				for name, r := range rafts {
					if r.State() == raft.Leader {
						return name
					}
				}
				if time.Since(began) > time.Hour {
					t.Fatal("nobody leads")
				}
			}
		}
		first := leads()
		lagging := names[0]
		if first == lagging {
			lagging = names[1]
		}
		must(t, rafts[first].Apply([]byte("a"), 0).Error())
		time.Sleep(time.Second) // virtual: everybody has it
		holds[first].to = raft.ServerID(lagging)
		holds[first].held.Store(true)
		must(t, rafts[first].Apply([]byte("b"), 0).Error())
		offers := 0
		for range 2 {
			term := rafts[first].CurrentTerm()
			if news[first].audience.claim(raft.ServerID(lagging), term) {
				offers++
				if err := rafts[first].LeadershipTransferToServer(raft.ServerID(lagging), lagging).Error(); err == nil {
					t.Fatal("a voter that gets no entries took over")
				}
			}
			time.Sleep(time.Second)
		}
		if offers != 1 {
			t.Errorf("leadership was offered %d times, want once", offers)
		}
		// Leadership goes to the other and, later, comes back.
		for _, name := range names {
			inner[first].Disconnect(name)
			inner[name].Disconnect(first)
		}
		for rafts[first].State() == raft.Leader {
			time.Sleep(time.Millisecond)
		}
		holds[first].held.Store(false)
		close(holds[first].free)
		for _, name := range names {
			inner[first].Connect(name, inner[name])
			inner[name].Connect(first, inner[first])
		}
		for {
			time.Sleep(10 * time.Second)
			now := leads()
			if now == first {
				break
			}
			rafts[now].LeadershipTransferToServer(raft.ServerID(first), first).Error() // until it works
		}
		time.Sleep(10 * time.Second)
		refuses = errors.Is(rafts[first].Apply([]byte("c"), time.Second).Error(), raft.ErrLeadershipTransferInProgress)
		cancel()
		for _, r := range rafts {
			must(t, r.Shutdown().Error())
		}
		all.Wait()
	})
	return refuses
}

// TestTwoOffersToALaggingVoter: raft alone, which is offered twice what is claimed once here,
// leaves two goroutines behind three times in four and refuses commands for good.
func TestTwoOffersToALaggingVoter(t *testing.T) {
	for range 10 {
		if refusesAfterTwoOffers(t) {
			t.Fatal("a leader that offered leadership to a lagging voter refuses commands, for good")
		}
	}
}

// TestLeadershipIsOfferedOnceAtATime: to a peer that has not answered, in one term, not
// again before it has certainly been sent the question.
func TestLeadershipIsOfferedOnceAtATime(t *testing.T) {
	var a audience
	sent := func(id raft.ServerID, messages int) {
		for range messages {
			a.got(a.of(id), true)
		}
	}
	claims := func(id raft.ServerID, term uint64, want bool) {
		t.Helper()
		if got := a.waits(id, term); got == want {
			t.Errorf("%s in term %d: an offer waits for its answer: %t", id, term, got)
		}
		if got := a.claim(id, term); got != want {
			t.Errorf("%s in term %d may be offered leadership: %t, want %t", id, term, got, want)
		}
	}
	sent("b", 7)
	claims("b", 3, true)
	claims("b", 3, false) // it has not answered
	claims("c", 3, true)  // another has nothing to do with it
	claims("b", 4, true)  // raft asks anew in each term
	sent("b", answered-1)
	a.got(a.of("b"), false) // a heartbeat goes another way
	claims("b", 4, false)
	sent("b", 1)
	claims("b", 4, true)
	a.given("b") // it has been asked to lead
	claims("b", 4, true)
	claims("b", 4, false)
}
