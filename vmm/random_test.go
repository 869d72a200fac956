package vmm_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// chaos does to a house whatever users, guests and hosts do.
type chaos struct {
	*house
	*rand.Rand
	made int
}

// any is one of the VMs that there are, and whether there is one.
func (c *chaos) any() (id string, ok bool) {
	c.book.set(func() {
		var ids []string
		for id, row := range c.book.rows {
			if row.Status.Desired != api.WantDeleted {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		if ok = len(ids) > 0; ok {
			id = ids[c.IntN(len(ids))]
		}
	})
	return id, ok
}

func (c *chaos) wanted(kind string, d api.Desired, changes ...func(*api.VM)) func(string) {
	return func(id string) {
		c.book.ask(id, kind, func(vm *api.VM) {
			vm.Status.Desired, vm.Status.Force, vm.Status.Restarting = d, false, false
			for _, change := range changes {
				change(vm)
			}
		})
	}
}

func (c *chaos) snapshot(s api.DiskSnapshotState) func(string) {
	return func(vm string) {
		_ = c.book.write(func() error {
			id := "snapshot-of-" + vm
			have, there := c.book.snapshots[id]
			if there == (s == api.DiskSnapshotCreating) || there && have.State != api.DiskSnapshotReady {
				return nil // the log would refuse it
			}
			if s == api.DiskSnapshotRestoring && c.book.rows[vm].Status.Desired != api.WantStopped {
				return nil
			}
			c.book.snapshots[id] = api.DiskSnapshot{ID: id, VM: vm, State: s}
			return nil
		})
	}
}

// move does one thing.
func (c *chaos) move() {
	ops := []string{"MakeDisk", "Define", "Start", "Shutdown", "Destroy", "Undefine", "Clean", "Reshape", "Hotplug", "SnapshotDisk",
		"DropSnapshot", "RevertDisk", "List", "Suspend", "Resume", "PutSeed", "DiskFiles"}
	if c.IntN(4) == 0 || c.made == 0 {
		c.made++
		c.assignMade(fmt.Sprintf("%08d-1111-4111-8111-111111111111", c.made), func(vm *api.VM) {
			vm.Name = fmt.Sprint("vm", c.made)
			vm.Spec.Restart = []api.RestartPolicy{api.RestartAlways, api.RestartOnFailure, api.RestartNever}[c.IntN(3)]
		})
		return
	}
	to := []func(string){
		c.wanted("start", api.WantRunning), c.wanted("stop", api.WantStopped), c.wanted("pause", api.WantPaused), c.wanted("resume", api.WantRunning),
		c.wanted("stop", api.WantStopped, func(vm *api.VM) { vm.Status.Force = true }),
		c.wanted("restart", api.WantRunning, func(vm *api.VM) { vm.Status.Restarting = true }),
		c.wanted("delete", api.WantDeleted, func(vm *api.VM) { vm.Status.State = api.VMDeleting }),
		c.wanted("delete", api.WantDeleted, func(vm *api.VM) { vm.Status.State = api.VMDeleting }),
		func(id string) { c.book.ask(id, "resize", func(vm *api.VM) { vm.Spec.VCPUs = 1 + c.Int64N(4) }) },
		func(id string) { c.book.alter(id, func(vm *api.VM) { vm.Name += "x" }) },
		func(id string) { c.book.alter(id, func(vm *api.VM) { vm.Status.Suspended = !vm.Status.Suspended }) },
		c.snapshot(api.DiskSnapshotCreating), c.snapshot(api.DiskSnapshotDeleting), c.snapshot(api.DiskSnapshotRestoring),
		c.hv.Crash, c.hv.Crash, c.hv.PowerOff, c.hv.BreakDisk, c.hv.Uproot,
		func(string) { c.hv.Reboot() },
		func(string) { c.stop(); c.start() },
		func(string) { c.hv.Fail(ops[c.IntN(len(ops))], fmt.Errorf("bad luck")) },
		func(string) { c.hv.Hang(ops[c.IntN(len(ops))]) },
		func(string) { c.hv.Delay(ops[c.IntN(len(ops))], time.Duration(c.IntN(12))*time.Second) },
		func(string) { c.hv.Mend() },
		func(string) { c.hv.Down() },
		func(string) { c.book.set(func() { c.book.cutOff = !c.book.cutOff }) },
	}
	if id, ok := c.any(); ok {
		to[c.IntN(len(to))](id)
	}
}

// settle mends everything, asks once more for what every VM wants, and lets it
// come about. What was uprooted is found, and mended as the finding says.
func (c *chaos) settle() {
	c.hv.Mend()
	c.book.set(func() { c.book.cutOff = false })
	c.after(10 * time.Minute)
	ask := func(id string, d api.Desired) {
		kind := map[api.Desired]string{api.WantRunning: "start", api.WantStopped: "stop", api.WantPaused: "pause"}[d]
		c.book.ask(id, kind, func(vm *api.VM) { vm.Status.Desired, vm.Status.Restarting = d, false })
		c.after(time.Minute)
	}
	for id, row := range c.rows() {
		if d := row.Status.Desired; d != api.WantDeleted {
			c.book.alter(id, func(vm *api.VM) { vm.Status.Suspended, vm.Spec.Restart = false, api.RestartNever })
			if d == api.WantPaused {
				ask(id, api.WantRunning)
			}
			ask(id, d)
		}
	}
	found, err := c.loop.Findings(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	for _, f := range found {
		if f.Code != "record-without-domain" || !strings.HasPrefix(f.Action, "orchd vm start ") {
			c.Errorf("finding: got %+v, want none but what was uprooted", f)
			continue
		}
		ask(f.VM, api.WantRunning)
		ask(f.VM, api.WantStopped)
	}
}

func (c *chaos) rows() map[string]api.VM {
	rows := map[string]api.VM{}
	c.book.set(func() {
		for id, row := range c.book.rows {
			rows[id] = row
		}
	})
	return rows
}

// wantAgreement compares rows, domains and files.
func (c *chaos) wantAgreement() {
	c.Helper()
	l, err := c.hv.List(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	domains := map[string]vmm.Domain{}
	for _, d := range l.Domains {
		domains[d.UUID] = d
	}
	rows := c.rows()
	for id, row := range rows {
		d, there := domains[id]
		power := map[api.Desired]vmm.Power{api.WantRunning: vmm.Running, api.WantStopped: vmm.Off, api.WantPaused: vmm.Paused}[row.Status.Desired]
		state := map[api.Desired]api.VMState{api.WantRunning: api.VMRunning, api.WantStopped: api.VMStopped, api.WantPaused: api.VMPaused}[row.Status.Desired]
		b, _ := c.hv.Build(id)
		switch {
		case row.Status.Desired == api.WantDeleted:
			c.Errorf("%s is still to be deleted: %+v", id, row.Status)
		case row.Status.State != state || row.Status.Restarting:
			c.Errorf("%s: got %q (%s), restarting %v; want %q", id, row.Status.State, row.Status.Reason, row.Status.Restarting, state)
		case !there && row.Status.Desired == api.WantStopped: // it need not be made for that
		case !there || d.Power != power:
			c.Errorf("domain of %s: got %+v, there %v; want power %v", id, d, there, power)
		case power != vmm.Off && row.Status.Reason == "" && (d.Name != vmm.DomainName(row) || b.Spec.VCPUs != row.Spec.VCPUs):
			c.Errorf("domain of %s: got %s with %d processors, want it as its row asks: %+v", id, d.Name, b.Spec.VCPUs, row)
		}
	}
	for id := range domains {
		if _, known := rows[id]; !known {
			c.Errorf("domain %s belongs to no row", id)
		}
	}
	for _, name := range c.hv.Files() {
		id, _, _ := strings.Cut(name, ".")
		if _, known := rows[id]; !known {
			c.Errorf("file %s belongs to no row", name)
		}
	}
	c.book.set(func() {
		for id, s := range c.book.snapshots {
			if _, known := rows[s.VM]; known && s.State != api.DiskSnapshotReady && s.State != api.DiskSnapshotFailed {
				c.Errorf("snapshot %s is still %s", id, s.State)
			}
		}
		for id, kind := range c.book.open {
			if _, known := rows[id]; known {
				c.Errorf("operation %s on %s is still open: %+v", kind, id, rows[id].Status)
			}
		}
	})
	if found, err := c.loop.Findings(c.Context()); err != nil || len(found) > 0 {
		c.Errorf("findings: got %+v, %v; want none", found, err)
	}
}

// Whatever happens to users, guests and hosts: in the end rows, domains and files agree.
func TestRandomLives(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			live(t, func(h *house) {
				c := &chaos{house: h, Rand: rand.New(rand.NewPCG(seed, 5))}
				for range 200 {
					c.move()
					c.after(time.Duration(c.IntN(3000)) * time.Millisecond)
				}
				c.settle()
				c.wantAgreement()
			})
		})
	}
}
