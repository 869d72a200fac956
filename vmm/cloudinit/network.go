package cloudinit

import (
	"net/netip"
	"strconv"
)

// The network configuration, version 2 (cloud-init's documentation; the form is netplan's).
type networkConfig struct {
	Version   int `yaml:"version"`
	Ethernets struct {
		Eth0 ethernet `yaml:"eth0"`
	} `yaml:"ethernets"`
}

type ethernet struct {
	Match struct {
		MAC text `yaml:"macaddress"`
	} `yaml:"match"`
	SetName     text         `yaml:"set-name"` // without it only netplan finds the interface again
	DHCP4       bool         `yaml:"dhcp4"`
	DHCP6       bool         `yaml:"dhcp6"`
	AcceptRA    *bool        `yaml:"accept-ra,omitempty"`
	MTU         int          `yaml:"mtu,omitempty"`
	Addresses   []text       `yaml:"addresses,omitempty"`
	Routes      []route      `yaml:"routes,omitempty"`
	Nameservers *nameservers `yaml:"nameservers,omitempty"`
}

type route struct {
	To     text `yaml:"to"`
	Via    text `yaml:"via"`
	OnLink bool `yaml:"on-link,omitempty"`
}

type nameservers struct {
	Addresses []text `yaml:"addresses"`
}

// network describes the one interface of a guest. Without an address of ours it
// asks by DHCP.
func network(g Guest) networkConfig {
	c := networkConfig{Version: 2}
	e := &c.Ethernets.Eth0
	e.Match.MAC, e.SetName, e.MTU = text(g.MAC), "eth0", g.MTU
	e.DHCP4 = len(g.Addresses) == 0
	for _, a := range g.Addresses {
		e.add(a)
	}
	if len(g.DNS) > 0 {
		e.Nameservers = &nameservers{texts(g.DNS)}
	}
	return c
}

// add gives the interface an address and, the first time for IPv4 and for IPv6, a
// default route.
func (e *ethernet) add(a Address) {
	e.Addresses = append(e.Addresses, text(a.IP.String()+"/"+strconv.Itoa(a.Prefix)))
	if !a.Gateway.IsValid() {
		return
	}
	to := text("0.0.0.0/0") // older netplans do not know "default"
	if a.IP.Is6() {
		// What routers announce could add addresses and gateways that are not ours to use.
		to, e.AcceptRA = "::/0", new(bool)
	}
	for _, r := range e.Routes {
		if r.To == to {
			return
		}
	}
	e.Routes = append(e.Routes, route{to, text(a.Gateway.String()), !a.neighbour()})
}

// neighbour tells whether the gateway can be reached directly by what the prefix says.
func (a Address) neighbour() bool {
	return netip.PrefixFrom(a.IP, a.Prefix).Contains(a.Gateway) || a.Gateway.Is6() && a.Gateway.IsLinkLocalUnicast()
}
