package fsm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// fleet is a machine that is written through a Writer, as a peer does it.
type fleet struct {
	*Writer
	t *testing.T
	d *direct
}

func newFleet(t *testing.T) *fleet {
	d := &direct{m: New()}
	return &fleet{NewWriter(d, nil, unsealed{}), t, d}
}

func (f *fleet) read() Reader { return f.d.m.Read() }

func as1(a api.Actor) context.Context {
	return api.WithCaller(context.Background(), api.Caller{Actor: a})
}

// node stores one node as an admin and gives it as it is shown.
func (f *fleet) node(n inventory.ComputeNode) inventory.ComputeNode {
	f.t.Helper()
	if n.Hostname == "" {
		n.Hostname, n.Architecture = "h", "x86_64"
	}
	d, err := f.CreateNodes(asAdmin(), []inventory.ComputeNode{n}, false)
	if err != nil {
		f.t.Fatalf("create %+v: %v", n, err)
	}
	return f.shown(d.Object[0])
}

func (f *fleet) shown(ref string) inventory.ComputeNode {
	f.t.Helper()
	n, ok := f.read().ComputeNode(ref)
	if !ok {
		f.t.Fatalf("no node %s", ref)
	}
	return n
}

// refuses expects a failure of that kind that says so, and nothing stored.
func (f *fleet) refuses(kind api.Kind, saying string, do func() error) {
	f.t.Helper()
	before := f.counts()
	err := do()
	if !api.IsKind(err, kind) || !strings.Contains(err.Error(), saying) {
		f.t.Errorf("got %v; want %s that says %q", err, kind.Code(), saying)
	}
	if after := f.counts(); before != after {
		f.t.Errorf("%q: refused, and yet the tables went from %s to %s", saying, before, after)
	}
}

func (f *fleet) counts() string {
	s := f.d.m.published.Load()
	return fmt.Sprint(computeNodes.size(s), bmcs.size(s), collections.size(s), networks.size(s), staged.size(s))
}

func (f *fleet) create(n ...inventory.ComputeNode) func() error {
	return func() error {
		for k := range n {
			if n[k].Hostname == "" {
				n[k].Hostname, n[k].Architecture = "h", "x86_64"
			}
		}
		_, err := f.CreateNodes(asAdmin(), n, len(n) > 1)
		return err
	}
}

func text(s string) *string { return &s }

func TestNodeIsUniqueByXNameAndMAC(t *testing.T) {
	f := newFleet(t)
	first := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", BootMAC: "02:00:00:00:00:01", NetworkInterfaces: []inventory.NetworkInterface{
		{InterfaceName: "eth0", MACAddress: "02-00-00-00-00-01"}, {InterfaceName: "bond0", MACAddress: "020000000001"}}})
	f.refuses(api.Conflict, "already exists", f.create(inventory.ComputeNode{XName: "x01000c00s0b0n0"}))
	f.refuses(api.Conflict, "already exists", f.create(inventory.ComputeNode{BootMAC: "02:00:00:00:00:01"}))
	f.refuses(api.Conflict, "already exists", f.create(inventory.ComputeNode{NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "a", MACAddress: "0200.0000.0001"}}}))
	f.refuses(api.Conflict, "already exists", f.create(inventory.ComputeNode{Spec: &inventory.NodeSpec{BootMAC: "02:00:00:00:00:01"}}))
	f.refuses(api.Conflict, "already exists", func() error {
		_, err := f.CreateBMC(asAdmin(), inventory.BMC{Username: "u", Password: text("p"), MACAddress: "02:00:00:00:00:01"})
		return err
	})
	f.refuses(api.Conflict, "already exists", f.create(inventory.ComputeNode{BootMAC: "02:00:00:00:00:07",
		BMC: &inventory.BMC{Username: "u", Password: text("p"), MACAddress: "02:00:00:00:00:07"}}))
	for _, none := range []string{"", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"} {
		f.node(inventory.ComputeNode{BootMAC: none})
		f.node(inventory.ComputeNode{BootMAC: none})
	}
	if err := f.deleteNode(first.ID); err != nil {
		t.Fatal(err)
	}
	f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", BootMAC: "02:00:00:00:00:01"}) // free again
}

func (f *fleet) deleteNode(id string) error {
	_, err := f.DeleteNode(asAdmin(), id, 0)
	return err
}

func TestBMCOfANode(t *testing.T) {
	f := newFleet(t)
	a := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"})
	b := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n1"})
	if a.BMC == nil || a.BMC.XName != "x1000c0s0b0" || a.BMC.LocationString != "x1000c0s0b0" || b.BMC == nil || a.BMC.ID != b.BMC.ID {
		t.Fatalf("two nodes of one board have the BMCs %+v and %+v", a.BMC, b.BMC)
	}
	if low := f.node(inventory.ComputeNode{XName: "x052c0s0b0n0"}); low.BMC == nil || low.BMC.XName != "x052c0s0b0" {
		t.Errorf("the BMC of x052c0s0b0n0 is %+v", low.BMC)
	}

	// A posted BMC without an xname keeps none, and no second one is inferred.
	c := f.node(inventory.ComputeNode{XName: "x1000c0s1b0n0", BMC: &inventory.BMC{Username: "root", Password: text("pw"), MACAddress: "02:00:00:00:00:10"}})
	if c.BMC.XName != "" || c.BMC.Username != "root" || c.BMC.Password != nil {
		t.Errorf("the posted BMC is %+v", c.BMC)
	}
	if _, there := f.read().BMC("x1000c0s1b0"); there {
		t.Error("a second BMC was inferred")
	}
	// One with a known MAC or xname is that one.
	d := f.node(inventory.ComputeNode{BMC: &inventory.BMC{MACAddress: "02-00-00-00-00-10"}})
	if d.BMC.ID != c.BMC.ID || d.BMC.Version != c.BMC.Version {
		t.Errorf("the BMC with a known MAC is %+v, want %s in version %d", d.BMC, c.BMC.ID, c.BMC.Version)
	}
	e := f.node(inventory.ComputeNode{BMC: &inventory.BMC{XName: "x1000c0s0b0", Username: "root", Password: text("pw")}})
	if e.BMC.ID != a.BMC.ID || e.BMC.Username != "root" {
		t.Errorf("the BMC with a known xname is %+v, want %s", e.BMC, a.BMC.ID)
	}
	f.refuses(api.Conflict, "already exists", f.create(inventory.ComputeNode{BMC: &inventory.BMC{XName: "x1000c0s0b0", MACAddress: "02:00:00:00:00:10"}}))
	f.refuses(api.Invalid, "", f.create(inventory.ComputeNode{BMC: &inventory.BMC{XName: "x1000c9s0b0"}})) // no credentials
	f.refuses(api.Invalid, "no BMC with this id", f.create(inventory.ComputeNode{BMC: &inventory.BMC{ID: "nobody"}}))

	f.refuses(api.Conflict, "is the BMC of", func() error { _, err := f.DeleteBMC(asAdmin(), c.BMC.ID, 0); return err })
	for _, id := range []string{c.ID, d.ID} {
		if err := f.deleteNode(id); err != nil {
			t.Fatal(err)
		}
	}
	if _, there := f.read().BMC(c.BMC.ID); !there {
		t.Error("a BMC that was posted went with its last node")
	}
	if _, err := f.DeleteBMC(asAdmin(), c.BMC.ID, 0); err != nil {
		t.Error(err)
	}

	implied := f.node(inventory.ComputeNode{XName: "x1000c7s0b0n0"})
	if err := f.deleteNode(implied.ID); err != nil {
		t.Fatal(err)
	}
	if _, there := f.read().BMC("x1000c7s0b0"); there {
		t.Error("a BMC that only a node's xname implied outlived the node")
	}
}

func TestPostedBMCCompletesAnInferredOne(t *testing.T) {
	f := newFleet(t)
	n := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"})
	done, err := f.CreateBMC(asAdmin(), inventory.BMC{XName: "x1000c0s0b0", Username: "root", Password: text("pw")})
	if err != nil || done.Object.ID != n.BMC.ID || done.Object.Username != "root" {
		t.Fatalf("posted: %+v, %v; want BMC %s completed", done.Object, err, n.BMC.ID)
	}
	f.refuses(api.Conflict, "already exists", func() error {
		_, err := f.CreateBMC(asAdmin(), inventory.BMC{XName: "x1000c0s0b0", Username: "root", Password: text("pw")})
		return err
	})
}

func TestArrayOfNodesIsStoredWholeOrNotAtAll(t *testing.T) {
	f := newFleet(t)
	bad := []inventory.ComputeNode{{XName: "x1000c0s0b0n0"}, {XName: "x1000c0s0b0n0"}, {XName: "x1000c0s0b0n1"}, {XName: "x1c300s0b0n0"}, {XName: "x1000c300s0b0n1"}}
	f.refuses(api.Conflict, "nothing was stored", f.create(bad...))
	var e *api.Error
	_ = errors.As(f.create(bad...)(), &e)
	var at []string
	for _, field := range e.Fields {
		at = append(at, field.Pointer+": "+field.Detail)
	}
	if len(at) != 3 || !strings.HasPrefix(at[0], "/1: ") || at[1] != "/3/xname: XName does not match regex" ||
		at[2] != "/4/xname: chassis number 300 exceeds the maximum allowed value of 255" {
		t.Errorf("the items at fault are %q", at)
	}
	done, err := f.CreateNodes(asAdmin(), sampleNodes(0, 3000), true) // more than an entry holds
	if err != nil || len(done.Object) != 3000 || f.shown(done.Object[2999]).Hostname != "lt-002999" {
		t.Fatalf("3000 nodes at once: %d, %v", len(done.Object), err)
	}
	if left := staged.size(f.d.m.published.Load()); left != 0 {
		t.Errorf("%d chunks are left behind", left)
	}
}

func TestObjectsOfACommandAreNeighbours(t *testing.T) {
	seen := map[string]bool{}
	for _, command := range []string{"5f0c6a4e-0000-4000-8000-000000000001", "5f0c6a4e-0000-4000-8000-000000000002", "no uuid"} {
		last := ""
		for _, k := range []int{0, 1, 2, 4095, 4096, 9999, 20_000, 1<<24 - 1} {
			id := objectID(command, k)
			if parsed, err := uuid.Parse(id); err != nil || parsed.Version() != 8 || parsed.Variant() != uuid.RFC4122 {
				t.Errorf("%s is no UUID of version 8: %v", id, err)
			}
			if seen[id] || id <= last || last != "" && id[:13] != last[:13] {
				t.Errorf("object %d of %s is %s, behind %s", k, command, id, last)
			}
			seen[id], last = true, id
		}
	}
	if op := objectID("5f0c6a4e-0000-4000-8000-000000000001", -1); seen[op] || uuid.Validate(op) != nil {
		t.Errorf("the operation is %s", op)
	}
}

func TestReplayedArrayHasItsNodes(t *testing.T) {
	f := newFleet(t)
	ctx := api.WithCaller(context.Background(), api.Caller{Actor: admin, Once: &api.OnceKey{Key: "uid:0 POST /ComputeNode k", Body: []byte{1}}})
	first, err := f.CreateNodes(ctx, sampleNodes(0, 5), true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.CreateNodes(ctx, sampleNodes(0, 5), true)
	if err != nil || !again.Replayed || !slices.Equal(first.Object, again.Object) {
		t.Errorf("the same key again: %v, replayed %v, %v; want %v", again.Object, again.Replayed, err, first.Object)
	}
}

func TestSecretsOfTheFleet(t *testing.T) {
	f := newFleet(t)
	n := f.node(inventory.ComputeNode{BMC: &inventory.BMC{Username: "root", Password: text("pw1")}, Spec: &inventory.NodeSpec{BMCPassword: text("pw2")},
		CloudInit: &inventory.CloudInit{UserData: `"#!"`, MetaData: `{"a":1}`}})
	secrets := func() string {
		s, _ := f.read().NodeSecrets(n.ID)
		return fmt.Sprintf("%s|%s|%s|%s|%s", s.BMCPassword, s.SpecPassword, s.UserData, s.MetaData, s.VendorData)
	}
	all := "sealed bmc.password pw1|sealed compute_node.spec.bmc_password pw2|sealed compute_node.cloud_init_data \"#!\"|sealed compute_node.cloud_init_data {\"a\":1}|"
	if got := secrets(); got != all {
		t.Fatalf("stored: %s", got)
	}
	shown, _ := json.Marshal(f.shown(n.ID))
	if bytes.Contains(shown, []byte("pw")) || bytes.Contains(shown, []byte("cloud_init")) || bytes.Contains(shown, []byte("password")) {
		t.Errorf("shown: %s", shown)
	}
	// What an answer shows, sent back, changes nothing.
	if _, err := f.ReplaceNode(asAdmin(), n.ID, n.Version, f.shown(n.ID)); err != nil || secrets() != all {
		t.Errorf("sent back as it was shown: %v, %s", err, secrets())
	}
	change := f.shown(n.ID)
	if change.Spec != nil {
		t.Errorf("a spec with nothing to show is shown: %+v", change.Spec)
	}
	change.BMC.Password, change.Spec = text("new"), &inventory.NodeSpec{BMCPassword: text("")}
	change.CloudInit = &inventory.CloudInit{MetaData: `{}`, VendorData: `"v"`}
	if _, err := f.ReplaceNode(asAdmin(), n.ID, 0, change); err != nil {
		t.Fatal(err)
	}
	if got, want := secrets(), "sealed bmc.password new||sealed compute_node.cloud_init_data \"#!\"||sealed compute_node.cloud_init_data \"v\""; got != want {
		t.Errorf("changed to %s, want %s", got, want)
	}
	if row, _ := computeNodes.one(f.read(), n.ID); row.Spec != nil {
		t.Errorf("of the spec is left %+v", row.Spec)
	}
	change = f.shown(n.ID)
	change.CloudInit = &inventory.CloudInit{}
	if _, err := f.ReplaceNode(asAdmin(), n.ID, 0, change); err != nil || !strings.HasSuffix(secrets(), "|||") {
		t.Errorf("cloud-init data taken away: %v, %s", err, secrets())
	}
}

func TestStatusBelongsToControllers(t *testing.T) {
	f := newFleet(t)
	controller, user := as1(api.Actor{ID: "jwt:c", Role: api.RoleController}), as1(operator)
	n := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", BMC: &inventory.BMC{XName: "x1000c0s0b0", Username: "root", Password: text("pw")}})
	on := f.shown(n.ID)
	on.Status = &inventory.NodeStatus{PowerState: &inventory.PowerState{On: true, LastUpdated: epoch0}}
	f.refuses(api.Forbidden, "written by controllers", func() error { _, err := f.ReplaceNode(user, n.ID, 0, on); return err })
	if _, err := f.ReplaceNode(controller, n.ID, 0, on); err != nil {
		t.Fatalf("a controller writes the status: %v", err)
	}
	for what, change := range map[string]func(*inventory.ComputeNode){
		"hostname":     func(n *inventory.ComputeNode) { n.Hostname = "other" },
		"user of BMC":  func(n *inventory.ComputeNode) { b := *n.BMC; b.Username = "other"; n.BMC = &b },
		"BMC password": func(n *inventory.ComputeNode) { b := *n.BMC; b.Password = text("other"); n.BMC = &b },
	} {
		c := f.shown(n.ID)
		change(&c)
		f.refuses(api.Forbidden, "may not", func() error { _, err := f.ReplaceNode(controller, n.ID, 0, c); return err })
		_ = what
	}
	renamed := f.shown(n.ID)
	renamed.Hostname, renamed.Status = "renamed", nil // a user that does not mention the status leaves it
	if _, err := f.ReplaceNode(user, n.ID, 0, renamed); err != nil {
		t.Fatal(err)
	}
	if got := f.shown(n.ID); got.Hostname != "renamed" || got.Status == nil || !got.Status.PowerState.On {
		t.Errorf("after the user's change: %+v, status %+v", got, got.Status)
	}
	f.refuses(api.Forbidden, "may not", func() error { _, err := f.CreateNodes(controller, []inventory.ComputeNode{renamed}, false); return err })
	f.refuses(api.Forbidden, "may not", func() error {
		_, err := f.CreateNodes(as1(viewer), []inventory.ComputeNode{{Hostname: "a", Architecture: "b"}}, false)
		return err
	})
}

func TestVersionsOfTheFleet(t *testing.T) {
	f := newFleet(t)
	n := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"})
	if n.Version != 1 {
		t.Fatalf("the first version is %d", n.Version)
	}
	if _, err := f.ReplaceNode(asAdmin(), n.ID, 1, n); err != nil || f.shown(n.ID).Version != 2 || f.shown(n.ID).CreatedAt != n.CreatedAt {
		t.Errorf("replaced: %v, %+v", err, f.shown(n.ID))
	}
	f.refuses(api.Precondition, "version is 2", func() error { _, err := f.ReplaceNode(asAdmin(), n.ID, 1, n); return err })
	f.refuses(api.Precondition, "version is 2", func() error { _, err := f.DeleteNode(asAdmin(), n.ID, 1); return err })
	f.refuses(api.NotFound, "not found", func() error { _, err := f.ReplaceNode(asAdmin(), "x", 0, n); return err })
}

func TestCollections(t *testing.T) {
	f := newFleet(t)
	make := func(name string, typ inventory.CollectionType, nodes ...string) (inventory.NodeCollection, error) {
		d, err := f.CreateCollection(as1(api.Actor{ID: "jwt:alice", Role: api.RoleOperator}), inventory.NodeCollection{Name: name, Type: typ, Nodes: nodes})
		return d.Object, err
	}
	must := func(c inventory.NodeCollection, err error) inventory.NodeCollection {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	p1 := must(make("Partition 1", inventory.Partition, "x1000c0s0b0n0", "X01000c0s0b0n0", "x1000c0s0b0n1"))
	stored, _ := f.read().Collection(p1.ID) // the answer leaves out what is in it
	if p1.CreatorSubject != "alice" || !slices.Equal(stored.Nodes, []string{"x1000c0s0b0n0", "x1000c0s0b0n1"}) {
		t.Errorf("stored: %+v, answered %+v", stored, p1)
	}
	must(make("t1", inventory.Tenant, "x1000c0s0b0n0")) // one of each is fine
	must(make("j1", inventory.Job, "x1000c0s0b0n0"))
	must(make("j2", inventory.Job, "x1000c0s0b0n0")) // jobs overlap freely
	for _, typ := range []inventory.CollectionType{inventory.Partition, inventory.Tenant} {
		f.refuses(api.Conflict, "node x1000c0s0b0n0 is already assigned to another collection", func() error { _, err := make("again", typ, "x1000c0s0b0n0"); return err })
	}
	f.refuses(api.Conflict, "already exists", func() error { _, err := make("t1", inventory.Job); return err })
	f.refuses(api.Invalid, "not valid", func() error { _, err := make("bad", "zoo", "nonsense"); return err })
	f.refuses(api.Invalid, "not valid", func() error { _, err := make(p1.ID, inventory.Job); return err })

	p1.Nodes = []string{"x1000c0s0b0n1"} // freed on update
	must2(t)(f.ReplaceCollection(asAdmin(), p1.ID, p1.Version, p1))
	p2 := must(make("Partition 2", inventory.Partition, "x1000c0s0b0n0"))
	if _, err := f.DeleteCollection(asAdmin(), p2.ID, 0); err != nil { // and on delete
		t.Fatal(err)
	}
	must(make("Partition 3", inventory.Partition, "x1000c0s0b0n0"))
	if got, ok := f.read().Collection("Partition 1"); !ok || got.ID != p1.ID {
		t.Errorf("by name: %+v, %v", got, ok)
	}
	var names []string
	for c := range f.read().CollectionsOf("X1000C0S0B0N0") {
		names = append(names, c.Name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"Partition 3", "j1", "j2", "t1"}) {
		t.Errorf("the node is in %q", names)
	}
}

func must2(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTenantsKeepTheirHandsOffEachOther(t *testing.T) {
	f := newFleet(t)
	mine, theirs := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0"}), f.node(inventory.ComputeNode{XName: "x1000c0s0b1n0"})
	free := f.node(inventory.ComputeNode{XName: "x1000c0s0b2n0"})
	for name, x := range map[string]string{"ours": mine.XName, "others": theirs.XName} {
		must2(t)(f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: name, Type: inventory.Tenant, Nodes: []string{x}}))
	}
	tenant := as1(api.Actor{ID: "jwt:t", Role: api.RoleAdmin, Tenant: "ours"})
	replace := func(n inventory.ComputeNode) error { _, err := f.ReplaceNode(tenant, n.ID, 0, n); return err }
	if err := errors.Join(replace(mine), replace(free)); err != nil {
		t.Errorf("what is ours, or nobody's: %v", err)
	}
	f.refuses(api.Forbidden, "belongs to tenant", func() error { return replace(theirs) })
	f.refuses(api.Forbidden, "belongs to tenant", func() error { _, err := f.DeleteNode(tenant, theirs.ID, 0); return err })
	moved := free
	moved.XName = theirs.XName
	f.refuses(api.Forbidden, "belongs to tenant", func() error { return replace(moved) })
	f.refuses(api.Forbidden, "belongs to tenant", func() error {
		_, err := f.ReplaceBMC(tenant, theirs.BMC.ID, 0, *theirs.BMC)
		return err
	})
	others, _ := f.read().Collection("others")
	f.refuses(api.Forbidden, "bound to another tenant", func() error { _, err := f.DeleteCollection(tenant, others.ID, 0); return err })
	f.refuses(api.Forbidden, "bound to another tenant", func() error {
		_, err := f.CreateCollection(tenant, inventory.NodeCollection{Name: "third", Type: inventory.Tenant})
		return err
	})
}

func TestAllocateAddress(t *testing.T) {
	f := newFleet(t)
	must2(t)(f.CreateNetwork(asAdmin(), api.NetworkCreate{Name: "lan", NetworkShape: api.NetworkShape{CIDR: "10.0.0.0/29", Gateway: "10.0.0.1"}}))
	f.node(inventory.ComputeNode{BootIPv4: "10.0.0.3"}) // a static one is not allotted
	n := f.node(inventory.ComputeNode{NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "a", MACAddress: "02:00:00:00:00:01"},
		{InterfaceName: "b", MACAddress: "02:00:00:00:00:02"}, {InterfaceName: "c", MACAddress: "02:00:00:00:00:03"},
		{InterfaceName: "d", MACAddress: "02:00:00:00:00:04"}, {InterfaceName: "e", MACAddress: "02:00:00:00:00:05"}}})
	for k, want := range []string{"10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"} {
		must2(t)(f.AllocateAddress(asAdmin(), n.ID, k, "lan"))
		if got := f.shown(n.ID).NetworkInterfaces[k].IPv4Address; got != want {
			t.Errorf("interface %d got %s, want %s", k, got, want)
		}
	}
	f.refuses(api.NoCapacity, "no free address", func() error { _, err := f.AllocateAddress(asAdmin(), n.ID, 4, "lan"); return err })
	before := f.shown(n.ID).Version
	must2(t)(f.AllocateAddress(asAdmin(), n.ID, 0, "lan")) // it keeps what it has
	if got := f.shown(n.ID); got.Version != before || got.NetworkInterfaces[0].IPv4Address != "10.0.0.2" {
		t.Errorf("asked again: %+v", got)
	}
	f.refuses(api.NotFound, "no number 9", func() error { _, err := f.AllocateAddress(asAdmin(), n.ID, 9, "lan"); return err })
	f.refuses(api.NotFound, "no network", func() error { _, err := f.AllocateAddress(asAdmin(), n.ID, 0, "wan"); return err })
	if err := f.deleteNode(n.ID); err != nil {
		t.Fatal(err)
	}
	m := f.node(inventory.ComputeNode{NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "a", MACAddress: "02:00:00:00:00:01"}}})
	must2(t)(f.AllocateAddress(asAdmin(), m.ID, 0, "lan"))
	if got := f.shown(m.ID).NetworkInterfaces[0].IPv4Address; got != "10.0.0.2" {
		t.Errorf("a freed address is not allotted again: got %s", got)
	}
	must2(t)(f.CreateNetwork(asAdmin(), api.NetworkCreate{Name: "six", NetworkShape: api.NetworkShape{CIDR: "fd00:1::/64", First: "fd00:1::10"}}))
	must2(t)(f.AllocateAddress(asAdmin(), m.ID, 0, "six"))
	if got := f.shown(m.ID).NetworkInterfaces[0].IPv6Address; got != "fd00:1::10" {
		t.Errorf("IPv6: got %s", got)
	}
}

func TestNetworkRange(t *testing.T) {
	for _, c := range []struct{ cidr, first, last, lowest, highest, fault string }{
		{"10.0.0.0/24", "", "", "10.0.0.1", "10.0.0.254", ""},
		{"10.0.0.0/31", "", "", "10.0.0.0", "10.0.0.1", ""},
		{"10.0.0.7/32", "", "", "10.0.0.7", "10.0.0.7", ""},
		{"fd00::/126", "", "", "fd00::1", "fd00::3", ""},
		{"10.0.0.0/24", "10.0.0.10", "10.0.0.20", "10.0.0.10", "10.0.0.20", ""},
		{"10.0.0.0/24", "10.0.0.20", "10.0.0.10", "", "", "/last"},
		{"10.0.0.0/24", "10.0.1.1", "", "", "", "/first"},
		{"10.0.0.1/24", "", "", "", "", "/cidr"},
		{"::ffff:10.0.0.0/120", "", "", "", "", "/cidr"}, // IPv4 in the dress of IPv6: nobody would find what is taken
		{"lan", "", "", "", "", "/cidr"},
	} {
		shape := api.NetworkShape{CIDR: c.cidr, First: c.first, Last: c.last}
		faults := networkFaults(New().Read(), api.NetworkCreate{Name: "n", NetworkShape: shape})
		if c.fault != "" {
			if len(faults) != 1 || faults[0].Pointer != c.fault {
				t.Errorf("%+v: faults %+v", c, faults)
			}
			continue
		}
		first, last := allottable(shape, netip.MustParsePrefix(c.cidr))
		if len(faults) > 0 || first.String() != c.lowest || last.String() != c.highest {
			t.Errorf("%+v: %s to %s, %+v", c, first, last, faults)
		}
	}
}

func TestNodeFilters(t *testing.T) {
	f := newFleet(t)
	a := f.node(inventory.ComputeNode{Hostname: "a", Architecture: "arm64", XName: "x1000c0s0b0n0", BootMAC: "02:00:00:00:00:01", BootIPv4: "10.0.0.1"})
	b := f.node(inventory.ComputeNode{Hostname: "b", Architecture: "arm64", BMC: &inventory.BMC{Username: "u", Password: text("p"), MACAddress: "02:00:00:00:00:02"},
		NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "x", MACAddress: "02:00:00:00:00:03", IPv6Address: "fd00::1"}}})
	for _, c := range []struct {
		filter inventory.NodeFilter
		want   []string
	}{
		{inventory.NodeFilter{}, []string{a.ID, b.ID}},
		{inventory.NodeFilter{XName: "X1000c0s0b0n00"}, []string{a.ID}},
		{inventory.NodeFilter{XName: "x1000c0s0b0n0", Hostname: "b"}, nil},
		{inventory.NodeFilter{Hostname: "b"}, []string{b.ID}},
		{inventory.NodeFilter{Arch: "arm64"}, []string{a.ID, b.ID}},
		{inventory.NodeFilter{BootMAC: "02-00-00-00-00-01"}, []string{a.ID}},
		{inventory.NodeFilter{BootMAC: "02:00:00:00:00:03"}, nil}, // that of an interface
		{inventory.NodeFilter{BootMAC: "nonsense"}, nil},
		{inventory.NodeFilter{BMCMAC: "02:00:00:00:00:02"}, []string{b.ID}},
		{inventory.NodeFilter{MissingIPv4: true}, []string{b.ID}},
		{inventory.NodeFilter{MissingIPv6: true}, []string{a.ID}},
		{inventory.NodeFilter{MissingIPv4: true, MissingIPv6: true}, nil},
	} {
		var got []string
		for n := range f.read().ComputeNodes(c.filter, "") {
			got = append(got, n.ID)
		}
		slices.Sort(got)
		if slices.Sort(c.want); !slices.Equal(got, c.want) {
			t.Errorf("%+v selects %v, want %v", c.filter, got, c.want)
		}
	}
}

func TestStagedChunks(t *testing.T) {
	f := newFleet(t)
	f.d.lose, f.d.lost = 2, true // nobody takes back what was staged
	if _, err := f.CreateNodes(asAdmin(), sampleNodes(0, 2500), true); err == nil {
		t.Fatal("a lost chunk went unnoticed")
	}
	s := f.d.m.published.Load()
	if computeNodes.size(s) != 0 || staged.size(s) == 0 {
		t.Fatalf("%d nodes and %d chunks are there", computeNodes.size(s), staged.size(s))
	}
	f.d.lose, f.d.lost = 0, false
	if f.read().SweepDue() {
		t.Error("chunks are swept at once")
	}
	f.d.skip = chunkLife + time.Minute
	if err := f.Sweep(as1(ActorOfPeer("p"))); err != nil {
		t.Fatal(err)
	}
	if left := staged.size(f.d.m.published.Load()); left != 0 {
		t.Errorf("%d chunks were not swept after %v", left, chunkLife)
	}
	if _, err := f.CreateNodes(asAdmin(), sampleNodes(0, 2500), true); err != nil {
		t.Errorf("sent again: %v", err)
	}
}

// TestChunksAreTakenBack when one of them is lost; a client that comes again with its key is
// heard.
func TestChunksAreTakenBack(t *testing.T) {
	f := newFleet(t)
	begin, err := encode(Meta{Type: initCluster, V: 1, ID: uuid.NewString(), Actor: ActorOfPeer("a")}, clusterInit{Peer: testPeer("a"),
		Settings: map[string]string{SettingCluster: "c", SettingLevel: strconv.FormatUint(highestLevel, 10)}, Keys: map[string]map[string][]byte{KeyCA: {"a": {1}}}})
	if err == nil {
		_, err = f.d.Propose(t.Context(), begin)
	}
	if err != nil || f.read().Level() != highestLevel {
		t.Fatalf("a cluster at the newest level: %v, it is at %d", err, f.read().Level())
	}
	keyed := api.WithCaller(context.Background(), api.Caller{Actor: admin, Once: &api.OnceKey{Key: "uid:0 POST /ComputeNode k", Body: []byte{1}}})
	for lose := range 3 {
		f.d.lose = lose + 1
		if _, err := f.CreateNodes(keyed, sampleNodes(0, 2500), true); err == nil {
			t.Fatal("a lost chunk went unnoticed")
		}
		if left := staged.size(f.d.m.published.Load()); left != 0 {
			t.Errorf("%d chunks are left behind", left)
		}
	}
	if done, err := f.CreateNodes(keyed, sampleNodes(0, 2500), true); err != nil || done.Replayed {
		t.Errorf("sent again: %v, replayed %v", err, done.Replayed)
	}
}

// What came in chunks leaves none behind, whatever becomes of it.
func TestChunksGoWithTheirCommand(t *testing.T) {
	f := newFleet(t)
	keyed := api.WithCaller(context.Background(), api.Caller{Actor: admin, Once: &api.OnceKey{Key: "uid:0 POST /ComputeNode k", Body: []byte{1}}})
	for _, do := range []struct {
		what     string
		ctx      context.Context
		replayed bool
		refused  api.Kind
	}{
		{"stored", keyed, false, api.Internal},
		{"known by its key", keyed, true, api.Internal},
		{"refused", asAdmin(), false, api.Conflict},
		{"forbidden", as1(api.Actor{ID: "token:v", Role: api.RoleViewer}), false, api.Forbidden},
	} {
		done, err := f.CreateNodes(do.ctx, sampleNodes(0, 2500), true)
		if do.refused != api.Internal && !api.IsKind(err, do.refused) || do.refused == api.Internal && (err != nil || done.Replayed != do.replayed) {
			t.Errorf("%s: replayed %v, %v", do.what, done.Replayed, err)
		}
		if left := staged.size(f.d.m.published.Load()); left != 0 {
			t.Errorf("%s: %d chunks are left behind", do.what, left)
		}
	}
	if err := f.d.m.Verify(); err != nil {
		t.Error(err)
	}
}

func TestSampleFleet(t *testing.T) {
	f, before := newFleet(t), 0
	for _, file := range []string{"../test/oldclient/data/computenode.json", "../test/oldclient/data/fake_compute_nodes.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var nodes []inventory.ComputeNode
		if err := json.Unmarshal(b, &nodes); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			f.node(n)
		}
		if got := computeNodes.size(f.d.m.published.Load()); got != before+len(nodes) {
			t.Errorf("%s: %d nodes stored of %d", file, got-before, len(nodes))
		} else {
			before = got
		}
	}
}

func TestNodesAtAnAddress(t *testing.T) {
	f := newFleet(t)
	at := func(addr string) (ids []string) {
		for n := range f.read().NodesAt(netip.MustParseAddr(addr)) {
			ids = append(ids, n.ID)
		}
		return ids
	}
	a := f.node(inventory.ComputeNode{BootIPv4: "10.0.0.1", NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "a", MACAddress: "02:00:00:00:00:01",
		IPv4Address: "10.0.0.1", IPv6Address: "fd00::0001"}}})
	if got := at("10.0.0.1"); !slices.Equal(got, []string{a.ID}) || !slices.Equal(at("fd00::1"), got) || !slices.Equal(at("::ffff:10.0.0.1"), got) {
		t.Errorf("at its addresses: %v, %v", got, at("fd00::1"))
	}
	b := f.node(inventory.ComputeNode{BootIPv4: "10.0.0.1"})
	if got := at("10.0.0.1"); len(got) != 2 {
		t.Errorf("two nodes at one address: %v", got)
	}
	if err := f.deleteNode(b.ID); err != nil {
		t.Fatal(err)
	}
	if got := at("10.0.0.1"); !slices.Equal(got, []string{a.ID}) {
		t.Errorf("one of them gone: %v", got)
	}
	if got := at("10.0.0.9"); got != nil {
		t.Errorf("at an address of nobody: %v", got)
	}
	f.node(inventory.ComputeNode{BMC: &inventory.BMC{Username: "u", Password: text("p"), IPv4Address: "10.0.0.9"}})
	if got := at("10.0.0.9"); got != nil {
		t.Errorf("at the address of a BMC: %v", got)
	}
}

func TestNameOfACollectionIsNotEndless(t *testing.T) {
	f := newFleet(t)
	f.refuses(api.Invalid, "not valid", func() error {
		_, err := f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: strings.Repeat("n", maxName+1), Type: inventory.AdHoc})
		return err
	})
	must2(t)(f.CreateCollection(asAdmin(), inventory.NodeCollection{Name: strings.Repeat("ü", maxName/2), Type: inventory.AdHoc}))
}
