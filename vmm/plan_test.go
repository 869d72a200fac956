package vmm

import (
	"iter"
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
)

const (
	vmID   = "11111111-1111-4111-8111-111111111111"
	copyID = "22222222-2222-4222-8222-222222222222"
	us     = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
	others = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
)

// tables is a Wanted of at most one row.
type tables struct {
	row       *api.VM
	tomb      uint64 // 0: none
	open      string // kind of the operation that waits
	images    map[string]api.Image
	networks  map[string]api.Network
	snapshots []api.DiskSnapshot
	sighted   map[string]uint64
}

func (w tables) Mine() iter.Seq[api.VM] {
	if w.row == nil || w.row.Status.OwnerID != us {
		return slices.Values[[]api.VM](nil)
	}
	return slices.Values([]api.VM{*w.row})
}

func (w tables) Sighted() map[string]uint64 { return w.sighted }

func (w tables) Row(id string) (api.VM, bool) {
	if w.row == nil || w.row.ID != id {
		return api.VM{}, false
	}
	return *w.row, true
}

func (w tables) Buried(string) (uint64, bool) { return w.tomb, w.tomb > 0 }
func (w tables) Open(string) string           { return w.open }

func (w tables) Snapshots() iter.Seq[api.DiskSnapshot] { return slices.Values(w.snapshots) }

func (w tables) Image(name string) (api.Image, bool) {
	i, ok := w.images[name]
	return i, ok
}

func (w tables) Network(name string) (api.Network, bool) {
	n, ok := w.networks[name]
	return n, ok
}

// row is our VM at epoch 2, begun, as change makes it.
func row(change func(*api.VMStatus)) *api.VM {
	vm := &api.VM{ID: vmID, Name: "web", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}, Status: api.VMStatus{
		OwnerID: us, Epoch: 2, Begun: true, State: api.VMRunning, Desired: api.WantRunning}}
	if change != nil {
		change(&vm.Status)
	}
	return vm
}

func domain(epoch uint64, p Power, c Cause) Domain {
	return Domain{UUID: vmID, Name: "web-11111111", Mark: Mark{VM: vmID, Epoch: epoch, Spec: shapeOf(row(nil))}, Power: p, Cause: c}
}

// shapeOf is the shape that a row without image and network asks for.
func shapeOf(vm *api.VM) string { return Shape(Build{Name: DomainName(*vm), Spec: vm.Spec}) }

func TestPlan(t *testing.T) {
	stopped := func(s *api.VMStatus) { s.Desired = api.WantStopped }
	deleted := func(s *api.VMStatus) { s.Desired = api.WantDeleted }
	is := func(state api.VMState) func(*api.VMStatus) { return func(s *api.VMStatus) { s.State = state } }
	theirs := func(s *api.VMStatus) { s.OwnerID = others }
	doubled := func(s *api.VMStatus) { s.Doubles = []string{"h9"} }
	all := func(fs ...func(*api.VMStatus)) func(*api.VMStatus) {
		return func(s *api.VMStatus) {
			for _, f := range fs {
				f(s)
			}
		}
	}
	fresh := all(is(api.VMAssigned), func(s *api.VMStatus) { s.Begun = false })
	does := func(a action, domain bool) step { return step{do: a, vm: vmID, epoch: 2, domain: domain} }
	says := func(state api.VMState, reason string) step {
		return step{do: report, vm: vmID, epoch: 2, state: state, reason: reason}
	}
	at := func(a action, epoch uint64) step { return step{do: a, vm: vmID, epoch: epoch} }
	another := domain(2, Running, Unknown)
	another.UUID = copyID
	otherwise := domain(2, Running, Unknown)
	otherwise.Mark.Spec = "else"

	for _, c := range []struct {
		name    string
		w       tables
		have    []Domain
		seen    bool // sighted at epoch 2 before
		asked   bool
		overdue bool
		want    []step
	}{
		{name: "nothing wanted, nothing there"},
		{name: "new", w: tables{row: row(fresh)}, want: []step{does(begin, false)}},
		{name: "new, to be deleted before it was begun", w: tables{row: row(all(fresh, deleted))}, want: []step{does(gone, false)}},
		{name: "begun", w: tables{row: row(is(api.VMCreating))}, want: []step{does(create, false)}},
		{name: "begun, to be stopped before it was made", w: tables{row: row(all(is(api.VMCreating), stopped))},
			want: []step{says(api.VMStopped, "")}},
		{name: "made, not started", w: tables{row: row(is(api.VMCreating))}, have: []Domain{domain(2, Off, Unknown)},
			want: []step{does(start, true)}},
		{name: "runs, not reported", w: tables{row: row(is(api.VMCreating))}, have: []Domain{domain(2, Running, Unknown)},
			want: []step{says(api.VMRunning, "")}},
		{name: "runs, reported: adopted", w: tables{row: row(nil)}, have: []Domain{domain(2, Running, Unknown)}},
		{name: "runs, reported, somebody waits", w: tables{row: row(nil), open: opStart}, have: []Domain{domain(2, Running, Unknown)},
			want: []step{says(api.VMRunning, "")}},
		{name: "runs, made in another shape", w: tables{row: row(nil)}, have: []Domain{otherwise},
			want: []step{says(api.VMRunning, "its new shape takes effect at its next start")}},
		{name: "paused", w: tables{row: row(nil)}, have: []Domain{domain(2, Paused, Unknown)}, want: []step{says(api.VMPaused, "")}},

		{name: "host rebooted", w: tables{row: row(nil)}, have: []Domain{domain(2, Off, Unknown)}, want: []step{does(start, true)}},
		{name: "start failed before", w: tables{row: row(nil)}, have: []Domain{domain(2, Off, NoStart)}, want: []step{does(start, true)}},
		{name: "guest switched itself off", w: tables{row: row(nil)}, have: []Domain{domain(2, Off, ByGuest)},
			want: []step{says(api.VMStopped, "the guest switched itself off")}},
		{name: "switched off by hand", w: tables{row: row(nil)}, have: []Domain{domain(2, Off, ByForce)},
			want: []step{says(api.VMStopped, "switched off by hand on its host")}},
		{name: "crashed", w: tables{row: row(nil)}, have: []Domain{domain(2, Off, Crashed)},
			want: []step{says(api.VMCrashed, "it ended without being asked to")}},
		{name: "stopped by itself, then libvirtd restarted", w: tables{row: row(is(api.VMStopped))}, have: []Domain{domain(2, Off, Unknown)}},
		{name: "stopped by itself, started by its user", w: tables{row: row(is(api.VMStopped)), open: opStart},
			have: []Domain{domain(2, Off, ByGuest)}, want: []step{does(start, true)}},
		{name: "domain vanished", w: tables{row: row(nil)}, want: []step{does(create, false)}},
		{name: "failed rests", w: tables{row: row(is(api.VMFailed))}},
		{name: "failed, started by its user", w: tables{row: row(is(api.VMFailed)), open: opStart}, want: []step{does(create, false)}},
		{name: "lost", w: tables{row: row(is(api.VMLost))}},

		{name: "stop", w: tables{row: row(stopped)}, have: []Domain{domain(2, Running, Unknown)}, want: []step{does(shutdown, true)}},
		{name: "stop, asked", w: tables{row: row(stopped)}, have: []Domain{domain(2, Running, Unknown)}, asked: true},
		{name: "stop, asked, too slow", w: tables{row: row(stopped)}, have: []Domain{domain(2, Running, Unknown)}, asked: true, overdue: true,
			want: []step{does(destroy, true)}},
		{name: "stop by force", w: tables{row: row(all(stopped, func(s *api.VMStatus) { s.Force = true }))},
			have: []Domain{domain(2, Running, Unknown)}, want: []step{does(destroy, true)}},
		{name: "stop a paused one", w: tables{row: row(stopped)}, have: []Domain{domain(2, Paused, Unknown)}, want: []step{does(destroy, true)}},
		{name: "stopped", w: tables{row: row(stopped)}, have: []Domain{domain(2, Off, ByGuest)}, want: []step{says(api.VMStopped, "")}},
		{name: "stopped, reported", w: tables{row: row(all(stopped, is(api.VMStopped)))}, have: []Domain{domain(2, Off, ByGuest)}},

		{name: "delete", w: tables{row: row(deleted)}, have: []Domain{domain(2, Running, Unknown)}, want: []step{does(remove, true)}},
		{name: "delete, domain gone already", w: tables{row: row(deleted)}, want: []step{does(remove, false)}},
		{name: "delete what is of an older epoch here", w: tables{row: row(deleted)}, have: []Domain{domain(1, Paused, Unknown)}, seen: true,
			want: []step{at(saw, 1), does(remove, true)}},
		{name: "tombstone", w: tables{tomb: 2}, have: []Domain{domain(2, Running, Unknown)}, want: []step{does(remove, true)}},
		{name: "tombstone of an older epoch", w: tables{tomb: 1}, have: []Domain{domain(2, Running, Unknown)}},

		{name: "older epoch, theirs now", w: tables{row: row(all(theirs, is(api.VMCreating)))}, have: []Domain{domain(1, Running, Unknown)},
			want: []step{at(saw, 1), at(suspend, 1)}},
		{name: "older epoch, kept still", w: tables{row: row(all(theirs, is(api.VMCreating)))}, have: []Domain{domain(1, Paused, Unknown)},
			want: []step{at(saw, 1)}},
		{name: "older epoch, runs elsewhere", w: tables{row: row(theirs)}, have: []Domain{domain(1, Paused, Unknown)},
			want: []step{at(saw, 1), at(retire, 1)}},
		{name: "older epoch, ours again", w: tables{row: row(fresh)}, have: []Domain{domain(1, Paused, Unknown)}, want: []step{at(saw, 1)}},
		{name: "newer epoch than the tables", w: tables{row: row(nil)}, have: []Domain{domain(3, Running, Unknown)}},
		{name: "stray", w: tables{}, have: []Domain{domain(2, Running, Unknown)}, want: []step{at(saw, 2)}},
		{name: "stray, reported", w: tables{}, have: []Domain{domain(2, Running, Unknown)}, seen: true},
		{name: "double of theirs", w: tables{row: row(theirs)}, have: []Domain{domain(2, Running, Unknown)}, want: []step{at(saw, 2)}},
		{name: "copy beside ours", w: tables{row: row(nil)}, have: []Domain{domain(2, Running, Unknown), another}, want: []step{at(saw, 2)}},
		{name: "copy beside an older epoch", w: tables{row: row(theirs)}, have: []Domain{domain(1, Running, Unknown), another}, want: []step{at(saw, 2)}},
		{name: "copy, to be deleted", w: tables{row: row(deleted)}, have: []Domain{domain(2, Running, Unknown), another}, seen: true},
		{name: "seen twice, to be stopped", w: tables{row: row(all(stopped, doubled))}, have: []Domain{domain(2, Running, Unknown)}},
		{name: "seen twice, to be deleted", w: tables{row: row(all(deleted, doubled, is(api.VMDeleting)))}, have: []Domain{domain(2, Running, Unknown)}},
		{name: "seen twice, off", w: tables{row: row(doubled)}, have: []Domain{domain(2, Off, Unknown)}},
		{name: "seen twice, older here", w: tables{row: row(all(theirs, doubled))}, have: []Domain{domain(1, Paused, Unknown)}, want: []step{at(saw, 1)}},
		{name: "sighting vanished", w: tables{row: row(theirs)}, seen: true, want: []step{at(unsaw, 2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := present{domains: map[string][]Domain{},
				asked: map[string]bool{vmID: c.asked}, waiting: map[string]bool{vmID: c.asked}, overdue: map[string]bool{vmID: c.overdue}}
			if len(c.have) > 0 {
				p.domains[vmID] = c.have
			}
			if c.seen {
				c.w.sighted = map[string]uint64{vmID: 2}
			}
			if got := plan(self{id: us, name: "h1"}, c.w, p); !slices.Equal(got, c.want) {
				t.Errorf("plan:\n got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// The steps that may touch a running guest are exactly those that need proof.
func TestStepsThatNeedProof(t *testing.T) {
	for _, a := range []action{create, start, shutdown, destroy, remove, retire, gone, saw, unsaw, pause, resume, reshape, hotplug, adopt, keep, revert, forget} {
		if !(step{do: a}).needsProof() {
			t.Errorf("step %v: got no need of proof, want one", a)
		}
	}
	for _, a := range []action{begin, report, suspend, refuse} {
		if (step{do: a}).needsProof() {
			t.Errorf("step %v: got need of proof, want none", a)
		}
	}
}
