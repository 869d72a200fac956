package vmm

import (
	"maps"
	"slices"

	"github.com/orchd/orchd/api"
)

// action is what can be done for one VM.
type action uint8

const (
	begin    action = iota // claim (vm, epoch) in the log
	create                 // make disk and domain, and switch it on
	start                  // switch on
	shutdown               // press the power button
	destroy                // switch off at once
	remove                 // off, no domain, no file; then say so
	retire                 // an older epoch's domain: off, no domain; its disk stays
	gone                   // say that nothing is left of what was never begun
	suspend                // an older epoch's domain: stop its processors
	report                 // say what the VM is doing
	saw                    // say that a domain is here that should not be
	unsaw                  // say that it is here no more
)

func (a action) String() string {
	return [...]string{"begin", "create", "start", "shutdown", "destroy", "remove", "retire", "gone",
		"suspend", "report", "saw", "unsaw"}[a]
}

// step is one action on one VM. Steps are compared with ==: the loop takes a step
// that needs proof only if the confirmed plan has the very same one.
type step struct {
	do     action
	vm     string
	epoch  uint64 // of the row; of the domain for suspend, retire and saw
	domain bool   // remove: there is a domain to remove
	state  api.VMState
	reason string
}

// needsProof tells whether a step may be taken only on a linearizable read. To
// claim and to report are writes that the log itself checks. To suspend a domain
// of an older epoch is right even on old tables, for epochs only grow.
func (s step) needsProof() bool {
	return s.do != begin && s.do != report && s.do != suspend
}

// reports gives the report that a step makes, by itself or as its last part.
func (s step) reports() (step, bool) {
	said := step{do: report, vm: s.vm, epoch: s.epoch}
	switch s.do {
	case report:
		return s, true
	case create, start:
		said.state = api.VMRunning
	case destroy:
		said.state = api.VMStopped
	default:
		return step{}, false
	}
	return said, true
}

// self is who plans.
type self struct{ id, name string }

// present is what is on this host, and what the loop remembers having done about it.
type present struct {
	domains map[string][]Domain // by the VM that they claim to be
	asked   map[string]bool     // was asked to shut down
	overdue map[string]bool     // and has had its time
}

// of splits the domains that claim to be a VM into the one that is and copies.
func (p present) of(vm string) (own *Domain, copies []Domain) {
	for _, d := range p.domains[vm] {
		if d.UUID == vm {
			own = &d
		} else {
			copies = append(copies, d)
		}
	}
	return own, copies
}

// plan says what to do next, in the order of VM ids. It gives one VM at most
// one step that acts on its domain: what follows is seen after the next look.
func plan(me self, w Wanted, p present) []step {
	ids := map[string]bool{}
	for vm := range w.Mine() {
		ids[vm.ID] = true
	}
	for id := range p.domains {
		ids[id] = true
	}
	for id := range w.Sighted() {
		ids[id] = true
	}
	var steps []step
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		steps = append(steps, planVM(me, w, p, id)...)
	}
	return steps
}

// planVM is plan for one VM.
func planVM(me self, w Wanted, p present, id string) []step {
	own, copies := p.of(id)
	row, known := w.Row(id)
	mine := known && row.Status.OwnerID == me.id
	epoch, sighted := misplaced(me, w, id, own, copies)
	steps := sightings(w, id, epoch, sighted)
	switch {
	case !known:
		if buried(w, id, own) {
			steps = append(steps, step{do: remove, vm: id, epoch: own.Mark.Epoch, domain: true})
		}
	case own != nil && own.Mark.Epoch > row.Status.Epoch:
		// These tables are older than the domain: wait for newer ones.
	case len(copies) > 0 || len(row.Status.Doubles) > 0:
		steps = append(steps, leave(me, w, row, own)...)
	case own != nil && own.Mark.Epoch < row.Status.Epoch && !(mine && row.Status.Desired == api.WantDeleted):
		steps = append(steps, outlived(me, row, own)...)
	case mine:
		steps = append(steps, owned(w, p, row, own)...)
	}
	return steps
}

// misplaced finds a domain that should not be on this host, and its epoch.
func misplaced(me self, w Wanted, id string, own *Domain, copies []Domain) (epoch uint64, found bool) {
	row, known := w.Row(id)
	switch {
	case len(copies) > 0:
		return copies[0].Mark.Epoch, true
	case own == nil:
		return 0, false
	case !known:
		_, tomb := w.Buried(id)
		return own.Mark.Epoch, !tomb
	case own.Mark.Epoch < row.Status.Epoch:
		return own.Mark.Epoch, true
	case own.Mark.Epoch == row.Status.Epoch:
		return own.Mark.Epoch, row.Status.OwnerID != me.id
	}
	return 0, false
}

// sightings reports a misplaced domain once, and once that it is gone.
func sightings(w Wanted, id string, epoch uint64, sighted bool) []step {
	told, wasTold := w.Sighted()[id]
	switch {
	case sighted && (!wasTold || told != epoch):
		return []step{{do: saw, vm: id, epoch: epoch}}
	case !sighted && wasTold:
		return []step{{do: unsaw, vm: id, epoch: told}}
	}
	return nil
}

// buried tells whether a tombstone covers the domain.
func buried(w Wanted, id string, own *Domain) bool {
	epoch, tomb := w.Buried(id)
	return tomb && own != nil && own.Mark.Epoch <= epoch
}

// leave is for a VM that was seen twice: its owner says what it sees and touches nothing.
func leave(me self, w Wanted, row api.VM, own *Domain) []step {
	if row.Status.OwnerID != me.id || own == nil || own.Mark.Epoch != row.Status.Epoch {
		return nil
	}
	switch own.Power {
	case Running:
		return say(w, row, api.VMRunning, "")
	case Paused:
		return say(w, row, api.VMPaused, "")
	}
	return nil
}

// outlived is for a domain of an older epoch. It is kept still, and goes when
// the newer owner has the VM running. When the newer owner is this very host the
// two would be in each other's way: a person has to look.
func outlived(me self, row api.VM, own *Domain) []step {
	st := row.Status
	switch {
	case own.Power == Running:
		return []step{{do: suspend, vm: row.ID, epoch: own.Mark.Epoch}}
	case st.OwnerID != me.id && st.State == api.VMRunning:
		return []step{{do: retire, vm: row.ID, epoch: own.Mark.Epoch}}
	}
	return nil
}

// owned is for a VM of ours whose domain, if any, is of the right epoch.
func owned(w Wanted, p present, row api.VM, own *Domain) []step {
	st := row.Status
	act := func(do action) []step { return []step{{do: do, vm: row.ID, epoch: st.Epoch, domain: own != nil}} }
	switch {
	case st.State == api.VMLost:
		return nil
	case st.Desired == api.WantDeleted && !st.Begun && own == nil:
		return act(gone)
	case st.Desired == api.WantDeleted:
		return act(remove)
	case !st.Begun:
		return act(begin)
	case st.Desired == api.WantStopped && (own == nil || own.Power == Off):
		return say(w, row, api.VMStopped, "")
	case st.Desired == api.WantStopped && (st.Force || p.overdue[row.ID] || own.Power == Paused):
		return act(destroy) // a paused guest cannot see its power button
	case st.Desired == api.WantStopped && !p.asked[row.ID]:
		return act(shutdown)
	case st.Desired == api.WantStopped:
		return nil // it has been asked and has time left
	case own == nil && resting(st.State) && w.Open(row.ID) == "":
		return nil
	case own == nil:
		return act(create)
	}
	return wantedRunning(w, row, own, p.asked[row.ID], act)
}

// wantedRunning is for a domain of ours that should run. When it is off, the
// row tells what libvirt forgets: a guest that stopped by itself was reported
// so, and stays off until somebody starts it; one that was running when its
// host or libvirtd went down is started again.
func wantedRunning(w Wanted, row api.VM, own *Domain, asked bool, act func(action) []step) []step {
	switch {
	case own.Power == Running:
		return say(w, row, api.VMRunning, otherSpec(row, own))
	case own.Power == Paused:
		return say(w, row, api.VMPaused, otherSpec(row, own))
	case w.Open(row.ID) != "":
		return act(start)
	case own.Cause == ByGuest && asked:
		return act(start) // it did as it was asked, and has been wanted back since
	case resting(row.Status.State):
		return nil
	case own.Cause == ByGuest:
		return say(w, row, api.VMStopped, "the guest switched itself off")
	case own.Cause == ByForce:
		return say(w, row, api.VMStopped, "switched off by hand on its host")
	case own.Cause == Crashed:
		return say(w, row, api.VMCrashed, "it ended without being asked to")
	}
	return act(start)
}

// resting tells whether a VM in this state stays off although it should run.
func resting(s api.VMState) bool {
	return s == api.VMStopped || s == api.VMCrashed || s == api.VMFailed
}

func otherSpec(row api.VM, own *Domain) string {
	if own.Mark.Spec == SpecHash(row.Spec) {
		return ""
	}
	return "its domain was made from another specification"
}

// say reports a state that the row does not show, or that an operation waits
// for. A row that is to be deleted shows nothing else.
func say(w Wanted, row api.VM, state api.VMState, reason string) []step {
	st := row.Status
	if st.Desired == api.WantDeleted {
		return nil
	}
	if st.State == state && st.Reason == reason && w.Open(row.ID) == "" {
		return nil
	}
	return []step{{do: report, vm: row.ID, epoch: st.Epoch, state: state, reason: reason}}
}
