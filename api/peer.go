package api

import "time"

// PeerAddresses are where a peer listens, each HOST:PORT.
type PeerAddresses struct {
	API    string `json:"api"`
	Raft   string `json:"raft"`
	Gossip string `json:"gossip"`
}

// PeerState says whether a peer still belongs to the cluster.
type PeerState string

// The states of a peer's row.
const (
	PeerMember PeerState = "member"
	PeerLeft   PeerState = "left" // its id is never admitted again
	PeerGone   PeerState = "lost" // declared off for good; nor is this one's
)

// Drivers that run a peer's virtual machines.
const (
	DriverLibvirt = "libvirt" // real guests
	DriverSim     = "sim"     // in memory, for trying out and for tests
	DriverNone    = "none"    // this peer runs none
)

// Peer is a host of the cluster, as the log remembers it.
type Peer struct {
	ID          string            `json:"id" format:"uuid" doc:"Never used twice"`
	Name        string            `json:"name"`
	Addresses   PeerAddresses     `json:"addresses"`
	Capacity    Resources         `json:"capacity" doc:"What the host has"`
	Reserve     Resources         `json:"reserve,omitzero" doc:"What of it the host keeps for itself"`
	Ratios      Ratios            `json:"ratios" doc:"How much of the rest may be promised"`
	Labels      map[string]string `json:"labels,omitempty"`
	Driver      string            `json:"driver" enum:"libvirt,sim,none"`
	HostUUID    string            `json:"host_uuid,omitempty" doc:"libvirt's id of the host: one libvirtd serves one peer"`
	Schedulable bool              `json:"schedulable" doc:"New VMs may be placed here"`
	Problem     string            `json:"problem,omitempty" doc:"Why its driver cannot work just now, as it last reported"`
	State       PeerState         `json:"state" enum:"member,left,lost"`
	Software    string            `json:"software" doc:"Version of orchd that it runs"`
	Level       uint64            `json:"level" doc:"Highest behaviour level that it knows"`
	PublicKey   []byte            `json:"public_key" doc:"Pinned public key, PKIX"`
	WrapKey     []byte            `json:"wrap_key" doc:"Public key that cluster keys are wrapped to for it (HPKE, X25519)"`
	Certificate string            `json:"certificate" doc:"Its certificate, PEM"`
	Version     uint64            `json:"version"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
}

// Room is what may be promised on the peer in all.
func (p Peer) Room() Resources { return p.Ratios.Of(p.Capacity.Minus(p.Reserve)) }

// PeerView is a peer as an answer shows it: its row, and what is seen of it just now.
type PeerView struct {
	Peer
	Voter         bool      `json:"voter" doc:"It has a vote in raft"`
	Leader        bool      `json:"leader"`
	Health        string    `json:"health" enum:"alive,silent,unknown" doc:"silent: not heard for 15 s; unknown: it did not answer the asked peer's last ping"`
	HeardAt       time.Time `json:"heard_at,omitzero" doc:"When the leader last heard it"`
	AppliedIndex  uint64    `json:"applied_index,omitempty" doc:"Log index that it last said it has applied"`
	Reserved      Resources `json:"reserved" doc:"Promised to VMs"`
	VMs           int       `json:"vms"`
	Overcommitted bool      `json:"overcommitted,omitempty" doc:"More is promised than may be; it gets nothing new"`
	Cannot        []string  `json:"cannot_reach,omitempty" doc:"Names of peers that it says it cannot reach"`
}

// PeerUpdate is what a peer says about itself when it starts and when it changes.
type PeerUpdate struct {
	Addresses PeerAddresses     `json:"addresses"`
	Capacity  Resources         `json:"capacity"`
	Reserve   Resources         `json:"reserve,omitzero"`
	Ratios    Ratios            `json:"ratios"`
	Labels    map[string]string `json:"labels,omitempty"`
	Driver    string            `json:"driver"`
	HostUUID  string            `json:"host_uuid,omitempty"`
	Problem   string            `json:"problem,omitempty"`
	Software  string            `json:"software"`
	Level     uint64            `json:"level"`
}

// JoinRequest is the body of POST /v1/join, sent by a host that wants to be a peer.
type JoinRequest struct {
	Token   string     `json:"token" doc:"ID.SECRET of a token of role peer" maxLength:"256"`
	CSR     []byte     `json:"csr" doc:"Certificate request (PKCS #10, DER) made with the key that stays on the newcomer's disk" maxLength:"8192"`
	WrapKey []byte     `json:"wrap_key" doc:"Public key for wrapping cluster keys (HPKE, X25519)" maxLength:"256"`
	Name    string     `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	Nonce   string     `json:"nonce" doc:"What its three ports answer, so that the leader knows that it reached the newcomer" maxLength:"128"`
	Clock   time.Time  `json:"clock" doc:"The newcomer's time: more than 60 s off is refused"`
	Host    PeerUpdate `json:"host"`
	Voucher *Voucher   `json:"voucher,omitempty" doc:"Needed where the setting trust.join_weight is not 0: see package voucher, or docs/system-services.md, for what is signed"`
}

// JoinAnswer makes the newcomer a peer.
type JoinAnswer struct {
	ClusterID   string            `json:"cluster_id" format:"uuid"`
	PeerID      string            `json:"peer_id" format:"uuid"`
	Certificate string            `json:"certificate" doc:"The newcomer's certificate, PEM"`
	CA          string            `json:"ca" doc:"Certificates of the authorities that the cluster trusts, PEM; the first signs"`
	Keys        map[string][]byte `json:"keys" doc:"Cluster keys by name, wrapped to the newcomer's wrap_key"`
	GossipKeys  []string          `json:"gossip_keys" doc:"Names of those that are for gossip; the first encrypts"`
	Peers       []KnownPeer       `json:"peers" doc:"Whom to talk to"`
}

// KnownPeer is what a peer must know of another to find it without quorum.
type KnownPeer struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Addresses PeerAddresses `json:"addresses"`
	PublicKey []byte        `json:"public_key"`
}
