package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestFolderRoundTrip(t *testing.T) {
	m := openMarks(t, t.TempDir())
	path := mark(t, m, content(7, 5))
	f, err := OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	got := f.Manifest()
	if got.Index != 7 || got.Term != 3 || got.Level != 2 || got.StateHash != "abc" || got.Time.UnixMicro() != 1_700_000_000_000_001 {
		t.Errorf("manifest: got %+v", got)
	}
	if got, want := got.Tables(), []string{"things", "nodes"}; !slices.Equal(got, want) {
		t.Errorf("tables: got %v, want %v", got, want)
	}
	if got, want := f.Files("nodes"), []string{"nodes/part-0000.parquet"}; !slices.Equal(got, want) {
		t.Errorf("files of nodes: got %v, want %v", got, want)
	}
	for _, table := range got.Tables() {
		rows, err := collect(thingCodec.Rows(f, table))
		if err != nil || !reflect.DeepEqual(rows, things(5)) || got.Rows(table) != 5 {
			t.Errorf("%s: got %s, %v; the manifest says %d rows", table, show(rows), err, got.Rows(table))
		}
	}
}

// inParts is a folder with a small table and a large one that has two parts, smaller ones than plan would make.
func inParts(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	d, err := newDraft(dir, "small")
	if err != nil {
		t.Fatal(err)
	}
	c := content(7, 3)
	if err := d.fill(Content{Index: 7, Time: c.Time, Tables: c.Tables[:1]}); err != nil {
		t.Fatal(err)
	}
	l := c.Tables[1].large
	for i, p := range []part{{"thing-0000000", 2, strings.Repeat("a", 64), Hash{}}, {"thing-0000002", 1, strings.Repeat("b", 64), Hash{}}} {
		f, err := d.part(partPath("nodes", i), l, p)
		if err != nil {
			t.Fatal(err)
		}
		d.manifest.Files = append(d.manifest.Files, f)
	}
	data, err := encodeSealed(&d.manifest)
	if err = errors.Join(err, os.Remove(filepath.Join(d.path, manifestName))); err != nil {
		t.Fatal(err)
	}
	if err := d.small(manifestName, data); err != nil {
		t.Fatal(err)
	}
	f, err := d.commit("whole", "")
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := collect(thingCodec.Rows(f, "nodes")); err != nil || !reflect.DeepEqual(rows, things(3)) {
		t.Fatalf("got %s, %v", show(rows), err)
	}
	return f.Path()
}

// TestFolderEveryByte flips one bit of each byte, and cuts at each length, of each file of a small folder:
// its manifest, a small table, and the parts of a large one.
//
//race:out
func TestFolderEveryByte(t *testing.T) {
	path := inParts(t)
	files := filesBelow(t, path)
	if len(files) != 4 {
		t.Fatalf("got %v", files)
	}
	for _, file := range files {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(path, file)
		if err != nil {
			t.Fatal(err)
		}
		notice := func(altered []byte, how string, at int) {
			if err := os.WriteFile(file, altered, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenFolder(path); err == nil {
				t.Fatalf("%s: %s at %d of %d went unnoticed", name, how, at, len(whole))
			} else if !strings.Contains(err.Error(), name) {
				t.Fatalf("%s: %s at %d: the error does not name it: %v", name, how, at, err)
			}
		}
		for i := range whole {
			notice(flip(i)(bytes.Clone(whole)), "a flip", i)
			notice(whole[:i], "a cut", i)
		}
		notice(append(bytes.Clone(whole), 0), "one more byte", len(whole))
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenFolder(path); err != nil {
		t.Fatalf("after mending: %v", err)
	}
}

func TestFolderRefuses(t *testing.T) {
	reseal := func(change func(*Manifest)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			alter(t, filepath.Join(dir, manifestName), func(b []byte) []byte {
				var m Manifest
				if err := json.Unmarshal(b, &m); err != nil {
					t.Fatal(err)
				}
				change(&m)
				out, err := encodeSealed(&m)
				if err != nil {
					t.Fatal(err)
				}
				return out
			})
		}
	}
	do := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		harm func(t *testing.T, dir string)
		want string
	}{
		"unknown format":    {reseal(func(m *Manifest) { m.Format = 9 }), "format 9 is not known"},
		"path outside":      {reseal(func(m *Manifest) { m.Files[0].Path = "../things.parquet" }), "../things.parquet"},
		"absolute path":     {reseal(func(m *Manifest) { m.Files[0].Path = "/etc/passwd" }), "/etc/passwd"},
		"file twice":        {reseal(func(m *Manifest) { m.Files[1] = m.Files[0] }), "listed twice"},
		"negative size":     {reseal(func(m *Manifest) { m.Files[0].Bytes = -1 }), "-1 bytes"},
		"parts in disorder": {reseal(func(m *Manifest) { m.Files[1].Path = partPath("nodes", 1) }), "nodes/part-0001.parquet stands where nodes/part-0000.parquet should"},
		"part missing":      {reseal(func(m *Manifest) { m.Files = append(m.Files, File{Path: partPath("nodes", 2)}) }), "part-0002.parquet stands where nodes/part-0001.parquet"},
		"other number form": {reseal(func(m *Manifest) { m.Files[1].Path = "nodes/part-00000.parquet" }), "nodes/part-00000.parquet stands"},
		"file and parts":    {reseal(func(m *Manifest) { m.Files = append(m.Files, File{Path: "nodes.parquet"}) }), "nodes is one file and also parts"},
		"parts and file":    {reseal(func(m *Manifest) { m.Files = append(m.Files, File{Path: partPath("things", 0)}) }), "things is one file and also parts"},
		"content no sum":    {reseal(func(m *Manifest) { m.Files[1].Content = "../x" }), "has the content"},
		"content of a file": {reseal(func(m *Manifest) { m.Files[0].Content = m.Files[1].Content }), "things.parquet has the content"},
		"unlisted file":     {reseal(func(m *Manifest) { m.Files = m.Files[:1] }), "nodes: not in the manifest"},
		"stray file":        {func(t *testing.T, dir string) { do(os.WriteFile(dir+"/x.parquet", nil, 0o600)) }, "x.parquet: not in the manifest"},
		"stray folder":      {func(t *testing.T, dir string) { do(os.Mkdir(dir+"/x", 0o700)) }, "x: not in the manifest"},
		"missing file":      {func(t *testing.T, dir string) { do(os.Remove(dir + "/things.parquet")) }, "things.parquet: missing"},
		"missing part":      {func(t *testing.T, dir string) { do(os.RemoveAll(dir + "/nodes")) }, "nodes/part-0000.parquet: missing"},
		"missing manifest":  {func(t *testing.T, dir string) { do(os.Remove(dir + "/manifest.json")) }, "manifest.json: missing"},
		"link for a file": {func(t *testing.T, dir string) {
			do(os.Rename(dir+"/things.parquet", dir+"/../t"))
			do(os.Symlink("../t", dir+"/things.parquet"))
		}, "things.parquet: not the kind"},
		"manifest not JSON": {func(t *testing.T, dir string) {
			alter(t, dir+"/manifest.json", func([]byte) []byte { return []byte("{") })
		}, "manifest.json"},
		"manifest too large": {func(t *testing.T, dir string) {
			alter(t, dir+"/manifest.json", func([]byte) []byte { return make([]byte, maxManifest+1) })
		}, "larger than"},
		"one space more": {func(t *testing.T, dir string) {
			alter(t, dir+"/manifest.json", func(b []byte) []byte { return append(b, ' ') })
		}, "its own sum"},
	} {
		t.Run(name, func(t *testing.T) {
			path := mark(t, openMarks(t, t.TempDir()), content(7, 2))
			c.harm(t, path)
			_, err := OpenFolder(path)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestFolderOpensListedFilesOnly(t *testing.T) {
	f, err := OpenFolder(mark(t, openMarks(t, t.TempDir()), content(7, 2)))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "manifest.json", "../x", "x.parquet", "/etc/passwd"} {
		if file, err := f.OpenFile(path); err == nil {
			file.Close()
			t.Errorf("%q was opened", path)
		}
	}
}

func TestRowsCountsAgainstTheManifest(t *testing.T) {
	c := content(7, 2)
	inner := c.Tables[0].Write
	c.Tables[0].Write = func(w io.Writer) (int64, error) {
		n, err := inner(w)
		return n + 1, err
	}
	f, err := OpenFolder(mark(t, openMarks(t, t.TempDir()), c))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := collect(thingCodec.Rows(f, "things"))
	if err == nil || len(rows) != 2 {
		t.Errorf("got %d rows, %v, want 2 and an error", len(rows), err)
	}
}
