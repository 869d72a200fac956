package fsm

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// leases are the addresses that VMs hold: each IP and each MAC address is one VM's
// for as long as its row is there. A lease without an IP address holds a MAC
// address alone: that of a VM on a network without a range, or of an adopted domain.
var leases = &table[api.Lease]{
	name:    "leases",
	key:     func(l *api.Lease) string { return l.Key() },
	account: func(l *api.Lease) string { return l.Account },
	by: map[string]func(*api.Lease) string{
		"vm":      func(l *api.Lease) string { return l.VM },
		"mac":     func(l *api.Lease) string { return l.MAC },
		"network": func(l *api.Lease) string { return l.Network },
	},
	derived: func(s *sums, old, row *api.Lease) {
		if ip, ok := leasedIP(old); ok {
			s.addresses.release(ip)
			s.holdAddresses(old.Account, -1)
		}
		if ip, ok := leasedIP(row); ok {
			s.addresses.hold(ip)
			s.holdAddresses(row.Account, +1)
		}
	},
}

// leasedIP is the IP address of a lease, if there is a lease and it has one.
func leasedIP(l *api.Lease) (netip.Addr, bool) {
	if l == nil {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(l.IP)
	return ip, err == nil
}

// allotment is what a VM gets of a network: one MAC address, and an IP address of
// each of the network's ranges. The zero allotment is that of a VM without a network.
type allotment struct {
	network api.Network
	mac     string
	ips     []netip.Addr
}

// allotted finds what a VM on that host gets of a network; why not, when there is
// nothing left. A VM that moves keeps its MAC address.
func allotted(r Reader, n api.Network, host api.Peer, mac string) (a allotment, why string) {
	a = allotment{network: n, mac: mac}
	taboo := r.neverAllotted(n)
	skip := func(addr netip.Addr) bool { return taboo[addr] }
	for _, cidr := range ranges(n) {
		spans, why := spansFor(n, cidr, host.Name)
		if why != "" {
			return a, why
		}
		addr, found := r.freeIn(spans, skip)
		if !found {
			return a, fmt.Sprintf("network %s has no free address of %s for it", n.Name, cidr)
		}
		a.ips = append(a.ips, addr)
	}
	return a, ""
}

// ranges are the IPv4 and the IPv6 range of a network, as far as it has them.
func ranges(n api.Network) (all []netip.Prefix) {
	for _, text := range []string{n.CIDR, n.CIDR6} {
		if cidr, err := netip.ParsePrefix(text); err == nil {
			all = append(all, cidr)
		}
	}
	return all
}

// spansFor are the parts of a range that a host allots from: where any peer has a
// pool in it, its own alone.
func spansFor(n api.Network, cidr netip.Prefix, host string) (spans []stretch, why string) {
	pooled := false
	for _, p := range n.Pools {
		first, last := parsedIn(cidr, p.First), parsedIn(cidr, p.Last)
		if !first.IsValid() || !last.IsValid() {
			continue // of the other range
		}
		if pooled = true; p.Peer == host {
			spans = append(spans, stretch{first, last})
		}
	}
	if pooled {
		if len(spans) == 0 {
			why = fmt.Sprintf("network %s has no pool of %s for it", n.Name, cidr)
		}
		return spans, why
	}
	first, last := hosts(cidr)
	if cidr.String() == n.CIDR { // whose bounds the network has
		first, last = allottable(n.NetworkShape, cidr)
	}
	return []stretch{{first, last}}, ""
}

// parsedIn is an address, if it is one of that range; else the zero address.
func parsedIn(cidr netip.Prefix, text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil || !cidr.Contains(addr) {
		return netip.Addr{}
	}
	return addr
}

// freeIn is the first free address of some stretches.
func (r Reader) freeIn(spans []stretch, skip func(netip.Addr) bool) (netip.Addr, bool) {
	for _, s := range spans {
		if addr, found := r.state.sums.addresses.free(s.first, s.last, skip); found {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// neverAllotted are the addresses that no VM and no node gets, though nobody may name them in
// the inventory: gateways, name servers, and those of the peers themselves.
func (r Reader) neverAllotted(n api.Network) map[netip.Addr]bool {
	taboo := map[netip.Addr]bool{}
	never := func(text string) {
		if addr, err := netip.ParseAddr(text); err == nil {
			taboo[addr.Unmap()] = true
		}
	}
	never(n.Gateway)
	never(n.Gateway6)
	for _, p := range n.Pools {
		never(p.Gateway)
	}
	for _, server := range n.DNS {
		never(server)
	}
	for p := range r.Members() {
		for _, at := range []string{p.Addresses.API, p.Addresses.Raft, p.Addresses.Gossip} {
			if port, err := netip.ParseAddrPort(at); err == nil {
				never(port.Addr().String())
			}
		}
	}
	return taboo
}

// macTries is how many MAC addresses are tried for a VM: of the 2^24 there are, most
// would have to be taken for this not to be enough.
const macTries = 1000

// newMAC makes a MAC address that no lease has, out of the id of the command.
func (tx *Txn) newMAC() (string, bool) {
	for n := range macTries {
		h := sha256.Sum256([]byte(tx.ID + "/" + strconv.Itoa(n)))
		mac := fmt.Sprintf("52:54:00:%02x:%02x:%02x", h[0], h[1], h[2])
		if _, taken := leases.with(tx.Reader, "mac", mac); !taken {
			return mac, true
		}
	}
	return "", false
}

// plug gives a VM what was allotted to it.
func plug(tx *Txn, vm *api.VM, a allotment) {
	vm.Status.Addresses = nil
	if a.mac == "" {
		return
	}
	for _, ip := range a.ips {
		lease(tx, vm, a.network, a.mac, ip.String())
	}
	if len(a.ips) == 0 {
		lease(tx, vm, a.network, a.mac, "")
	}
}

// lease gives a VM one address of a network, or with an empty ip only its MAC address.
func lease(tx *Txn, vm *api.VM, n api.Network, mac, ip string) {
	leases.put(tx, api.Lease{IP: ip, MAC: mac, Network: n.ID, VM: vm.ID, Account: vm.Account, At: tx.Now})
	vm.Status.Addresses = append(slices.Clone(vm.Status.Addresses), api.VMAddress{IP: ip, MAC: mac, Network: n.Name})
}

// unplug frees all addresses of a VM.
func unplug(tx *Txn, vm string) {
	for _, l := range slices.Collect(leases.all(tx.Reader, "vm", vm)) {
		leases.remove(tx, l.Key())
	}
}

// freeAddress tells whether nobody names an IP address: no lease, and no row of the inventory.
func (r Reader) freeAddress(ip netip.Addr) bool { return r.state.sums.addresses.at(ip).rows == 0 }

// freeLeaseMAC tells whether no lease has a MAC address.
func (r Reader) freeLeaseMAC(mac string) bool {
	_, taken := leases.with(r, "mac", mac)
	return !taken
}

// normalMAC is a MAC address as leases have it; empty for what is none.
func normalMAC(mac string) string { return inventory.Colons(inventory.MACKey(mac)) }

// leasesIn tells whether VMs hold addresses of a network.
func leasesIn(r Reader, network string) bool {
	_, held := leases.with(r, "network", network)
	return held
}

// Leases lists the addresses that VMs hold by IP address; those without one come by
// their MAC address.
func (r Reader) Leases(after string) iter.Seq[api.Lease] { return leases.each(r, after) }

// LeaseAt finds who holds an IP address.
func (r Reader) LeaseAt(ip netip.Addr) (api.Lease, bool) {
	return leases.one(r, ip.Unmap().WithZone("").String())
}
