package fsm

import (
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// noisy is a Sealer of which the results pack as badly as sealed values do.
type noisy struct{}

func (noisy) Seal(_ string, plaintext []byte) ([]byte, error) {
	sealed := make([]byte, 40+len(plaintext))
	rand.Read(sealed)
	return sealed, nil
}

// BenchmarkRollback brings back a fleet, of 10,000 nodes or as many as FLEET says,
// of which not one row is left. It tells what comparing and applying take, how
// many bytes of the log, and what the rows take of memory afterwards.
func BenchmarkRollback(b *testing.B) {
	count := 10_000
	fmt.Sscan(os.Getenv("FLEET"), &count)
	full := &direct{m: New()}
	w := NewWriter(full, nil, noisy{})
	for k := 0; k < count; k += 1000 {
		if _, err := w.CreateNodes(asAdmin(), sampleNodes(k, 1000), true); err != nil {
			b.Fatal(err)
		}
	}
	folder := folderFrom(b, content(full.m.published.Load()))
	size := full.size
	full, w = nil, nil
	var compared, applied time.Duration
	var logged, held uint64
	for b.Loop() {
		d := &direct{m: New()}
		w := NewWriter(d, nil, noisy{})
		begun := time.Now()
		difference, err := d.m.Read().Difference(folder)
		if err != nil {
			b.Fatal(err)
		}
		compared += time.Since(begun)
		before := heap()
		begun = time.Now()
		if _, err := w.RestoreState(asAdmin(), difference); err != nil {
			b.Fatal(err)
		}
		applied += time.Since(begun)
		held, logged = heap()-before, uint64(d.size)
		runtime.KeepAlive(d)
	}
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(b.N) / float64(count) }
	b.ReportMetric(per(compared), "compare-ns/node")
	b.ReportMetric(per(applied), "apply-ns/node")
	b.ReportMetric(float64(logged)/float64(count), "log-B/node")
	b.ReportMetric(float64(size)/float64(count), "created-log-B/node")
	b.ReportMetric(float64(held)/float64(count), "B/node")
}

// heap is how many bytes live objects have.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
