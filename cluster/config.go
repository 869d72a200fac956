package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
)

// Profiles: how patient raft is.
const (
	LAN = "lan" // heartbeat and election timeouts of 500 ms
	WAN = "wan" // of 2 s
)

// Config is what a Node needs. DefaultConfig fills in what has a default; what
// reaches the outside (network, disk, clock) can be replaced, so that a
// simulator runs this very code.
type Config struct {
	Identity  Identity
	DataDir   string            // its raft/ is the node's; empty: nothing of its own on disk (then Logs and Stable are needed)
	Ports     *Ports            // Raft, Gossip and Packets belong to the node from Open on; API is not touched
	Advertise api.PeerAddresses // where others reach this peer

	Snapshots raft.SnapshotStore
	Logs      raft.LogStore    // default: bolt in DataDir/raft/raft.db, and ahead.0 and ahead.1 beside it
	Stable    raft.StableStore // default: the same; given together with Logs

	PeerHandler  http.Handler           // the other parts' routes on the peer channel, below /peer/; may be nil
	Report       func() json.RawMessage // what this peer says of itself in answer to a ping; may be nil
	VotersWanted func() int             // 1, 3 or 5; default: 3
	Hindered     func(id string) string // why a peer should rather not lead, as far as is known, as in "its disk is nearly full"; empty: it may; default: nothing is known
	Place        func(id string) string // where a peer stands, outermost part first, as in cabinet/chassis: votes are spread over places; default: not known

	Profile           string        // LAN (default) or WAN
	ProposeTimeout    time.Duration // how long a write waits out an election; default 10 s
	CommitTimeout     time.Duration // how long a follower that does not ask may be left in the dark about what was committed last, once or twice over: raft tells it with the next entries, or after that time; default 50 ms
	SnapshotThreshold uint64        // entries since the last snapshot that make another one; default 8192
	SnapshotInterval  time.Duration // how often that is looked at, up to twice as long; default 2 min
	SnapshotAtEnd     bool          // Close makes one too, so that the next start replays next to nothing
	TrailingLogs      uint64        // entries kept behind a snapshot for peers that were away; default 10240
	Ballast           int64         // bytes of a file in DataDir that is given back when the disk is full, a hundredth of the disk at most; 0, the default: none
	MaxConns          int           // open connections on the raft port; default 1024: the leader of 100 peers has about 500
	MaxConnsPerIP     int           // of those, from one address; default 64

	Now             func() time.Time                                                     // the clock that stamps entries and tells how old words of others are
	Dial            func(ctx context.Context, network, address string) (net.Conn, error) // default: net.Dialer
	RaftTransport   raft.Transport                                                       // default: TLS streams on the raft port
	PeerTransport   http.RoundTripper                                                    // carries requests for https://PEER ID/peer/..., to that peer's ServePeer; default: HTTP/2 inside TLS on the raft port
	GossipTransport memberlist.Transport                                                 // default: Ports.Gossip and Ports.Packets; no gossip without those
}

// DefaultConfig has everything that has a default.
func DefaultConfig() Config {
	return Config{
		VotersWanted:      func() int { return 3 },
		Hindered:          func(string) string { return "" },
		Place:             func(string) string { return "" },
		Profile:           LAN,
		ProposeTimeout:    10 * time.Second,
		CommitTimeout:     50 * time.Millisecond,
		SnapshotThreshold: 8192,
		SnapshotInterval:  2 * time.Minute,
		TrailingLogs:      10240,
		MaxConns:          1024,
		MaxConnsPerIP:     64,
		Now:               time.Now,
		Dial:              (&net.Dialer{}).DialContext,
	}
}

// Validate reports everything that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, sentence string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(sentence, args...))
		}
	}
	need(c.Identity.ClusterID != "" && c.Identity.PeerID != "", "the identity lacks a cluster id or a peer id")
	need(len(c.Identity.GossipKeys) > 0 || c.GossipTransport == nil && (c.Ports == nil || c.Ports.Packets == nil), "the identity lacks a gossip key")
	for i, k := range c.Identity.GossipKeys {
		need(len(k) == gossipKeySize, "gossip key %d has %d bytes, not %d", i, len(k), gossipKeySize)
	}
	if _, err := c.Identity.credentials(); err != nil {
		errs = append(errs, err)
	}
	need(c.DataDir != "" || c.Logs != nil, "there is neither a data folder nor a log store")
	need((c.Logs == nil) == (c.Stable == nil), "log store and stable store are given together or not at all")
	need(c.Snapshots != nil, "there is no snapshot store")
	need(c.Ports != nil && c.Ports.Raft != nil, "the raft port is not open")
	need(c.VotersWanted != nil, "nothing says how many voters are wanted")
	need(c.Hindered != nil, "nothing says who should rather not lead")
	need(c.Ballast >= 0, "the ballast file has %d bytes, which is less than nothing", c.Ballast)
	need(c.Place != nil, "nothing says where peers stand")
	need(c.Profile == LAN || c.Profile == WAN, "raft.profile is %q, it can be %q or %q", c.Profile, LAN, WAN)
	need(c.ProposeTimeout > 0, "the propose timeout is not positive")
	need(c.CommitTimeout >= time.Millisecond, "the time after which followers are told what is committed is under a millisecond")
	need(c.SnapshotInterval > 0, "the interval of raft's snapshots is not positive")
	need(c.SnapshotThreshold > 0, "the threshold of raft's snapshots is not positive")
	need(c.MaxConns > 0 && c.MaxConnsPerIP > 0, "no connections are allowed")
	need(c.Now != nil, "there is no clock")
	need(c.Dial != nil, "there is no way to dial")
	return errors.Join(errs...)
}

// timeout is raft's heartbeat and election timeout.
func (c Config) timeout() time.Duration {
	if c.Profile == WAN {
		return 2 * time.Second
	}
	return 500 * time.Millisecond
}
