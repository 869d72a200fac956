package vmm

import (
	"context"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// exportPatience is how long an export waits for whoever works on the VM.
const exportPatience = 10 * time.Second

// BuildOf is what the domain of one of our VMs is made from, as this peer's tables
// say. Where the content of a kept image lies on this host is not in it.
func (l *Loop) BuildOf(vm string) (Build, error) {
	wanted, _ := l.records.Wanted()
	row, known := wanted.Row(vm)
	if !known {
		return Build{}, api.Errorf(api.NotFound, "vmm.build", "no VM %s", vm)
	}
	return l.me().build(wanted, row)
}

// Export writes the disk of one of our VMs that is off, made whole, as qcow2 to a
// new file. Nothing else happens to the VM meanwhile, not even a start; but to
// delete it ends the export. Conflict when it is not off, or when something goes on
// with it that does not end soon.
func (l *Loop) Export(ctx context.Context, vm, to string) error {
	if err := l.hold(ctx, vm); err != nil {
		return err
	}
	defer l.poke() // what was put off
	defer l.busy.give(vm)
	b, err := l.exportable(ctx, vm)
	if err != nil {
		return err
	}
	return l.whileOurs(ctx, step{vm: vm, epoch: b.Mark.Epoch, state: api.VMStopped}, func(ctx context.Context) error {
		return l.hv.CopyDisk(ctx, b, to)
	})
}

// hold takes a VM's place as a worker does.
func (l *Loop) hold(ctx context.Context, vm string) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for until := time.Now().Add(exportPatience); !l.busy.take(vm); {
		if time.Now().After(until) {
			return api.Errorf(api.Conflict, "vmm.export", "something else is being done with the VM; try again when that has ended")
		}
		select {
		case <-ctx.Done():
			return &api.Error{Kind: api.Unavailable, Op: "vmm.export", Msg: "given up", Err: ctx.Err()}
		case <-again.C:
		}
	}
	return nil
}

// exportable looks whether the disk of a VM that we hold stands still.
func (l *Loop) exportable(ctx context.Context, vm string) (Build, error) {
	const op = "vmm.export"
	wanted, err := l.records.Confirmed(ctx)
	if err != nil {
		return Build{}, unproven(err)
	}
	row, known := wanted.Row(vm)
	st := row.Status
	switch {
	case !known:
		return Build{}, api.Errorf(api.NotFound, op, "no VM %s", vm)
	case st.OwnerID != l.cfg.Peer || !st.Begun || st.Desired == api.WantDeleted:
		return Build{}, api.Errorf(api.Conflict, op, "VM %s is not this host's to export", row.Name)
	case len(st.Doubles) > 0:
		return Build{}, api.Errorf(api.Conflict, op, "VM %s was seen on another host too", row.Name)
	case slices.Contains(st.Flags, diskElsewhere):
		return Build{}, api.Errorf(api.Conflict, op, "VM %s cannot be exported: %s", row.Name, whyElsewhere)
	}
	listing, err := l.hv.List(ctx)
	if err != nil {
		return Build{}, err
	}
	p := present{domains: map[string][]Domain{}}
	for _, d := range listing.Domains {
		p.domains[d.Mark.VM] = append(p.domains[d.Mark.VM], d)
	}
	own, copies := p.of(vm)
	switch {
	case own == nil || own.Mark.Epoch != st.Epoch || len(copies) > 0:
		return Build{}, api.Errorf(api.Conflict, op, "VM %s has no domain on this host, or more than one", row.Name)
	case own.Power != Off:
		return Build{}, api.Errorf(api.Conflict, op, "VM %s is on: stop it first", row.Name)
	}
	b, err := l.me().build(wanted, row)
	if err == nil && !NeedsDisk(b) {
		err = api.Errorf(api.Conflict, op, "VM %s has no disk", row.Name)
	}
	return b, err
}
