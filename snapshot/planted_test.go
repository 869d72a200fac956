//go:build planted

package snapshot

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchd/orchd/api/planted"
)

func TestPlantedHookChecksumSkipped(t *testing.T) {
	t.Cleanup(func() { planted.Plant("") })
	m := openMarks(t, t.TempDir())
	path := mark(t, m, content(7, 3))
	alter(t, filepath.Join(path, "things.parquet"), flip(20))
	if _, err := OpenFolder(path); err == nil {
		t.Error("without the bug an altered file is not noticed")
	}
	planted.Plant(planted.ChecksumSkipped)
	if _, err := OpenFolder(path); err != nil {
		t.Errorf("with the bug an altered file is still noticed: %v", err)
	}
}

// asksForSyncs is what the child of TestPlantedHookSnapshotUnsynced is told by.
const asksForSyncs = "ORCHD_TEST_SNAPSHOT_DIR"

func TestPlantedHookSnapshotUnsynced(t *testing.T) {
	if dir := os.Getenv(asksForSyncs); dir != "" {
		mark(t, openMarks(t, dir), content(7, 3))
		return
	}
	for bug, want := range map[planted.Bug]bool{"": true, planted.SnapshotUnsynced: false} {
		trace := filepath.Join(t.TempDir(), "trace")
		child := exec.Command("strace", "-f", "-o", trace, "-e", "trace=fsync,fdatasync", os.Args[0], "-test.run", "^TestPlantedHookSnapshotUnsynced$")
		child.Env = append(os.Environ(), asksForSyncs+"="+t.TempDir(), planted.Variable+"="+string(bug))
		if said, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		calls, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		if synced := strings.Contains(string(calls), "sync("); synced != want {
			t.Errorf("with the bug %q: synced %v, want %v:\n%s", bug, synced, want, calls)
		}
	}
}
