package peer

import (
	"cmp"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/sysvc/pack"
	"github.com/orchd/orchd/vmm"
)

// Config is all that a peer is told; only the command line reads flags, files
// and the environment.
type Config struct {
	Name         string // of the peer, as api.ValidName
	DataDir      string // everything that this peer keeps
	Advertise    string // address or host name at which the other peers reach this one
	APIListen    string // host:port or :port
	RaftListen   string
	GossipListen string
	PlainListen  string // host:port on loopback where the fleet's routes are served without TLS; empty: nowhere
	BootListen   string // host:port where nodes get their own boot data without a credential; empty: nowhere

	Driver     string        // auto, libvirt, sim or none
	LibvirtURI string        // empty: the system's libvirtd
	VirtType   string        // auto, kvm or qemu
	Filter     string        // auto, on or off: what guests send from addresses that are not theirs is dropped
	Capacity   api.Resources // figures above zero are used in place of what the driver finds
	Reserve    api.Resources // what of it the host keeps for itself
	Ratios     api.Ratios
	Labels     map[string]string

	ImageMax   int64          // bytes of an image, and of the disk in it; 0: 1 TiB
	ImageAllow []netip.Prefix // inner addresses that images may be fetched from all the same
	ImagePorts []uint16       // ports that images may be fetched from beside 443
	ImageRoots *x509.CertPool // authorities of the servers that images are fetched from; nil: the host's

	TrustKey ed25519.PrivateKey // signs this host's request to join; nil: nobody vouches for it

	Keys *api.KeyDocument // Init makes the cluster with these keys and their cluster's id; nil: with new ones

	Auth fsm.AuthChange // seed of the settings auth.*: what this peer was told of them

	Packages         []pack.Package // what this host deploys: services and spells
	KeepDisabled     bool           // leave those that are no longer among them
	StopOnFailure    bool           // end when one of them cannot be deployed
	Worker           []string       // program and arguments that run a worker; empty: this program
	NameserverListen string         // host:port where DNS questions about the registry's names are answered; empty: nowhere
	NameserverDomain string         // the domain that they lie in

	RaftProfile       string        // lan or wan
	Voters            int           // seed of the setting: 1, 3 or 5
	SnapshotThreshold uint64        // log entries between two of raft's own snapshots
	TrailingLogs      uint64        // log entries kept behind a snapshot for peers that lag
	BallastMiB        int           // size of the file that is given back when the disk is full; 0: none
	SnapshotInterval  time.Duration // seed of the setting: between two marked snapshots; 0: only on demand
	SnapshotRetain    int           // seed of the setting: how many of the newest stay; 0: 24
	HistoryLook       time.Duration // how often missing changes are looked for; 0: every 15 s
	RereadEvery       time.Duration // how often snapshots are read again from the disk; 0: every 24 h

	Now     func() time.Time // the clock; nil: the machine's
	Version string           // of this program

	// Hypervisor, when not nil, is used in place of the one that Driver names:
	// for tests that reach into a simulated host.
	Hypervisor vmm.Hypervisor
}

// withDefaults fills what was left out.
func (c Config) withDefaults() Config {
	c.APIListen = cmp.Or(c.APIListen, ":7700")
	c.RaftListen = cmp.Or(c.RaftListen, ":7701")
	c.GossipListen = cmp.Or(c.GossipListen, ":7702")
	c.Driver = cmp.Or(c.Driver, "auto")
	c.VirtType = cmp.Or(c.VirtType, "auto")
	c.Filter = cmp.Or(c.Filter, "auto")
	c.ImageMax = cmp.Or(c.ImageMax, 1<<40)
	c.RaftProfile = cmp.Or(c.RaftProfile, "lan")
	c.Voters = cmp.Or(c.Voters, 3)
	c.SnapshotThreshold = cmp.Or(c.SnapshotThreshold, 8192)
	c.TrailingLogs = cmp.Or(c.TrailingLogs, 10240)
	c.SnapshotRetain = cmp.Or(c.SnapshotRetain, 24)
	c.HistoryLook = cmp.Or(c.HistoryLook, 15*time.Second)
	c.RereadEvery = cmp.Or(c.RereadEvery, 24*time.Hour)
	c.Version = cmp.Or(c.Version, "dev")
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate names everything that is wrong at once.
func (c Config) Validate() error {
	var wrong []error
	if !api.ValidName(c.Name) {
		wrong = append(wrong, fmt.Errorf("name %q: must be 1 to 63 of a-z, 0-9 and -; set it with --name", c.Name))
	}
	if !filepath.IsAbs(c.DataDir) {
		wrong = append(wrong, fmt.Errorf("data_dir %q: must be an absolute path", c.DataDir))
	}
	if c.Advertise == "" {
		wrong = append(wrong, errors.New("advertise: no address found; say with --advertise at which address the other peers reach this host"))
	}
	if !slices.Contains([]string{"auto", api.DriverLibvirt, api.DriverSim, api.DriverNone}, c.Driver) {
		wrong = append(wrong, fmt.Errorf("vmm.driver %q: must be auto, libvirt, sim or none", c.Driver))
	}
	if !slices.Contains([]int{1, 3, 5}, c.Voters) {
		wrong = append(wrong, fmt.Errorf("voters %d: must be 1, 3 or 5", c.Voters))
	}
	if fault := fsm.SettingFault(fsm.SettingSnapshotInterval, fsm.SettingDuration(c.SnapshotInterval)); fault != "" {
		wrong = append(wrong, fmt.Errorf("snapshot.interval %s: %s", c.SnapshotInterval, fault))
	}
	if fault := fsm.SettingFault(fsm.SettingSnapshotRetain, strconv.Itoa(c.SnapshotRetain)); fault != "" {
		wrong = append(wrong, fmt.Errorf("snapshot.retain %d: %s", c.SnapshotRetain, fault))
	}
	for name, listen := range map[string]string{"api.listen": c.APIListen, "raft.listen": c.RaftListen, "gossip.listen": c.GossipListen} {
		if _, _, err := net.SplitHostPort(listen); err != nil {
			wrong = append(wrong, fmt.Errorf("%s %q: %w", name, listen, err))
		}
	}
	if c.PlainListen != "" && !isLoopback(c.PlainListen) {
		wrong = append(wrong, fmt.Errorf("api.plain_listen %q: must be a loopback address such as 127.0.0.1:27779, for tokens pass there in clear", c.PlainListen))
	}
	if socket := c.socket(); len(socket) > maxSocketPath {
		wrong = append(wrong, fmt.Errorf("data_dir: the socket path %s has %d bytes, the kernel takes %d; choose a shorter data_dir", socket, len(socket), maxSocketPath))
	}
	return errors.Join(wrong...)
}

// maxSocketPath is what fits into sockaddr_un with some room.
const maxSocketPath = 100

func (c Config) socket() string        { return filepath.Join(c.DataDir, "orchd.sock") }
func (c Config) raftSnapshots() string { return filepath.Join(c.DataDir, "raft", "snapshots") }
func (c Config) markedDir() string     { return filepath.Join(c.DataDir, "snapshots") }
func (c Config) lackingFile() string   { return filepath.Join(c.DataDir, "snapshots.incomplete") }
func (c Config) changesDir() string    { return filepath.Join(c.DataDir, "changes") }
func (c Config) imagesDir() string     { return filepath.Join(c.DataDir, "images") }
func (c Config) exportsDir() string    { return filepath.Join(c.DataDir, "exports") }

// addresses are where the others reach this peer, given where it listens.
func (c Config) addresses(apiAt, raftAt, gossipAt net.Addr) api.PeerAddresses {
	at := func(a net.Addr) string {
		_, port, _ := net.SplitHostPort(a.String())
		return net.JoinHostPort(c.Advertise, port)
	}
	return api.PeerAddresses{API: at(apiAt), Raft: at(raftAt), Gossip: at(gossipAt)}
}

// quiet is a logger for those who have none.
func quiet(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
