package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/orchd/orchd/api"
)

// gossipKeySize is the length of a gossip key in bytes (AES-256).
const gossipKeySize = 32

// Load is what a peer tells all others of itself by gossip. It ranks candidates
// and admits nothing: what a host may take is decided from the log.
type Load struct {
	Free  api.Resources // what is free on the host just now
	Up    bool          // its driver works
	Level uint64        // highest behaviour level that it knows

	// Marked states that are to be kept as snapshots, by log index: the one that it writes
	// now, 0 for none, and the newest that it is through with, 1 for none. 0 is what a
	// version says that does not know of it.
	Marking, Marked uint64
}

// A load travels as {format 1, peer id 16, vcpus 8, MiB 8, GiB 8, up 1, level 8, marking 8,
// marked 8} bytes, big endian; older versions end with the level. memberlist panics on more than 512, and every packet
// carries it, so it must stay below maxMeta.
const (
	loadFormat = 1
	leastLoad  = 1 + 16 + 3*8 + 1 + 8
	loadSize   = leastLoad + 2*8
	maxMeta    = 128
)

// encode puts the load of the peer of that id (a UUID) into bytes.
func (l Load) encode(id string) ([]byte, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(raw) != 16 {
		return nil, fmt.Errorf("peer id %q is no UUID", id)
	}
	b := append(make([]byte, 0, loadSize), loadFormat)
	b = append(b, raw...)
	for _, v := range []int64{l.Free.VCPUs, l.Free.MemoryMiB, l.Free.DiskGiB} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	up := byte(0)
	if l.Up {
		up = 1
	}
	b = append(b, up)
	for _, v := range []uint64{l.Level, l.Marking, l.Marked} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b, nil
}

// decodeLoad reads what encode wrote. Longer ones are of later versions and begin alike.
func decodeLoad(b []byte) (id string, l Load, err error) {
	if len(b) < leastLoad || b[0] != loadFormat {
		return "", l, fmt.Errorf("%d bytes are no load", len(b))
	}
	h := hex.EncodeToString(b[1:17])
	id = strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
	number := func(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }
	l.Free = api.Resources{VCPUs: number(17), MemoryMiB: number(25), DiskGiB: number(33)}
	l.Up, l.Level = b[41] == 1, binary.BigEndian.Uint64(b[42:])
	if len(b) >= loadSize {
		l.Marking, l.Marked = binary.BigEndian.Uint64(b[leastLoad:]), binary.BigEndian.Uint64(b[leastLoad+8:])
	}
	return id, l, nil
}

// Times of gossip.
const (
	gossipRejoin  = 5 * time.Second  // how often peers that are missing are called
	gossipAgain   = 5 * time.Second  // how often a load that has not changed is told
	gossipWait    = time.Second      // for a message to get out
	reclaimTime   = 30 * time.Second // until a dead peer may come back at another address
	udpPacket     = 1200             // bytes that fit through any overlay
	suspicionMult = 5                // a loaded small cluster is slow, not dead
)

// gossip spreads who is alive and how full each host is: hints, never proof.
type gossip struct {
	node *Node
	list *memberlist.Memberlist
	ring *memberlist.Keyring

	mu      sync.Mutex
	load    Load              // this peer's own
	alive   map[string][]byte // what each peer that is held for alive last said, by id
	changed bell              // rings when load has changed
}

// startGossip joins in, if there is anything to gossip over.
func (n *Node) startGossip() error {
	transport := n.cfg.GossipTransport
	if transport == nil && n.cfg.Ports.Packets == nil {
		return nil
	}
	if transport == nil {
		transport = newGossipTransport(n.cfg.Ports, n.cfg.Dial, n.log)
	}
	g := &gossip{node: n, alive: map[string][]byte{}}
	if _, err := g.load.encode(n.id); err != nil {
		return errors.Join(fmt.Errorf("start gossip: %w", err), transport.Shutdown())
	}
	cfg, err := g.config(transport)
	if err != nil {
		return errors.Join(fmt.Errorf("start gossip: %w", err), transport.Shutdown())
	}
	if g.list, err = memberlist.Create(cfg); err != nil {
		return errors.Join(fmt.Errorf("start gossip: %w", err), transport.Shutdown())
	}
	n.gossip = g
	n.start(g.rejoinLoop, g.spreadLoop)
	return nil
}

func (g *gossip) config(transport memberlist.Transport) (*memberlist.Config, error) {
	keys := g.node.papers.current().GossipKeys
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, err
	}
	g.ring = ring
	c := memberlist.DefaultLANConfig()
	if g.node.cfg.Profile == WAN {
		c = memberlist.DefaultWANConfig()
	}
	if c.AdvertiseAddr, c.AdvertisePort, err = advertised(g.node.cfg); err != nil {
		return nil, err
	}
	c.Name = g.node.id
	c.Label = g.node.cfg.Identity.ClusterID // authenticated with each packet: another cluster's do not decrypt
	c.Keyring = ring
	c.Transport = transport
	c.Delegate, c.Alive, c.Conflict, c.Events = g, g, g, g
	c.DeadNodeReclaimTime = reclaimTime
	c.SuspicionMult = suspicionMult
	c.UDPBufferSize = udpPacket
	c.RequireNodeNames = true
	c.MsgpackUseNewTimeFormat = true
	c.Logger = gossipLog(g.node.ctx, g.node.log)
	return c, nil
}

// advertised is the address that others reach this peer's gossip at. Packets
// carry an IP address, so a name is looked up once, now.
func advertised(cfg Config) (ip string, port int, err error) {
	host, p, err := net.SplitHostPort(cfg.Advertise.Gossip)
	if err != nil {
		return "", 0, fmt.Errorf("advertised gossip address: %w", err)
	}
	if port, err = strconv.Atoi(p); err != nil {
		return "", 0, fmt.Errorf("advertised gossip address %s: %w", cfg.Advertise.Gossip, err)
	}
	addr, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", 0, fmt.Errorf("advertised gossip address %s: %w", cfg.Advertise.Gossip, err)
	}
	return addr.String(), port, nil
}

// rejoinLoop calls the peers that gossip does not see: at the start, and again
// after a partition that outlasted their being remembered.
func (g *gossip) rejoinLoop() {
	for {
		changed := g.node.book.changed.wait()
		for _, m := range g.node.others() {
			if !g.sees(m.ID) && g.node.ctx.Err() == nil {
				g.list.Join([]string{m.ID + "/" + m.Addresses.Gossip}) // tried again below
			}
		}
		select {
		case <-changed:
		case <-time.After(gossipRejoin):
		case <-g.node.ctx.Done():
			return
		}
	}
}

func (g *gossip) sees(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.alive[id]
	return ok
}

// spreadLoop tells the others when the load has changed, and from time to time
// for those who did not hear it.
func (g *gossip) spreadLoop() {
	for {
		changed := g.changed.wait()
		g.list.UpdateNode(gossipWait) // late news are as good: the next ones carry them
		select {
		case <-changed:
		case <-time.After(gossipAgain):
		case <-g.node.ctx.Done():
			return
		}
	}
}

// leave says goodbye, so that nobody takes this peer for dead, and ends gossip.
func (g *gossip) leave() {
	if g == nil {
		return
	}
	if err := g.list.Leave(gossipWait); err != nil {
		g.node.log.Info("left gossip without goodbye", "err", err)
	}
	g.list.Shutdown()
}

// use makes keys the ring of gossip: the first encrypts, all decrypt. Those that are
// missing are there before another one encrypts, and none that encrypts ever goes.
func (g *gossip) use(keys [][]byte) error {
	if g == nil {
		return nil
	}
	ring := g.ring
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return fmt.Errorf("add a key of gossip: %w", err)
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("use a key of gossip: %w", err)
	}
	for _, old := range ring.GetKeys() {
		if slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, old) }) {
			continue
		}
		if err := ring.RemoveKey(old); err != nil {
			return fmt.Errorf("remove a key of gossip: %w", err)
		}
	}
	return nil
}

// SetLoad is what this peer tells the others of itself from now on.
func (n *Node) SetLoad(l Load) {
	g := n.gossip
	if g == nil {
		return
	}
	g.mu.Lock()
	news := g.load != l
	g.load = l
	g.mu.Unlock()
	if news {
		g.changed.ring()
	}
}

// Loads is what gossip last brought of every peer that it holds for alive, this
// one included, by peer id.
func (n *Node) Loads() map[string]Load {
	loads := map[string]Load{}
	if n.gossip == nil {
		return loads
	}
	n.gossip.mu.Lock()
	alive := maps.Clone(n.gossip.alive)
	n.gossip.mu.Unlock()
	for name, meta := range alive {
		id, l, err := decodeLoad(meta)
		if _, member := n.book.find(name); err == nil && id == name && (member || id == n.id) {
			loads[id] = l
		}
	}
	return loads
}

// NotifyJoin, NotifyUpdate and NotifyLeave keep alive in step, for memberlist.
// Its own list is of no use: it hands out nodes that it goes on to change.
func (g *gossip) NotifyJoin(peer *memberlist.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alive[peer.Name] = bytes.Clone(peer.Meta)
}

// NotifyUpdate is called when a peer says something new.
func (g *gossip) NotifyUpdate(peer *memberlist.Node) { g.NotifyJoin(peer) }

// NotifyLeave is called when a peer leaves, or is held for dead.
func (g *gossip) NotifyLeave(peer *memberlist.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.alive, peer.Name)
}

// maxPad is how many bytes NodeMeta adds at most.
const maxPad = maxMeta - loadSize

// NodeMeta is this peer's load in bytes, for memberlist, with some zeros behind
// it. memberlist keeps what it still has to send in a tree by (times sent,
// length, number), and begins to number at 1 again when the tree is empty for a
// moment: of two messages of one length one is then lost (hashicorp/memberlist
// 263, not in v0.7.0). With loads of one size that was every second one; with
// lengths that vary it is rare, and spreadLoop makes up for the rest.
func (g *gossip) NodeMeta(int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	meta, _ := g.load.encode(g.node.id) // the id was tried at the start
	return append(meta, make([]byte, rand.IntN(maxPad+1))...)
}

// NotifyAlive refuses whoever does not belong to the cluster, for memberlist.
func (g *gossip) NotifyAlive(peer *memberlist.Node) error {
	if peer.Name == g.node.id {
		return nil
	}
	if _, ok := g.node.book.find(peer.Name); !ok {
		return errors.New("it does not belong to this cluster, or not any more")
	}
	return nil
}

// NotifyConflict is called when two hosts claim one peer's id, for memberlist.
func (g *gossip) NotifyConflict(existing, other *memberlist.Node) {
	g.node.log.Warn("two addresses claim one peer id: was a data folder copied?",
		"peer", existing.Name, "known", existing.Address(), "other", other.Address())
}

// The rest of memberlist.Delegate is not used: messages between peers go over
// the peer channel.
func (*gossip) NotifyMsg([]byte)                {}
func (*gossip) GetBroadcasts(int, int) [][]byte { return nil }
func (*gossip) LocalState(bool) []byte          { return nil }
func (*gossip) MergeRemoteState([]byte, bool)   {}
