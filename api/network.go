package api

import "time"

// Network is a range of addresses that orchd allots from.
type Network struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CIDR      string    `json:"cidr" doc:"The range, such as 10.1.0.0/16 or fd00:1::/64"`
	Gateway   string    `json:"gateway,omitempty" doc:"Never allotted"`
	First     string    `json:"first,omitempty" doc:"The first address that may be allotted; default: the first of the range that a host can have"`
	Last      string    `json:"last,omitempty" doc:"The last address that may be allotted; default: the last of the range that a host can have"`
	DNS       []string  `json:"dns,omitempty" doc:"Name servers of the network"`
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NetworkCreate declares a network.
type NetworkCreate struct {
	Name    string   `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" doc:"Unique; 1 to 63 of a-z, 0-9 and -"`
	CIDR    string   `json:"cidr" maxLength:"64" doc:"The range, such as 10.1.0.0/16 or fd00:1::/64"`
	Gateway string   `json:"gateway,omitempty" maxLength:"64" doc:"Never allotted"`
	First   string   `json:"first,omitempty" maxLength:"64" doc:"The first address that may be allotted"`
	Last    string   `json:"last,omitempty" maxLength:"64" doc:"The last address that may be allotted"`
	DNS     []string `json:"dns,omitempty" maxItems:"8" doc:"Name servers of the network"`
}
