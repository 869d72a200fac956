package snapshot

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// FuzzManifest: a manifest that is taken lists only files that may be made below its
// folder, each once. Its own sum would keep all but the seeds out, so that it is set right.
func FuzzManifest(f *testing.F) {
	good := Manifest{Format: Format, Index: 7, Term: 3, Level: 1, StateHash: "abc", Files: []File{
		{Path: "things.parquet", Rows: 3, Bytes: 4, SHA256: "aa"}, {Path: "nodes/part-0000.parquet", Bytes: 4, Content: "bb"}}}
	whole, err := encodeSealed(&good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	for _, path := range []string{"../x.parquet", "/x.parquet", "a/../x.parquet", "nodes/part-0001.parquet", "raft.json", "x.parquet\x00", "a//part-0000.parquet", "things.parquet"} {
		good.Files[1].Path = path
		text, _ := encodeSealed(&good)
		f.Add(text)
	}
	f.Add([]byte(`{"format":1,"files":[{"path":"a.parquet","bytes":-1}]}`))
	f.Add([]byte(`{"format":1,"Format":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		parseManifest(data)
		var m Manifest
		if json.Unmarshal(data, &m) != nil {
			return
		}
		text, err := encodeSealed(&m)
		if err != nil {
			return
		}
		if m, err = parseManifest(text); err != nil {
			return
		}
		seen := map[string]bool{}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Path) || file.Path == manifestName || file.Path == raftName || seen[file.Path] || file.Bytes < 0 {
				t.Errorf("the manifest lists %q with %d bytes", file.Path, file.Bytes)
			}
			seen[file.Path] = true
		}
		m.Tables()
		m.folders()
	})
}

// FuzzRaftMeta: what raft says of a snapshot, and the names of snapshots.
func FuzzRaftMeta(f *testing.F) {
	whole, err := encodeSealed(&raftMeta{ID: "1-2-3", Index: 2, Term: 1, Version: raftVersion, Configuration: testConfiguration})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("1-2-3"))
	f.Add([]byte("1-2-03"))
	f.Add([]byte(`{"configuration":{"Servers":null}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, raftName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := readRaftMeta(dir); err == nil {
			if again, err := encodeSealed(&m); err != nil || !bytes.Equal(again, data) {
				t.Errorf("%s was taken for %s", data, again)
			}
		}
		if id, err := parseID(string(data)); err == nil && id.String() != string(data) {
			t.Errorf("%q is taken for %q", data, id)
		}
	})
}

// FuzzStream unpacks streams: whatever comes, nothing is made but what the manifest at
// the head lists, below the draft, and a stream that is taken is a whole folder.
func FuzzStream(f *testing.F) {
	dir := f.TempDir()
	m := openMarks(f, filepath.Join(dir, "marks"))
	folder, err := OpenFolder(mark(f, m, content(7, 3)))
	if err != nil {
		f.Fatal(err)
	}
	packed, err := pack(folder)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := io.ReadAll(packed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	for _, h := range []tar.Header{{Name: "../manifest.json", Size: 2}, {Name: manifestName, Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: manifestName, Size: 1 << 40}, {Name: "/" + manifestName, Size: 2, Format: tar.FormatPAX, PAXRecords: map[string]string{"path": "x"}}, {Name: manifestName, Size: 2, Format: tar.FormatGNU}} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&h); err == nil {
			w.Write([]byte("{}"))
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		dir := t.TempDir()
		d, err := newDraft(dir, "stream")
		if err != nil {
			t.Fatal(err)
		}
		err = d.unpack(bytes.NewReader(stream))
		if err == nil {
			if _, err := openFolder(d.path, nil, ""); err != nil {
				t.Errorf("a stream was taken, and the folder is not whole: %v", err)
			}
		}
		filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() && !e.Type().IsRegular() {
				t.Errorf("%s: %v, %v", path, e, err)
			}
			return nil
		})
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("made beside the draft: %v", got)
		}
	})
}

// FuzzChangeFile reads files of changes that may be anything.
func FuzzChangeFile(f *testing.F) {
	var b bytes.Buffer
	if _, err := changeCodec.Write(&b, func(yield func(*Change) bool) {
		_ = yield(&Change{Index: 7, N: 1, Table: "vms", Key: "a"}) && yield(&Change{Index: 8, N: 1, Table: "vms", Key: "b"})
	}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(append([]byte("PAR1"), "\xff\xff\xff\x7fPAR1"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, size := bytes.NewReader(data), int64(len(data))
		verifyChanges(r, size)
		readLabel(r, size)
		n := 0
		for range changeCodec.Read(r, size) {
			if n++; n > 10_000 {
				return
			}
		}
	})
}
