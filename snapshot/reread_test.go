package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// inMemory is a Mending that has one state and nothing else.
func inMemory(c Content) Mending {
	return Mending{State: func(uint64) (Content, bool) { return c, true }}
}

// peerWith is a Mending that asks other marked snapshots.
func peerWith(other *Marks) Mending {
	return Mending{Fetch: func(_ context.Context, index uint64, path string) (io.ReadCloser, error) {
		return os.Open(below(other.at(index), path))
	}}
}

// reread reads all again, and says of each file found bad what became of it.
func reread(t testing.TB, m *Marks, from Mending) []string {
	t.Helper()
	found, err := m.Reread(t.Context(), from)
	if err != nil {
		t.Fatalf("reread: %v", err)
	}
	out := []string{}
	for _, f := range found {
		if f.Err == nil || (f.Why == nil) != (f.Source != "") {
			t.Errorf("%s %s: %v, from %q, %v", f.ID, f.Path, f.Err, f.Source, f.Why)
		}
		if f.Source == "" {
			out = append(out, fmt.Sprintf("%s %s: %v", f.ID, f.Path, f.Why))
		} else {
			out = append(out, fmt.Sprintf("%s %s: from %s", f.ID, f.Path, f.Source))
		}
	}
	for _, name := range names(t, m.dir) {
		if isDraft(name) {
			t.Errorf("left behind: %s", name)
		}
	}
	return out
}

// allWhole fails unless each snapshot opens.
func allWhole(t testing.TB, m *Marks) {
	t.Helper()
	list, err := m.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if _, err := m.Open(f.ID); err != nil || f.Err != nil {
			t.Errorf("snapshot %s: %v; listed as %v", f.ID, err, f.Err)
		}
	}
}

func TestRereadFindsNothing(t *testing.T) {
	m := openMarks(t, t.TempDir())
	if got := reread(t, m, Mending{}); len(got) > 0 {
		t.Errorf("of nothing: %v", got)
	}
	mark(t, m, content(1, 2))
	mark(t, m, content(2, 2))
	if got := reread(t, m, Mending{}); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// TestRereadMendsASharedPart flips a byte of a part that three snapshots share. The peer starts and goes
// on, the next snapshot does not share it, and from memory all three get one new file.
func TestRereadMendsASharedPart(t *testing.T) {
	dir := t.TempDir()
	rows := things(manyThings)
	m := openMarks(t, dir)
	for index := range uint64(3) {
		mark(t, m, largeState(index+1, rows))
	}
	before := inodes(t, m.Path("1"))
	harmed := partPath("nodes", 1)
	sums := manifestOf(m.Path("1"), 1)
	alter(t, filepath.Join(m.Path("2"), harmed), flip(1000))

	m = openMarks(t, dir)
	list, err := m.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("got %d, %v", len(list), err)
	}
	for _, f := range list {
		if f.Err == nil || !strings.Contains(f.Err.Error(), harmed) {
			t.Errorf("snapshot %s: got %v", f.ID, f.Err)
		}
	}
	mark(t, m, largeState(4, append(slices.Clone(rows[:len(rows)-1]), &thing{ID: "thing-other"})))

	want := []string{"3 " + harmed + ": from another file", "2 " + harmed + ": from another file", "1 " + harmed + ": from another file"}
	if got := reread(t, m, inMemory(largeState(4, rows))); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	allWhole(t, m)
	mended := inodes(t, m.Path("1"))
	if got := shared(before, mended); got != len(before)-1 {
		t.Errorf("%d of %d parts are the files of before", got, len(before))
	}
	for _, id := range []string{"2", "3"} {
		if !slices.Equal(inodes(t, m.Path(id)), mended) {
			t.Errorf("snapshot %s does not share what was mended", id)
		}
	}
	if got := shared(mended, inodes(t, m.Path("4"))); got != len(before)-2 {
		t.Errorf("%d parts are shared with the snapshot that mended them, which had one of its own", got)
	}
	if got := manifestOf(m.Path("1"), 1); got.Sum != sums.Sum {
		t.Error("the manifest is another")
	}
	if got := reread(t, m, Mending{}); len(got) > 0 {
		t.Errorf("again: got %v", got)
	}
}

// unlike is content with tables that are not alike.
func unlike(index uint64, n int) Content {
	c := content(index, n)
	c.Tables[1] = largeThings("nodes", things(n+2))
	return c
}

func TestRereadSources(t *testing.T) {
	const part, small = "nodes/part-0000.parquet", "things.parquet"
	other := openMarks(t, t.TempDir())
	mark(t, other, unlike(1, 2))
	do := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	later := unlike(9, 3)
	later.Tables[1] = unlike(1, 2).Tables[1] // as it was
	newer := unlike(1, 2)                    // as another release would write it
	newer.Tables[0].Write = func(w io.Writer) (int64, error) {
		return thingCodec.Write(w, slices.Values(slices.Concat(things(2), things(1))))
	}
	fails := Mending{Fetch: func(context.Context, uint64, string) (io.ReadCloser, error) { return nil, errors.New("nobody has it") }}
	endless := Mending{Fetch: func(context.Context, uint64, string) (io.ReadCloser, error) {
		return io.NopCloser(rand.NewChaCha8([32]byte{})), nil
	}}
	for name, c := range map[string]struct {
		harm   func(dir string)
		from   Mending
		want   []string
		mended bool // so that the snapshot is whole
	}{
		"part from memory":         {func(dir string) { alter(t, dir+"/"+part, flip(50)) }, inMemory(unlike(1, 2)), []string{"1 " + part + ": from memory"}, true},
		"part from a later state":  {func(dir string) { alter(t, dir+"/"+part, flip(50)) }, inMemory(later), []string{"1 " + part + ": from memory"}, true},
		"part of other rows":       {func(dir string) { alter(t, dir+"/"+part, flip(50)) }, inMemory(unlike(1, 3)), []string{"1 " + part + ": from memory: its rows are others by now"}, false},
		"table from memory":        {func(dir string) { alter(t, dir+"/"+small, flip(50)) }, inMemory(unlike(1, 2)), []string{"1 " + small + ": from memory"}, true},
		"table of another state":   {func(dir string) { alter(t, dir+"/"+small, flip(50)) }, inMemory(later), []string{"1 " + small + ": from memory: its bytes are not those that the manifest names"}, false},
		"table of another release": {func(dir string) { alter(t, dir+"/"+small, flip(50)) }, inMemory(newer), []string{"1 " + small + ": from memory: its bytes are not those that the manifest names"}, false},
		"no such table":            {func(dir string) { alter(t, dir+"/"+small, flip(50)) }, inMemory(largeState(1, nil)), []string{"1 " + small + `: from memory: it has no table "things"`}, false},
		"part from a peer":         {func(dir string) { alter(t, dir+"/"+part, flip(50)) }, peerWith(other), []string{"1 " + part + ": from another peer"}, true},
		"table from a peer":        {func(dir string) { do(os.Truncate(dir+"/"+small, 10)) }, peerWith(other), []string{"1 " + small + ": from another peer"}, true},
		"two of them":              {func(dir string) { do(os.Truncate(dir+"/"+small, 10)); do(os.RemoveAll(dir + "/nodes")) }, peerWith(other), []string{"1 " + small + ": from another peer", "1 " + part + ": from another peer"}, true},
		"memory first":             {func(dir string) { do(os.Remove(dir + "/" + part)) }, Mending{State: inMemory(unlike(1, 2)).State, Fetch: fails.Fetch}, []string{"1 " + part + ": from memory"}, true},
		"then a peer":              {func(dir string) { alter(t, dir+"/"+small, flip(50)) }, Mending{State: inMemory(later).State, Fetch: peerWith(other).Fetch}, []string{"1 " + small + ": from another peer"}, true},
		"nobody has it":            {func(dir string) { do(os.Remove(dir + "/" + part)) }, fails, []string{"1 " + part + ": from another peer: nobody has it"}, false},
		"nobody is asked":          {func(dir string) { do(os.Remove(dir + "/" + part)) }, Mending{}, []string{"1 " + part + ": no other file is like it, and there is nobody to ask"}, false},
		"a peer that goes on":      {func(dir string) { do(os.Remove(dir + "/" + part)) }, endless, []string{"1 " + part + ": from another peer: its bytes are not those that the manifest names"}, false},
		"link for a file": {func(dir string) {
			do(os.Remove(dir + "/" + small))
			do(os.Symlink("nowhere", dir+"/"+small))
		}, inMemory(unlike(1, 2)), []string{"1 : it is no part of the snapshot; look at it and take it away", "1 " + small + ": from memory"}, true},
		"a stray file":              {func(dir string) { do(os.WriteFile(dir+"/x", nil, 0o600)) }, inMemory(unlike(1, 2)), []string{"1 : it is no part of the snapshot; look at it and take it away"}, false},
		"manifest from memory":      {func(dir string) { alter(t, dir+"/"+manifestName, flip(50)) }, inMemory(unlike(1, 2)), []string{"1 manifest.json: from memory"}, true},
		"manifest from a peer":      {func(dir string) { do(os.Remove(dir + "/" + manifestName)) }, peerWith(other), []string{"1 manifest.json: from another peer"}, true},
		"manifest and a part":       {func(dir string) { alter(t, dir+"/"+manifestName, flip(50)); alter(t, dir+"/"+part, flip(50)) }, peerWith(other), []string{"1 manifest.json: from another peer", "1 " + part + ": from another peer"}, true},
		"manifest of a later state": {func(dir string) { alter(t, dir+"/"+manifestName, flip(50)) }, inMemory(later), []string{"1 manifest.json: no other file is like it, and there is nobody to ask"}, false},
		"manifest nobody has":       {func(dir string) { alter(t, dir+"/"+manifestName, flip(50)) }, fails, []string{"1 manifest.json: from another peer: nobody has it"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := openMarks(t, t.TempDir())
			whole := contentsOf(t, mark(t, m, unlike(1, 2)))
			c.harm(m.Path("1"))
			if got := reread(t, m, c.from); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			list, err := m.List()
			if err != nil || (list[0].Err == nil) != c.mended {
				t.Errorf("listed as %v, %v", list[0].Err, err)
			}
			if got := contentsOf(t, m.Path("1")); c.mended && got != whole {
				t.Error("the mended files are not those of before")
			}
			if got := len(reread(t, m, Mending{})); (got == 0) != c.mended {
				t.Errorf("read again: %d are bad", got)
			}
		})
	}
}

// contentsOf gives all files of a folder as one string.
func contentsOf(t testing.TB, dir string) string {
	t.Helper()
	var out bytes.Buffer
	for _, path := range filesBelow(t, dir) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %d\n%s", name, len(data), data)
	}
	return out.String()
}

// TestRereadEveryByte flips bytes all over two snapshots that share a part, and cuts their files. Each time it is found and mended.
//
//race:out
func TestRereadEveryByte(t *testing.T) {
	m, other := openMarks(t, t.TempDir()), openMarks(t, t.TempDir())
	for index := range uint64(2) {
		mark(t, m, content(index+1, 2))
		mark(t, other, content(index+1, 2))
	}
	whole := contentsOf(t, m.dir)
	for i, file := range filesBelow(t, m.dir) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for at := i; at < len(data); at += 29 {
			for _, altered := range [][]byte{flip(at)(bytes.Clone(data)), data[:at]} {
				alter(t, file, func([]byte) []byte { return altered })
				if got := reread(t, m, peerWith(other)); len(got) == 0 || strings.Count(strings.Join(got, ""), ": from ") != len(got) {
					t.Fatalf("%s, byte %d: got %v", file, at, got)
				}
				if contentsOf(t, m.dir) != whole {
					t.Fatalf("%s, byte %d: mended otherwise", file, at)
				}
			}
		}
	}
	allWhole(t, m)
}

func TestRereadEndsWhenAsked(t *testing.T) {
	m := openMarks(t, t.TempDir())
	mark(t, m, unlike(1, 2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Reread(ctx, Mending{}); !errors.Is(err, context.Canceled) {
		t.Errorf("while reading: got %v", err)
	}
	alter(t, filepath.Join(m.Path("1"), "things.parquet"), flip(9))
	ctx, cancel = context.WithCancel(t.Context())
	found, err := m.Reread(ctx, Mending{Fetch: func(ctx context.Context, _ uint64, _ string) (io.ReadCloser, error) {
		cancel()
		return nil, ctx.Err()
	}})
	if !errors.Is(err, context.Canceled) || len(found) != 1 {
		t.Errorf("while mending: got %v, %v", found, err)
	}
	if list, err := m.List(); err != nil || list[0].Err == nil {
		t.Errorf("got %+v, %v", list, err)
	}
}

// TestRereadTakesItsTime: a file that many share is read once, and at the pace that was asked for.
func TestRereadTakesItsTime(t *testing.T) {
	m := openMarks(t, t.TempDir())
	rows := things(5_000)
	for index := range uint64(3) {
		mark(t, m, largeState(index+1, rows))
	}
	bytes := manifestOf(m.Path("1"), 1).Files[0].Bytes
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if _, err := m.Reread(t.Context(), Mending{Pace: int(bytes / 10)}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("took %v, want 10 s", took)
		}
	})
}

// TestRereadBesideOthers writes, lists and deletes while all is read again, part of it bad.
func TestRereadBesideOthers(t *testing.T) {
	m := openMarks(t, t.TempDir())
	mark(t, m, content(1, 3))
	var all sync.WaitGroup
	all.Go(func() {
		for index := uint64(2); index < 30; index++ {
			if _, err := m.Write(content(index, 3)); err != nil {
				t.Error(err)
			}
			if _, err := m.Retire(Retention{Newest: 3}, time.Now()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Go(func() {
		for range 30 {
			if list, err := m.List(); err == nil && len(list) > 0 {
				path := filepath.Join(list[len(list)-1].Path, "things.parquet")
				if err := os.Truncate(path, 5); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
			}
			if _, err := m.Reread(t.Context(), Mending{State: func(index uint64) (Content, bool) { return content(index, 3), true }}); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	reread(t, m, Mending{State: func(index uint64) (Content, bool) { return content(index, 3), true }})
	allWhole(t, m)
}

// TestMarksSweepsABench: what was being mended in a crash goes at the next start, and the snapshot is as it was.
func TestMarksSweepsABench(t *testing.T) {
	dir := t.TempDir()
	m := openMarks(t, dir)
	mark(t, m, content(1, 2))
	d, err := m.bench()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.small("things.parquet", []byte("half")); err != nil {
		t.Fatal(err)
	}
	m = openMarks(t, dir)
	if got, want := names(t, dir), []string{filepath.Base(m.Path("1"))}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	allWhole(t, m)
}
