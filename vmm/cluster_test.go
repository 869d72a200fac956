package vmm_test

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// book is a cluster in one variable: the rows, and the rules of the log that
// matter to the loop.
type book struct {
	me string

	mu        sync.Mutex
	rows      map[string]api.VM
	tombs     map[string]uint64
	images    map[string]api.Image
	networks  map[string]api.Network
	snapshots map[string]api.DiskSnapshot
	open      map[string]string // kind of the operation that waits
	reports   []api.VMReport
	facts     []api.VMFacts
	progress  []api.VMProgress
	worked    []api.DiskSnapshotReport
	sightings []api.Sighting
	sighted   map[string]uint64
	hosts     []vmm.Host
	refuse    bool // Begin is refused
	cutOff    bool // no quorum: neither writes nor linearizable reads
	stale     *view
	changed   chan struct{}
}

var (
	_         vmm.Records = (*book)(nil)
	errQuorum             = api.Errorf(api.Unavailable, "test", "no quorum")
)

func newBook(me string) *book {
	return &book{me: me, rows: map[string]api.VM{}, tombs: map[string]uint64{}, images: map[string]api.Image{},
		networks: map[string]api.Network{}, snapshots: map[string]api.DiskSnapshot{},
		open: map[string]string{}, sighted: map[string]uint64{}, changed: make(chan struct{})}
}

// view is a copy of the book.
type view struct {
	me        string
	rows      map[string]api.VM
	tombs     map[string]uint64
	images    map[string]api.Image
	networks  map[string]api.Network
	snapshots map[string]api.DiskSnapshot
	open      map[string]string
	sighted   map[string]uint64
}

func (b *book) viewLocked() *view {
	return &view{b.me, maps.Clone(b.rows), maps.Clone(b.tombs), maps.Clone(b.images), maps.Clone(b.networks),
		maps.Clone(b.snapshots), maps.Clone(b.open), maps.Clone(b.sighted)}
}

func (v *view) Mine() iter.Seq[api.VM] {
	return v.those(func(vm api.VM) bool { return vm.Status.OwnerID == v.me })
}

func (v *view) Sighted() map[string]uint64 { return v.sighted }

func (v *view) those(want func(api.VM) bool) iter.Seq[api.VM] {
	var found []api.VM
	for _, id := range slices.Sorted(maps.Keys(v.rows)) {
		if want(v.rows[id]) {
			found = append(found, v.rows[id])
		}
	}
	return slices.Values(found)
}

func (v *view) Row(id string) (api.VM, bool)             { vm, ok := v.rows[id]; return vm, ok }
func (v *view) Buried(id string) (uint64, bool)          { e, ok := v.tombs[id]; return e, ok }
func (v *view) Image(name string) (i api.Image, ok bool) { i, ok = v.images[name]; return i, ok }
func (v *view) Open(id string) string                    { return v.open[id] }

func (v *view) Network(name string) (n api.Network, ok bool) { n, ok = v.networks[name]; return n, ok }

func (v *view) Snapshots() iter.Seq[api.DiskSnapshot] {
	inHand := []api.DiskSnapshotState{api.DiskSnapshotCreating, api.DiskSnapshotRestoring, api.DiskSnapshotDeleting}
	return func(yield func(api.DiskSnapshot) bool) {
		for _, id := range slices.Sorted(maps.Keys(v.snapshots)) {
			if s := v.snapshots[id]; v.rows[s.VM].Status.OwnerID == v.me && slices.Contains(inHand, s.State) && !yield(s) {
				return
			}
		}
	}
}

func (b *book) Wanted() (vmm.Wanted, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stale != nil {
		return b.stale, b.changed
	}
	return b.viewLocked(), b.changed
}

func (b *book) Confirmed(context.Context) (vmm.Wanted, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cutOff {
		return nil, errQuorum
	}
	return b.viewLocked(), nil
}

// write changes the book as a command would: not without quorum.
func (b *book) write(f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cutOff {
		return errQuorum
	}
	err := f()
	close(b.changed)
	b.changed = make(chan struct{})
	return err
}

func (b *book) Begin(_ context.Context, vm string, epoch uint64) error {
	return b.write(func() error {
		row, ok := b.rows[vm]
		if !ok || row.Status.Epoch != epoch || row.Status.OwnerID != b.me || b.refuse {
			return api.Errorf(api.Conflict, "vm.begin", "no longer yours")
		}
		row.Status.Begun, row.Status.State = true, api.VMCreating
		b.putLocked(row)
		return nil
	})
}

func (b *book) Report(_ context.Context, r api.VMReport) error {
	return b.write(func() error {
		row, ok := b.rows[r.VM]
		if !ok || row.Status.Epoch != r.Epoch {
			return api.Errorf(api.Conflict, "vm.report", "no longer yours")
		}
		if !row.Status.Begun || !slices.Contains(reportable, r.State) {
			return api.Errorf(api.Invalid, "vm.report", "%q is not yours to report", r.State)
		}
		b.reports = append(b.reports, r)
		before := row.Status
		row.Status.State, row.Status.Reason = r.State, r.Reason
		if row.Status.Desired == api.WantDeleted {
			row.Status.State = api.VMDeleting
		} else if r.Failed || ends(b.open[r.VM], r) {
			delete(b.open, r.VM)
		}
		if r.Restarted {
			row.Status.Restarting = false
		}
		if row.Status.State != before.State || row.Status.Reason != before.Reason || row.Status.Restarting != before.Restarting {
			b.putLocked(row)
		}
		return nil
	})
}

// ends tells whether a report ends an operation of that kind.
func ends(kind string, r api.VMReport) bool {
	reached := map[string]api.VMState{"create": api.VMRunning, "start": api.VMRunning, "restart": api.VMRunning, "resume": api.VMRunning,
		"stop": api.VMStopped, "pause": api.VMPaused}[kind]
	switch {
	case r.State == api.VMFailed || r.State == api.VMCrashed:
		return true
	case kind == "restart":
		return r.Restarted
	case kind == "resize":
		return r.State != api.VMCreating
	}
	return r.State == reached
}

func (b *book) Facts(_ context.Context, f api.VMFacts) error {
	return b.write(func() error {
		row, ok := b.rows[f.VM]
		if !ok || row.Status.Epoch != f.Epoch {
			return api.Errorf(api.Conflict, "vm.facts", "no longer yours")
		}
		b.facts = append(b.facts, f)
		if len(f.HostKeys) > 0 {
			row.Status.SSHHostKeys = f.HostKeys
		}
		b.putLocked(row)
		return nil
	})
}

func (b *book) Progress(_ context.Context, p api.VMProgress) error {
	return b.write(func() error { b.progress = append(b.progress, p); return nil })
}

func (b *book) Snapshotted(_ context.Context, r api.DiskSnapshotReport) error {
	return b.write(func() error {
		s, ok := b.snapshots[r.ID]
		if !ok || b.rows[r.VM].Status.Epoch != r.Epoch {
			return api.Errorf(api.Conflict, "snapshot.report", "no longer yours")
		}
		b.worked = append(b.worked, r)
		switch {
		case r.Error != "" && s.State == api.DiskSnapshotCreating:
			s.State, s.Reason = api.DiskSnapshotFailed, r.Error
		case s.State == api.DiskSnapshotDeleting && r.Error == "":
			delete(b.snapshots, r.ID)
			return nil
		default:
			s.State, s.Reason = api.DiskSnapshotReady, r.Error
		}
		b.snapshots[r.ID] = s
		return nil
	})
}

// reportable are the states that an owner may report.
var reportable = []api.VMState{api.VMCreating, api.VMRunning, api.VMStopped, api.VMPaused, api.VMCrashed, api.VMFailed}

func (b *book) Gone(_ context.Context, vm string, epoch uint64) error {
	return b.write(func() error {
		delete(b.rows, vm)
		b.tombs[vm] = epoch
		return nil
	})
}

func (b *book) Saw(_ context.Context, s api.Sighting) error {
	return b.write(func() error {
		b.sightings = append(b.sightings, s)
		if b.sighted[s.VM] = s.Epoch; s.Gone {
			delete(b.sighted, s.VM)
		}
		return nil
	})
}

func (b *book) Host(_ context.Context, h vmm.Host) error {
	return b.write(func() error { b.hosts = append(b.hosts, h); return nil })
}

func (b *book) putLocked(vm api.VM) {
	vm.Version++
	b.rows[vm.ID] = vm
}

// edit is what the rest of the cluster does to a row; somebody then waits for what
// the row wants.
func (b *book) edit(id string, f func(*api.VM)) {
	b.ask(id, "", f)
}

// ask is the same with an operation of that kind.
func (b *book) ask(id, kind string, f func(*api.VM)) {
	_ = b.write(func() error {
		vm := b.rows[id]
		vm.ID = id
		f(&vm)
		vm.Status.Operation += "x"
		b.open[id] = cmp.Or(kind, map[api.Desired]string{api.WantRunning: "start", api.WantStopped: "stop",
			api.WantPaused: "pause", api.WantDeleted: "delete"}[vm.Status.Desired])
		b.putLocked(vm)
		return nil
	})
}

// alter changes a row without anybody waiting.
func (b *book) alter(id string, f func(*api.VM)) {
	_ = b.write(func() error {
		vm := b.rows[id]
		f(&vm)
		b.putLocked(vm)
		return nil
	})
}

func (b *book) vm(id string) (api.VM, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	vm, ok := b.rows[id]
	if !ok {
		return vm, errors.New("no such VM")
	}
	return vm, nil
}

// set changes what is not in the log: quorum, staleness, refusals.
func (b *book) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}
