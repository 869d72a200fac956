package guard

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func prefixes(t *testing.T, words ...string) []netip.Prefix {
	t.Helper()
	var ps []netip.Prefix
	for _, w := range words {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

// TestAddresses goes through every range, with the incident that it stands for
// where there is a well-known one.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ name, ip, why string }{
		{"public", "8.8.8.8", ""},
		{"public IPv6", "2606:4700:4700::1111", ""},
		{"last before a private range", "9.255.255.255", ""},
		{"first after a private range", "172.32.0.0", ""},

		{"loopback (CWE-918)", "127.0.0.1", "loopback"},
		{"loopback, elsewhere", "127.9.8.7", "loopback"},
		{"loopback IPv6", "::1", "loopback"},
		{"unspecified, which is loopback on Linux", "0.0.0.0", "unspecified"},
		{"this network", "0.1.2.3", "unspecified"},
		{"unspecified IPv6", "::", "unspecified"},
		{"metadata of most clouds (Capital One 2019)", "169.254.169.254", "link-local"},
		{"link-local", "169.254.0.1", "link-local"},
		{"link-local IPv6", "fe80::1", "link-local"},
		{"link-local with a zone", "fe80::1%eth0", "zone"},
		{"site-local", "fec0::1", "site-local"},
		{"metadata of Azure", "168.63.129.16", "metadata"},
		{"metadata of Alibaba's cloud", "100.100.100.200", "shared"},
		{"metadata of Oracle's cloud", "192.0.0.192", "protocols"},
		{"metadata of Amazon over IPv6", "fd00:ec2::254", "private"},
		{"private 10", "10.0.0.1", "private"},
		{"private 10, last", "10.255.255.255", "private"},
		{"private 172", "172.16.0.1", "private"},
		{"private 172, last", "172.31.255.255", "private"},
		{"private 192", "192.168.1.1", "private"},
		{"unique local", "fc00::1", "private"},
		{"unique local, used", "fd12:3456::1", "private"},
		{"carrier-grade NAT", "100.64.0.1", "shared"},
		{"carrier-grade NAT, last", "100.127.255.255", "shared"},
		{"multicast", "224.0.0.1", "multicast"},
		{"multicast IPv6", "ff02::1", "multicast"},
		{"broadcast", "255.255.255.255", "broadcast"},
		{"reserved", "240.0.0.1", "reserved"},
		{"benchmark", "198.18.0.1", "benchmarks"},
		{"benchmark, last", "198.19.255.255", "benchmarks"},
		{"benchmark IPv6", "2001:2::1", "benchmarks"},
		{"documentation 1", "192.0.2.1", "documentation"},
		{"documentation 2", "198.51.100.1", "documentation"},
		{"documentation 3", "203.0.113.1", "documentation"},
		{"documentation IPv6", "2001:db8::1", "documentation"},
		{"documentation IPv6, new", "3fff::1", "documentation"},
		{"6to4 relay", "192.88.99.1", "6to4"},
		{"IPv4-mapped loopback (CVE-2024-24790)", "::ffff:127.0.0.1", "IPv4 in the form of IPv6"},
		{"IPv4-mapped metadata", "::ffff:169.254.169.254", "IPv4 in the form of IPv6"},
		{"IPv4-mapped, public", "::ffff:8.8.8.8", "IPv4 in the form of IPv6"},
		{"IPv4-compatible loopback", "::127.0.0.1", "IPv4 inside IPv6"},
		{"NAT64 of loopback", "64:ff9b::7f00:1", "NAT64"},
		{"NAT64 of metadata", "64:ff9b::a9fe:a9fe", "NAT64"},
		{"NAT64, local prefix", "64:ff9b:1::a00:1", "NAT64"},
		{"6to4 of loopback", "2002:7f00:1::1", "6to4"},
		{"6to4 of 10.0.0.1", "2002:a00:1::", "6to4"},
		{"Teredo of a private server", "2001:0:a00:1::", "Teredo"},
		{"Teredo of a private client", "2001:0:808:808::f5ff:fffe", "Teredo"},
		{"ORCHID", "2001:20::1", "protocols"},
		{"discard", "100::1", "discarded"},
		{"segment routing", "5f00::1", "outside"},
		{"not yet given out", "4000::1", "outside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := (&Guard{}).Check(netip.MustParseAddr(c.ip))
			if c.why == "" {
				if err != nil {
					t.Errorf("%s: got %v, want it allowed", c.ip, err)
				}
				return
			}
			if !api.IsKind(err, api.Invalid) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%s: got %v, want it refused as %q", c.ip, err, c.why)
			}
		})
	}
	if err := (&Guard{}).Check(netip.Addr{}); !api.IsKind(err, api.Invalid) {
		t.Errorf("no address: got %v, want it refused", err)
	}
}

// TestEveryRule finds a rule that no address reaches, because one above it holds them all.
func TestEveryRule(t *testing.T) {
	for i, r := range rules {
		for _, above := range rules[:i] {
			if above.prefix.Bits() <= r.prefix.Bits() && above.prefix.Contains(r.prefix.Addr()) {
				t.Errorf("%s never decides: %s stands above it", r.prefix, above.prefix)
			}
		}
		if err := (&Guard{}).Check(r.prefix.Addr()); err == nil {
			t.Errorf("the first address of %s is allowed", r.prefix)
		}
	}
}

func TestAllowAndRefuse(t *testing.T) {
	g := &Guard{
		Allow:  prefixes(t, "10.0.0.0/8", "192.168.5.0/24", "fd00::/8", "10.1.0.9/32"),
		Refuse: prefixes(t, "10.0.0.7/32", "10.1.0.9/32", "8.8.8.0/24", "192.168.0.0/16", "2001:470::/32"),
	}
	for ip, want := range map[string]bool{
		"10.0.0.6":        true,  // opened
		"10.0.0.7":        false, // the cluster's own inside of what is opened
		"10.1.0.9":        true,  // the cluster's own, opened by name
		"192.168.5.1":     true,  // opened inside of what is closed
		"192.168.6.1":     false,
		"8.8.8.8":         false, // public, and the cluster's own
		"8.8.4.4":         true,
		"2001:470::1":     false,
		"2001:471::1":     true,
		"fd00::1":         true,
		"fc00::1":         false,
		"127.0.0.1":       false,
		"::ffff:10.0.0.6": false, // an opened IPv4 prefix does not open another way to write it
	} {
		if err := g.Check(netip.MustParseAddr(ip)); (err == nil) != want {
			t.Errorf("%s: got %v, want allowed %v", ip, err, want)
		}
	}
}
