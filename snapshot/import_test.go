package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// from opens files of another peer's snapshots, and counts them.
func from(m *Marks, opened *[]string) func(context.Context, uint64, string) (io.ReadCloser, error) {
	return func(_ context.Context, index uint64, path string) (io.ReadCloser, error) {
		*opened = append(*opened, path)
		return os.Open(filepath.Join(m.dir, markName(index), filepath.FromSlash(path)))
	}
}

func TestImport(t *testing.T) {
	there, here := openMarks(t, t.TempDir()), openMarks(t, t.TempDir())
	mark(t, there, content(7, 20_000))
	mark(t, there, content(8, 20_000))
	var opened []string
	for _, index := range []uint64{7, 8} {
		if err := here.Import(t.Context(), index, from(there, &opened)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"7", "8"} {
		got, err := here.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := there.Open(id); err != nil || !slices.Equal(got.Manifest().Files, want.Manifest().Files) {
			t.Errorf("snapshot %s: got %+v, %v", id, got.Manifest().Files, err)
		}
	}
	second := opened[slices.Index(opened[1:], manifestName)+1:]
	if !slices.Equal(second, []string{manifestName, "things.parquet"}) { // a small file is each snapshot's own
		t.Errorf("of the second, whose files are those of the first, were fetched: %v", second)
	}
}

// TestImportPastARottenPart: a part that lies here and is damaged is fetched, and is not
// what a whole snapshot fails for.
func TestImportPastARottenPart(t *testing.T) {
	there, here := openMarks(t, t.TempDir()), openMarks(t, t.TempDir())
	mark(t, there, content(7, 100))
	mark(t, there, content(8, 100))
	var opened []string
	if err := here.Import(t.Context(), 7, from(there, &opened)); err != nil {
		t.Fatal(err)
	}
	var part string
	for _, path := range filesOf(t, here, "7") {
		if path != "things.parquet" {
			part = path
		}
	}
	alter(t, filepath.Join(here.Path("7"), part), flip(50))
	if err := here.Import(t.Context(), 8, from(there, &opened)); err != nil || opened[len(opened)-1] != part {
		t.Errorf("%v, fetched last: %s; want %s", err, opened[len(opened)-1], part)
	}
	if _, err := here.Open("8"); err != nil {
		t.Error(err)
	}
}

// TestImportLeavesRoom: the log lies on the same disk, so nothing is begun that leaves it too little.
func TestImportLeavesRoom(t *testing.T) {
	there, here := openMarks(t, t.TempDir()), openMarks(t, t.TempDir())
	mark(t, there, content(7, 100))
	here.Space = func(string) (Space, error) { return Space{1 << 30, 100 << 30}, nil }
	var opened []string
	if err := here.Import(t.Context(), 7, from(there, &opened)); !errors.Is(err, syscall.ENOSPC) || !slices.Equal(opened, []string{manifestName}) || len(names(t, here.dir)) > 0 {
		t.Errorf("%v, fetched %v, on disk %v", err, opened, names(t, here.dir))
	}
}

// TestImportBesideAWriter: a snapshot that is written here while it is fetched is there, and
// neither is in the other's way.
func TestImportBesideAWriter(t *testing.T) {
	there, here := openMarks(t, t.TempDir()), openMarks(t, t.TempDir())
	mark(t, there, content(7, 100))
	var opened []string
	files := from(there, &opened)
	if here.Newest() != 0 {
		t.Errorf("of none the newest is %d", here.Newest())
	}
	err := here.Import(t.Context(), 7, func(ctx context.Context, index uint64, path string) (io.ReadCloser, error) {
		if len(opened) == 1 {
			mark(t, here, content(7, 100))
		}
		return files(ctx, index, path)
	})
	if _, opens := here.Open("7"); err != nil || opens != nil || here.Newest() != 7 {
		t.Errorf("imported: %v, opened: %v, the newest is %d", err, opens, here.Newest())
	}
	if left := names(t, here.dir); len(left) != 1 {
		t.Errorf("on disk: %v", left)
	}
}

func TestImportBelievesNothing(t *testing.T) {
	there, here := openMarks(t, t.TempDir()), openMarks(t, t.TempDir())
	mark(t, there, content(7, 100))
	var opened []string
	good := from(there, &opened)
	for name, bad := range map[string]func(r io.ReadCloser, path string) (io.ReadCloser, error){
		"altered": func(r io.ReadCloser, path string) (io.ReadCloser, error) {
			data, err := io.ReadAll(r)
			data[len(data)/2] ^= 1
			return io.NopCloser(bytes.NewReader(data)), errors.Join(err, r.Close())
		},
		"cut": func(r io.ReadCloser, path string) (io.ReadCloser, error) {
			data, err := io.ReadAll(r)
			return io.NopCloser(bytes.NewReader(data[:len(data)-1])), errors.Join(err, r.Close())
		},
		"refused": func(r io.ReadCloser, path string) (io.ReadCloser, error) {
			return nil, errors.Join(errors.New("no"), r.Close())
		},
	} {
		files := append([]string{manifestName}, filesOf(t, there, "7")...)
		for _, file := range files {
			err := here.Import(t.Context(), 7, func(ctx context.Context, index uint64, path string) (io.ReadCloser, error) {
				r, err := good(ctx, index, path)
				if path != file || err != nil {
					return r, err
				}
				return bad(r, path)
			})
			if err == nil || len(names(t, here.dir)) > 0 {
				t.Errorf("%s %s: %v, on disk %v", file, name, err, names(t, here.dir))
			}
		}
	}
	if err := here.Import(t.Context(), 9, func(ctx context.Context, _ uint64, path string) (io.ReadCloser, error) { return good(ctx, 7, path) }); err == nil {
		t.Error("the snapshot of another index was taken")
	}
}

func filesOf(t *testing.T, m *Marks, id string) (paths []string) {
	t.Helper()
	f, err := m.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range f.Manifest().Files {
		paths = append(paths, file.Path)
	}
	return paths
}

// TestImportHoldsUpNobody: a snapshot is written here while the file of another is on its way.
func TestImportHoldsUpNobody(t *testing.T) {
	there, here := openMarks(t, t.TempDir()), openMarks(t, t.TempDir())
	mark(t, there, content(7, 100))
	var opened []string
	good := from(there, &opened)
	err := here.Import(t.Context(), 7, func(ctx context.Context, index uint64, path string) (io.ReadCloser, error) {
		if len(opened) == 1 {
			mark(t, here, content(9, 10))
		}
		return good(ctx, index, path)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"7", "9"} {
		if _, err := here.Open(id); err != nil {
			t.Error(err)
		}
	}
}
