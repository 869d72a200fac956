package api

import "time"

// DealState is whether a deal is worked on.
type DealState string

// The states of a deal.
const (
	DealActive   DealState = "active"
	DealInactive DealState = "inactive" // its workers are removed
	DealEnding   DealState = "ending"   // it goes when its workers have gone
)

// Deal asks for a number of alike VMs, its workers, which the decider keeps alive.
type Deal struct {
	ID        string    `json:"id" format:"uuid"`
	Name      string    `json:"name" doc:"Unique in the account"`
	Account   string    `json:"account"`
	Spec      DealSpec  `json:"spec"`
	State     DealState `json:"state" enum:"active,inactive,ending"`
	Source    string    `json:"source,omitempty" doc:"Where it was polled from; empty: from this cluster's API"`
	Reason    string    `json:"reason,omitempty" doc:"Why it has not all of its workers"`
	Workers   []DealVM  `json:"workers,omitempty"`
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// DealSpec is what each worker is, and how many there are.
type DealSpec struct {
	Count     int64    `json:"count" minimum:"0" maximum:"1000" doc:"How many workers"`
	Size      string   `json:"size,omitempty" doc:"Name of a size"`
	Image     string   `json:"image,omitempty" doc:"Name or id of an image"`
	Network   string   `json:"network,omitempty" doc:"Name of a network"`
	SSHKeys   []string `json:"ssh_keys,omitempty" doc:"Names of keys of the account"`
	Spread    string   `json:"spread,omitempty" doc:"peer, chassis, cabinet or a label: workers are kept apart by it"`
	VCPUs     int64    `json:"vcpus,omitempty" doc:"In place of a size"`
	MemoryMiB int64    `json:"memory_mib,omitempty" doc:"In place of a size"`
	DiskGiB   int64    `json:"disk_gib,omitempty" doc:"In place of a size"`
}

// DealVM is a worker of a deal.
type DealVM struct {
	Name   string    `json:"name" doc:"Of the VM: DEAL-N"`
	VM     string    `json:"vm,omitempty" doc:"Its id, once it was made"`
	State  string    `json:"state" doc:"As its spell last saw it"`
	SeenAt time.Time `json:"seen_at,omitzero"`
}

// DealCreate is the body of POST /v1/deals.
type DealCreate struct {
	Name     string   `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,50}$"`
	Account  string   `json:"account,omitempty"`
	Spec     DealSpec `json:"spec"`
	Inactive bool     `json:"inactive,omitempty" doc:"Make no workers yet"`
	Source   string   `json:"source,omitempty" doc:"Where it was polled from"`
}

// DealUpdate is the body of PUT /v1/deals/{name}.
type DealUpdate struct {
	Spec  DealSpec  `json:"spec"`
	State DealState `json:"state,omitempty" enum:"active,inactive"`
}

// DealReport is what the decider says of a deal.
type DealReport struct {
	ID      string   `json:"id"`
	Reason  string   `json:"reason,omitempty"`
	Workers []DealVM `json:"workers,omitempty"`
}
