package vmm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/sim"
)

const (
	cluster = "44444444-4444-4444-8444-444444444444"
	us      = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
	others  = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
	web     = "11111111-1111-4111-8111-111111111111"
	twin    = "22222222-2222-4222-8222-222222222222"
)

var spec = api.VMSpec{VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}

// house is a host with its loop at work, in virtual time.
type house struct {
	*testing.T
	book  *book
	hv    *sim.Driver
	shelf *shelf
	seeds *nursery
	loop  *vmm.Loop
	stop  func() // ends the loop and waits for it
}

// live runs a story in virtual time, with the loop at work from the start.
func live(t *testing.T, story func(h *house)) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{T: t, book: newBook(us), hv: sim.New(api.Resources{}, "host-uuid"), shelf: &shelf{}, seeds: &nursery{}}
		h.start()
		defer func() { h.stop() }()
		story(h)
	})
}

// start begins a life of the loop.
func (h *house) start() {
	log := slog.New(slog.NewTextHandler(h.Output(), nil))
	h.loop = vmm.New(vmm.Config{Cluster: cluster, Peer: us, Name: "h1", Images: h.shelf, Seeds: h.seeds}, h.hv, h.book, log)
	ctx, cancel := context.WithCancel(h.Context())
	ended := make(chan error)
	go func() { ended <- h.loop.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			h.Errorf("the loop ended with %v, want nil", err)
		}
	}
	synctest.Wait()
}

// after lets time pass and everything settle.
func (h *house) after(d time.Duration) {
	h.book.set(func() {}) // what the test has read of the book until now is read before the loop goes on
	time.Sleep(d)         // virtual
	synctest.Wait()
}

// assign makes the cluster give us a VM.
func (h *house) assign(id string) {
	h.book.edit(id, func(vm *api.VM) {
		vm.Name, vm.Spec = "web", spec
		vm.Status = api.VMStatus{OwnerID: us, Epoch: 1, State: api.VMAssigned, Desired: api.WantRunning}
	})
	synctest.Wait()
}

func (h *house) want(d api.Desired) {
	h.book.edit(web, func(vm *api.VM) { vm.Status.Desired = d })
	synctest.Wait()
}

func (h *house) wantState(want api.VMState) {
	h.Helper()
	if vm, err := h.book.vm(web); err != nil || vm.Status.State != want {
		h.Fatalf("state: got %q (%s), %v; want %q", vm.Status.State, vm.Status.Reason, err, want)
	}
}

func (h *house) wantPower(want vmm.Power) {
	h.Helper()
	if d, ok := h.hv.Domain(web); !ok || d.Power != want {
		h.Fatalf("domain: got %+v, there %v; want power %v", d, ok, want)
	}
}

func (h *house) wantNothing() {
	h.Helper()
	if d, ok := h.hv.Domain(web); ok {
		h.Fatalf("domain: got %+v, want none", d)
	}
	if files := h.hv.Files(); len(files) > 0 {
		h.Fatalf("files: got %v, want none", files)
	}
}

func (h *house) wantSightings(want ...api.Sighting) {
	h.Helper()
	if got := h.book.sightings; !slices.Equal(got, want) {
		h.Fatalf("sightings: got %+v, want %+v", got, want)
	}
}

func TestLifeOfAVM(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.after(0)
		h.wantState(api.VMRunning)
		h.wantPower(vmm.Running)
		var steps []string
		for _, s := range h.book.reports[0].Steps {
			steps = append(steps, s.Name)
		}
		if want := []string{"disk", "define", "start"}; !slices.Equal(steps, want) {
			t.Errorf("steps of the create: got %v, want %v", steps, want)
		}
		d, _ := h.hv.Domain(web)
		if want := (vmm.Mark{Cluster: cluster, VM: web, Epoch: 1, Spec: vmm.Shape(vmm.Build{Name: "web-11111111", Spec: spec})}); d.Mark != want || d.Name != "web-11111111" {
			t.Errorf("domain: got %q marked %+v, want web-11111111 marked %+v", d.Name, d.Mark, want)
		}

		h.want(api.WantStopped)
		h.wantState(api.VMStopped)
		h.want(api.WantRunning)
		h.wantState(api.VMRunning)

		h.want(api.WantDeleted)
		h.wantNothing()
		if _, err := h.book.vm(web); err == nil {
			t.Error("the row is still there, want it gone")
		}
		if n := len(h.book.open); n > 1 { // the deletion itself is closed by Gone
			t.Errorf("open operations: got %d, want at most the deletion", n)
		}
	})
}

func TestStopByForceWhenTheGuestIsDeaf(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.hv.Deafen()
		h.want(api.WantStopped)
		h.after(29 * time.Second)
		h.wantPower(vmm.Running)
		h.after(2 * time.Second)
		h.wantState(api.VMStopped)

		h.want(api.WantRunning)
		h.book.edit(web, func(vm *api.VM) { vm.Status.Desired, vm.Status.Force = api.WantStopped, true })
		h.after(0)
		h.wantState(api.VMStopped)
	})
}

func TestRestartAdoptsGuests(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.stop()
		before, told := h.book.rows[web], len(h.book.reports)
		h.hv.Fail("Start", errors.New("must not be touched"))
		h.hv.Fail("Define", errors.New("must not be touched"))
		h.start()
		h.after(time.Hour)
		if got := h.book.rows[web]; !reflect.DeepEqual(got, before) || len(h.book.reports) != told {
			t.Errorf("row after a restart:\n got %+v\nwant %+v", got, before)
		}
		h.wantPower(vmm.Running)
	})
}

func TestWithoutQuorumNothingIsStartedOrDestroyed(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.stop()

		// The host boots while it is cut off; its tables say that the VM should run.
		h.hv.Reboot()
		h.book.set(func() { h.book.cutOff = true })
		h.start()
		h.after(time.Hour)
		h.wantPower(vmm.Off)

		h.book.set(func() { h.book.cutOff = false })
		h.after(10 * time.Second)
		h.wantPower(vmm.Running)
	})
	for _, d := range []api.Desired{api.WantStopped, api.WantDeleted} {
		live(t, func(h *house) {
			h.assign(web)
			h.want(api.WantRunning)
			h.book.set(func() {
				vm := h.book.rows[web]
				vm.Status.Desired = d
				h.book.rows[web] = vm
				h.book.cutOff = true
			})
			h.after(time.Hour)
			h.wantPower(vmm.Running)
		})
	}
}

// What the local tables ask for is not done when the cluster wants something else by now.
func TestOldTablesDoNothing(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.want(api.WantStopped)
		h.book.set(func() {
			h.book.stale = h.book.viewLocked() // asks for a stopped VM
			row := h.book.rows[web]
			row.Status.OwnerID, row.Status.Epoch = others, 2
			h.book.rows[web] = row
			asks := h.book.stale.rows[web]
			asks.Status.Desired = api.WantRunning
			h.book.stale.rows[web], h.book.stale.open[web] = asks, "start"
		})
		h.after(time.Hour)
		h.wantPower(vmm.Off)
	})
}

func TestRefusedBeginMakesNothing(t *testing.T) {
	live(t, func(h *house) {
		h.book.refuse = true
		h.assign(web)
		h.after(time.Hour)
		h.wantNothing()
		h.wantState(api.VMAssigned)
	})
}

func TestHalfMadeCreateIsUndone(t *testing.T) {
	broken := errors.New("no luck today")
	for _, op := range []string{"MakeDisk", "Define", "Start"} {
		t.Run(op, func(t *testing.T) {
			live(t, func(h *house) {
				h.hv.Fail(op, broken)
				h.assign(web)
				h.after(10 * time.Second)
				h.wantState(api.VMFailed)
				if vm, _ := h.book.vm(web); !strings.Contains(vm.Status.Reason, broken.Error()) {
					t.Errorf("reason: got %q, want %q in it", vm.Status.Reason, broken)
				}
				if _, there := h.hv.Domain(web); there {
					t.Error("the domain is still there")
				}
				if files := h.hv.Files(); slices.Contains(files, web+".epoch-1") {
					t.Errorf("files: got %v, want no disk", files)
				}
				h.hv.Mend()
				h.after(time.Hour)
				h.wantState(api.VMFailed) // until somebody starts it
				h.want(api.WantRunning)
				h.wantState(api.VMRunning)
			})
		})
	}
	t.Run("what cannot be undone is named", func(t *testing.T) {
		live(t, func(h *house) {
			h.hv.Fail("Start", broken)
			h.hv.Fail("DropDisk", errors.New("disk is stuck"))
			h.assign(web)
			h.after(10 * time.Second)
			vm, _ := h.book.vm(web)
			if want := "left behind: disk " + web + ".epoch-1: disk is stuck"; !strings.Contains(vm.Status.Reason, want) {
				t.Errorf("reason: got %q, want %q in it", vm.Status.Reason, want)
			}
		})
	})
	t.Run("a domain that stays keeps its disk", func(t *testing.T) {
		live(t, func(h *house) {
			h.hv.Fail("Start", broken)
			h.hv.Fail("Undefine", errors.New("it is stuck"))
			h.assign(web)
			h.after(10 * time.Second)
			h.wantState(api.VMFailed)
			vm, _ := h.book.vm(web)
			if want := "left behind: domain web-11111111: it is stuck; disk " + web + ".epoch-1"; !strings.Contains(vm.Status.Reason, want) {
				t.Errorf("reason: got %q, want %q in it", vm.Status.Reason, want)
			}
			h.hv.Fail("Start", nil)
			h.want(api.WantRunning)
			h.wantState(api.VMRunning)
		})
	})
	t.Run("unknown outcome is not undone", func(t *testing.T) {
		live(t, func(h *house) {
			h.hv.Hang("Start")
			h.assign(web)
			h.after(15 * time.Second)
			h.wantPower(vmm.Off)
			h.hv.Mend()
			h.after(10 * time.Second)
			h.wantState(api.VMRunning)
		})
	})
}

func TestFaultsAreTriedAgainWithBackoff(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.hv.Fail("Destroy", errors.New("it will not die"))
		h.book.edit(web, func(vm *api.VM) { vm.Status.Desired, vm.Status.State = api.WantDeleted, api.VMDeleting })
		h.after(10 * time.Second)
		h.wantState(api.VMDeleting)
		if vm, _ := h.book.vm(web); !strings.Contains(vm.Status.Reason, "it will not die") {
			t.Errorf("reason: got %q, want the failure in it", vm.Status.Reason)
		}
		told := len(h.book.reports)
		h.after(time.Hour)
		if got := len(h.book.reports); got != told {
			t.Errorf("told %d times more in an hour, want what is known told once", got-told)
		}
		h.hv.Fail("Destroy", nil)
		h.after(time.Minute)
		h.wantNothing()
	})
}

// TestFailureIsToldAfterTriesWithoutQuorum: tries whose outcome is unknown say nothing of
// the VM, and leave a failure that comes behind them no less to be told.
func TestFailureIsToldAfterTriesWithoutQuorum(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.stop()
		h.hv.Reboot()
		h.book.set(func() { h.book.cutOff = true })
		h.start()
		h.after(10 * time.Minute)
		h.hv.Fail("Start", errors.New("there is no bridge"))
		h.book.set(func() { h.book.cutOff = false })
		h.after(10 * time.Second)
		h.wantState(api.VMRunning) // it has had one try or two
		h.after(5 * time.Minute)
		h.wantState(api.VMFailed)
		h.wantReason("there is no bridge")
	})
}

// TestReportOfAFailureIsNoReasonToTryAgain: what a VM waits for may be told in other words
// each time; it is tried again when it is time.
func TestReportOfAFailureIsNoReasonToTryAgain(t *testing.T) {
	live(t, func(h *house) {
		h.keepImage()
		h.shelf.words = true
		h.shelf.err = api.Errorf(api.Unavailable, "image", "no peer has a copy")
		h.assignMade(web, fromDebian)
		h.after(time.Hour)
		h.wantState(api.VMCreating)
		if got := h.shelf.asked; got < 400 || got > 500 { // every 8 s
			t.Errorf("an image that nobody has was asked for %d times in an hour, want some 450", got)
		}
	})
}

// TestSecondStopAsksAgain, and gives the guest its whole time.
func TestSecondStopAsksAgain(t *testing.T) {
	twice := func(h *house) {
		h.assign(web)
		h.hv.Deafen()
		h.want(api.WantStopped)
		h.after(10 * time.Second)
		h.want(api.WantRunning)
		h.after(10 * time.Second)
	}
	live(t, func(h *house) {
		twice(h)
		h.want(api.WantStopped)
		h.after(29 * time.Second)
		h.wantPower(vmm.Running)
		h.after(2 * time.Second)
		h.wantState(api.VMStopped)
	})
	live(t, func(h *house) { // asked for again and again, it comes to force no later than with the first
		h.assign(web)
		h.hv.Deafen()
		for range 3 {
			h.want(api.WantStopped)
			h.after(10 * time.Second)
		}
		h.after(time.Second)
		h.wantState(api.VMStopped)
	})
	live(t, func(h *house) {
		twice(h)
		h.hv.Mend() // it hears now
		h.want(api.WantStopped)
		h.after(0)
		h.wantState(api.VMStopped)
	})
}

func TestGuestThatStopsByItselfStaysOff(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(*sim.Driver, string)
		want api.VMState
	}{{"power off", (*sim.Driver).PowerOff, api.VMStopped}, {"crash", (*sim.Driver).Crash, api.VMCrashed}} {
		t.Run(c.name, func(t *testing.T) {
			live(t, func(h *house) {
				h.assign(web)
				h.book.alter(web, func(vm *api.VM) { vm.Spec.Restart = api.RestartNever })
				c.stop(h.hv, web)
				h.after(0)
				h.wantState(c.want)
				h.stop()
				h.hv.Reboot() // libvirtd no longer knows why it is off
				h.start()
				h.after(time.Hour)
				h.wantState(c.want)
				h.want(api.WantRunning)
				h.wantState(api.VMRunning)
			})
		})
	}
}

func TestHostRebootStartsGuestsAgain(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.hv.Reboot()
		h.after(0)
		h.wantState(api.VMRunning)
		h.wantPower(vmm.Running)
	})
}

func TestOlderEpochIsKeptStillThenRetired(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.book.edit(web, func(vm *api.VM) {
			vm.Status.OwnerID, vm.Status.Epoch, vm.Status.Begun, vm.Status.State = others, 2, false, api.VMAssigned
		})
		h.after(time.Minute)
		h.wantPower(vmm.Paused)
		h.wantSightings(api.Sighting{VM: web, Epoch: 1})

		h.book.edit(web, func(vm *api.VM) { vm.Status.Begun, vm.Status.State = true, api.VMRunning })
		h.after(time.Minute)
		if d, ok := h.hv.Domain(web); ok {
			t.Fatalf("domain of the older epoch: got %+v, want none", d)
		}
		if got := h.hv.Files(); !slices.Contains(got, web+".epoch-1") {
			t.Errorf("files: got %v, want the older epoch's disk kept", got)
		}
		h.wantSightings(api.Sighting{VM: web, Epoch: 1}, api.Sighting{VM: web, Epoch: 1, Gone: true})
	})
}

func TestDoubleIsReportedAndLeftAlone(t *testing.T) {
	planted := vmm.Domain{UUID: web, Name: "web", Mark: vmm.Mark{Cluster: cluster, VM: web, Epoch: 1}, Power: vmm.Running}
	t.Run("of another peer's VM", func(t *testing.T) {
		live(t, func(h *house) {
			h.book.edit(web, func(vm *api.VM) {
				vm.Status = api.VMStatus{OwnerID: others, Epoch: 1, Begun: true, State: api.VMRunning, Desired: api.WantRunning}
			})
			h.hv.Plant(planted)
			h.after(5 * time.Second)
			h.wantSightings(api.Sighting{VM: web, Epoch: 1})
			h.after(time.Hour)
			h.wantPower(vmm.Running)
			h.hv.Uproot(web)
			h.after(5 * time.Second)
			h.wantSightings(api.Sighting{VM: web, Epoch: 1}, api.Sighting{VM: web, Epoch: 1, Gone: true})
		})
	})
	t.Run("beside our own", func(t *testing.T) {
		live(t, func(h *house) {
			h.assign(web)
			second := planted
			second.UUID = twin
			h.hv.Plant(second)
			h.after(5 * time.Second)
			h.wantSightings(api.Sighting{VM: web, Epoch: 1})
			h.want(api.WantStopped)
			h.after(time.Hour)
			h.wantPower(vmm.Running)
		})
	})
	t.Run("of our VM on another peer", func(t *testing.T) {
		live(t, func(h *house) {
			h.assign(web)
			h.book.edit(web, func(vm *api.VM) { vm.Status.Doubles, vm.Status.Desired = []string{"h2"}, api.WantDeleted })
			h.after(time.Hour)
			h.wantPower(vmm.Running)
			h.book.edit(web, func(vm *api.VM) { vm.Status.Doubles = nil })
			h.after(0)
			h.wantNothing()
		})
	})
	t.Run("stray", func(t *testing.T) {
		live(t, func(h *house) {
			h.hv.Plant(planted)
			h.after(time.Hour)
			h.wantSightings(api.Sighting{VM: web, Epoch: 1})
			h.wantPower(vmm.Running)
		})
	})
}

func TestTombstoneRemovesWhatComesBack(t *testing.T) {
	live(t, func(h *house) {
		h.book.tombs[web] = 1
		h.hv.Plant(vmm.Domain{UUID: web, Mark: vmm.Mark{Cluster: cluster, VM: web, Epoch: 1}, Power: vmm.Running})
		h.after(0)
		h.wantNothing()
	})
}

func TestMissingImageFailsAtOnce(t *testing.T) {
	live(t, func(h *house) {
		h.book.edit(web, func(vm *api.VM) {
			vm.Name, vm.Spec = "web", api.VMSpec{VCPUs: 1, MemoryMiB: 64, Image: "debian"}
			vm.Status = api.VMStatus{OwnerID: us, Epoch: 1, State: api.VMAssigned, Desired: api.WantRunning}
		})
		h.after(0)
		h.wantState(api.VMFailed)
	})
}

func TestHostIsReportedWhenItChanges(t *testing.T) {
	live(t, func(h *house) {
		h.after(time.Minute)
		well := vmm.Host{Capacity: sim.Default, UUID: "host-uuid"}
		wantHosts := func(want ...vmm.Host) {
			t.Helper()
			if !slices.Equal(h.book.hosts, want) {
				t.Fatalf("hosts reported:\n got %+v\nwant %+v", h.book.hosts, want)
			}
		}
		wantHosts(well)
		h.hv.Down()
		h.after(5 * time.Second)
		down := well
		down.Problem = "sim: unreachable"
		wantHosts(well, down)
		if r := h.loop.Report(); r.Up || r.Error == "" {
			t.Errorf("report of a dead hypervisor: got %+v, want it down with an error", r)
		}
		h.hv.Mend()
		h.after(5 * time.Second)
		wantHosts(well, down, well)
		h.hv.Hang("Host")
		h.after(8 * time.Second)
		if r := h.loop.Report(); r.Up || r.Error != "sim: no answer within 2s" {
			t.Errorf("report of a silent hypervisor: got %+v, want it down for its silence", r)
		}
		h.after(12 * time.Second)
		stuck := well
		stuck.Problem = "sim: stuck"
		wantHosts(well, down, well, stuck)
		h.hv.Mend()
		h.after(20 * time.Second)

		h.hv.Nonsense()
		h.after(5 * time.Second)
		mad := well
		mad.Problem = "sim: says impossible figures"
		wantHosts(well, down, well, stuck, well, mad)
		if r := h.loop.Report(); !r.Up || r.Capacity.VCPUs >= 0 {
			t.Errorf("report of a mad hypervisor: got %+v, want its own figures", r)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	live(t, func(h *house) {
		h.hv.Delay("Start", time.Second)
		var ids []string
		for i := range 50 {
			id := fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)
			ids = append(ids, id)
			h.assign(id)
		}
		h.after(15 * time.Second) // 50 starts of 1 s, 8 side by side
		for _, id := range ids {
			if vm, _ := h.book.vm(id); vm.Status.State != api.VMRunning {
				t.Errorf("%s: got %q, want running", id, vm.Status.State)
			}
		}
	})
}

// A look that takes long does not keep workers waiting: what it found is handed out as
// they come back.
func TestSlowLooksKeepNobodyWaiting(t *testing.T) {
	live(t, func(h *house) {
		h.hv.Delay("List", 250*time.Millisecond) // then a second passes until the next one
		h.hv.Delay("Start", 10*time.Millisecond)
		var ids []string
		for i := range 400 {
			id := fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)
			ids = append(ids, id)
			h.assign(id)
		}
		h.after(4 * time.Second) // 8 each look would be 24 by now
		for _, id := range ids {
			if vm, _ := h.book.vm(id); vm.Status.State != api.VMRunning {
				t.Fatalf("%s: got %q, want running", id, vm.Status.State)
			}
		}
	})
}

func TestConfigSaysEverythingAtOnce(t *testing.T) {
	err := vmm.Config{Workers: -1}.Validate()
	for _, want := range []string{"cluster", "peer", "name", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("validate: got %v, want %q in it", err, want)
		}
	}
}
