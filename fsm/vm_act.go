package fsm

import (
	"context"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// The kinds of operation on a VM are its verbs, and these.
const (
	kindCreate = "create"
	kindDelete = "delete"
	kindExport = "export"
)

// maxStopSeconds is how long a guest may be waited for.
const maxStopSeconds = 3600

type vmAction struct {
	ID          string       `cbor:"1,keyasint"`
	IfVersion   uint64       `cbor:"2,keyasint,omitempty"`
	Verb        string       `cbor:"3,keyasint"`
	StopSeconds int64        `cbor:"4,keyasint,omitempty"` // 0: 30 s
	Resize      api.VMResize `cbor:"5,keyasint,omitempty"`
}

// verb is what can be asked of a VM.
type verb struct {
	// want changes the row to what is wanted, or refuses.
	want func(tx *Txn, op string, vm *api.VM, c vmAction) error
	// reached is the state in which nothing is left to do; empty: the owner has to say so.
	reached api.VMState
	begins  bool // it switches the guest on: not for who is suspended, and not while its disk is worked on
}

var verbs = map[string]verb{
	api.ActStart:     {wantRunning, api.VMRunning, true},
	api.ActStop:      {wantStopped, api.VMStopped, false},
	api.ActForceStop: {wantStopped, api.VMStopped, false},
	api.ActRestart:   {wantRestarted, "", true},
	api.ActPause:     {wantPaused, api.VMPaused, false},
	api.ActResume:    {wantResumed, api.VMRunning, true},
	api.ActResize:    {wantResized, "", false},
}

// applyActOnVM gives an operation. What was in hand on the VM ends as superseded:
// the newest word counts.
func applyActOnVM(tx *Txn, c vmAction) (object, error) {
	op := "vm." + c.Verb
	if c.Verb == kindDelete {
		return applyDeleteVM(tx, c)
	}
	vm, err := userVM(tx, op, api.Update, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	v, known := verbs[c.Verb]
	if !known {
		return nothing, api.Errorf(api.Invalid, "vm.action", "no verb %q: start, stop, force-stop, restart, pause, resume and resize are known", clipped(c.Verb))
	}
	if err := tx.mayAct(op, vm, v); err != nil {
		return nothing, err
	}
	before := vm
	inHand, _ := operations.one(tx.Reader, vm.Status.Operation)
	if err := v.want(tx, op, &vm, c); err != nil {
		return nothing, err
	}
	done := startOperation(tx, c.Verb, &vm, ownerPart(vm))
	// With something in hand that wants otherwise, the state is on its way elsewhere.
	settled := inHand.State.Done() || before.Status.Desired == vm.Status.Desired && !before.Status.Restarting
	if vm.Status.State == v.reached && settled || c.Verb == api.ActResize && vm.Spec.Resources() == before.Spec.Resources() {
		finishOperation(tx, done, api.OpSucceeded, "")
	}
	putVM(tx, vm)
	return object{table: operations, key: done.ID}, nil
}

// mayAct refuses what no verb, or not this one, may do to a VM in its state.
func (tx *Txn) mayAct(op string, vm api.VM, v verb) error {
	switch {
	case vm.Status.Desired == api.WantDeleted:
		return api.Errorf(api.Conflict, op, "VM %s is being deleted", vm.Name)
	case vm.Status.State == api.VMLost:
		return api.Errorf(api.Conflict, op, "VM %s was lost with its host %s: all that is left to do is to delete it", vm.Name, vm.Status.Owner)
	case !v.begins:
		return nil
	}
	if err := accountOpen(tx.Reader, op, vm.Account); err != nil {
		return err
	}
	return diskIdle(tx.Reader, op, vm)
}

func wantRunning(_ *Txn, _ string, vm *api.VM, _ vmAction) error {
	vm.Status.Desired, vm.Status.Force, vm.Status.Restarting, vm.Status.StopSeconds = api.WantRunning, false, false, 0
	return nil
}

// wantStopped is stop, and force-stop.
func wantStopped(_ *Txn, op string, vm *api.VM, c vmAction) error {
	if err := stopSeconds(op, c); err != nil {
		return err
	}
	vm.Status.Desired, vm.Status.Force, vm.Status.Restarting = api.WantStopped, c.Verb == api.ActForceStop, false
	vm.Status.StopSeconds = c.StopSeconds
	return nil
}

func wantRestarted(_ *Txn, op string, vm *api.VM, c vmAction) error {
	if err := stopSeconds(op, c); err != nil {
		return err
	}
	vm.Status.Desired, vm.Status.Force, vm.Status.Restarting, vm.Status.StopSeconds = api.WantRunning, false, true, c.StopSeconds
	return nil
}

func stopSeconds(op string, c vmAction) error {
	var f faults
	f.wrong(c.StopSeconds < 0 || c.StopSeconds > maxStopSeconds, "/timeout", "must be at most 1h")
	return f.refusal(op, "the patience with the guest is out of range")
}

func wantPaused(_ *Txn, op string, vm *api.VM, _ vmAction) error {
	if s := vm.Status.State; s != api.VMRunning && s != api.VMPaused {
		return api.Errorf(api.Conflict, op, "VM %s is %s: only one that runs can be paused", vm.Name, s)
	}
	vm.Status.Desired, vm.Status.Force, vm.Status.Restarting, vm.Status.StopSeconds = api.WantPaused, false, false, 0
	return nil
}

func wantResumed(tx *Txn, op string, vm *api.VM, c vmAction) error {
	s := vm.Status
	if s.State != api.VMPaused && s.Desired != api.WantPaused && !(s.State == api.VMRunning && s.Desired == api.WantRunning) {
		return api.Errorf(api.Conflict, op, "VM %s is %s, not paused; to switch it on: orchd vm start %s", vm.Name, s.State, vm.Name)
	}
	return wantRunning(tx, op, vm, c)
}

func applyDeleteVM(tx *Txn, c vmAction) (object, error) {
	const op = "vm.delete"
	vm, err := userVM(tx, op, api.Delete, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	return deleteVM(tx, op, vm)
}

// deleteVM tears a VM down. One that its owner never began is gone at once, for
// no host has touched anything, and so is one whose host is lost; else the owner
// does it and buries it.
func deleteVM(tx *Txn, op string, vm api.VM) (object, error) {
	if vm.Status.Desired == api.WantDeleted {
		return object{table: operations, key: vm.Status.Operation}, nil
	}
	if vm.Protected {
		return nothing, api.Errorf(api.Conflict, op, "VM %s is protected; if you are sure, first: orchd vm protect --off %s", vm.Name, vm.Name)
	}
	o := startOperation(tx, kindDelete, &vm, ownerPart(vm))
	if !vm.Status.Begun || vm.Status.State == api.VMLost {
		bury(tx, vm)
		return object{table: operations, key: o.ID}, nil
	}
	vm.Status.Desired, vm.Status.State, vm.Status.Force, vm.Status.Restarting = api.WantDeleted, api.VMDeleting, true, false
	if planted.Is(planted.EarlyFree) { // its addresses are given away while it answers at them
		unplug(tx, vm.ID)
	}
	putVM(tx, vm)
	return object{table: operations, key: o.ID}, nil
}

func ownerPart(vm api.VM) []api.HostPart {
	return []api.HostPart{{Peer: vm.Status.Owner, Status: api.Assigned}}
}

// ActOnVM asks for one of the verbs; the operation tells how it goes.
func (w *Writer) ActOnVM(ctx context.Context, id string, ifVersion uint64, act api.VMAct) (Done[api.Operation], error) {
	if strings.EqualFold(act.Verb, kindDelete) { // which is no verb of ActOnVM
		return Done[api.Operation]{}, api.Errorf(api.Invalid, "vm.action", "no verb %q", act.Verb)
	}
	return propose[api.Operation](ctx, w, actOnVM, vmAction{id, ifVersion, act.Verb, act.StopSeconds, act.Resize})
}

// DeleteVM wants a VM torn down.
func (w *Writer) DeleteVM(ctx context.Context, id string, ifVersion uint64) (Done[api.Operation], error) {
	return propose[api.Operation](ctx, w, actOnVM, vmAction{ID: id, IfVersion: ifVersion, Verb: kindDelete})
}
