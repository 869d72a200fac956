package smd

import "time"

// EthernetInterface is a MAC address that was seen, and what it belongs to. ID
// is the MAC in lower case without separators.
type EthernetInterface struct {
	ID          string      `json:"ID"`
	Description string      `json:"Description"`
	MACAddress  string      `json:"MACAddress"`
	LastUpdate  time.Time   `json:"LastUpdate,omitzero"`
	ComponentID string      `json:"ComponentID"`
	Type        string      `json:"Type"`
	IPAddresses []IPAddress `json:"IPAddresses"` // in answers never null
}

// IPAddress is an address of an interface.
type IPAddress struct {
	IPAddress string `json:"IPAddress"`
	Network   string `json:"Network,omitempty"`
}

// Group is a node collection in the State Manager's words.
type Group struct {
	Label          string   `json:"label"`
	Description    string   `json:"description"`
	Tags           []string `json:"tags,omitempty"`
	ExclusiveGroup string   `json:"exclusiveGroup,omitempty"`
	Members        Members  `json:"members"`
}

// Members are the xnames of a group or partition.
type Members struct {
	IDs []string `json:"ids"` // in answers never null
}

// PartitionOf is a node collection of type partition in the State Manager's words.
type PartitionOf struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Tags        []string `json:"tags,omitempty"`
	Members     Members  `json:"members"`
}

// Membership is what a component is in.
type Membership struct {
	ID            string   `json:"id"`
	GroupLabels   []string `json:"groupLabels"` // never null
	PartitionName string   `json:"partitionName"`
}
