// Command bench measures a cluster from its users' side: three orchd processes
// on this machine, TLS and fsync on, with simulated hypervisors.
//
// It prints how many VM creates are acknowledged per second at 1, 16, 64 and
// 256 clients, beside what the same raft set-up carries with nothing on top, in
// rounds that take turns; and how long a client waits for its next acknowledged
// create when the leader is killed. Run it with: make bench
//
// With -etcd it compares inventory writes and creates with etcd's puts and with raft
// alone: make bench-compare. With -fleet it measures the inventory instead, with -guests what users of virtual
// machines wait for, in labs of hosts with a libvirt each: make bench-guests
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "raft-only" {
		if err := raftOnly(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	o := options{clients: []int{1, 16, 64, 256}}
	flag.StringVar(&o.orchd, "orchd", "", "the orchd program to measure")
	flag.DurationVar(&o.round, "round", 5*time.Second, "how long each round takes")
	flag.Func("clients", "how many clients at a time, with commas between: 1,16,64,256", o.setClients)
	flag.IntVar(&o.rounds, "rounds", 3, "how many rounds for each number of clients")
	flag.IntVar(&o.kills, "kills", 40, "how many times the leader is killed")
	flag.IntVar(&o.fleet, "fleet", 0, "measure the inventory, with so many nodes, instead of virtual machines")
	flag.StringVar(&o.guests, "guests", "", "measure what users wait for, as root, with real guests: all, or some of acks,list,virsh,hundred")
	flag.StringVar(&o.etcd, "etcd", "", "compare with this etcd server; needs -puts")
	flag.StringVar(&o.puts, "puts", "", "the program that loads etcd: test/compare")
	flag.StringVar(&o.only, "only", "", "of those that are compared, or of the steps with a fleet, these alone, with semicolons between: to look at them with a profiler")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	orchd         string
	round         time.Duration
	clients       []int // numbers of clients that work at a time
	rounds, kills int
	fleet         int    // nodes of the inventory; 0: VMs are measured instead
	etcd, puts    string // programs to compare with; empty: no comparison
	only          string // those that are compared, or the fleet's steps, with semicolons between; empty: all
	guests        string // parts of guestParts, or all; empty: creates are measured instead
}

// wants tells whether a contender or step is among those that were asked for.
func (o options) wants(name string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ";"), name)
}

func (o options) command() string {
	if o.fleet > 0 {
		return fmt.Sprintf("make bench-fleet FLEET=%d", o.fleet)
	}
	if o.etcd != "" {
		return "make bench-compare"
	}
	if o.guests == "all" {
		return "make bench-guests"
	} else if o.guests != "" {
		return "make bench-guests GUESTS=" + o.guests
	}
	return "make bench"
}

// setClients reads numbers with commas between.
func (o *options) setClients(list string) error {
	o.clients = nil
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of clients", text)
		}
		o.clients = append(o.clients, n)
	}
	return nil
}

func bench(ctx context.Context, o options) error {
	if o.guests != "" {
		fmt.Printf("machine: %s\ndate: %s\ncommand: %s\n\n", machine(), time.Now().UTC().Format(time.DateOnly), o.command())
		return guestsBench(ctx, o)
	}
	dir, err := os.MkdirTemp("", "orchd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("machine: %s\ndate: %s\ncommand: %s (rounds of %s, %d for each number of clients)\n\n",
		machine(), time.Now().UTC().Format(time.DateOnly), o.command(), o.round, o.rounds)

	if o.fleet > 0 {
		return fleetBench(ctx, o, dir)
	}
	if o.etcd != "" {
		return compare(ctx, o, dir)
	}
	raw, err := startRaftOnly(ctx, filepath.Join(dir, "raft"))
	if err != nil {
		return fmt.Errorf("raft alone: %w", err)
	}
	defer raw.stop()
	peers, err := startPeers(ctx, o.orchd, filepath.Join(dir, "orchd"))
	if err != nil {
		return fmt.Errorf("three peers: %w", err)
	}
	err = throughput(ctx, o, peers, raw)
	raw.stop()
	peers.stop()
	if err != nil {
		return err
	}
	// Simulated guests are gone with their process: a cluster that is full of
	// them would be measured while it makes them all again.
	fresh, err := startPeers(ctx, o.orchd, filepath.Join(dir, "fresh"))
	if err != nil {
		return fmt.Errorf("three fresh peers: %w", err)
	}
	defer fresh.stop()
	return failover(ctx, o, fresh)
}

// throughput prints one line for each number of clients, the medians of its rounds.
func throughput(ctx context.Context, o options, peers *peers, raw *rawCluster) error {
	fmt.Println("| clients | creates/s | p50 ms | p99 ms | raw proposals/s | p50 ms | p99 ms | ratio |")
	fmt.Println("|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, clients := range o.clients {
		var creates, proposals []figures
		for range o.rounds {
			c, err := peers.load(ctx, clients, o.round)
			if err != nil {
				return fmt.Errorf("creates with %d clients: %w", clients, err)
			}
			p, err := raw.load(clients, o.round)
			if err != nil {
				return fmt.Errorf("proposals with %d clients: %w", clients, err)
			}
			creates, proposals = append(creates, c), append(proposals, p)
		}
		c, p := median(creates), median(proposals)
		fmt.Printf("| %d | %.0f | %.2f | %.2f | %.0f | %.2f | %.2f | %.2f |\n",
			clients, c.PerSecond, c.P50, c.P99, p.PerSecond, p.P50, p.P99, c.PerSecond/p.PerSecond)
	}
	return nil
}

// machine says what the figures were measured on.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
