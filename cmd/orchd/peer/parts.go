package peer

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/vmm"
)

// Parts is a peer made of parts that are handed in, so that a simulator runs this
// very code on a network, a disk and a clock of its own.
type Parts struct {
	Config     Config         // Name, Now, Capacity and Hypervisor count; DataDir need not exist
	Cluster    cluster.Config // what is the peer's own in it (PeerHandler, Report, VotersWanted) is filled in
	Machine    *fsm.Machine
	Replica    cluster.Machine // what the log is applied to: Machine, or something around it
	Hypervisor vmm.Hypervisor
	// Hold is called before each command is proposed: a process that is paused may be paused there.
	Hold func(ctx context.Context, command []byte) error
}

// held proposes commands once hold lets them.
type held struct {
	*Peer
	hold func(ctx context.Context, command []byte) error
}

// Propose carries a command to the leader.
func (h held) Propose(ctx context.Context, command []byte) ([]byte, error) {
	if err := h.hold(ctx, command); err != nil {
		return nil, err
	}
	return h.Peer.Propose(ctx, command)
}

// Assemble opens the replicated part and the host of a peer, and nothing that
// needs a port or a file: no API server, images, services nor change files.
// RunParts makes it work.
func Assemble(ctx context.Context, parts Parts, log *slog.Logger) (*Peer, error) {
	identity := parts.Cluster.Identity
	p := &Peer{cfg: parts.Config.withDefaults(), log: log.With("self", identity.Name), identity: identity, machine: parts.Machine,
		addresses: parts.Cluster.Advertise, opened: make(chan struct{}), left: make(chan struct{}),
		marks: newMarks(nil)} // none are written
	p.writer = fsm.NewWriter(held{p, parts.Hold}, p, p)
	c := parts.Cluster
	c.PeerHandler, c.Report, c.VotersWanted = p.channel(), p.say, p.votersWanted
	node, err := cluster.Open(ctx, c, parts.Replica, roster{p.machine}, p.log)
	if err != nil {
		return nil, err
	}
	p.node, p.hypervisor, p.driver = node, parts.Hypervisor, parts.Hypervisor.Driver()
	p.loop = vmm.New(vmm.Config{Cluster: identity.ClusterID, Peer: identity.PeerID, Name: identity.Name, Capacity: p.cfg.Capacity},
		p.hypervisor, records{p}, p.log)
	close(p.opened)
	return p, nil
}

// RunParts is Run for a peer that was assembled. It gives ErrLeft when the peer
// has been taken out of its cluster.
func (p *Peer) RunParts(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.node.Wait(ctx) })
	g.Go(func() error { return p.node.WhileLeader(ctx, p.lead) })
	g.Go(func() error { return p.gossip(ctx) })
	g.Go(func() error {
		if err := p.awaitLeave(ctx); err != nil {
			return errors.Join(ErrLeft, err)
		}
		return nil
	})
	g.Go(func() error { return p.loop.Run(ctx) })
	return g.Wait()
}

// CloseParts hands leadership over and ends what Assemble began.
func (p *Peer) CloseParts() error { return p.node.Close() }

// ErrLeft is why RunParts ends for a peer that has left.
var ErrLeft = errLeft

// Writer turns requests to this peer into commands.
func (p *Peer) Writer() *fsm.Writer { return p.writer }
