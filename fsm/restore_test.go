package fsm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/snapshot"
)

// past is a cluster with a snapshot, from which stories about rollbacks begin.
type past struct {
	*log
	w      *Writer
	folder *snapshot.Folder
}

// newPast makes a cluster, lets it become what it was at the snapshot, and takes that.
func newPast(t *testing.T, was func(p *past)) *past {
	t.Helper()
	p := &past{log: newLog(t, "a")}
	p.w = NewWriter(atOnce{p.log}, nil, marking{})
	was(p)
	p.folder = tablesOf(t, p.m.published.Load())
	return p
}

func (p *past) node(name string, n inventory.ComputeNode) string {
	p.t.Helper()
	n.Hostname, n.Architecture = name, "x86_64"
	done, err := p.w.CreateNodes(asAdmin(), []inventory.ComputeNode{n}, false)
	if err != nil {
		p.t.Fatal(err)
	}
	return done.Object[0]
}

func (p *past) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *past) difference() *Difference {
	p.t.Helper()
	d, err := p.m.Read().Difference(p.folder)
	p.do(err)
	return d
}

// refusedAfter computes the difference, lets something happen, and expects that the
// rollback is refused with these words, with nothing changed.
func (p *past) refusedAfter(change func(), words string) {
	p.t.Helper()
	d := p.difference()
	change()
	before := p.m.published.Load()
	_, err := p.w.RestoreState(asAdmin(), d)
	if !api.IsKind(err, api.Conflict) || !strings.Contains(err.Error(), words) {
		p.t.Errorf("got %v, want a conflict that says %q", err, words)
	}
	for _, table := range tables {
		if table != anyTable(requests) && table.rehash(before) != table.rehash(p.m.published.Load()) {
			p.t.Errorf("it was refused, and table %s changed", table.label())
		}
	}
	if d = p.difference(); !d.Empty() { // and compared anew it goes through
		_, err := p.w.RestoreState(asAdmin(), d)
		p.do(err)
	}
}

func TestRollbackTellsWhatItDoes(t *testing.T) {
	var kept, goes string
	p := newPast(t, func(p *past) {
		kept = p.node("kept", inventory.ComputeNode{XName: "x1000c0s0b0n0"})
		goes = p.node("goes", inventory.ComputeNode{})
	})
	p.do(errorOf(p.w.DeleteNode(asAdmin(), goes, 0)))
	p.do(errorOf(p.w.ReplaceNode(asAdmin(), kept, 0, inventory.ComputeNode{Hostname: "renamed", Architecture: "x86_64", XName: "x1000c0s0b0n0"})))
	p.node("new", inventory.ComputeNode{XName: "x2000c0s0b0n0"})
	d := p.difference()
	want := []api.TableDifference{{Table: "compute_nodes", Create: 1, Update: 1, Delete: 1}, {Table: "bmcs", Delete: 1}}
	if !reflect.DeepEqual(d.Tables, want) {
		t.Errorf("got %+v, want %+v", d.Tables, want)
	}
	p.at = p.at.Add(time.Hour)
	done, err := p.w.RestoreState(asAdmin(), d)
	if err != nil || done.Index != p.m.Index() {
		t.Errorf("rolled back at %d: %v, want %d", done.Index, err, p.m.Index())
	}
	n, _ := p.m.Read().ComputeNode(kept)
	if n.Hostname != "kept" || n.Version != 3 || !n.UpdatedAt.Equal(p.m.Time()) || n.CreatedAt.Equal(n.UpdatedAt) {
		t.Errorf("the node is %+v, want it as it was, under version 3, changed now", n)
	}
}

// TestRowThatComesBackHasANewVersion: who saw one of the versions that it had in between
// does not overwrite what he never saw.
func TestRowThatComesBackHasANewVersion(t *testing.T) {
	var id string
	p := newPast(t, func(p *past) {
		p.raise("a")
		id = p.node("n", inventory.ComputeNode{})
	})
	for range 5 {
		p.do(errorOf(p.w.ReplaceNode(asAdmin(), id, 0, inventory.ComputeNode{Hostname: "seen", Architecture: "x86_64"})))
	}
	last, _ := p.m.Read().ComputeNode(id)
	p.do(errorOf(p.w.DeleteNode(asAdmin(), id, 0)))
	p.do(errorOf(p.w.RestoreState(asAdmin(), p.difference())))
	if n, there := p.m.Read().ComputeNode(id); !there || n.Hostname != "n" || n.Version <= last.Version {
		t.Errorf("there %v: %q in version %d, want n in a version above %d", there, n.Hostname, n.Version, last.Version)
	}
}

func errorOf[T any](_ Done[T], err error) error { return err }

// TestNothingToRollBack: rows that differ in nothing but their stamps are alike,
// and without a difference nothing is written.
func TestNothingToRollBack(t *testing.T) {
	var id string
	p := newPast(t, func(p *past) { id = p.node("n", inventory.ComputeNode{}) })
	p.do(errorOf(p.w.ReplaceNode(asAdmin(), id, 0, inventory.ComputeNode{Hostname: "other", Architecture: "x86_64"})))
	p.do(errorOf(p.w.ReplaceNode(asAdmin(), id, 0, inventory.ComputeNode{Hostname: "n", Architecture: "x86_64"})))
	d, before := p.difference(), p.m.Index()
	done, err := p.w.RestoreState(asAdmin(), d)
	if !d.Empty() || err != nil || done.Index != before || p.m.Index() != before {
		t.Errorf("the difference is %v, it took effect at %d (%v), the log went from %d to %d", d.Tables, done.Index, err, before, p.m.Index())
	}
}

func TestWhoMayRollBack(t *testing.T) {
	p := newPast(t, func(p *past) {})
	p.node("n", inventory.ComputeNode{})
	d := p.difference()
	for _, who := range []api.Actor{operator, viewer, ActorOfPeer("a"), {ID: "x", Role: api.RoleController}, {ID: "x", Role: api.RoleAdmin, Account: "default"},
		{ID: "x", Role: api.RoleAdmin, Tenant: "t"}, {ID: "x", Role: api.RoleAdmin, Partition: "p"}} {
		p.refused(api.Forbidden, who, restoreState, d.command)
	}
	p.must(admin, restoreState, d.command)
}

// TestRollbackIsRefused: each sort of change that contradicts a rollback stops it,
// and one that is compared anew goes through.
func TestRollbackIsRefused(t *testing.T) {
	someBMC := func() *inventory.BMC {
		return &inventory.BMC{Username: "root", Password: new("p"), MACAddress: "02:00:00:00:00:01"}
	}
	t.Run("a row that it touches", func(t *testing.T) {
		p := newPast(t, func(*past) {})
		id := p.node("n", inventory.ComputeNode{})
		p.refusedAfter(func() {
			p.do(errorOf(p.w.ReplaceNode(asAdmin(), id, 0, inventory.ComputeNode{Hostname: "m", Architecture: "x86_64"})))
		}, `the row "`+id+`" of compute_nodes is no longer what it was`)
	})
	t.Run("a row that it touches is gone", func(t *testing.T) {
		p := newPast(t, func(*past) {})
		id := p.node("n", inventory.ComputeNode{})
		p.refusedAfter(func() { p.do(errorOf(p.w.DeleteNode(asAdmin(), id, 0))) }, `the row "`+id+`" of compute_nodes is no longer`)
	})
	t.Run("a name is taken", func(t *testing.T) {
		var id string
		p := newPast(t, func(p *past) {
			d, err := p.w.CreateCollection(asAdmin(), inventory.NodeCollection{Name: "c", Type: inventory.AdHoc})
			p.do(err)
			id = d.Object.ID
		})
		p.do(errorOf(p.w.DeleteCollection(asAdmin(), id, 0)))
		p.refusedAfter(func() {
			p.do(errorOf(p.w.CreateCollection(asAdmin(), inventory.NodeCollection{Name: "c", Type: inventory.AdHoc})))
		}, `the name "c" of the row "`+id+`" of node_collections is that of`)
	})
	t.Run("a node is another tenant's", func(t *testing.T) {
		var id string
		tenant := func(name string) inventory.NodeCollection {
			return inventory.NodeCollection{Name: name, Type: inventory.Tenant, Nodes: []string{"x1000c0s0b0n0"}}
		}
		p := newPast(t, func(p *past) {
			d, err := p.w.CreateCollection(asAdmin(), tenant("blue"))
			p.do(err)
			id = d.Object.ID
		})
		p.do(errorOf(p.w.DeleteCollection(asAdmin(), id, 0)))
		p.refusedAfter(func() { p.do(errorOf(p.w.CreateCollection(asAdmin(), tenant("red")))) },
			`already assigned to another collection: "red"`)
	})
	t.Run("a BMC that goes is a node's", func(t *testing.T) {
		p := newPast(t, func(*past) {})
		d, err := p.w.CreateBMC(asAdmin(), *someBMC())
		p.do(err)
		p.refusedAfter(func() { p.node("n", inventory.ComputeNode{BMC: &inventory.BMC{ID: d.Object.ID}}) }, "it is the BMC of ComputeNode")
	})
	t.Run("a BMC is gone", func(t *testing.T) {
		var board, id string
		p := newPast(t, func(p *past) {
			d, err := p.w.CreateBMC(asAdmin(), *someBMC())
			p.do(err)
			board = d.Object.ID
			id = p.node("n", inventory.ComputeNode{BMC: &inventory.BMC{ID: board}})
		})
		p.do(errorOf(p.w.DeleteNode(asAdmin(), id, 0)))
		p.refusedAfter(func() { p.do(errorOf(p.w.DeleteBMC(asAdmin(), board, 0))) }, "its BMC "+board+" is not there")
	})
	t.Run("a MAC address is a BMC's", func(t *testing.T) {
		var id string
		p := newPast(t, func(p *past) { id = p.node("n", inventory.ComputeNode{BootMAC: "02:00:00:00:00:01"}) })
		p.do(errorOf(p.w.DeleteNode(asAdmin(), id, 0)))
		p.refusedAfter(func() { p.do(errorOf(p.w.CreateBMC(asAdmin(), *someBMC()))) }, "a BMC with the MAC address")
	})
	t.Run("an IP address is allotted", func(t *testing.T) {
		port := []inventory.NetworkInterface{{InterfaceName: "eth0"}}
		var id, other string
		p := newPast(t, func(p *past) {
			p.do(errorOf(p.w.CreateNetwork(asAdmin(), api.NetworkCreate{Name: "net", NetworkShape: api.NetworkShape{CIDR: "10.0.0.0/29"}})))
			other = p.node("other", inventory.ComputeNode{NetworkInterfaces: port})
			id = p.node("n", inventory.ComputeNode{NetworkInterfaces: port, BootIPv4: "10.0.0.2"})
			p.do(errorOf(p.w.AllocateAddress(asAdmin(), id, 0, "net")))
		})
		p.do(errorOf(p.w.DeleteNode(asAdmin(), id, 0)))
		p.refusedAfter(func() { p.do(errorOf(p.w.AllocateAddress(asAdmin(), other, 0, "net"))) }, "the IP address 10.0.0.1 of the row")
	})
	t.Run("a VM boots from an image that goes", func(t *testing.T) {
		p := newPast(t, func(*past) {})
		p.do(errorOf(p.w.CreateImage(asAdmin(), "", api.ImageCreate{Name: "im", Kind: "disk", Path: "/im"})))
		p.refusedAfter(func() {
			vm := small("v")
			vm.Spec.Image = "im"
			p.must(operator, createVM, vmCreate{VM: vm, Candidates: []string{"a"}})
		}, "VM default/v boots from it")
	})
	t.Run("a component was made of a node that goes", func(t *testing.T) {
		p := newPast(t, func(*past) {})
		p.node("n", inventory.ComputeNode{XName: "x1000c0s0b0n0"})
		p.refusedAfter(func() {
			p.must(admin, patchComponents, componentsPatch{Changes: []componentPatch{{ID: "x1000c0s0b0n0", State: new("Ready")}}})
		}, "component x1000c0s0b0n0 would be left of it")
	})
	t.Run("an endpoint is gone", func(t *testing.T) {
		put := endpointPut{Endpoint: redfishEndpoint{ID: "x1000c0s0b0"}, Endpoints: []componentEndpoint{{ID: "x1000c0s0b0n0"}}}
		p := newPast(t, func(p *past) { p.must(admin, putEndpoint, put) })
		p.must(admin, deleteComponentEndpoints, removal{All: true})
		p.refusedAfter(func() { p.must(admin, deleteEndpoints, removal{All: true}) }, "its RedfishEndpoint x1000c0s0b0 is not there")
	})
	t.Run("a component is said to be behind an endpoint that goes", func(t *testing.T) {
		put := endpointPut{Endpoint: redfishEndpoint{ID: "x1000c0s0b0"}, Endpoints: []componentEndpoint{{ID: "x1000c0s0b0n0"}}}
		p := newPast(t, func(*past) {})
		p.must(admin, putEndpoint, endpointPut{Endpoint: put.Endpoint})
		put.Replace = true
		p.refusedAfter(func() { p.must(admin, putEndpoint, put) }, "ComponentEndpoint x1000c0s0b0n0 is behind it")
	})
	t.Run("an interface is another's", func(t *testing.T) {
		ofNode := ethernetInterface{ID: "02:00:00:00:00:01", ComponentID: "x1000c0s0b0n0"}
		p := newPast(t, func(p *past) { p.must(admin, createInterface, ofNode) })
		p.must(admin, deleteInterfaces, removal{All: true})
		p.refusedAfter(func() { p.node("n", inventory.ComputeNode{XName: "x9000c0s0b0n0", BootMAC: ofNode.ID}) }, "is that of ComputeNode")
	})
}

// TestRollbackLetsOthersBe: what changes meanwhile and has nothing to do with it stays.
func TestRollbackLetsOthersBe(t *testing.T) {
	var same, goes string
	p := newPast(t, func(p *past) {
		same = p.node("same", inventory.ComputeNode{})
		goes = p.node("goes", inventory.ComputeNode{BootIPv4: "10.0.0.1"})
		p.node("shares", inventory.ComputeNode{BootIPv4: "10.0.0.1"}) // as it may, and it goes on doing so
	})
	p.do(errorOf(p.w.DeleteNode(asAdmin(), goes, 0)))
	d := p.difference()
	p.do(errorOf(p.w.ReplaceNode(asAdmin(), same, 0, inventory.ComputeNode{Hostname: "busy", Architecture: "x86_64"})))
	fresh := p.node("fresh", inventory.ComputeNode{})
	_, err := p.w.RestoreState(asAdmin(), d)
	p.do(err)
	for id, want := range map[string]string{same: "busy", goes: "goes", fresh: "fresh"} {
		if n, ok := p.m.Read().ComputeNode(id); !ok || n.Hostname != want {
			t.Errorf("got node %q (there: %v), want %q", n.Hostname, ok, want)
		}
	}
}

// TestRollbackSwapsWhatIsUnique: what two rows exchanged they exchange back.
func TestRollbackSwapsWhatIsUnique(t *testing.T) {
	var one, two string
	p := newPast(t, func(p *past) {
		one = p.node("one", inventory.ComputeNode{XName: "x1000c0s0b0n0", BootMAC: "02:00:00:00:00:01"})
		two = p.node("two", inventory.ComputeNode{XName: "x2000c0s0b0n0", BootMAC: "02:00:00:00:00:02"})
		p.must(admin, putComponents, componentsPut{Components: []component{{ID: "x1000c0s0b0n0", NID: new(int64(1))}, {ID: "x2000c0s0b0n0", NID: new(int64(2))}}})
	})
	for _, id := range []string{one, two} {
		p.do(errorOf(p.w.DeleteNode(asAdmin(), id, 0)))
	}
	p.node("two", inventory.ComputeNode{XName: "x1000c0s0b0n0", BootMAC: "02:00:00:00:00:02"})
	p.node("one", inventory.ComputeNode{XName: "x2000c0s0b0n0", BootMAC: "02:00:00:00:00:01"})
	p.must(admin, patchComponents, componentsPatch{Changes: []componentPatch{{ID: "x1000c0s0b0n0", NID: new(int64(2))}, {ID: "x2000c0s0b0n0", NID: new(int64(1))}}})
	_, err := p.w.RestoreState(asAdmin(), p.difference())
	p.do(err)
	for place, want := range map[string]string{"x1000c0s0b0n0": one, "x2000c0s0b0n0": two} {
		if n, _ := p.m.Read().ComputeNode(place); n.ID != want {
			t.Errorf("at %s stands %s, want %s", place, n.ID, want)
		}
	}
	if c, _ := p.m.Read().ComponentByNID(1); c.ID != "x1000c0s0b0n0" || !p.difference().Empty() {
		t.Errorf("NID 1 is that of %s, want x1000c0s0b0n0; still to do: %v", c.ID, p.difference().Tables)
	}
}

// TestSecretsSurviveARollback: what is sealed comes back as the same bytes.
func TestSecretsSurviveARollback(t *testing.T) {
	var id string
	p := newPast(t, func(p *past) {
		id = p.node("n", inventory.ComputeNode{XName: "x1000c0s0b0n0", BMC: &inventory.BMC{Username: "root", Password: new("first"), XName: "x1000c0s0b0"},
			CloudInit: &inventory.CloudInit{UserData: `{"a":1}`}, Spec: &inventory.NodeSpec{BMCUsername: "u", BMCPassword: new("spec")}})
		p.must(admin, putEndpoint, endpointPut{Endpoint: redfishEndpoint{ID: "x3000c0s0b0"}, Password: secretWrite{Given: true, Sealed: []byte("endpoint")}})
	})
	was, _ := p.m.Read().NodeSecrets(id)
	p.do(errorOf(p.w.ReplaceBMC(asAdmin(), was.BMC, 0, inventory.BMC{Username: "root", Password: new("second"), XName: "x1000c0s0b0"})))
	p.do(errorOf(p.w.DeleteNode(asAdmin(), id, 0)))
	p.must(admin, deleteEndpoints, removal{All: true})
	_, err := p.w.RestoreState(asAdmin(), p.difference())
	p.do(err)
	is, _ := p.m.Read().NodeSecrets(id)
	if !reflect.DeepEqual(is, was) || string(is.BMCPassword) != "bmc.password|first" {
		t.Errorf("got the secrets %+v, want %+v", is, was)
	}
	if _, sealed := p.m.Read().EndpointPassword("x3000c0s0b0"); string(sealed) != "endpoint" {
		t.Errorf("the password of the endpoint is %q", sealed)
	}
}

// TestRollbackLeavesGuestsAlone: the image of a VM stays, under its name, and the
// VMs that are gone are told with the commands that make them again.
func TestRollbackLeavesGuestsAlone(t *testing.T) {
	image := func(name, path string) api.ImageCreate { return api.ImageCreate{Name: name, Kind: "disk", Path: path} }
	p := newPast(t, func(p *past) {
		p.do(errorOf(p.w.CreateImage(asAdmin(), "", image("im", "/old"))))
		p.do(errorOf(p.w.CreateImage(asAdmin(), "", image("gone", "/gone"))))
		for _, vm := range []api.VMCreate{
			{Name: "plain", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}},
			{Name: "full", Protected: true, Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 1024, DiskGiB: 2, Image: "gone", Restart: api.RestartNever,
				Placement: api.Placement{Peer: "a", Group: "web", Spread: api.SpreadLabel, SpreadLabel: "rack", ApartFrom: "db"}}, Labels: map[string]string{"tier": "it's web", "b": "x", "hosts": "a,b"}},
			{Name: "again", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}},
			{Name: "stays", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}},
		} {
			p.must(operator, createVM, vmCreate{VM: vm, Candidates: []string{"a"}})
		}
	})
	for _, name := range []string{"plain", "full", "again"} {
		vm, _ := p.m.Read().VMNamed("default", name)
		p.must(operator, updateVM, vmUpdate{ID: vm.ID, Update: api.VMUpdate{}}) // protected no more
		p.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	}
	for _, name := range []string{"im", "gone"} {
		i, _ := p.m.Read().Image(name)
		p.do(p.w.DeleteImage(asAdmin(), i.ID))
	}
	p.do(errorOf(p.w.CreateImage(asAdmin(), "", image("im", "/new"))))
	again := small("again")
	again.Spec.Image = "im"
	p.must(operator, createVM, vmCreate{VM: again, Candidates: []string{"a"}})

	d := p.difference()
	want := map[string]string{
		"plain": "orchd vm create plain --account default --cpu 1 --memory 64MiB",
		"full": "orchd vm create full --account default --cpu 1 --memory 1024MiB --disk 2GiB --image gone --restart never --protect" +
			" --peer a --group web --spread label:rack --apart-from db --label b=x --label 'tier=it'\\''s web'" +
			" && orchd vm label default/full 'hosts=a,b'",
	}
	got := map[string]string{}
	for _, vm := range d.MissingVMs {
		got[vm.Name] = vm.Command
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("missing are %v, want %v", got, want)
	}
	_, err := p.w.RestoreState(asAdmin(), d)
	p.do(err)
	if i, _ := p.m.Read().Image("im"); i.Path != "/new" {
		t.Errorf("the image of a VM has the path %s, want it as it is", i.Path)
	}
	if i, _ := p.m.Read().Image("gone"); i.Path != "/gone" || !p.difference().Empty() {
		t.Errorf("the other image is %+v, still to do is %v", i, p.difference().Tables)
	}
}

// TestRollbackToBeforeATable: a snapshot that is older than a table says nothing of it.
func TestRollbackToBeforeATable(t *testing.T) {
	p := newPast(t, func(*past) {})
	p.folder = tablesOf(t, p.m.published.Load(), "vms", "compute_nodes")
	p.node("n", inventory.ComputeNode{})
	p.must(admin, putComponents, componentsPut{Components: []component{{ID: "x1000c0s0b0n0"}}})
	if got, want := p.difference().Tables, []api.TableDifference{{Table: "compute_nodes", Delete: 1}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSnapshotsThatCannotBeCompared(t *testing.T) {
	p := newPast(t, func(p *past) { p.node("n", inventory.ComputeNode{}) })
	whole := p.m.published.Load()
	foreign := folderWith(t, whole, snapshot.Table{Name: "charms", Write: images.content(whole).Write})
	if _, err := p.m.Read().Difference(foreign); !api.IsKind(err, api.Conflict) || !strings.Contains(err.Error(), `"charms"`) {
		t.Errorf("a table that is not known: got %v, want a conflict with its name", err)
	}
	for _, table := range []string{"compute_nodes/part-0000.parquet", "vms.parquet"} {
		broken := tablesOf(t, whole)
		p.do(os.Remove(filepath.Join(broken.Path(), table)))
		if _, err := p.m.Read().Difference(broken); err == nil || !strings.Contains(err.Error(), table[:3]) {
			t.Errorf("without %s: got %v", table, err)
		}
	}
}

// TestRollbackThatCannotBeRead: an entry that this program cannot read stops it,
// and its own program does not write one.
func TestRollbackThatCannotBeRead(t *testing.T) {
	p := newPast(t, func(*past) {})
	p.node("n", inventory.ComputeNode{})
	good := p.difference().command.Tables[0]
	for name, table := range map[string]tableRestore{
		"a table that is not known": {Name: "charms"},
		"a table of no rollback":    {Name: "vms"},
		"no packed rows":            {Name: good.Name, Rows: 1, Bytes: 9, Packed: []byte("nonsense")},
		"cut short":                 {Name: good.Name, Rows: 1, Bytes: good.Bytes, Packed: good.Packed[:len(good.Packed)/2]},
		"more rows than told":       {Name: good.Name, Rows: 0, Bytes: good.Bytes, Packed: good.Packed},
		"more bytes than told":      {Name: good.Name, Rows: 1, Bytes: good.Bytes - 1, Packed: good.Packed},
		"too many bytes":            {Name: good.Name, Rows: 1, Bytes: maxUnpacked + 1, Packed: good.Packed},
	} {
		d := &Difference{Tables: []api.TableDifference{{}}, command: stateRestore{Tables: []tableRestore{table}}}
		index := p.m.Index()
		if _, err := p.w.RestoreState(asAdmin(), d); !api.IsKind(err, api.Internal) || p.m.Index() != index {
			t.Errorf("%s: proposed with %v", name, err)
		}
		func() {
			defer func() {
				if err, ok := recover().(error); !ok || !errors.As(err, new(undecodable)) {
					t.Errorf("%s: applied with %v, want the peer to stop", name, err)
				}
			}()
			p.send(admin, restoreState, d.command)
		}()
	}
}

// TestRollbackOnce: sent again, it takes effect once.
func TestRollbackOnce(t *testing.T) {
	p := newPast(t, func(*past) {})
	p.node("n", inventory.ComputeNode{})
	d := p.difference()
	ctx := api.WithCaller(context.Background(), api.Caller{Actor: admin, Once: &api.OnceKey{Key: "uid:0 POST /restore k", Body: []byte("b")}})
	first, err := p.w.RestoreState(ctx, d)
	p.do(err)
	if again, err := p.w.RestoreState(ctx, d); err != nil || again.Index != first.Index || first.Replayed || !again.Replayed {
		t.Errorf("sent again it gave %+v (%v), want what the first gave: %+v", again, err, first)
	}
	for _, c := range []struct {
		once  *api.OnceKey
		index uint64
		known bool
		kind  api.Kind
	}{
		{nil, 0, false, 0},
		{&api.OnceKey{Key: "uid:0 POST /restore other", Body: []byte("b")}, 0, false, 0},
		{&api.OnceKey{Key: "uid:0 POST /restore k", Body: []byte("b")}, first.Index, true, 0},
		{&api.OnceKey{Key: "uid:0 POST /restore k", Body: []byte("c")}, 0, true, api.Mismatch},
	} {
		index, known, err := p.m.Read().Answered(c.once)
		if index != c.index || known != c.known || (err != nil) != (c.kind != 0) || err != nil && !api.IsKind(err, c.kind) {
			t.Errorf("%+v: answered %v at %d (%v), want %v at %d (%v)", c.once, known, index, err, c.known, c.index, c.kind)
		}
	}
}
