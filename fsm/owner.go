package fsm

import (
	"context"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// This file is how an owner claims a VM. What it says of it then stands in the other
// files of that name.

type vmEpoch struct {
	VM    string `cbor:"1,keyasint"`
	Epoch uint64 `cbor:"2,keyasint"`
}

// owned finds a VM for a peer that says it owns that epoch of it.
func owned(tx *Txn, op, id string, epoch uint64) (api.VM, error) {
	peer, err := tx.asPeer(op)
	if err != nil {
		return api.VM{}, err
	}
	vm, ok := vms.one(tx.Reader, id)
	if !ok {
		return vm, api.Errorf(api.NotFound, op, "no VM %s", id)
	}
	if planted.Is(planted.EpochUnchecked) { // a former owner goes on with a VM that is another's by now
		return vm, nil
	}
	if vm.Status.OwnerID != peer.ID || vm.Status.Epoch != epoch {
		return vm, api.Errorf(api.Conflict, op, "VM %s is owned by %s at epoch %d, not by %s at epoch %d", id, vm.Status.Owner, vm.Status.Epoch, peer.Name, epoch)
	}
	return vm, nil
}

// applyBeginVM claims an epoch of a VM: from here on its owner may touch the guest.
func applyBeginVM(tx *Txn, c vmEpoch) (object, error) {
	const op = "vm.begin"
	vm, err := owned(tx, op, c.VM, c.Epoch)
	if err != nil {
		return nothing, err
	}
	if vm.Status.Desired == api.WantDeleted {
		return nothing, api.Errorf(api.Conflict, op, "VM %s is being deleted", vm.Name)
	}
	if vm.Status.Begun {
		return object{table: vms, key: vm.ID}, nil
	}
	vm.Status.Begun, vm.Status.State = true, api.VMCreating
	runOperation(tx, vm.Status.Operation)
	return putVM(tx, vm), nil
}

// BeginVM claims (vm, epoch) for the peer that asks; Conflict when it is another's.
func (w *Writer) BeginVM(ctx context.Context, vm string, epoch uint64) error {
	_, err := propose[api.VM](ctx, w, beginVM, vmEpoch{vm, epoch})
	return err
}
