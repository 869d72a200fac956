// Package config is what an operator sets about one peer: read from
// /etc/orchd/orchd.toml, then the environment, then flags, the later winning.
//
// The table in keys.go is every key there is. Whatever is not in it is refused
// with the place where it stands and the nearest name; nothing is ignored.
// Start with Load.
package config

import (
	"time"

	"github.com/orchd/orchd/api"
)

// DefaultFile is read when nobody names another file. It need not exist.
const DefaultFile = "/etc/orchd/orchd.toml"

// DefaultDataDir is where a peer keeps its state unless told otherwise.
const DefaultDataDir = "/var/lib/orchd"

// Config is what one peer is told. Its zero value is not valid: begin with Default.
type Config struct {
	Name           string            `koanf:"name"`
	DataDir        string            `koanf:"data_dir"`
	Advertise      string            `koanf:"advertise"` // host name or IP under which others reach this one, without a port
	Voters         int               `koanf:"voters"`    // 1, 3 or 5; all peers go by the setting made from it at init
	Labels         map[string]string `koanf:"labels"`
	API            API               `koanf:"api"`
	Boot           Boot              `koanf:"boot"`
	Auth           Auth              `koanf:"auth"`
	Raft           Raft              `koanf:"raft"`
	Gossip         Gossip            `koanf:"gossip"`
	VMM            VMM               `koanf:"vmm"`
	Images         Images            `koanf:"images"`
	Snapshot       Snapshot          `koanf:"snapshot"`
	SystemServices SystemServices    `koanf:"system_services"`
	Nameserver     Nameserver        `koanf:"nameserver"`
	Log            Log               `koanf:"log"`

	// Given are the keys that the file, the environment or a flag sets, by path.
	Given map[string]bool `koanf:"-"`

	// Clock is how far this process's clock is bent, by ORCHD_TEST_CLOCK only.
	Clock Clock `koanf:"-"`
}

// API is where the HTTP API is served.
type API struct {
	Listen      string `koanf:"listen"`       // HOST:PORT; an empty host is every address
	PlainListen string `koanf:"plain_listen"` // HOST:PORT on loopback: the inventory and the State Manager API without TLS; empty: nowhere
}

// Boot is where nodes get their own boot script and cloud-init data without a
// credential, by the address that they ask from.
type Boot struct {
	Listen string `koanf:"listen"` // HOST:PORT; empty: nowhere
}

// Raft is where and how patiently peers agree.
type Raft struct {
	Listen  string `koanf:"listen"`
	Profile string `koanf:"profile"` // lan: elections after 500 ms of silence; wan: after 2 s

	SnapshotThreshold int `koanf:"snapshot_threshold"` // log entries between two of raft's own snapshots
	TrailingLogs      int `koanf:"trailing_logs"`      // log entries kept behind one, for peers that lag
	BallastMiB        int `koanf:"ballast_mib"`        // size of a file that is given back when the disk is full; 0: none
}

// Gossip is where peers tell each other who is alive.
type Gossip struct {
	Listen string `koanf:"listen"`
}

// VMM says what runs virtual machines here and how much of this host they may have.
type VMM struct {
	Driver     string     `koanf:"driver"`
	LibvirtURI string     `koanf:"libvirt_uri"`
	VirtType   string     `koanf:"virt_type"`
	Filter     string     `koanf:"filter"` // auto, on, off: what a guest sends from addresses that are not its own is dropped
	Capacity   Capacity   `koanf:"capacity"`
	Reserve    Capacity   `koanf:"reserve"`
	Overcommit Overcommit `koanf:"overcommit"`
}

// Images says what may become an image on this host.
type Images struct {
	MaxSize Size   `koanf:"max_size"` // of the file and of the disk in it
	Allow   string `koanf:"allow"`    // address ranges, comma-separated, that an image may be fetched from although they are inner ones
	Ports   string `koanf:"ports"`    // ports, comma-separated, that an image may be fetched from beside 443
}

// Capacity stands for what the host has, where not zero; zero asks the host. As
// the reserve it is what the host keeps for itself.
type Capacity struct {
	VCPUs  int64 `koanf:"vcpus"`
	Memory Size  `koanf:"memory"`
	Disk   Size  `koanf:"disk"`
}

// Overcommit is how much may be promised to VMs, in whole percent of the capacity.
type Overcommit struct {
	VCPUs  int64 `koanf:"vcpus_percent"`
	Memory int64 `koanf:"memory_percent"`
	Disk   int64 `koanf:"disk_percent"`
}

// Snapshot says how often the whole cluster writes its state to parquet files, and how many of them are kept.
type Snapshot struct {
	Interval time.Duration `koanf:"interval"` // 0: only on demand
	Retain   int           `koanf:"retain"`
}

// Nameserver answers DNS questions about the names that the registry has.
type Nameserver struct {
	Listen string `koanf:"listen"` // HOST:PORT, UDP and TCP; empty: nowhere
	Domain string `koanf:"domain"` // what registry names are followed by
}

// Log says how much the daemon writes to stderr and in which form.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn, error
	Format string `koanf:"format"` // text, json; auto is text on a terminal
}

// Clock bends a process's time for tests: it reads Offset ahead and runs Rate times as fast.
type Clock struct {
	Offset time.Duration
	Rate   float64
}

// Default is what holds where nobody says anything. Name and Advertise are
// found out from this host and may be empty where they cannot be.
func Default() Config {
	return Config{
		Name:      hostName(),
		DataDir:   DefaultDataDir,
		Advertise: routeAddress(),
		Voters:    3,
		API:       API{Listen: ":7700"},
		Auth:      Auth{SMDAnonymous: true, JWTRole: string(api.RoleAdmin)},
		Raft:      Raft{Listen: ":7701", Profile: "lan", SnapshotThreshold: 8192, TrailingLogs: 10240, BallastMiB: 256},
		Gossip:    Gossip{Listen: ":7702"},
		VMM: VMM{
			Driver:     "auto",
			LibvirtURI: "qemu:///system",
			VirtType:   "auto",
			Filter:     "auto",
			Overcommit: Overcommit{VCPUs: 100, Memory: 100, Disk: 100},
		},
		Images:         Images{MaxSize: 1 << 40},
		Snapshot:       Snapshot{Interval: time.Hour, Retain: 24},
		SystemServices: defaultSystemServices(),
		Nameserver:     Nameserver{Domain: "orchd"},
		Log:            Log{Level: "info", Format: "auto"},
		Clock:          Clock{Rate: 1},
	}
}
