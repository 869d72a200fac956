package inventory

import "time"

// CollectionType is what a collection is for, and so what a node may be in beside it.
type CollectionType string

// The types of collection. A node is in at most one tenant and at most one partition.
const (
	AdHoc     CollectionType = "ad-hoc"
	Tenant    CollectionType = "tenant"
	Job       CollectionType = "job"
	Partition CollectionType = "partition"
)

// NodeCollection is a named set of nodes, which need not exist yet.
type NodeCollection struct {
	ID             string            `json:"id,omitempty"` // UUID, given by the server
	Name           string            `json:"name"`         // unique; any characters
	Type           CollectionType    `json:"type"`
	Nodes          []string          `json:"nodes"` // xnames
	Description    string            `json:"description,omitempty"`
	CreatorSubject string            `json:"creator_subject,omitempty"` // the sub of the token that made it
	CloudInit      map[string]string `json:"cloud_init_data,omitempty"` // write-only; part of what its nodes get at boot
	Tags           []string          `json:"tags,omitempty"`            // of the group that it is in the State Manager API
	ExclusiveGroup string            `json:"exclusive_group,omitempty"` // the same
	Version        uint64            `json:"version,omitempty"`
	CreatedAt      time.Time         `json:"created_at,omitzero"`
	UpdatedAt      time.Time         `json:"updated_at,omitzero"`
}
