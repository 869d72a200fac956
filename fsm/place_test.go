package fsm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// racked are peers with labels, some of which are also ComputeNodes.
func racked(t *testing.T) *guests {
	g := newGuests(t, "a", "b", "c")
	for name, rack := range map[string]string{"a": "r1", "b": "r1", "c": "r2"} {
		u := api.PeerUpdate{Driver: api.DriverSim, Capacity: testPeer(name).Capacity, Labels: map[string]string{"rack": rack}, Addresses: api.PeerAddresses{API: "10.9.0.4:7700"}}
		g.must(ActorOfPeer(name), updatePeer, u)
	}
	for name, at := range map[string]string{"a": "x0001c0s0b0n0", "b": "x001c1s0b0n0", "c": "x00001c0s3b0n0"} {
		g.must(admin, createNodes, nodesCreate{Nodes: []nodeWrite{{Node: computeNode{Hostname: name, Architecture: "x86_64", XName: at}}}})
	}
	return g
}

func grouped(name, group string, p api.Placement) api.VMCreate {
	c := small(name)
	p.Group = group
	c.Spec.Placement = p
	return c
}

func TestPlacementRules(t *testing.T) {
	for name, c := range map[string]struct {
		there  map[string]string // group, by the host that has a VM of it
		ask    api.Placement
		want   string // empty: none fits
		reason string // in what is said of peer a
	}{
		"the first candidate":      {nil, api.Placement{}, "a", "number 1 of those that fit"},
		"only one peer":            {nil, api.Placement{Peer: "c"}, "c", "only c was asked for"},
		"only a label":             {nil, api.Placement{Labels: map[string]string{"rack": "r2"}}, "c", "it has not the label rack=r2"},
		"a label that nobody has":  {nil, api.Placement{Labels: map[string]string{"rack": "r3"}}, "", "it has not the label rack=r3"},
		"with nobody yet":          {nil, api.Placement{With: "db"}, "a", ""},
		"with a group":             {map[string]string{"b": "db"}, api.Placement{With: "db"}, "b", "it has no VM of group db"},
		"apart from a group":       {map[string]string{"a": "db"}, api.Placement{ApartFrom: "db"}, "b", "it has 1 VM of group db"},
		"apart from all":           {map[string]string{"a": "db", "b": "db", "c": "db"}, api.Placement{ApartFrom: "db"}, "", "it has 1 VM of group db"},
		"spread over peers":        {map[string]string{"a": "web"}, api.Placement{Spread: api.SpreadPeer}, "b", "1 VM of group web on this peer"},
		"spread over chassis":      {map[string]string{"a": "web"}, api.Placement{Spread: api.SpreadChassis}, "b", "1 VM of group web on chassis x1c0"},
		"spread over cabinets":     {map[string]string{"c": "web"}, api.Placement{Spread: api.SpreadCabinet}, "a", "1 VM of group web on cabinet x1"},
		"spread over a label":      {map[string]string{"a": "web"}, api.Placement{Spread: api.SpreadLabel, SpreadLabel: "rack"}, "c", "1 VM of group web on peers with rack=r1"},
		"spread, and one peer":     {map[string]string{"a": "web"}, api.Placement{Spread: api.SpreadPeer, Peer: "a"}, "a", "1 VM of group web on this peer"},
		"another account's groups": {map[string]string{"a": "other/db"}, api.Placement{ApartFrom: "db"}, "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := racked(t)
			g.must(admin, createAccount, api.AccountCreate{Name: "other"})
			for host, group := range ordered(c.there) {
				there := grouped("at-"+host, strings.TrimPrefix(group, "other/"), api.Placement{})
				if group != there.Spec.Placement.Group {
					there.Account = "other"
				}
				g.must(admin, createVM, vmCreate{VM: there, Candidates: []string{host}})
			}
			ask := vmCreate{VM: grouped("new", "web", c.ask), Candidates: []string{"a", "b", "c"}}
			if c.want == "" {
				e := g.refused(api.NoCapacity, operator, createVM, ask)
				if len(e.Hosts) != 3 || !strings.Contains(e.Hosts[0].Reason, c.reason) {
					t.Errorf("host by host: %+v, want %q of a", e.Hosts, c.reason)
				}
				return
			}
			vm := *g.must(operator, createVM, ask).Object.(*api.VM)
			if vm.Status.Owner != c.want {
				t.Errorf("it went to %s, want %s", vm.Status.Owner, c.want)
			}
			why, _ := g.m.Read().Why(vm.ID)
			whyHolds(t, why, vm)
			for _, candidate := range why.Candidates {
				if candidate.Peer == "a" && !strings.Contains(strings.Join(candidate.Reasons, "; "), c.reason) {
					t.Errorf("of a is said %q, want %q", candidate.Reasons, c.reason)
				}
			}
		})
	}
}

// whyHolds: the owner is the first of those that fit, and of each host something is said.
func whyHolds(t *testing.T, why api.Why, vm api.VM) {
	t.Helper()
	if why.Owner != vm.Status.Owner || why.Epoch != vm.Status.Epoch || len(why.Candidates) != 3 || fmt.Sprint(why.Asked) != fmt.Sprint(vm.Spec.Placement) {
		t.Fatalf("the placement is %+v, of VM %+v", why, vm.Status)
	}
	rank := int64(1)
	for k, c := range why.Candidates {
		switch {
		case len(c.Reasons) == 0:
			t.Errorf("of %s nothing is said", c.Peer)
		case c.Rank == 0 && c.Status != api.NotApplicable:
			t.Errorf("%s does not fit and is %s", c.Peer, c.Status)
		case c.Rank != 0 && c.Rank != rank:
			t.Errorf("%s has rank %d in place %d", c.Peer, c.Rank, k)
		case c.Rank == 1 && (c.Peer != vm.Status.Owner || c.Status != api.Assigned), c.Rank > 1 && c.Status != api.AssignedToOther:
			t.Errorf("rank %d: %s, %s", c.Rank, c.Peer, c.Status)
		}
		if c.Rank != 0 {
			rank++
		}
		if c.Free.VCPUs > 4 {
			t.Errorf("%s has %v free, more than it has", c.Peer, c.Free)
		}
	}
}

// TestImagesDrawVMs: what is said of hosts that have an image, and that lack it.
func TestImagesDrawVMs(t *testing.T) {
	g := newGuests(t, "a", "b")
	i := g.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "up", Source: api.SourceUpload}, Via: "b"}).Object.(*api.Image)
	g.must(ActorOfPeer("b"), storedImage, api.ImageContent{Image: i.ID, SHA256: testSums[0], Bytes: 5, VirtualBytes: 5})
	c := small("web")
	c.Spec.Image = "up"
	vm := g.made(c, "b", "a")
	why, _ := g.m.Read().Why(vm.ID)
	if got := fmt.Sprint(why.Candidates[0].Reasons[0], "; ", why.Candidates[1].Reasons[0]); got != "it has the image; it would have to fetch the image" {
		t.Errorf("reasons: %s", got)
	}
}

func TestPools(t *testing.T) {
	g := newGuests(t, "a", "b", "c")
	pools := []api.AddressPool{{Peer: "a", First: "10.8.0.10", Last: "10.8.0.11", Gateway: "10.8.0.10"}, {Peer: "b", First: "10.8.0.20", Last: "10.8.0.20"}, {Peer: "b", First: "10.8.0.30", Last: "10.8.0.30"}}
	g.must(admin, createNetwork, api.NetworkCreate{Name: "blocks", NetworkShape: api.NetworkShape{CIDR: "10.8.0.0/24", Bridge: "br0", Pools: pools}})
	c := small("vm")
	c.Spec.Network = "blocks"
	at := func(name string, want string, candidates ...string) api.VM {
		t.Helper()
		c.Name = name
		vm := g.made(c, candidates...)
		if got := vm.Status.Addresses[0].IP; got != want {
			t.Errorf("%s, on %s, has the address %s, want %s", name, vm.Status.Owner, got, want)
		}
		return vm
	}
	first := at("one", "10.8.0.11", "c", "a", "b") // c has no pool, and 10.8.0.10 is the gateway
	at("two", "10.8.0.20", "c", "a", "b")
	c.Name = "none"
	e := g.refused(api.NoCapacity, operator, createVM, vmCreate{VM: c, Candidates: []string{"c", "a"}})
	if len(e.Hosts) != 3 || (!strings.Contains(e.Hosts[0].Reason, "no free address") || !strings.Contains(e.Hosts[2].Reason, "no pool")) {
		t.Errorf("host by host: %+v", e.Hosts)
	}
	// Moved to another host, a VM gets an address of that one's pool, and keeps its MAC address.
	if r := g.m.Read(); !r.Movable(first, []string{"a", "b"}) || r.Movable(first, []string{"a", "c"}) {
		t.Error("it can be moved to b, and to nobody else")
	}
	moved := g.must(ActorOfPeer("c"), reassignVM, vmReassign{VM: first.ID, Epoch: 1, Candidates: []string{"a", "b"}}).Object.(*api.VM)
	if a, had := moved.Status.Addresses, first.Status.Addresses; len(a) != 1 || a[0].IP != "10.8.0.30" || a[0].MAC != had[0].MAC {
		t.Errorf("moved to %s it has %+v", moved.Status.Owner, a)
	}
	guestsHold(t, 0, g.m.Read())
	at("three", "10.8.0.11", "a")
}

// TestAddressesExcludeEachOther: nodes and VMs are allotted from one network.
func TestAddressesExcludeEachOther(t *testing.T) {
	g := newGuests(t, "a")
	g.must(ActorOfPeer("a"), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Capacity: testPeer("a").Capacity, Addresses: api.PeerAddresses{API: "10.9.0.5:7700"}})
	c := small("one")
	c.Spec.Network = "lan"
	one := g.made(c, "a")
	node := g.must(admin, createNodes, nodesCreate{Nodes: []nodeWrite{{Node: computeNode{Hostname: "n", Architecture: "x86_64", NICs: nics("02:00:00:00:00:01")}}}})
	g.must(admin, allocateAddress, addressAllocate{Node: node.Key, Network: "lan"})
	n, _ := computeNodes.one(g.m.Read(), node.Key)
	again := g.must(admin, createNodes, nodesCreate{Nodes: []nodeWrite{{Node: computeNode{Hostname: "m", Architecture: "x86_64", NICs: nics("02:00:00:00:00:02")}}}})
	g.must(admin, allocateAddress, addressAllocate{Node: again.Key, Network: "lan"})
	m, _ := computeNodes.one(g.m.Read(), again.Key)
	c.Name = "two"
	two := g.made(c, "a")
	got := fmt.Sprint(one.Status.Addresses[0].IP, " ", n.NICs[0].IPv4Address, " ", m.NICs[0].IPv4Address, " ", two.Status.Addresses[0].IP)
	if got != "10.9.0.3 10.9.0.2 10.9.0.4 10.9.0.6" { // 10.9.0.5 is the host's own; 10.9.0.2, a name server's, no VM gets
		t.Errorf("allotted were %s", got)
	}
	for n := range g.m.Read().NodesAt(mustAddr("10.9.0.3")) {
		t.Errorf("at the address of a VM there is node %s", n.ID)
	}
	g.refused(api.Conflict, admin, deleteNetwork, networkDelete{networkID(g, "lan")})
}

// TestNodesGetNoAddressOfAPeer, nor that of a name server.
func TestNodesGetNoAddressOfAPeer(t *testing.T) {
	g := newGuests(t, "a")
	g.raise("a")
	g.must(ActorOfPeer("a"), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Capacity: testPeer("a").Capacity, Level: highestLevel, Addresses: api.PeerAddresses{API: "10.9.0.3:7700", Raft: "10.9.0.5:7701"}})
	var got []string
	for k := range 3 {
		made := g.must(admin, createNodes, nodesCreate{Nodes: []nodeWrite{{Node: computeNode{Hostname: "n", Architecture: "x86_64", NICs: nics(fmt.Sprintf("02:00:00:00:00:%02x", k))}}}})
		g.must(admin, allocateAddress, addressAllocate{Node: made.Key, Network: "lan"})
		n, _ := computeNodes.one(g.m.Read(), made.Key)
		got = append(got, n.NICs[0].IPv4Address)
	}
	if want := []string{"10.9.0.4", "10.9.0.6", "10.9.0.7"}; !slices.Equal(got, want) {
		t.Errorf("nodes were allotted %v, want %v", got, want)
	}
}

func TestAddressQuota(t *testing.T) {
	g := newGuests(t, "a")
	g.must(admin, updateAccount, accountUpdate{Name: api.DefaultAccount, Update: api.AccountUpdate{Quota: api.Quota{Addresses: 3}}})
	g.made(whole("one"), "a")
	if e := g.refused(api.Conflict, operator, createVM, vmCreate{VM: whole("two"), Candidates: []string{"a"}}); !strings.Contains(e.Msg, "3 addresses at most, 2 used") {
		t.Errorf("an address too many: %v", e)
	}
}

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }

func networkID(g *guests, name string) string {
	n, _ := g.m.Read().Network(name)
	return n.ID
}

func nics(mac string) []inventory.NetworkInterface {
	return []inventory.NetworkInterface{{InterfaceName: "a", MACAddress: mac}}
}
