package fsm

import (
	"slices"

	"github.com/orchd/orchd/api"
)

// This file is the work on the disks of VMs: what users ask for, and what owners say
// of it.

// maxDiskSnapshots of a VM: they all lie in its disk.
const maxDiskSnapshots = 64

// The kinds of operation on snapshots of disks.
const (
	kindSnapshot        = "snapshot"
	kindRestoreSnapshot = "restore-snapshot"
	kindDeleteSnapshot  = "delete-snapshot"
)

// diskKinds are the operations on the disk of a VM. It has at most one in hand.
var diskKinds = []string{kindSnapshot, kindRestoreSnapshot, kindDeleteSnapshot, kindExport}

// diskIdle refuses while something is done to the disk of a VM.
func diskIdle(r Reader, op string, vm api.VM) error {
	for o := range operations.all(r, "inhand", vm.ID) {
		if slices.Contains(diskKinds, o.Kind) {
			return api.Errorf(api.Conflict, op, "the disk of VM %s is in use by operation %s (%s); try again when that is done", vm.Name, o.ID, o.Kind)
		}
	}
	return nil
}

// userDisk finds a VM whose disk the actor wants to do something to, and may.
func userDisk(tx *Txn, op string, verb api.Verb, vm string) (api.VM, error) {
	v, err := userVM(tx, op, api.Update, vm, 0)
	if err != nil {
		return v, err
	}
	if err := tx.may(verb, op, api.Object{Kind: "disk-snapshot", Account: v.Account}); err != nil {
		return v, err
	}
	boots, _ := tx.Image(v.Spec.Image)
	switch {
	case v.Status.Desired == api.WantDeleted:
		return v, api.Errorf(api.Conflict, op, "VM %s is being deleted", v.Name)
	case v.Status.State == api.VMLost:
		return v, api.Errorf(api.Conflict, op, "VM %s was lost with its host %s, and its disk too", v.Name, v.Status.Owner)
	case v.Spec.DiskGiB == 0 && boots.Kind != api.ImageDisk:
		return v, api.Errorf(api.Conflict, op, "VM %s has no disk", v.Name)
	case slices.Contains(v.Status.Flags, flagForeignDisk):
		return v, api.Errorf(api.Conflict, op, "VM %s was adopted with a disk that is not in orchd's folder: its snapshots are made on its host", v.Name)
	case !slices.Contains(withDisk, v.Status.State):
		return v, api.Errorf(api.Conflict, op, "VM %s is %s: it has no disk to work on yet", v.Name, v.Status.State)
	}
	return v, diskIdle(tx.Reader, op, v)
}

// withDisk are the states in which a VM has its disk.
var withDisk = []api.VMState{api.VMRunning, api.VMStopped, api.VMPaused, api.VMCrashed}

type diskSnapshotCreate struct {
	VM     string                 `cbor:"1,keyasint"`
	Create api.DiskSnapshotCreate `cbor:"2,keyasint"`
}

func applyCreateDiskSnapshot(tx *Txn, c diskSnapshotCreate) (object, error) {
	const op = "disk-snapshot.create"
	vm, err := userDisk(tx, op, api.Create, c.VM)
	if err != nil {
		return nothing, err
	}
	if err := accountOpen(tx.Reader, op, vm.Account); err != nil {
		return nothing, err
	}
	var bad faults
	bad.wrong(!api.ValidName(c.Create.Name), "/name", badName)
	if err := bad.refusal(op, "the snapshot is not valid"); err != nil {
		return nothing, err
	}
	if _, taken := diskSnapshots.holder(tx.Reader, "name", vm.ID+"/"+c.Create.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "VM %s has a snapshot named %q already", vm.Name, c.Create.Name)
	}
	if n := len(slices.Collect(diskSnapshots.all(tx.Reader, "vm", vm.ID))); n >= maxDiskSnapshots {
		return nothing, api.Errorf(api.Conflict, op, "VM %s has %d snapshots, which is the most; delete one first", vm.Name, n)
	}
	return workOn(tx, kindSnapshot, vm, api.DiskSnapshot{ID: tx.newID(), Name: c.Create.Name, VM: vm.ID, Account: vm.Account,
		State: api.DiskSnapshotCreating, CreatedAt: tx.Now}), nil
}

// workOn stores a snapshot that the owner has something to do about.
func workOn(tx *Txn, kind string, vm api.VM, s api.DiskSnapshot) object {
	s.Operation, s.Reason = diskOperation(tx, kind, vm, ownerPart(vm)).ID, ""
	vms.put(tx, vm) // as it is: owners watch the VMs, and this wakes them
	return putDiskSnapshot(tx, s)
}

func putDiskSnapshot(tx *Txn, s api.DiskSnapshot) object {
	s.Version++
	s.UpdatedAt = tx.Now
	diskSnapshots.put(tx, s)
	tx.changing(vms.pos) // who waits for VMs to change waits for this too
	return object{table: diskSnapshots, key: s.ID}
}

type diskSnapshotWork struct {
	VM       string `cbor:"1,keyasint"`
	Snapshot string `cbor:"2,keyasint"` // id or name
}

// userDiskSnapshot finds a snapshot that the actor wants something done about.
func userDiskSnapshot(tx *Txn, op string, verb api.Verb, c diskSnapshotWork) (api.VM, api.DiskSnapshot, error) {
	vm, err := userDisk(tx, op, verb, c.VM)
	if err != nil {
		return vm, api.DiskSnapshot{}, err
	}
	s, known := tx.DiskSnapshot(vm.ID, c.Snapshot)
	if !known {
		return vm, s, api.Errorf(api.NotFound, op, "VM %s has no snapshot %q", vm.Name, clipped(c.Snapshot))
	}
	return vm, s, nil
}

// applyRestoreDiskSnapshot lets the disk of a VM that is off go back.
func applyRestoreDiskSnapshot(tx *Txn, c diskSnapshotWork) (object, error) {
	const op = "disk-snapshot.restore"
	vm, s, err := userDiskSnapshot(tx, op, api.Update, c)
	if err != nil {
		return nothing, err
	}
	off := vm.Status.State == api.VMStopped || vm.Status.State == api.VMCrashed
	switch {
	case s.State != api.DiskSnapshotReady:
		return nothing, api.Errorf(api.Conflict, op, "snapshot %s is %s: only one that is ready can be gone back to", s.Name, s.State)
	case !off || vm.Status.Desired != api.WantStopped:
		return nothing, api.Errorf(api.Conflict, op, "VM %s is %s and wanted %s; stop it first: orchd vm stop %s", vm.Name, vm.Status.State, vm.Status.Desired, vm.Name)
	}
	s.State = api.DiskSnapshotRestoring
	workOn(tx, kindRestoreSnapshot, vm, s)
	return object{table: operations, key: tx.operationID()}, nil
}

func applyDeleteDiskSnapshot(tx *Txn, c diskSnapshotWork) (object, error) {
	const op = "disk-snapshot.delete"
	vm, s, err := userDiskSnapshot(tx, op, api.Delete, c)
	if err != nil {
		return nothing, err
	}
	s.State = api.DiskSnapshotDeleting
	workOn(tx, kindDeleteSnapshot, vm, s)
	return object{table: operations, key: tx.operationID()}, nil
}

// applyReportDiskSnapshot ends the operation on a snapshot. What is not in hand was
// reported before.
func applyReportDiskSnapshot(tx *Txn, c api.DiskSnapshotReport) (object, error) {
	const op = "disk-snapshot.report"
	vm, err := owned(tx, op, c.VM, c.Epoch)
	if err != nil {
		return nothing, err
	}
	s, known := diskSnapshots.one(tx.Reader, c.ID)
	if !known || s.VM != vm.ID || !inHand(s.State) {
		return nothing, nil
	}
	endDiskOperation(tx, s, c)
	s.Reason = clipped(c.Error)
	switch {
	case s.State == api.DiskSnapshotDeleting && c.Error == "":
		diskSnapshots.remove(tx, s.ID)
		return nothing, nil
	case s.State == api.DiskSnapshotRestoring: // the snapshot itself is as good as it was
		s.State = api.DiskSnapshotReady
	case c.Error == "":
		s.State = api.DiskSnapshotReady
	default:
		s.State = api.DiskSnapshotFailed
	}
	return putDiskSnapshot(tx, s), nil
}

// endDiskOperation notes what the work on a snapshot took, and ends it.
func endDiskOperation(tx *Txn, s api.DiskSnapshot, c api.DiskSnapshotReport) {
	o, ok := operations.one(tx.Reader, s.Operation)
	if !ok || o.State.Done() {
		return
	}
	if c.Took.Name != "" {
		o.Steps = withSteps(o.Steps, c.Took)
	}
	state := api.OpSucceeded
	if c.Error != "" {
		state = api.OpFailed
	}
	finishOperation(tx, o, state, clipped(c.Error))
}
