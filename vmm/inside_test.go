package vmm_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// inHand puts a disk snapshot of our VM in hand.
func (h *house) inHand(id string, s api.DiskSnapshotState) {
	_ = h.book.write(func() error {
		h.book.snapshots[id] = api.DiskSnapshot{ID: id, VM: web, State: s}
		return nil
	})
	h.after(0)
}

func (h *house) wantSnapshot(id string, want api.DiskSnapshotState, why string) {
	h.Helper()
	h.book.set(func() {
		if s := h.book.snapshots[id]; s.State != want || !strings.Contains(s.Reason, why) {
			h.Fatalf("snapshot: got %q (%s), want %q (%s)", s.State, s.Reason, want, why)
		}
	})
}

func (h *house) wantOnDisk(want string, kept int) {
	h.Helper()
	if got, n := h.hv.Scribbled(web); got != want || n != kept {
		h.Fatalf("disk: got %q and %d snapshots, want %q and %d", got, n, want, kept)
	}
}

func TestDiskSnapshots(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.hv.Scribble(web, "one")
		h.inHand("s1", api.DiskSnapshotCreating)
		h.wantSnapshot("s1", api.DiskSnapshotReady, "")
		h.hv.Scribble(web, "two")
		h.want(api.WantStopped)
		h.inHand("s1", api.DiskSnapshotRestoring)
		h.wantSnapshot("s1", api.DiskSnapshotReady, "")
		h.wantOnDisk("one", 1)
		h.want(api.WantRunning)
		h.inHand("s1", api.DiskSnapshotDeleting)
		h.wantOnDisk("one", 0)
		h.wantState(api.VMRunning)
		if got := len(h.book.worked); got != 3 {
			t.Errorf("told of snapshots: got %d times, want 3", got)
		}
		for i, want := range []string{"snapshot", "restore-snapshot", "delete-snapshot"} {
			if got := h.book.worked[i]; got.Took.Name != want || got.Error != "" {
				t.Errorf("told: got %+v, want step %s without an error", got, want)
			}
		}
	})
	t.Run("definite failure", func(t *testing.T) {
		live(t, func(h *house) {
			h.assign(web)
			h.hv.Fail("SnapshotDisk", errors.New("the disk is full"))
			h.inHand("s1", api.DiskSnapshotCreating)
			h.wantSnapshot("s1", api.DiskSnapshotFailed, "the disk is full")
			h.after(time.Hour)
			if got := len(h.book.worked); got != 1 {
				t.Errorf("told: got %d times, want once", got)
			}
			h.wantState(api.VMRunning)
		})
	})
	t.Run("unknown, and orchd is restarted", func(t *testing.T) {
		live(t, func(h *house) {
			h.assign(web)
			h.hv.Scribble(web, "one")
			h.hv.Hang("SnapshotDisk")
			h.inHand("s1", api.DiskSnapshotCreating)
			h.after(12 * time.Second)
			h.wantSnapshot("s1", api.DiskSnapshotCreating, "")
			h.stop()
			h.hv.Mend()
			h.start()
			h.after(time.Second)
			h.wantSnapshot("s1", api.DiskSnapshotReady, "")
			h.wantOnDisk("one", 1)
		})
	})
	t.Run("done, but not told, and orchd is restarted", func(t *testing.T) {
		live(t, func(h *house) {
			h.assign(web)
			h.hv.Scribble(web, "one")
			h.hv.Delay("SnapshotDisk", time.Second)
			h.inHand("s1", api.DiskSnapshotCreating)
			h.after(500 * time.Millisecond)
			h.book.set(func() { h.book.cutOff = true })
			h.after(time.Minute)
			h.wantOnDisk("one", 1)
			h.stop()
			h.hv.Scribble(web, "two")
			h.book.set(func() { h.book.cutOff = false })
			h.start()
			h.after(2 * time.Second)
			h.wantSnapshot("s1", api.DiskSnapshotReady, "")
			h.want(api.WantStopped)
			h.inHand("s1", api.DiskSnapshotRestoring)
			h.after(time.Second)
			h.wantOnDisk("one", 1)
		})
	})
	t.Run("without quorum no disk goes back", func(t *testing.T) {
		live(t, func(h *house) {
			h.assign(web)
			h.inHand("s1", api.DiskSnapshotCreating)
			h.hv.Scribble(web, "two")
			h.want(api.WantStopped)
			h.book.set(func() {
				h.book.cutOff = true
				h.book.snapshots["s1"] = api.DiskSnapshot{ID: "s1", VM: web, State: api.DiskSnapshotRestoring}
			})
			h.after(time.Hour)
			h.wantOnDisk("two", 1)
		})
	})
}

// A real key, as cloud-init prints it.
const guestKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

func keyBlock(lines ...string) string {
	return "ci-info: no authorized keys\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n" + strings.Join(lines, "\r\n") + "\r\n-----END SSH HOST KEY KEYS-----\r\n"
}

func TestHostKeys(t *testing.T) {
	seeded := func(t *testing.T, story func(h *house)) {
		live(t, func(h *house) {
			h.seeds.seeded = []string{web}
			h.assign(web)
			h.after(5 * time.Second)
			story(h)
		})
	}
	seeded(t, func(h *house) {
		h.hv.Say(web, keyBlock(guestKey + " root@web")[:60]) // half of it
		h.after(5 * time.Second)
		if len(h.book.facts) > 0 {
			t.Fatalf("facts: got %+v of half a block, want none", h.book.facts)
		}
		h.hv.Say(web, keyBlock(guestKey+" root@web"))
		h.book.set(func() { h.book.cutOff = true })
		h.after(5 * time.Second)
		h.book.set(func() { h.book.cutOff = false })
		h.after(time.Hour)
		vm, _ := h.book.vm(web)
		if len(vm.Status.SSHHostKeys) != 1 || vm.Status.SSHHostKeys[0].Type+" "+vm.Status.SSHHostKeys[0].Key != guestKey ||
			!strings.HasPrefix(vm.Status.SSHHostKeys[0].Fingerprint, "SHA256:") {
			t.Errorf("host keys: got %+v, want %s", vm.Status.SSHHostKeys, guestKey)
		}
		if len(h.book.facts) != 1 {
			t.Errorf("facts: told %d times, want once", len(h.book.facts))
		}
	})
	seeded(t, func(h *house) { // too late, until it is started again
		h.after(10 * time.Minute)
		h.hv.Say(web, keyBlock(guestKey))
		h.after(time.Hour)
		if len(h.book.facts) > 0 {
			t.Fatalf("facts: got %+v, want the search given up", h.book.facts)
		}
		h.ask("restart", func(vm *api.VM) { vm.Status.Restarting = true })
		h.after(5 * time.Second)
		if len(h.book.facts) != 1 {
			t.Errorf("facts after a restart: got %+v, want the keys", h.book.facts)
		}
	})
	live(t, func(h *house) { // no seed, no search: whatever it prints
		h.assign(web)
		h.hv.Say(web, keyBlock(guestKey))
		h.after(time.Minute)
		if len(h.book.facts) > 0 {
			t.Errorf("facts of a guest without a seed: got %+v, want none", h.book.facts)
		}
	})
}

func TestAddressesAreSeen(t *testing.T) {
	mine := api.VMAddress{IP: "10.0.0.5", MAC: "52:54:00:00:00:01"}
	live(t, func(h *house) {
		h.book.set(func() {
			h.book.networks["lan"] = api.Network{Name: "lan", NetworkShape: api.NetworkShape{Bridge: "br0"}}
		})
		h.assignMade(web, func(vm *api.VM) {
			vm.Spec.Network = "lan"
			vm.Status.Addresses = []api.VMAddress{{IP: mine.IP, MAC: mine.MAC, Network: "lan"}}
		})
		h.after(61 * time.Second)
		if len(h.book.facts) != 1 || len(h.book.facts[0].Seen) != 1 || h.book.facts[0].Seen[0].IP != mine.IP || h.book.facts[0].Seen[0].SeenAt.IsZero() {
			t.Fatalf("facts: got %+v, want its address seen", h.book.facts)
		}
		h.after(50 * time.Minute)
		if len(h.book.facts) != 1 {
			t.Errorf("facts: told %d times within an hour, want once", len(h.book.facts))
		}
		h.after(15 * time.Minute)
		if len(h.book.facts) != 2 {
			t.Errorf("facts: told %d times after an hour, want it told again", len(h.book.facts))
		}
		h.hv.Use(web, mine, api.VMAddress{IP: "10.0.0.77", MAC: mine.MAC}, api.VMAddress{IP: "fe80::1", MAC: mine.MAC})
		h.after(time.Minute)
		found, err := h.loop.Findings(h.Context())
		if err != nil || len(found) != 1 || found[0].Code != "address-not-allotted" || !strings.Contains(found[0].Detail, "10.0.0.77") {
			t.Errorf("findings: got %+v, %v; want the one address that it may not use", found, err)
		}
		h.want(api.WantStopped)
		if found, err := h.loop.Findings(h.Context()); err != nil || len(found) > 0 {
			t.Errorf("findings of what is off: got %+v, %v; want none", found, err)
		}
	})
}

func TestExport(t *testing.T) {
	live(t, func(h *house) {
		to := filepath.Join(t.TempDir(), "copy")
		h.assign(web)
		if err := h.loop.Export(h.Context(), web, to); !api.IsKind(err, api.Conflict) {
			t.Errorf("export of what is on: got %v, want conflict", err)
		}
		h.want(api.WantStopped)
		h.hv.Delay("CopyDisk", 5*time.Second)
		done := make(chan error, 1)
		go func() { done <- h.loop.Export(h.Context(), web, to) }()
		h.after(time.Second)
		h.want(api.WantRunning) // waits for the export to end
		// The next one looks each 50 ms whether this has ended: not in the same instant
		// as it ends, when either that export or the start may be the first.
		h.after(time.Second + 20*time.Millisecond)
		h.wantPower(vmm.Off)
		if err := h.loop.Export(h.Context(), web, to+"2"); !api.IsKind(err, api.Conflict) {
			t.Errorf("second export: got %v, want conflict", err)
		}
		if err := <-done; err != nil {
			t.Errorf("export: %v", err)
		}
		if info, err := os.Stat(to); err != nil || info.Size() == 0 {
			t.Errorf("copy: got %v, %v; want a file", info, err)
		}
		h.after(0)
		h.wantState(api.VMRunning)
		h.want(api.WantStopped)
		go func() { done <- h.loop.Export(h.Context(), web, to+"3") }()
		h.after(time.Second)
		h.want(api.WantDeleted) // does not wait
		h.after(0)
		if err := <-done; err == nil {
			t.Error("export of a VM that is deleted: got no error")
		}
		h.wantNothing()
		h.assign(web)
		if err := h.loop.Export(h.Context(), twin, to); !api.IsKind(err, api.NotFound) {
			t.Errorf("export of no VM: got %v, want not-found", err)
		}
		b, err := h.loop.BuildOf(web)
		if d, _ := h.hv.Domain(web); err != nil || b.Mark != d.Mark {
			t.Errorf("build: got %+v, %v; want the mark of the domain, %+v", b.Mark, err, d.Mark)
		}
	})
}

func TestAdoption(t *testing.T) {
	foreign := api.ForeignDomain{UUID: web, Name: "old", State: api.VMRunning, VCPUs: 2, MemoryMiB: 512, DiskGiB: 10, Flags: []string{"disk-not-in-pool", "no-cloud-init"}}
	adopted := func(vm *api.VM) {
		vm.Name, vm.Spec = "old", api.VMSpec{VCPUs: 2, MemoryMiB: 512, DiskGiB: 10}
		vm.Status = api.VMStatus{OwnerID: us, Epoch: 1, State: api.VMAssigned, Desired: api.WantRunning, Flags: foreign.Flags}
	}
	live(t, func(h *house) {
		h.hv.PlantForeign(foreign)
		if got, err := h.loop.Foreign(h.Context()); err != nil || len(got) != 1 || got[0].Peer != "h1" || got[0].Name != "old" {
			t.Errorf("foreign domains: got %+v, %v; want old on h1", got, err)
		}
		for _, op := range []string{"Start", "Shutdown", "Destroy", "Define", "MakeDisk", "Reshape"} {
			h.hv.Fail(op, errors.New("must not be touched"))
		}
		h.assignMade(web, adopted)
		h.after(time.Minute)
		h.wantState(api.VMRunning)
		h.wantReason("")
		h.wantPower(vmm.Running)
		if got, _ := h.loop.Foreign(h.Context()); len(got) > 0 {
			t.Errorf("foreign domains: got %+v, want none", got)
		}
		if found, err := h.loop.Findings(h.Context()); err != nil || len(found) > 0 {
			t.Errorf("findings: got %+v, %v; want none", found, err)
		}
		h.inHand("s1", api.DiskSnapshotCreating)
		h.wantSnapshot("s1", api.DiskSnapshotFailed, "its disk is not in orchd's folder")
		h.hv.Mend()
		for _, op := range []string{"Start", "Shutdown", "Destroy", "Define", "MakeDisk", "Reshape"} {
			h.hv.Fail(op, nil)
		}
		h.want(api.WantStopped)
		h.wantState(api.VMStopped)
		if err := h.loop.Export(h.Context(), web, filepath.Join(t.TempDir(), "copy")); !api.IsKind(err, api.Conflict) {
			t.Errorf("export of a disk that lies elsewhere: got %v, want conflict", err)
		}
		h.want(api.WantRunning)
		h.wantState(api.VMRunning)
		h.hv.Uproot(web)
		h.after(time.Minute)
		h.wantState(api.VMFailed) // and no empty one is made in its place
		if _, there := h.hv.Domain(web); there {
			t.Error("a domain was made for an adopted VM whose own has vanished")
		}
		h.hv.PlantForeign(foreign)
		h.after(time.Minute)
		h.wantState(api.VMRunning)
		h.want(api.WantDeleted)
		h.wantNothing()
	})
	t.Run("learnt from another cluster's mark", func(t *testing.T) {
		live(t, func(h *house) {
			lost := foreign
			lost.Cluster, lost.Flags = "55555555-5555-4555-8555-555555555555", nil
			lost.Record = &api.VM{ID: web, Name: "old"}
			h.hv.PlantForeign(lost)
			found, err := h.loop.Findings(h.Context())
			if err != nil || len(found) != 1 || found[0].Code != "domain-without-record" || found[0].Action != "orchd vm adopt --recover --peer h1 old" {
				t.Errorf("findings: got %+v, %v; want how to learn it again", found, err)
			}
			h.assignMade(web, func(vm *api.VM) { adopted(vm); vm.Status.Flags = nil })
			h.wantState(api.VMRunning)
			h.wantPower(vmm.Running)
		})
	})
}

func TestStats(t *testing.T) {
	live(t, func(h *house) {
		h.assign(web)
		h.after(time.Minute)
		first, err := h.loop.Stats(h.Context())
		if err != nil || len(first) != 1 || first[0].VM != web || first[0].Name != "web" || first[0].CPUSeconds != 60 {
			t.Fatalf("counters: got %+v, %v; want 60 s of web", first, err)
		}
		h.after(3 * time.Second)
		if again, _ := h.loop.Stats(h.Context()); !slices.Equal(again, first) {
			t.Errorf("counters 3 s later: got %+v, want the same", again)
		}
		h.after(3 * time.Second)
		if again, _ := h.loop.Stats(h.Context()); len(again) != 1 || again[0].CPUSeconds != 66 {
			t.Errorf("counters 6 s later: got %+v, want new ones", again)
		}
		h.hv.Down()
		h.after(6 * time.Second)
		if _, err := h.loop.Stats(h.Context()); err == nil {
			t.Error("counters of a hypervisor that is down: got no error")
		}
		synctest.Wait()
	})
}
