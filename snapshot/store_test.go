package snapshot

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestStoreRoundTrip(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "raft", "snapshots"))
	id := persist(t, s, 4, 20, content(18, 5))
	meta, r, err := s.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if meta.ID != id || meta.Index != 20 || meta.Term != 4 || meta.Version != 1 || meta.ConfigurationIndex != 19 ||
		!reflect.DeepEqual(meta.Configuration, testConfiguration) {
		t.Errorf("meta: got %+v", meta)
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n != meta.Size {
		t.Errorf("stream: got %d bytes, %v, want %d", n, err, meta.Size)
	}
	f, done, err := FolderOf(r)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if f.Manifest().Index != 18 || f.Path() != filepath.Join(s.dir, id) {
		t.Errorf("folder: got index %d at %s", f.Manifest().Index, f.Path())
	}
	if rows, err := collect(thingCodec.Rows(f, "things")); err != nil || !reflect.DeepEqual(rows, things(5)) {
		t.Errorf("rows: got %s, %v", show(rows), err)
	}
}

func TestStoreKeepsTheNewestTwo(t *testing.T) {
	s := openStore(t, t.TempDir())
	for index := uint64(10); index < 60; index += 10 {
		persist(t, s, 2, index, content(index, 1))
	}
	if got, want := ids(t, s), []string{"2-50-1", "2-40-1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := names(t, s.dir), []string{"2-40-1", "2-50-1"}; !slices.Equal(got, want) {
		t.Errorf("on disk: got %v, want %v", got, want)
	}
}

func TestStoreOrder(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, at := range []snapshotID{{9, 100, 1}, {10, 99, 1}, {10, 101, 1}, {10, 101, 1}} {
		// Reaping would leave two of them: the order decides which.
		persist(t, s, at.term, at.index, content(at.index, 1))
	}
	if got, want := ids(t, s), []string{"10-101-2", "10-101-1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestStoreReapsNothingThatIsNeeded: with one whole snapshot, torn ones stay beside it.
func TestStoreReapsNothingThatIsNeeded(t *testing.T) {
	s := openStore(t, t.TempDir())
	a := persist(t, s, 1, 10, content(10, 1))
	b := persist(t, s, 1, 20, content(20, 1))
	alter(t, filepath.Join(s.dir, b, "things.parquet"), flip(9))
	c := persist(t, s, 1, 30, content(30, 1))
	if got, want := names(t, s.dir), []string{a, b, c}; !slices.Equal(got, want) {
		t.Errorf("with two whole: got %v, want %v", got, want)
	}
	d := persist(t, s, 1, 40, content(40, 1))
	if got, want := names(t, s.dir), []string{c, d}; !slices.Equal(got, want) {
		t.Errorf("with two whole newer: got %v, want %v", got, want)
	}
}

func TestStoreKeepsWhatIsRead(t *testing.T) {
	s := openStore(t, t.TempDir())
	first := persist(t, s, 1, 10, content(10, 3))
	meta, r, err := s.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	for index := uint64(20); index < 60; index += 10 {
		persist(t, s, 1, index, content(index, 1))
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n != meta.Size {
		t.Errorf("stream: got %d bytes, %v, want %d", n, err, meta.Size)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	persist(t, s, 1, 60, content(60, 1))
	if _, _, err := s.Open(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was closed: got %v, want that it is gone", err)
	}
}

// TestStoreEveryByte alters each byte of each file of the newest snapshot, raft.json too, and cuts
// the file there: it is refused by Open, left out by List with a warning that names it, and
// told by Usable; the one before is used.
//
//race:out
func TestStoreEveryByte(t *testing.T) {
	log, said := testLog(t)
	s, err := OpenStore(t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	older := persist(t, s, 1, 10, content(10, 1))
	newer := persist(t, s, 1, 20, content(20, 1))
	for _, file := range filesBelow(t, filepath.Join(s.dir, newer)) {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			for how, altered := range map[string][]byte{"flipped": flip(i)(bytes.Clone(whole)), "cut": whole[:i]} {
				alter(t, file, func([]byte) []byte { return altered })
				if _, _, err := s.Open(newer); err == nil {
					t.Fatalf("open: byte %d of %s, %s, went unnoticed", i, file, how)
				}
				if got := ids(t, s); !slices.Equal(got, []string{older}) {
					t.Fatalf("list, byte %d of %s, %s: got %v", i, file, how, got)
				}
			}
			alter(t, file, func([]byte) []byte { return whole })
		}
		alter(t, file, flip(len(whole)/2))
		newest, skipped, err := s.Usable()
		if err != nil || newest.ID != older || newest.Index != 10 || len(skipped) != 1 || skipped[0].ID != newer || skipped[0].Reason == nil {
			t.Fatalf("usable, %s altered: got %+v, %+v, %v", file, newest, skipped, err)
		}
		alter(t, file, func([]byte) []byte { return whole })
	}
	if got := ids(t, s); !slices.Equal(got, []string{newer, older}) {
		t.Errorf("after mending: got %v", got)
	}
	for _, want := range []string{"snapshot is skipped", newer, "things.parquet", "raft.json", "manifest.json"} {
		if !strings.Contains(said(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

func TestStoreUsableWithNone(t *testing.T) {
	s := openStore(t, t.TempDir())
	if newest, skipped, err := s.Usable(); newest.ID != "" || len(skipped) > 0 || err != nil {
		t.Errorf("empty: got %+v, %v, %v", newest, skipped, err)
	}
	id := persist(t, s, 1, 10, content(10, 1))
	alter(t, filepath.Join(s.dir, id, raftName), flip(20))
	if newest, skipped, err := s.Usable(); newest.ID != "" || len(skipped) != 1 || err != nil {
		t.Errorf("only a bad one: got %+v, %v, %v", newest, skipped, err)
	}
}

// TestStoreMixedUp: the files of one snapshot under the name, or beside the raft.json, of another.
func TestStoreMixedUp(t *testing.T) {
	s := openStore(t, t.TempDir())
	a := persist(t, s, 1, 10, content(10, 1))
	b := persist(t, s, 1, 20, content(20, 1))
	if err := os.Rename(filepath.Join(s.dir, a), filepath.Join(s.dir, "1-30-1")); err != nil {
		t.Fatal(err)
	}
	raftOfB, err := os.ReadFile(filepath.Join(s.dir, b, raftName))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ids(t, s), []string{b}; !slices.Equal(got, want) {
		t.Errorf("renamed: got %v, want %v", got, want)
	}
	c := persist(t, s, 1, 20, content(21, 1))
	alter(t, filepath.Join(s.dir, c, raftName), func([]byte) []byte { return raftOfB })
	if got, want := ids(t, s), []string{b}; !slices.Equal(got, want) {
		t.Errorf("with another's raft.json: got %v, want %v", got, want)
	}
}

func TestStoreSweepsWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	whole := persist(t, s, 1, 10, content(10, 1))
	torn := create(t, s, 1, 20)
	if err := torn.Fill(content(20, 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, ".gone-1-5-1", "nodes"), 0o700); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir) // the crash
	if got, want := names(t, dir), []string{whole}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// A leftover of this very process is swept by the next Create, a sink at work is not.
	atWork := create(t, s, 1, 30)
	if err := os.Mkdir(filepath.Join(dir, ".gone-1-6-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	other := create(t, s, 1, 30)
	if got, want := names(t, dir), []string{".1-30-1", ".1-30-2", whole}; !slices.Equal(got, want) {
		t.Errorf("with two at work: got %v, want %v", got, want)
	}
	if err := errors.Join(atWork.Cancel(), other.Cancel()); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), []string{whole}; !slices.Equal(got, want) {
		t.Errorf("after cancel: got %v, want %v", got, want)
	}
}

func TestSinkFailures(t *testing.T) {
	broken := errors.New("broken on purpose")
	for name, c := range map[string]struct {
		use  func(*Sink) error
		want string
	}{
		"nothing written": {func(s *Sink) error { return s.Close() }, "nothing was written"},
		"table fails": {func(s *Sink) error {
			c := content(1, 1)
			c.Tables[1].large.write = func(io.Writer, part, func()) (int64, error) { return 0, broken }
			return errors.Join(s.Fill(c), s.Cancel())
		}, "table nodes: broken on purpose"},
		"close after a failed fill": {func(s *Sink) error {
			c := content(1, 1)
			c.Tables[1].large.write = func(io.Writer, part, func()) (int64, error) { return 0, broken }
			_ = s.Fill(c)
			return s.Close()
		}, "not written whole"},
		"bad table name": {func(s *Sink) error {
			return errors.Join(s.Fill(Content{Tables: []Table{{Name: "../x"}}}), s.Cancel())
		}, "no name of a table"},
		"table twice": {func(s *Sink) error {
			c := content(1, 1)
			c.Tables = append(c.Tables, c.Tables[0])
			return errors.Join(s.Fill(c), s.Cancel())
		}, "table things"},
		"fill twice": {func(s *Sink) error {
			_ = s.Fill(content(1, 1))
			return errors.Join(s.Fill(content(1, 1)), s.Cancel())
		}, "one state or one stream"},
		"write after fill": {func(s *Sink) error {
			_ = s.Fill(content(1, 1))
			_, err := s.Write([]byte{0})
			return errors.Join(err, s.Cancel())
		}, "one state or one stream"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			if err := c.use(create(t, s, 1, 10)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if got := names(t, s.dir); len(got) > 0 {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}

func TestSinkCloseAgain(t *testing.T) {
	s := openStore(t, t.TempDir())
	sink := create(t, s, 1, 10)
	if err := errors.Join(sink.Fill(content(10, 1)), sink.Close(), sink.Close(), sink.Cancel()); err != nil {
		t.Fatal(err)
	}
	if got, want := ids(t, s), []string{sink.ID()}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStoreRefusesNames(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, id := range []string{"", ".", "..", "../1-2-3", "1-2", "1-2-3-4", "01-2-3", "+1-2-3", "1-2-99999999999999999999"} {
		if _, _, err := s.Open(id); err == nil || !strings.Contains(err.Error(), "no id of a snapshot") {
			t.Errorf("%q: got %v", id, err)
		}
	}
	if _, err := s.Create(0, 1, 1, testConfiguration, 1, nil); err == nil {
		t.Error("version 0 was taken")
	}
	if err := os.WriteFile(filepath.Join(s.dir, "1-2-3"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, s); len(got) > 0 {
		t.Errorf("a file was listed: %v", got)
	}
}
