package fsm

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/orchd/orchd/api"
)

// BenchmarkFreeAddress looks for a free address of a /16 of which VMs hold many: in
// one stretch, as they are allotted, and with every eighth given back, behind the
// one that is free. "walk" is what it would take without the stretches.
func BenchmarkFreeAddress(b *testing.B) {
	first, last := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.255.254")
	none := func(netip.Addr) bool { return false }
	for _, n := range []int{100, 10_000, 60_000} {
		var a, holes addresses
		addr := first
		for k := range n {
			a.hold(addr)
			if holes.hold(addr); k%8 == 7 && k > n/2 {
				holes.release(addr)
			}
			addr = addr.Next()
		}
		b.Run(fmt.Sprintf("leases=%d", n), func(b *testing.B) {
			for b.Loop() {
				a.free(first, last, none)
			}
		})
		b.Run(fmt.Sprintf("leases=%d/holes", n), func(b *testing.B) {
			for b.Loop() {
				holes.free(first, last, none)
			}
		})
		b.Run(fmt.Sprintf("leases=%d/walk", n), func(b *testing.B) {
			for b.Loop() {
				a.unnamed(first, last, none)
			}
		})
	}
}

// BenchmarkCreateVM makes VMs with an address in a network where 10,000 are held.
func BenchmarkCreateVM(b *testing.B) {
	for _, network := range []string{"", "lan"} {
		b.Run("network="+network, func(b *testing.B) { createVMs(b, network) })
	}
}

func createVMs(b *testing.B, network string) {
	d := &direct{m: New()}
	w := NewWriter(d, fixedRank{"a"}, unsealed{})
	host := testPeer("a")
	host.Capacity = api.Resources{VCPUs: 1 << 40, MemoryMiB: 1 << 40, DiskGiB: 1 << 40}
	if err := w.InitCluster(asAdmin(), host, nil, nil); err != nil {
		b.Fatal(err)
	}
	if _, err := w.CreateNetwork(asAdmin(), api.NetworkCreate{Name: "lan", NetworkShape: api.NetworkShape{CIDR: "10.0.0.0/8", Gateway: "10.0.0.1", Bridge: "br0"}}); err != nil {
		b.Fatal(err)
	}
	n := 0
	create := func(network string) {
		c := small(fmt.Sprint("vm", n))
		c.Spec.Network = network
		if _, err := w.CreateVM(asAdmin(), c); err != nil {
			b.Fatal(err)
		}
		n++
	}
	for range 10_000 {
		create("lan")
	}
	for b.Loop() {
		create(network)
	}
}
