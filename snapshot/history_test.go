package snapshot

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// changesOf makes n changes of the entry at index.
func changesOf(index uint64, n int) []Change {
	var out []Change
	for i := range n {
		out = append(out, Change{Index: index, N: uint64(i + 1), Time: time.UnixMicro(1_700_000_000_000_000 + int64(index)).UTC(),
			Actor: "somebody", RequestID: fmt.Sprintf("request-%d", index), Table: "things", Key: fmt.Sprintf("key-%d", i),
			Account: "default", Verb: string(api.Updated), Value: json.RawMessage(fmt.Sprintf(`{"index":%d,"n":%d}`, index, i))})
	}
	return out
}

// openTestHistory opens a history that flushes when it is told to.
func openTestHistory(t testing.TB, dir string) *History {
	t.Helper()
	log, _ := testLog(t)
	h, err := OpenHistory(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	h.FlushEvery = time.Hour
	t.Cleanup(func() { h.Close() })
	return h
}

func TestThinPath(t *testing.T) {
	dir := t.TempDir()
	h := openTestHistory(t, dir)
	var want []Change
	for i := uint64(1); i <= 50; i++ {
		cs := changesOf(i, int(i%3))
		want = append(want, cs...)
		if err := h.Append(i, cs); err != nil {
			t.Fatal(err)
		}
		if i%4 == 0 {
			if err := h.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func() {
		t.Helper()
		got, err := collect(h.Changes(api.Position{}, 100))
		if err != nil || len(got) != len(want) {
			t.Fatalf("got %d, %v, want %d", len(got), err, len(want))
		}
		if !slices.EqualFunc(got, want, func(a *Change, b Change) bool { return show(a) == show(&b) }) {
			t.Fatalf("got %s", show(got))
		}
	}
	check()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	t.Log(h.Files())
	h = openTestHistory(t, dir)
	check()
	if h.End() != 50 || h.Durable() != 50 || h.Oldest() != 1 {
		t.Errorf("got %d %d %d", h.End(), h.Durable(), h.Oldest())
	}
}
