package fsm

import (
	"cmp"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// smdCommand is a random command about what the State Manager API knows.
func (s *scribe) smdCommand(t *testing.T) []byte {
	return pick(s, []func(*testing.T) []byte{
		s.putParts, s.putParts, s.patchParts, s.patchParts, s.patchParts, s.unpart, s.redfish, s.redfish, s.unredfish, s.unsaid,
		s.iface, s.iface, s.reface, s.reface, s.unface,
	})(t)
}

// part is the name of a component, mostly one that others speak of too.
func (s *scribe) part() string {
	return pick(s, []string{"x1000c0s0b0n0", "x1000c0s0b0n1", "x01000c0s0b0n1", "x1000c0s0b1n0", "x1000c0s1b0n0", "x1000c0s0b0", "x1000c0s2b0",
		"X1000C0S2B0N0", "x1000c0s2b0n1", "x0c0s0b0n0", "x1000", "x1000c0s0b0n0p0", "nonsense"})
}

func (s *scribe) nid() *int64 {
	return pick(s, []*int64{nil, nil, nil, new(int64(1)), new(int64(2)), new(int64(7)), new(int64(1000)), new(int64(0))})
}

func (s *scribe) aComponent() component {
	return component{ID: s.part(), State: pick(s, []string{"", "on", "Ready", "Empty", "dancing"}[:4+s.rng.IntN(20)/19]), Flag: pick(s, []string{"", "ok"}),
		Role: pick(s, []string{"", "", "management"}), Arch: pick(s, []string{"", "", "X86"}), Enabled: pick(s, []*bool{nil, nil, new(false)}), NID: s.nid(),
		Locked: s.rng.IntN(12) == 0, SoftwareStatus: pick(s, []string{"", "a\u00e9"})}
}

func (s *scribe) putParts(t *testing.T) []byte {
	c := componentsPut{Force: s.rng.IntN(2) == 0}
	for range 1 + s.rng.IntN(3) {
		c.Components = append(c.Components, s.aComponent())
	}
	return s.encoded(t, putComponents, s.fleetActor(), c)
}

func (s *scribe) patchParts(t *testing.T) []byte {
	c := componentsPatch{Force: s.rng.IntN(2) == 0}
	for range 1 + s.rng.IntN(3) {
		p := componentPatch{ID: pick(s, slices.Collect(s.m.Read().Components(""))).ID, State: pick(s, []*string{nil, new("off"), new("")}), NID: s.nid(),
			Locked: pick(s, []*bool{nil, nil, new(true), new(false)})}
		if s.rng.IntN(6) == 0 {
			p = componentPatch{ID: s.part(), Role: new("Storage"), SubRole: new("")}
		}
		c.Changes = append(c.Changes, p)
	}
	return s.encoded(t, patchComponents, s.fleetActor(), c)
}

func (s *scribe) removal(ids ...string) removal {
	if s.rng.IntN(20) == 0 {
		return removal{All: true}
	}
	return removal{IDs: ids}
}

func (s *scribe) unpart(t *testing.T) []byte {
	return s.encoded(t, deleteComponents, s.fleetActor(), s.removal(s.part(), pick(s, slices.Collect(s.m.Read().Components(""))).ID))
}

func (s *scribe) redfish(t *testing.T) []byte {
	id := pick(s, []string{"x1000c0s0b0", "X1000c0s0b0", "x1000c0s1b0", "x1000c0s2b0", "x1000c0s3b0", "x1000"})
	c := endpointPut{Password: s.secret(), Replace: s.rng.IntN(2) == 0, Endpoint: redfishEndpoint{ID: id, FQDN: pick(s, []string{"", "", "Board.example", "b2"}),
		IPAddress: pick(s, []string{"", "10.0.0.9"}), LastStatus: pick(s, []string{"", "discoverok"})}}
	c.Components = append(c.Components, component{ID: id, Enabled: new(true)})
	for i := range s.rng.IntN(3) {
		node := id + "n" + string(rune('0'+i))
		c.Components = append(c.Components, component{ID: node, State: "On", Enabled: new(true), NID: new(int64(i) + 1)})
		c.Endpoints = append(c.Endpoints, componentEndpoint{ID: node, OdataID: "/Systems/" + node, SystemInfo: pick(s, []*systemInfo{nil, {Name: "n",
			Actions: `{"a":1}`, NICs: []port{{MACAddress: "02:00:00:00:00:01", Enabled: new(true)}}}})})
		c.Interfaces = append(c.Interfaces, s.anInterface(node))
	}
	return s.encoded(t, putEndpoint, s.fleetActor(), c)
}

func (s *scribe) unredfish(t *testing.T) []byte {
	return s.encoded(t, deleteEndpoints, s.fleetActor(), s.removal(pick(s, slices.Collect(s.m.Read().RedfishEndpoints(""))).ID))
}

func (s *scribe) unsaid(t *testing.T) []byte {
	return s.encoded(t, deleteComponentEndpoints, s.fleetActor(), s.removal(pick(s, slices.Collect(s.m.Read().ComponentEndpoints(""))).ID))
}

func (s *scribe) anInterface(component string) ethernetInterface {
	return ethernetInterface{ID: pick(s, []string{s.mac(), "02:00:00:00:00:11", "02:00:00:00:00:12", "02:00:00:00:00:13"}), ComponentID: component,
		Description: pick(s, []string{"", "d"}), Addresses: s.ips()}
}

func (s *scribe) ips() []ipOfNetwork {
	return pick(s, [][]ipOfNetwork{nil, {}, {{"10.0.0.5", ""}}, {{"10.0.0.6", "HMN"}, {"fd00::6", ""}}, {{"10.0.0.6", ""}, {"10.0.0.7", ""}}})
}

func (s *scribe) iface(t *testing.T) []byte {
	return s.encoded(t, createInterface, s.fleetActor(), s.anInterface(pick(s, []string{"", s.part()})))
}

func (s *scribe) someInterface() string {
	return pick(s, slices.Collect(s.m.Read().EthernetInterfaces(""))).ID
}

func (s *scribe) reface(t *testing.T) []byte {
	p := interfacePatch{ID: s.someInterface(), Description: pick(s, []*string{nil, new("e")})}
	if s.rng.IntN(4) == 0 {
		p.ComponentID = new(s.part())
	}
	if s.rng.IntN(2) == 0 {
		p.Addresses = new(s.ips())
	}
	return s.encoded(t, patchInterface, s.fleetActor(), p)
}

func (s *scribe) unface(t *testing.T) []byte {
	return s.encoded(t, deleteInterfaces, s.fleetActor(), s.removal(s.someInterface()))
}

// TestStateManagerViews compares what is merged from trees with what is gathered
// from rows without any order, in many states.
//
//race:out
func TestStateManagerViews(t *testing.T) {
	shown := 0
	for seed := range uint64(25) {
		s := newScribe(seed)
		for i := range 300 {
			s.index, s.at = s.index+1, s.at.Add(time.Second)
			command := s.smdCommand
			if s.rng.IntN(3) == 0 {
				command = s.fleet
			}
			if s.index == 1 {
				command = s.command
			}
			s.m.Apply(s.index, 0, s.at, command(t))
			if i%5 == 0 {
				r := s.m.Read()
				shown += viewsHold(t, s, "components", r.Components, naiveComponents(r), func(c smd.Component) string { return xname.Canonical(c.ID) }, r.Component)
				shown += viewsHold(t, s, "Redfish endpoints", r.RedfishEndpoints, naiveEndpoints(r), func(e smd.RedfishEndpoint) string { return xname.Canonical(e.ID) }, r.RedfishEndpoint)
				shown += viewsHold(t, s, "interfaces", r.EthernetInterfaces, naiveInterfaces(r), func(i smd.EthernetInterface) string { return i.ID }, r.EthernetInterface)
				stateManagerHolds(t, r)
			}
			if t.Failed() {
				t.Fatalf("seed %d, entry %d", seed, s.index)
			}
		}
	}
	if shown < 10_000 {
		t.Errorf("only %d objects were compared", shown)
	}
}

// viewsHold compares a list, its continuation behind any of its items, and the
// look-up of each item with a naive model.
func viewsHold[T any](t *testing.T, s *scribe, what string, list func(string) iter.Seq[T], model map[string]T, key func(T) string, find func(string) (T, bool)) int {
	t.Helper()
	got := slices.Collect(list(""))
	for k, item := range got {
		if k > 0 && key(got[k-1]) >= key(item) {
			t.Errorf("%s: %s comes before %s", what, key(got[k-1]), key(item))
		}
		if want, there := model[key(item)]; !there || !reflect.DeepEqual(item, want) {
			t.Errorf("%s: listed %+v, want %+v", what, item, want)
		}
		if found, ok := find(key(item)); !ok || !reflect.DeepEqual(found, item) {
			t.Errorf("%s: %s looked up is %+v, listed %+v", what, key(item), found, item)
		}
	}
	if len(got) != len(model) {
		t.Errorf("%s: %d are listed of %d", what, len(got), len(model))
	}
	if len(got) > 0 {
		k := s.rng.IntN(len(got))
		if rest := slices.Collect(list(key(got[k]))); !reflect.DeepEqual(rest, append([]T(nil), got[k+1:]...)) {
			t.Errorf("%s: behind %s are %+v, want %+v", what, key(got[k]), rest, got[k+1:])
		}
		for range list("") {
			break // a reader may stop early
		}
	}
	return len(got)
}

func naiveComponents(r Reader) map[string]smd.Component {
	all := map[string]smd.Component{}
	for n := range computeNodes.each(r, "") {
		if n.XName != "" {
			all[xname.Canonical(n.XName)] = smd.Component{ID: n.XName, Type: "Node", Role: "Compute", Arch: "X86", Enabled: new(true)} // all random ones are x86_64
		}
	}
	for b := range bmcs.each(r, "") {
		if b.XName != "" {
			all[xname.Canonical(b.XName)] = smd.Component{ID: b.XName, Type: "NodeBMC", Enabled: new(true)}
		}
	}
	for c := range components.each(r, "") {
		node := all[xname.Canonical(c.ID)]
		all[xname.Canonical(c.ID)] = smd.Component{ID: c.ID, Type: c.Type, Subtype: c.Subtype, Role: cmp.Or(c.Role, node.Role), SubRole: c.SubRole, NetType: c.NetType,
			Arch: cmp.Or(c.Arch, node.Arch), Class: c.Class, State: c.State, Flag: c.Flag, Enabled: c.Enabled, SoftwareStatus: c.SoftwareStatus, NID: c.NID,
			ReservationDisabled: c.ReservationDisabled, Locked: c.Locked}
	}
	return all
}

func naiveEndpoints(r Reader) map[string]smd.RedfishEndpoint {
	all := map[string]smd.RedfishEndpoint{}
	for b := range bmcs.each(r, "") {
		if b.XName != "" {
			all[xname.Canonical(b.XName)] = smd.RedfishEndpoint{ID: b.XName, Type: "NodeBMC", Hostname: b.XName, FQDN: b.XName, Enabled: new(true), User: b.Username,
				MACAddr: b.MAC, IPAddress: b.IPv4, DiscoveryInfo: &smd.DiscoveryInfo{LastStatus: "NotYetQueried"}}
		}
	}
	for e := range redfishEndpoints.each(r, "") {
		all[xname.Canonical(e.ID)] = smd.RedfishEndpoint{ID: e.ID, Type: e.Type, FQDN: e.FQDN, Enabled: e.Enabled, IPAddress: e.IPAddress,
			DiscoveryInfo: &smd.DiscoveryInfo{LastStatus: e.LastStatus}}
	}
	return all
}

func naiveInterfaces(r Reader) map[string]smd.EthernetInterface {
	all := map[string]smd.EthernetInterface{}
	for i := range ethernetInterfaces.each(r, "") {
		shown := smd.EthernetInterface{ID: i.ID, Description: i.Description, MACAddress: inventory.Colons(i.ID), LastUpdate: i.LastUpdate, ComponentID: i.ComponentID, Type: i.Type,
			IPAddresses: []smd.IPAddress{}}
		for _, a := range i.Addresses {
			shown.IPAddresses = append(shown.IPAddresses, smd.IPAddress{IPAddress: a.IPAddress, Network: a.Network})
		}
		all[i.ID] = shown
	}
	for n := range computeNodes.each(r, "") {
		specBoot := "" // random specs have nothing but this
		if n.Spec != nil {
			specBoot = n.Spec.BootMAC
		}
		for _, mac := range n.macs() {
			shown := smd.EthernetInterface{ID: mac, MACAddress: inventory.Colons(mac), LastUpdate: n.UpdatedAt, ComponentID: n.XName, Type: "Node", IPAddresses: []smd.IPAddress{}}
			var addresses []string
			for _, nic := range n.NICs {
				if inventory.MACKey(nic.MACAddress) == mac {
					addresses = append(addresses, nic.IPv4Address, nic.IPv6Address)
					if shown.Description == "" {
						shown.Description = nic.Description
					}
				}
			}
			switch mac {
			case inventory.MACKey(n.BootMAC):
				addresses = append(addresses, n.BootIPv4, n.BootIPv6)
			case inventory.MACKey(specBoot):
				addresses = append(addresses, n.Spec.BootIPv4, n.Spec.BootIPv6)
			}
			for k, a := range addresses {
				if a != "" && !slices.Contains(addresses[:k], a) {
					shown.IPAddresses = append(shown.IPAddresses, smd.IPAddress{IPAddress: a})
				}
			}
			all[mac] = shown
		}
	}
	return all
}

// stateManagerHolds: a NID has one component and every posted node has one, a
// row that a node implied has that node, an FQDN has one endpoint, what was said
// of a component was said by an endpoint that is there, and the interface of a
// node belongs to nobody else.
func stateManagerHolds(t *testing.T, r Reader) {
	t.Helper()
	nids, fqdns := map[int64]string{}, map[string]string{}
	for c := range components.each(r, "") {
		if c.NID != nil {
			if other, taken := nids[*c.NID]; taken {
				t.Errorf("%s and %s have the NID %d", other, c.ID, *c.NID)
			}
			nids[*c.NID] = c.ID
			if found, ok := r.ComponentByNID(*c.NID); !ok || found.ID != c.ID {
				t.Errorf("NID %d finds %v, want %s", *c.NID, found, c.ID)
			}
		}
		if c.NID == nil && c.isNode() && !c.Implied {
			t.Errorf("node %s has no NID", c.ID)
		}
		if _, there := r.impliedComponent(c.ID); c.Implied && !there {
			t.Errorf("%s is implied by nothing", c.ID)
		}
		if c.Type != string(xname.TypeOf(c.ID)) || c.Enabled == nil || !slices.Contains(append(smd.States, ""), c.State) {
			t.Errorf("a component is stored as %+v", c)
		}
	}
	for e := range redfishEndpoints.each(r, "") {
		if other, taken := fqdns[strings.ToLower(e.FQDN)]; taken {
			t.Errorf("%s and %s have the FQDN %s", other, e.ID, e.FQDN)
		}
		fqdns[strings.ToLower(e.FQDN)] = e.ID
	}
	for e := range componentEndpoints.each(r, "") {
		if _, there := redfishEndpoints.one(r, xname.Canonical(e.Endpoint)); !there {
			t.Errorf("%s was said by %s, which is not there", e.ID, e.Endpoint)
		}
	}
	for i := range ethernetInterfaces.each(r, "") {
		n, ofNode := computeNodes.holder(r, "mac", i.ID)
		if ofNode && i.ComponentID != "" && xname.Canonical(i.ComponentID) != xname.Canonical(n.XName) {
			t.Errorf("interface %s is of %s and of node %s", i.ID, i.ComponentID, n.XName)
		}
	}
}
