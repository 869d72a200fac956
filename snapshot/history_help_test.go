package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// changesOf makes n changes of the entry at index, which came index minutes after the first.
func changesOf(index uint64, n int) []Change {
	var out []Change
	for i := range n {
		c := Change{Index: index, N: uint64(i + 1), Time: timeOf(index), Actor: "somebody",
			RequestID: fmt.Sprintf("request-%d", index), Table: "things", Key: fmt.Sprintf("key-%d", i), Account: "default",
			Verb: string(api.Updated), Value: json.RawMessage(fmt.Sprintf(`{"index":%d,"n":%d}`, index, i))}
		if i%3 == 2 {
			c.Verb, c.Value, c.Account = string(api.Deleted), nil, ""
		}
		out = append(out, c)
	}
	return out
}

func timeOf(index uint64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(index) * time.Minute)
}

// truth is what the entry at index changed, in all histories of these tests: at most three rows, the third deleted.
func truth(index uint64) []Change { return changesOf(index, int(index%7%4)) }

// truths are the changes of a range.
func truths(r Range) (out []Change) {
	for index := r.From; index <= r.To; index++ {
		out = append(out, truth(index)...)
	}
	return out
}

// given gives changes as another peer would.
func given(changes []Change) func(func(*Change, error) bool) {
	return func(yield func(*Change, error) bool) {
		for i := range changes {
			if !yield(&changes[i], nil) {
				return
			}
		}
	}
}

// testDisk is a disk that asks before each step, one step at a time.
type testDisk struct {
	mu     sync.Mutex
	before func(step, path string) error // nil: go on
}

func (d *testDisk) step(name, path string, f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.before != nil {
		if err := d.before(name, path); err != nil {
			return err
		}
	}
	return f()
}

func (d *testDisk) fail(f func(step, path string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = f
}

func (d *testDisk) create(dir string) (f diskFile, err error) {
	err = d.step("create", dir, func() error {
		in, err := osDisk{}.create(dir)
		f = &testFile{in, d}
		return err
	})
	return f, err
}

func (d *testDisk) rename(from, to string) error {
	return d.step("rename", from, func() error { return os.Rename(from, to) })
}

func (d *testDisk) remove(path string) error {
	return d.step("remove", path, func() error { return os.Remove(path) })
}

// sync does not: no power is lost in a test.
func (d *testDisk) sync(dir string) error { return d.step("sync", dir, func() error { return nil }) }

type testFile struct {
	diskFile
	disk *testDisk
}

func (f *testFile) Write(p []byte) (n int, err error) {
	err = f.disk.step("write", f.Name(), func() (err error) { n, err = f.diskFile.Write(p); return err })
	return n, err
}

func (f *testFile) Sync() error {
	return f.disk.step("sync file", f.Name(), func() error { return nil })
}

// openOn opens a history on a disk. It flushes when it is told to, and when much waits.
func openOn(t testing.TB, dir string, d disk) *History {
	t.Helper()
	log, _ := testLog(t)
	h, err := openHistory(dir, log, d)
	if err != nil {
		t.Fatal(err)
	}
	h.FlushEvery = time.Hour
	t.Cleanup(func() { h.Close() })
	return h
}

func openTestHistory(t testing.TB, dir string) *History {
	t.Helper()
	return openOn(t, dir, &testDisk{})
}

// appendRange appends the entries of a range one by one.
func appendRange(t testing.TB, h *History, r Range) {
	t.Helper()
	for index := r.From; index <= r.To; index++ {
		if err := h.Append(index, truth(index)); err != nil {
			t.Fatalf("append %d: %v", index, err)
		}
	}
}

// openIdle opens a history that neither flushes nor merges by itself.
func openIdle(t testing.TB, dir string) *History {
	t.Helper()
	h := openTestHistory(t, dir)
	h.start.Do(func() {})
	return h
}

// historyOf makes an idle history with one file for each range, and gaps where ranges leave them.
func historyOf(t testing.TB, dir string, ranges ...Range) *History {
	t.Helper()
	h := openIdle(t, dir)
	for _, r := range ranges {
		if err := errors.Join(h.Skip(r.From-1), h.Append(r.To, truths(r)), h.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// expect compares the changes behind a position up to an index with the truth.
func expect(t testing.TB, h *History, after api.Position, to uint64) {
	t.Helper()
	got, err := collect(h.Changes(after, to))
	if err != nil {
		t.Fatalf("changes behind %v up to %d: %v", after, to, err)
	}
	var want []Change
	for _, c := range truths(Range{max(after.Index, 1), to}) {
		if after.Before(c.Position()) {
			want = append(want, c)
		}
	}
	if diff := differ(got, want); diff != "" {
		t.Fatalf("changes behind %v up to %d: %s", after, to, diff)
	}
}

// spell shows all of a change, also whether its value is nil.
func spell(c *Change) string { return fmt.Sprintf("%+v, %q, nil %v", *c, c.Value, c.Value == nil) }

// differ tells the first difference.
func differ(got []*Change, want []Change) string {
	for i := range min(len(got), len(want)) {
		if g, w := spell(got[i]), spell(&want[i]); g != w {
			return fmt.Sprintf("number %d is %s, want %s", i, g, w)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("got %d, want %d", len(got), len(want))
	}
	return ""
}

// copyFolder copies the files of a folder as they are.
func copyFolder(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range names(t, from) {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// ranges lists the ranges of the files.
func ranges(h *History) []Range {
	out := []Range{}
	for _, f := range h.Files() {
		out = append(out, f.Range)
	}
	return out
}
