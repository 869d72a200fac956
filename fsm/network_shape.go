package fsm

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/orchd/orchd/api"
)

// This file is what a network may be made of.

// networkFaults names the fields that can never succeed as written, or not together.
func networkFaults(r Reader, c api.NetworkCreate) []api.FieldError {
	f := shapeFaults{shape: c.NetworkShape}
	f.wrong(!api.ValidName(c.Name), "/name", "must be 1 to 63 of a-z, 0-9 and -, and no UUID")
	f.plug()
	f.ranges()
	f.pools(r)
	for _, server := range c.DNS {
		_, err := netip.ParseAddr(server)
		f.wrong(err != nil, "/dns", "must be addresses of name servers")
	}
	return f.faults
}

// shapeFaults collects what is wrong with a network.
type shapeFaults struct {
	shape  api.NetworkShape
	cidrs  []netip.Prefix // the ranges that it has
	faults []api.FieldError
}

func (f *shapeFaults) wrong(bad bool, pointer, detail string) {
	if bad {
		f.faults = append(f.faults, api.FieldError{Pointer: pointer, Detail: detail})
	}
}

// Bounds of what a network has.
const (
	maxBridge = 15 // bytes: IFNAMSIZ, less its zero
	maxMTU    = 65535
	maxDNS    = 8
	maxPools  = 100
)

// plug is where VMs are plugged in, and with what.
func (f *shapeFaults) plug() {
	s := f.shape
	f.wrong(s.Bridge != "" && !isDevice(s.Bridge, maxBridge), "/bridge", "must be the name of a bridge: 1 to 15 letters, digits, dots, - and _")
	f.wrong(s.Libvirt != "" && !isDevice(s.Libvirt, 63), "/libvirt", "must be the name of a network of libvirt: 1 to 63 letters, digits, dots, - and _")
	f.wrong(s.Bridge != "" && s.Libvirt != "", "/libvirt", "VMs are plugged into a bridge or into a network of libvirt, not into both")
	f.wrong(s.MTU != 0 && (s.MTU < 576 || s.MTU > maxMTU), "/mtu", "must be from 576 to 65535")
	f.wrong(len(s.DNS) > maxDNS, "/dns", "must be at most 8")
}

// isDevice tells whether s can name a bridge or a network of libvirt.
func isDevice(s string, longest int) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	return s != "" && len(s) <= longest && strings.Trim(s, allowed) == "" && strings.Trim(s, ".") != "" && s[0] != '-'
}

// ranges are what addresses are allotted from. A network without any is a place to
// plug VMs into, whose addresses somebody else gives.
func (f *shapeFaults) ranges() {
	s := f.shape
	first, known := f.parsed("/cidr", s.CIDR, "must be an address range in its normal form, such as 10.1.0.0/16")
	second, known6 := f.parsed("/cidr6", s.CIDR6, "must be an IPv6 range in its normal form, such as fd00:1::/64")
	f.wrong(s.CIDR == "" && s.Bridge == "" && s.Libvirt == "", "/cidr", "is needed where there is neither a bridge nor a network of libvirt")
	f.wrong(s.CIDR == "" && s.CIDR6 != "", "/cidr6", "is a range beside the IPv4 one; the only range of a network is its cidr")
	f.wrong(known6 && second.Addr().Is4(), "/cidr6", "must be an IPv6 range")
	f.wrong(known && known6 && !first.Addr().Is4(), "/cidr6", "is a range beside an IPv4 one, and the cidr is of IPv6")
	f.wrong(s.MTU != 0 && s.MTU < 1280 && (known6 || known && first.Addr().Is6()), "/mtu", "must be at least 1280 with IPv6 (RFC 8200, 5)")
	if len(f.faults) > 0 {
		return // what follows would only say it again
	}
	f.inside("/gateway", s.Gateway, first)
	f.inside("/gateway6", s.Gateway6, second)
	f.inside("/first", s.First, first)
	f.inside("/last", s.Last, first)
	if known && len(f.faults) == 0 {
		from, to := allottable(s, first)
		f.wrong(to.Less(from), "/last", "comes before the first")
	}
}

// allottable is what may be allotted from the first range of a network: by default
// what a host can have, which in IPv4 is neither the first nor the last address of the
// range, and in IPv6 not the first (RFC 4291, 2.6.1: the subnet-router anycast address).
func allottable(s api.NetworkShape, cidr netip.Prefix) (first, last netip.Addr) {
	first, last = hosts(cidr)
	if addr, err := netip.ParseAddr(s.First); err == nil {
		first = addr
	}
	if addr, err := netip.ParseAddr(s.Last); err == nil {
		last = addr
	}
	return first, last
}

// parsed reads a range.
func (f *shapeFaults) parsed(pointer, text, detail string) (cidr netip.Prefix, known bool) {
	if text == "" {
		return cidr, false
	}
	cidr, err := netip.ParsePrefix(text)
	if err != nil || cidr != cidr.Masked() || cidr.Addr().Is4In6() {
		f.wrong(true, pointer, detail)
		return cidr, false
	}
	f.cidrs = append(f.cidrs, cidr)
	return cidr, true
}

// inside reads an address that must be of a range; the zero address where there is none.
func (f *shapeFaults) inside(pointer, text string, cidr netip.Prefix) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || !cidr.Contains(addr) {
		f.wrong(true, pointer, "must be an address inside the network")
		return netip.Addr{}
	}
	return addr
}

// pools are parts of one of the ranges, of peers that are there, and no address is in two.
func (f *shapeFaults) pools(r Reader) {
	f.wrong(len(f.shape.Pools) > maxPools, "/pools", "must be at most 100")
	if len(f.faults) > 0 {
		return
	}
	var taken []stretch
	for k, p := range f.shape.Pools {
		at := fmt.Sprintf("/pools/%d", k)
		_, known := peers.with(r, "name", p.Peer)
		f.wrong(!known, at+"/peer", "no such peer")
		is, ok := f.pool(at, p)
		for other, t := range taken {
			f.wrong(ok && is.first.Compare(t.last) <= 0 && t.first.Compare(is.last) <= 0, at, fmt.Sprintf("has addresses that are in pool %d too", other))
		}
		taken = append(taken, is)
	}
}

// pool reads one of them.
func (f *shapeFaults) pool(at string, p api.AddressPool) (s stretch, ok bool) {
	first, err := netip.ParseAddr(p.First)
	for _, cidr := range f.cidrs {
		if err != nil || !cidr.Contains(first) {
			continue
		}
		s = stretch{first, f.inside(at+"/last", p.Last, cidr)}
		f.wrong(p.Last == "", at+"/last", "is needed")
		f.wrong(s.last.IsValid() && s.last.Less(first), at+"/last", "comes before the first")
		f.inside(at+"/gateway", p.Gateway, cidr)
		return s, s.last.IsValid()
	}
	f.wrong(true, at+"/first", "must be an address inside the network")
	return s, false
}

// hosts are the lowest and the highest address that a host can have in a range.
func hosts(cidr netip.Prefix) (lowest, highest netip.Addr) {
	lowest, highest = cidr.Addr(), lastOf(cidr)
	if host := lowest.BitLen() - cidr.Bits(); host >= 2 { // RFC 3021: both of a /31 are hosts
		lowest = lowest.Next()
		if lowest.Is4() {
			highest = highest.Prev()
		}
	}
	return lowest, highest
}

// lastOf is the last address of a range.
func lastOf(cidr netip.Prefix) netip.Addr {
	b := cidr.Addr().AsSlice()
	for bit := cidr.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
