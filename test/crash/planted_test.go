//go:build planted

package crash

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/orchd/orchd/api/planted"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/lossy"
)

// seeds is how many a planted bug may take until it is found.
const seeds = 50

// TestPlantedSnapshotUnsynced: orchd, which must have been built with the tag too, does
// not sync its snapshots. A seed is 20 points at which power is lost.
func TestPlantedSnapshotUnsynced(t *testing.T) {
	began := time.Now()
	l := Record(t, lab.Under("env", planted.Variable+"="+string(planted.SnapshotUnsynced)))
	recorded, dir := time.Since(began), memory(t)
	for seed := range uint64(seeds) {
		r := lossy.NewReplay(l.Trace)
		for _, k := range points(rand.New(rand.NewPCG(seed, 0)), len(l.Trace), 20) {
			r.Advance(k)
			into := filepath.Join(dir, "disk")
			must(t, os.RemoveAll(into))
			must(t, os.Mkdir(into, 0o700))
			must(t, r.Materialise(seed, into))
			if err := l.Judge(into, k); err != nil {
				t.Logf("found with seed %d, after %v (%v of it to record): %v", seed, time.Since(began).Round(time.Millisecond), recorded.Round(time.Millisecond), err)
				return
			}
		}
	}
	t.Errorf("not found with %d seeds", seeds)
}

// TestPlantedChecksumSkipped: what the disk altered becomes state. A seed is 40 flips.
func TestPlantedChecksumSkipped(t *testing.T) {
	began := time.Now()
	l, dir := Record(t), memory(t)
	recorded := time.Since(began)
	planted.Plant(planted.ChecksumSkipped)
	t.Cleanup(func() { planted.Plant("") })
	good := filepath.Join(dir, "good")
	r := lossy.NewReplay(l.Trace)
	r.Advance(l.Killed)
	must(t, os.Mkdir(good, 0o700))
	must(t, r.Kept(good))
	for seed := range uint64(seeds) {
		for _, f := range flips(t, rand.New(rand.NewPCG(seed, 2)), good, 40) {
			into := filepath.Join(dir, "flipped")
			must(t, os.RemoveAll(into))
			must(t, os.CopyFS(into, os.DirFS(good)))
			must(t, f.carryOut(into))
			if _, _, err := l.judgeFlip(into); err != nil {
				t.Logf("found with seed %d, after %v (%v of it to record): %v: %v", seed, time.Since(began).Round(time.Millisecond), recorded.Round(time.Millisecond), f, err)
				return
			}
		}
	}
	t.Errorf("not found with %d seeds", seeds)
}
