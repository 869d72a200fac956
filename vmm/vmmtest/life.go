package vmmtest

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// pause stops the processors of a guest, and resume lets them go on.
func pause(t *testing.T, h Host) {
	b := h.NewBuild()
	id, d := b.Mark.VM, h.Driver
	must(t, "define", d.Define(t.Context(), b))
	t.Cleanup(func() { Remove(t, h, b) })
	wantKind(t, "resume what is off", d.Resume(t.Context(), id), api.Conflict)
	must(t, "start", d.Start(t.Context(), id))
	must(t, "suspend", d.Suspend(t.Context(), id))
	if got := wantPower(t, h, b, vmm.Paused); got.Paused != vmm.ByWord {
		t.Errorf("why it is paused: got %v, want %v", got.Paused, vmm.ByWord)
	}
	must(t, "resume", d.Resume(t.Context(), id))
	wantPower(t, h, b, vmm.Running)
}

// reshape changes a domain that is off, and none that is on.
func reshape(t *testing.T, h Host) {
	b := h.NewBuild()
	must(t, "define", h.Driver.Define(t.Context(), b))
	t.Cleanup(func() { Remove(t, h, b) })
	other := b
	other.Name = vmm.DomainName(api.VM{ID: b.Mark.VM, Name: "other"})
	other.Spec.VCPUs, other.Spec.MemoryMiB = 2, 192
	other = shaped(other)
	must(t, "reshape", h.Driver.Reshape(t.Context(), other))
	want := vmm.Domain{UUID: b.Mark.VM, Name: other.Name, Mark: other.Mark}
	if got := find(t, h, b); got != want {
		t.Errorf("domain in its new shape:\n got %+v\nwant %+v", got, want)
	}
	must(t, "reshape to what it is", h.Driver.Reshape(t.Context(), other))
	must(t, "start", h.Driver.Start(t.Context(), b.Mark.VM))
	wantKind(t, "reshape what is on", h.Driver.Reshape(t.Context(), b), api.Conflict)
	if got := wantPower(t, h, b, vmm.Running); got.Name != other.Name || got.Mark != other.Mark {
		t.Errorf("domain after a refused reshape:\n got %+v\nwant %+v", got, want)
	}
}

// hotplug either succeeds, and the mark says so, or is a conflict that changes nothing.
func hotplug(t *testing.T, h Host) {
	b := h.NewBuild()
	must(t, "define", h.Driver.Define(t.Context(), b))
	t.Cleanup(func() { Remove(t, h, b) })
	more := b
	more.Spec.VCPUs, more.Spec.MemoryMiB = 2, 256
	more = shaped(more)
	wantKind(t, "hotplug what is off", h.Driver.Hotplug(t.Context(), more), api.Conflict)
	must(t, "start", h.Driver.Start(t.Context(), b.Mark.VM))
	want := more.Mark
	if err := h.Driver.Hotplug(t.Context(), more); err != nil {
		wantKind(t, "hotplug", err, api.Conflict)
		want = b.Mark
	}
	if got := wantPower(t, h, b, vmm.Running); got.Mark != want {
		t.Errorf("mark after a hotplug:\n got %+v\nwant %+v", got.Mark, want)
	}
}

// planted makes a stranger and gives its UUID.
func planted(t *testing.T, h Host) string {
	t.Helper()
	before := list(t, h)
	h.PlantStranger(t)
	for id := range maps.Keys(list(t, h).StrangerMarks) {
		if _, was := before.StrangerMarks[id]; !was {
			return id
		}
	}
	t.Fatal("the stranger is not among the marks of the listing")
	return ""
}

// adopt makes a stranger ours and leaves it as it is otherwise.
func adopt(t *testing.T, h Host) {
	id := planted(t, h)
	all, err := h.Driver.Strangers(t.Context())
	must(t, "strangers", err)
	at := slices.IndexFunc(all, func(d api.ForeignDomain) bool { return d.UUID == id })
	if at < 0 {
		t.Fatalf("strangers: got %+v, want %s among them", all, id)
	}
	found := all[at]
	if found.Name == "" || found.VCPUs < 1 || found.MemoryMiB < 1 || found.State == "" {
		t.Errorf("stranger: got %+v, want its name, its size and its state", found)
	}
	b := h.buildOf(id)
	b.Record.Name = "adopted"
	t.Cleanup(func() { Remove(t, h, b) })
	must(t, "adopt", h.Driver.Adopt(t.Context(), id, b.Mark, b.Record))
	got := find(t, h, b)
	on := map[api.VMState]vmm.Power{api.VMRunning: vmm.Running, api.VMPaused: vmm.Paused}[found.State]
	if got.Mark != b.Mark || got.Name != found.Name || got.Power != on {
		t.Errorf("adopted domain: got %+v, want %s marked %+v with power %v", got, found.Name, b.Mark, on)
	}
	if _, still := list(t, h).StrangerMarks[id]; still {
		t.Error("an adopted domain is still a stranger")
	}
	wantKind(t, "adopt what is not there", h.Driver.Adopt(t.Context(), uuid.NewString(), b.Mark, b.Record), api.NotFound)
}

// Record: what a domain remembers of its VM can be read by a cluster that knows
// nothing. Only a driver with a view of another cluster (Host.Rival) can show it.
func Record(t *testing.T, h Host) {
	b := h.NewBuild()
	b.Record.Labels = map[string]string{"why": `<&"'>`}
	must(t, "define", h.Driver.Define(t.Context(), b))
	t.Cleanup(func() { Remove(t, h, b) })
	l, err := h.Rival.List(t.Context())
	must(t, "list", err)
	if got := l.StrangerMarks[b.Mark.VM]; got != h.Cluster {
		t.Errorf("cluster of a stranger's mark: got %q, want %q", got, h.Cluster)
	}
	all, err := h.Rival.Strangers(t.Context())
	must(t, "strangers", err)
	for _, d := range all {
		if d.UUID != b.Mark.VM {
			continue
		}
		if d.Cluster != h.Cluster || d.Record == nil || d.Record.ID != b.Mark.VM || d.Record.Name != "web" || d.Record.Labels["why"] != `<&"'>` {
			t.Errorf("stranger: got %+v with record %+v, want the record of VM web", d, d.Record)
		}
		return
	}
	t.Errorf("strangers: got %+v, want %s among them", all, b.Mark.VM)
}
