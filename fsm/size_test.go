package fsm

import (
	"slices"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestSizes(t *testing.T) {
	l := newLog(t, "a")
	size := *l.must(admin, createSize, api.SizeCreate{Name: "s", VCPUs: 1, MemoryMiB: 1024, DiskGiB: 0}).Object.(*api.Size)
	if got, ok := l.m.Read().Size("s"); !ok || got != size || size.Version != 1 {
		t.Errorf("by name: %+v, %v", got, ok)
	}
	if got, ok := l.m.Read().Size(size.ID); !ok || got != size {
		t.Errorf("by id: %+v, %v", got, ok)
	}
	l.refused(api.Conflict, admin, createSize, api.SizeCreate{Name: "s", VCPUs: 2, MemoryMiB: 1024})
	for _, c := range []api.SizeCreate{{Name: "S", VCPUs: 1, MemoryMiB: 16}, {Name: "x", MemoryMiB: 16}, {Name: "x", VCPUs: 1025, MemoryMiB: 16}, {Name: "x", VCPUs: 1, MemoryMiB: 15}, {Name: "x", VCPUs: 1, MemoryMiB: 16, DiskGiB: -1}} {
		if e := l.refused(api.Invalid, admin, createSize, c); len(e.Fields) != 1 {
			t.Errorf("%+v: faults %+v", c, e.Fields)
		}
	}
	for _, who := range []api.Actor{operator, viewer, boundTo("default", api.RoleAdmin)} {
		l.refused(api.Forbidden, who, createSize, api.SizeCreate{Name: "x", VCPUs: 1, MemoryMiB: 1024})
		l.refused(api.Forbidden, who, updateSize, sizeUpdate{ID: size.ID})
		l.refused(api.Forbidden, who, deleteSize, sizeDelete{size.ID})
	}
	l.refused(api.Precondition, admin, updateSize, sizeUpdate{ID: size.ID, IfVersion: 9})
	l.must(admin, updateSize, sizeUpdate{ID: size.ID, IfVersion: 1, Update: api.SizeUpdate{Deprecated: true}})
	l.must(admin, updateSize, sizeUpdate{ID: size.ID, Update: api.SizeUpdate{Deprecated: true}})
	if got, _ := l.m.Read().Size("s"); !got.Deprecated || got.Version != 2 {
		t.Errorf("deprecated: %+v", got)
	}
	l.must(admin, deleteSize, sizeDelete{size.ID})
	l.refused(api.NotFound, admin, deleteSize, sizeDelete{size.ID})
}

// TestNewClusterHasSizes: and their amounts are ones that a size may have.
func TestNewClusterHasSizes(t *testing.T) {
	l := &log{t: t, m: New(), at: epoch0}
	w := NewWriter(atOnce{l}, nil, marking{})
	if err := w.InitCluster(as1(ActorOfPeer("a")), testPeer("a"), map[string]string{SettingCluster: "c"}, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(slices.Collect(l.m.Read().Sizes(""))); n != len(firstSizes) || n == 0 {
		t.Errorf("%d sizes, want %d", n, len(firstSizes))
	}
	for _, want := range firstSizes {
		got, ok := l.m.Read().Size(want.Name)
		if !ok || got.VCPUs != want.VCPUs || got.MemoryMiB != want.MemoryMiB || got.DiskGiB != want.DiskGiB {
			t.Errorf("size %s: %+v", want.Name, got)
		}
		if faults := sizeFaults(want); len(faults) > 0 {
			t.Errorf("size %s: %+v", want.Name, faults)
		}
	}
}
