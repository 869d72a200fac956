package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
)

// The benchmark's own program is each of its peers too; this says so to it.
const (
	peerDirEnv = "ORCHD_BENCH_PEER" // the peer's data folder
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(peerDirEnv); dir != "" {
		if err := proposer(dir); err != nil {
			fmt.Fprintln(os.Stderr, "peer:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// rawBytes is about the size of a small inventory object in the log.
const rawBytes = 700

// BenchmarkProposals proposes commands of 700 bytes to three processes (TLS,
// bolt, fsync) whose machines only count, through the leader itself and through
// a follower, with 1, 16 and 64 proposers that each wait for their answer.
//
//	go test ./test/bench -run '^$' -bench Proposals -benchtime 3s
func BenchmarkProposals(b *testing.B) {
	c, err := startProposers(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer c.stop()
	for at, who := range []string{"leader", "follower"} {
		for _, proposers := range []int{1, 16, 64} {
			b.Run(who+"/"+strconv.Itoa(proposers), func(b *testing.B) {
				for b.Loop() {
					f, err := c.ask(at, order{proposers, 3 * time.Second})
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(f.PerSecond, "proposals/s")
					b.ReportMetric(f.P50, "ms-p50")
					b.ReportMetric(f.P99, "ms-p99")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// startProposers makes three peers, each a process that obeys orders.
func startProposers(ctx context.Context, dir string) (*rawCluster, error) {
	if err := makeIdentities(dir); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &rawCluster{}
	for i := range 3 {
		p := &rawProcess{cmd: exec.CommandContext(ctx, self)}
		p.cmd.Env = append(os.Environ(), peerDirEnv+"="+filepath.Join(dir, strconv.Itoa(i)))
		p.cmd.Stderr = os.Stderr
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if p.in, err = p.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		p.out = bufio.NewScanner(out)
		if err := p.cmd.Start(); err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.processes = append(c.processes, p)
	}
	for _, p := range c.processes {
		if !p.out.Scan() {
			return nil, errors.Join(errors.New("a peer did not start"), c.stop())
		}
	}
	return c, nil
}

// ask has one of the processes propose for a while.
func (c *rawCluster) ask(at int, o order) (f figures, err error) {
	p := c.processes[at]
	if err := json.NewEncoder(p.in).Encode(o); err != nil {
		return f, err
	}
	if !p.out.Scan() {
		return f, errors.New("a peer ended")
	}
	return f, json.Unmarshal(p.out.Bytes(), &f)
}

// proposer is one peer's process: the first makes the cluster and leads it.
func proposer(dir string) (err error) {
	identity, err := cluster.LoadIdentity(dir)
	if err != nil {
		return err
	}
	var me api.KnownPeer
	for _, k := range identity.Peers {
		if k.ID == identity.PeerID {
			me = k
		}
	}
	cfg := cluster.DefaultConfig()
	cfg.Identity, cfg.DataDir, cfg.Advertise = identity, dir, me.Addresses
	cfg.SnapshotThreshold = 1 << 40 // the counting machine has nothing to keep
	cfg.Snapshots = raft.NewInmemSnapshotStore()
	if cfg.Ports, err = cluster.Listen(me.Addresses); err != nil {
		return err
	}
	if me.ID == identity.Peers[0].ID {
		if err := cluster.Bootstrap(cfg); err != nil {
			return err
		}
	}
	node, err := cluster.Open(context.Background(), cfg, &counter{}, fixed(identity.Peers), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	for voters := 0; voters < 3; time.Sleep(20 * time.Millisecond) {
		voters = 0
		for _, s := range node.Servers() {
			if s.Voter {
				voters++
			}
		}
	}
	fmt.Println("ready")
	return proposeOnOrder(node)
}

// proposeOnOrder runs the rounds that standard input asks for.
func proposeOnOrder(node *cluster.Node) error {
	command := make([]byte, rawBytes)
	rand.Read(command)
	for orders := json.NewDecoder(os.Stdin); ; {
		var o order
		if err := orders.Decode(&o); err != nil {
			return err
		}
		f, err := load(context.Background(), o.Clients, o.Round, func(context.Context, int) error {
			_, err := node.Propose(context.Background(), command)
			return err
		})
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
			return err
		}
	}
}
