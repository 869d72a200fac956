package api

import "time"

// The ways to spread the VMs of a group.
const (
	SpreadPeer    = "peer"
	SpreadChassis = "chassis" // of the peer's xname, where the peer is also a ComputeNode
	SpreadCabinet = "cabinet"
	SpreadLabel   = "label" // of the peer; SpreadLabel names it
)

// Placement says where a VM may and should be. Peer, Labels, With and ApartFrom
// must hold; Spread is followed as far as there is room.
type Placement struct {
	Peer        string            `json:"peer,omitempty" doc:"Only on this peer" maxLength:"63"`
	Labels      map[string]string `json:"labels,omitempty" doc:"Only on peers with these labels" maxProperties:"64"`
	Group       string            `json:"group,omitempty" doc:"The group of VMs, within the account, that this one belongs to" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	Spread      string            `json:"spread,omitempty" doc:"Keep the VMs of the group apart by this, as far as there is room" enum:"peer,chassis,cabinet,label"`
	SpreadLabel string            `json:"spread_label,omitempty" doc:"spread label: which label of the peers" maxLength:"63"`
	With        string            `json:"with,omitempty" doc:"Only on a peer that has a VM of this group, once there is one" maxLength:"63"`
	ApartFrom   string            `json:"apart_from,omitempty" doc:"Never on a peer that has a VM of this group" maxLength:"63"`
}

// IsZero tells whether nothing is asked for.
func (p Placement) IsZero() bool {
	return p.Peer == "" && len(p.Labels) == 0 && p.Group == "" && p.Spread == "" && p.SpreadLabel == "" && p.With == "" && p.ApartFrom == ""
}

// Candidate is one host's part in a placement.
type Candidate struct {
	Peer    string     `json:"peer"`
	Status  HostStatus `json:"status" enum:"assigned,assigned_to_other_host,not_applicable,no_response_from_host,error_response_from_host,invalid_response_from_host"`
	Rank    int64      `json:"rank" doc:"Its place in the order in which hosts that fit were preferred, from 1; 0: it did not fit"`
	Free    Resources  `json:"free" doc:"What could still be promised there before this VM"`
	Reasons []string   `json:"reasons,omitempty" doc:"Why it was preferred, or not taken"`
}

// Why is how the owner of a VM was chosen; it stays with the VM.
type Why struct {
	VM         string      `json:"vm" format:"uuid"`
	Account    string      `json:"account"`
	Epoch      uint64      `json:"epoch" doc:"Ownership epoch that began with this decision"`
	Owner      string      `json:"owner"`
	Asked      Placement   `json:"asked,omitzero"`
	Candidates []Candidate `json:"candidates" doc:"By rank, then by name"`
	At         time.Time   `json:"at"`
}
