package fsm

import (
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestDiskSnapshots(t *testing.T) {
	g := newGuests(t, "a", "b")
	vm := g.made(whole("web"), "a")
	create := func(name string) Result {
		return g.send(operator, createDiskSnapshot, diskSnapshotCreate{vm.ID, api.DiskSnapshotCreate{Name: name}})
	}
	reported := func(id, problem string) {
		t.Helper()
		g.must(ActorOfPeer("a"), reportDiskSnapshot, api.DiskSnapshotReport{ID: id, VM: vm.ID, Epoch: 1, Error: problem, Took: api.OpStep{Name: "snapshot", TookMs: 7}})
	}
	work := func(typ Type, ref string) Result { return g.send(operator, typ, diskSnapshotWork{vm.ID, ref}) }
	wantConflict := func(what string, r Result, text string) {
		t.Helper()
		if r.Err == nil || r.Err.Kind != api.Conflict || !strings.Contains(r.Err.Msg, text) {
			t.Errorf("%s: %v, want a conflict with %q", what, r.Err, text)
		}
	}

	wantConflict("of a VM that is not made", create("s1"), "is assigned")
	g.must(ActorOfPeer("a"), beginVM, vmEpoch{vm.ID, 1})
	g.says(vm, api.VMReport{State: api.VMRunning})
	version, woken := g.vm(vm.ID).Version, g.m.Read().VMsChanged()
	s := *create("s1").Object.(*api.DiskSnapshot)
	select {
	case <-woken:
	default:
		t.Error("who watches the VMs is not woken")
	}
	if now := g.vm(vm.ID).Version; now != version {
		t.Errorf("the VM has version %d, want %d as before", now, version)
	}
	if s.State != api.DiskSnapshotCreating || g.op(s.Operation).Kind != "snapshot" || g.vm(vm.ID).Status.Operation == s.Operation {
		t.Fatalf("a snapshot that is asked for: %+v", s)
	}
	if got := namesOf(g.m.Read().SnapshotsInHand("a")); got != "s1" || namesOf(g.m.Read().SnapshotsInHand("b")) != "" {
		t.Errorf("in hand of a are %q", got)
	}
	wantConflict("a second one", create("s2"), s.Operation)
	wantConflict("a start", g.send(operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActStart}), s.Operation)
	g.refused(api.Conflict, ActorOfPeer("b"), reportDiskSnapshot, api.DiskSnapshotReport{ID: s.ID, VM: vm.ID, Epoch: 1})
	reported(s.ID, "")
	g.wantOp(s.Operation, api.OpSucceeded, "")
	if steps := g.op(s.Operation).Steps; len(steps) != 1 || steps[0].TookMs != 7 {
		t.Errorf("steps: %+v", steps)
	}
	wantConflict("a name that is taken", create("s1"), "already")
	wantConflict("to go back while it runs", work(restoreDiskSnapshot, "s1"), "orchd vm stop web")

	g.asks(vm, api.ActStop)
	g.says(vm, api.VMReport{State: api.VMStopped})
	back := work(restoreDiskSnapshot, "s1")
	if now, _ := g.m.Read().DiskSnapshot(vm.ID, "s1"); back.Err != nil || now.State != api.DiskSnapshotRestoring || g.op(back.Key).Kind != "restore-snapshot" {
		t.Fatalf("on the way back: %+v, %v", now, back.Err)
	}
	wantConflict("a start meanwhile", g.send(operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActStart}), back.Key)
	wantConflict("a larger disk meanwhile", g.send(operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActResize, Resize: api.VMResize{DiskGiB: 9}}), back.Key)
	wantConflict("an export meanwhile", g.send(operator, exportVM, vmExport{vm.ID, "copy"}), back.Key)
	reported(s.ID, "no space left")
	g.wantOp(back.Key, api.OpFailed, "no space left")
	if now, _ := g.m.Read().DiskSnapshot(vm.ID, s.ID); now.State != api.DiskSnapshotReady || now.Reason != "no space left" {
		t.Errorf("a snapshot that could not be gone back to: %+v", now)
	}
	before := g.m.Read().Hash()
	reported(s.ID, "") // late: nothing is in hand
	if now, _ := g.m.Read().DiskSnapshot(vm.ID, s.ID); now.Reason != "no space left" {
		t.Errorf("a late report took effect, %s: %+v", before, now)
	}

	export := g.must(operator, exportVM, vmExport{vm.ID, "copy"})
	image, _ := g.m.Read().Image(export.Key)
	wantConflict("while its disk is copied", create("s2"), image.Operation)
	g.must(operator, cancelOperation, operationCancel{image.Operation})
	second := *create("s2").Object.(*api.DiskSnapshot)
	reported(second.ID, "it is a raw disk")
	g.wantOp(second.Operation, api.OpFailed, "raw")
	if got := namesOf(g.m.Read().DiskSnapshots(vm.ID)); got != "s1 s2" {
		t.Errorf("the snapshots are %q, want them from oldest to newest", got)
	}
	wantConflict("to go back to what failed", work(restoreDiskSnapshot, "s2"), "is failed")
	gone := work(deleteDiskSnapshot, "s2")
	reported(second.ID, "")
	g.wantOp(gone.Key, api.OpSucceeded, "")
	if got := namesOf(g.m.Read().DiskSnapshots(vm.ID)); got != "s1" {
		t.Errorf("after the delete there are %q", got)
	}
	g.refused(api.NotFound, api.Actor{ID: "token:o", Role: api.RoleOperator, Account: "other"}, deleteDiskSnapshot, diskSnapshotWork{vm.ID, "s1"})

	last := create("s3").Object.(*api.DiskSnapshot).Operation
	g.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	wantConflict("of what is being deleted", create("s4"), "being deleted")
	g.must(ActorOfPeer("a"), buryVM, vmEpoch{vm.ID, 1})
	g.wantOp(last, api.OpCancelled, "deleted")
	if n := diskSnapshots.size(g.m.published.Load()); n != 0 {
		t.Errorf("%d snapshots are left of a VM that is gone", n)
	}
}

func TestNoDiskNoSnapshot(t *testing.T) {
	g := newGuests(t, "a")
	vm := g.running(small("bare"), "a")
	e := g.refused(api.Conflict, operator, createDiskSnapshot, diskSnapshotCreate{vm.ID, api.DiskSnapshotCreate{Name: "s1"}})
	if !strings.Contains(e.Msg, "has no disk") {
		t.Error(e)
	}
}

// namesOf joins the names of snapshots.
func namesOf(list func(func(api.DiskSnapshot) bool)) string {
	var all []string
	for s := range list {
		all = append(all, s.Name)
	}
	return strings.Join(all, " ")
}
