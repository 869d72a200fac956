package guard

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/orchd/orchd/api"
)

// rule names addresses that are not dialed, and why.
type rule struct {
	prefix netip.Prefix
	why    string
}

// global holds all IPv6 addresses that were ever given out for the public
// internet (IANA, IPv6 address space): whatever lies outside is refused.
var global = netip.MustParsePrefix("2000::/3")

// rules are looked at from the top: the first that holds an address is named. They follow
// IANA's registries of special-purpose addresses (RFC 6890).
var rules = rulesOf(
	"0.0.0.0/8", "unspecified, this host (RFC 1122)",
	"10.0.0.0/8", "private (RFC 1918)",
	"100.64.0.0/10", "shared by a provider's customers (RFC 6598)",
	"127.0.0.0/8", "loopback (RFC 1122)",
	"168.63.129.16/32", "metadata of a cloud (Azure)",
	"169.254.0.0/16", "link-local, metadata of clouds (RFC 3927)",
	"172.16.0.0/12", "private (RFC 1918)",
	"192.0.0.0/24", "reserved for protocols (RFC 6890)",
	"192.0.2.0/24", "for documentation (RFC 5737)",
	"192.88.99.0/24", "6to4 relay (RFC 7526)",
	"192.168.0.0/16", "private (RFC 1918)",
	"198.18.0.0/15", "for benchmarks (RFC 2544)",
	"198.51.100.0/24", "for documentation (RFC 5737)",
	"203.0.113.0/24", "for documentation (RFC 5737)",
	"224.0.0.0/4", "multicast (RFC 5771)",
	"240.0.0.0/4", "reserved or broadcast (RFC 1112, RFC 919)",

	"::/128", "unspecified (RFC 4291)",
	"::1/128", "loopback (RFC 4291)",
	"::ffff:0:0/96", "IPv4 in the form of IPv6 (RFC 4291): write it as IPv4",
	"::/96", "IPv4 inside IPv6 (RFC 4291)",
	"64:ff9b::/96", "NAT64, which hides an IPv4 address (RFC 6052)",
	"64:ff9b:1::/48", "NAT64, which hides an IPv4 address (RFC 8215)",
	"100::/64", "discarded (RFC 6666)",
	"2001::/32", "Teredo, which hides an IPv4 address (RFC 4380)",
	"2001:2::/48", "for benchmarks (RFC 5180)",
	"2001::/23", "reserved for protocols (RFC 2928)",
	"2001:db8::/32", "for documentation (RFC 3849)",
	"2002::/16", "6to4, which hides an IPv4 address (RFC 3056)",
	"3fff::/20", "for documentation (RFC 9637)",
	"fc00::/7", "private (RFC 4193)",
	"fe80::/10", "link-local (RFC 4291)",
	"fec0::/10", "site-local (RFC 3879)",
	"ff00::/8", "multicast (RFC 4291)",
)

// rulesOf makes rules of prefix and reason in turn.
func rulesOf(table ...string) []rule {
	var rs []rule
	for i := 0; i < len(table); i += 2 {
		rs = append(rs, rule{netip.MustParsePrefix(table[i]), table[i+1]})
	}
	return rs
}

// Check refuses an address that may not be dialed; nil: it may.
func (g *Guard) Check(ip netip.Addr) error {
	if why := g.why(ip); why != "" {
		return refuse("%s", why)
	}
	return nil
}

// why says why an address may not be dialed; empty: it may.
func (g *Guard) why(ip netip.Addr) string {
	switch {
	case !ip.IsValid():
		return "there is no address to dial"
	case ip.Zone() != "":
		return fmt.Sprintf("the address %s is refused: it holds a zone, and so is of one link only", ip)
	}
	open, closed := longest(g.Allow, ip), longest(g.Refuse, ip)
	switch {
	case open >= 0 && open >= closed:
		return ""
	case closed >= 0:
		return fmt.Sprintf("the address %s is refused: it is one of the cluster's own, or closed by the configuration", ip)
	}
	for _, r := range rules {
		if r.prefix.Contains(ip) {
			return fmt.Sprintf("the address %s is refused: %s is %s; an admin can open it in the configuration", ip, r.prefix, r.why)
		}
	}
	if ip.Is6() && !global.Contains(ip) {
		return fmt.Sprintf("the address %s is refused: it is outside of %s, which holds all public IPv6 addresses", ip, global)
	}
	return ""
}

// longest is the length of the longest prefix that holds ip, -1 when there is none.
func longest(prefixes []netip.Prefix, ip netip.Addr) int {
	bits := -1
	for _, p := range prefixes {
		if p.Contains(ip) {
			bits = max(bits, p.Bits())
		}
	}
	return bits
}

// control looks at a socket's address when it is about to connect: what was
// checked before is worth nothing if another address is dialed.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return refuse("%q is no address: %w", address, err)
	}
	return g.Check(to.Addr())
}

// refuse says which rule forbids it.
func refuse(format string, args ...any) error {
	return api.Errorf(api.Invalid, "guard", format, args...)
}
