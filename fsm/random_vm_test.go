package fsm

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// life is a random command about the life of VMs.
func (s *scribe) life(t *testing.T) []byte {
	return pick(s, []func(*testing.T) []byte{
		s.place, s.place, s.place, s.place, s.place, s.place, s.verb, s.verb, s.verb, s.resize, s.resize, s.rename, s.seeReport,
		s.facts, s.facts, s.vmProgress, s.keepDisk, s.diskWork, s.diskWork, s.diskReport,
		s.cancel, s.adopt, s.adopt, s.guestNetwork, s.spreadNode, s.goBack, s.goBack, s.goBack, s.goBack, s.goBack, s.goBack,
		s.step, s.step, s.step, s.step, s.step, s.step, s.step, s.step,
	})(t)
}

// step is what the owner of some VM would do next.
func (s *scribe) step(t *testing.T) []byte {
	vm := s.vm()
	owner, st := ActorOfPeer(vm.Status.OwnerID), vm.Status
	for d := range s.m.Read().DiskSnapshots(vm.ID) {
		if inHand(d.State) {
			return s.encoded(t, reportDiskSnapshot, owner, api.DiskSnapshotReport{ID: d.ID, VM: vm.ID, Epoch: st.Epoch})
		}
	}
	switch {
	case st.Desired == api.WantDeleted:
		return s.encoded(t, buryVM, owner, vmEpoch{vm.ID, st.Epoch})
	case !st.Begun:
		return s.encoded(t, beginVM, owner, vmEpoch{vm.ID, st.Epoch})
	}
	return s.encoded(t, reportVM, owner, api.VMReport{VM: vm.ID, Epoch: st.Epoch, State: api.VMState(st.Desired), Restarted: true})
}

// goBack brings some snapshot of a disk nearer to being gone back to.
func (s *scribe) goBack(t *testing.T) []byte {
	for d := range diskSnapshots.each(s.m.Read(), "") {
		vm, _ := s.m.Read().VM(d.VM)
		switch owner := ActorOfPeer(vm.Status.OwnerID); {
		case inHand(d.State):
			return s.encoded(t, reportDiskSnapshot, owner, api.DiskSnapshotReport{ID: d.ID, VM: vm.ID, Epoch: vm.Status.Epoch})
		case d.State != api.DiskSnapshotReady || s.rng.IntN(3) == 0:
		case s.rng.IntN(4) == 0:
			return s.encoded(t, deleteDiskSnapshot, admin, diskSnapshotWork{vm.ID, d.Name})
		case vm.Status.Desired != api.WantStopped:
			return s.encoded(t, actOnVM, admin, vmAction{ID: vm.ID, Verb: api.ActStop})
		case vm.Status.State != api.VMStopped:
			return s.encoded(t, reportVM, owner, api.VMReport{VM: vm.ID, Epoch: vm.Status.Epoch, State: api.VMStopped})
		default:
			return s.encoded(t, restoreDiskSnapshot, admin, diskSnapshotWork{vm.ID, d.ID})
		}
	}
	return s.keepDisk(t)
}

// place is a create with all that can be said of a VM.
func (s *scribe) place(t *testing.T) []byte {
	ids, others := s.candidates()
	account := pick(s, []string{api.DefaultAccount, "other"})
	c := vmCreate{Candidates: ids, Others: others, VM: api.VMCreate{Name: fmt.Sprintf("vm%d", s.rng.IntN(60)), Account: account, Protected: s.rng.IntN(6) == 0}}
	c.VM.Spec = api.VMSpec{VCPUs: 1, MemoryMiB: 256, DiskGiB: int64(s.rng.IntN(5)), Placement: api.Placement{Group: pick(s, []string{"", "g1", "g2"})}}
	spec := &c.VM.Spec
	for n := range s.m.Read().Networks("") {
		if n.Bridge+n.Libvirt != "" && s.rng.IntN(3) > 0 {
			spec.Network = n.Name
		}
	}
	for k := range s.m.Read().SSHKeys("") {
		if k.Account == account && s.rng.IntN(2) == 0 {
			spec.SSHKeys = append(spec.SSHKeys, k.Name, k.ID)
		}
	}
	if s.rng.IntN(3) > 0 {
		c.UserData = secretWrite{Given: true, Sealed: []byte("sealed")}
	}
	for range s.rng.IntN(3) { // at most two of these, for each may refuse it
		s.strange(spec)
	}
	return s.encoded(t, createVM, pick(s, []api.Actor{admin, operator}), c)
}

// strange asks for something that is not always to be had.
func (s *scribe) strange(spec *api.VMSpec) {
	p := &spec.Placement
	switch s.rng.IntN(9) {
	case 0:
		spec.Image = pick(s, []string{"im1", "im2", "im4"})
	case 1:
		spec.Size, spec.VCPUs, spec.MemoryMiB, spec.DiskGiB = pick(s, []string{"xs", "s", "m"}), 0, 0, 0
	case 2:
		spec.Restart = pick(s, []api.RestartPolicy{api.RestartAlways, api.RestartNever, "sometimes"})
	case 3:
		p.With = pick(s, []string{"g1", "g2"})
	case 4:
		p.ApartFrom = pick(s, []string{"g1", "g2"})
	case 5:
		p.Peer = s.member().Name
	case 6:
		p.Labels = map[string]string{"rack": "rp0"}
	default:
		if p.Spread = pick(s, []string{api.SpreadPeer, api.SpreadChassis, api.SpreadCabinet, api.SpreadLabel}); p.Spread == api.SpreadLabel {
			p.SpreadLabel = "rack"
		}
	}
}

// guestNetwork is one that VMs can be plugged into; small, so that addresses run out.
func (s *scribe) guestNetwork(t *testing.T) []byte {
	c := api.NetworkCreate{Name: "v4", NetworkShape: api.NetworkShape{CIDR: "10.9.0.0/28", Gateway: "10.9.0.1", Bridge: "br0", CIDR6: pick(s, []string{"", "fd09::/64"})}}
	switch s.rng.IntN(4) {
	case 0:
		c = api.NetworkCreate{Name: "bare", NetworkShape: api.NetworkShape{Bridge: "br1"}}
	case 1:
		c.Pools = []api.AddressPool{{Peer: s.member().Name, First: "10.9.0.2", Last: "10.9.0.5"}, {Peer: s.member().Name, First: "10.9.0.8", Last: "10.9.0.9"}}
	}
	return s.encoded(t, createNetwork, admin, c)
}

// spreadNode makes a peer a ComputeNode too, so that its chassis is known.
func (s *scribe) spreadNode(t *testing.T) []byte {
	p := s.member()
	n := nodeWrite{Node: computeNode{Hostname: p.Name, Architecture: "x86_64", XName: fmt.Sprintf("x100%dc%ds0b0n%d", s.rng.IntN(2), s.rng.IntN(2), s.rng.IntN(9))}}
	return s.encoded(t, createNodes, admin, nodesCreate{Nodes: []nodeWrite{n}})
}

func (s *scribe) verb(t *testing.T) []byte {
	return s.encoded(t, actOnVM, s.actor(), vmAction{ID: s.vm().ID, StopSeconds: int64(pick(s, []int{0, 0, 90, -1})),
		Verb: pick(s, []string{api.ActStart, api.ActStop, api.ActStop, api.ActRestart, api.ActRestart, api.ActPause, api.ActPause, api.ActResume})})
}

func (s *scribe) resize(t *testing.T) []byte {
	return s.encoded(t, actOnVM, s.actor(), vmAction{ID: s.vm().ID, Verb: api.ActResize, Resize: pick(s, []api.VMResize{
		{VCPUs: 2}, {VCPUs: 1}, {MemoryMiB: 1024}, {DiskGiB: 6}, {Size: "s"}, {Size: "m", DiskGiB: 30}, {VCPUs: 2000}})})
}

func (s *scribe) rename(t *testing.T) []byte {
	return s.encoded(t, updateVM, s.actor(), vmUpdate{ID: s.vm().ID, Update: api.VMUpdate{Name: pick(s, []string{"", "vm1", "vm2", "No"}),
		Protected: s.rng.IntN(4) == 0, Restart: pick(s, []api.RestartPolicy{"", api.RestartNever, "x"}), Labels: pick(s, []map[string]string{nil, {"a": "b"}, {"a b": "c"}})}})
}

// seeReport is a report with all that one can say.
func (s *scribe) seeReport(t *testing.T) []byte {
	a, vm := s.byOwner()
	return s.encoded(t, reportVM, a, api.VMReport{VM: vm.ID, Epoch: vm.Status.Epoch, State: pick(s, []api.VMState{api.VMRunning, api.VMRunning, api.VMStopped, api.VMStopped, api.VMPaused, api.VMCrashed}),
		Restarted: s.rng.IntN(2) == 0, Failed: s.rng.IntN(4) == 0, Steps: []api.OpStep{{Name: pick(s, []string{"image", "start"}), TookMs: int64(s.rng.IntN(9))}}})
}

func (s *scribe) facts(t *testing.T) []byte {
	a, vm := s.byOwner()
	c := api.VMFacts{VM: vm.ID, Epoch: vm.Status.Epoch, Seen: []api.VMAddress{{IP: "10.9.0.7", MAC: "52:54:00:00:00:01", SeenAt: s.at}}}
	for _, has := range vm.Status.Addresses {
		c.Seen = append(c.Seen, api.VMAddress{IP: has.IP, MAC: has.MAC, SeenAt: s.at.Add(-time.Duration(s.rng.IntN(3)) * time.Hour)})
	}
	if s.rng.IntN(2) == 0 {
		c.HostKeys = []api.HostKey{{Type: "ssh-ed25519", Key: pick(s, append(testKeys, "AAAA"))}}
	}
	return s.encoded(t, vmFacts, a, c)
}

func (s *scribe) vmProgress(t *testing.T) []byte {
	a, vm := s.byOwner()
	return s.encoded(t, vmProgress, a, api.VMProgress{VM: vm.ID, Epoch: vm.Status.Epoch, Step: pick(s, []string{"image", "image", "seed", ""}), Done: int64(s.rng.IntN(9)), Total: 9})
}

func (s *scribe) keepDisk(t *testing.T) []byte {
	vm := s.vm()
	for other := range s.m.Read().VMs("") { // one that has a disk to keep, mostly
		if other.Spec.DiskGiB > 0 && slices.Contains(withDisk, other.Status.State) && s.rng.IntN(3) > 0 {
			vm = other
		}
	}
	return s.encoded(t, createDiskSnapshot, s.actor(), diskSnapshotCreate{vm.ID, api.DiskSnapshotCreate{Name: pick(s, []string{"s1", "s2", "s3", "No"})}})
}

func (s *scribe) diskSnapshot() api.DiskSnapshot {
	return pick(s, slices.Collect(diskSnapshots.each(s.m.Read(), "")))
}

func (s *scribe) diskWork(t *testing.T) []byte {
	d := s.diskSnapshot()
	for other := range diskSnapshots.each(s.m.Read(), "") {
		if vm, _ := s.m.Read().VM(other.VM); vm.Status.State == api.VMStopped && other.State == api.DiskSnapshotReady {
			d = other
		}
	}
	return s.encoded(t, pick(s, []Type{restoreDiskSnapshot, restoreDiskSnapshot, deleteDiskSnapshot}), s.actor(), diskSnapshotWork{d.VM, pick(s, []string{d.ID, d.Name})})
}

func (s *scribe) diskReport(t *testing.T) []byte {
	d := s.diskSnapshot()
	vm, _ := s.m.Read().VM(d.VM)
	return s.encoded(t, reportDiskSnapshot, ActorOfPeer(vm.Status.OwnerID), api.DiskSnapshotReport{ID: d.ID, VM: d.VM, Epoch: vm.Status.Epoch,
		Error: pick(s, []string{"", "", "no space left"}), Took: api.OpStep{Name: "snapshot", TookMs: 5}})
}

func (s *scribe) cancel(t *testing.T) []byte {
	r := s.m.Read()
	o := pick(s, slices.Collect(r.Operations("")))
	for other := range r.Operations("") {
		if !other.State.Done() && s.rng.IntN(3) == 0 {
			o = other
		}
	}
	return s.encoded(t, cancelOperation, s.actor(), operationCancel{o.ID})
}

// adopt is a stranger, or a VM of a cluster that was lost; some of their addresses are taken.
func (s *scribe) adopt(t *testing.T) []byte {
	d := api.ForeignDomain{UUID: fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012x", s.rng.IntN(12)), Name: "Old VM", State: pick(s, []api.VMState{api.VMRunning, api.VMStopped, api.VMPaused, "dancing"}),
		VCPUs: 1, MemoryMiB: int64(pick(s, []int{512, 512, 1})), DiskGiB: 3, MACs: []string{fmt.Sprintf("52:54:00:00:00:0%d", s.rng.IntN(9)), "nonsense"}, Flags: pick(s, [][]string{nil, {"disk-not-in-pool"}})}
	var a api.VMAdopt
	if s.rng.IntN(2) == 0 {
		a.Recover, d.Cluster = true, "lost"
		was := api.VM{ID: d.UUID, Name: "back", Account: pick(s, []string{api.DefaultAccount, "other"}), Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 256, Network: "v4", Image: pick(s, []string{"", "im1"}), SSHKeys: []string{"key0"}},
			Status: api.VMStatus{Epoch: uint64(s.rng.IntN(4)), Addresses: []api.VMAddress{{IP: fmt.Sprintf("10.9.0.%d", s.rng.IntN(20)), MAC: d.MACs[0], Network: "v4"}}}}
		d.Record = &was
	}
	return s.encoded(t, adoptVM, pick(s, []api.Actor{admin, admin, operator}), vmAdoption{s.member().ID, d, a})
}

func (s *scribe) lose(t *testing.T) []byte {
	p := s.member()
	return s.encoded(t, losePeer, admin, peerLose{p.ID, pick(s, []string{p.Name, p.Name, "h0"}), pick(s, []string{"", "burnt"})})
}

// guestsHold: no address and no MAC address is held twice, leases are what the rows
// of VMs show, and nothing is kept of VMs that are gone.
func guestsHold(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	held, macs := map[string]bool{}, map[string]string{}
	for l := range leases.each(r, "") {
		vm, there := vms.one(r, l.VM)
		n, known := networks.one(r, l.Network)
		if !there || l.Account != vm.Account || !slices.ContainsFunc(vm.Status.Addresses, func(a api.VMAddress) bool {
			return a.IP == l.IP && a.MAC == l.MAC && a.Network == n.Name
		}) {
			t.Errorf("seed %d: lease %+v is not shown by its VM: %+v", seed, l, vm.Status.Addresses)
		}
		if other, taken := macs[l.MAC]; taken && other != l.VM {
			t.Errorf("seed %d: MAC address %s is held by VMs %s and %s", seed, l.MAC, other, l.VM)
		}
		macs[l.MAC] = l.VM
		if l.Network != "" && !known {
			t.Errorf("seed %d: lease %+v is of a network that is not there", seed, l)
		}
		held[l.VM+" "+l.IP+" "+l.MAC] = true
		inRange(t, seed, r, n, l, vm)
	}
	for vm := range r.VMs("") {
		for _, a := range vm.Status.Addresses {
			if key := vm.ID + " " + a.IP + " " + a.MAC; !held[key] {
				t.Errorf("seed %d: VM %s shows the address %+v, and no lease has it", seed, vm.Name, a)
			}
			delete(held, vm.ID+" "+a.IP+" "+a.MAC)
		}
		if vm.Spec.UserData != "" {
			t.Errorf("seed %d: the row of VM %s has user-data", seed, vm.Name)
		}
		if w, explained := r.Why(vm.ID); !explained || w.Owner != vm.Status.Owner || w.Epoch != vm.Status.Epoch {
			t.Errorf("seed %d: VM %s went to %s at epoch %d, and the placement says %s at %d", seed, vm.Name, vm.Status.Owner, vm.Status.Epoch, w.Owner, w.Epoch)
		}
		if host, _ := peers.one(r, vm.Status.OwnerID); host.State != api.PeerMember && vm.Status.State != api.VMLost {
			t.Errorf("seed %d: VM %s is %s on a peer that is %s", seed, vm.Name, vm.Status.State, host.State)
		}
	}
	for key := range held {
		t.Errorf("seed %d: lease %q is held beside what its VM shows", seed, key)
	}
	remainsHold(t, seed, r)
}

// inRange: an address that was allotted is of its network, of the owner's pool where
// there are pools, and not one that is never allotted.
func inRange(t *testing.T, seed uint64, r Reader, n api.Network, l api.Lease, vm api.VM) {
	t.Helper()
	ip, ok := leasedIP(&l)
	if !ok {
		return
	}
	at := slices.IndexFunc(ranges(n), func(cidr netip.Prefix) bool { return cidr.Contains(ip) })
	if at < 0 {
		t.Errorf("seed %d: lease %+v is of none of the ranges of network %+v", seed, l, n.NetworkShape)
		return
	}
	spans, why := spansFor(n, ranges(n)[at], vm.Status.Owner)
	if _, stranger := r.Why(vm.ID); !stranger || vm.ID[:8] == "aaaaaaaa" {
		return // adopted: it keeps what it had
	}
	if why != "" || !slices.ContainsFunc(spans, func(s stretch) bool { return s.first.Compare(ip) <= 0 && ip.Compare(s.last) <= 0 }) {
		t.Errorf("seed %d: lease %+v of a VM of %s is not in %v of it %s", seed, l, vm.Status.Owner, spans, why)
	}
	if r.neverAllotted(n)[ip] {
		t.Errorf("seed %d: lease %+v is of an address that is never allotted", seed, l)
	}
}

// remainsHold: what is kept beside the rows of VMs is of VMs that are there, and the
// disk of a VM is worked on by one operation at most.
func remainsHold(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	there := func(what, vm string) {
		if _, known := vms.one(r, vm); !known {
			t.Errorf("seed %d: a row of %s is of VM %s, which is gone", seed, what, vm)
		}
	}
	for s := range seeds.each(r, "") {
		there("seeds", s.VM)
	}
	for w := range placements.each(r, "") {
		there("placements", w.VM)
	}
	for s := range diskSnapshots.each(r, "") {
		there("disk_snapshots", s.VM)
		if o, _ := r.Operation(s.Operation); inHand(s.State) == o.State.Done() {
			t.Errorf("seed %d: snapshot %s is %s, and its operation is %q", seed, s.ID, s.State, o.State)
		}
	}
	busy := map[string]string{}
	for o := range r.Operations("") {
		if o.State.Done() || o.Target.Kind != "vm" {
			continue
		}
		there("operations", o.Target.ID)
		if !slices.Contains(diskKinds, o.Kind) {
			if vm, _ := r.VM(o.Target.ID); vm.Status.Operation != o.ID {
				t.Errorf("seed %d: operation %s (%s) is in hand, and VM %s names %s", seed, o.ID, o.Kind, vm.Name, vm.Status.Operation)
			}
			continue
		}
		if other, taken := busy[o.Target.ID]; taken {
			t.Errorf("seed %d: operations %s and %s are on one disk", seed, other, o.ID)
		}
		busy[o.Target.ID] = o.ID
	}
}
