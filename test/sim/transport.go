package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// How long raft's messages may take.
const (
	rpcTime     = 5 * time.Second
	installTime = 30 * time.Second
)

// exchange is where the transports of the running peers find each other.
type exchange struct {
	net *network

	mu    sync.Mutex
	peers map[raft.ServerID]*transport
}

// transport carries raft's messages without bytes. Raft's addresses are peer ids,
// as they are with the transport of package cluster.
type transport struct {
	at   *exchange
	host *host
	life *life
	id   raft.ServerID
	rpcs chan raft.RPC

	ctx   context.Context
	close context.CancelFunc

	mu        sync.Mutex
	heartbeat func(raft.RPC)
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

func (x *exchange) join(l *life) *transport {
	t := &transport{at: x, host: l.host, life: l, id: raft.ServerID(l.host.id()), rpcs: make(chan raft.RPC)}
	t.ctx, t.close = context.WithCancel(context.Background())
	x.mu.Lock()
	x.peers[t.id] = t
	x.mu.Unlock()
	return t
}

// peer is the transport of a peer that runs; nil without one.
func (x *exchange) peer(id string) *transport {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.peers[raft.ServerID(id)]
}

// Close ends what is under way.
func (t *transport) Close() error {
	t.close()
	t.at.mu.Lock()
	defer t.at.mu.Unlock()
	if t.at.peers[t.id] == t {
		delete(t.at.peers, t.id)
	}
	return nil
}

// Consumer is where raft takes messages from.
func (t *transport) Consumer() <-chan raft.RPC { return t.rpcs }

// LocalAddr is the peer's id.
func (t *transport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.id) }

// EncodePeer and DecodePeer: addresses are ids.
func (t *transport) EncodePeer(id raft.ServerID, _ raft.ServerAddress) []byte { return []byte(id) }

// DecodePeer is the reverse.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler takes who answers heartbeats beside raft's main loop.
func (t *transport) SetHeartbeatHandler(f func(raft.RPC)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heartbeat = f
}

// AppendEntriesPipeline is not used: see cluster.Node.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries sends entries, or none.
func (t *transport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, q *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse) error {
	sent := *q
	sent.Entries = make([]*raft.Log, len(q.Entries))
	for i, l := range q.Entries {
		one := *l
		sent.Entries[i] = &one
	}
	return send(t, id, rpcTime, &sent, a, nil)
}

// RequestVote asks for a vote.
func (t *transport) RequestVote(id raft.ServerID, _ raft.ServerAddress, q *raft.RequestVoteRequest, a *raft.RequestVoteResponse) error {
	return send(t, id, rpcTime, q, a, nil)
}

// RequestPreVote asks whether a vote would be given.
func (t *transport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, q *raft.RequestPreVoteRequest, a *raft.RequestPreVoteResponse) error {
	return send(t, id, rpcTime, q, a, nil)
}

// TimeoutNow hands leadership over.
func (t *transport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, q *raft.TimeoutNowRequest, a *raft.TimeoutNowResponse) error {
	return send(t, id, rpcTime, q, a, nil)
}

// InstallSnapshot sends a snapshot.
func (t *transport) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, q *raft.InstallSnapshotRequest, a *raft.InstallSnapshotResponse, data io.Reader) error {
	all, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	err = send(t, id, installTime, q, a, bytes.NewReader(all))
	if err == nil && a.Success {
		t.host.world.count("installs")
	}
	return err
}

// send brings a question to a peer and its answer back.
func send[Answer any](t *transport, id raft.ServerID, limit time.Duration, question any, answer *Answer, data io.Reader) error {
	ctx, cancel := context.WithTimeout(t.ctx, limit)
	defer cancel()
	to := t.at.peer(string(id))
	if err := t.stalled(); err != nil {
		return err
	}
	if err := t.host.thaw(ctx); err != nil {
		return err
	}
	if to == nil {
		if err := t.hop(ctx, way{t.host.name, t.host.world.hostOf(string(id))}); err != nil {
			return err
		}
		return fmt.Errorf("peer %s: connection refused", id)
	}
	if err := t.hop(ctx, way{t.host.name, to.host.name}); err != nil {
		return err
	}
	if err := to.host.thaw(ctx); err != nil {
		return err
	}
	answers := make(chan raft.RPCResponse, 1)
	if err := to.take(ctx, raft.RPC{Command: question, Reader: data, RespChan: answers}); err != nil {
		return err
	}
	select {
	case r := <-answers:
		if err := t.back(ctx, to); err != nil {
			return err
		}
		if r.Error != nil {
			return r.Error
		}
		a, ok := r.Response.(*Answer)
		if !ok {
			return fmt.Errorf("peer %s answered a %T", id, r.Response)
		}
		*answer = *a
		return nil
	case <-to.ctx.Done():
		return errReset
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hop is the way of one message. One that is lost is missed for the rest of the call.
func (t *transport) hop(ctx context.Context, w way) error {
	err := t.at.net.hop(ctx, w)
	if errors.Is(err, errLost) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// back is the way of an answer: a frozen host sends and hears nothing.
func (t *transport) back(ctx context.Context, from *transport) error {
	if err := from.host.thaw(ctx); err != nil {
		return err
	}
	if from.ctx.Err() != nil {
		return errReset
	}
	if err := t.hop(ctx, way{from.host.name, t.host.name}); err != nil {
		return err
	}
	return t.host.thaw(ctx)
}

// take hands a message to raft, heartbeats beside its main loop.
func (t *transport) take(ctx context.Context, rpc raft.RPC) error {
	if t.ctx.Err() != nil {
		return errReset
	}
	if err := t.stalled(); err != nil {
		return err
	}
	t.mu.Lock()
	heartbeat := t.heartbeat
	t.mu.Unlock()
	if q, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && heartbeat != nil && q.Term != 0 && q.PrevLogEntry == 0 &&
		q.PrevLogTerm == 0 && len(q.Entries) == 0 && q.LeaderCommitIndex == 0 {
		heartbeat(rpc)
		return nil
	}
	select {
	case t.rpcs <- rpc:
		return nil
	case <-t.ctx.Done():
		return errReset
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stalled keeps the rule of the hall, which this transport goes around: a peer
// whose disk does not answer takes no part in raft.
func (t *transport) stalled() error {
	if t.host.disk.hangsFor() > stallTime {
		return errors.New("this peer's disk does not answer: it takes no part in raft until it does")
	}
	return nil
}

// stallTime is that of cluster.
const stallTime = 3 * time.Second
