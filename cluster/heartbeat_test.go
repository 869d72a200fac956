package cluster

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// rawHeartbeats is a transport that keeps raft's own handler of heartbeats.
type rawHeartbeats struct {
	*newsTransport
	handler func(raft.RPC)
}

// SetHeartbeatHandler takes raft's.
func (t *rawHeartbeats) SetHeartbeatHandler(f func(raft.RPC)) { t.handler = f }

// termsAfterHeartbeat has a leader hear the heartbeat of a later one, and a command right
// after it; it gives the leader's term, and the terms of what its log holds then.
func termsAfterHeartbeat(t *testing.T, raw bool) (term uint64, terms []uint64) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		_, inner := raft.NewInmemTransport("me")
		_, other := raft.NewInmemTransport("leader")
		inner.Connect("leader", other)
		other.Connect("me", inner)
		// The other peer votes for this one, and takes its entries.
		all.Go(func() {
			for {
				select {
				case rpc := <-other.Consumer():
					switch q := rpc.Command.(type) {
					case *raft.RequestPreVoteRequest:
						rpc.Respond(&raft.RequestPreVoteResponse{Term: q.Term, Granted: true}, nil)
					case *raft.RequestVoteRequest:
						rpc.Respond(&raft.RequestVoteResponse{Term: q.Term, Granted: true}, nil)
					case *raft.AppendEntriesRequest:
						rpc.Respond(&raft.AppendEntriesResponse{Term: q.Term, Success: true}, nil)
					}
				case <-ctx.Done():
					return
				}
			}
		})
		store := raft.NewInmemStore()
		var node *Node
		nt := newNewsTransport(ctx, inner, func() bool { return false }, func(raft.ServerID, uint64) bool { return false }, asItIs,
			func(q *raft.AppendEntriesRequest) *raft.AppendEntriesResponse { return node.follows(q) })
		rawly := &rawHeartbeats{newsTransport: nt}
		var transport raft.Transport = nt
		if raw {
			transport = rawly
		}
		cfg := raft.DefaultConfig()
		cfg.LocalID, cfg.Logger = "me", hclog.NewNullLogger()
		snapshots := raft.NewInmemSnapshotStore()
		must(t, raft.BootstrapCluster(cfg, store, store, snapshots, transport, bothServers))
		r, err := raft.NewRaft(cfg, &counter{}, store, store, snapshots, transport)
		must(t, err)
		node = &Node{id: "me", raft: r, transport: transport}
		nt.up.Store(true)
		all.Go(func() { nt.run(ctx, func(told) (ready, moot bool) { return false, true }) })
		for r.State() != raft.Leader {
			time.Sleep(time.Millisecond)
		}
		must(t, r.Apply([]byte("a"), 0).Error())
		term = r.CurrentTerm()
		handler := nt.heartbeat
		if raw {
			handler = rawly.handler
		}
		answers := make(chan raft.RPCResponse, 1)
		handler(raft.RPC{RespChan: answers, Command: &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"), Addr: []byte("leader")}, Term: term + 1,
		}})
		if a := (<-answers).Response.(*raft.AppendEntriesResponse); a.Term != term+1 || !a.Success {
			t.Errorf("the heartbeat of term %d is answered with %+v", term+1, a)
		}
		r.Apply([]byte("b"), 0).Error() // whatever becomes of it
		last, err := store.LastIndex()
		must(t, err)
		for i := uint64(1); i <= last; i++ {
			var l raft.Log
			must(t, store.GetLog(i, &l))
			terms = append(terms, l.Term)
		}
		must(t, r.Shutdown().Error())
		cancel()
		all.Wait()
	})
	return term, terms
}

// TestHeartbeatOfALaterTerm: a leader that hears one appends nothing with that term, which is
// another's. Raft by itself does.
func TestHeartbeatOfALaterTerm(t *testing.T) {
	for range 20 {
		term, terms := termsAfterHeartbeat(t, false)
		for i, of := range terms {
			if of > term {
				t.Fatalf("entry %d has the term %d of another leader; this one led %d: %v", i+1, of, term, terms)
			}
		}
	}
	for range 100 {
		term, terms := termsAfterHeartbeat(t, true)
		if terms[len(terms)-1] > term {
			return
		}
	}
	t.Error("raft alone appends nothing with the later term either: this test says nothing")
}

// TestHeartbeatIsAnsweredAtOnce where it changes nothing, though raft's loop takes
// nothing; the loop hears of the latest afterwards. Any other waits for the loop.
func TestHeartbeatIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, inner := raft.NewInmemTransport("me")
		yes := &raft.AppendEntriesResponse{Term: 7, Success: true}
		nt := newNewsTransport(ctx, inner, nil, nil, asItIs, func(q *raft.AppendEntriesRequest) *raft.AppendEntriesResponse {
			if q.Term == 7 {
				return yes
			}
			return nil
		})
		nt.SetHeartbeatHandler(nil)
		nt.up.Store(true)
		ask := func(term uint64) chan raft.RPCResponse {
			answer := make(chan raft.RPCResponse, 1)
			nt.heartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: term}, RespChan: answer})
			return answer
		}
		for range 3 {
			if got := <-ask(7); got.Response != yes {
				t.Errorf("got %+v", got)
			}
		}
		later := ask(8)
		var all sync.WaitGroup
		all.Go(func() { nt.run(ctx, func(told) (ready, moot bool) { return false, true }) })
		heard := map[uint64]int{}
		for range 2 {
			rpc := <-nt.Consumer()
			heard[rpc.Command.(*raft.AppendEntriesRequest).Term]++
			rpc.Respond(&raft.AppendEntriesResponse{Term: 8}, nil)
		}
		synctest.Wait()
		if heard[7] != 1 || heard[8] != 1 {
			t.Errorf("raft's loop heard %v, want one heartbeat of each term", heard)
		}
		if got := <-later; got.Response.(*raft.AppendEntriesResponse).Term != 8 {
			t.Errorf("the later one is answered with %+v", got.Response)
		}
		cancel()
		all.Wait()
	})
}
