package snapshot

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// keyed is the rows of a table in the order of their keys: of each the key, and how often it was changed.
type keyed []keyedRow

type keyedRow struct {
	key     string
	changes uint64
}

func (k keyed) plan() []part {
	return slices.Collect((&large{layout: "test", keys: k.walk}).plan)
}

// walk gives the keys from one on.
func (k keyed) walk(from string, yield func(string, Hash) bool) {
	at, _ := k.find(from)
	for _, row := range k[at:] {
		if !yield(row.key, row.hash()) {
			return
		}
	}
}

func (r keyedRow) hash() Hash { return Hash{rank(r.key), r.changes} }

// find is where a key is or would be.
func (k keyed) find(key string) (int, bool) {
	return slices.BinarySearchFunc(k, key, func(row keyedRow, key string) int { return strings.Compare(row.key, key) })
}

// put adds a row, or changes the one of that key.
func (k keyed) put(key string) keyed {
	at, there := k.find(key)
	if !there {
		return slices.Insert(k, at, keyedRow{key: key})
	}
	k[at].changes++
	return k
}

// nodeKey is the n-th key of a machine room.
func nodeKey(n int) string {
	return fmt.Sprintf("x%dc%ds%db%dn%d", 1000+n/2048, n/256%8, n/4%64, n/2%2, n%2)
}

func nodeKeys(n int) keyed {
	k := make(keyed, n)
	for i := range k {
		k[i].key = nodeKey(i)
	}
	slices.SortFunc(k, func(a, b keyedRow) int { return strings.Compare(a.key, b.key) })
	return k
}

func TestPlanBounds(t *testing.T) {
	for n, parts := range map[int]int{0: 1, 1: 1, minPart: 1, maxPart: 1, maxPart + 1: 2, 120_000: 0} {
		k := nodeKeys(n)
		planned, at := k.plan(), 0
		if parts > 0 && len(planned) != parts {
			t.Errorf("%d rows: got %d parts, want %d", n, len(planned), parts)
		}
		for i, p := range planned {
			if last := i == len(planned)-1; p.rows > maxPart || p.rows < minPart && !last {
				t.Errorf("%d rows: part %d of %d has %d rows", n, i, len(planned), p.rows)
			}
			if p.rows > 0 && p.first != k[at].key {
				t.Errorf("%d rows: part %d begins with %q, not %q", n, i, p.first, k[at].key)
			}
			if !sumForm.MatchString(p.content) {
				t.Errorf("%d rows: part %d has the content %q", n, i, p.content)
			}
			at += p.rows
		}
		if at != n {
			t.Errorf("%d rows: the parts have %d", n, at)
		}
	}
}

// TestPlanIsStable makes small changes, one after another, and counts the parts that each made new.
//
//race:out
func TestPlanIsStable(t *testing.T) {
	const rows, changes = 80_000, 80
	rng := rand.New(rand.NewPCG(1, 2))
	all := nodeKeys(2 * rows)
	k := slices.DeleteFunc(slices.Clone(all), func(keyedRow) bool { return rng.IntN(2) == 0 })
	before, total, most := contents(k.plan()), 0, 0
	for range changes {
		key := all[rng.IntN(len(all))].key
		if at, there := k.find(key); there && rng.IntN(2) == 0 {
			k = slices.Delete(k, at, at+1)
		} else {
			k = k.put(key)
		}
		after, fresh := contents(k.plan()), 0
		for content := range after {
			if !before[content] {
				fresh++
			}
		}
		if fresh == 0 {
			t.Fatalf("a change of %q went unnoticed", key)
		}
		before, total, most = after, total+fresh, max(most, fresh)
	}
	// One part has to be new for each change.
	if total > changes*11/10 || most > 6 {
		t.Errorf("%d changes made %d parts new, one of them %d", changes, total, most)
	}
}

// TestPlanMeetsAgain: a whole cabinet more, and a few parts behind it all ends are where they were.
//
//race:out
func TestPlanMeetsAgain(t *testing.T) {
	const cabinets = 10
	total, all := 0, nodeKeys(100_000)
	before := contents(all.plan())
	for cabinet := range cabinets {
		k := slices.Clone(all)
		for i := range 256 {
			k = k.put(fmt.Sprintf("x%dc9s%db%dn%d", 1000+cabinet, i/4, i/2%2, i%2))
		}
		for content := range contents(k.plan()) {
			if !before[content] {
				total++
			}
		}
	}
	if total > 2*cabinets {
		t.Errorf("%d cabinets made %d parts new", cabinets, total)
	}
}

func TestPlanKnowsLayout(t *testing.T) {
	a := large{layout: "a", keys: func(_ string, yield func(string, Hash) bool) { yield("key", Hash{1, 2}) }}
	b := a
	b.layout = "b"
	if slices.Collect(a.plan)[0].content == slices.Collect(b.plan)[0].content {
		t.Error("the same rows in other columns are taken for the same part")
	}
}

func contents(parts []part) map[string]bool {
	out := map[string]bool{}
	for _, p := range parts {
		out[p.content] = true
	}
	return out
}

// largeState is a state of one large table.
func largeState(index uint64, rows []*thing) Content {
	return Content{Index: index, Tables: []Table{largeThings("nodes", rows)}}
}

// manyThings is how many things make several parts.
const manyThings = 6 * maxPart

func TestLargeTableRoundTrip(t *testing.T) {
	m := openMarks(t, t.TempDir())
	for i, n := range []int{0, 1, minPart, maxPart, maxPart + 1, manyThings} {
		want := things(n)
		f, err := OpenFolder(mark(t, m, largeState(uint64(i+1), want)))
		if err != nil {
			t.Fatal(err)
		}
		files := f.Files("nodes")
		for i, path := range files {
			if want := fmt.Sprintf("nodes/part-%04d.parquet", i); path != want {
				t.Errorf("%d rows: got %s, want %s", n, path, want)
			}
		}
		if len(files) == 0 || len(files) == 1 != (n <= maxPart) {
			t.Errorf("%d rows: got %d parts", n, len(files))
		}
		got, err := collect(thingCodec.Rows(f, "nodes"))
		if err != nil || len(got) != n || n > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%d rows: got %d, %v, or not in order", n, len(got), err)
		}
	}
}

// TestSamePartsEverywhere: what was written before does not show in what is written, but for the links.
func TestSamePartsEverywhere(t *testing.T) {
	a, b := openMarks(t, t.TempDir()), openMarks(t, t.TempDir())
	rows := things(manyThings)
	mark(t, a, largeState(1, slices.Concat(rows[:10_000], rows[30_000:])))
	one, err := a.Write(largeState(2, rows))
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Write(largeState(2, rows))
	if err != nil || !reflect.DeepEqual(one, other) {
		t.Errorf("got %+v and %+v, %v", one, other, err)
	}
}

//race:out
func TestPartsHarmed(t *testing.T) {
	part := func(dir string, n int) string { return filepath.Join(dir, partPath("nodes", n)) }
	for name, c := range map[string]struct {
		harm func(dir string) error
		want string
	}{
		"missing": {func(dir string) error { return os.Remove(part(dir, 1)) }, "nodes/part-0001.parquet: missing"},
		"extra":   {func(dir string) error { return os.Link(part(dir, 0), part(dir, 99)) }, "nodes/part-0099.parquet: not in the manifest"},
		"altered": {func(dir string) error { alter(t, part(dir, 2), flip(1000)); return nil }, "nodes/part-0002.parquet: was altered"},
		"cut":     {func(dir string) error { return os.Truncate(part(dir, 1), 1000) }, "nodes/part-0001.parquet: has 1000 bytes"},
		"changed places": {func(dir string) error {
			return errors.Join(os.Rename(part(dir, 0), part(dir, 99)), os.Rename(part(dir, 1), part(dir, 0)), os.Rename(part(dir, 99), part(dir, 1)))
		}, "nodes/part-0000.parquet: has "},
	} {
		path := mark(t, openMarks(t, t.TempDir()), largeState(1, things(manyThings)))
		if err := c.harm(path); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFolder(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// TestPartsUnderNoGoodName looks at the folder while parts are written, as a crash would leave it, and after one of them failed.
func TestPartsUnderNoGoodName(t *testing.T) {
	dir := t.TempDir()
	m := openMarks(t, dir)
	c := largeState(7, things(manyThings))
	write, broken := c.Tables[0].large.write, errors.New("broken on purpose")
	c.Tables[0].large.write = func(w io.Writer, p part, step func()) (int64, error) {
		n, err := write(w, p, step)
		if got := names(t, dir); len(got) != 1 || !isDraft(got[0]) {
			t.Errorf("while it is written: %v", got)
		}
		if p.first != "thing-0000000" {
			err = broken
		}
		return n, err
	}
	if _, err := m.Write(c); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestPartsCounted: a table that gives other rows when it is written than when it was counted is refused.
func TestPartsCounted(t *testing.T) {
	c := largeState(7, things(10))
	c.Tables[0].large.write = largeThings("nodes", things(9)).large.write
	if _, err := openMarks(t, t.TempDir()).Write(c); err == nil || !strings.Contains(err.Error(), "9 rows") {
		t.Errorf("got %v", err)
	}
}

// inodes of the parts of a snapshot.
func inodes(t testing.TB, path string) []uint64 {
	t.Helper()
	var out []uint64
	for _, file := range filesBelow(t, filepath.Join(path, "nodes")) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		state, _ := stateOf(info)
		out = append(out, state.ino)
	}
	return out
}

// shared counts the parts that are in both.
func shared(a, b []uint64) (n int) {
	for _, inode := range a {
		if slices.Contains(b, inode) {
			n++
		}
	}
	return n
}

func TestMarksShareParts(t *testing.T) {
	m := openMarks(t, t.TempDir())
	rows := things(manyThings)
	first := mark(t, m, largeState(1, rows))
	parts := len(inodes(t, first))
	if got := shared(inodes(t, first), inodes(t, mark(t, m, largeState(2, rows)))); got != parts {
		t.Errorf("the same rows: %d of %d parts shared", got, parts)
	}
	changed := slices.Clone(rows)
	changed[50_000] = &thing{ID: rows[50_000].ID, Tags: []string{"changed"}}
	third := mark(t, m, largeState(3, changed))
	if got := shared(inodes(t, first), inodes(t, third)); got != parts-1 {
		t.Errorf("one row changed: %d of %d parts shared", got, parts)
	}
	f, err := m.Open("3")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collect(thingCodec.Rows(f, "nodes")); err != nil || !reflect.DeepEqual(got, changed) {
		t.Errorf("got %d rows, %v, or not those that were written", len(got), err)
	}
	if _, err := m.Retire(Retention{Newest: 1}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open("3"); err != nil {
		t.Errorf("when those it shared with are gone: %v", err)
	}
}

// TestMarksShareOnlyWhatIsWhole: a part that was altered is written anew, and so is one that many share.
func TestMarksShareOnlyWhatIsWhole(t *testing.T) {
	m := openMarks(t, t.TempDir())
	rows := things(manyThings)
	first := mark(t, m, largeState(1, rows))
	alter(t, filepath.Join(first, partPath("nodes", 1)), flip(1000))
	second := mark(t, m, largeState(2, rows))
	parts := len(inodes(t, first))
	if got := shared(inodes(t, first), inodes(t, second)); got != parts-1 {
		t.Errorf("one part altered: %d of %d shared", got, parts)
	}
	for i := range maxLinks {
		if err := os.Link(filepath.Join(second, partPath("nodes", 0)), filepath.Join(t.TempDir(), fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := shared(inodes(t, second), inodes(t, mark(t, m, largeState(3, rows)))); got != parts-1 {
		t.Errorf("one part in %d places: %d of %d shared", maxLinks, got, parts)
	}
}

// TestEveryFewSnapshotsOneIsWhole: also when the process begins anew in between.
func TestEveryFewSnapshotsOneIsWhole(t *testing.T) {
	dir := t.TempDir()
	m := openMarks(t, dir)
	rows := things(10)
	before := inodes(t, mark(t, m, largeState(1, rows)))
	for index := uint64(2); index <= 2*wholeEvery+2; index++ {
		if index%7 == 0 {
			m = openMarks(t, dir)
		}
		now := inodes(t, mark(t, m, largeState(index, rows)))
		if whole := shared(before, now) == 0; whole != (index%wholeEvery == 1) {
			t.Errorf("snapshot %d: it is whole: %v", index, whole)
		}
		before = now
	}
}

// TestStoreSharesNothing: of raft's two, one is there for when the other is bad.
func TestStoreSharesNothing(t *testing.T) {
	s := openStore(t, t.TempDir())
	a := persist(t, s, 1, 10, largeState(10, things(manyThings)))
	b := persist(t, s, 1, 20, largeState(20, things(manyThings)))
	if got := shared(inodes(t, filepath.Join(s.dir, a)), inodes(t, filepath.Join(s.dir, b))); got != 0 {
		t.Errorf("%d parts are in both", got)
	}
}

// TestPartsAreWrittenWhileOthersArePlanned: the last key of a table is not read before its first part is being written.
func TestPartsAreWrittenWhileOthersArePlanned(t *testing.T) {
	begun := make(chan struct{})
	var once sync.Once
	rows := nodeKeys(maxPart + 2)
	l := large{layout: "test",
		keys: func(_ string, yield func(string, Hash) bool) {
			for i, row := range rows {
				if i == len(rows)-1 {
					select {
					case <-begun:
					case <-time.After(time.Minute):
						t.Error("no part is begun while the rows are read")
						return
					}
				}
				if !yield(row.key, row.hash()) {
					return
				}
			}
		},
		write: func(_ io.Writer, p part, _ func()) (int64, error) {
			once.Do(func() { close(begun) })
			return int64(p.rows), nil
		}}
	nobody := func() bool { return false } // wants the processors
	files, err := draftAt(t.TempDir(), newTurns(nobody, nil)).parts("things", &l)
	if err != nil || len(files) != 2 || files[0].Rows+files[1].Rows != int64(len(rows)) {
		t.Errorf("got %+v, %v", files, err)
	}
}
