package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// contender is one of those that are measured in turn.
type contender struct {
	name string
	load func(ctx context.Context, clients int, round time.Duration) (figures, error)
}

// freshPort is where the cluster listens that only creates are asked of.
const freshPort = 27900

// compare measures inventory writes (one node a request), creates of VMs, etcd's puts
// and raft alone, in rounds that take turns, and prints medians and ratios. All are
// three processes with TLS and fsync on this machine, beside their clients. The nodes
// and the VMs are in clusters of their own, so that neither carries the other's tables.
func compare(ctx context.Context, o options, dir string) (err error) {
	etcd, err := startEtcd(ctx, o, filepath.Join(dir, "etcd"))
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer etcd.stop()
	raw, err := startRaftOnly(ctx, filepath.Join(dir, "raft"))
	if err != nil {
		return fmt.Errorf("raft alone: %w", err)
	}
	defer raw.stop()
	nodes, err := startPeersAt(ctx, o.orchd, filepath.Join(dir, "nodes"), basePort)
	if err != nil {
		return fmt.Errorf("three peers for nodes: %w", err)
	}
	defer nodes.stop()
	vms, err := startPeersAt(ctx, o.orchd, filepath.Join(dir, "vms"), freshPort)
	if err != nil {
		return fmt.Errorf("three peers for VMs: %w", err)
	}
	defer vms.stop()
	fleet := &fleetRun{peers: nodes, options: o}
	return inTurn(ctx, o, []contender{
		{"etcd puts", func(_ context.Context, clients int, round time.Duration) (figures, error) {
			return etcd.load(clients, round)
		}},
		{"nodes", func(ctx context.Context, clients int, _ time.Duration) (figures, error) {
			return fleet.postRound(ctx, clients, false)
		}},
		{"creates", vms.load},
		{"raft alone", func(_ context.Context, clients int, round time.Duration) (figures, error) {
			return raw.load(clients, round)
		}},
	})
}

// inTurn prints a line for each load and contender; ratios are to the first one. A
// contender whose p50 is shorter has a lower ratio of p50.
func inTurn(ctx context.Context, o options, all []contender) error {
	fmt.Printf("| clients | | per second | p50 ms | p99 ms | per second, to %[1]s | p50, to %[1]s |\n|---:|---|---:|---:|---:|---:|---:|\n", all[0].name)
	for _, clients := range clientCounts {
		rounds := make([][]figures, len(all))
		for range o.rounds {
			for i, c := range all {
				f, err := c.load(ctx, clients, o.round)
				if err == nil && f.PerSecond == 0 {
					err = errors.New("nothing was acknowledged")
				}
				if err != nil {
					return fmt.Errorf("%s, %d clients: %w", c.name, clients, err)
				}
				rounds[i] = append(rounds[i], f)
			}
		}
		first := median(rounds[0])
		for i, c := range all {
			f := median(rounds[i])
			fmt.Printf("| %d | %s | %.0f | %.2f | %.2f | %.2f | %.2f |\n", clients, c.name, f.PerSecond, f.P50, f.P99, f.PerSecond/first.PerSecond, f.P50/first.P50)
		}
	}
	return nil
}
