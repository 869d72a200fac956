package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
	"github.com/orchd/orchd/sysvc"
	"github.com/orchd/orchd/sysvc/modules"
	"github.com/orchd/orchd/vmm"
)

// Peer is one host of the cluster: hub and spoke in one.
type Peer struct {
	cfg       Config
	log       *slog.Logger
	identity  cluster.Identity
	addresses api.PeerAddresses
	ports     *cluster.Ports

	machine   *fsm.Machine
	node      *cluster.Node
	writer    *fsm.Writer
	marks     *marks
	chronicle *chronicle
	moments   *moments
	exports   exports
	keyring   keyring
	outgoing  outgoing
	access    access
	disagree  disagreement
	rooms     rooms
	rafts     *snapshot.Store // raft's own snapshots

	modules  *modules.Store
	services *sysvc.Services

	images     *images
	hypervisor vmm.Hypervisor // nil: this peer runs no virtual machines
	loop       *vmm.Loop      // nil: the same
	driver     string
	registry   *prometheus.Registry
	web        *server.Server
	socket     net.Listener // of the API, for root on this host
	doors      doors

	startedExpired time.Time // when its certificate had ended as it started; zero: it was good

	alone   bool          // it is the whole work of its process
	opened  chan struct{} // closed when all of the above is there: others may call before
	left    chan struct{} // closed when this peer has taken itself out
	leaving sync.Once
}

var _ server.Backend = (*Peer)(nil)

// Serve runs an enrolled peer until ctx ends, or until it cannot go on. It is
// the whole work of its process: raft's and gossip's metrics go to it.
func Serve(ctx context.Context, cfg Config, log *slog.Logger) (err error) {
	registry := prometheus.NewRegistry()
	if err := cluster.RegisterMetrics(registry); err != nil {
		return err
	}
	collectAtStart()
	p, err := open(ctx, cfg, registry, log)
	if err != nil {
		return err
	}
	p.alone = true
	ended, failed := make(chan error, 1), make(chan error, 1)
	go func() { ended <- errors.Join(p.Run(ctx), p.Close()) }()
	go func() {
		if err := p.node.Wait(ctx); err != nil {
			failed <- err
		}
	}()
	select {
	case err := <-ended:
		return err
	case err = <-failed:
	}
	// A disk that hangs keeps whoever waits for it, and would keep the process.
	select {
	case err := <-ended:
		return err
	case <-time.After(endTime):
		return fmt.Errorf("%w. What was in hand has not ended within %s, and is left behind", err, endTime)
	}
}

// endTime is how long a peer that has failed may take to let go of everything.
const endTime = 10 * time.Second

// Open starts what Init or Join left in the data folder. When it returns, the
// ports are open and the tables hold what this peer knew to be committed.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Peer, error) {
	return open(ctx, cfg, prometheus.NewRegistry(), log)
}

func open(ctx context.Context, cfg Config, registry *prometheus.Registry, log *slog.Logger) (*Peer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, &api.Error{Kind: api.Invalid, Msg: err.Error()}
	}
	identity, err := cluster.LoadIdentity(cfg.DataDir)
	if err != nil {
		return nil, &api.Error{Kind: api.NotFound, Msg: err.Error(), Err: err}
	}
	if err := wantMember(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := wantLevel(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := makeFolders(cfg.DataDir); err != nil {
		return nil, err
	}
	p, err := openCore(ctx, cfg, identity, nil, quiet(log))
	if err != nil {
		return nil, err
	}
	if err := ownWrapKey(p.machine, identity, cfg.DataDir); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.sayIfMoved()
	p.sayIfExpired()
	p.openOutgoing()
	if p.images, err = openImages(p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.openServices(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.openHost(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.openWeb(registry); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	close(p.opened)
	return p, nil
}

// isOpen tells whether the parts are all there.
func (p *Peer) isOpen() bool {
	select {
	case <-p.opened:
		return true
	default:
		return false
	}
}

// sayIfMoved warns of other addresses than the last time: a flag that was given
// to init or join, and is missing now, would move this peer without a word.
func (p *Peer) sayIfMoved() {
	me, known := p.machine.Read().Peer(p.identity.PeerID)
	if known && me.Addresses != p.addresses {
		p.log.Warn("this peer's addresses have changed; flags given to init or join must be given to serve too, or stand in orchd.toml",
			"was", me.Addresses.API, "is", p.addresses.API)
	}
}

// sayIfExpired notes that this peer's certificate has ended: it was off for long, or its
// clock has jumped. It goes on all the same, and gets another one.
func (p *Peer) sayIfExpired() {
	if cert := p.certificate(); cert != nil && p.cfg.Now().After(cert.NotAfter) {
		p.startedExpired = cert.NotAfter
		p.log.Warn("this peer's certificate has ended; the others know it by its key, and the leader renews it. If it was not off for that long, set the clock", "ended", cert.NotAfter)
	}
}

// openCore starts the replicated part. before runs on the configuration of the
// cluster before it is opened; nil for nothing.
func openCore(ctx context.Context, cfg Config, identity cluster.Identity, before func(cluster.Config) error, log *slog.Logger) (*Peer, error) {
	p := &Peer{cfg: cfg, log: log.With("self", identity.Name), identity: identity, machine: fsm.New(), opened: make(chan struct{}), left: make(chan struct{})}
	snapshots, err := snapshot.OpenStore(cfg.raftSnapshots(), p.log)
	if err != nil {
		return nil, fmt.Errorf("open raft's snapshots: %w", err)
	}
	p.rafts = snapshots
	files, err := snapshot.OpenMarks(cfg.markedDir(), p.log)
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	if err := cfg.noteLacking(files.Newest()); err != nil {
		return nil, fmt.Errorf("note that snapshots are lacking: %w", err)
	}
	quiet := still{index: p.machine.Index}
	snapshots.Still, files.Still = quiet.now, quiet.now
	p.marks = newMarks(files)
	if p.exports, err = openExports(cfg.exportsDir()); err != nil {
		return nil, err
	}
	p.moments = newMoments(cfg.Now)
	if p.chronicle, err = openChronicle(cfg.changesDir(), p.machine, p.log); err != nil {
		return nil, err
	}
	if err := p.openNode(ctx, before, snapshots); err != nil {
		return nil, errors.Join(err, p.chronicle.close())
	}
	p.marks.begins(p.node.Stats().LastIndex)
	return p, nil
}

// openNode opens the ports and joins in with the others.
func (p *Peer) openNode(ctx context.Context, before func(cluster.Config) error, snapshots *snapshot.Store) (err error) {
	cfg := p.cfg
	if p.ports, err = cluster.Listen(api.PeerAddresses{API: cfg.APIListen, Raft: cfg.RaftListen, Gossip: cfg.GossipListen}); err != nil {
		return err
	}
	p.addresses = cfg.addresses(p.ports.API.Addr(), p.ports.Raft.Addr(), p.ports.Gossip.Addr())
	c := p.clusterConfig(snapshots)
	if before != nil {
		if err := before(c); err != nil {
			return errors.Join(err, p.ports.Close())
		}
	}
	p.writer = fsm.NewWriter(p, p, p)
	if p.node, err = cluster.Open(ctx, c, p.machine, roster{p.machine}, p.log); err != nil {
		return errors.Join(err, p.ports.Close())
	}
	return nil
}

func (p *Peer) clusterConfig(snapshots *snapshot.Store) cluster.Config {
	c := cluster.DefaultConfig()
	c.Identity, c.DataDir, c.Ports, c.Advertise = p.identity, p.cfg.DataDir, p.ports, p.addresses
	c.Snapshots = verified{snapshots}
	c.PeerHandler, c.Report, c.VotersWanted = p.channel(), p.say, p.votersWanted
	c.Place, c.Hindered, c.Ballast = p.place, p.hindered, int64(p.cfg.BallastMiB)<<20
	c.Profile, c.Now = p.cfg.RaftProfile, p.cfg.Now
	c.SnapshotThreshold, c.TrailingLogs, c.SnapshotAtEnd = p.cfg.SnapshotThreshold, p.cfg.TrailingLogs, true
	return c
}

// Propose carries a command to the leader; it makes Peer a fsm.Proposer before
// the node is there.
func (p *Peer) Propose(ctx context.Context, command []byte) ([]byte, error) {
	return p.node.Propose(ctx, command)
}

// Tables are the tables as they are here; with them Peer tells a fsm.Writer which level is in force.
func (p *Peer) Tables() fsm.Reader { return p.machine.Read() }

// votersWanted is how many voters the cluster should have: a setting, alike on all peers.
func (p *Peer) votersWanted() int {
	n, err := strconv.Atoi(p.machine.Read().Setting(fsm.SettingVoters))
	if err != nil {
		return 3
	}
	return n
}

// Run serves until ctx ends, the peer has left the cluster, or the node cannot go on.
func (p *Peer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.node.Wait(ctx) })
	g.Go(func() error { return p.writeMarks(ctx) })
	g.Go(func() error { return p.node.WhileLeader(ctx, p.lead) })
	g.Go(func() error { return p.node.WhileLeader(ctx, p.leadKeys) })
	g.Go(func() error { return p.keepPapers(ctx) })
	g.Go(func() error { return p.gossip(ctx) })
	g.Go(func() error { return p.introduce(ctx) })
	g.Go(func() error { return p.audit(ctx) })
	g.Go(func() error { return p.keepLevel(ctx) })
	g.Go(func() error { return p.keepChronicle(ctx) })
	g.Go(func() error { return p.rereadSnapshots(ctx) })
	g.Go(func() error { return p.takeOverSnapshots(ctx) })
	g.Go(func() error { return p.images.keep(ctx) })
	g.Go(func() error { return p.watchFindings(ctx) })
	g.Go(func() error { return p.awaitLeave(ctx) })
	if p.alone {
		g.Go(func() error { return collect(ctx) })
	}
	g.Go(func() error { return p.refreshKeys(ctx) })
	g.Go(func() error { return p.sayIfOtherwise(ctx) })
	if p.loop != nil {
		g.Go(func() error { return p.loop.Run(ctx) })
	}
	g.Go(func() error { return p.web.Serve(ctx, p.ports.API, p.socket) })
	g.Go(func() error { return p.serveDoors(ctx) })
	g.Go(func() error { return p.serveServices(ctx) })
	g.Go(func() error { return p.serveNames(ctx) })
	p.log.Info("serving", "api", p.addresses.API, "raft", p.addresses.Raft, "gossip", p.addresses.Gossip, "driver", p.driver, "index", p.machine.Index())
	if err := g.Wait(); !errors.Is(err, errLeft) {
		return err
	}
	return nil
}

// Close hands leadership over and lets go of everything. Guests go on.
func (p *Peer) Close() error {
	var errs []error
	if p.node != nil {
		errs = append(errs, p.node.Close())
	}
	errs = append(errs, p.chronicle.close())
	if p.images != nil {
		errs = append(errs, p.images.depot.Close())
	}
	if p.services != nil {
		p.services.Close()
	}
	if p.hypervisor != nil {
		errs = append(errs, p.hypervisor.Close())
	}
	if p.socket != nil {
		if err := p.socket.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, p.doors.close(), p.ports.Close())...)
}

// Addresses are where the others reach this peer.
func (p *Peer) Addresses() api.PeerAddresses { return p.addresses }

// Node is this peer's part in the cluster, for those who look closer than the API lets them.
func (p *Peer) Node() *cluster.Node { return p.node }

// Machine is this peer's replicated state.
func (p *Peer) Machine() *fsm.Machine { return p.machine }
