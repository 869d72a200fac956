package fsm

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// This file is what the State Manager API sees of the interfaces of a
// ComputeNode. They live in the node; a change of one is a change of the node.

// ports are the interfaces of a node with that MAC: those it has, else those it
// should have. There may be several, as with VLANs.
func (n *computeNode) ports(key string) (list []*inventory.NetworkInterface) {
	for k := range n.NICs {
		if hasKey(n.NICs[k].MACAddress, key) {
			list = append(list, &n.NICs[k])
		}
	}
	if list != nil || n.Spec == nil {
		return list
	}
	for k := range n.Spec.NICs {
		if hasKey(n.Spec.NICs[k].MACAddress, key) {
			list = append(list, &n.Spec.NICs[k])
		}
	}
	return list
}

// hasKey tells whether inventory.MACKey of a MAC address is key, which is one,
// without making it: lists of a million interfaces pass through here.
func hasKey(mac, key string) bool {
	at := 0
	for k := range len(mac) {
		c := mac[k]
		switch {
		case c == ':' || c == '-' || c == '.' || c == ' ':
			continue
		case c >= 'A' && c <= 'F':
			c += 'a' - 'A'
		}
		if at == len(key) || key[at] != c {
			return false
		}
		at++
	}
	return at == len(key) && key != ""
}

// bootAddresses are the addresses with which a node boots from that MAC: nil when
// it does not.
func (n *computeNode) bootAddresses(key string) (v4, v6 *string) {
	switch {
	case hasKey(n.BootMAC, key):
		return &n.BootIPv4, &n.BootIPv6
	case n.Spec != nil && hasKey(n.Spec.BootMAC, key):
		return &n.Spec.BootIPv4, &n.Spec.BootIPv6
	}
	return nil, nil
}

// shownPort is what a node has at a MAC as an EthernetInterface.
func (n *computeNode) shownPort(key string) smd.EthernetInterface {
	shown := smd.EthernetInterface{ID: key, MACAddress: inventory.Colons(key), LastUpdate: n.UpdatedAt, ComponentID: n.XName, Type: string(xname.Node),
		IPAddresses: make([]smd.IPAddress, 0, 2)}
	add := func(address string) {
		if a := (smd.IPAddress{IPAddress: address}); address != "" && !slices.Contains(shown.IPAddresses, a) {
			shown.IPAddresses = append(shown.IPAddresses, a)
		}
	}
	for _, nic := range n.ports(key) {
		shown.Description = cmp.Or(shown.Description, nic.Description)
		add(nic.IPv4Address)
		add(nic.IPv6Address)
	}
	if v4, v6 := n.bootAddresses(key); v4 != nil {
		add(*v4)
		add(*v6)
	}
	return shown
}

// patchPort changes what a node has at a MAC.
func (tx *Txn) patchPort(op, key string, n computeNode, p interfacePatch) error {
	if err := tx.may(api.Update, op, api.Object{Kind: "node"}); err != nil {
		return err
	}
	if err := tx.tenancy(op, n.XName); err != nil {
		return err
	}
	if p.ComponentID != nil && xname.Canonical(*p.ComponentID) != xname.Canonical(n.XName) {
		return livesInNode(op, key, &n, "it cannot be given to another component while it does")
	}
	n.NICs = slices.Clone(n.NICs)
	if n.Spec != nil {
		spec := *n.Spec
		spec.NICs = slices.Clone(spec.NICs)
		n.Spec = &spec
	}
	ports := n.ports(key)
	if p.Description != nil {
		if len(ports) == 0 {
			return livesInNode(op, key, &n, "there it is only what the node boots from, which has no description; add it to network_interfaces")
		}
		ports[0].Description = *p.Description
	}
	if p.Addresses != nil {
		if len(ports) > 1 {
			return livesInNode(op, key, &n, "there several network_interfaces have this MAC address; give them their addresses there")
		}
		if err := n.readdress(op, key, ports, *p.Addresses); err != nil {
			return err
		}
	}
	n.Version++
	n.UpdatedAt = tx.Now
	computeNodes.put(tx, n)
	return nil
}

// readdress gives an interface of a node its addresses. Where the node boots from
// it with an address of its own, that follows.
func (n *computeNode) readdress(op, key string, ports []*inventory.NetworkInterface, list []ipOfNetwork) error {
	v4, v6, err := oneOfEach(op, list)
	if err != nil {
		return err
	}
	if len(ports) > 0 {
		ports[0].IPv4Address, ports[0].IPv6Address = v4, v6
	}
	boot4, boot6 := n.bootAddresses(key)
	if boot4 != nil && (len(ports) == 0 || *boot4 != "") {
		*boot4 = v4
	}
	if boot6 != nil && (len(ports) == 0 || *boot6 != "") {
		*boot6 = v6
	}
	return nil
}

// oneOfEach is the IPv4 and the IPv6 address of a list; a node's interface has no more.
func oneOfEach(op string, list []ipOfNetwork) (v4, v6 string, err error) {
	for _, a := range list {
		addr, err := netip.ParseAddr(a.IPAddress)
		slot := &v6
		if addr.Is4In6() {
			a.IPAddress = addr.Unmap().String()
		}
		if addr.Unmap().Is4() {
			slot = &v4
		}
		switch {
		case err != nil || addr.Zone() != "":
			return "", "", badAddresses(op, "expected IPv4 and IPv6 addresses, without a zone")
		case *slot != "":
			return "", "", badAddresses(op, "an interface of a ComputeNode has at most one IPv4 and one IPv6 address")
		}
		*slot = a.IPAddress
	}
	return v4, v6, nil
}

func badAddresses(op, detail string) error {
	return &api.Error{Kind: api.Invalid, Op: op, Msg: "the EthernetInterface is not valid: see errors", Fields: []api.FieldError{{Pointer: "/IPAddresses", Detail: detail}}}
}
