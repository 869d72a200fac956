package fsm

import (
	"context"
	"iter"

	"github.com/orchd/orchd/api"
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
		"doubled": func(v *api.VM) string {
			if len(v.Status.Doubles) == 0 {
				return ""
			}
			return "yes"
		},
	},
	derived: func(s *sums, old, row *api.VM) {
		if old != nil {
			s.reserve(old.Status.OwnerID, api.Resources{}.Minus(old.Spec.Resources()), -1)
			s.holdVM(old, -1)
		}
		if row != nil {
			s.reserve(row.Status.OwnerID, row.Spec.Resources(), +1)
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

type vmCreate struct {
	VM         api.VMCreate   `cbor:"1,keyasint"`
	Candidates []string       `cbor:"2,keyasint,omitempty"` // peer ids, best first; gossip's opinion, apply decides
	Others     []api.HostPart `cbor:"3,keyasint,omitempty"` // why others are no candidates
}

func applyCreateVM(tx *Txn, c vmCreate) (object, error) {
	const op = "vm.create"
	account := c.VM.Account
	if account == "" {
		account = defaultAccount(tx.Actor)
	}
	if err := tx.may(api.Create, op, api.Object{Kind: "vm", Account: account}); err != nil {
		return nothing, err
	}
	if faults := vmFaults(tx.Reader, account, c.VM); len(faults) > 0 {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the virtual machine is not valid", Fields: faults}
	}
	if _, taken := vms.with(tx.Reader, "name", account+"/"+c.VM.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "account %q has a VM named %q already", account, c.VM.Name)
	}
	if i, named := tx.Reader.Image(c.VM.Spec.Image); named {
		c.VM.Spec.Image = i.Name // it may have been given by id
	}
	p := place(tx.Reader, c.VM.Spec.Resources(), c.Candidates, c.Others)
	if !p.found {
		return nothing, &api.Error{Kind: api.NoCapacity, Op: op, Msg: "no host can take this VM; nothing was stored", Hosts: p.hosts}
	}
	vm := api.VM{
		ID: tx.newID(), Name: c.VM.Name, Account: account, Labels: c.VM.Labels, Spec: c.VM.Spec,
		Status:  api.VMStatus{Owner: p.owner.Name, OwnerID: p.owner.ID, Epoch: 1, State: api.VMAssigned, Desired: api.WantRunning},
		Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now,
	}
	startOperation(tx, "create", &vm, p.hosts)
	vms.put(tx, vm)
	return object{table: vms, key: vm.ID}, nil
}

func defaultAccount(a api.Actor) string {
	if a.Account != "" {
		return a.Account
	}
	return api.DefaultAccount
}

// vmFaults names the fields that can never succeed as written.
func vmFaults(r Reader, account string, c api.VMCreate) (faults []api.FieldError) {
	wrong := func(pointer, detail string) {
		faults = append(faults, api.FieldError{Pointer: pointer, Detail: detail})
	}
	if !api.ValidName(c.Name) {
		wrong("/name", "must be 1 to 63 of a-z, 0-9 and -, not beginning with -, and no UUID")
	}
	if _, known := accounts.one(r, account); !known {
		wrong("/account", "no such account")
	}
	if c.Spec.VCPUs < 1 || c.Spec.VCPUs > 1024 {
		wrong("/spec/vcpus", "must be from 1 to 1024")
	}
	if c.Spec.MemoryMiB < 16 || c.Spec.MemoryMiB > 64<<20 {
		wrong("/spec/memory_mib", "must be from 16 to 67108864")
	}
	if c.Spec.DiskGiB < 0 || c.Spec.DiskGiB > 1<<20 {
		wrong("/spec/disk_gib", "must be from 0 to 1048576")
	}
	if _, known := r.Image(c.Spec.Image); c.Spec.Image != "" && !known {
		wrong("/spec/image", "no such image")
	}
	return faults
}

type vmUpdate struct {
	ID        string       `cbor:"1,keyasint"`
	IfVersion uint64       `cbor:"2,keyasint,omitempty"`
	Update    api.VMUpdate `cbor:"3,keyasint"`
}

func applyUpdateVM(tx *Txn, c vmUpdate) (object, error) {
	vm, err := userVM(tx, "vm.update", api.Update, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	vm.Labels = c.Update.Labels
	return putVM(tx, vm), nil
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

// The verbs of actOnVM.
const (
	verbStart     = "start"
	verbStop      = "stop"
	verbForceStop = "force-stop"
	verbDelete    = "delete"
)

type vmAction struct {
	ID        string `cbor:"1,keyasint"`
	IfVersion uint64 `cbor:"2,keyasint,omitempty"`
	Verb      string `cbor:"3,keyasint"`
}

func applyActOnVM(tx *Txn, c vmAction) (object, error) {
	verb := api.Update
	if c.Verb == verbDelete {
		verb = api.Delete
	}
	vm, err := userVM(tx, "vm."+c.Verb, verb, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	if c.Verb == verbDelete {
		return deleteVM(tx, vm), nil
	}
	if vm.Status.Desired == api.WantDeleted {
		return nothing, api.Errorf(api.Conflict, "vm."+c.Verb, "VM %s is being deleted", vm.Name)
	}
	before, reached := vm.Status.Desired, api.VMStopped
	inHand, _ := operations.one(tx.Reader, vm.Status.Operation)
	switch c.Verb {
	case verbStart:
		vm.Status.Desired, vm.Status.Force, reached = api.WantRunning, false, api.VMRunning
	case verbStop:
		vm.Status.Desired, vm.Status.Force = api.WantStopped, false
	case verbForceStop:
		vm.Status.Desired, vm.Status.Force = api.WantStopped, true
	default:
		return nothing, api.Errorf(api.Invalid, "vm.action", "no verb %q: start, stop and force-stop are known", c.Verb)
	}
	op := startOperation(tx, c.Verb, &vm, ownerPart(vm))
	// With something in hand that wants otherwise, the state is on its way elsewhere.
	if vm.Status.State == reached && (before == vm.Status.Desired || inHand.State.Done()) {
		finishOperation(tx, op, api.OpSucceeded, "")
	}
	putVM(tx, vm)
	return object{table: operations, key: op.ID}, nil
}

// deleteVM tears a VM down. One that its owner never began is gone at once, for
// no host has touched anything; else the owner does it and buries it.
func deleteVM(tx *Txn, vm api.VM) object {
	if vm.Status.Desired == api.WantDeleted {
		return object{table: operations, key: vm.Status.Operation}
	}
	op := startOperation(tx, verbDelete, &vm, ownerPart(vm))
	if !vm.Status.Begun {
		bury(tx, vm)
		return object{table: operations, key: op.ID}
	}
	vm.Status.Desired, vm.Status.State, vm.Status.Force = api.WantDeleted, api.VMDeleting, true
	putVM(tx, vm)
	return object{table: operations, key: op.ID}
}

func ownerPart(vm api.VM) []api.HostPart {
	return []api.HostPart{{Peer: vm.Status.Owner, Status: api.Assigned}}
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

// VMsChanged is closed when a VM, or the image it boots from, may have changed.
func (r Reader) VMsChanged() <-chan struct{} { return r.state.trees[vms.pos].changed() }

// CreateVM places a virtual machine and asks for it. It is wanted once a majority has it.
func (w *Writer) CreateVM(ctx context.Context, c api.VMCreate) (Done[api.VM], error) {
	candidates, others := w.ranker.Rank(c.Spec.Resources())
	done, err := propose[api.VM](ctx, w, createVM, vmCreate{c, candidates, others})
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}

// UpdateVM replaces what a user may set of a VM; ifVersion 0 means any version.
func (w *Writer) UpdateVM(ctx context.Context, id string, ifVersion uint64, u api.VMUpdate) (Done[api.VM], error) {
	return propose[api.VM](ctx, w, updateVM, vmUpdate{id, ifVersion, u})
}

// ActOnVM wants a VM started, stopped or stopped by force; the operation tells how it goes.
func (w *Writer) ActOnVM(ctx context.Context, id string, ifVersion uint64, verb string) (Done[api.Operation], error) {
	return propose[api.Operation](ctx, w, actOnVM, vmAction{id, ifVersion, verb})
}

// DeleteVM wants a VM torn down.
func (w *Writer) DeleteVM(ctx context.Context, id string, ifVersion uint64) (Done[api.Operation], error) {
	return propose[api.Operation](ctx, w, actOnVM, vmAction{id, ifVersion, verbDelete})
}
