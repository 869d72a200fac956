package vmm

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// Why a row is in the state that it is in. whySuspended is also how the row of a
// VM that was stopped for its account remembers that it may come back.
const (
	whyByGuest   = "the guest switched itself off"
	whyByForce   = "switched off by hand on its host"
	whyCrashed   = "it ended without being asked to"
	whySuspended = "its account is suspended"
	whyIOError   = "its disk could not be read or written: see to the host's disk, then resume it"
	whyShape     = "its new shape takes effect at its next start"
	whyVanished  = "its domain is gone from the host, and orchd did not make it: define it there again, or delete the VM"
	whyNoDisk    = "it has no disk on its host"
	whyElsewhere = "it was adopted, and its disk is not in orchd's folder"
)

// Kinds of operation, as far as they make a difference here.
const (
	opCreate  = "create"
	opStart   = "start"
	opRestart = "restart"
	opResume  = "resume"
	opResize  = "resize"
)

// asksToRun tells whether an operation of that kind is somebody's word that the VM be on.
func asksToRun(kind string) bool {
	return kind == opCreate || kind == opStart || kind == opRestart || kind == opResume
}

// endedElsewhere are the kinds of operation that no report of a VM's state ends.
var endedElsewhere = []string{"snapshot", "restore-snapshot", "delete-snapshot", "export"}

// wantOf is what a row wants: a suspended account keeps its VMs off.
func wantOf(row api.VM) api.Desired {
	if row.Status.Suspended && row.Status.Desired != api.WantDeleted {
		return api.WantStopped
	}
	return row.Status.Desired
}

// matter is one VM of ours with all that the plan for it looks at.
type matter struct {
	me   self
	w    Wanted
	p    present
	row  api.VM
	own  *Domain // nil: none
	kind string  // of the operation that waits; empty: none
}

// owned is for a VM of ours whose domain, if any, is of the right epoch.
func owned(me self, w Wanted, p present, row api.VM, own *Domain) []step {
	m := matter{me, w, p, row, own, w.Open(row.ID)}
	steps := m.powerSteps()
	snapshot, ok := m.snapshotStep()
	switch {
	case !ok:
		return steps
	case snapshot.do == revert: // before anything that may switch it on
		return []step{snapshot}
	case slices.ContainsFunc(steps, func(s step) bool { return s.do != report }):
		return steps
	}
	return append(steps, snapshot)
}

// act is a step on the domain.
func (m matter) act(do action) []step {
	return []step{{do: do, vm: m.row.ID, epoch: m.row.Status.Epoch, domain: m.own != nil}}
}

func (m matter) powerSteps() []step {
	st, off := m.row.Status, m.own == nil || m.own.Power == Off
	want := wantOf(m.row)
	switch {
	case st.State == api.VMLost:
		return nil
	case want == api.WantDeleted && !st.Begun && m.own == nil:
		return m.act(gone)
	case want == api.WantDeleted:
		return m.act(remove)
	case !st.Begun:
		return m.act(begin)
	case m.own == nil && m.p.adoptable(m.row):
		return m.act(adopt)
	case m.own == nil && adopted(m.row):
		return m.say(api.VMFailed, whyVanished)
	case want == api.WantStopped && off:
		return m.keptOff()
	case want == api.WantStopped:
		return m.switchOff()
	case st.Restarting && !off && !m.p.anew[m.row.ID]:
		return m.switchOff()
	case m.own == nil && m.rests() && !asksToRun(m.kind):
		return m.say(st.State, st.Reason) // for an operation that waits
	case m.own == nil:
		return m.switchOn(create)
	case off:
		return m.wentOff()
	}
	return m.on()
}

// switchOff asks the guest first. One that is paused cannot see its power button.
func (m matter) switchOff() []step {
	st := m.row.Status
	switch {
	case st.Force || m.p.overdue[m.row.ID] || m.own.Power == Paused:
		steps := m.act(destroy)
		steps[0].restarted = wantOf(m.row) != api.WantStopped
		steps[0].reason = m.whyOff()
		return steps
	case !m.p.waiting[m.row.ID]:
		return m.act(shutdown)
	}
	return nil // it has been asked and has time left
}

// whyOff is why a VM that nobody stopped is kept off.
func (m matter) whyOff() string {
	if m.row.Status.Desired != api.WantStopped && m.row.Status.Suspended {
		return whySuspended
	}
	return ""
}

// keptOff is for what is off as it should be.
func (m matter) keptOff() []step {
	st, why := m.row.Status, m.whyOff()
	if m.toResize() {
		return m.reshaped(api.VMStopped, why)
	}
	if why == whySuspended && resting(st.State) {
		return m.say(st.State, st.Reason) // it was off before: it does not come back with its account
	}
	return m.say(api.VMStopped, why)
}

// toResize tells whether somebody waits for another shape than the domain has.
func (m matter) toResize() bool {
	return m.own != nil && m.kind == opResize && m.me.misshapen(m.w, m.row, m.own)
}

// reshaped gives a domain that stays off the shape that is wanted, and reports its state then.
func (m matter) reshaped(state api.VMState, why string) []step {
	steps := m.act(reshape)
	steps[0].state, steps[0].reason = state, why
	return steps
}

// switchOn creates or starts, in the shape that is wanted.
func (m matter) switchOn(how action) []step {
	if m.own != nil && m.me.misshapen(m.w, m.row, m.own) {
		return m.act(reshape)
	}
	steps := m.act(how)
	steps[0].restarted = m.row.Status.Restarting
	return steps
}

// wentOff is for a domain that should be on and is off. The row tells what
// libvirt forgets: a guest that stopped by itself was reported so, and stays off
// until somebody starts it or its restart policy does; one that was running when
// its host or libvirtd went down is started again.
func (m matter) wentOff() []step {
	st, cause := m.row.Status, m.own.Cause
	again, comesBack := m.p.again[m.row.ID]
	state, why := st.State, st.Reason
	switch {
	case asksToRun(m.kind), st.Restarting:
		return m.switchOn(start)
	case cause == ByGuest && m.p.asked[m.row.ID]:
		return m.switchOn(start) // it did as it was asked, and has been wanted back since
	case comesBack && again.due:
		return m.switchOn(start)
	case comesBack:
		state, why = fallenState(m.own, st.State)
		why += fmt.Sprintf("; starts again in %d s", again.after/time.Second)
	case m.rests():
	case resting(st.State):
		return m.switchOn(start)
	case cause == ByGuest:
		state, why = api.VMStopped, whyByGuest
	case cause == ByForce:
		state, why = api.VMStopped, whyByForce
	case cause == Crashed:
		state, why = api.VMCrashed, whyCrashed
	default:
		return m.switchOn(start)
	}
	if m.toResize() {
		return m.reshaped(state, why)
	}
	return m.say(state, why)
}

// on is for a domain that should be on and is.
func (m matter) on() []step {
	want, state := wantOf(m.row), api.VMRunning
	if m.own.Power == Paused {
		state = api.VMPaused
	}
	switch {
	case m.toResize():
		steps := m.act(hotplug)
		steps[0].state, steps[0].name = state, m.own.Name
		return steps
	case want == api.WantPaused && state == api.VMRunning:
		return m.act(pause)
	case want == api.WantRunning && state == api.VMPaused && (m.kind == opStart || m.kind == opResume):
		return m.act(resume)
	case state == api.VMPaused && m.own.Paused == IOError:
		return m.say(state, whyIOError)
	case m.me.misshapen(m.w, m.row, m.own):
		return m.say(state, whyShape)
	}
	return m.say(state, "")
}

// say reports a state that the row does not show, or that an operation waits
// for. A row that is to be deleted shows nothing else.
func (m matter) say(state api.VMState, reason string) []step {
	st := m.row.Status
	waits := m.kind != "" && !slices.Contains(endedElsewhere, m.kind)
	if st.Desired == api.WantDeleted || st.State == state && st.Reason == reason && !waits {
		return nil
	}
	return []step{{do: report, vm: m.row.ID, epoch: st.Epoch, state: state, reason: reason,
		restarted: st.Restarting && m.p.anew[m.row.ID]}}
}

// snapshotStep is what is to be done with a disk snapshot that is in hand, if its
// VM is in a state for that.
func (m matter) snapshotStep() (step, bool) {
	st := m.row.Status
	if !st.Begun || st.State == api.VMLost || st.Desired == api.WantDeleted {
		return step{}, false
	}
	for s := range m.w.Snapshots() {
		if s.VM == m.row.ID {
			return m.diskStep(s)
		}
	}
	return step{}, false
}

func (m matter) diskStep(s api.DiskSnapshot) (step, bool) {
	do, known := map[api.DiskSnapshotState]action{
		api.DiskSnapshotCreating: keep, api.DiskSnapshotRestoring: revert, api.DiskSnapshotDeleting: forget}[s.State]
	next := step{do: do, vm: m.row.ID, epoch: m.row.Status.Epoch, snapshot: s.ID}
	none := m.own == nil && do != forget
	switch {
	case !known:
		return step{}, false
	case slices.Contains(m.row.Status.Flags, diskElsewhere):
		next.do, next.reason = refuse, whyElsewhere
	case none && !resting(m.row.Status.State) && wantOf(m.row) != api.WantStopped:
		return step{}, false // its domain is being made
	case none:
		next.do, next.reason = refuse, whyNoDisk
	case do == revert && m.own.Power != Off:
		return step{}, false // it is on its way to be off, or the log takes it back
	}
	return next, true
}

// resting tells whether a VM in this state stays off although it should run.
func resting(s api.VMState) bool {
	return s == api.VMStopped || s == api.VMCrashed || s == api.VMFailed
}

// rests tells that of this VM. One that was stopped because its account was
// suspended does not rest once the account is not.
func (m matter) rests() bool {
	st := m.row.Status
	return resting(st.State) && !(st.State == api.VMStopped && st.Reason == whySuspended)
}

// comesBack tells whether a VM's restart policy starts a domain again that went
// off by itself. Where its hypervisor no longer knows why, the row does.
func comesBack(row api.VM, own *Domain) bool {
	st, policy := row.Status, cmp.Or(row.Spec.Restart, api.RestartOnFailure)
	crashed := own.Cause == Crashed || st.State == api.VMCrashed
	itself := own.Cause == ByGuest || own.Cause == Unknown && st.State == api.VMStopped && st.Reason != whySuspended
	switch {
	case st.State == api.VMFailed || policy == api.RestartNever:
		return false
	case policy == api.RestartAlways && itself:
		return true
	}
	return crashed
}

// fallenState is how a domain went off that comes back by itself.
func fallenState(own *Domain, before api.VMState) (api.VMState, string) {
	if own.Cause == Crashed || before == api.VMCrashed {
		return api.VMCrashed, whyCrashed
	}
	return api.VMStopped, whyByGuest
}

// comeback is when a VM that went off by itself is started again.
type comeback struct {
	after time.Duration // since it was seen off
	due   bool
}
