package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

// record is a controller with so many nodes behind it, each with one interface.
func record(id string, nodes int) smd.EndpointRecord {
	r := smd.EndpointRecord{Endpoint: smd.RedfishEndpoint{ID: id, User: "root", Password: "pw", IPAddress: "10.0.0.1"},
		Components: []smd.Component{{ID: id, Enabled: new(true)}}}
	for i := range nodes {
		node := fmt.Sprintf("%sn%d", id, i)
		r.Components = append(r.Components, smd.Component{ID: node, State: "On", Enabled: new(true), NID: new(int64(i) + 1)})
		r.Endpoints = append(r.Endpoints, smd.ComponentEndpoint{ID: node, RedfishType: "ComputerSystem", OdataID: "/redfish/v1/Systems/" + node, RedfishEndpointID: id,
			SystemInfo: &smd.RedfishSystemInfo{Name: "s", Actions: `{"a":{}}`, EthernetNICInfo: []smd.EthernetNICInfo{{Description: "d", MACAddress: "m", InterfaceEnabled: new(true)}}}})
		r.Interfaces = append(r.Interfaces, smd.EthernetInterface{MACAddress: fmt.Sprintf("02:00:00:00:01:%02X", i), ComponentID: node,
			IPAddresses: []smd.IPAddress{{IPAddress: fmt.Sprintf("10.0.1.%d", i)}}})
	}
	return r
}

func (m room) endpoint(r smd.EndpointRecord, replace bool) {
	m.t.Helper()
	m.done(m.puttingEndpoint(r, replace))
}

func (m room) puttingEndpoint(r smd.EndpointRecord, replace bool) func() error {
	return func() error { _, err := m.PutEndpoint(asAdmin(), r, replace); return err }
}

func (m room) deletingEndpoints(ids ...string) func() error {
	return func() error { _, err := m.DeleteEndpoints(asAdmin(), ids); return err }
}

func TestPutEndpointDerives(t *testing.T) {
	m := newRoom(t)
	d, err := m.PutEndpoint(asAdmin(), record("x1000c0s0b0", 2), false)
	if err != nil {
		t.Fatal(err)
	}
	if e := d.Object; e.ID != "x1000c0s0b0" || e.Type != "NodeBMC" || e.FQDN != "x1000c0s0b0" || e.Password != "" || e.User != "root" || !*e.Enabled || e.DiscoveryInfo.LastStatus != "NotYetQueried" {
		t.Errorf("stored as %+v", e)
	}
	m.is("x1000c0s0b0", "x1000c0s0b0 NodeBMC state= flag= role=/ arch= nid=- enabled=true locked=false")
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state=On flag= role=Compute/ arch= nid=1 enabled=true locked=false")
	m.is("x1000c0s0b0n1", "x1000c0s0b0n1 Node state=On flag= role=Compute/ arch= nid=2 enabled=true locked=false")
	c, ok := m.read().ComponentEndpoint("x1000c0s0b0n01")
	if !ok || c.Type != "Node" || c.RedfishEndpointFQDN != "x1000c0s0b0" || c.RedfishURL != "x1000c0s0b0/redfish/v1/Systems/x1000c0s0b0n1" || c.SystemInfo.Actions != `{"a":{}}` || !*c.SystemInfo.EthernetNICInfo[0].InterfaceEnabled {
		t.Errorf("its node is told of as %+v", c)
	}
	if i, ok := m.read().EthernetInterface("02-00-00-00-01-01"); !ok || i.ComponentID != "x1000c0s0b0n1" || i.Type != "Node" || i.MACAddress != "02:00:00:00:01:01" || len(i.IPAddresses) != 1 || i.LastUpdate.IsZero() {
		t.Errorf("its interface is %+v", i)
	}
	purpose, sealed := m.read().EndpointPassword("x1000c0s0b0")
	if purpose != SealEndpointPassword || !bytes.Equal(sealed, []byte("sealed redfish_endpoint.password pw")) {
		t.Errorf("its password is %q, sealed for %s", sealed, purpose)
	}
}

func TestEndpointIsUnique(t *testing.T) {
	m := newRoom(t)
	r := record("x1000c0s0b0", 0)
	r.Endpoint.FQDN = "Board.Example"
	m.endpoint(r, false)
	m.refuses(api.Conflict, "already exists", m.puttingEndpoint(record("x01000c0s0b0", 0), false))
	other := record("x1000c0s1b0", 1)
	other.Endpoint.FQDN = "board.example"
	m.refuses(api.Conflict, "FQDN", m.puttingEndpoint(other, false))
	m.refuses(api.NotFound, "x1000c0s1b0", m.puttingEndpoint(record("x1000c0s1b0", 0), true))
	m.refuses(api.Invalid, "", m.puttingEndpoint(record("nonsense", 0), false))
	bad := record("x1000c0s1b0", 0)
	bad.Endpoint.DiscoveryInfo = &smd.DiscoveryInfo{LastStatus: "dunno"}
	m.refuses(api.Invalid, "", m.puttingEndpoint(bad, false))
	m.endpoint(record("x1000c0s1b0", 0), false)
	other.Endpoint.ID = "x1000c0s1b0"
	m.refuses(api.Conflict, "FQDN", m.puttingEndpoint(other, true))
	m.refuses(api.Forbidden, "component", func() error { _, err := m.PutEndpoint(as1(viewer), record("x2000c0s0b0", 0), false); return err })
}

func TestReplaceEndpointRefreshes(t *testing.T) {
	m := newRoom(t)
	m.endpoint(record("x1000c0s0b0", 2), false)
	m.patch("x1000c0s0b0n0", smd.ComponentPatch{State: new("Ready"), Role: new("Service"), Enabled: new(false), NID: new(int64(50))})
	again := record("x1000c0s0b0", 1)
	again.Endpoint.FQDN, again.Endpoint.Password = "b.example", ""
	again.Interfaces[0].IPAddresses[0].IPAddress = "10.0.1.77"
	m.endpoint(again, true)
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state=Ready flag= role=Service/ arch= nid=50 enabled=false locked=false")
	m.is("x1000c0s0b0n1", "x1000c0s0b0n1 Node state=On flag= role=Compute/ arch= nid=2 enabled=true locked=false")
	if _, there := m.read().ComponentEndpoint("x1000c0s0b0n1"); there {
		t.Error("what is not told of any more is still there")
	}
	if c, _ := m.read().ComponentEndpoint("x1000c0s0b0n0"); c.RedfishURL != "b.example/redfish/v1/Systems/x1000c0s0b0n0" {
		t.Errorf("the node is told of as %+v", c)
	}
	if i, _ := m.read().EthernetInterface("020000000100"); i.IPAddresses[0].IPAddress != "10.0.1.77" {
		t.Errorf("the interface is %+v", i)
	}
	if _, sealed := m.read().EndpointPassword("x1000c0s0b0"); len(sealed) == 0 {
		t.Error("a replacement without a password took it away")
	}
	m.endpoint(record("x1000c0s0b0", 0), true) // only the endpoint itself: what it told stays
	if c, there := m.read().ComponentEndpoint("x1000c0s0b0n0"); !there || c.RedfishEndpointFQDN != "x1000c0s0b0" {
		t.Errorf("the node is told of as %+v", c)
	}
}

func TestDerivedNIDs(t *testing.T) {
	m := newRoom(t)
	m.put(smd.Component{ID: "x1000c0s0b0n0", NID: new(int64(40))}, smd.Component{ID: "x9c0s0b0n0", NID: new(int64(2))})
	m.endpoint(record("x1000c0s0b0", 3), false)
	for id, want := range map[string]int64{"x1000c0s0b0n0": 40, "x1000c0s0b0n1": 41, "x1000c0s0b0n2": 3} { // had one; its wish was taken; its wish was free
		if c := m.component(id); *c.NID != want {
			t.Errorf("%s has NID %d, want %d", id, *c.NID, want)
		}
	}
}

func TestDerivedLeavesLockedComponents(t *testing.T) {
	m := newRoom(t)
	m.put(smd.Component{ID: "x1000c0s0b0n0", Locked: true, State: "Empty"})
	m.endpoint(record("x1000c0s0b0", 1), false)
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state=Empty flag= role=Compute/ arch= nid=1 enabled=true locked=true")
}

func TestDeleteEndpoint(t *testing.T) {
	m := newRoom(t)
	m.endpoint(record("x1000c0s0b0", 2), false)
	m.endpoint(record("x1000c0s0b1", 1), false)
	m.put(smd.Component{ID: "x1000c0s0b0n0p0", State: "On"}, smd.Component{ID: "x1000c0s0b0n7", State: "On"})
	m.refuses(api.NotFound, "x9", m.deletingEndpoints("x1000c0s0b0", "x9"))
	m.refuses(api.Forbidden, "fleet", func() error { _, err := m.DeleteEndpoints(as1(operator), nil); return err })
	d, err := m.DeleteEndpoints(asAdmin(), []string{"x1000c0s0b0", "X1000c0s0b0"})
	if err != nil || d.Count != 1 {
		t.Fatalf("delete: %d, %v", d.Count, err)
	}
	for id, want := range map[string]string{"x1000c0s0b0": "Empty", "x1000c0s0b0n0": "Empty", "x1000c0s0b0n1": "Empty", "x1000c0s0b0n7": "Empty",
		"x1000c0s0b0n0p0": "On", "x1000c0s0b1n0": "On"} {
		if c := m.component(id); c.State != want {
			t.Errorf("%s has the state %q, want %q", id, c.State, want)
		}
	}
	if list := slices.Collect(m.read().ComponentEndpoints("")); len(list) != 1 || list[0].ID != "x1000c0s0b1n0" {
		t.Errorf("the ComponentEndpoints left are %+v", list)
	}
	if _, there := m.read().EthernetInterface("020000000101"); !there {
		t.Error("an interface went too")
	}
	if _, there := m.read().RedfishEndpoint("x1000c0s0b0"); there {
		t.Error("the endpoint is still there")
	}
	m.endpoint(record("x1000c0s0b0", 1), false) // found again: not empty any more
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state=On flag= role=Compute/ arch= nid=1 enabled=true locked=false")
}

// A BMC with an xname is an endpoint; a row of its own lies over that.
func TestEndpointOfABMC(t *testing.T) {
	m := newRoom(t)
	b, err := m.CreateBMC(asAdmin(), inventory.BMC{XName: "x1000c0s0b0", Username: "admin", Password: new("secret"), MACAddress: "02:00:00:00:00:aa", IPv4Address: "10.1.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := m.read().RedfishEndpoint("X1000c0s0b0"); !ok || e.Type != "NodeBMC" || e.FQDN != "x1000c0s0b0" || e.MACAddr != "02:00:00:00:00:aa" || e.IPAddress != "10.1.0.1" || e.User != "admin" || e.Password != "" || !*e.Enabled || e.DiscoveryInfo.LastStatus != "NotYetQueried" {
		t.Errorf("the BMC is the endpoint %+v", e)
	}
	if purpose, sealed := m.read().EndpointPassword("x1000c0s0b0"); purpose != SealBMCPassword || sealed == nil {
		t.Errorf("its password is %q, sealed for %s", sealed, purpose)
	}
	m.refuses(api.Conflict, "BMC "+b.Object.ID, m.deletingEndpoints("x1000c0s0b0"))
	m.endpoint(record("x1000c0s0b0", 1), false)
	if e, _ := m.read().RedfishEndpoint("x1000c0s0b0"); e.User != "root" || e.IPAddress != "10.0.0.1" {
		t.Errorf("with a row of its own it is %+v", e)
	}
	if list := slices.Collect(m.read().RedfishEndpoints("")); len(list) != 1 {
		t.Errorf("the endpoints are %+v", list)
	}
	if now, _ := m.read().BMC(b.Object.ID); now != b.Object {
		t.Errorf("the BMC went from %+v to %+v", b.Object, now)
	}
	m.done(m.deletingEndpoints("x1000c0s0b0"))
	if e, ok := m.read().RedfishEndpoint("x1000c0s0b0"); !ok || e.User != "admin" {
		t.Errorf("with its row gone it is %+v, %v", e, ok)
	}
	m.endpoint(record("x1000c0s0b0", 0), true) // to replace what only a BMC is makes the row
}

func TestDeleteComponentEndpoints(t *testing.T) {
	m := newRoom(t)
	all := func() error { _, err := m.DeleteComponentEndpoints(asAdmin(), nil); return err }
	m.refuses(api.NotFound, "no ComponentEndpoint", all)
	m.endpoint(record("x1000c0s0b0", 3), false)
	d, err := m.DeleteComponentEndpoints(as1(operator), []string{"x1000c0s0b0n0"})
	if err != nil || d.Count != 1 {
		t.Fatalf("delete one: %d, %v", d.Count, err)
	}
	m.refuses(api.NotFound, "x1000c0s0b0n0", func() error {
		_, err := m.DeleteComponentEndpoints(asAdmin(), []string{"x1000c0s0b0n1", "x1000c0s0b0n0"})
		return err
	})
	m.done(all)
	if list := slices.Collect(m.read().ComponentEndpoints("")); len(list) != 0 {
		t.Errorf("left are %+v", list)
	}
}
