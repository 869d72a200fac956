package snapshot

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestSpaceOf(t *testing.T) {
	s, err := SpaceOf(t.TempDir())
	if err != nil || s.Size == 0 || s.Free > s.Size {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := SpaceOf(t.TempDir() + "/none"); err == nil || !strings.Contains(err.Error(), "/none") {
		t.Errorf("no folder: got %v", err)
	}
}

func TestMarksNearlyFull(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	m := openMarks(t, t.TempDir())
	path := mark(t, m, content(1, 2))
	manifest, _, err := readManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	size := uint64(0)
	for _, f := range manifest.Files {
		size += uint64(f.Bytes)
	}
	for _, c := range []struct {
		space Space
		fits  bool
	}{
		{Space{gib + size, 100 * gib}, true},
		{Space{gib + size - 1, 100 * gib}, false},
		{Space{100*mib + size, 2000 * mib}, true}, // of a small disk a twentieth stays free
		{Space{100*mib + size - 1, 2000 * mib}, false},
		{Space{0, 100 * gib}, false},
	} {
		m.Space = func(dir string) (Space, error) {
			if dir != m.dir {
				t.Errorf("asked for the disk of %s", dir)
			}
			return c.space, nil
		}
		next := content(2, 2)
		if !c.fits {
			next.Tables[0].Write = func(io.Writer) (int64, error) {
				t.Errorf("%+v: it was begun", c.space)
				return 0, nil
			}
		}
		_, err := m.Write(next)
		if fits := err == nil; fits != c.fits {
			t.Errorf("%+v: got %v", c.space, err)
		}
		if !c.fits && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%+v: got %v, want ENOSPC", c.space, err)
		}
		if c.fits {
			if err := os.RemoveAll(m.Path("2")); err != nil {
				t.Fatal(err)
			}
		}
		if got := names(t, m.dir); len(got) != 1 {
			t.Errorf("%+v: left behind %v", c.space, got)
		}
	}
	m.Space = func(string) (Space, error) { return Space{812*mib + 1, 252 * gib}, nil }
	_, err = m.Write(content(2, 2))
	want := "write snapshot 2: the disk of " + m.dir + " is nearly full: 812 MiB are free, and 1025 MiB are needed, 1 for the snapshot and 1024 to spare; make room"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := m.Open("1"); err != nil {
		t.Errorf("the one before: %v", err)
	}
}

func TestMarksRunFullInTheMiddle(t *testing.T) {
	for name, harm := range map[string]func(*Content){
		"small table": func(c *Content) {
			c.Tables[0].Write = func(io.Writer) (int64, error) { return 0, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} }
		},
		"part": func(c *Content) {
			c.Tables[1].large.write = func(io.Writer, part, func()) (int64, error) {
				return 0, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
			}
		},
	} {
		m := openMarks(t, t.TempDir())
		c := content(7, 2)
		harm(&c)
		_, err := m.Write(c)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk of "+m.dir+" ran full in the middle") {
			t.Errorf("%s: got %v", name, err)
		}
		if got := names(t, m.dir); len(got) > 0 {
			t.Errorf("%s: left behind %v", name, got)
		}
		mark(t, m, content(7, 2)) // when there is room again
	}
}
