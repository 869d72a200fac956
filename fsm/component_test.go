package fsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

// room is a fleet in the State Manager's words.
type room struct{ *fleet }

func newRoom(t *testing.T) room { return room{newFleet(t)} }

// put posts components as an admin, without force.
func (m room) put(c ...smd.Component) {
	m.t.Helper()
	if d, err := m.PutComponents(asAdmin(), c, false); err != nil || d.Count != int64(len(c)) {
		m.t.Fatalf("put %+v: %d, %v", c, d.Count, err)
	}
}

func (m room) putting(ctx context.Context, force bool, c ...smd.Component) func() error {
	return func() error { _, err := m.PutComponents(ctx, c, force); return err }
}

func (m room) patching(ctx context.Context, force bool, c ...smd.ComponentChange) func() error {
	return func() error { _, err := m.PatchComponents(ctx, c, force); return err }
}

func (m room) patch(id string, p smd.ComponentPatch) {
	m.t.Helper()
	m.done(m.patching(asAdmin(), false, change(id, p)))
}

func change(id string, p smd.ComponentPatch) smd.ComponentChange {
	return smd.ComponentChange{ID: id, ComponentPatch: p}
}

func (m room) deleting(ctx context.Context, ids ...string) func() error {
	return func() error { _, err := m.DeleteComponents(ctx, ids); return err }
}

func (m room) done(do func() error) {
	m.t.Helper()
	if err := do(); err != nil {
		m.t.Fatal(err)
	}
}

func (m room) component(id string) smd.Component {
	m.t.Helper()
	c, ok := m.read().Component(id)
	if !ok {
		m.t.Fatalf("no component %s", id)
	}
	return c
}

// is compares a component as a text in which its pointers are followed.
func (m room) is(id, want string) {
	m.t.Helper()
	if got := told(m.component(id)); got != want {
		m.t.Errorf("%s is\n%s, want\n%s", id, got, want)
	}
}

func told(c smd.Component) string {
	nid, enabled := "-", "-"
	if c.NID != nil {
		nid = fmt.Sprint(*c.NID)
	}
	if c.Enabled != nil {
		enabled = fmt.Sprint(*c.Enabled)
	}
	return fmt.Sprintf("%s %s state=%s flag=%s role=%s/%s arch=%s nid=%s enabled=%s locked=%v", c.ID, c.Type, c.State, c.Flag, c.Role, c.SubRole, c.Arch, nid, enabled, c.Locked)
}

// refuses expects a failure of that kind that says so, and no row of any table
// but the note of it changed.
func (m room) refuses(kind api.Kind, saying string, do func() error) {
	m.t.Helper()
	before := m.rows()
	m.fleet.refuses(kind, saying, do)
	if m.rows() != before {
		m.t.Errorf("%q: refused, and yet rows changed", saying)
	}
}

// rows is the hash of all rows but those that remember requests.
func (m room) rows() string {
	s := m.d.m.published.Load()
	return s.sum.minus(requests.rehash(s)).String()
}

func TestComponentDefaults(t *testing.T) {
	m := newRoom(t)
	m.put(smd.Component{ID: "x1000c0s0b0n0"}, smd.Component{ID: "X1000c0s0b0"}, smd.Component{ID: "x0c0s0b0n0", NID: new(int64(7)), Role: "management", Enabled: new(false)})
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state= flag= role=Compute/ arch= nid=8 enabled=true locked=false")
	m.is("x1000c0s0b0", "X1000c0s0b0 NodeBMC state= flag= role=/ arch= nid=- enabled=true locked=false")
	m.is("x0000c0s0b0n0", "x0c0s0b0n0 Node state= flag= role=Management/ arch= nid=7 enabled=false locked=false")
	if c, ok := m.read().ComponentByNID(8); !ok || c.ID != "x1000c0s0b0n0" {
		t.Errorf("NID 8 is %+v", c)
	}
	if c, ok := m.read().ComponentByNID(9); ok {
		t.Errorf("NID 9 is %+v, want none", c)
	}
	if list := slices.Collect(m.read().Components("")); len(list) != 3 || list[0].ID != "x0c0s0b0n0" {
		t.Errorf("the components are %+v", list)
	}
}

func TestPutComponentAgain(t *testing.T) {
	m := newRoom(t)
	m.put(smd.Component{ID: "x1000c0s0b0n0", State: "On", Role: "Service", SubRole: "Worker", NID: new(int64(5)), Enabled: new(false)})
	m.put(smd.Component{ID: "x1000c0s0b0n0", State: "ready"})
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state=Ready flag= role=Service/Worker arch= nid=5 enabled=false locked=false")
	before := m.rows()
	m.put(smd.Component{ID: "x1000c0s0b0n0", State: "Ready"})
	if m.rows() != before {
		t.Error("the same post a second time changed something")
	}
	// Twice in one request: the later one lies over the earlier one.
	d, err := m.PutComponents(asAdmin(), []smd.Component{{ID: "x1000c0s0b0n1", NID: new(int64(9)), State: "Off"}, {ID: "x1000c0s0b0n01", State: "On"}}, false)
	if err != nil || d.Count != 1 {
		t.Fatalf("twice in one request: %d, %v", d.Count, err)
	}
	m.is("x1000c0s0b0n1", "x1000c0s0b0n01 Node state=On flag= role=Compute/ arch= nid=9 enabled=true locked=false")
}

func TestComponentValues(t *testing.T) {
	m := newRoom(t)
	m.put(smd.Component{ID: "x1c0s0b0n0", State: "hALT", Flag: "ok", Role: "STORAGE", SubRole: "master", NetType: "infiniband", Arch: "arm", Class: "river", Type: "nonsense"})
	if c := m.component("x1c0s0b0n0"); c.State != "Halt" || c.Flag != "OK" || c.Role != "Storage" || c.SubRole != "Master" || c.NetType != "Infiniband" || c.Arch != "ARM" || c.Class != "River" || c.Type != "Node" {
		t.Errorf("stored as %+v", c)
	}
	for pointer, c := range map[string]smd.Component{
		"/1/ID": {ID: "y1"}, "/1/State": {ID: "x1", State: "dancing"}, "/1/Flag": {ID: "x1", Flag: "red"}, "/1/Role": {ID: "x1", Role: "king"},
		"/1/SubRole": {ID: "x1", SubRole: "king"}, "/1/NetType": {ID: "x1", NetType: "string"}, "/1/Arch": {ID: "x1", Arch: "z80"}, "/1/Class": {ID: "x1", Class: "first"},
		"/1/NID": {ID: "x1", NID: new(int64(0))},
	} {
		m.refuses(api.Invalid, "", func() error {
			err := m.putting(asAdmin(), true, smd.Component{ID: "x2"}, c)()
			if e, ok := errors.AsType[*api.Error](err); !ok || len(e.Fields) != 1 || e.Fields[0].Pointer != pointer {
				t.Errorf("%+v: got %v, want a fault at %s", c, err, pointer)
			}
			return err
		})
	}
	m.refuses(api.Invalid, "", m.patching(asAdmin(), false, change("x1c0s0b0n0", smd.ComponentPatch{Flag: new("red")})))
	m.refuses(api.Invalid, "type", m.patching(asAdmin(), false, change("x1c0s0b0n0", smd.ComponentPatch{Type: new("NodeBMC")})))
	m.patch("x1c0s0b0n0", smd.ComponentPatch{Type: new("node"), State: new("standby"), SubRole: new("")})
	m.is("x1c0s0b0n0", "x1c0s0b0n0 Node state=Standby flag=OK role=Storage/ arch=ARM nid=1 enabled=true locked=false")
}

func TestNIDs(t *testing.T) {
	m := newRoom(t)
	node := func(i int, nid int64) smd.Component {
		c := smd.Component{ID: fmt.Sprintf("x1c0s0b0n%d", i)}
		if nid != 0 {
			c.NID = &nid
		}
		return c
	}
	nids := func(want ...int64) {
		t.Helper()
		for i, want := range want {
			if got := m.component(node(i, 0).ID).NID; got == nil || *got != want {
				t.Errorf("node %d has NID %v, want %d", i, got, want)
			}
		}
	}
	// What is asked for comes before what is made: n0 does not take the 1 that n2 asks for.
	m.put(node(0, 0), node(1, 3), node(2, 1), node(3, 0))
	nids(4, 3, 1, 5)
	m.refuses(api.Conflict, "NID 3", m.putting(asAdmin(), true, node(9, 3)))
	m.refuses(api.Conflict, "NID 9", m.putting(asAdmin(), true, node(8, 9), node(9, 9)))
	m.refuses(api.Conflict, "NID 3", m.patching(asAdmin(), false, change(node(0, 0).ID, smd.ComponentPatch{NID: new(int64(3))})))
	swap := func(i int, nid int64) smd.ComponentChange {
		return change(node(i, 0).ID, smd.ComponentPatch{NID: &nid})
	}
	m.done(m.patching(asAdmin(), false, swap(1, 1), swap(2, 3)))
	nids(4, 1, 3, 5)
	m.put(node(1, 3), node(2, 4), node(0, 1)) // in a ring
	nids(1, 3, 4, 5)
	for nid, i := range map[int64]int{1: 0, 3: 1, 4: 2, 5: 3} {
		if c, ok := m.read().ComponentByNID(nid); !ok || c.ID != node(i, 0).ID {
			t.Errorf("NID %d finds %+v", nid, c)
		}
	}
	m.done(m.deleting(asAdmin(), node(3, 0).ID))
	m.put(node(4, 0))
	if c := m.component(node(4, 0).ID); *c.NID != 5 {
		t.Errorf("after 5 was given up the next NID is %d", *c.NID)
	}
	m.put(node(5, maxNID))
	m.refuses(api.Conflict, "NID", m.putting(asAdmin(), false, node(6, 0)))
	m.refuses(api.Invalid, "", m.putting(asAdmin(), false, node(6, maxNID+1)))
}

func TestLockedComponent(t *testing.T) {
	m := newRoom(t)
	m.put(smd.Component{ID: "x1c0s0b0n0", Locked: true}, smd.Component{ID: "x1c0s0b0n1"})
	off := smd.ComponentPatch{State: new("Off")}
	m.refuses(api.Conflict, "locked", m.patching(asAdmin(), false, change("x1c0s0b0n1", off), change("x1c0s0b0n0", off)))
	m.refuses(api.Conflict, "locked", m.putting(asAdmin(), false, smd.Component{ID: "x1c0s0b0n0", State: "Off"}))
	m.refuses(api.Conflict, "locked", m.deleting(asAdmin(), "x1c0s0b0n1", "x1c0s0b0n0"))
	m.done(m.patching(asAdmin(), true, change("x1c0s0b0n0", off)))
	m.is("x1c0s0b0n0", "x1c0s0b0n0 Node state=Off flag= role=Compute/ arch= nid=1 enabled=true locked=true")
	m.done(m.putting(asAdmin(), true, smd.Component{ID: "x1c0s0b0n0"}))
	m.done(m.deleting(asAdmin(), "x1c0s0b0n0"))
}

func TestPatchUnknownComponents(t *testing.T) {
	m := newRoom(t)
	m.put(smd.Component{ID: "x1c0s0b0n0"})
	off := smd.ComponentPatch{State: new("Off")}
	m.refuses(api.NotFound, "x1c0s0b0n1, x2", m.patching(asAdmin(), false, change("x1c0s0b0n1", off), change("x1c0s0b0n0", off), change("x2", off)))
	m.refuses(api.NotFound, "x9", m.deleting(asAdmin(), "x1c0s0b0n0", "x9"))
	var many []smd.ComponentChange
	for i := range 30 {
		many = append(many, change(fmt.Sprintf("x%d", i+100), off))
	}
	m.refuses(api.NotFound, "x109 and 20 more", m.patching(asAdmin(), false, many...))
}

// A ComputeNode and its BMC are components that nobody posted.
func TestImpliedComponents(t *testing.T) {
	m := newRoom(t)
	n := m.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", Hostname: "h", Architecture: "aarch64"})
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state= flag= role=Compute/ arch=ARM nid=- enabled=true locked=false")
	m.is("x1000c0s0b0", "x1000c0s0b0 NodeBMC state= flag= role=/ arch= nid=- enabled=true locked=false")
	m.refuses(api.Conflict, "ComputeNode "+n.ID, m.deleting(asAdmin(), "x1000c0s0b0n0"))
	m.refuses(api.Conflict, "BMC "+n.BMC.ID, m.deleting(asAdmin(), "x1000c0s0b0"))

	m.patch("X1000C0S0B0N0", smd.ComponentPatch{State: new("Ready")})
	m.patch("x1000c0s0b0", smd.ComponentPatch{Enabled: new(false)})
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state=Ready flag= role=Compute/ arch=ARM nid=- enabled=true locked=false")
	m.is("x1000c0s0b0", "x1000c0s0b0 NodeBMC state= flag= role=/ arch= nid=- enabled=false locked=false")
	m.done(m.deleting(asAdmin(), "x1000c0s0b0n0")) // the row; what the node says stays
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state= flag= role=Compute/ arch=ARM nid=- enabled=true locked=false")

	m.patch("x1000c0s0b0n0", smd.ComponentPatch{State: new("Off")})
	if err := m.deleteNode(n.ID); err != nil {
		t.Fatal(err)
	}
	if left := slices.Collect(m.read().Components("")); len(left) != 0 {
		t.Errorf("with the node and its BMC gone there still are %+v", left)
	}
}

func TestPostedComponentOutlivesItsNode(t *testing.T) {
	m := newRoom(t)
	n := m.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"})
	m.patch("x1000c0s0b0n0", smd.ComponentPatch{State: new("Off")})
	m.put(smd.Component{ID: "x1000c0s0b0n0", Arch: "Other"}) // now somebody posted it
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state=Off flag= role=Compute/ arch=Other nid=1 enabled=true locked=false")
	if err := m.deleteNode(n.ID); err != nil {
		t.Fatal(err)
	}
	m.is("x1000c0s0b0n0", "x1000c0s0b0n0 Node state=Off flag= role=Compute/ arch=Other nid=1 enabled=true locked=false")
}

func TestImpliedComponentGoesWithTheXName(t *testing.T) {
	m := newRoom(t)
	n := m.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"})
	m.patch("x1000c0s0b0n0", smd.ComponentPatch{State: new("Off")})
	n.XName, n.BMC = "x1000c0s0b0n1", nil
	if _, err := m.ReplaceNode(asAdmin(), n.ID, 0, n); err != nil {
		t.Fatal(err)
	}
	if c, ok := m.read().Component("x1000c0s0b0n0"); ok {
		t.Errorf("the node moved and left %+v", c)
	}
	b, err := m.CreateBMC(asAdmin(), inventory.BMC{XName: "x2000c0s0b0", Username: "u", Password: new("p")})
	if err != nil {
		t.Fatal(err)
	}
	m.patch("x2000c0s0b0", smd.ComponentPatch{State: new("Ready")})
	if _, err := m.DeleteBMC(asAdmin(), b.Object.ID, 0); err != nil {
		t.Fatal(err)
	}
	if c, ok := m.read().Component("x2000c0s0b0"); ok {
		t.Errorf("the BMC is gone and left %+v", c)
	}
}

func TestWhoMayChangeComponents(t *testing.T) {
	m := newRoom(t)
	m.put(smd.Component{ID: "x1c0s0b0n0"})
	m.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"})
	controller, reader, worker := as1(api.Actor{Role: api.RoleController}), as1(viewer), as1(operator)
	seen := smd.ComponentPatch{State: new("Off"), Flag: new("OK"), Enabled: new(false), SoftwareStatus: new("up")}
	m.done(m.patching(controller, false, change("x1c0s0b0n0", seen), change("x1000c0s0b0n0", seen)))
	m.refuses(api.Forbidden, "component", m.patching(controller, false, change("x1c0s0b0n0", smd.ComponentPatch{Role: new("Service")})))
	m.refuses(api.Forbidden, "component", m.putting(controller, false, smd.Component{ID: "x2"}))
	m.refuses(api.Forbidden, "component", m.deleting(controller, "x1c0s0b0n0"))
	m.refuses(api.Forbidden, "component", m.patching(reader, false, change("x1c0s0b0n0", smd.ComponentPatch{State: new("On")})))
	m.refuses(api.Forbidden, "component", m.putting(reader, true, smd.Component{ID: "x1c0s0b0n0"}))
	m.done(m.putting(worker, false, smd.Component{ID: "x3"}))
	all := func(ctx context.Context) func() error {
		return func() error { _, err := m.DeleteComponents(ctx, nil); return err }
	}
	m.refuses(api.Forbidden, "fleet", all(worker))
	m.done(all(asAdmin()))
	m.refuses(api.NotFound, "no component", all(asAdmin()))
	if left := slices.Collect(m.read().Components("")); len(left) != 2 { // the node and its BMC
		t.Errorf("after all were deleted there are %+v", left)
	}
}

func TestTenancyOfComponents(t *testing.T) {
	m := newRoom(t)
	for name, node := range map[string]string{"red": "x1000c0s0b0n0", "blue": "x1000c0s0b1n0"} {
		if _, err := m.CreateCollection(asAdmin(), inventory.NodeCollection{Name: name, Type: inventory.Tenant, Nodes: []string{node}}); err != nil {
			t.Fatal(err)
		}
	}
	red := as1(api.Actor{ID: "jwt:r", Role: api.RoleOperator, Tenant: "red"})
	for _, id := range []string{"x1000c0s0b1n0", "X1000c0s00b1n0", "x1000c0s0b1n0p0", "x1000c0s0b1"} { // the node, what is in it, its controller
		m.refuses(api.Forbidden, "blue", m.putting(red, false, smd.Component{ID: "x1000c0s0b0n0"}, smd.Component{ID: id}))
	}
	m.done(m.putting(red, false, smd.Component{ID: "x1000c0s0b0n0"}, smd.Component{ID: "x1000c0s0b0"}, smd.Component{ID: "x1000c0s0b0n1"}))
	m.put(smd.Component{ID: "x1000c0s0b1n0"})
	m.refuses(api.Forbidden, "blue", m.patching(red, true, change("x1000c0s0b1n0", smd.ComponentPatch{State: new("Off")})))
	m.refuses(api.Forbidden, "blue", m.deleting(red, "x1000c0s0b0n0", "x1000c0s0b1n0"))
	m.done(m.deleting(red, "x1000c0s0b0n0"))
	m.refuses(api.Forbidden, "blue", func() error { _, err := m.PutEndpoint(red, record("x1000c0s0b1", 1), false); return err })
	m.refuses(api.Forbidden, "blue", func() error {
		_, err := m.CreateInterface(red, smd.EthernetInterface{MACAddress: "02:00:00:00:00:01", ComponentID: "x1000c0s0b1n0"})
		return err
	})
}

// A post that is too large for a log entry goes in chunks.
//
//race:out
func TestManyComponents(t *testing.T) {
	m := newRoom(t)
	d, err := m.PutComponents(asAdmin(), manyComponents(60_000), false)
	if err != nil || d.Count != 60_000 || m.d.size < 2*maxCommand {
		t.Fatalf("put: %d in %d bytes, %v", d.Count, m.d.size, err)
	}
	if c := m.component("x1c3s3b3n1"); c.NID == nil {
		t.Errorf("without a NID: %+v", c)
	}
}

// manyComponents are nodes, each with a name of its own.
func manyComponents(n int) []smd.Component {
	list := make([]smd.Component, n)
	for i := range list {
		list[i] = smd.Component{ID: fmt.Sprintf("x%dc%ds%db%dn%d", 1+i>>12, i>>9&7, i>>4&31, i>>1&7, i&1), State: "On", Role: "Compute", Arch: "X86"}
	}
	return list
}
