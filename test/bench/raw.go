package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/cluster/ca"
)

// rawCluster is the same raft set-up (three processes, TLS, bolt, fsync) with a
// machine that only counts: what orchd's own work is measured beside.
type rawCluster struct {
	processes []*rawProcess
	leader    *rawProcess
}

type rawProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// commandBytes is about the size of a VM's create in the log.
const commandBytes = 450

// rawPort is where the first raw process listens.
const rawPort = 27800

// startRaftOnly makes three identities and runs a process for each.
func startRaftOnly(ctx context.Context, dir string) (*rawCluster, error) {
	if err := makeIdentities(dir); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &rawCluster{}
	for i := range 3 {
		p := &rawProcess{cmd: exec.CommandContext(ctx, self, "raft-only", filepath.Join(dir, fmt.Sprint(i)))}
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
			return nil, err
		}
		c.processes = append(c.processes, p)
	}
	c.leader = c.processes[0]
	if !c.leader.out.Scan() { // it says when it leads three voters
		return nil, errors.Join(errors.New("raft alone did not start"), c.stop())
	}
	return c, nil
}

func makeIdentities(dir string) error {
	id := uuid.NewString()
	authority, err := ca.New(id, time.Now())
	if err != nil {
		return err
	}
	gossip := make([]byte, 32)
	rand.Read(gossip)
	var all []cluster.Identity
	var known []api.KnownPeer
	for i := range 3 {
		one, err := makeIdentity(authority, id, fmt.Sprint(i))
		if err != nil {
			return err
		}
		one.GossipKeys = [][]byte{gossip}
		public, err := one.PublicKey()
		if err != nil {
			return err
		}
		at := func(k int) string { return fmt.Sprintf("127.0.0.1:%d", rawPort+10*i+k) }
		known = append(known, api.KnownPeer{ID: one.PeerID, Name: one.Name, PublicKey: public, Addresses: api.PeerAddresses{API: at(0), Raft: at(1), Gossip: at(2)}})
		all = append(all, one)
	}
	for i, one := range all {
		one.Peers = known
		if err := one.Save(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return err
		}
	}
	return nil
}

func makeIdentity(authority *ca.Authority, clusterID, name string) (one cluster.Identity, err error) {
	key, err := ca.NewKey()
	if err != nil {
		return one, err
	}
	csr, err := ca.Request(key)
	if err != nil {
		return one, err
	}
	one = cluster.Identity{ClusterID: clusterID, PeerID: uuid.NewString(), Name: name, CA: authority.PEM()}
	if one.Certificate, err = authority.Peer(csr, one.PeerID, time.Now(), "127.0.0.1"); err != nil {
		return one, err
	}
	if one.Key, err = ca.MarshalKey(key); err != nil {
		return one, err
	}
	one.WrapKey, err = seal.NewWrapKey()
	return one, err
}

// load lets the leader propose from that many goroutines of its own.
func (c *rawCluster) load(clients int, round time.Duration) (f figures, err error) {
	if err := json.NewEncoder(c.leader.in).Encode(order{clients, round}); err != nil {
		return f, err
	}
	if !c.leader.out.Scan() {
		return f, errors.New("raft alone ended")
	}
	return f, json.Unmarshal(c.leader.out.Bytes(), &f)
}

func (c *rawCluster) stop() error {
	for _, p := range c.processes {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
	c.processes = nil
	return nil
}

// order is one round that the leader is to run.
type order struct {
	Clients int
	Round   time.Duration
}

// raftOnly is the process of one such peer.
func raftOnly(dir string) (err error) {
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
	first := me.ID == identity.Peers[0].ID
	if first {
		if err := cluster.Bootstrap(cfg); err != nil {
			return err
		}
	}
	node, err := cluster.Open(context.Background(), cfg, &counter{}, fixed(identity.Peers), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	if !first {
		return node.Wait(context.Background())
	}
	return obey(node)
}

// obey runs the rounds that are asked for, once three voters are there.
func obey(node *cluster.Node) error {
	for voters := 0; voters < 3 || !node.IsLeader(); time.Sleep(20 * time.Millisecond) {
		voters = 0
		for _, s := range node.Servers() {
			if s.Voter {
				voters++
			}
		}
	}
	fmt.Println("ready")
	command := make([]byte, commandBytes)
	rand.Read(command)
	orders := json.NewDecoder(os.Stdin)
	for {
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

// counter is the machine that only counts.
type counter struct{ index atomic.Uint64 }

type none struct{}

// MarshalBinary is the answer to every command: nothing.
func (none) MarshalBinary() ([]byte, error) { return nil, nil }

// Apply counts.
func (c *counter) Apply(index uint64, _ int, _ time.Time, _ []byte) any {
	c.index.Store(index)
	return none{}
}

// Snapshot has nothing to keep.
func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("nothing to keep") }

// Restore has nothing to read.
func (c *counter) Restore(r io.ReadCloser) error { return r.Close() }

// Index is the last entry counted.
func (c *counter) Index() uint64 { return c.index.Load() }

// fixed is a roster that never changes.
type fixed []api.KnownPeer

// Members are always the same.
func (f fixed) Members() ([]cluster.Member, <-chan struct{}) { return f, nil }
