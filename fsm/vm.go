package fsm

import (
	"iter"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

var vms = &table[api.VM]{
	name:    "vms",
	key:     func(v *api.VM) string { return v.ID },
	account: func(v *api.VM) string { return v.Account },
	by: map[string]func(*api.VM) string{
		"owner": func(v *api.VM) string { return v.Status.OwnerID },
		"name":  func(v *api.VM) string { return v.Account + "/" + v.Name },
		"alias": func(v *api.VM) string { return v.Name },
		"image": func(v *api.VM) string { return v.Spec.Image },
		"group": func(v *api.VM) string {
			if v.Spec.Placement.Group == "" {
				return ""
			}
			return v.Account + "/" + v.Spec.Placement.Group
		},
		"doubled": func(v *api.VM) string {
			if len(v.Status.Doubles) == 0 {
				return ""
			}
			return "yes"
		},
	},
	derived: func(s *sums, old, row *api.VM) {
		if old != nil {
			s.reserve(old.Status.OwnerID, api.Resources{}.Minus(taken(old)), -1)
			s.holdVM(old, -1)
		}
		if row != nil {
			s.reserve(row.Status.OwnerID, taken(row), +1)
			s.holdVM(row, +1)
		}
	},
}

// reserve changes what is promised on a host. A VM that is stopped, failed or
// being torn down keeps its reservation until its row is gone.
func (s *sums) reserve(owner string, r api.Resources, n int) {
	before, _ := s.reserved.Get(owner)
	s.reserved.Set(owner, before.Plus(r))
	addTo(&s.owned, owner, n)
}

// taken is what a VM takes of its host.
func taken(vm *api.VM) api.Resources {
	if planted.Is(planted.EarlyFree) && vm.Status.Desired == api.WantDeleted { // its place is given away while it runs
		return api.Resources{}
	}
	return vm.Spec.Resources()
}

// userVM finds a VM that the actor wants to change. Whose account does not
// reach it is told that it is not there.
func userVM(tx *Txn, op string, verb api.Verb, id string, ifVersion uint64) (api.VM, error) {
	vm, ok := vms.one(tx.Reader, id)
	if !ok || !api.Allowed(tx.Actor, api.Read, api.Object{Kind: "vm", Account: vm.Account}) {
		return vm, api.Errorf(api.NotFound, op, "no VM %s", id)
	}
	if err := tx.may(verb, op, api.Object{Kind: "vm", Account: vm.Account}); err != nil {
		return vm, err
	}
	if ifVersion != 0 && ifVersion != vm.Version {
		return vm, api.Errorf(api.Precondition, op, "VM %s has version %d, not %d: someone changed it meanwhile; read it again", vm.Name, vm.Version, ifVersion)
	}
	return vm, nil
}

func putVM(tx *Txn, vm api.VM) object {
	vm.Version++
	vm.UpdatedAt = tx.Now
	vms.put(tx, vm)
	return object{table: vms, key: vm.ID}
}

// VM finds a VM by id.
func (r Reader) VM(id string) (api.VM, bool) { return vms.one(r, id) }

// VMs lists VMs by id.
func (r Reader) VMs(after string) iter.Seq[api.VM] { return vms.each(r, after) }

// VMCount is how many VMs there are.
func (r Reader) VMCount() int { return vms.size(r.state) }

// VMNamed finds a VM by its name in an account.
func (r Reader) VMNamed(account, name string) (api.VM, bool) {
	return vms.with(r, "name", account+"/"+name)
}

// VMsNamed lists the VMs of that name in all accounts.
func (r Reader) VMsNamed(name string) iter.Seq[api.VM] { return vms.all(r, "alias", name) }

// VMsOn lists the virtual machines that peer owns, in id order.
func (r Reader) VMsOn(peer string) iter.Seq[api.VM] { return vms.all(r, "owner", peer) }

// VMsDoubled lists the VMs of which a second domain was seen.
func (r Reader) VMsDoubled() iter.Seq[api.VM] { return vms.all(r, "doubled", "yes") }

// VMsChanged is closed when a VM, or a snapshot of its disk, may have changed.
func (r Reader) VMsChanged() <-chan struct{} { return r.state.trees[vms.pos].changed() }
