package libvirt

import (
	"slices"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// A reservation in the DHCP of one of libvirt's networks is known again by its
// name, which ends with the first digits of the VM's id, and by a MAC of QEMU's.

// qemuMAC is what every MAC begins with that the log gives out.
const qemuMAC = "52:54:00:"

// maxHostName is how long a label of a name may be in DNS.
const maxHostName = 63

func suffixOf(vm string) string { return "-" + vm[:8] }

// hostName is the name that the network's own DNS answers to as well.
func hostName(b vmm.Build) string {
	if strings.HasSuffix(b.Name, suffixOf(b.Mark.VM)) && len(b.Name) <= maxHostName {
		return b.Name
	}
	return "vm" + suffixOf(b.Mark.VM)
}

// reservationOf is what the DHCP of b's network should have; ok false: nothing.
// libvirt hands out IPv4 addresses by MAC and IPv6 addresses not: a guest has
// those from its seed.
func reservationOf(b vmm.Build) (h libvirtxml.NetworkDHCPHost, ok bool, err error) {
	if b.NIC == nil || b.NIC.Network == "" {
		return h, false, nil
	}
	n, _, err := nicOf(*b.NIC)
	if err != nil {
		return h, false, err
	}
	v4, _, err := families(b.NIC.IPs)
	if err != nil || len(v4) == 0 {
		return h, false, err
	}
	return libvirtxml.NetworkDHCPHost{MAC: n.mac, Name: hostName(b), IP: v4[0]}, true, nil
}

// reserve has the network hand out the address to the MAC. A network that has no
// DHCP is left as it is. To reserve again is no error.
func reserve(rpc *golibvirt.Libvirt, b vmm.Build) error {
	want, ok, err := reservationOf(b)
	if !ok || err != nil {
		return err
	}
	n, err := networkNamed(rpc, b.NIC.Network)
	if is(err, golibvirt.ErrNoNetwork) {
		return api.Errorf(api.Invalid, "libvirt.network", "libvirt on this host has no network %q: define it, or take the host off the network", b.NIC.Network)
	}
	if err != nil || !n.dhcp {
		return err
	}
	for _, h := range n.hosts {
		switch {
		case h.MAC == want.MAC && h.IP == want.IP && h.Name == want.Name:
			return nil
		case h.MAC == want.MAC || h.Name == want.Name:
			if err := n.update(rpc, golibvirt.NetworkUpdateCommandDelete, h); err != nil {
				return err
			}
		case h.IP == want.IP:
			return api.Errorf(api.Conflict, "libvirt.network",
				"address %s of libvirt's network %q is reserved for %s (%s): 'virsh net-update' can delete that host", h.IP, b.NIC.Network, h.MAC, h.Name)
		}
	}
	return n.update(rpc, golibvirt.NetworkUpdateCommandAddLast, want)
}

// unreserve takes the reservations of a VM out of all networks but the one that
// b, if it is not nil, is on.
func unreserve(rpc *golibvirt.Libvirt, vm string, b *vmm.Build) error {
	all, _, err := rpc.ConnectListAllNetworks(1, 0)
	if is(err, golibvirt.ErrNoSupport) {
		return nil // a libvirtd without networks
	}
	if err != nil {
		return err
	}
	for _, net := range all {
		if b != nil && b.NIC != nil && b.NIC.Network == net.Name {
			continue
		}
		n, err := readNetwork(rpc, net)
		if is(err, golibvirt.ErrNoNetwork) {
			continue
		}
		if err != nil {
			return err
		}
		for _, h := range n.hosts {
			if !strings.HasSuffix(h.Name, suffixOf(vm)) || !strings.HasPrefix(h.MAC, qemuMAC) {
				continue
			}
			if err := n.update(rpc, golibvirt.NetworkUpdateCommandDelete, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// network is one of libvirt's, as far as it matters here.
type network struct {
	golibvirt.Network
	dhcp  bool
	hosts []libvirtxml.NetworkDHCPHost
}

func networkNamed(rpc *golibvirt.Libvirt, name string) (network, error) {
	n, err := rpc.NetworkLookupByName(name)
	if err != nil {
		return network{}, err
	}
	return readNetwork(rpc, n)
}

func readNetwork(rpc *golibvirt.Libvirt, n golibvirt.Network) (network, error) {
	text, err := rpc.NetworkGetXMLDesc(n, 0)
	if err != nil {
		return network{}, err
	}
	var x libvirtxml.Network
	if err := x.Unmarshal(text); err != nil {
		return network{}, api.Errorf(api.Internal, "libvirt.network", "read network %q: %w", n.Name, err)
	}
	read := network{Network: n}
	i := slices.IndexFunc(x.IPs, func(ip libvirtxml.NetworkIP) bool { return ip.Family != "ipv6" && ip.DHCP != nil })
	if i >= 0 {
		read.dhcp, read.hosts = true, x.IPs[i].DHCP.Hosts
	}
	return read, nil
}

// update changes a reservation in the network that runs, and in what it is made of next time.
func (n network) update(rpc *golibvirt.Libvirt, do golibvirt.NetworkUpdateCommand, h libvirtxml.NetworkDHCPHost) error {
	active, err := rpc.NetworkIsActive(n.Network)
	if err != nil {
		return err
	}
	persistent, err := rpc.NetworkIsPersistent(n.Network)
	if err != nil {
		return err
	}
	var where golibvirt.NetworkUpdateFlags
	if active == 1 {
		where |= golibvirt.NetworkUpdateAffectLive
	}
	if persistent == 1 {
		where |= golibvirt.NetworkUpdateAffectConfig
	}
	text, err := h.Marshal()
	if err != nil {
		return api.Errorf(api.Internal, "libvirt.network", "%w", err)
	}
	// -1: the first range of IPv4 that has a DHCP.
	return rpc.NetworkUpdateCompat(n.Network, do, golibvirt.NetworkSectionIPDhcpHost, -1, text, where)
}
