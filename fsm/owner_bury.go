package fsm

import (
	"context"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// tombstone remembers that a VM is gone for good, so that a late domain of it
// can be told from a stranger's.
type tombstone struct {
	ID    string    `json:"id"`
	Epoch uint64    `json:"epoch"`
	At    time.Time `json:"at"`
}

// tombstoneLife is how long it is remembered.
const tombstoneLife = 24 * time.Hour

var tombstones = &table[tombstone]{
	name: "tombstones",
	key:  func(t *tombstone) string { return t.ID },
	by:   map[string]func(*tombstone) string{"at": func(t *tombstone) string { return t.At.Format(sortable) }},
}

// applyBuryVM ends a deletion: the owner has no domain and no file of it any more.
func applyBuryVM(tx *Txn, c vmEpoch) (object, error) {
	const op = "vm.bury"
	if stone, gone := tombstones.one(tx.Reader, c.VM); gone && stone.Epoch >= c.Epoch {
		return nothing, nil
	}
	vm, err := owned(tx, op, c.VM, c.Epoch)
	if err != nil {
		return nothing, err
	}
	if vm.Status.Desired != api.WantDeleted {
		return nothing, api.Errorf(api.Conflict, op, "VM %s is not being deleted", vm.Name)
	}
	bury(tx, vm)
	return nothing, nil
}

// bury frees a VM's name, reservation and addresses, and leaves a tombstone. What
// was kept beside its row goes with it.
func bury(tx *Txn, vm api.VM) {
	countUsage(tx, vm.Account)
	if op, ok := operations.one(tx.Reader, vm.Status.Operation); ok {
		finishOperation(tx, op, api.OpSucceeded, "")
	}
	failExport(tx, vm.ID, "the VM was deleted")
	endOperations(tx, vm.ID, api.OpCancelled, "the VM was deleted")
	for _, s := range slices.Collect(sightings.all(tx.Reader, "vm", vm.ID)) {
		sightings.remove(tx, sightings.key(&s))
	}
	forgetDiskSnapshots(tx, vm.ID)
	unplug(tx, vm.ID)
	seeds.remove(tx, vm.ID)
	placements.remove(tx, vm.ID)
	tombstones.put(tx, tombstone{vm.ID, vm.Status.Epoch, tx.Now})
	vms.remove(tx, vm.ID)
}

// oldTombstones are up to limit tombstones that are past their time, oldest first.
func oldTombstones(r Reader, now time.Time, limit int) (ids []string) {
	tombstones.index(r.state, "at").ascend("", func(_ string, t *tombstone) bool {
		if len(ids) == limit || now.Sub(t.At) <= tombstoneLife {
			return false
		}
		ids = append(ids, t.ID)
		return true
	})
	return ids
}

// Buried tells whether a VM is gone for good, and its last epoch.
func (r Reader) Buried(vm string) (epoch uint64, gone bool) {
	t, ok := tombstones.one(r, vm)
	return t.Epoch, ok
}

// BuryVM ends a deletion.
func (w *Writer) BuryVM(ctx context.Context, vm string, epoch uint64) error {
	_, err := propose[struct{}](ctx, w, buryVM, vmEpoch{vm, epoch})
	return err
}
