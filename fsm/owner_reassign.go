package fsm

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
)

type vmReassign struct {
	VM         string         `cbor:"1,keyasint"`
	Epoch      uint64         `cbor:"2,keyasint"`
	Candidates []string       `cbor:"3,keyasint,omitempty"`
	Others     []api.HostPart `cbor:"4,keyasint,omitempty"`
}

// applyReassignVM gives a VM that its silent owner never began to another peer.
func applyReassignVM(tx *Txn, c vmReassign) (object, error) {
	const op = "vm.reassign"
	if _, err := tx.asPeer(op); err != nil {
		return nothing, err
	}
	vm, ok := vms.one(tx.Reader, c.VM)
	if !ok {
		return nothing, api.Errorf(api.NotFound, op, "no VM %s", c.VM)
	}
	if vm.Status.Epoch != c.Epoch || vm.Status.Begun || vm.Status.Desired == api.WantDeleted {
		return nothing, api.Errorf(api.Conflict, op, "VM %s was begun or moved meanwhile", vm.Name)
	}
	candidates := slices.DeleteFunc(slices.Clone(c.Candidates), func(id string) bool { return id == vm.Status.OwnerID })
	p := place(tx.Reader, asksAgain(tx.Reader, vm), candidates, c.Others)
	if !p.found {
		return nothing, &api.Error{Kind: api.NoCapacity, Op: op, Msg: "no other host can take VM " + vm.Name, Hosts: p.hosts}
	}
	vm.Status.Owner, vm.Status.OwnerID = p.owner.Name, p.owner.ID
	vm.Status.Epoch++
	vm.Status.State, vm.Status.Reason = api.VMAssigned, ""
	if len(p.nic.network.Pools) > 0 { // its addresses were of the pool of its owner
		unplug(tx, vm.ID)
		plug(tx, &vm, p.nic)
	}
	explain(tx, vm, p.why)
	if o, ok := operations.one(tx.Reader, vm.Status.Operation); ok {
		o.Hosts = p.hosts
		o.Version++
		operations.put(tx, o)
	}
	return putVM(tx, vm), nil
}

// asksAgain is what a VM asks of another host. Where the network has no pools it
// keeps its addresses, and everywhere its MAC address.
func asksAgain(r Reader, vm api.VM) ask {
	a := ask{id: vm.ID, account: vm.Account, spec: vm.Spec}
	if network, known := r.Network(vm.Spec.Network); known && len(network.Pools) > 0 && len(vm.Status.Addresses) > 0 {
		a.network, a.mac = &network, vm.Status.Addresses[0].MAC
	}
	return a
}

// Movable tells whether one of the candidates, by id, could take a VM that its owner
// has not begun: what ReassignVM would find, without an entry in the log.
func (r Reader) Movable(vm api.VM, candidates []string) bool {
	candidates = slices.DeleteFunc(slices.Clone(candidates), func(id string) bool { return id == vm.Status.OwnerID })
	return place(r, asksAgain(r, vm), candidates, nil).found
}

// ReassignVM moves a VM that was never begun away from its silent owner.
func (w *Writer) ReassignVM(ctx context.Context, vm api.VM) (api.VM, error) {
	candidates, others := w.ranker.Rank(vm.Spec.Resources(), vm.Spec.Image)
	done, err := propose[api.VM](ctx, w, reassignVM, vmReassign{vm.ID, vm.Status.Epoch, candidates, others})
	return done.Object, err
}
