package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	armonmetrics "github.com/armon/go-metrics"
	armonprometheus "github.com/armon/go-metrics/prometheus"
	"github.com/hashicorp/go-metrics"
	metricsprometheus "github.com/hashicorp/go-metrics/prometheus"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchd/orchd/api"
)

// Stats are numbers on this peer's part in raft.
type Stats struct {
	State        string        // Follower, Candidate, Leader, Shutdown
	Term         uint64        // raft's
	LastIndex    uint64        // last entry in the log here
	CommitIndex  uint64        // last entry known to be on a majority
	AppliedIndex uint64        // last entry that the machine has applied
	LastWrite    time.Duration // what the last write to the log took
	SlowestWrite time.Duration // the slowest since the start
	DiskStalled  bool          // the disk does not answer: this peer takes no part in raft
}

// Stats gives the numbers as they are now.
func (n *Node) Stats() Stats {
	last, slowest := n.stores.disk.times()
	return Stats{
		State: n.raft.State().String(), Term: n.raft.CurrentTerm(),
		LastIndex: n.raft.LastIndex(), CommitIndex: n.raft.CommitIndex(), AppliedIndex: n.replica.whole.Load(),
		LastWrite: last, SlowestWrite: slowest, DiskStalled: n.hall.stalled.Load(),
	}
}

// Snapshot makes raft take one of this peer's state now and shorten its log. It
// returns when the snapshot is on disk; nothing new since the last one is no error.
func (n *Node) Snapshot(ctx context.Context) error {
	if n.IsLeader() {
		// Right after a change of raft's configuration a snapshot is refused
		// until something else has been applied (hashicorp/raft 617).
		if err := n.await(ctx, n.raft.Barrier(0)); err != nil {
			return api.Errorf(api.Unavailable, "cluster.snapshot", "the log could not be brought up to date: %w", err)
		}
	}
	err := n.await(ctx, n.raft.Snapshot())
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}

// metricsKept is for how long a series is shown after its last value.
const metricsKept = 5 * time.Minute

// RegisterMetrics lets a registry show what raft, bolt and memberlist measure
// (raft_*, memberlist_*). These libraries know only one sink per process, and not
// the same one: raft and memberlist write to hashicorp/go-metrics, raft-boltdb,
// through its compat package, to armon/go-metrics. It is called once, before Open.
func RegisterMetrics(reg prometheus.Registerer) error {
	sink, err := metricsprometheus.NewPrometheusSinkFrom(metricsprometheus.PrometheusOpts{
		Registerer: reg, Expiration: metricsKept, Name: "orchd_raft_sink",
	})
	if err != nil {
		return fmt.Errorf("register raft's metrics: %w", err)
	}
	cfg := metrics.DefaultConfig("")
	cfg.EnableHostname, cfg.EnableRuntimeMetrics = false, false
	if _, err := metrics.NewGlobal(cfg, sink); err != nil {
		return fmt.Errorf("register raft's metrics: %w", err)
	}
	boltSink, err := armonprometheus.NewPrometheusSinkFrom(armonprometheus.PrometheusOpts{
		Registerer: reg, Expiration: metricsKept, Name: "orchd_bolt_sink",
	})
	if err != nil {
		return fmt.Errorf("register bolt's metrics: %w", err)
	}
	boltCfg := armonmetrics.DefaultConfig("")
	boltCfg.EnableHostname, boltCfg.EnableRuntimeMetrics = false, false
	if _, err := armonmetrics.NewGlobal(boltCfg, boltSink); err != nil {
		return fmt.Errorf("register bolt's metrics: %w", err)
	}
	return nil
}
