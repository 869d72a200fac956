// Package vmmtest is the one test that every driver of package vmm must pass.
//
// Core runs against any hypervisor, Guests against those that have disks,
// consoles and guests that listen to their power button.
package vmmtest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// Host is a hypervisor under test.
type Host struct {
	Driver        vmm.Hypervisor
	Cluster       string             // id of the cluster that the driver works for
	PlantStranger func(t *testing.T) // makes a domain that is none of the cluster's

	// For Guests only.
	Image   *api.Image                      // a kernel that listens to its power button; nil if guests need none
	Files   func(t *testing.T) []string     // names of the files that the driver keeps
	Booted  func(t *testing.T, b vmm.Build) // waits until the guest listens
	Restart func(t *testing.T)              // kills the hypervisor's daemon, not its guests, and starts it again

	// Each of these may be nil; what needs it is left out then.
	Rival vmm.Hypervisor                               // the same hypervisor as another cluster sees it
	Write func(t *testing.T, b vmm.Build, text string) // makes a running guest write a text to its disk, to stay there
	Wrote func(t *testing.T, b vmm.Build) string       // what a running guest last wrote to its disk
	NIC   *vmm.NIC                                     // an interface that a guest can have
	Temp  func(t *testing.T) string                    // a folder that a disk can be copied to; default t.TempDir
}

// NewBuild is a small VM of the host's cluster with a fresh id.
func (h Host) NewBuild() vmm.Build {
	return h.buildOf(uuid.NewString())
}

func (h Host) buildOf(id string) vmm.Build {
	spec := api.VMSpec{VCPUs: 1, MemoryMiB: 128}
	b := vmm.Build{Spec: spec, Image: h.Image}
	if h.Image != nil {
		b.Spec.Image = h.Image.Name
	}
	b.Record = api.VM{ID: id, Name: "web", Spec: b.Spec}
	b.Name = vmm.DomainName(b.Record)
	b.Mark = vmm.Mark{Cluster: h.Cluster, VM: id, Epoch: 7}
	return shaped(b)
}

// shaped is b with the mark that says so.
func shaped(b vmm.Build) vmm.Build {
	b.Mark.Spec = vmm.Shape(b)
	return b
}

// Core is what every driver does alike.
func Core(t *testing.T, newHost func(t *testing.T) Host) {
	run := func(name string, f func(*testing.T, Host)) {
		t.Run(name, func(t *testing.T) { f(t, newHost(t)) })
	}
	run("host", func(t *testing.T, h Host) {
		info, err := h.Driver.Host(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c := info.Capacity; c.VCPUs < 1 || c.MemoryMiB < 1 || c.DiskGiB < 0 {
			t.Errorf("host: got %+v, want processors and memory", info)
		}
	})
	run("life", life)
	run("no such domain", absent)
	run("define twice", twice)
	run("pause", pause)
	run("reshape", reshape)
	run("hotplug", hotplug)
	run("strangers", strangers)
	run("adopt", adopt)
	run("watch", watch)
	run("ended context", func(t *testing.T, h Host) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Driver.List(ctx); !api.IsKind(err, api.Unavailable) {
			t.Errorf("list with an ended context: got %v, want unavailable", err)
		}
	})
}

// life takes a domain through all it can be.
func life(t *testing.T, h Host) {
	b := h.NewBuild()
	id, d := b.Mark.VM, h.Driver
	must(t, "define", d.Define(t.Context(), b))
	t.Cleanup(func() { Remove(t, h, b) })
	got := find(t, h, b)
	if want := (vmm.Domain{UUID: id, Name: b.Name, Mark: b.Mark}); got != want {
		t.Fatalf("defined domain:\n got %+v\nwant %+v", got, want)
	}
	must(t, "start", d.Start(t.Context(), id))
	wantPower(t, h, b, vmm.Running)
	wantKind(t, "start what runs", d.Start(t.Context(), id), api.Conflict)
	wantKind(t, "undefine what runs", d.Undefine(t.Context(), id), api.Conflict)
	must(t, "suspend", d.Suspend(t.Context(), id))
	wantPower(t, h, b, vmm.Paused)
	must(t, "destroy", d.Destroy(t.Context(), id))
	if got := wantPower(t, h, b, vmm.Off); got.Cause != vmm.ByForce {
		t.Errorf("cause after destroy: got %v, want %v", got.Cause, vmm.ByForce)
	}
	must(t, "destroy what is off", d.Destroy(t.Context(), id))
	wantKind(t, "shut down what is off", d.Shutdown(t.Context(), id), api.Conflict)
	wantKind(t, "suspend what is off", d.Suspend(t.Context(), id), api.Conflict)
	must(t, "undefine", d.Undefine(t.Context(), id))
	if l := list(t, h); slices.ContainsFunc(l.Domains, func(x vmm.Domain) bool { return x.UUID == id }) {
		t.Errorf("domain %s is listed after it was undefined", id)
	}
	must(t, "clean", d.Clean(t.Context(), id))
	must(t, "clean what is clean", d.Clean(t.Context(), id))
}

func absent(t *testing.T, h Host) {
	id := uuid.NewString()
	for name, f := range map[string]func(context.Context, string) error{
		"start": h.Driver.Start, "shutdown": h.Driver.Shutdown, "destroy": h.Driver.Destroy,
		"suspend": h.Driver.Suspend, "undefine": h.Driver.Undefine, "resume": h.Driver.Resume,
		"reshape": func(ctx context.Context, id string) error { return h.Driver.Reshape(ctx, h.buildOf(id)) },
		"hotplug": func(ctx context.Context, id string) error { return h.Driver.Hotplug(ctx, h.buildOf(id)) },
		"adopt": func(ctx context.Context, id string) error {
			return h.Driver.Adopt(ctx, id, h.buildOf(id).Mark, h.buildOf(id).Record)
		},
	} {
		wantKind(t, name, f(t.Context(), id), api.NotFound)
	}
}

// twice: a second definition does not change the first in place.
func twice(t *testing.T, h Host) {
	b := h.NewBuild()
	must(t, "define", h.Driver.Define(t.Context(), b))
	t.Cleanup(func() { Remove(t, h, b) })
	again := b
	again.Mark.Epoch++
	again.Spec.MemoryMiB *= 2
	wantKind(t, "define the same UUID again", h.Driver.Define(t.Context(), again), api.Conflict)
	if got := find(t, h, b); got.Mark != b.Mark {
		t.Errorf("mark after a refused definition: got %+v, want %+v", got.Mark, b.Mark)
	}
}

// strangers are counted and nothing else.
func strangers(t *testing.T, h Host) {
	before := list(t, h)
	h.PlantStranger(t)
	after := list(t, h)
	if got, want := after.Strangers, before.Strangers+1; got != want {
		t.Errorf("strangers: got %d, want %d", got, want)
	}
	if got, want := len(after.Domains), len(before.Domains); got != want {
		t.Errorf("domains after a stranger came: got %d, want %d", got, want)
	}
}

// watch wakes for a change, and ends with its context.
func watch(t *testing.T, h Host) {
	ctx, cancel := context.WithCancel(t.Context())
	woken := make(chan struct{}, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Driver.Watch(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	await(t, "the first wake", woken)
	b := h.NewBuild()
	must(t, "define", h.Driver.Define(t.Context(), b))
	t.Cleanup(func() { Remove(t, h, b) })
	await(t, "a wake after define", woken)
	must(t, "start", h.Driver.Start(t.Context(), b.Mark.VM))
	await(t, "a wake after start", woken)
	cancel()
	await(t, "the end of Watch", ended)
}

// Guests is what drivers do whose guests have disks, consoles and ears.
func Guests(t *testing.T, newHost func(t *testing.T) Host) {
	run := func(name string, f func(*testing.T, Host)) {
		t.Run(name, func(t *testing.T) { f(t, newHost(t)) })
	}
	run("host id", func(t *testing.T, h Host) {
		info, err := h.Driver.Host(t.Context())
		if err != nil || !api.IsUUID(info.UUID) {
			t.Errorf("host: got id %q, %v; want a UUID", info.UUID, err)
		}
	})
	run("disk", disk)
	run("guest", guest)
	run("seed", seed)
	run("disk snapshots", diskSnapshots)
	run("copy of a disk", copyDisk)
	run("larger disk", largerDisk)
	run("console", console)
	run("console log", consoleLog)
	run("screenshot", screenshot)
	run("counters", counters)
	run("interface", interfaces)
	run("daemon restarted", restarted)
}

// disk is made once, kept beside that of another epoch, and removed with the VM.
func disk(t *testing.T, h Host) {
	b := h.NewBuild()
	b.Spec.DiskGiB = 1
	t.Cleanup(func() { Remove(t, h, b) })
	newer := b
	newer.Mark.Epoch++
	for _, c := range []struct {
		b    vmm.Build
		made bool
	}{{b, true}, {b, false}, {newer, true}} {
		made, err := h.Driver.MakeDisk(t.Context(), c.b)
		if err != nil || made != c.made {
			t.Fatalf("make disk of epoch %d: got made %v, %v; want %v", c.b.Mark.Epoch, made, err, c.made)
		}
	}
	must(t, "drop disk", h.Driver.DropDisk(t.Context(), newer))
	if got, want := filesOf(t, h, b), []string{vmm.DiskName(b.Mark)}; !slices.Equal(got, want) {
		t.Errorf("files: got %v, want %v", got, want)
	}
	must(t, "clean", h.Driver.Clean(t.Context(), b.Mark.VM))
	if got := filesOf(t, h, b); len(got) > 0 {
		t.Errorf("files after clean: got %v, want none", got)
	}
	diskless := h.NewBuild()
	if made, err := h.Driver.MakeDisk(t.Context(), diskless); made || err != nil {
		t.Errorf("make no disk: got made %v, %v; want neither", made, err)
	}
}

// guest boots from its kernel with a disk, writes to its console, and obeys its power button.
func guest(t *testing.T, h Host) {
	b := h.boot(t)
	for _, want := range []string{vmm.DiskName(b.Mark), vmm.ConsoleName(b.Mark.VM)} {
		if got := filesOf(t, h, b); !slices.Contains(got, want) {
			t.Errorf("files of a running guest: got %v, want %s among them", got, want)
		}
	}
	must(t, "shutdown", h.Driver.Shutdown(t.Context(), b.Mark.VM))
	if got := wantPower(t, h, b, vmm.Off); got.Cause != vmm.ByGuest {
		t.Errorf("cause after shutdown: got %v, want %v", got.Cause, vmm.ByGuest)
	}
	must(t, "undefine", h.Driver.Undefine(t.Context(), b.Mark.VM))
	must(t, "clean", h.Driver.Clean(t.Context(), b.Mark.VM))
	if got := filesOf(t, h, b); len(got) > 0 {
		t.Errorf("files after clean: got %v, want none", got)
	}
}

// restarted: guests go on when the daemon is killed, and the driver finds them again.
func restarted(t *testing.T, h Host) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	woken := make(chan struct{}, 1000)
	go h.Driver.Watch(ctx, func() { woken <- struct{}{} })
	b := h.boot(t)
	drain(woken) // before the restart: after it, the wake that is waited for may be among them
	h.Restart(t)
	Eventually(t, func() error { _, err := h.Driver.List(t.Context()); return err })
	wantPower(t, h, b, vmm.Running)
	await(t, "a wake after the daemon came back", woken)
	drain(woken)
	must(t, "destroy", h.Driver.Destroy(t.Context(), b.Mark.VM))
	await(t, "a wake for an event of the new daemon", woken)
}

// boot makes a guest with a disk and waits until it listens.
func (h Host) boot(t *testing.T) vmm.Build {
	t.Helper()
	b := h.NewBuild()
	b.Spec.DiskGiB = 1
	return h.bootThis(t, shaped(b))
}

func (h Host) bootThis(t *testing.T, b vmm.Build) vmm.Build {
	t.Helper()
	t.Cleanup(func() { Remove(t, h, b) })
	_, err := h.Driver.MakeDisk(t.Context(), b)
	must(t, "make disk", err)
	must(t, "define", h.Driver.Define(t.Context(), b))
	must(t, "start", h.Driver.Start(t.Context(), b.Mark.VM))
	wantPower(t, h, b, vmm.Running)
	h.Booted(t, b)
	return b
}

// Remove leaves nothing of a VM, whatever there is of it.
func Remove(t *testing.T, h Host, b vmm.Build) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	for _, err := range []error{h.Driver.Destroy(ctx, b.Mark.VM), h.Driver.Undefine(ctx, b.Mark.VM), h.Driver.Clean(ctx, b.Mark.VM)} {
		if err != nil && !api.IsKind(err, api.NotFound) {
			t.Errorf("remove %s: %v", b.Name, err)
		}
	}
}

// Eventually waits until f succeeds, for 30 s; its error says what is missing.
func Eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // between two questions, not instead of one
	}
}

func list(t *testing.T, h Host) vmm.Listing {
	t.Helper()
	l, err := h.Driver.List(t.Context())
	must(t, "list", err)
	return l
}

func find(t *testing.T, h Host, b vmm.Build) vmm.Domain {
	t.Helper()
	for _, d := range list(t, h).Domains {
		if d.UUID == b.Mark.VM {
			return d
		}
	}
	t.Fatalf("domain %s is not listed", b.Name)
	return vmm.Domain{}
}

// wantPower waits for a domain to have that power.
func wantPower(t *testing.T, h Host, b vmm.Build, want vmm.Power) (d vmm.Domain) {
	t.Helper()
	Eventually(t, func() error {
		d = find(t, h, b)
		if d.Power != want {
			return api.Errorf(api.Internal, "", "power of %s: got %v, want %v", b.Name, d.Power, want)
		}
		return nil
	})
	return d
}

func filesOf(t *testing.T, h Host, b vmm.Build) []string {
	t.Helper()
	var mine []string
	for _, name := range h.Files(t) {
		if strings.HasPrefix(name, b.Mark.VM) {
			mine = append(mine, name)
		}
	}
	return mine
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func wantKind(t *testing.T, what string, err error, want api.Kind) {
	t.Helper()
	if !api.IsKind(err, want) {
		t.Errorf("%s: got %v, want %s", what, err, want.Code())
	}
}

func drain(c <-chan struct{}) {
	for len(c) > 0 {
		<-c
	}
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("after 30 s: no sign of %s", what)
	}
}
