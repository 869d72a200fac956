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
	pause                  // stop the processors of ours
	resume                 // let them go on
	reshape                // make the domain, which is off, as the row says
	hotplug                // give the domain, which is on, processors and memory
	adopt                  // put our mark on a domain that the log has made ours
	keep                   // keep the disk as it is, as a snapshot
	revert                 // make the disk as it was
	forget                 // forget a snapshot
	refuse                 // say that a snapshot cannot be worked on
)

func (a action) String() string {
	return [...]string{"begin", "create", "start", "shutdown", "destroy", "remove", "retire", "gone",
		"suspend", "report", "saw", "unsaw", "pause", "resume", "reshape", "hotplug", "adopt",
		"snapshot", "restore-snapshot", "delete-snapshot", "refuse-snapshot"}[a]
}

// step is one action on one VM. Steps are compared with ==: the loop takes a step
// that needs proof only if the confirmed plan has the very same one.
type step struct {
	do        action
	vm        string
	epoch     uint64      // of the row; of the domain for suspend, retire and saw
	domain    bool        // there is a domain
	state     api.VMState // to report; of reshape and hotplug: afterwards, if any
	reason    string
	restarted bool   // it is part of a restart
	failed    bool   // report: the operation in hand cannot be done
	name      string // hotplug: of the domain as it is
	snapshot  string // id, where it is about one
}

// needsProof tells whether a step may be taken only on a linearizable read. To
// claim and to report are writes that the log itself checks. To suspend a domain
// of an older epoch is right even on old tables, for epochs only grow.
func (s step) needsProof() bool {
	return s.do != begin && s.do != report && s.do != suspend && s.do != refuse
}

// fetches tells whether a step may have to wait for an image.
func (s step) fetches() bool { return s.do == create || s.do == reshape || s.do == hotplug }

// reports gives the report that a step makes, by itself or as its last part.
func (s step) reports() (step, bool) {
	said := step{do: report, vm: s.vm, epoch: s.epoch, state: s.state}
	switch s.do {
	case report:
		return s, true
	case create, start:
		said.state, said.restarted = api.VMRunning, s.restarted
	case resume:
		said.state = api.VMRunning
	case pause:
		said.state = api.VMPaused
	case destroy:
		if s.restarted {
			return step{}, false // it is on again in a moment
		}
		said.state, said.reason = api.VMStopped, s.reason
	case reshape, hotplug:
		said.reason = s.reason
		return said, s.state != ""
	default:
		return step{}, false
	}
	return said, true
}

// present is what is on this host, and what the loop remembers having done about it.
type present struct {
	domains   map[string][]Domain // by the VM that they claim to be
	strangers map[string]string   // domains without our mark, by UUID: the cluster whose mark they carry
	asked     map[string]bool     // was asked to shut down
	waiting   map[string]bool     // and was not wanted on again since
	overdue   map[string]bool     // and has had its time
	anew      map[string]bool     // was started since its restart was asked for
	again     map[string]comeback // went off by itself, and is to be started again
}

// adoptable tells whether a stranger is the domain of a row that the log has made
// of it: of a VM that was adopted, or learnt from the mark of a cluster that is lost.
func (p present) adoptable(row api.VM) bool {
	cluster, there := p.strangers[row.ID]
	return there && (adopted(row) || cluster != "")
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
		steps = append(steps, owned(me, w, p, row, own)...)
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
	m := matter{w: w, row: row, own: own, kind: w.Open(row.ID)}
	switch own.Power {
	case Running:
		return m.say(api.VMRunning, "")
	case Paused:
		return m.say(api.VMPaused, "")
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
