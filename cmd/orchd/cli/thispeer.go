package cli

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
	"github.com/orchd/orchd/cmd/orchd/peer"
)

// thisPeer is the Daemon of the real program.
type thisPeer struct{}

func (thisPeer) Init(ctx context.Context, c config.Config, progress io.Writer, log *slog.Logger) error {
	return peer.Init(ctx, peerConfig(c), progress, log)
}

func (thisPeer) Join(ctx context.Context, c config.Config, addr, token string, progress io.Writer, log *slog.Logger) error {
	return peer.Join(ctx, peerConfig(c), addr, token, progress, log)
}

func (thisPeer) Serve(ctx context.Context, c config.Config, log *slog.Logger) error {
	return peer.Serve(ctx, peerConfig(c), log)
}

// peerConfig says in a peer's words what the operator has set.
func peerConfig(c config.Config) peer.Config {
	return peer.Config{
		Name:         c.Name,
		DataDir:      c.DataDir,
		Advertise:    c.Advertise,
		APIListen:    c.API.Listen,
		RaftListen:   c.Raft.Listen,
		GossipListen: c.Gossip.Listen,

		Driver:     c.VMM.Driver,
		LibvirtURI: c.VMM.LibvirtURI,
		VirtType:   c.VMM.VirtType,
		Capacity: api.Resources{
			VCPUs:     c.VMM.Capacity.VCPUs,
			MemoryMiB: int64(c.VMM.Capacity.Memory / config.MiB),
			DiskGiB:   int64(c.VMM.Capacity.Disk / config.GiB),
		},
		Ratios: api.Ratios{VCPUs: c.VMM.Overcommit.VCPUs, Memory: c.VMM.Overcommit.Memory, Disk: c.VMM.Overcommit.Disk},
		Labels: c.Labels,

		RaftProfile:       c.Raft.Profile,
		Voters:            c.Voters,
		SnapshotThreshold: uint64(c.Raft.SnapshotThreshold),
		TrailingLogs:      uint64(c.Raft.TrailingLogs),
		SnapshotInterval:  c.Snapshot.Interval,
		SnapshotRetain:    c.Snapshot.Retain,

		Now:     bent(c.Clock),
		Version: thisBuild().Version,
	}
}

// bent is a clock that is ahead and runs faster or slower; nil, the machine's
// own, when it is neither.
func bent(c config.Clock) func() time.Time {
	if c == (config.Clock{Rate: 1}) {
		return nil
	}
	began := time.Now()
	return func() time.Time {
		passed := time.Duration(float64(time.Since(began)) * c.Rate)
		return began.Round(0).Add(c.Offset + passed)
	}
}
