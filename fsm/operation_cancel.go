package fsm

import (
	"context"

	"github.com/orchd/orchd/api"
)

type operationCancel struct {
	ID string `cbor:"1,keyasint"`
}

// applyCancelOperation takes back what was asked for, as far as that can be done: a
// create is torn down, a guest that is being stopped is wanted on again, and the
// content of an image is not brought in. To cancel twice is no error.
func applyCancelOperation(tx *Txn, c operationCancel) (object, error) {
	const op = "operation.cancel"
	o, there := operations.one(tx.Reader, c.ID)
	if err := tx.reach(api.Update, op, api.Object{Kind: "operation", Account: o.Account}, c.ID, there); err != nil {
		return nothing, err
	}
	about := object{table: operations, key: o.ID}
	if o.State == api.OpCancelled {
		return about, nil
	}
	if o.State.Done() {
		return nothing, api.Errorf(api.Conflict, op, "operation %s is over: it %s", o.ID, o.State)
	}
	if cancelImage(tx, o) {
		return about, nil
	}
	vm, ok := vms.one(tx.Reader, o.Target.ID)
	if !ok || vm.Status.Operation != o.ID {
		return nothing, cannotCancel(o)
	}
	switch o.Kind {
	case kindCreate:
		finishOperation(tx, o, api.OpCancelled, "cancelled by "+tx.Actor.ID+"; what there is of the VM is torn down")
		return about, cancelCreate(tx, op, vm)
	case api.ActStop, api.ActForceStop, api.ActRestart:
		if err := accountOpen(tx.Reader, op, vm.Account); err != nil {
			return nothing, err
		}
		finishOperation(tx, o, api.OpCancelled, "cancelled by "+tx.Actor.ID)
		vm.Status.Desired, vm.Status.Force, vm.Status.Restarting, vm.Status.StopSeconds = api.WantRunning, false, false, 0
		putVM(tx, vm)
		return about, nil
	}
	return nothing, cannotCancel(o)
}

func cannotCancel(o api.Operation) error {
	return api.Errorf(api.Conflict, "operation.cancel", "operation %s (%s) cannot be cancelled any more: wait for its end, or ask for something else", o.ID, o.Kind)
}

// cancelCreate tears a VM down whose create was taken back.
func cancelCreate(tx *Txn, op string, vm api.VM) error {
	if vm.Protected {
		return api.Errorf(api.Conflict, op, "VM %s is protected; if you are sure, first: orchd vm protect --off %s", vm.Name, vm.Name)
	}
	_, err := deleteVM(tx, op, vm)
	return err
}

// CancelOperation takes back what an operation is about; Conflict when it is too late.
func (w *Writer) CancelOperation(ctx context.Context, id string) (Done[api.Operation], error) {
	return propose[api.Operation](ctx, w, cancelOperation, operationCancel{id})
}
