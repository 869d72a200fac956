package fsm

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/snapshot"
)

// fleetSize is how many nodes benchmarks load: FLEET, or 10,000.
func fleetSize() int {
	n := 10_000
	fmt.Sscan(os.Getenv("FLEET"), &n)
	return n
}

// BenchmarkSnapshotsOfAFleet takes marked snapshots of FLEET nodes: the first, one
// after which a token alone has changed, one after a hundredth of the nodes, all
// neighbours; then it restores the last. It tells the seconds of each, and what the
// state takes of memory, loaded and restored. SNAPSHOTS is a folder to leave them in.
func BenchmarkSnapshotsOfAFleet(b *testing.B) {
	for b.Loop() {
		n := fleetSize()
		d := &direct{m: New()}
		w := NewWriter(d, nil, unsealed{})
		empty := alive()
		for at := 0; at < n; at += 1000 {
			if _, err := w.CreateNodes(asAdmin(), sampleNodes(at, 1000), true); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(alive()-empty)/float64(n), "B/node")
		marks, err := snapshot.OpenMarks(cmp.Or(os.Getenv("SNAPSHOTS"), b.TempDir()), slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		marks.Busy = func() bool { return false } // nobody else wants the processors
		b.ReportMetric(took(b, marks, d.m).Seconds(), "s-full")
		if _, err := w.CreateToken(asAdmin(), api.TokenCreate{Role: api.RoleViewer, TTL: "1h"}, "pin"); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(took(b, marks, d.m).Seconds(), "s-token")
		touch(b, w, d.m, n/100)
		b.ReportMetric(took(b, marks, d.m).Seconds(), "s-hundredth")
		restored(b, marks, d.m.Index(), n)
		runtime.KeepAlive(d)
	}
}

// took is how long a marked snapshot of the machine as it is takes.
func took(b *testing.B, marks *snapshot.Marks, m *Machine) time.Duration {
	b.Helper()
	began := time.Now()
	if _, err := marks.Write(m.Read().Content()); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// touch changes the first n nodes.
func touch(b *testing.B, w *Writer, m *Machine, n int) {
	b.Helper()
	for node := range m.Read().ComputeNodes(inventory.NodeFilter{}, "") {
		if n--; n < 0 {
			return
		}
		node.Description = "changed"
		if _, err := w.ReplaceNode(asAdmin(), node.ID, 0, node); err != nil {
			b.Fatal(err)
		}
	}
}

// restored reads a snapshot back, beside the machine that it is of.
func restored(b *testing.B, marks *snapshot.Marks, index uint64, n int) {
	b.Helper()
	folder, err := marks.Open(fmt.Sprint(index))
	if err != nil {
		b.Fatal(err)
	}
	before, began := alive(), time.Now()
	s, err := load(folder)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-restore")
	b.ReportMetric(float64(alive()-before)/float64(n), "B/node-restored")
	runtime.KeepAlive(s)
}

// alive is how many bytes of the heap a collection would not free.
func alive() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// BenchmarkRestoreOfAFleet restores a snapshot of FLEET nodes.
func BenchmarkRestoreOfAFleet(b *testing.B) {
	n := fleetSize()
	d := &direct{m: New()}
	w := NewWriter(d, nil, unsealed{})
	for at := 0; at < n; at += 1000 {
		if _, err := w.CreateNodes(asAdmin(), sampleNodes(at, 1000), true); err != nil {
			b.Fatal(err)
		}
	}
	marks, err := snapshot.OpenMarks(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	took(b, marks, d.m)
	folder, err := marks.Open(fmt.Sprint(d.m.Index()))
	if err != nil {
		b.Fatal(err)
	}
	d.m = nil
	for b.Loop() {
		if _, err := load(folder); err != nil {
			b.Fatal(err)
		}
	}
}
