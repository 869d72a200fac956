package sim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/fsm"
)

// admin is who asks for everything that is no peer.
var admin = api.Actor{ID: "uid:0", Role: api.RoleAdmin}

func asAdmin(ctx context.Context) context.Context {
	return api.WithCaller(ctx, api.Caller{Actor: admin, RequestID: uuid.NewString()})
}

// ratios promise exactly what is there.
var ratios = api.Ratios{}

// capacity is what a host has: little, so that VMs find no room.
func (w *world) capacity() api.Resources {
	return api.Resources{VCPUs: w.shape.vcpus, MemoryMiB: 64 << 10, DiskGiB: 1 << 10}
}

// found makes the cluster with its first host, as orchd init does.
func (w *world) found() error {
	h := w.addHost()
	clusterID := uuid.NewString()
	authority, err := ca.New(clusterID, h.now().Add(-2*time.Hour))
	if err != nil {
		return err
	}
	keys, err := newKeys()
	if err != nil {
		return err
	}
	id := uuid.NewString()
	cert, err := authority.Peer(keys.csr, id, h.now().Add(-2*time.Hour), h.name, h.addresses().API)
	if err != nil {
		return err
	}
	gossip := make([]byte, 32)
	rand.Read(gossip)
	h.identity = cluster.Identity{ClusterID: clusterID, PeerID: id, Name: h.name, CA: authority.PEM(), Certificate: cert,
		Key: keys.pem, WrapKey: keys.wrap, GossipKeys: [][]byte{gossip}}
	public, err := h.identity.PublicKey()
	if err != nil {
		return err
	}
	h.identity.Peers = []cluster.Member{{ID: id, Name: h.name, Addresses: h.addresses(), PublicKey: public}}
	ports := &cluster.Ports{Raft: w.net.listen(h.addresses().Raft)}
	if err := cluster.Bootstrap(h.config(0, ports, nil)); err != nil {
		return err
	}
	ports.Raft.Close()
	h.enrolled = true
	h.start()
	caKey, err := authority.MarshalKey()
	if err != nil {
		return err
	}
	wrapped := map[string][]byte{}
	for name, key := range map[string][]byte{fsm.KeyCA: caKey, fsm.KeyGossip: gossip, fsm.KeySeal: gossip} {
		if wrapped[name], err = seal.Wrap(keys.wrap.Public(), name, key); err != nil {
			return err
		}
	}
	if err := w.await(time.Minute, func() error {
		if w.leader() == nil {
			return errors.New("nobody leads")
		}
		return nil
	}); err != nil {
		return err
	}
	writer := h.running().peer.Writer()
	first := api.Peer{ID: id, Name: h.name, Addresses: h.addresses(), Capacity: w.capacity(), Ratios: ratios, Driver: api.DriverSim,
		Software: "sim", Level: 1, PublicKey: public, WrapKey: keys.wrap.Public(), Certificate: string(cert)}
	ctx := api.WithCaller(w.ctx, api.Caller{Actor: fsm.ActorOfPeer(id)})
	err = writer.InitCluster(ctx, first, map[string]string{fsm.SettingCluster: clusterID, fsm.SettingCA: string(authority.PEM()),
		fsm.SettingVoters: fmt.Sprint(w.shape.voters), fsm.SettingLevel: "1", fsm.SettingSnapshotInterval: "0s", fsm.SettingSnapshotRetain: "24"}, wrapped)
	if err != nil {
		return fmt.Errorf("write the first entry: %w", err)
	}
	_, err = writer.CreateNetwork(asAdmin(w.ctx), api.NetworkCreate{Name: "net", NetworkShape: api.NetworkShape{CIDR: "10.9.0.0/27", Gateway: "10.9.0.1", Bridge: "br0"}})
	return err
}

// addHost puts up another host, without a peer.
func (w *world) addHost() *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.hosts) + 1
	h := newHost(w, fmt.Sprintf("h%d", n), w.capacity(), w.seed+uint64(n))
	w.hosts = append(w.hosts, h)
	return h
}

// keys are what a host makes for itself.
type keys struct {
	pem, csr []byte
	wrap     seal.WrapKey
}

func newKeys() (k keys, err error) {
	key, err := ca.NewKey()
	if err != nil {
		return k, err
	}
	if k.pem, err = ca.MarshalKey(key); err != nil {
		return k, err
	}
	if k.csr, err = ca.Request(key); err != nil {
		return k, err
	}
	k.wrap, err = seal.NewWrapKey()
	return k, err
}

// newToken makes a token for one peer; the answer is ID.SECRET.
func (w *world) newToken(ctx context.Context, via *life) (string, error) {
	done, err := via.peer.Writer().CreateToken(asAdmin(ctx), api.TokenCreate{Role: api.RolePeer, TTL: "10m", Uses: 1}, "hash")
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(done.Object.Token, ".hash"), nil
}

// join asks a peer to let a host in, and starts its peer then.
func (w *world) join(ctx context.Context, h *host, k keys, token string, via *life) error {
	ports := &cluster.Ports{API: w.net.listen(h.addresses().API), Raft: w.net.listen(h.addresses().Raft), Gossip: w.net.listen(h.addresses().Gossip)}
	defer ports.Close()
	nonce := uuid.NewString()
	stop := ports.Answer(nonce)
	defer stop()
	answer, err := via.peer.Join(ctx, api.JoinRequest{Token: token, CSR: k.csr, WrapKey: k.wrap.Public(), Name: h.name, Nonce: nonce, Clock: h.now().UTC(),
		Host: api.PeerUpdate{Addresses: h.addresses(), Capacity: w.capacity(), Ratios: ratios, Driver: api.DriverSim, Software: "sim", Level: 1}})
	if err != nil {
		return err
	}
	gossip, err := k.wrap.Unwrap(fsm.KeyGossip, answer.Keys[fsm.KeyGossip])
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.identity = cluster.Identity{ClusterID: answer.ClusterID, PeerID: answer.PeerID, Name: h.name, CA: []byte(answer.CA), Certificate: []byte(answer.Certificate),
		Key: k.pem, WrapKey: k.wrap, GossipKeys: [][]byte{gossip}, Peers: answer.Peers}
	h.enrolled = true
	h.mu.Unlock()
	return nil
}

// grow adds a host and lets it join, trying until it is in.
func (w *world) grow() error {
	h := w.addHost()
	k, err := newKeys()
	if err != nil {
		return err
	}
	var token string
	err = w.await(2*time.Minute, func() error {
		via, err := w.leading()
		if err != nil {
			return err
		}
		if token, err = w.newToken(w.ctx, via); err != nil {
			return err
		}
		return w.join(w.ctx, h, k, token, via)
	})
	if err != nil {
		return err
	}
	h.start()
	return w.joinAgain(token)
}

func (w *world) leading() (*life, error) {
	if h := w.leader(); h != nil && h.running() != nil {
		return h.running(), nil
	}
	return nil, errors.New("nobody leads")
}

// joinAgain lets another host ask with a token that was used. It is refused.
func (w *world) joinAgain(token string) error {
	k, err := newKeys()
	if err != nil {
		return err
	}
	h := w.addHost()
	return w.await(time.Minute, func() error {
		via, err := w.leading()
		if err != nil {
			return err
		}
		switch err := w.join(w.ctx, h, k, token, via); {
		case err == nil:
			w.violation("%s joined with a token for one peer that another had used", h.name)
		case passes(err):
			return err
		}
		return nil
	})
}
