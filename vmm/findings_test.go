package vmm

import (
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestFindings(t *testing.T) {
	is := func(s api.VMState) func(*api.VM) { return func(vm *api.VM) { vm.Status.State = s } }
	stopped := func(vm *api.VM) { vm.Status.State, vm.Status.Desired = api.VMStopped, api.WantStopped }
	theirs := func(vm *api.VM) { vm.Status.OwnerID, vm.Status.Owner = others, "h2" }
	adoptee := func(vm *api.VM) { vm.Status.Flags = []string{"no-cloud-init"} }
	addressed := func(vm *api.VM) { vm.Status.Addresses = []api.VMAddress{{IP: "10.0.0.5"}} }
	running := domain(2, Running, Unknown)
	twin := running
	twin.UUID = copyID
	disk := DiskName(Mark{VM: vmID, Epoch: 2})
	uses := func(ips ...string) map[string][]api.VMAddress {
		seen := map[string][]api.VMAddress{}
		for _, ip := range ips {
			seen[vmID] = append(seen[vmID], api.VMAddress{IP: ip, MAC: "52:54:00:00:00:01"})
		}
		return seen
	}
	for _, c := range []struct {
		name   string
		w      tables
		found  found
		code   string // of the one finding; empty: none
		action string // a part of what mends it
	}{
		{name: "nothing"},
		{name: "all is well", w: tables{row: lifeRow()}, found: found{domains: []Domain{running}, files: []string{disk, ConsoleName(vmID) + ".0", SeedName(vmID)}}},
		{name: "domain without record", found: found{domains: []Domain{running}, files: []string{disk}}, code: domainWithoutRecord, action: "virsh undefine web-11111111"},
		{name: "domain of a tombstone", w: tables{tomb: 2}, found: found{domains: []Domain{running}}},
		{name: "domain newer than its tombstone", w: tables{tomb: 1}, found: found{domains: []Domain{running}}, code: domainWithoutRecord, action: "virsh"},
		{name: "older epoch", w: tables{row: lifeRow(theirs)}, found: found{domains: []Domain{domain(1, Paused, Unknown)}, files: []string{DiskName(Mark{VM: vmID, Epoch: 1})}},
			code: wrongEpoch, action: "virsh undefine"},
		{name: "another's", w: tables{row: lifeRow(theirs)}, found: found{domains: []Domain{running}}, code: secondDomain, action: "virsh undefine"},
		{name: "a copy", w: tables{row: lifeRow()}, found: found{domains: []Domain{running, twin}}, code: secondDomain, action: "virsh undefine"},
		{name: "a stranger", found: found{strangers: []api.ForeignDomain{{UUID: copyID, Name: "pet"}}}},
		{name: "a stranger with a record", found: found{strangers: []api.ForeignDomain{{UUID: copyID, Name: "pet", Cluster: "c9", Record: &api.VM{Name: "web"}}}},
			code: domainWithoutRecord, action: "orchd vm adopt --recover --peer h1 pet"},
		{name: "a stranger that is being learnt", w: tables{row: lifeRow(is(api.VMCreating))},
			found: found{strangers: []api.ForeignDomain{{UUID: vmID, Name: "pet", Cluster: "c9", Record: &api.VM{}}}}},
		{name: "record without domain", w: tables{row: lifeRow()}, code: recordWithoutDomain, action: "orchd vm start web"},
		{name: "stopped, domain gone, disk there", w: tables{row: lifeRow(stopped)}, found: found{files: []string{disk}}, code: recordWithoutDomain, action: "orchd vm start web"},
		{name: "stopped, never made", w: tables{row: lifeRow(stopped)}},
		{name: "failed, unmade", w: tables{row: lifeRow(is(api.VMFailed))}},
		{name: "being made", w: tables{row: lifeRow(is(api.VMCreating))}},
		{name: "lost", w: tables{row: lifeRow(is(api.VMLost))}},
		{name: "adopted, vanished", w: tables{row: lifeRow(adoptee, is(api.VMFailed))}, code: recordWithoutDomain, action: "orchd vm delete web"},
		{name: "theirs, not here", w: tables{row: lifeRow(theirs)}},
		{name: "file without record", found: found{files: []string{disk}}, code: fileWithoutRecord, action: "disks/" + disk},
		{name: "file of no form", found: found{files: []string{"notes.txt"}}, code: fileWithoutRecord, action: "disks/notes.txt"},
		{name: "file system of its own", found: found{files: []string{"lost+found"}}},
		{name: "file of a tombstone", w: tables{tomb: 2}, found: found{files: []string{disk}}},
		{name: "file of one that has moved", w: tables{row: lifeRow(theirs)}, found: found{files: []string{DiskName(Mark{VM: vmID, Epoch: 1})}}},
		{name: "address that is its own", w: tables{row: lifeRow(addressed)}, found: found{domains: []Domain{running}, seen: uses("10.0.0.5", "fe80::1", "169.254.3.4", "0.0.0.0", "nonsense")}},
		{name: "address that is not", w: tables{row: lifeRow(addressed)}, found: found{domains: []Domain{running}, seen: uses("10.0.0.6")},
			code: addressNotAllotted, action: "orchd vm console web"},
		{name: "address of one that has none", w: tables{row: lifeRow(adoptee)}, found: found{domains: []Domain{running}, seen: uses("10.0.0.6")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := findings(self{id: us, name: "h1"}, c.w, c.found)
			switch {
			case c.code == "" && len(got) > 0:
				t.Errorf("findings: got %+v, want none", got)
			case c.code == "":
			case len(got) != 1 || got[0].Code != c.code || got[0].Peer != "h1" || got[0].Detail == "" || !strings.Contains(got[0].Action, c.action):
				t.Errorf("findings: got %+v, want one %s mended by %q", got, c.code, c.action)
			}
		})
	}
}
