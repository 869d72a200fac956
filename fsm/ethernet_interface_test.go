package fsm

import (
	"reflect"
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

func (m room) creating(mac, component string, ips ...string) func() error {
	i := smd.EthernetInterface{MACAddress: mac, ComponentID: component, Description: "d"}
	for _, ip := range ips {
		i.IPAddresses = append(i.IPAddresses, smd.IPAddress{IPAddress: ip})
	}
	return func() error { _, err := m.CreateInterface(asAdmin(), i); return err }
}

func (m room) patchingInterface(id string, p smd.InterfacePatch) func() error {
	return func() error { _, err := m.PatchInterface(asAdmin(), id, p); return err }
}

func (m room) deletingInterfaces(ids ...string) func() error {
	return func() error { _, err := m.DeleteInterfaces(asAdmin(), ids); return err }
}

// iface is an interface as a list of its fields, without the time of its last change.
func (m room) iface(id string) []string {
	m.t.Helper()
	i, ok := m.read().EthernetInterface(id)
	if !ok {
		m.t.Fatalf("no interface %s", id)
	}
	fields := []string{i.ID, i.MACAddress, i.ComponentID, i.Type, i.Description}
	for _, a := range i.IPAddresses {
		fields = append(fields, a.IPAddress+a.Network)
	}
	return fields
}

func (m room) hasInterface(id string, want ...string) {
	m.t.Helper()
	if got := m.iface(id); !reflect.DeepEqual(got, want) {
		m.t.Errorf("interface %s is %q, want %q", id, got, want)
	}
}

func ips(list ...string) *[]smd.IPAddress {
	all := []smd.IPAddress{}
	for _, ip := range list {
		all = append(all, smd.IPAddress{IPAddress: ip})
	}
	return &all
}

func TestInterfaces(t *testing.T) {
	m := newRoom(t)
	d, err := m.CreateInterface(asAdmin(), smd.EthernetInterface{MACAddress: "02-00-00-00-00-AB", ComponentID: "x1000c0s0b0n0",
		IPAddresses: []smd.IPAddress{{IPAddress: "10.0.0.1", Network: "HMN"}, {IPAddress: "10.0.0.2"}}})
	if err != nil || d.Object.ID != "0200000000ab" || d.Object.LastUpdate.IsZero() {
		t.Fatalf("created %+v, %v", d.Object, err)
	}
	m.hasInterface("02:00:00:00:00:ab", "0200000000ab", "02:00:00:00:00:ab", "x1000c0s0b0n0", "Node", "", "10.0.0.1HMN", "10.0.0.2")
	m.refuses(api.Conflict, "already exists", m.creating("0200.0000.00ab", ""))
	for _, bad := range [][3]string{{"00:00:00:00:00:00"}, {"nonsense"}, {"02:00:00:00:00:01", "y1"}, {"02:00:00:00:00:01", "", "10.0.0"}} {
		m.refuses(api.Invalid, "", m.creating(bad[0], bad[1], bad[2]))
	}
	m.done(m.creating("02:00:00:00:00:01", ""))
	m.hasInterface("020000000001", "020000000001", "02:00:00:00:00:01", "", "", "d")

	m.done(m.patchingInterface("02:00:00:00:00:01", smd.InterfacePatch{ComponentID: new("x1000c0s0b0"), IPAddresses: ips("fd00::1")}))
	m.hasInterface("020000000001", "020000000001", "02:00:00:00:00:01", "x1000c0s0b0", "NodeBMC", "d", "fd00::1")
	m.refuses(api.Invalid, "", m.patchingInterface("020000000001", smd.InterfacePatch{ComponentID: new("y1")}))
	m.refuses(api.Invalid, "", m.patchingInterface("020000000001", smd.InterfacePatch{IPAddresses: ips("10.0.0.3", "x")}))
	m.refuses(api.NotFound, "020000000009", m.patchingInterface("020000000009", smd.InterfacePatch{}))
	m.refuses(api.NotFound, "020000000009", m.deletingInterfaces("020000000001", "020000000009"))
	m.done(m.deletingInterfaces("02:00:00:00:00:01"))
	m.refuses(api.Forbidden, "fleet", func() error { _, err := m.DeleteInterfaces(as1(operator), nil); return err })
	all := func() error { _, err := m.DeleteInterfaces(asAdmin(), nil); return err }
	m.done(all)
	m.refuses(api.NotFound, "no EthernetInterface", all)
}

// The interfaces of a ComputeNode live in it.
func TestInterfacesOfANode(t *testing.T) {
	m := newRoom(t)
	n := m.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", BootMAC: "02:00:00:00:00:01", BootIPv4: "10.0.0.1", NetworkInterfaces: []inventory.NetworkInterface{
		{InterfaceName: "eth0", MACAddress: "02-00-00-00-00-02", IPv4Address: "10.0.0.2", IPv6Address: "fd00::2", Description: "front"},
		{InterfaceName: "eth1", MACAddress: "02:00:00:00:00:03"}, {InterfaceName: "eth1.7", MACAddress: "02:00:00:00:00:03", IPv4Address: "10.7.0.3"}}})
	m.hasInterface("020000000001", "020000000001", "02:00:00:00:00:01", "x1000c0s0b0n0", "Node", "", "10.0.0.1")
	m.hasInterface("020000000002", "020000000002", "02:00:00:00:00:02", "x1000c0s0b0n0", "Node", "front", "10.0.0.2", "fd00::2")
	m.hasInterface("020000000003", "020000000003", "02:00:00:00:00:03", "x1000c0s0b0n0", "Node", "", "10.7.0.3")
	m.done(m.creating("02:00:00:00:00:00", ""))
	var ids []string
	for i := range m.read().EthernetInterfaces("020000000000") {
		ids = append(ids, i.ID)
	}
	if want := []string{"020000000001", "020000000002", "020000000003"}; !slices.Equal(ids, want) {
		t.Errorf("behind the first are %q, want %q", ids, want)
	}
	m.refuses(api.Conflict, n.ID, m.creating("02:00:00:00:00:02", "x1000c0s0b0n0"))
	m.refuses(api.Conflict, n.ID, m.deletingInterfaces("020000000000", "020000000002"))

	m.done(m.patchingInterface("020000000002", smd.InterfacePatch{Description: new("back"), ComponentID: new("X1000c0s0b0n0"), IPAddresses: ips("fd00::9")}))
	m.hasInterface("020000000002", "020000000002", "02:00:00:00:00:02", "x1000c0s0b0n0", "Node", "back", "fd00::9")
	now := m.shown(n.ID)
	if nic := now.NetworkInterfaces[0]; nic.Description != "back" || nic.IPv4Address != "" || nic.IPv6Address != "fd00::9" || now.Version != n.Version+1 || n.NetworkInterfaces[0].Description != "front" {
		t.Errorf("the node has %+v in version %d; before it had %+v in version %d", nic, now.Version, n.NetworkInterfaces[0], n.Version)
	}
	m.done(m.patchingInterface("020000000001", smd.InterfacePatch{IPAddresses: ips("10.0.0.11", "fd00::11")}))
	if now = m.shown(n.ID); now.BootIPv4 != "10.0.0.11" || now.BootIPv6 != "fd00::11" {
		t.Errorf("the node boots with %s, %s", now.BootIPv4, now.BootIPv6)
	}
	m.refuses(api.Conflict, n.ID, m.patchingInterface("020000000001", smd.InterfacePatch{Description: new("d")}))
	m.refuses(api.Conflict, n.ID, m.patchingInterface("020000000002", smd.InterfacePatch{ComponentID: new("x1000c0s0b0n1")}))
	m.refuses(api.Conflict, "several", m.patchingInterface("020000000003", smd.InterfacePatch{IPAddresses: ips("10.0.0.3")}))
	m.refuses(api.Invalid, "", m.patchingInterface("020000000002", smd.InterfacePatch{IPAddresses: ips("10.0.0.3", "10.0.0.4")}))
	m.refuses(api.Invalid, "", m.patchingInterface("020000000002", smd.InterfacePatch{IPAddresses: ips("ten")}))
	m.refuses(api.Forbidden, "", func() error {
		_, err := m.PatchInterface(as1(api.Actor{Role: api.RoleController}), "020000000002", smd.InterfacePatch{Description: new("x")})
		return err
	})
}

// What a node boots with and has on the interface too is changed in both places.
func TestPatchBootInterface(t *testing.T) {
	m := newRoom(t)
	n := m.node(inventory.ComputeNode{BootMAC: "02:00:00:00:00:01", BootIPv4: "10.0.0.1", NetworkInterfaces: []inventory.NetworkInterface{
		{InterfaceName: "eth0", MACAddress: "02:00:00:00:00:01", IPv4Address: "10.0.0.1"}}, Spec: &inventory.NodeSpec{NetworkInterfaces: []inventory.NetworkInterface{
		{InterfaceName: "eth9", MACAddress: "02:00:00:00:00:09", IPv4Address: "10.0.0.9"}}}})
	m.done(m.patchingInterface("020000000001", smd.InterfacePatch{IPAddresses: ips("10.0.0.2")}))
	m.hasInterface("020000000001", "020000000001", "02:00:00:00:00:01", "", "Node", "", "10.0.0.2")
	m.done(m.patchingInterface("020000000009", smd.InterfacePatch{IPAddresses: ips("10.0.0.8")}))
	m.hasInterface("020000000009", "020000000009", "02:00:00:00:00:09", "", "Node", "", "10.0.0.8")
	if now := m.shown(n.ID); now.BootIPv4 != "10.0.0.2" || now.Spec.NetworkInterfaces[0].IPv4Address != "10.0.0.8" || n.Spec.NetworkInterfaces[0].IPv4Address != "10.0.0.9" {
		t.Errorf("the node is %+v", now)
	}
}

func TestMACOfAnInterfaceAndOfANode(t *testing.T) {
	m := newRoom(t)
	m.done(m.creating("02:00:00:00:00:01", "x1000c0s0b0n0", "10.0.0.1"))
	m.refuses(api.Conflict, "already exists", m.create(inventory.ComputeNode{XName: "x1000c0s0b0n1", BootMAC: "02:00:00:00:00:01"}))
	m.refuses(api.Conflict, "already exists", m.create(inventory.ComputeNode{BootMAC: "02:00:00:00:00:01"}))
	n := m.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "e", MACAddress: "020000000001", IPv4Address: "10.0.0.2"}}})
	m.hasInterface("020000000001", "020000000001", "02:00:00:00:00:01", "x1000c0s0b0n0", "Node", "", "10.0.0.2") // the node's wins
	n.XName, n.BMC = "x1000c0s0b0n5", nil
	m.refuses(api.Conflict, "already exists", func() error { _, err := m.ReplaceNode(asAdmin(), n.ID, 0, n); return err })

	m.done(m.creating("02:00:00:00:00:02", ""))
	m.node(inventory.ComputeNode{XName: "x1000c0s0b0n1", BootMAC: "02:00:00:00:00:02"}) // it was nobody's

	board := inventory.BMC{XName: "x1000c0s5b0", Username: "u", Password: new("p"), MACAddress: "02:00:00:00:00:03"}
	m.done(m.creating("02:00:00:00:00:03", "x1000c0s6b0"))
	m.refuses(api.Conflict, "already exists", func() error { _, err := m.CreateBMC(asAdmin(), board); return err })
	m.done(m.deletingInterfaces("020000000003"))
	if _, err := m.CreateBMC(asAdmin(), board); err != nil {
		t.Fatal(err)
	}
	m.refuses(api.Conflict, "x1000c0s5b0", m.creating("02:00:00:00:00:03", "x1000c0s6b0"))
	m.done(m.creating("02:00:00:00:00:03", "x1000c0s5b0"))
	m.refuses(api.Conflict, "x1000c0s5b0", m.patchingInterface("020000000003", smd.InterfacePatch{ComponentID: new("x1000c0s6b0")}))
}

// An interface that a Redfish endpoint tells of and a node has is left to the node.
func TestDerivedInterfaceOfANode(t *testing.T) {
	m := newRoom(t)
	m.node(inventory.ComputeNode{XName: "x1000c0s9b0n0", BootMAC: "02:00:00:00:01:00", BootIPv4: "10.9.0.1"})
	m.done(m.creating("02:00:00:00:01:01", "", "10.9.0.2"))
	r := record("x1000c0s0b0", 2)
	r.Interfaces[1].IPAddresses = nil
	m.endpoint(r, false)
	m.hasInterface("020000000100", "020000000100", "02:00:00:00:01:00", "x1000c0s9b0n0", "Node", "", "10.9.0.1")
	m.hasInterface("020000000101", "020000000101", "02:00:00:00:01:01", "x1000c0s0b0n1", "Node", "d", "10.9.0.2")
	if n := ethernetInterfaces.size(m.d.m.published.Load()); n != 1 {
		t.Errorf("%d interfaces have a row, want 1", n)
	}
}

// So is one of a BMC that stands elsewhere; that of the BMC itself is stored.
func TestDerivedInterfaceOfABMC(t *testing.T) {
	m := newRoom(t)
	if _, err := m.CreateBMC(asAdmin(), inventory.BMC{XName: "x1000c0s0b0", Username: "u", Password: new("p"), MACAddress: "02:00:00:00:00:01"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"x1000c0s1b0", "x1000c0s0b0"} {
		r := record(id, 0)
		r.Interfaces = []smd.EthernetInterface{{MACAddress: "02:00:00:00:00:01", ComponentID: id}}
		m.endpoint(r, false)
		if i, there := m.read().EthernetInterface("020000000001"); there != (id == "x1000c0s0b0") {
			t.Errorf("after the record of %s the interface is %+v, %v", id, i, there)
		}
	}
}

// To delete all interfaces is to delete the rows, those too that a node hides.
func TestDeleteHiddenInterface(t *testing.T) {
	m := newRoom(t)
	m.done(m.creating("02:00:00:00:00:01", "x1000c0s0b0n0", "10.0.0.1"))
	n := m.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", BootMAC: "02:00:00:00:00:01"})
	m.refuses(api.Conflict, n.ID, m.deletingInterfaces("020000000001"))
	m.done(m.deletingInterfaces())
	if err := m.deleteNode(n.ID); err != nil {
		t.Fatal(err)
	}
	if i, there := m.read().EthernetInterface("020000000001"); there {
		t.Errorf("left is %+v", i)
	}
}

// The address of an interface is not allotted to a node.
func TestAddressOfAnInterfaceIsTaken(t *testing.T) {
	m := newRoom(t)
	if _, err := m.CreateNetwork(asAdmin(), api.NetworkCreate{Name: "net", NetworkShape: api.NetworkShape{CIDR: "10.0.0.0/29"}}); err != nil {
		t.Fatal(err)
	}
	m.done(m.creating("02:00:00:00:00:01", "", "10.0.0.1"))
	m.endpoint(func() smd.EndpointRecord { r := record("x1000c0s0b0", 0); r.Endpoint.IPAddress = "10.0.0.2"; return r }(), false)
	n := m.node(inventory.ComputeNode{NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "e", MACAddress: "02:00:00:00:00:02"}}})
	if _, err := m.AllocateAddress(asAdmin(), n.ID, 0, "net"); err != nil {
		t.Fatal(err)
	}
	if got := m.shown(n.ID).NetworkInterfaces[0].IPv4Address; got != "10.0.0.3" {
		t.Errorf("the node was given %s, want 10.0.0.3", got)
	}
}

func TestHasKey(t *testing.T) {
	macs := []string{"", "02:00:00:00:00:aB", "02-00-00-00-00-AB", "0200.0000.00ab", "0200000000ab", "02:00:00:00:00:a", "02:00:00:00:00:ab:0", "02:00:00:00:00:ac", "g2:00:00:00:00:ab", " 020000 0000ab"}
	for _, mac := range macs {
		if got, want := hasKey(mac, "0200000000ab"), inventory.MACKey(mac) == "0200000000ab"; got != want {
			t.Errorf("%q: %v, want %v", mac, got, want)
		}
	}
}

// A node shows its addresses in fields that are for one family each.
func TestAddressesOfANodesInterface(t *testing.T) {
	m := newRoom(t)
	n := m.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "eth0", MACAddress: "02:00:00:00:00:01"}}})
	patch := func(list ...string) func() error {
		return m.patchingInterface("020000000001", smd.InterfacePatch{IPAddresses: ips(list...)})
	}
	m.refuses(api.Invalid, "not valid", patch("fe80::1%eth0"))
	m.done(patch("::ffff:10.0.0.7", "fd00::7"))
	if i := m.shown(n.ID).NetworkInterfaces[0]; i.IPv4Address != "10.0.0.7" || i.IPv6Address != "fd00::7" {
		t.Errorf("the interface has %q and %q", i.IPv4Address, i.IPv6Address)
	}
}
