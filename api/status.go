package api

import "time"

// HostCapacity is one host's answer to a question of capacity.
type HostCapacity struct {
	Peer   string     `json:"peer"`
	Fits   bool       `json:"fits"`
	Status HostStatus `json:"status"`
	Reason string     `json:"reason,omitempty"`
	Free   *Resources `json:"free,omitempty" doc:"What may still be promised there"`
}

// Capacity answers whether, and where, something fits.
type Capacity struct {
	Available bool           `json:"available"`
	Hosts     []HostCapacity `json:"hosts"`
}

// HostReport is what a peer says of its own driver when it is asked.
type HostReport struct {
	Driver   string    `json:"driver"`
	Up       bool      `json:"up"`
	Error    string    `json:"error,omitempty"`
	Capacity Resources `json:"capacity"`
}

// Warning is something a person should know, and what to do about it.
type Warning struct {
	Code   string `json:"code" doc:"A stable word: peer-silent, peer-stuck, no-leader, refused, no-spare-voter, double-vm, clock-off, driver-down, overcommitted, level-held-back, hash-differs, snapshot-failed, changes-lost"`
	Peer   string `json:"peer,omitempty"`
	VM     string `json:"vm,omitempty"`
	Detail string `json:"detail" doc:"What is wrong"`
	Action string `json:"action" doc:"What to do about it"`
}

// Status is one screen on the health of the cluster, as the asked peer sees it.
type Status struct {
	ClusterID    string         `json:"cluster_id"`
	Peer         string         `json:"peer" doc:"The peer that answers"`
	Leader       string         `json:"leader,omitempty" doc:"Name of the leader; empty: none in sight"`
	Term         uint64         `json:"term"`
	AppliedIndex uint64         `json:"applied_index"`
	CommitIndex  uint64         `json:"commit_index"`
	StateHash    string         `json:"state_hash"`
	AgeMs        int64          `json:"age_ms" doc:"Milliseconds since this peer last knew that it is up to date"`
	Voters       int            `json:"voters"`
	VotersWanted int            `json:"voters_wanted"`
	Tolerates    int            `json:"tolerates" doc:"How many voters may fail before writes stop, counted from those that answer now"`
	Peers        []PeerView     `json:"peers"`
	VMs          map[string]int `json:"vms" doc:"How many VMs in each state"`
	Software     string         `json:"software"`
	Level        uint64         `json:"level" doc:"Behaviour level in force: what all peers agree to do"`
	// NextLevel waits for the peers that have not said that they know it.
	NextLevel       uint64    `json:"next_level,omitempty" doc:"The next level, where some peer knows one"`
	NextLevelAwaits []string  `json:"next_level_awaits,omitempty" doc:"Names of the peers that hold it back: they have not said that they know it"`
	Warnings        []Warning `json:"warnings"`
}

// Snapshot is a marked snapshot of the replicated state on the asked peer.
type Snapshot struct {
	ID        string           `json:"id" doc:"The log index"`
	Index     uint64           `json:"index"`
	Term      uint64           `json:"term"`
	CreatedAt time.Time        `json:"created_at" doc:"The cluster's time at that index"`
	StateHash string           `json:"state_hash"`
	Bytes     int64            `json:"bytes"`
	Rows      map[string]int64 `json:"rows" doc:"Rows by table"`
	Path      string           `json:"path" doc:"Where the files lie on the answering peer"`
}

// Page is a list answer.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next" doc:"Cursor of the next page; empty on the last"`
}
