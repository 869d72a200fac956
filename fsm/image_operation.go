package fsm

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
)

// This file is how the content of an image comes in: an operation that the image
// names. A VM that is exported does not name it, for nothing happens to the VM.

// await makes an image pending: via is to bring its content in.
func await(tx *Txn, kind string, i *api.Image, via api.Peer, target api.OpTarget) {
	o := operations.put(tx, api.Operation{
		ID: tx.operationID(), Kind: kind, Mode: api.Asynchronous, Target: target, Account: i.Account, State: api.OpPending,
		Hosts: []api.HostPart{{Peer: via.Name, Status: api.Assigned}},
		Actor: tx.Actor.ID, Version: 1, CreatedAt: tx.Now,
	})
	i.State, i.Via, i.Operation = api.ImagePending, via.ID, o.ID
}

// failImage ends the wait for the content of an image: it will not come. The row
// stays, to say why, until somebody deletes it.
func failImage(tx *Txn, i api.Image, how api.OpState, why string) object {
	if o, ok := operations.one(tx.Reader, i.Operation); ok {
		finishOperation(tx, o, how, why)
	}
	i.State, i.Reason = api.ImageFailed, why
	return putImage(tx, i)
}

// cancelImage gives up on the content of the image that an operation is to bring in;
// false when the operation is about no such image, or the content is in.
func cancelImage(tx *Txn, o api.Operation) bool {
	for i := range images.each(tx.Reader, "") {
		if i.Operation == o.ID && i.State == api.ImagePending {
			failImage(tx, i, api.OpCancelled, "cancelled")
			return true
		}
	}
	return false
}

type imageProgress struct {
	Image string `cbor:"1,keyasint"`
	Done  int64  `cbor:"2,keyasint"`
	Total int64  `cbor:"3,keyasint"` // 0: not known
}

// stepContent is the step of an image's operation.
const stepContent = "content"

// applyImageProgress notes how far the content of an image is.
func applyImageProgress(tx *Txn, c imageProgress) (object, error) {
	const op = "image.progress"
	peer, err := tx.asPeer(op)
	if err != nil {
		return nothing, err
	}
	i, ok := images.one(tx.Reader, c.Image)
	if !ok {
		return nothing, api.Errorf(api.NotFound, op, "no image %s", c.Image)
	}
	if i.Via != peer.ID || i.State != api.ImagePending {
		return nothing, api.Errorf(api.Conflict, op, "the content of image %s is not awaited from peer %s", i.Name, peer.Name)
	}
	if o, ok := operations.one(tx.Reader, i.Operation); ok && !o.State.Done() {
		o.State = api.OpRunning
		o.Steps = withProgress(o.Steps, api.OpStep{Name: stepContent, TookMs: tx.Now.Sub(o.CreatedAt).Milliseconds(), Done: c.Done, Total: c.Total})
		o.Version++
		operations.put(tx, o)
	}
	return object{table: images, key: i.ID}, nil
}

// withProgress are the steps with one in place of the one of its name.
func withProgress(steps []api.OpStep, is api.OpStep) []api.OpStep {
	steps = slices.Clone(steps)
	k := slices.IndexFunc(steps, func(s api.OpStep) bool { return s.Name == is.Name })
	if k < 0 {
		return append(steps, is)
	}
	steps[k] = is
	return steps
}

type vmExport struct {
	VM    string `cbor:"1,keyasint"`
	Image string `cbor:"2,keyasint"` // its name
}

// applyExportVM makes an image of the disk of a stopped VM, in the VM's account.
func applyExportVM(tx *Txn, c vmExport) (object, error) {
	const op = "vm.export"
	vm, err := userVM(tx, op, api.Update, c.VM, 0)
	if err != nil {
		return nothing, err
	}
	if err := tx.may(api.Create, op, api.Object{Kind: "image", Account: vm.Account}); err != nil {
		return nothing, err
	}
	if !api.ValidName(c.Image) {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the image is not valid",
			Fields: []api.FieldError{{Pointer: "/image", Detail: "must be 1 to 63 of a-z, 0-9 and -, and no UUID"}}}
	}
	if err := imageNameFree(tx, op, vm.Account, c.Image); err != nil {
		return nothing, err
	}
	if err := restingDisk(tx.Reader, op, vm); err != nil {
		return nothing, err
	}
	i := api.Image{ID: tx.newID(), Name: c.Image, Account: vm.Account, Kind: api.ImageDisk, Source: api.SourceVM, VM: vm.ID, Format: "qcow2"}
	owner, _ := peers.one(tx.Reader, vm.Status.OwnerID)
	await(tx, kindExport, &i, owner, api.OpTarget{Kind: "vm", ID: vm.ID, Name: vm.Name})
	return putImage(tx, i), nil
}

// restingDisk refuses to read the disk of a VM that has none, or one that may change.
func restingDisk(r Reader, op string, vm api.VM) error {
	boots, _ := r.Image(vm.Spec.Image)
	switch {
	case vm.Status.Desired == api.WantDeleted:
		return api.Errorf(api.Conflict, op, "VM %s is being deleted", vm.Name)
	case vm.Spec.DiskGiB == 0 && boots.Kind != api.ImageDisk:
		return api.Errorf(api.Conflict, op, "VM %s has no disk", vm.Name)
	case slices.Contains(vm.Status.Flags, flagForeignDisk):
		return api.Errorf(api.Conflict, op, "VM %s was adopted with a disk that is not in orchd's folder; copy it on its host, and make an image of that file", vm.Name)
	case vm.Status.State != api.VMStopped || vm.Status.Desired != api.WantStopped:
		return api.Errorf(api.Conflict, op, "VM %s is %s; stop it first: orchd vm stop %s", vm.Name, vm.Status.State, vm.Name)
	}
	return diskIdle(r, op, vm)
}

// exportInHand finds the image that the disk of a VM is being made into.
func exportInHand(r Reader, vm string) (api.Image, bool) { return images.with(r, "export", vm) }

// failExport gives up on the image that is made of a VM which goes.
func failExport(tx *Txn, vm, why string) {
	if i, ok := exportInHand(tx.Reader, vm); ok {
		failImage(tx, i, api.OpFailed, why)
	}
}

// ImageProgress tells how far the content of an image is that the peer that asks
// brings in; total 0 when that is not known.
func (w *Writer) ImageProgress(ctx context.Context, image string, done, total int64) error {
	_, err := propose[api.Image](ctx, w, progressImage, imageProgress{image, done, total})
	return err
}

// ExportVM makes an image of the disk of a stopped VM: pending, until its owner has
// copied and checked it.
func (w *Writer) ExportVM(ctx context.Context, vm string, e api.VMExport) (Done[api.Image], error) {
	done, err := propose[api.Image](ctx, w, exportVM, vmExport{vm, e.Image})
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}
