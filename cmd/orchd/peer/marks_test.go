package peer

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/orchd/orchd/api"
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
