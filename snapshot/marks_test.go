package snapshot

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestMarks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	m := openMarks(t, dir)
	for _, index := range []uint64{900, 12345, 1_000_000_000_000_000, 7} {
		mark(t, m, content(index, 2))
	}
	list, err := m.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range list {
		if f.Err != nil || f.Manifest.Index != f.Index || f.Path != m.Path(f.ID) {
			t.Errorf("got %+v", f)
		}
		got = append(got, f.ID)
	}
	if want := []string{"1000000000000000", "12345", "900", "7"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := m.Path("12345"), filepath.Join(dir, "index=000000000012345"); got != want {
		t.Errorf("path: got %s, want %s", got, want)
	}
	f, err := m.Open("12345")
	if err != nil || f.Manifest().Index != 12345 {
		t.Errorf("open: got %+v, %v", f, err)
	}
}

func TestMarksWriteAgain(t *testing.T) {
	m := openMarks(t, t.TempDir())
	path := mark(t, m, content(7, 2))
	again := content(7, 2)
	again.Tables[0].Write = func(io.Writer) (int64, error) { return 0, errors.New("written again") }
	if got, err := m.Write(again); err != nil || got.Index != 7 {
		t.Errorf("a whole one: got %+v, %v", got, err)
	}
	if err := os.Remove(filepath.Join(path, manifestName)); err != nil {
		t.Fatal(err)
	}
	if list, err := m.List(); err != nil || len(list) != 1 || list[0].Err == nil {
		t.Fatalf("a torn one: got %+v, %v", list, err)
	}
	if _, err := m.Open("7"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open a torn one: got %v, want an error that is not ErrNotExist", err)
	}
	if got, err := m.Write(content(7, 3)); err != nil || got.Rows("things") != 3 {
		t.Errorf("replaced: got %+v, %v", got, err)
	}
	if got, want := names(t, m.dir), []string{filepath.Base(path)}; !slices.Equal(got, want) {
		t.Errorf("on disk: got %v, want %v", got, want)
	}
}

func TestMarksFailedWriteLeavesNothing(t *testing.T) {
	m := openMarks(t, t.TempDir())
	c := content(7, 2)
	c.Tables[1].large.write = func(io.Writer, part, func()) (int64, error) { return 0, errors.New("broken on purpose") }
	if _, err := m.Write(c); err == nil || !strings.Contains(err.Error(), "table nodes: broken on purpose") {
		t.Errorf("got %v", err)
	}
	if got := names(t, m.dir); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	mark(t, m, content(7, 2))
}

func TestMarksOpenNone(t *testing.T) {
	m := openMarks(t, t.TempDir())
	mark(t, m, content(7, 1))
	for _, id := range []string{"8", "", "07", "-1", "index=000000000000007", "../7", "99999999999999999999"} {
		if _, err := m.Open(id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: got %v, want fs.ErrNotExist", id, err)
		}
	}
}

func TestMarksMisnamed(t *testing.T) {
	m := openMarks(t, t.TempDir())
	if err := os.Rename(mark(t, m, content(7, 1)), m.Path("8")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open("8"); err == nil || !strings.Contains(err.Error(), "of index 7") {
		t.Errorf("got %v", err)
	}
}

func TestMarksSweep(t *testing.T) {
	dir := t.TempDir()
	m := openMarks(t, dir)
	path := mark(t, m, content(7, 1))
	if err := os.Rename(path, filepath.Join(dir, "."+filepath.Base(path))); err != nil {
		t.Fatal(err)
	}
	m = openMarks(t, dir)
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	// One that appears later is in nobody's way.
	if err := os.Mkdir(filepath.Join(dir, ".index=000000000000007"), 0o700); err != nil {
		t.Fatal(err)
	}
	mark(t, m, content(7, 1))
}

// TestMarksListNoticesChange: sums are remembered between listings, and a file that was written to is read again.
func TestMarksListNoticesChange(t *testing.T) {
	m := openMarks(t, t.TempDir())
	path := mark(t, m, content(7, 1))
	for range 2 {
		if list, err := m.List(); err != nil || list[0].Err != nil {
			t.Fatalf("got %+v, %v", list, err)
		}
	}
	alter(t, filepath.Join(path, "things.parquet"), flip(10))
	if list, err := m.List(); err != nil || list[0].Err == nil {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestMarksManyAtOnce(t *testing.T) {
	m := openMarks(t, t.TempDir())
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, err := m.Write(content(uint64(1+i%3), 3)); err != nil {
				t.Error(err)
			}
			if _, err := m.List(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list, err := m.List(); err != nil || len(list) != 3 {
		t.Errorf("got %d, %v", len(list), err)
	}
}
