package peer

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// TestSnapshotThatCouldNotBeWritten: who asked for it hears why, and what to do; an error of
// the disk is no fault of the program's.
func TestSnapshotThatCouldNotBeWritten(t *testing.T) {
	m := newMarks(nil)
	m.finish(7, syscall.EIO)
	m.finish(8, nil)
	err := m.wait(t.Context(), 7)
	if !api.IsKind(err, api.Unavailable) || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "ask another peer") {
		t.Errorf("got %v", err)
	}
	if err := m.wait(t.Context(), 8); err != nil {
		t.Errorf("one that was written: %v", err)
	}
}

// TestDeletedSnapshotStaysSo: after a kill the log is applied again, with the marks in it. What
// has no folder then and is older than the newest was written once, and deleted.
func TestDeletedSnapshotStaysSo(t *testing.T) {
	dir := t.TempDir()
	files, err := snapshot.OpenMarks(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	none := newMarks(files)
	if none.begins(20); none.passed(7) {
		t.Error("the first one is not written")
	}
	for _, id := range []string{"5", "9"} {
		if err := os.Mkdir(files.Path(id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m := newMarks(files)
	m.begins(20)
	for index, want := range map[uint64]bool{5: false, 7: true, 9: false, 12: false} {
		if got := m.passed(index); got != want {
			t.Errorf("passed(%d) = %v", index, got)
		}
	}
	m.begins(8) // 9 lies here from another cluster
	if m.passed(7) {
		t.Error("a mark that was not come to yet is not written")
	}
}
