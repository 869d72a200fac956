package inventory

import "time"

// BMC is a board's management controller; one serves all nodes of its board.
type BMC struct {
	ID             string    `json:"id,omitempty"` // UUID, given by the server
	XName          string    `json:"xname,omitempty"`
	LocationString string    `json:"location_string,omitempty"` // the same as XName, in answers always
	Username       string    `json:"username,omitempty"`        // required, as is Password, unless the BMC was inferred from an xname
	Password       *string   `json:"password,omitempty"`        // write-only; nil: as it is, empty: none
	MACAddress     string    `json:"mac_address,omitempty"`
	IPv4Address    string    `json:"ipv4_address,omitempty"`
	IPv6Address    string    `json:"ipv6_address,omitempty"`
	Description    string    `json:"description,omitempty"`
	Version        uint64    `json:"version,omitempty"`
	CreatedAt      time.Time `json:"created_at,omitzero"`
	UpdatedAt      time.Time `json:"updated_at,omitzero"`
}
