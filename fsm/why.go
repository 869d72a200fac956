package fsm

import "github.com/orchd/orchd/api"

// placements are how the owners of VMs were chosen, one row for each VM: that of
// the ownership epoch in force.
var placements = &table[api.Why]{
	name:    "placements",
	key:     func(w *api.Why) string { return w.VM },
	account: func(w *api.Why) string { return w.Account },
}

// explain keeps how the owner of a VM was chosen.
func explain(tx *Txn, vm api.VM, candidates []api.Candidate) {
	placements.put(tx, api.Why{VM: vm.ID, Account: vm.Account, Epoch: vm.Status.Epoch, Owner: vm.Status.Owner,
		Asked: vm.Spec.Placement, Candidates: candidates, At: tx.Now})
}

// Why is how the owner of a VM was chosen.
func (r Reader) Why(vm string) (api.Why, bool) { return placements.one(r, vm) }
