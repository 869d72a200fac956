package fsm

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

func TestNetworkShapes(t *testing.T) {
	l := newLog(t, "a", "b")
	pool := func(peer, first, last string) api.AddressPool {
		return api.AddressPool{Peer: peer, First: first, Last: last}
	}
	lan := func(change func(*api.NetworkShape)) api.NetworkShape {
		s := api.NetworkShape{CIDR: "10.0.0.0/24"}
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		shape api.NetworkShape
		wrong string // pointer; empty: it is right
	}{
		"a range":               {lan(func(*api.NetworkShape) {}), ""},
		"a bridge":              {lan(func(s *api.NetworkShape) { s.Bridge = "br0" }), ""},
		"a network of libvirt":  {lan(func(s *api.NetworkShape) { s.Libvirt = "default" }), ""},
		"both":                  {lan(func(s *api.NetworkShape) { s.Bridge, s.Libvirt = "br0", "default" }), "/libvirt"},
		"a bridge alone":        {api.NetworkShape{Bridge: "br0"}, ""},
		"nothing":               {api.NetworkShape{}, "/cidr"},
		"a long bridge":         {lan(func(s *api.NetworkShape) { s.Bridge = "br0123456789abcd" }), "/bridge"},
		"a bridge elsewhere":    {lan(func(s *api.NetworkShape) { s.Bridge = "../br0" }), "/bridge"},
		"a bridge of dots":      {lan(func(s *api.NetworkShape) { s.Bridge = ".." }), "/bridge"},
		"a bridge like a flag":  {lan(func(s *api.NetworkShape) { s.Bridge = "-br0" }), "/bridge"},
		"libvirt with a quote":  {lan(func(s *api.NetworkShape) { s.Libvirt = "a'b" }), "/libvirt"},
		"a second range":        {lan(func(s *api.NetworkShape) { s.CIDR6, s.Gateway6 = "fd00:1::/64", "fd00:1::1" }), ""},
		"a second IPv4 range":   {lan(func(s *api.NetworkShape) { s.CIDR6 = "10.1.0.0/24" }), "/cidr6"},
		"two IPv6 ranges":       {api.NetworkShape{CIDR: "fd00::/64", CIDR6: "fd01::/64"}, "/cidr6"},
		"a second range alone":  {api.NetworkShape{CIDR6: "fd00:1::/64", Bridge: "br0"}, "/cidr6"},
		"a loose second range":  {lan(func(s *api.NetworkShape) { s.CIDR6 = "fd00:1::1/64" }), "/cidr6"},
		"a gateway elsewhere":   {lan(func(s *api.NetworkShape) { s.Gateway = "10.0.1.1" }), "/gateway"},
		"gateway6 elsewhere":    {lan(func(s *api.NetworkShape) { s.CIDR6, s.Gateway6 = "fd00:1::/64", "fd00:2::1" }), "/gateway6"},
		"gateway6 of no range":  {lan(func(s *api.NetworkShape) { s.Gateway6 = "fd00:2::1" }), "/gateway6"},
		"a small MTU":           {lan(func(s *api.NetworkShape) { s.MTU = 575 }), "/mtu"},
		"a large MTU":           {lan(func(s *api.NetworkShape) { s.MTU = 65536 }), "/mtu"},
		"a jumbo MTU":           {lan(func(s *api.NetworkShape) { s.MTU = 9000 }), ""},
		"an MTU for IPv4 alone": {api.NetworkShape{CIDR: "fd00::/64", MTU: 1279}, "/mtu"},
		"a server by name":      {lan(func(s *api.NetworkShape) { s.DNS = []string{"dns.example.org"} }), "/dns"},
		"servers":               {lan(func(s *api.NetworkShape) { s.DNS = []string{"9.9.9.9", "2620:fe::fe"} }), ""},
		"nine servers":          {lan(func(s *api.NetworkShape) { s.DNS = strings.Fields(strings.Repeat("9.9.9.9 ", 9)) }), "/dns"},
		"first behind the end":  {lan(func(s *api.NetworkShape) { s.First = "10.0.0.255" }), "/last"},

		"pools": {lan(func(s *api.NetworkShape) {
			s.CIDR6 = "fd00::/64"
			s.Pools = []api.AddressPool{pool("a", "10.0.0.2", "10.0.0.9"), pool("b", "10.0.0.10", "10.0.0.10"), pool("a", "10.0.0.1", "10.0.0.1"), pool("b", "fd00::1", "fd00::ffff")}
		}), ""},
		"a pool of nobody":        {lan(func(s *api.NetworkShape) { s.Pools = []api.AddressPool{pool("z", "10.0.0.2", "10.0.0.9")} }), "/pools/0/peer"},
		"a pool elsewhere":        {lan(func(s *api.NetworkShape) { s.Pools = []api.AddressPool{pool("a", "10.0.1.2", "10.0.1.9")} }), "/pools/0/first"},
		"a pool beyond the range": {lan(func(s *api.NetworkShape) { s.Pools = []api.AddressPool{pool("a", "10.0.0.2", "10.0.1.9")} }), "/pools/0/last"},
		"a pool of two ranges": {lan(func(s *api.NetworkShape) {
			s.CIDR6 = "fd00::/64"
			s.Pools = []api.AddressPool{pool("a", "10.0.0.2", "fd00::9")}
		}), "/pools/0/last"},
		"a pool without an end":  {lan(func(s *api.NetworkShape) { s.Pools = []api.AddressPool{pool("a", "10.0.0.2", "")} }), "/pools/0/last"},
		"a pool backwards":       {lan(func(s *api.NetworkShape) { s.Pools = []api.AddressPool{pool("a", "10.0.0.9", "10.0.0.2")} }), "/pools/0/last"},
		"a pool without a range": {api.NetworkShape{Bridge: "br0", Pools: []api.AddressPool{pool("a", "10.0.0.2", "10.0.0.9")}}, "/pools/0/first"},
		"a pool's gateway outside": {lan(func(s *api.NetworkShape) {
			s.Pools = []api.AddressPool{{Peer: "a", First: "10.0.0.2", Last: "10.0.0.9", Gateway: "10.1.0.1"}}
		}), "/pools/0/gateway"},
		"pools that overlap": {lan(func(s *api.NetworkShape) {
			s.Pools = []api.AddressPool{pool("a", "10.0.0.2", "10.0.0.9"), pool("b", "10.0.0.9", "10.0.0.20")}
		}), "/pools/1"},
		"a pool in a pool": {lan(func(s *api.NetworkShape) {
			s.Pools = []api.AddressPool{pool("a", "10.0.0.2", "10.0.0.90"), pool("b", "10.0.0.9", "10.0.0.20")}
		}), "/pools/1"},
	} {
		t.Run(name, func(t *testing.T) {
			faults := networkFaults(l.m.Read(), api.NetworkCreate{Name: "lan", NetworkShape: c.shape})
			if c.wrong == "" && len(faults) > 0 || c.wrong != "" && (len(faults) != 1 || faults[0].Pointer != c.wrong) {
				t.Errorf("faults %+v, want one of %q", faults, c.wrong)
			}
		})
	}
}

// TestNetworksOfNodes: nodes get no addresses that are for the VMs of one peer.
func TestNetworksOfNodes(t *testing.T) {
	l := newLog(t, "a")
	w := NewWriter(atOnce{l}, nil, marking{})
	l.must(admin, createNetwork, api.NetworkCreate{Name: "pooled", NetworkShape: api.NetworkShape{CIDR: "10.0.0.0/24", Pools: []api.AddressPool{{Peer: "a", First: "10.0.0.2", Last: "10.0.0.9"}}}})
	l.must(admin, createNetwork, api.NetworkCreate{Name: "bare", NetworkShape: api.NetworkShape{Bridge: "br0"}})
	made, err := w.CreateNodes(asAdmin(), []inventory.ComputeNode{{Hostname: "n", Architecture: "x86_64",
		NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "eth0", MACAddress: "02:00:00:00:00:01"}}}}, true)
	if err != nil {
		t.Fatal(err)
	}
	node := made.Object[0]
	for _, network := range []string{"pooled", "bare"} {
		if _, err := w.AllocateAddress(asAdmin(), node, 0, network); !api.IsKind(err, api.Conflict) {
			t.Errorf("from %s: %v", network, err)
		}
	}
}

// TestNetworkWithVMsStays: it goes once nobody is on it.
func TestNetworkWithVMsStays(t *testing.T) {
	l := newLog(t, "a")
	id := l.must(admin, createNetwork, api.NetworkCreate{Name: "lan", NetworkShape: api.NetworkShape{CIDR: "10.0.0.0/24", Bridge: "br0"}}).Key
	create := vmCreate{VM: small("web"), Candidates: []string{"a"}}
	create.VM.Spec.Network = "lan"
	vm := *l.must(operator, createVM, create).Object.(*api.VM)
	if ip, err := netip.ParseAddr(vm.Status.Addresses[0].IP); err != nil || l.account(api.DefaultAccount).Used.Addresses != 1 {
		t.Errorf("address %v %v, the account holds %+v", ip, err, l.account(api.DefaultAccount).Used)
	}
	if e := l.refused(api.Conflict, admin, deleteNetwork, networkDelete{id}); !strings.Contains(e.Msg, "web") {
		t.Errorf("refused with %q, which does not name the VM", e.Msg)
	}
	l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	l.must(admin, deleteNetwork, networkDelete{id})
	if used := l.account(api.DefaultAccount).Used; used != (api.Quota{}) {
		t.Errorf("the account holds %+v", used)
	}
}
