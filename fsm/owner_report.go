package fsm

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
)

// applyReportVM records what the owner saw.
func applyReportVM(tx *Txn, c api.VMReport) (object, error) {
	const op = "vm.report"
	vm, err := owned(tx, op, c.VM, c.Epoch)
	if err != nil {
		return nothing, err
	}
	if !vm.Status.Begun {
		return nothing, api.Errorf(api.Conflict, op, "VM %s was not begun at epoch %d", vm.Name, c.Epoch)
	}
	if !slices.Contains(reportable, c.State) {
		return nothing, api.Errorf(api.Invalid, op, "state %q is not an owner's to report", c.State)
	}
	c.Reason = clipped(c.Reason)
	late := c.Operation != "" && c.Operation != vm.Status.Operation // seen before the operation in hand was asked for
	if !late {
		progress(tx, vm, c)
	}
	state := c.State
	if vm.Status.Desired == api.WantDeleted {
		state = api.VMDeleting
	}
	restarting := vm.Status.Restarting && (late || !restartEnded(c))
	if state == vm.Status.State && c.Reason == vm.Status.Reason && restarting == vm.Status.Restarting {
		return object{table: vms, key: vm.ID}, nil
	}
	vm.Status.State, vm.Status.Reason, vm.Status.Restarting = state, c.Reason, restarting
	return putVM(tx, vm), nil
}

// restartEnded tells whether a restart is over, well or not.
func restartEnded(c api.VMReport) bool {
	return c.Restarted && c.State == api.VMRunning || c.State == api.VMFailed || c.State == api.VMCrashed || c.Failed
}

// reportable are the states that an owner sees.
var reportable = []api.VMState{api.VMCreating, api.VMRunning, api.VMStopped, api.VMPaused, api.VMCrashed, api.VMFailed}

// progress brings the operation in hand on.
func progress(tx *Txn, vm api.VM, c api.VMReport) {
	op, ok := operations.one(tx.Reader, vm.Status.Operation)
	if !ok || op.State.Done() {
		return
	}
	if len(c.Steps) > 0 {
		op.Steps = withSteps(op.Steps, c.Steps...)
		op.Version++
		operations.put(tx, op)
	}
	switch state, why := outcome(op.Kind, c); state {
	case api.OpRunning:
		runOperation(tx, op.ID)
	default:
		finishOperation(tx, op, state, why)
	}
}

// reachedBy is the state that ends each kind of operation well.
var reachedBy = map[string]api.VMState{
	kindCreate: api.VMRunning, api.ActStart: api.VMRunning, api.ActResume: api.VMRunning, api.ActRestart: api.VMRunning,
	api.ActStop: api.VMStopped, api.ActForceStop: api.VMStopped, api.ActPause: api.VMPaused,
}

// outcome is what an owner's report means for an operation of that kind.
func outcome(kind string, c api.VMReport) (api.OpState, string) {
	reached, awaited := reachedBy[kind]
	off := c.State == api.VMStopped || c.State == api.VMCrashed
	switch {
	case !awaited && kind != api.ActResize:
		return api.OpRunning, "" // a deletion: bury alone ends it
	case c.Failed, c.State == api.VMFailed:
		return api.OpFailed, c.Reason
	case kind == api.ActResize, c.State == reached && (kind != api.ActRestart || c.Restarted):
		return api.OpSucceeded, ""
	case c.State == api.VMCrashed && reached == api.VMStopped:
		return api.OpSucceeded, ""
	case c.State == api.VMCrashed:
		return api.OpFailed, c.Reason
	case off && kind == api.ActPause:
		return api.OpFailed, "the guest is off"
	}
	return api.OpRunning, ""
}

// withSteps are the steps of an operation and more of them. A step that was under
// way gives its place to what became of it.
func withSteps(steps []api.OpStep, more ...api.OpStep) []api.OpStep {
	steps = slices.Clone(steps)
	for _, s := range more {
		s.Name = s.Name[:min(len(s.Name), maxStepName)]
		k := slices.IndexFunc(steps, func(had api.OpStep) bool { return had.Name == s.Name && had.TookMs == 0 && had.Total+had.Done > 0 })
		switch {
		case k >= 0:
			steps[k] = s
		case len(steps) < maxSteps:
			steps = append(steps, s)
		}
	}
	return steps
}

// Bounds of what an operation remembers of its steps.
const (
	maxSteps    = 64
	maxStepName = 64 // bytes
)

// ReportVM tells the cluster the state of a VM of the peer that asks.
func (w *Writer) ReportVM(ctx context.Context, r api.VMReport) error {
	_, err := propose[api.VM](ctx, w, reportVM, r)
	return err
}
