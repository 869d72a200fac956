package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Node is one peer's part in the cluster.
type Node struct {
	cfg    Config
	id     string
	log    *slog.Logger
	papers *papers
	book   *book
	hall   *hall

	raft      *raft.Raft
	transport raft.Transport
	news      *newsTransport     // it, if it can be one; else nil
	endRaft   func() raft.Future // shuts raft down; a second call gives the same future
	stores    *stores
	replica   *replica
	roster    Roster

	client   *http.Client
	calls    *callers
	server   *http.Server
	gossip   *gossip // nil: none
	contacts *contacts
	turn     bell // rings when leader, term or raft's state may have changed
	sight    sight
	reads    *rounds
	proofs   *rounds

	term termHolder // the term that this peer leads, once its barrier has been applied

	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	able      context.Context // ends with the first fatal error as well
	disable   context.CancelFunc
	closing   sync.Once
	closeErr  error
	proposals proposals
	groups    groups        // of this peer's own entries, while it leads
	forwards  groups        // to another peer that leads
	large     chan struct{} // a place for each large command under way

	over chan struct{} // closed when raft has ended: it answers nothing any more

	workMu sync.Mutex
	work   sync.WaitGroup // goroutines of the node
	ended  bool           // no more of them are started

	dead     chan struct{} // closed by the first fatal error
	deadOnce sync.Once
	deadErr  error
}

// Bootstrap makes the first peer of a new cluster: with it alone as a voter.
// It is called once, before the first Open.
func Bootstrap(cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("bootstrap cluster: %w", err)
	}
	s, err := openStores(cfg, func(error) {})
	if err != nil {
		return fmt.Errorf("bootstrap cluster: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	self := raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(cfg.Identity.PeerID), Address: raft.ServerAddress(cfg.Identity.PeerID)}
	err = raft.BootstrapCluster(raftConfig(cfg, nil, hclog.NewNullLogger()), s.logs, s.stable, s.snapshots, nil,
		raft.Configuration{Servers: []raft.Server{self}})
	if err != nil {
		return fmt.Errorf("bootstrap cluster: %w", err)
	}
	return nil
}

// Open starts this peer. When it returns, the machine holds what this peer
// knew to be committed, whether there is a quorum or not. The ports of cfg and
// the node's goroutines last until Close, or until Open fails. ctx is for the
// opening alone.
func Open(ctx context.Context, cfg Config, machine Machine, roster Roster, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, errors.Join(fmt.Errorf("open cluster: %w", err), cfg.Ports.closeTaken())
	}
	n := &Node{
		cfg: cfg, id: cfg.Identity.PeerID, roster: roster, log: log,
		book: newBook(cfg.Identity.Peers), contacts: newContacts(cfg.Now), dead: make(chan struct{}), over: make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	n.able, n.disable = context.WithCancel(n.ctx)
	n.replica = &replica{machine: machine, log: log, fail: n.fail}
	n.replica.whole.Store(machine.Index())
	n.groups.most, n.groups.carry, n.groups.over = maxEntriesUnderway, n.writeEntry, n.able.Done()
	n.groups.gathers = true
	n.forwards.most, n.forwards.carry, n.forwards.over = maxForwardsUnderway, n.forward, n.able.Done()
	n.large = make(chan struct{}, largeAtOnce)
	n.reads, n.proofs = newRounds(n, n.askIndex), newRounds(n, n.proveIndex)
	if err := n.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open cluster: %w", err), n.Close())
	}
	return n, nil
}

// open starts the parts, each on top of the ones before.
func (n *Node) open() (err error) {
	if n.stores, err = openStores(n.cfg, n.fail); err != nil {
		return err
	}
	n.stores.ballast.said = func(path string) {
		n.log.Warn("the disk is full; the ballast file is removed, so that what there is to write finds room: make room under the data folder", "path", path)
	}
	base, err := n.stores.preflight(n.cfg.DataDir)
	if err != nil {
		return err
	}
	committed, err := n.stores.logs.committed()
	if err != nil {
		return err
	}
	if n.papers, err = newPapers(n.cfg.Identity, n.cfg.DataDir); err != nil {
		return err
	}
	n.hall = newHall(&door{n.cfg.Identity.ClusterID, n.papers, n.book}, n.cfg, n.log)
	n.client = n.newClient()
	n.calls = newCallers(n.ctx, n.start, func(ctx context.Context, id string) (net.Conn, error) {
		return n.hall.dial(ctx, id, protoCall)
	})
	if err := n.startRaft(); err != nil {
		return err
	}
	if err := n.replica.replay(n.stores.logs, base+1, committed); err != nil {
		return errors.Join(n.failed(), fmt.Errorf("replay the log: %w", err))
	}
	n.server = n.newServer()
	n.start(n.hall.run, n.serve, n.serveCalls, n.followRoster, n.lead, n.pingLoop, n.watchDisk, n.noteLoop, n.suffrageLoop, n.ballastLoop)
	return n.startGossip()
}

// start runs functions that end with the node; none once it is closing.
func (n *Node) start(loops ...func()) {
	for _, loop := range loops {
		if n.begin() {
			go func() {
				defer n.work.Done()
				loop()
			}()
		}
	}
}

// begin counts a piece of work that Close waits for, unless the node is closing.
func (n *Node) begin() bool {
	n.workMu.Lock()
	defer n.workMu.Unlock()
	if !n.ended {
		n.work.Add(1)
	}
	return !n.ended
}

// awaitWork waits for all that has begun.
func (n *Node) awaitWork() {
	n.workMu.Lock()
	n.ended = true
	n.workMu.Unlock()
	n.work.Wait()
}

// startRaft restores the newest snapshot and joins in. A panic of raft's
// while it looks at its stores becomes an error with a way out.
func (n *Node) startRaft() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("raft cannot start from what lies in %s: %v. Move the folder aside and join again; "+
				"if this is the only peer, restore it from a backup", n.cfg.DataDir, p)
		}
	}()
	changes := make(chan bool, 8)
	n.transport = n.cfg.RaftTransport
	if n.transport == nil {
		n.transport = n.newTransport()
	}
	if t, able := n.transport.(raftTransport); able {
		n.news = newNewsTransport(n.ctx, t, n.standsBack, n.sends, n.settle, n.follows)
		n.news.answered = n.answered
		n.transport, n.stores.logs.stored = n.news, n.news.look
	}
	n.start(func() { n.drain(changes) })
	logs := &raftLogs{journal: n.stores.logs, fail: n.fail}
	values := raftValues{vault{n.stores.disk.stable, n.stores.disk}, n.fail, &logs.running, roomWait}
	n.raft, err = raft.NewRaft(raftConfig(n.cfg, changes, newRaftLog(n.ctx, n.log)), n.replica, logs, values, strictSnapshots{n.stores.snapshots, n.stores.logs}, n.transport)
	if err != nil {
		return errors.Join(n.failed(), fmt.Errorf("start raft: %w", err))
	}
	logs.running.Store(true)
	n.endRaft = sync.OnceValue(n.raft.Shutdown)
	if n.news != nil {
		n.news.up.Store(true)
		n.start(func() { n.news.run(n.ctx, n.hears) })
	}
	n.book.watchRaft(func(id string) bool {
		return slices.ContainsFunc(n.Servers(), func(s Server) bool { return s.ID == id })
	})
	n.observe()
	n.start(n.endWithFailure)
	return nil
}

func raftConfig(cfg Config, changes chan<- bool, log hclog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.Identity.PeerID)
	c.HeartbeatTimeout, c.ElectionTimeout = cfg.timeout(), cfg.timeout()
	c.CommitTimeout = cfg.CommitTimeout
	c.LeaderLeaseTimeout = cfg.timeout()
	c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = cfg.SnapshotThreshold, cfg.SnapshotInterval, cfg.TrailingLogs
	c.NotifyCh = changes
	c.Logger = log
	c.NoLegacyTelemetry = true
	c.RestoreCommittedLogs = true // makes raft stage the commit index; see journal
	c.ShutdownOnRemove = false    // a removed peer says so; it does not vanish
	return c
}

// raftIO is how long one message of raft's may take on the wire.
const raftIO = 5 * time.Second

// newTransport carries raft's messages over the hall. One request at a time
// for each follower: raft's pipeline can wedge for ever after a refused append
// (hashicorp/raft 612) and buys little in a local network (541).
func (n *Node) newTransport() raft.Transport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  raftStream{&n.hall.raft, n.ctx, n.hall, raft.ServerAddress(n.id)},
		Logger:                  newRaftLog(n.ctx, n.log),
		MaxPool:                 3,
		MaxRPCsInFlight:         1,
		Timeout:                 raftIO,
		MsgpackUseNewTimeFormat: true,
	})
}

// fail ends the node: Wait returns the first error that it is called with.
func (n *Node) fail(err error) {
	n.deadOnce.Do(func() {
		n.log.Error("this peer stops", "err", err)
		n.deadErr = err
		close(n.dead)
		n.disable()
	})
}

// endWithFailure takes a peer that has failed out of raft, so that the others
// elect a leader that can go on.
func (n *Node) endWithFailure() {
	select {
	case <-n.dead:
		n.endRaft()
	case <-n.ctx.Done():
	}
}

// failed is the error that ended the node; nil while it runs.
func (n *Node) failed() error {
	select {
	case <-n.dead:
		return n.deadErr
	default:
		return nil
	}
}

// Wait blocks until ctx ends (nil) or the node cannot go on: an entry that
// cannot be applied, a disk that failed. Then the process should end.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.ctx.Done():
		return nil
	case <-n.dead:
		return n.deadErr
	}
}

// Times of a graceful end.
const (
	drainTime    = time.Second     // for proposals in hand
	handoverTime = 3 * time.Second // for another peer to lead
)

// Close hands leadership over if this peer has it, leaves gossip and ends
// everything that Open began. The ports are closed, but for the API's.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

// snapshotTime bounds the last snapshot: what stops a service waits 90 s by default (systemd).
const snapshotTime = 30 * time.Second

// snapshotAtEnd makes a snapshot. Without one the next start only takes longer.
func (n *Node) snapshotAtEnd() {
	if n.failed() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, snapshotTime)
	defer cancel()
	if err := n.await(ctx, n.raft.Snapshot()); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		n.log.Info("no snapshot at the end; the next start applies the log again", "err", err)
	}
}

func (n *Node) close() error {
	if n.raft != nil {
		ctx, cancel := context.WithTimeout(n.ctx, handoverTime)
		if err := n.stepAside(ctx, ""); err != nil && len(voters(n.Servers())) > 1 {
			n.log.Warn("leadership was not handed over; the others elect", "err", err)
		}
		cancel()
		n.proposals.drain(drainTime)
		if n.cfg.SnapshotAtEnd {
			n.snapshotAtEnd()
		}
	}
	n.gossip.leave()
	n.cancel()
	var errs []error
	if n.server != nil {
		errs = append(errs, n.server.Close())
	}
	if n.raft != nil {
		n.endRaft()
	}
	if t, ok := n.transport.(raft.WithClose); ok {
		errs = append(errs, t.Close())
	}
	if n.client != nil {
		n.client.CloseIdleConnections()
	}
	if n.hall != nil {
		errs = append(errs, n.hall.close())
	}
	return errors.Join(append(errs, n.letGo(), n.cfg.Ports.closeTaken())...)
}

// endTime is how long the end of raft may take, and that of what this node has begun.
const endTime = 10 * time.Second

// letGo waits for raft, whose connections are gone, and for the node's own work, and closes
// the stores. All of that waits for a disk that hangs; then it is left behind.
func (n *Node) letGo() error {
	ended := make(chan error, 1)
	go func() {
		var errs []error
		if n.raft != nil {
			errs = append(errs, n.endRaft().Error())
		}
		close(n.over)
		n.awaitWork()
		if n.raft != nil {
			n.noteCommitted()
		}
		if n.stores != nil {
			errs = append(errs, n.stores.close())
		}
		ended <- errors.Join(errs...)
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(endTime):
		return fmt.Errorf("what this peer had in hand has not ended within %s, and is left behind: does the disk under %s answer?", endTime, n.cfg.DataDir)
	}
}
