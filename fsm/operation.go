package fsm

import (
	"iter"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

var operations = &table[api.Operation]{
	name:    "operations",
	key:     func(o *api.Operation) string { return o.ID },
	account: func(o *api.Operation) string { return o.Account },
	by: map[string]func(*api.Operation) string{
		"finished": func(o *api.Operation) string {
			if !o.State.Done() {
				return ""
			}
			return o.FinishedAt.Format(sortable)
		},
		"inhand": func(o *api.Operation) string {
			if o.State.Done() {
				return ""
			}
			return o.Target.ID
		},
	},
}

// sortable writes times so that their text sorts as they do.
const sortable = "2006-01-02T15:04:05.000000Z"

const (
	operationLife  = 7 * 24 * time.Hour
	keptOperations = 100_000
)

// startOperation records work on a VM and ends whatever was in hand on it
// before: the newer word of the user counts.
func startOperation(tx *Txn, kind string, vm *api.VM, hosts []api.HostPart) api.Operation {
	if before, ok := operations.one(tx.Reader, vm.Status.Operation); ok && !before.State.Done() {
		finishOperation(tx, before, api.OpCancelled, "superseded by "+kind+" "+tx.operationID())
	}
	vm.Status.Operation = tx.operationID()
	return diskOperation(tx, kind, *vm, hosts)
}

// diskOperation records work on the disk of a VM, which what happens to the guest
// does not supersede.
func diskOperation(tx *Txn, kind string, vm api.VM, hosts []api.HostPart) api.Operation {
	return operations.put(tx, api.Operation{
		ID: tx.operationID(), Kind: kind, Mode: api.Asynchronous,
		Target:  api.OpTarget{Kind: "vm", ID: vm.ID, Name: vm.Name},
		Account: vm.Account, State: api.OpPending, Hosts: hosts,
		Actor: tx.Actor.ID, Version: 1, CreatedAt: tx.Now,
	})
}

// runOperation notes that the work has begun.
func runOperation(tx *Txn, id string) {
	op, ok := operations.one(tx.Reader, id)
	if !ok || op.State != api.OpPending {
		return
	}
	op.State = api.OpRunning
	op.Version++
	operations.put(tx, op)
}

// finishOperation ends an operation with a state, and the reason when it failed.
func finishOperation(tx *Txn, op api.Operation, state api.OpState, why string) {
	if op.State.Done() {
		return
	}
	op.State, op.Error, op.FinishedAt = state, why, tx.Now
	op.Version++
	operations.put(tx, op)
}

// endOperations ends whatever is still in hand on a VM.
func endOperations(tx *Txn, vm string, state api.OpState, why string) {
	for _, o := range slices.Collect(operations.all(tx.Reader, "inhand", vm)) {
		finishOperation(tx, o, state, why)
	}
}

// oldOperations are up to limit operations that finished long ago, or are more
// than are kept, oldest first.
func oldOperations(r Reader, now time.Time, limit int) (ids []string) {
	finished := operations.index(r.state, "finished")
	surplus := finished.len() - keptOperations
	finished.ascend("", func(_ string, o *api.Operation) bool {
		if len(ids) == limit || (len(ids) >= surplus && now.Sub(o.FinishedAt) <= operationLife) {
			return false
		}
		ids = append(ids, o.ID)
		return true
	})
	return ids
}

// Operation finds an operation.
func (r Reader) Operation(id string) (api.Operation, bool) { return operations.one(r, id) }

// Operations lists operations by id.
func (r Reader) Operations(after string) iter.Seq[api.Operation] { return operations.each(r, after) }

// OperationsChanged is closed when an operation changes.
func (r Reader) OperationsChanged() <-chan struct{} {
	return r.state.trees[operations.pos].changed()
}
