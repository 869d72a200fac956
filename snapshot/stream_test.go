package snapshot

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// streamOf gives the stream of a small snapshot.
func streamOf(t testing.TB, c Content) []byte {
	t.Helper()
	s := openStore(t, t.TempDir())
	meta, r, err := s.Open(persist(t, s, 1, 10, c))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != meta.Size {
		t.Fatalf("the stream has %d bytes, the metadata says %d", len(data), meta.Size)
	}
	return data
}

// feed writes a stream into a sink, a random number of bytes at a time.
func feed(sink *Sink, data []byte, rng *rand.Rand, most int) error {
	for len(data) > 0 {
		n := min(len(data), 1+rng.IntN(most))
		if _, err := sink.Write(data[:n]); err != nil {
			return errors.Join(err, sink.Cancel())
		}
		data = data[n:]
	}
	return sink.Close()
}

func TestStreamRoundTrip(t *testing.T) {
	data := streamOf(t, content(18, 50))
	for _, most := range []int{1, 7, 511, 513, 4096, 1 << 20} {
		s := openStore(t, t.TempDir())
		sink := create(t, s, 9, 77)
		if err := feed(sink, data, rand.New(rand.NewPCG(1, uint64(most))), most); err != nil {
			t.Fatalf("chunks of up to %d: %v", most, err)
		}
		meta, r, err := s.Open(sink.ID())
		if err != nil {
			t.Fatal(err)
		}
		again, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("the copy's stream differs: %d bytes, %v, want %d", len(again), err, len(data))
		}
		if meta.Index != 77 || meta.Term != 9 || !reflect.DeepEqual(meta.Configuration, testConfiguration) {
			t.Errorf("the copy has not the metadata it was created with: %+v", meta)
		}
		r.Close()
	}
}

// TestStreamEveryByte flips each byte of a stream, and cuts it everywhere. What
// is not noticed (tar has bytes that mean nothing) did no harm: the folder is the
// same. Nothing is left of what was.
//
//race:out
func TestStreamEveryByte(t *testing.T) {
	c := content(18, 1)
	c.Tables = c.Tables[1:]
	data := streamOf(t, c)
	want, done, err := FolderOf(io.NopCloser(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	s := openStore(t, t.TempDir())
	rng := rand.New(rand.NewPCG(1, 2))
	try := func(altered []byte) error {
		sink := create(t, s, 1, 10)
		err := feed(sink, altered, rng, 4096)
		if err != nil {
			return err
		}
		_, f, err := s.open(sink.ID(), nil)
		if err != nil || !reflect.DeepEqual(f.Manifest(), want.Manifest()) {
			t.Fatalf("another folder came of it: %v", err)
		}
		return remove(f.Path())
	}
	for i := range data {
		altered := flip(i)(bytes.Clone(data))
		_ = try(altered)
	}
	for i := range len(data) {
		if i%17 == 0 || i > len(data)-2000 && i%5 == 0 {
			if err := try(data[:i]); err == nil {
				t.Fatalf("a cut at %d of %d went unnoticed", i, len(data))
			}
		}
	}
	if err := try(append(bytes.Clone(data), 0)); err == nil {
		t.Error("one more byte went unnoticed")
	}
	if got := names(t, s.dir); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestStreamRefuses(t *testing.T) {
	whole := streamOf(t, content(18, 1))
	var files []tarFile
	r := tar.NewReader(bytes.NewReader(whole))
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		data, _ := io.ReadAll(r)
		files = append(files, tarFile{*h, data})
	}
	for name, c := range map[string]struct {
		change func(f []tarFile) []tarFile
		want   string
	}{
		"empty":         {func(f []tarFile) []tarFile { return nil }, "ends before manifest.json"},
		"no manifest":   {func(f []tarFile) []tarFile { return f[1:] }, "where manifest.json should"},
		"file missing":  {func(f []tarFile) []tarFile { return f[:2] }, "ends before nodes/part-0000.parquet"},
		"wrong order":   {func(f []tarFile) []tarFile { f[1], f[2] = f[2], f[1]; return f }, "where things.parquet should"},
		"one more":      {func(f []tarFile) []tarFile { return append(f, tarFile{tar.Header{Name: "x.parquet"}, nil}) }, "after the last file"},
		"twice":         {func(f []tarFile) []tarFile { return append(f, f[1]) }, "after the last file"},
		"above":         {func(f []tarFile) []tarFile { f[1].Name = "../things.parquet"; return f }, "../things.parquet"},
		"absolute":      {func(f []tarFile) []tarFile { f[1].Name = "/tmp/things.parquet"; return f }, "/tmp/things.parquet"},
		"raft.json":     {func(f []tarFile) []tarFile { f[1].Name = raftName; return f }, "where things.parquet should"},
		"symbolic link": {func(f []tarFile) []tarFile { f[1] = link(f[1], tar.TypeSymlink); return f }, "where things.parquet should"},
		"hard link":     {func(f []tarFile) []tarFile { f[1] = link(f[1], tar.TypeLink); return f }, "where things.parquet should"},
		"device":        {func(f []tarFile) []tarFile { f[1] = link(f[1], tar.TypeChar); return f }, "where things.parquet should"},
		"folder":        {func(f []tarFile) []tarFile { f[1] = link(f[1], tar.TypeDir); return f }, "where things.parquet should"},
		"longer file":   {func(f []tarFile) []tarFile { f[1].data = append(f[1].data, 0); return f }, "bytes, not"},
		"altered file":  {func(f []tarFile) []tarFile { f[1].data[8] ^= 1; return f }, "altered on its way"},
		"huge manifest": {func(f []tarFile) []tarFile { f[0].data = make([]byte, maxManifest+1); return f }, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			copies := make([]tarFile, len(files))
			for i, f := range files {
				copies[i] = tarFile{f.Header, bytes.Clone(f.data)}
			}
			dir := t.TempDir()
			s := openStore(t, filepath.Join(dir, "store"))
			err := feed(create(t, s, 1, 10), makeTar(t, c.change(copies)), rand.New(rand.NewPCG(1, 2)), 4096)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if got := names(t, s.dir); len(got) > 0 {
				t.Errorf("left behind: %v", got)
			}
			if got := names(t, dir); len(got) != 1 {
				t.Errorf("written outside: %v", got)
			}
		})
	}
}

// TestStreamOfParts: many parts arrive, and what the receiver needs for it does not grow with them.
//
//race:out
func TestStreamOfParts(t *testing.T) {
	from, to := openStore(t, t.TempDir()), openStore(t, t.TempDir())
	rows := benchNodes(6 * maxPart)
	slices.SortFunc(rows, func(a, b *benchNode) int { return strings.Compare(a.Xname, b.Xname) })
	meta, r, err := from.Open(persist(t, from, 1, 10, largeContent(10, rows)))
	if err != nil {
		t.Fatal(err)
	}
	sink := create(t, to, 1, 10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(sink, r)
	if err = errors.Join(err, r.Close(), sink.Close()); err != nil || n != meta.Size {
		t.Fatalf("got %d bytes, %v, want %d", n, err, meta.Size)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; meta.Size < 10<<20 || got > 3<<20 {
		t.Errorf("a stream of %d bytes took %d bytes of memory", meta.Size, got)
	}
	_, f, err := to.open(sink.ID(), nil)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for row, err := range nodeCodec.Rows(f, "compute_nodes") {
		if err != nil || row.ID != rows[at].ID {
			t.Fatalf("row %d: got %v, %v", at, row, err)
		}
		at++
	}
	if at != len(rows) || len(f.Files("compute_nodes")) < 3 {
		t.Errorf("got %d rows in %d parts", at, len(f.Files("compute_nodes")))
	}
}

type tarFile struct {
	tar.Header
	data []byte
}

func link(f tarFile, kind byte) tarFile {
	return tarFile{tar.Header{Name: f.Name, Typeflag: kind, Linkname: "/etc/passwd"}, nil}
}

func makeTar(t *testing.T, files []tarFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := f.Header
		h.Size = int64(len(f.data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFolderOfRawStream(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	data := streamOf(t, content(18, 4))
	f, done, err := FolderOf(io.NopCloser(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := collect(thingCodec.Rows(f, "nodes")); err != nil || !reflect.DeepEqual(rows, things(4)) {
		t.Errorf("got %s, %v", show(rows), err)
	}
	done()
	if _, _, err := FolderOf(io.NopCloser(bytes.NewReader(data[:700]))); err == nil {
		t.Error("half a stream was taken")
	}
	if got := names(t, os.TempDir()); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}
