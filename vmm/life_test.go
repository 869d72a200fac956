package vmm_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// ask is a user's word of that kind.
func (h *house) ask(kind string, f func(*api.VM)) {
	h.book.ask(web, kind, f)
	h.after(0)
}

func (h *house) wantReason(want string) {
	h.Helper()
	if vm, _ := h.book.vm(web); !strings.Contains(vm.Status.Reason, want) {
		h.Fatalf("reason: got %q, want %q in it", vm.Status.Reason, want)
	}
}

// wantIdle: nobody waits for anything any more.
func (h *house) wantIdle() {
	h.Helper()
	h.book.set(func() {
		if kind := h.book.open[web]; kind != "" {
			h.Fatalf("operation: got one of kind %q still open, want none", kind)
		}
	})
}

// on is for how long the guest has been on without a break.
func (h *house) on() time.Duration {
	h.Helper()
	all, err := h.hv.Stats(h.Context())
	if err != nil || len(all) != 1 {
		h.Fatalf("counters: got %+v, %v; want those of one guest", all, err)
	}
	return time.Duration(all[0].CPUSeconds * float64(time.Second))
}

func TestGuestsThatFallAreStartedAgain(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		for i, pause := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
			h.hv.Crash(web)
			h.after(0)
			h.wantState(api.VMCrashed)
			h.wantReason(fmt.Sprintf("starts again in %d s", pause))
			h.after(time.Duration(pause)*time.Second - time.Millisecond)
			h.wantPower(vmm.Off)
			h.after(time.Millisecond)
			h.wantState(api.VMRunning)
			h.wantPower(vmm.Running)
			h.after(time.Duration(i%3) * time.Minute) // it stays on for a while, but not for long enough
		}
		h.after(10 * time.Minute)
		h.hv.Crash(web)
		h.after(time.Second)
		h.wantState(api.VMRunning) // the row of falls has ended

		// orchd is restarted while a guest is off: the pause begins anew, and libvirt may have forgotten why.
		h.hv.Crash(web)
		h.after(0)
		h.wantReason("starts again in 2 s")
		h.stop()
		h.hv.Reboot()
		h.start()
		h.after(time.Second)
		h.wantState(api.VMRunning)

		// A user's word does not wait, and begins anew.
		h.hv.Crash(web)
		h.after(time.Second)
		h.hv.Crash(web)
		h.after(0)
		h.want(api.WantRunning)
		h.wantState(api.VMRunning)
		h.hv.Crash(web)
		h.after(0)
		h.wantReason("starts again in 1 s")
		h.want(api.WantStopped)
		h.wantState(api.VMStopped)
		h.after(time.Hour)
		h.wantPower(vmm.Off)
	})
	live(t, func(h *house) {
		h.assign(web)
		h.book.alter(web, func(vm *api.VM) { vm.Spec.Restart = api.RestartAlways })
		h.hv.PowerOff(web)
		h.after(0)
		h.wantState(api.VMStopped)
		h.wantReason("the guest switched itself off; starts again in 1 s")
		h.after(time.Second)
		h.wantState(api.VMRunning)
		if err := h.hv.Destroy(h.Context(), web); err != nil { // virsh destroy
			h.Fatal(err)
		}
		h.after(time.Hour)
		h.wantState(api.VMStopped)
	})
	live(t, func(h *house) { // without quorum nothing is started, whatever the policy
		h.assign(web)
		h.hv.Crash(web)
		h.after(0)
		h.book.set(func() { h.book.cutOff = true })
		h.after(time.Hour)
		h.wantPower(vmm.Off)
		h.book.set(func() { h.book.cutOff = false })
		h.after(10 * time.Second)
		h.wantState(api.VMRunning)
	})
}

func TestRestart(t *testing.T) {
	restart := func(seconds int64) func(*api.VM) {
		return func(vm *api.VM) {
			vm.Status.Desired, vm.Status.Restarting, vm.Status.StopSeconds = api.WantRunning, true, seconds
		}
	}
	live(t, func(h *house) {
		h.assign(web)
		h.after(time.Minute)
		h.ask("restart", restart(0))
		h.wantState(api.VMRunning)
		h.wantIdle()
		if got := h.on(); got > time.Second {
			t.Errorf("on without a break: got %v after a restart, want less than 1 s", got)
		}
		last := h.book.reports[len(h.book.reports)-1]
		if !last.Restarted || last.State != api.VMRunning {
			t.Errorf("report of the restart: got %+v, want running, restarted", last)
		}
		h.after(time.Hour)
		if got := h.on(); got < time.Hour {
			t.Errorf("on without a break: got %v, want no second restart", got)
		}

		// A deaf guest has as long as was said.
		h.hv.Deafen()
		h.ask("restart", restart(90))
		h.after(89 * time.Second)
		if got := h.on(); got < time.Hour {
			t.Errorf("on without a break: got %v, want it to have its time", got)
		}
		h.after(2 * time.Second)
		h.wantState(api.VMRunning)
		h.wantIdle()
		if got := h.on(); got > 2*time.Second {
			t.Errorf("on without a break: got %v after a restart by force", got)
		}
		if slices.ContainsFunc(h.book.reports, func(r api.VMReport) bool { return r.State == api.VMStopped }) {
			t.Errorf("reports: got %+v, want none of a stop", h.book.reports)
		}
	})
	live(t, func(h *house) { // the report is lost: it is not restarted twice
		h.assign(web)
		h.hv.Delay("Start", time.Second)
		h.ask("restart", restart(0))
		h.after(500 * time.Millisecond)
		h.book.set(func() { h.book.cutOff = true })
		h.after(10 * time.Minute)
		h.book.set(func() { h.book.cutOff = false })
		h.after(10 * time.Second)
		h.wantState(api.VMRunning)
		h.wantIdle()
		if got := h.on(); got < 10*time.Minute {
			t.Errorf("on without a break: got %v, want one restart alone", got)
		}
	})
}

func TestPause(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.want(api.WantPaused)
		h.wantState(api.VMPaused)
		h.wantPower(vmm.Paused)
		h.wantIdle()
		h.stop()
		h.hv.Reboot()
		h.start()
		h.after(time.Second)
		h.wantPower(vmm.Paused)
		h.ask("resume", func(vm *api.VM) { vm.Status.Desired = api.WantRunning })
		h.wantState(api.VMRunning)
		h.wantIdle()

		h.hv.BreakDisk(web)
		h.after(0)
		h.wantState(api.VMPaused)
		h.wantReason("its disk could not be read or written")
		h.after(time.Hour)
		h.wantPower(vmm.Paused)
		h.ask("resume", func(*api.VM) {})
		h.wantState(api.VMRunning)
		h.wantIdle()
	})
}

func TestSuspendedAccount(t *testing.T) {
	live(t, func(h *house) {
		suspend := func(yes bool) {
			h.book.alter(web, func(vm *api.VM) { vm.Status.Suspended = yes })
			h.after(0)
		}
		h.assign(web)
		h.hv.Deafen()
		suspend(true)
		h.after(31 * time.Second)
		h.wantState(api.VMStopped)
		h.wantReason("its account is suspended")
		h.stop()
		h.hv.Reboot()
		h.start()
		h.after(time.Hour)
		h.wantPower(vmm.Off)
		suspend(false)
		h.wantState(api.VMRunning)

		h.hv.PowerOff(web) // and stays so
		h.after(0)
		suspend(true)
		h.after(time.Minute)
		suspend(false)
		h.after(time.Hour)
		h.wantState(api.VMStopped)
		h.wantPower(vmm.Off)
	})
}

func TestShapes(t *testing.T) {
	vcpus := func(n int64) func(*api.VM) { return func(vm *api.VM) { vm.Spec.VCPUs = n } }
	live(t, func(h *house) {
		wantVCPUs := func(want int64) {
			t.Helper()
			if b, _ := h.hv.Build(web); b.Spec.VCPUs != want {
				t.Fatalf("processors of the domain: got %d, want %d", b.Spec.VCPUs, want)
			}
		}
		h.assign(web)
		h.ask("resize", vcpus(2))
		h.wantState(api.VMRunning)
		h.wantIdle()
		wantVCPUs(2)

		h.hv.Fail("Hotplug", api.Errorf(api.Conflict, "sim", "no slot is free"))
		h.ask("resize", vcpus(4))
		h.wantIdle()
		last := h.book.reports[len(h.book.reports)-1]
		failed := slices.ContainsFunc(h.book.reports, func(r api.VMReport) bool { return r.Failed && strings.Contains(r.Reason, "no slot is free") })
		if !failed || last.State != api.VMRunning {
			t.Errorf("reports: got %+v, want the operation failed with the reason, and the VM running", h.book.reports)
		}
		h.wantReason("its new shape takes effect at its next start")
		wantVCPUs(2)
		h.ask("restart", func(vm *api.VM) { vm.Status.Restarting = true })
		h.wantState(api.VMRunning)
		h.wantReason("")
		wantVCPUs(4)

		h.want(api.WantStopped)
		h.ask("resize", vcpus(1))
		h.wantState(api.VMStopped)
		h.wantIdle()
		wantVCPUs(1)

		h.book.alter(web, func(vm *api.VM) { vm.Name = "shop" })
		h.want(api.WantRunning)
		h.wantState(api.VMRunning)
		if d, _ := h.hv.Domain(web); d.Name != "shop-11111111" {
			t.Errorf("name of the domain: got %q, want the VM's new one", d.Name)
		}

		// A shape that cannot be is no reason to go on trying for ever.
		h.want(api.WantStopped)
		h.hv.Fail("Reshape", errors.New("the disk is full"))
		h.ask("resize", vcpus(8))
		h.after(10 * time.Second)
		h.wantState(api.VMStopped)
		h.wantIdle()
		h.wantReason("") // the operation has it
		h.want(api.WantRunning)
		h.after(10 * time.Second)
		h.wantState(api.VMFailed)
		h.wantReason("the disk is full")
	})
}

// assignMade gives us a VM that is as f makes it.
func (h *house) assignMade(id string, f func(*api.VM)) {
	h.book.ask(id, "create", func(vm *api.VM) {
		vm.Name, vm.Spec = "web", spec
		vm.Status = api.VMStatus{OwnerID: us, Epoch: 1, State: api.VMAssigned, Desired: api.WantRunning}
		f(vm)
	})
	h.after(0)
}

// keepImage makes an image known whose content orchd keeps.
func (h *house) keepImage() {
	h.book.set(func() {
		h.book.images["debian"] = api.Image{ID: "i1", Name: "debian", Kind: api.ImageDisk, Source: api.SourceUpload, State: api.ImageAvailable}
	})
}

func fromDebian(vm *api.VM) { vm.Spec.Image = "debian" }

func TestImagesAreFetched(t *testing.T) {
	live(t, func(h *house) {
		h.keepImage()
		h.shelf.steps = 10
		h.assignMade(web, fromDebian)
		h.wantState(api.VMRunning)
		if b, _ := h.hv.Build(web); b.Image == nil || b.Image.Path != "/images/i1" {
			t.Errorf("image of the domain: got %+v, want this host's copy", b.Image)
		}
		if steps := h.book.reports[0].Steps; len(steps) == 0 || steps[0].Name != "image" {
			t.Errorf("steps of the create: got %+v, want the image first", steps)
		}
		if got := len(h.book.progress); got != 1 {
			t.Errorf("progress within 2 s: told %d times, want once", got)
		}
	})
	t.Run("none has it yet", func(t *testing.T) {
		live(t, func(h *house) {
			h.keepImage()
			h.shelf.err = api.Errorf(api.Unavailable, "image", "no peer has a copy")
			h.assignMade(web, fromDebian)
			h.after(time.Hour)
			h.wantState(api.VMCreating)
			h.wantReason("waits for image debian: ")
			h.wantReason("no peer has a copy")
			if got := len(h.book.reports); got != 1 {
				t.Errorf("reports in an hour: got %d, want the reason told once", got)
			}
			h.shelf.set(func() { h.shelf.err = nil })
			h.after(10 * time.Second)
			h.wantState(api.VMRunning)
			h.wantReason("")
		})
	})
	t.Run("it is broken", func(t *testing.T) {
		live(t, func(h *house) {
			h.keepImage()
			h.shelf.err = api.Errorf(api.Invalid, "image", "wrong sum")
			h.assignMade(web, fromDebian)
			h.wantState(api.VMFailed)
			h.wantReason("wrong sum")
		})
	})
	t.Run("many at once hold up nobody", func(t *testing.T) {
		live(t, func(h *house) {
			const many = 200 // more than may wait at once
			h.keepImage()
			h.assign(twin)
			h.shelf.hold = make(chan struct{})
			for i := range many {
				h.assignMade(fmt.Sprintf("%08d-1111-4111-8111-111111111111", i), fromDebian)
			}
			h.after(time.Minute)
			h.book.edit(twin, func(vm *api.VM) { vm.Status.Desired = api.WantStopped })
			h.after(time.Second)
			if vm, _ := h.book.vm(twin); vm.Status.State != api.VMStopped {
				t.Errorf("another VM while images are fetched: got %q, want stopped", vm.Status.State)
			}
			close(h.shelf.hold)
			h.after(time.Minute)
			for i := range many {
				if vm, _ := h.book.vm(fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)); vm.Status.State != api.VMRunning {
					t.Errorf("VM %d: got %q, want running", i, vm.Status.State)
				}
			}
		})
	})
	t.Run("deleted meanwhile", func(t *testing.T) {
		live(t, func(h *house) {
			h.keepImage()
			h.shelf.hold = make(chan struct{})
			h.assignMade(web, fromDebian)
			h.after(time.Minute)
			h.want(api.WantDeleted)
			h.after(time.Second)
			h.wantNothing()
			if _, err := h.book.vm(web); err == nil {
				t.Error("the row is still there, want it gone although the image never came")
			}
		})
	})
	t.Run("cut off meanwhile", func(t *testing.T) {
		live(t, func(h *house) {
			h.keepImage()
			h.shelf.hold = make(chan struct{})
			h.assignMade(web, fromDebian)
			h.after(time.Minute)
			h.book.set(func() { h.book.cutOff = true })
			close(h.shelf.hold)
			h.after(time.Hour)
			h.wantNothing()
			h.book.set(func() { h.book.cutOff = false })
			h.after(10 * time.Second)
			h.wantState(api.VMRunning)
		})
	})
	t.Run("stopped meanwhile, and these tables do not know", func(t *testing.T) {
		live(t, func(h *house) {
			h.keepImage()
			h.shelf.hold = make(chan struct{})
			h.assignMade(web, fromDebian)
			h.after(time.Minute)
			h.book.set(func() {
				h.book.stale = h.book.viewLocked()
				row := h.book.rows[web]
				row.Status.Desired = api.WantStopped
				h.book.rows[web] = row
			})
			close(h.shelf.hold)
			h.after(time.Hour)
			h.wantNothing()
		})
	})
	t.Run("orchd ends meanwhile", func(t *testing.T) {
		live(t, func(h *house) {
			h.keepImage()
			h.shelf.hold = make(chan struct{})
			h.assignMade(web, fromDebian)
			h.stop()
			h.shelf.set(func() { h.shelf.hold = nil })
			h.start()
			h.wantState(api.VMRunning)
		})
	})
}

func TestSeeds(t *testing.T) {
	live(t, func(h *house) {
		h.seeds.seeded = []string{web}
		h.book.set(func() {
			h.book.networks["lan"] = api.Network{Name: "lan", NetworkShape: api.NetworkShape{Bridge: "br0"}}
		})
		h.assignMade(web, func(vm *api.VM) {
			vm.Spec.Network = "lan"
			vm.Status.Addresses = []api.VMAddress{{IP: "10.0.0.5", MAC: "52:54:00:00:00:01", Network: "lan"}}
		})
		h.wantState(api.VMRunning)
		if got, want := string(h.hv.SeedOf(web)), "seed of "+web+" on lan"; got != want {
			t.Errorf("seed: got %q, want %q", got, want)
		}
		if b, _ := h.hv.Build(web); !b.Seeded || b.NIC == nil || b.NIC.Bridge != "br0" {
			t.Errorf("build: got %+v, want a seed and an interface", b)
		}
		h.want(api.WantStopped)
		h.hv.LoseFile(vmm.SeedName(web))
		h.want(api.WantRunning)
		h.wantState(api.VMRunning)
		if h.seeds.made != 2 {
			t.Errorf("seeds made: got %d, want the lost one made again and no other", h.seeds.made)
		}
		h.want(api.WantStopped)
		h.want(api.WantRunning)
		if h.seeds.made != 2 {
			t.Errorf("seeds made: got %d, want none for one that is there", h.seeds.made)
		}
		h.want(api.WantDeleted)
		h.wantNothing()
	})
	t.Run("not yet", func(t *testing.T) {
		live(t, func(h *house) {
			h.seeds.seeded, h.seeds.err = []string{web}, api.Errorf(api.Unavailable, "seed", "the keys are not open")
			h.assign(web)
			h.after(time.Minute)
			h.wantState(api.VMCreating)
			h.wantReason("waits for its seed")
			h.seeds.set(func() { h.seeds.err = nil })
			h.after(10 * time.Second)
			h.wantState(api.VMRunning)
		})
	})
	t.Run("never", func(t *testing.T) {
		live(t, func(h *house) {
			h.seeds.seeded, h.seeds.err = []string{web}, errors.New("no room")
			h.assign(web)
			h.after(10 * time.Second)
			h.wantState(api.VMFailed)
			h.wantReason("no room")
			if d, there := h.hv.Domain(web); there {
				t.Errorf("domain: got %+v, want none", d)
			}
		})
	})
}

func TestMissingNetworkFailsAtOnce(t *testing.T) {
	live(t, func(h *house) {
		h.assignMade(web, func(vm *api.VM) { vm.Spec.Network = "lan" })
		h.wantState(api.VMFailed)
		h.wantReason(`there is no network "lan": make it, then start the VM`)
	})
}
