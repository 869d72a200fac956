// Package onehost runs a whole cluster in the test's own process: peers that
// differ only in their ports on loopback and their data folders, with simulated
// hypervisors that a test can reach into. Sockets, TLS, raft, bolt and fsync are
// the real ones. What needs a process to die, or a network to break, is told
// with package lab.
package onehost

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/ports"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/sim"
)

// Cluster is the peers of one test.
type Cluster struct {
	t     testing.TB
	Peers []*Peer
	adapt func(i int, c *peer.Config)
}

// Peer is one of them. Running is nil while it is stopped.
type Peer struct {
	Name    string
	Config  peer.Config
	Sim     *sim.Driver
	Running *peer.Peer

	t     testing.TB
	stop  func()
	ended chan struct{}
}

// room is what each simulated host has, unless a test adapts it.
var room = api.Resources{VCPUs: 32, MemoryMiB: 64 << 10, DiskGiB: 1 << 10}

// Start makes a cluster of n peers and waits until all are ready. adapt, which
// may be nil, changes the configuration of the i-th before it is used.
func Start(t testing.TB, n int, adapt func(i int, c *peer.Config)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, adapt: adapt}
	first := c.NewPeer()
	if err := peer.Init(t.Context(), first.Config, t.Output(), first.logger()); err != nil {
		t.Fatalf("init: %v", err)
	}
	first.Start()
	first.WaitReady()
	for range n - 1 {
		p := c.NewPeer()
		if err := p.Join(first, c.JoinToken("1h")); err != nil {
			t.Fatalf("join: %v", err)
		}
		p.Start()
	}
	for _, p := range c.Peers {
		p.WaitReady()
	}
	return c
}

// NewPeer is one more host, not a peer yet.
func (c *Cluster) NewPeer() *Peer {
	c.t.Helper()
	i := len(c.Peers)
	p := &Peer{Name: fmt.Sprintf("h%d", i+1), Sim: sim.New(room, ""), t: c.t}
	p.Config = peer.Config{
		Name: p.Name, DataDir: filepath.Join(c.t.TempDir(), p.Name), Advertise: "127.0.0.1",
		APIListen: ports.Address(c.t), RaftListen: ports.Address(c.t), GossipListen: ports.Address(c.t),
		Driver: api.DriverSim, Hypervisor: p.Sim, Version: "test",
	}
	if c.adapt != nil {
		c.adapt(i, &p.Config)
	}
	c.Peers = append(c.Peers, p)
	return p
}

// JoinToken makes a token for one newcomer.
func (c *Cluster) JoinToken(ttl string) string {
	c.t.Helper()
	token, err := c.AnyClient().CreateToken(c.t.Context(), api.TokenCreate{Role: api.RolePeer, TTL: ttl})
	if err != nil {
		c.t.Fatalf("join token: %v", err)
	}
	return token.Token
}

// AnyClient speaks to the first peer that runs, as admin.
func (c *Cluster) AnyClient() *api.Client {
	c.t.Helper()
	for _, p := range c.Peers {
		if p.Running != nil {
			return p.Client()
		}
	}
	c.t.Fatal("no peer runs")
	return nil
}

// Leader is the peer that leads, once there is one.
func (c *Cluster) Leader() (leader *Peer) {
	c.t.Helper()
	lab.Eventually(c.t, 20*time.Second, func() error {
		for _, p := range c.Peers {
			if p.Running == nil {
				continue
			}
			st, err := p.Running.Status(c.t.Context())
			if err != nil {
				return err
			}
			if st.Leader == p.Name {
				leader = p
				return nil
			}
		}
		return fmt.Errorf("no peer says that it leads")
	})
	return leader
}

// Join enrols this host through another.
func (p *Peer) Join(through *Peer, token string) error {
	return peer.Join(p.t.Context(), p.Config, through.Address(), token, p.t.Output(), p.logger())
}

// Address is its API's HOST:PORT.
func (p *Peer) Address() string { return p.Running.Addresses().API }

// Start runs an enrolled peer.
func (p *Peer) Start() {
	p.t.Helper()
	if err := p.TryStart(); err != nil {
		p.t.Fatalf("%s does not start: %v", p.Name, err)
	}
}

// TryStart runs an enrolled peer, or says why it cannot.
func (p *Peer) TryStart() error {
	running, err := peer.Open(p.t.Context(), p.Config, p.logger())
	if err != nil {
		return err
	}
	p.Running = running
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		if err := running.Run(ctx); err != nil && ctx.Err() == nil {
			p.t.Errorf("%s ended: %v", p.Name, err)
		}
	}()
	p.stop = func() {
		cancel()
		<-ended
		if err := running.Close(); err != nil {
			p.t.Errorf("%s: close: %v", p.Name, err)
		}
		p.Running, p.stop = nil, func() {}
	}
	p.t.Cleanup(func() { p.stop() })
	return nil
}

// Ended is closed when the peer has stopped by itself, or was stopped.
func (p *Peer) Ended() <-chan struct{} { return p.ended }

// Stop ends a peer in good order.
func (p *Peer) Stop() { p.stop() }

// WaitReady waits until the peer says that it can serve.
func (p *Peer) WaitReady() {
	p.t.Helper()
	lab.Eventually(p.t, 20*time.Second, p.Running.Ready)
}

// Client speaks to this peer alone, through its unix socket, as admin.
func (p *Peer) Client() *api.Client {
	p.t.Helper()
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{"unix://" + filepath.Join(p.Config.DataDir, "orchd.sock")}})
	if err != nil {
		p.t.Fatalf("client of %s: %v", p.Name, err)
	}
	return c
}

// TCP speaks to this peer alone, over TLS, with that token.
func (p *Peer) TCP(token string) *api.Client {
	p.t.Helper()
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{p.Address()}, Token: token, CACert: filepath.Join(p.Config.DataDir, "tls", "ca.pem")})
	if err != nil {
		p.t.Fatalf("client of %s: %v", p.Name, err)
	}
	return c
}

// Domains are what its simulated hypervisor has of this cluster.
func (p *Peer) Domains() []vmm.Domain {
	p.t.Helper()
	l, err := p.Sim.List(p.t.Context())
	if err != nil {
		p.t.Fatalf("domains of %s: %v", p.Name, err)
	}
	return l.Domains
}

func (p *Peer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(prefixed{p.t, p.Name}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// prefixed writes log lines into the test's output, with the peer's name before them.
type prefixed struct {
	t    testing.TB
	name string
}

func (w prefixed) Write(line []byte) (int, error) {
	_, err := w.t.Output().Write(append([]byte(w.name+" "), bytes.TrimLeft(line, " ")...))
	return len(line), err
}
