package api

import "time"

// AddressPool is a part of a network that one peer alone allots from, where a
// peer has a public block of its own.
type AddressPool struct {
	Peer    string `json:"peer" doc:"Name of the peer" maxLength:"63"`
	First   string `json:"first" doc:"The first address that may be allotted" maxLength:"64"`
	Last    string `json:"last" doc:"The last address that may be allotted" maxLength:"64"`
	Gateway string `json:"gateway,omitempty" doc:"Default: the network's" maxLength:"64"`
}

// NetworkShape is what a network is made of.
type NetworkShape struct {
	CIDR     string        `json:"cidr,omitempty" maxLength:"64" doc:"The IPv4 range, such as 10.1.0.0/16, or the only IPv6 range"`
	Gateway  string        `json:"gateway,omitempty" maxLength:"64" doc:"Never allotted"`
	First    string        `json:"first,omitempty" maxLength:"64" doc:"The first address that may be allotted; default: the first of the range that a host can have"`
	Last     string        `json:"last,omitempty" maxLength:"64" doc:"The last address that may be allotted; default: the last of the range that a host can have"`
	CIDR6    string        `json:"cidr6,omitempty" maxLength:"64" doc:"An IPv6 range beside the IPv4 one, such as fd00:1::/64: a VM gets an address of each"`
	Gateway6 string        `json:"gateway6,omitempty" maxLength:"64" doc:"Never allotted"`
	DNS      []string      `json:"dns,omitempty" maxItems:"8" doc:"Name servers of the network"`
	Bridge   string        `json:"bridge,omitempty" maxLength:"15" pattern:"^[a-zA-Z0-9_.-]{1,15}$" doc:"Bridge on each peer that VMs are plugged into"`
	Libvirt  string        `json:"libvirt,omitempty" maxLength:"63" pattern:"^[a-zA-Z0-9_.-]{1,63}$" doc:"Network of each peer's libvirt that VMs are plugged into, instead of a bridge; addresses are reserved in its DHCP too"`
	Pools    []AddressPool `json:"pools,omitempty" maxItems:"100" doc:"Parts that one peer alone allots from; with any, a peer without one allots nothing"`
	MTU      int64         `json:"mtu,omitempty" minimum:"576" maximum:"65535" doc:"Default: 1500"`
	Open     bool          `json:"open,omitempty" doc:"Do not filter what VMs send: they may use addresses that are not theirs"`
}

// Network is a range of addresses that orchd allots from and, with a bridge or a
// libvirt network, a place to plug VMs into.
type Network struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	NetworkShape
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NetworkCreate declares a network.
type NetworkCreate struct {
	Name string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" doc:"Unique; 1 to 63 of a-z, 0-9 and -"`
	NetworkShape
}

// Lease is an address that a VM holds.
type Lease struct {
	IP      string    `json:"ip" doc:"Empty where only the MAC address is held: on a network without a range, or of an adopted domain"`
	MAC     string    `json:"mac"`
	Network string    `json:"network" doc:"Id of the network"`
	VM      string    `json:"vm" doc:"Id of the VM"`
	Account string    `json:"account"`
	At      time.Time `json:"at"`
}

// Key tells leases apart: the IP address, else the MAC address.
func (l Lease) Key() string {
	if l.IP == "" {
		return l.MAC
	}
	return l.IP
}
