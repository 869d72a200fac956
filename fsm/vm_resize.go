package fsm

import (
	"fmt"

	"github.com/orchd/orchd/api"
)

// wantResized gives a VM other amounts. They are promised at once; its owner makes
// the domain so, or says that this takes a restart.
func wantResized(tx *Txn, op string, vm *api.VM, c vmAction) error {
	if err := accountOpen(tx.Reader, op, vm.Account); err != nil {
		return err
	}
	if inHand, ok := operations.one(tx.Reader, vm.Status.Operation); ok && !inHand.State.Done() && inHand.Kind != api.ActResize {
		return api.Errorf(api.Conflict, op, "VM %s has operation %s (%s) in hand; try again when that is done", vm.Name, inHand.ID, inHand.Kind)
	}
	spec, bad := resized(tx.Reader, vm.Spec, c.Resize)
	if err := bad.refusal(op, "the new amounts are not valid"); err != nil {
		return err
	}
	was, is := vm.Spec.Resources(), spec.Resources()
	if err := resizable(op, *vm, is); err != nil {
		return err
	}
	if is.DiskGiB != was.DiskGiB {
		if err := diskIdle(tx.Reader, op, *vm); err != nil {
			return err
		}
	}
	more := is.Minus(was)
	if err := overQuota(tx.Reader, vm.Account, api.Quota{VCPUs: more.VCPUs, MemoryMiB: more.MemoryMiB, DiskGiB: more.DiskGiB}); err != nil {
		return err
	}
	if err := tx.roomFor(op, *vm, more); err != nil {
		return err
	}
	if was != is {
		countUsage(tx, vm.Account)
	}
	vm.Spec = spec
	return nil
}

// resized is the specification with other amounts, and what cannot be of them.
func resized(r Reader, spec api.VMSpec, c api.VMResize) (api.VMSpec, faults) {
	var bad faults
	had := spec.DiskGiB
	if c.Size != "" {
		size, known := r.Size(c.Size)
		bad.wrong(!known, "/size", "no such size")
		bad.wrong(size.Deprecated && size.Name != spec.Size, "/size", "this size is deprecated: no VM may come to have it")
		bad.wrong(c.VCPUs != 0, "/vcpus", "comes from the size; leave it out, or leave out the size")
		bad.wrong(c.MemoryMiB != 0, "/memory_mib", "comes from the size; leave it out, or leave out the size")
		if len(bad) > 0 {
			return spec, bad
		}
		spec.Size, spec.VCPUs, spec.MemoryMiB, spec.DiskGiB = size.Name, size.VCPUs, size.MemoryMiB, max(size.DiskGiB, had)
	}
	if c.VCPUs != 0 {
		spec.Size, spec.VCPUs = "", c.VCPUs
	}
	if c.MemoryMiB != 0 {
		spec.Size, spec.MemoryMiB = "", c.MemoryMiB
	}
	if c.DiskGiB != 0 {
		bad.wrong(c.DiskGiB < spec.DiskGiB, "/disk_gib", fmt.Sprintf("must be at least %d: disks only grow", spec.DiskGiB))
		spec.DiskGiB = c.DiskGiB
	}
	bad.amounts("", spec)
	image, _ := r.Image(spec.Image)
	bad.wrong(had == 0 && spec.DiskGiB > 0 && image.Kind != api.ImageDisk, "/disk_gib", "the VM has no disk that could grow")
	return spec, bad
}

// resizable refuses amounts that a VM cannot come to have in its state.
func resizable(op string, vm api.VM, is api.Resources) error {
	was := vm.Spec.Resources()
	off := vm.Status.State == api.VMStopped || vm.Status.State == api.VMCrashed
	more := is.VCPUs >= was.VCPUs && is.MemoryMiB >= was.MemoryMiB && is.DiskGiB == was.DiskGiB
	switch {
	case off, vm.Status.State == api.VMRunning && more:
		return nil
	case vm.Status.State == api.VMRunning:
		return api.Errorf(api.Conflict, op, "VM %s is running: only vcpus and memory can change, and only upwards; for all else stop it first: orchd vm stop %s", vm.Name, vm.Name)
	}
	return api.Errorf(api.Conflict, op, "VM %s is %s: only one that is stopped or running can be resized", vm.Name, vm.Status.State)
}

// roomFor refuses what the host of a VM has no room for beside what it has promised.
func (tx *Txn) roomFor(op string, vm api.VM, more api.Resources) error {
	more = api.Resources{VCPUs: max(more.VCPUs, 0), MemoryMiB: max(more.MemoryMiB, 0), DiskGiB: max(more.DiskGiB, 0)}
	if more == (api.Resources{}) {
		return nil
	}
	host, _ := peers.one(tx.Reader, vm.Status.OwnerID)
	missing := shortage(Free(tx.Reader, host), more)
	if missing == "" {
		return nil
	}
	return &api.Error{Kind: api.NoCapacity, Op: op, Msg: "host " + host.Name + " has no room for this: " + missing,
		Hosts: []api.HostPart{{Peer: host.Name, Status: api.NotApplicable, Reason: missing}}}
}
