package peer

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestScratchLeavesRoom: what is written to be sent ends before the disk is full, however it is
// written; what was there is gone with the file.
func TestScratchLeavesRoom(t *testing.T) {
	e, err := openExports(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var free uint64
	e.room = func(bytes uint64) error {
		if bytes > free {
			return syscall.ENOSPC
		}
		free -= bytes
		return nil
	}
	content := bytes.Repeat([]byte("orchd"), lookEvery)
	for how, write := range map[string]func(f *scratch) error{
		"copied": func(f *scratch) error { _, err := io.Copy(f, bytes.NewReader(content)); return err },
		"read": func(f *scratch) error {
			_, err := f.ReadFrom(struct{ io.Reader }{bytes.NewReader(content)})
			return err
		},
		"written": func(f *scratch) error {
			_, err := io.Copy(struct{ io.Writer }{f}, struct{ io.Reader }{bytes.NewReader(content)})
			return err
		},
	} {
		free = 2 * lookEvery
		f, err := e.scratch()
		if err != nil {
			t.Fatal(err)
		}
		if err := write(f); !errors.Is(err, syscall.ENOSPC) || !api.IsKind(err, api.Unavailable) {
			t.Errorf("%s: %v", how, err)
		}
		if size, err := f.Seek(0, io.SeekEnd); err != nil || size > 2*lookEvery+1<<20 {
			t.Errorf("%s: %d bytes were written, %v", how, size, err)
		}
		f.Close()
	}
}
