package snapshot

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBlankFile: the file without rows is one that reads as such, by its columns as well.
func TestBlankFile(t *testing.T) {
	var out bytes.Buffer
	if n, err := thingCodec.Write(&out, slices.Values(things(0))); n != 0 || err != nil {
		t.Fatalf("got %d rows, %v", n, err)
	}
	for row, err := range thingCodec.Read(bytes.NewReader(out.Bytes()), int64(out.Len())) {
		t.Errorf("got %+v, %v", row, err)
	}
	other := MustCodec[struct {
		Name string `json:"name"`
	}]()
	var failed error
	for _, err := range other.Read(bytes.NewReader(out.Bytes()), int64(out.Len())) {
		failed = err
	}
	if failed == nil {
		t.Error("a codec without its columns reads it")
	}
}

// TestBlankIsKnownByItsSum: a manifest that says of a file with rows that it has none is not believed.
func TestBlankIsKnownByItsSum(t *testing.T) {
	f, err := OpenFolder(mark(t, openMarks(t, t.TempDir()), content(7, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if entry := f.entries("things")[0]; !thingCodec.rows.isBlank(entry) {
		t.Errorf("%+v is not taken for the file without rows", entry)
	}
	if rows, err := collect(thingCodec.Rows(f, "things")); len(rows) > 0 || err != nil {
		t.Errorf("got %s, %v", show(rows), err)
	}
	if f, err = OpenFolder(mark(t, openMarks(t, t.TempDir()), content(7, 3))); err != nil {
		t.Fatal(err)
	}
	f.manifest.Files[0].Rows = 0
	if _, err := collect(thingCodec.Rows(f, "things")); err == nil || !strings.Contains(err.Error(), "3 rows, the manifest says 0") {
		t.Errorf("got %v", err)
	}
}

// TestBlankFileMustBeThere: a folder from which it was taken, or cut, is not whole.
func TestBlankFileMustBeThere(t *testing.T) {
	f, err := OpenFolder(mark(t, openMarks(t, t.TempDir()), content(7, 0)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(f.Path(), filepath.FromSlash(f.entries("things")[0].Path))
	broken := func(what string) {
		t.Helper()
		if _, err := collect(thingCodec.Rows(f, "things")); err == nil || !strings.Contains(err.Error(), "things") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	broken("cut")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	broken("taken")
}
