package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	all := []contender{
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
	}
	all = slices.DeleteFunc(all, func(c contender) bool { return !o.wants(c.name) })
	if len(all) == 0 {
		return fmt.Errorf("%q is none of those that are compared", o.only)
	}
	return inTurn(ctx, o, all)
}

// inTurn prints a line for each load and contender; ratios are to the first one. A
// contender whose p50 is shorter has a lower ratio of p50. The last column is the time of
// all processors that an operation took, of its client and three servers, and of whatever
// else runs here.
func inTurn(ctx context.Context, o options, all []contender) error {
	fmt.Printf("| clients | | per second | p50 ms | p99 ms | per second, to %[1]s | p50, to %[1]s | processors, ms each |\n|---:|---|---:|---:|---:|---:|---:|---:|\n", all[0].name)
	failed := 0
	for _, clients := range o.clients {
		rounds, spent := make([][]figures, len(all)), make([][]float64, len(all))
		for range o.rounds {
			for i, c := range all {
				awaitCalm(ctx)
				before := busy()
				f, err := c.load(ctx, clients, o.round)
				spent[i] = append(spent[i], (busy()-before).Seconds()*1000/f.PerSecond/o.round.Seconds())
				if err == nil && f.PerSecond == 0 {
					err = errors.New("nothing was acknowledged")
				}
				if err != nil {
					return fmt.Errorf("%s, %d clients: %w", c.name, clients, err)
				}
				rounds[i] = append(rounds[i], f)
				failed += f.Failed
			}
		}
		first := median(rounds[0])
		for i, c := range all {
			f := median(rounds[i])
			slices.Sort(spent[i])
			fmt.Printf("| %d | %s | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", clients, c.name, f.PerSecond, f.P50, f.P99, f.PerSecond/first.PerSecond, f.P50/first.P50, spent[i][len(spent[i])/2])
		}
	}
	if failed > 0 {
		fmt.Printf("\netcd's servers gave up %d puts, which are not counted\n", failed)
	}
	return nil
}

// awaitCalm returns when nobody works at what the load before has left to do, or after half
// a minute: VMs that were acknowledged are made in the background.
func awaitCalm(ctx context.Context) {
	const step, calm = time.Second / 4, 0.25 // of a processor
	for range int(30 * time.Second / step) {
		before := busy()
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return
		}
		if (busy() - before).Seconds() < calm*step.Seconds() {
			return
		}
	}
}

// busy is for how long this machine's processors have worked since it was started, all
// together (proc(5), /proc/stat, in ticks of 10 ms).
func busy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var user, nice, system, idle, iowait, irq, softirq int64
	if _, err := fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq); err != nil {
		return 0
	}
	return time.Duration(user+nice+system+irq+softirq) * 10 * time.Millisecond
}
