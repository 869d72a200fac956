package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/test/ports"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// memberlist's Shutdown does not wait for a probe that is under way; it ends within seconds.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probe"))
}

// command is what the tests' machine understands.
type command struct {
	ID     string  `json:"id"` // applied once
	Key    string  `json:"key,omitempty"`
	Value  string  `json:"value,omitempty"`
	Member *Member `json:"member,omitempty"` // joins
	Leaves string  `json:"leaves,omitempty"` // id of a member that leaves
}

func (c command) bytes() []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return b
}

func set(key, value string) []byte {
	return command{ID: uuid.NewString(), Key: key, Value: value}.bytes()
}

// kv is a machine with a map and a roster.
type kv struct {
	mu    sync.Mutex
	state kvState
	watch chan struct{}
	hold  sync.Mutex // held by a test: nothing is applied
}

type kvState struct {
	Index   uint64            `json:"index"`
	Rows    map[string]string `json:"rows"`
	Members map[string]Member `json:"members"`
	Seen    map[string]bool   `json:"seen"`
	Times   int               `json:"times"` // commands that took effect
	At      time.Time         `json:"at"`
}

func newKV() *kv {
	return &kv{watch: make(chan struct{}), state: kvState{Rows: map[string]string{}, Members: map[string]Member{}, Seen: map[string]bool{}}}
}

// text is an answer.
type text string

func (t text) MarshalBinary() ([]byte, error) { return []byte(t), nil }

func (m *kv) Apply(index uint64, _ int, at time.Time, b []byte) any {
	m.hold.Lock()
	defer m.hold.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	var c command
	if err := json.Unmarshal(b, &c); err != nil {
		panic(fmt.Sprintf("entry %d: %v", index, err))
	}
	m.state.Index, m.state.At = index, at
	if m.state.Seen[c.ID] {
		return text("again")
	}
	m.state.Seen[c.ID] = true
	m.state.Times++
	switch {
	case c.Member != nil:
		m.state.Members[c.Member.ID] = *c.Member
		m.rosterChangedLocked()
	case c.Leaves != "":
		delete(m.state.Members, c.Leaves)
		m.rosterChangedLocked()
	default:
		m.state.Rows[c.Key] = c.Value
	}
	return text(c.Key + "=" + c.Value)
}

func (m *kv) rosterChangedLocked() {
	close(m.watch)
	m.watch = make(chan struct{})
}

func (m *kv) Members() ([]Member, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.state.Members)), m.watch
}

func (m *kv) Index() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Index
}

func (m *kv) get(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Rows[key]
}

func (m *kv) times() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Times
}

func (m *kv) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.Marshal(m.state)
	return kvSnapshot(b), err
}

func (m *kv) Restore(r io.ReadCloser) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = newKV().state
	defer m.rosterChangedLocked()
	return json.NewDecoder(r).Decode(&m.state)
}

type kvSnapshot []byte

func (s kvSnapshot) Persist(sink raft.SnapshotSink) error {
	_, err := io.Copy(sink, bytes.NewReader(s))
	return err
}
func (kvSnapshot) Release() {}

// house is a cluster under test.
type house struct {
	t         *testing.T
	authority *ca.Authority
	gossipKey []byte
	configure func(*Config) // applied to each peer's configuration
	peers     []*peer

	cutMu sync.Mutex
	cut   map[string]bool   // ids of peers whose network is cut off
	homes map[string]string // raft address to id
}

// cutOff takes a peer off the network; heal puts it back.
func (h *house) cutOff(p *peer) { h.setCut(p, true) }
func (h *house) heal(p *peer)   { h.setCut(p, false) }

func (h *house) setCut(p *peer, cut bool) {
	h.cutMu.Lock()
	h.cut[p.identity.PeerID] = cut
	h.cutMu.Unlock()
	p.hall.closeWhere(func(*conn) bool { return cut })
}

// dialer dials for a peer unless one of the two is cut off.
func (h *house) dialer(id string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		h.cutMu.Lock()
		cut := h.cut[id] || h.cut[h.homes[address]]
		h.cutMu.Unlock()
		if cut {
			return nil, errors.New("cut off")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// kill ends a peer as a crash does: no goodbye, nobody takes over.
func (p *peer) kill() {
	p.house.t.Helper()
	p.running = false
	p.hall.close()
	must(p.house.t, p.Node.Close())
}

// peer is one of its peers, running or not.
type peer struct {
	*Node
	house    *house
	identity Identity
	dir      string
	at       api.PeerAddresses
	machine  *kv
	running  bool
}

// newHouse starts a cluster of n peers; it returns when all of them are voters, up to three.
func newHouse(t *testing.T, n int, configure ...func(*Config)) *house {
	t.Helper()
	h := emptyHouse(t)
	if len(configure) > 0 {
		h.configure = configure[0]
	}
	first := h.addPeer()
	ports := first.ports()
	must(t, Bootstrap(first.config(ports)))
	must(t, ports.closeTaken())
	first.open()
	h.enrol(first, first)
	for range n - 1 {
		h.join()
	}
	h.eventually(func() error {
		if got, want := len(voters(first.Servers())), min(n, 3); got != want {
			return fmt.Errorf("%d voters, want %d", got, want)
		}
		return nil
	})
	return h
}

func emptyHouse(t *testing.T) *house {
	t.Helper()
	authority, err := ca.New(uuid.NewString(), time.Now())
	must(t, err)
	h := &house{t: t, authority: authority, gossipKey: seal.NewKey("g").Bytes, cut: map[string]bool{}, homes: map[string]string{}, configure: func(*Config) {}}
	t.TempDir() // the first call registers the clean-up, which must come after ours
	t.Cleanup(h.close)
	return h
}

// addPeer makes a peer that knows the ones before it.
func (h *house) addPeer() *peer {
	h.t.Helper()
	p := &peer{house: h, dir: h.t.TempDir(), machine: newKV()}
	p.identity = h.identity(h.authority, uuid.NewString(), fmt.Sprintf("h%d", len(h.peers)+1))
	p.identity.Peers = []Member{p.member()}
	for _, other := range h.peers {
		p.identity.Peers = append(p.identity.Peers, other.member())
	}
	must(h.t, p.identity.Save(p.dir))
	h.peers = append(h.peers, p)
	return p
}

func (h *house) identity(authority *ca.Authority, id, name string) Identity {
	h.t.Helper()
	key, err := ca.NewKey()
	must(h.t, err)
	keyPEM, err := ca.MarshalKey(key)
	must(h.t, err)
	csr, err := ca.Request(key)
	must(h.t, err)
	cert, err := authority.Peer(csr, id, time.Now(), "127.0.0.1:7700")
	must(h.t, err)
	wrap, err := seal.NewWrapKey()
	must(h.t, err)
	return Identity{
		ClusterID: authority.ClusterID, PeerID: id, Name: name, CA: authority.PEM(),
		Certificate: cert, Key: keyPEM, WrapKey: wrap, GossipKeys: [][]byte{h.gossipKey},
	}
}

func (p *peer) member() Member {
	key, err := p.identity.PublicKey()
	must(p.house.t, err)
	return Member{ID: p.identity.PeerID, Name: p.identity.Name, Addresses: p.at, PublicKey: key}
}

// ports opens the peer's ports: the ones it had, or new ones the first time.
func (p *peer) ports() *Ports {
	t := p.house.t
	t.Helper()
	at := p.at
	if at.Raft == "" {
		at = api.PeerAddresses{API: ports.Address(t), Raft: ports.Address(t), Gossip: ports.Address(t)}
	}
	ports, err := Listen(at)
	must(t, err)
	must(t, ports.API.Close())
	p.at = api.PeerAddresses{API: ports.API.Addr().String(), Raft: ports.Raft.Addr().String(), Gossip: ports.Gossip.Addr().String()}
	p.house.cutMu.Lock()
	defer p.house.cutMu.Unlock()
	p.house.homes[p.at.Raft] = p.identity.PeerID
	return ports
}

func (p *peer) config(ports *Ports) Config {
	t := p.house.t
	t.Helper()
	snapshots, err := raft.NewFileSnapshotStore(filepath.Join(p.dir, "raft"), 2, io.Discard)
	must(t, err)
	c := DefaultConfig()
	c.Identity, c.DataDir, c.Ports, c.Advertise, c.Snapshots = p.identity, p.dir, ports, p.at, snapshots
	c.Dial = p.house.dialer(p.identity.PeerID)
	p.house.configure(&c)
	return c
}

// tryOpen starts the peer from its folder with an empty machine.
func (p *peer) tryOpen() error {
	t := p.house.t
	t.Helper()
	identity, err := LoadIdentity(p.dir)
	must(t, err)
	p.identity = identity
	p.machine = newKV()
	node, err := Open(t.Context(), p.config(p.ports()), p.machine, p.machine, testLog(t).With("at", p.identity.Name)) // closes the ports if it fails
	if err != nil {
		return err
	}
	p.Node, p.running = node, true
	return nil
}

func (p *peer) open() {
	p.house.t.Helper()
	must(p.house.t, p.tryOpen())
}

func (p *peer) close() {
	p.house.t.Helper()
	p.running = false
	must(p.house.t, p.Node.Close())
}

// enrol writes p into the tables through the peer via.
func (h *house) enrol(p, via *peer) {
	h.t.Helper()
	m := p.member()
	row := command{ID: uuid.NewString(), Member: &m}.bytes()
	h.eventually(func() error { // a test's own ProposeTimeout may be too short for the first election
		_, err := via.Propose(h.t.Context(), row)
		return err
	})
}

// join adds a peer to the running cluster.
func (h *house) join() *peer {
	h.t.Helper()
	p := h.addPeer()
	ports := p.ports()
	p.identity.Peers[0] = p.member()
	must(h.t, p.identity.Save(p.dir))
	must(h.t, ports.closeTaken())
	h.enrol(p, h.leader())
	p.open()
	return p
}

func (h *house) close() {
	for _, p := range slices.Backward(h.peers) {
		if p.running {
			p.close()
		}
	}
}

// leader waits for the peer that leads.
func (h *house) leader() (found *peer) {
	h.t.Helper()
	h.eventually(func() error {
		for _, p := range h.peers {
			if p.running && p.IsLeader() {
				found = p
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return found
}

func (h *house) followers() (all []*peer) {
	leader := h.leader()
	for _, p := range h.peers {
		if p.running && p != leader {
			all = append(all, p)
		}
	}
	return all
}

// propose gets a command through and gives the answer.
func (p *peer) propose(command []byte) string {
	t := p.house.t
	t.Helper()
	answer, err := p.Propose(t.Context(), command)
	must(t, err)
	return string(answer)
}

// eventually waits for a condition, whose error says what is missing.
func (h *house) eventually(met func() error) {
	h.t.Helper()
	eventually(h.t, met)
}

func eventually(t *testing.T, met func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := met()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still missing: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// wantKind checks the kind of an *api.Error.
func wantKind(t *testing.T, err error, kind api.Kind) {
	t.Helper()
	if !api.IsKind(err, kind) {
		t.Errorf("error %v, want one of kind %s", err, kind.Code())
	}
}
