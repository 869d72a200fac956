package fsm

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// This file is what owners say of their VMs, and what the leader does when one
// says nothing.

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

// sighting is a domain of this cluster where there should be none.
type sighting struct {
	VM    string    `json:"vm"`
	Peer  string    `json:"peer"` // id
	Name  string    `json:"name"` // of the peer
	Epoch uint64    `json:"epoch"`
	At    time.Time `json:"at"`
}

var sightings = &table[sighting]{
	name:        "sightings",
	bookkeeping: true,
	key:         func(s *sighting) string { return s.VM + "/" + s.Peer },
	by:          map[string]func(*sighting) string{"vm": func(s *sighting) string { return s.VM }},
}

type vmEpoch struct {
	VM    string `cbor:"1,keyasint"`
	Epoch uint64 `cbor:"2,keyasint"`
}

// owned finds a VM for a peer that says it owns that epoch of it.
func owned(tx *Txn, op, id string, epoch uint64) (api.VM, error) {
	peer, err := tx.asPeer(op)
	if err != nil {
		return api.VM{}, err
	}
	vm, ok := vms.one(tx.Reader, id)
	if !ok {
		return vm, api.Errorf(api.NotFound, op, "no VM %s", id)
	}
	if vm.Status.OwnerID != peer.ID || vm.Status.Epoch != epoch {
		return vm, api.Errorf(api.Conflict, op, "VM %s is owned by %s at epoch %d, not by %s at epoch %d", id, vm.Status.Owner, vm.Status.Epoch, peer.Name, epoch)
	}
	return vm, nil
}

// applyBeginVM claims an epoch of a VM: from here on its owner may touch the guest.
func applyBeginVM(tx *Txn, c vmEpoch) (object, error) {
	const op = "vm.begin"
	vm, err := owned(tx, op, c.VM, c.Epoch)
	if err != nil {
		return nothing, err
	}
	if vm.Status.Desired == api.WantDeleted {
		return nothing, api.Errorf(api.Conflict, op, "VM %s is being deleted", vm.Name)
	}
	if vm.Status.Begun {
		return object{table: vms, key: vm.ID}, nil
	}
	vm.Status.Begun, vm.Status.State = true, api.VMCreating
	runOperation(tx, vm.Status.Operation)
	return putVM(tx, vm), nil
}

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
	progress(tx, vm, c)
	state := c.State
	if vm.Status.Desired == api.WantDeleted {
		state = api.VMDeleting
	}
	if state == vm.Status.State && c.Reason == vm.Status.Reason {
		return object{table: vms, key: vm.ID}, nil
	}
	vm.Status.State, vm.Status.Reason = state, c.Reason
	return putVM(tx, vm), nil
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
		op.Steps = append(slices.Clone(op.Steps), c.Steps...)
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

// outcome is what an owner's report means for an operation of that kind.
func outcome(kind string, c api.VMReport) (api.OpState, string) {
	if kind == verbDelete {
		return api.OpRunning, "" // bury alone ends it
	}
	reached := map[string]api.VMState{"create": api.VMRunning, verbStart: api.VMRunning, verbStop: api.VMStopped, verbForceStop: api.VMStopped}
	switch {
	case c.State == reached[kind]:
		return api.OpSucceeded, ""
	case c.State == api.VMFailed, c.State == api.VMCrashed && reached[kind] == api.VMRunning:
		return api.OpFailed, c.Reason
	case c.State == api.VMPaused && kind == verbStart:
		return api.OpFailed, "the guest is paused on its host; somebody paused it there, and virsh resume lets it go on"
	case c.State == api.VMCrashed && reached[kind] == api.VMStopped:
		return api.OpSucceeded, ""
	}
	return api.OpRunning, ""
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

// bury frees a VM's name and reservation and leaves a tombstone.
func bury(tx *Txn, vm api.VM) {
	if op, ok := operations.one(tx.Reader, vm.Status.Operation); ok {
		finishOperation(tx, op, api.OpSucceeded, "")
	}
	for _, s := range slices.Collect(sightings.all(tx.Reader, "vm", vm.ID)) {
		sightings.remove(tx, sightings.key(&s))
	}
	tombstones.put(tx, tombstone{vm.ID, vm.Status.Epoch, tx.Now})
	vms.remove(tx, vm.ID)
}

// oldTombstones are up to limit tombstones that are past their time, oldest first.
func oldTombstones(r Reader, now time.Time, limit int) (ids []string) {
	tombstones.in(r.state).by["at"].Scan(func(_ string, t *tombstone) bool {
		if len(ids) == limit || now.Sub(t.At) <= tombstoneLife {
			return false
		}
		ids = append(ids, t.ID)
		return true
	})
	return ids
}

// applySawDomain records a domain where it should not be. One of the epoch in
// force is a double: from here on nobody touches that VM until it is gone.
func applySawDomain(tx *Txn, c api.Sighting) (object, error) {
	peer, err := tx.asPeer("vm.saw")
	if err != nil {
		return nothing, err
	}
	s := sighting{c.VM, peer.ID, peer.Name, c.Epoch, tx.Now}
	before, seen := sightings.one(tx.Reader, sightings.key(&s))
	switch {
	case c.Gone && !seen, !c.Gone && seen && before.Epoch == c.Epoch:
		return nothing, nil
	case c.Gone:
		sightings.remove(tx, sightings.key(&s))
	default:
		sightings.put(tx, s)
	}
	vm, ok := vms.one(tx.Reader, c.VM)
	if !ok {
		return nothing, nil
	}
	vm.Status.Doubles = doublesOf(tx.Reader, vm)
	return putVM(tx, vm), nil
}

// forgetSightings drops what a peer saw that is no more: it cannot withdraw it,
// and a VM with a double is touched by nobody.
func forgetSightings(tx *Txn, peer string) {
	for _, s := range slices.Collect(sightings.each(tx.Reader, "")) {
		if s.Peer != peer {
			continue
		}
		sightings.remove(tx, sightings.key(&s))
		if vm, ok := vms.one(tx.Reader, s.VM); ok {
			vm.Status.Doubles = doublesOf(tx.Reader, vm)
			putVM(tx, vm)
		}
	}
}

// doublesOf names the peers on which a second domain of the VM was seen. A
// domain of an older epoch is left behind, not a double: its host has suspended it.
func doublesOf(r Reader, vm api.VM) (names []string) {
	for s := range sightings.all(r, "vm", vm.ID) {
		if s.Epoch >= vm.Status.Epoch {
			names = append(names, s.Name)
		}
	}
	return names
}

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
	p := place(tx.Reader, vm.Spec.Resources(), candidates, c.Others)
	if !p.found {
		return nothing, &api.Error{Kind: api.NoCapacity, Op: op, Msg: "no other host can take VM " + vm.Name, Hosts: p.hosts}
	}
	vm.Status.Owner, vm.Status.OwnerID = p.owner.Name, p.owner.ID
	vm.Status.Epoch++
	vm.Status.State, vm.Status.Reason = api.VMAssigned, ""
	if o, ok := operations.one(tx.Reader, vm.Status.Operation); ok {
		o.Hosts = p.hosts
		o.Version++
		operations.put(tx, o)
	}
	return putVM(tx, vm), nil
}

// Buried tells whether a VM is gone for good, and its last epoch.
func (r Reader) Buried(vm string) (epoch uint64, gone bool) {
	t, ok := tombstones.one(r, vm)
	return t.Epoch, ok
}

// Sightings lists the domains that were seen where none should be.
func (r Reader) Sightings() iter.Seq2[string, api.Sighting] {
	return func(yield func(string, api.Sighting) bool) {
		for s := range sightings.each(r, "") {
			if !yield(s.Name, api.Sighting{VM: s.VM, Epoch: s.Epoch}) {
				return
			}
		}
	}
}

// SightingsOf lists what one peer, by id, has seen: by VM, the epoch.
func (r Reader) SightingsOf(peer string) map[string]uint64 {
	seen := map[string]uint64{}
	for s := range sightings.each(r, "") {
		if s.Peer == peer {
			seen[s.VM] = s.Epoch
		}
	}
	return seen
}

// BeginVM claims (vm, epoch) for the peer that asks; Conflict when it is another's.
func (w *Writer) BeginVM(ctx context.Context, vm string, epoch uint64) error {
	_, err := propose[api.VM](ctx, w, beginVM, vmEpoch{vm, epoch})
	return err
}

// ReportVM tells the cluster the state of a VM of the peer that asks.
func (w *Writer) ReportVM(ctx context.Context, r api.VMReport) error {
	_, err := propose[api.VM](ctx, w, reportVM, r)
	return err
}

// BuryVM ends a deletion.
func (w *Writer) BuryVM(ctx context.Context, vm string, epoch uint64) error {
	_, err := propose[struct{}](ctx, w, buryVM, vmEpoch{vm, epoch})
	return err
}

// SawDomain tells the cluster of a domain that should not be there.
func (w *Writer) SawDomain(ctx context.Context, s api.Sighting) error {
	_, err := propose[api.VM](ctx, w, sawDomain, s)
	return err
}

// ReassignVM moves a VM that was never begun away from its silent owner.
func (w *Writer) ReassignVM(ctx context.Context, vm api.VM) (api.VM, error) {
	candidates, others := w.ranker.Rank(vm.Spec.Resources())
	done, err := propose[api.VM](ctx, w, reassignVM, vmReassign{vm.ID, vm.Status.Epoch, candidates, others})
	return done.Object, err
}
