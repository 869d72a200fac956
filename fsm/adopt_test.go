package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

const domainID = "aaaaaaaa-0000-4000-8000-000000000001"

func aStranger() api.ForeignDomain {
	return api.ForeignDomain{UUID: domainID, Name: "Old Mail!", State: api.VMRunning, VCPUs: 2, MemoryMiB: 1024, DiskGiB: 90,
		MACs: []string{"52:54:00:AA:BB:01", "52:54:00:aa:bb:02"}, Flags: []string{flagForeignDisk, "made up"}}
}

func TestAdopt(t *testing.T) {
	g := newGuests(t, "a")
	adopt := func(d api.ForeignDomain, a api.VMAdopt) Result {
		return g.send(admin, adoptVM, vmAdoption{"a", d, a})
	}
	for name, c := range map[string]struct {
		edit func(d *api.ForeignDomain, a *api.VMAdopt)
		kind api.Kind
	}{
		"an id in capitals":       {func(d *api.ForeignDomain, _ *api.VMAdopt) { d.UUID = strings.ToUpper(d.UUID) }, api.Invalid},
		"no memory":               {func(d *api.ForeignDomain, _ *api.VMAdopt) { d.MemoryMiB = 0 }, api.Invalid},
		"no name":                 {func(_ *api.ForeignDomain, a *api.VMAdopt) { a.Name = "Mail" }, api.Invalid},
		"no account":              {func(_ *api.ForeignDomain, a *api.VMAdopt) { a.Account = "nobody" }, api.Invalid},
		"no state":                {func(d *api.ForeignDomain, _ *api.VMAdopt) { d.State = api.VMLost }, api.Invalid},
		"another cluster's":       {func(d *api.ForeignDomain, _ *api.VMAdopt) { d.Cluster = "x" }, api.Conflict},
		"nothing to recover":      {func(_ *api.ForeignDomain, a *api.VMAdopt) { a.Recover = true }, api.Conflict},
		"a copy, to be recovered": {func(d *api.ForeignDomain, a *api.VMAdopt) { a.Recover, d.Record = true, &api.VM{ID: "other"} }, api.Conflict},
	} {
		d, a := aStranger(), api.VMAdopt{}
		c.edit(&d, &a)
		if r := adopt(d, a); r.Err == nil || r.Err.Kind != c.kind {
			t.Errorf("%s: %v, want %s", name, r.Err, c.kind.Code())
		}
	}
	g.refused(api.Forbidden, operator, adoptVM, vmAdoption{"a", aStranger(), api.VMAdopt{}})
	g.refused(api.NotFound, admin, adoptVM, vmAdoption{"z", aStranger(), api.VMAdopt{}})

	vm := *adopt(aStranger(), api.VMAdopt{Labels: map[string]string{"was": "virsh"}}).Object.(*api.VM)
	if vm.ID != domainID || vm.Name != "old-mail" || vm.Status.Owner != "a" || !vm.Status.Begun || vm.Status.Epoch != 1 ||
		vm.Status.State != api.VMRunning || vm.Status.Desired != api.WantRunning || vm.Labels["was"] != "virsh" || vm.Spec.Restart != api.RestartOnFailure {
		t.Errorf("adopted: %+v", vm)
	}
	if got := fmt.Sprint(vm.Status.Flags); got != "[disk-not-in-pool address-unknown]" {
		t.Errorf("flags: %s", got)
	}
	if a := vm.Status.Addresses; len(a) != 2 || a[0].MAC != "52:54:00:aa:bb:01" || a[0].IP != "" {
		t.Errorf("addresses: %+v", a)
	}
	r := g.m.Read()
	if host, _ := r.Peer("a"); Free(r, host).DiskGiB != 40-90 || Fit(r, host, api.Resources{}).Status != api.NotApplicable {
		t.Errorf("free after the adoption: %v, want its disk promised and nothing new", Free(r, host))
	}
	if used := r.used(api.DefaultAccount); used != (api.Quota{VMs: 1, VCPUs: 2, MemoryMiB: 1024, DiskGiB: 90}) {
		t.Errorf("the account holds %+v", used)
	}
	if r := adopt(aStranger(), api.VMAdopt{}); r.Err == nil || r.Err.Kind != api.Conflict {
		t.Errorf("adopted twice: %v", r.Err)
	}
	guestsHold(t, 0, r)

	second := aStranger()
	second.UUID = strings.Replace(domainID, "1", "2", 1)
	twin := *adopt(second, api.VMAdopt{}).Object.(*api.VM)
	if got := fmt.Sprint(twin.Name, twin.Status.Flags, len(twin.Status.Addresses)); got != "old-mail-aaaaaaaa[disk-not-in-pool address-unknown address-taken] 0" {
		t.Errorf("one with the same name and MAC addresses: %s", got)
	}
	g.refused(api.Conflict, operator, createDiskSnapshot, diskSnapshotCreate{vm.ID, api.DiskSnapshotCreate{Name: "s1"}})
	g.must(admin, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	g.must(ActorOfPeer("a"), buryVM, vmEpoch{vm.ID, 1})
	if r := adopt(aStranger(), api.VMAdopt{}); r.Err == nil || r.Err.Kind != api.Conflict {
		t.Errorf("adopted after it was deleted: %v", r.Err)
	}
}

func TestRecover(t *testing.T) {
	lost := newGuests(t, "a")
	c := whole("web")
	c.Protected, c.Labels, c.Spec.Placement = true, map[string]string{"tier": "1"}, api.Placement{Group: "web"}
	record := lost.running(c, "a")
	record.Status.Epoch = 3

	d := api.ForeignDomain{UUID: record.ID, Name: "web-12345678", State: api.VMRunning, VCPUs: 1, MemoryMiB: 512, DiskGiB: 5, Cluster: "lost", Record: &record,
		MACs: []string{record.Status.Addresses[0].MAC}, Flags: []string{flagNoCloudInit}}
	g := newGuests(t, "a")
	vm := *g.must(admin, adoptVM, vmAdoption{"a", d, api.VMAdopt{Recover: true}}).Object.(*api.VM)
	if vm.Name != "web" || !vm.Protected || vm.Labels["tier"] != "1" || vm.Status.Epoch != 3 || len(vm.Status.Flags) != 0 || fmt.Sprint(vm.Spec) != fmt.Sprint(record.Spec) {
		t.Errorf("recovered:\n got %+v\nfrom %+v", vm, record)
	}
	if fmt.Sprint(vm.Status.Addresses) != fmt.Sprint(record.Status.Addresses) {
		t.Errorf("addresses: %+v, want %+v", vm.Status.Addresses, record.Status.Addresses)
	}
	if s, ok := g.m.Read().Seed(vm.ID); !ok || len(s.Keys) != 1 {
		t.Errorf("its keys: %+v", s)
	}
	guestsHold(t, 0, g.m.Read())

	// In a cluster that has little of what it was made from, and its name and address already.
	bare := newLog(t, "a")
	bare.must(admin, createNetwork, api.NetworkCreate{Name: "lan", NetworkShape: api.NetworkShape{CIDR: "10.9.0.0/24", Gateway: "10.9.0.1", Bridge: "br0", First: "10.9.0.3"}})
	other := small("web")
	other.Spec.Network = "lan"
	bare.must(operator, createVM, vmCreate{VM: other, Candidates: []string{"a"}})
	vm = *bare.must(admin, adoptVM, vmAdoption{"a", d, api.VMAdopt{Recover: true}}).Object.(*api.VM)
	if vm.Name != "web-"+vm.ID[:8] || vm.Spec.Image != "" || vm.Spec.Size != "" || len(vm.Spec.SSHKeys) != 0 || fmt.Sprint(vm.Status.Flags) != "[image-unknown address-taken]" {
		t.Errorf("recovered with less: %s, %+v, %v", vm.Name, vm.Spec, vm.Status.Flags)
	}
	if a := vm.Status.Addresses; len(a) != 1 || a[0].IP != "" || a[0].MAC != record.Status.Addresses[0].MAC {
		t.Errorf("addresses: %+v, want the MAC address alone", a)
	}
	guestsHold(t, 0, bare.m.Read())
}

func TestFittingName(t *testing.T) {
	for name, want := range map[string]string{"web": "web", "Web 1": "web-1", "_x_": "x", "": "vm-aaaaaaaa", "---": "vm-aaaaaaaa",
		domainID: "vm-aaaaaaaa", strings.Repeat("a", 80): strings.Repeat("a", 63), "größe": "gr--e"} {
		if got := fittingName(name, domainID); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// Two domains of one name whose ids begin alike, in an account that has a VM of that
// name, had one name between them.
func TestAdoptedNamesDiffer(t *testing.T) {
	l := newLog(t, "a")
	l.create("web", "a")
	var names []string
	for _, id := range []string{"aaaaaaaa-0000-4000-8000-000000000003", "aaaaaaaa-0000-4000-8000-000000000006"} {
		d := api.ForeignDomain{UUID: id, Name: "web", State: api.VMStopped, VCPUs: 1, MemoryMiB: 512}
		names = append(names, l.must(admin, adoptVM, vmAdoption{"a", d, api.VMAdopt{}}).Object.(*api.VM).Name)
	}
	if want := "[web-aaaaaaaa web-aaaaaaaa-0000-4000-8000-000000000006]"; fmt.Sprint(names) != want {
		t.Errorf("got %v, want %s", names, want)
	}
	guestsHold(t, 0, l.m.Read())
}
