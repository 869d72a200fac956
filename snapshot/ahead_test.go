package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func TestPrepared(t *testing.T) {
	f, err := OpenFolder(mark(t, openMarks(t, t.TempDir()), largeState(1, things(manyThings))))
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	want, at := things(manyThings), 0
	for id, err := range Prepared(thingCodec, f, "nodes", func(row *thing) *string { calls.Add(1); return &row.ID }) {
		if err != nil {
			t.Fatal(err)
		}
		if *id != want[at].ID {
			t.Fatalf("row %d: got %s, want %s", at, *id, want[at].ID)
		}
		at++
	}
	if at != manyThings || calls.Load() != manyThings {
		t.Errorf("got %d rows, %d calls, want %d", at, calls.Load(), manyThings)
	}
}

// TestRowsStopsWhenAsked: the goroutines that decode end with the loop.
func TestRowsStopsWhenAsked(t *testing.T) {
	f, err := OpenFolder(mark(t, openMarks(t, t.TempDir()), largeState(1, things(manyThings))))
	if err != nil {
		t.Fatal(err)
	}
	before, n := runtime.NumGoroutine(), 0
	for range thingCodec.Rows(f, "nodes") {
		if n++; n == 700 {
			break
		}
	}
	if n != 700 {
		t.Errorf("got %d rows", n)
	}
	// One that has said that it is done may still be counted for a moment.
	eventually(t, func() error {
		if after := runtime.NumGoroutine(); after > before {
			return fmt.Errorf("%d goroutines, %d before", after, before)
		}
		return nil
	})
}

// TestRowsFailInOrder: what comes before the part that fails is given, what comes behind is not.
func TestRowsFailInOrder(t *testing.T) {
	path := mark(t, openMarks(t, t.TempDir()), largeState(1, things(manyThings)))
	f, err := OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	before := int(f.entries("nodes")[0].Rows)
	if err := os.WriteFile(filepath.Join(path, partPath("nodes", 1)), []byte("no parquet"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := collect(thingCodec.Rows(f, "nodes"))
	if err == nil || !strings.Contains(err.Error(), "nodes/part-0001.parquet") || len(got) != before {
		t.Errorf("got %d rows, %v, want %d and an error with the part's name", len(got), err, before)
	}
	if !slices.IsSortedFunc(got, func(a, b *thing) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("not in order")
	}
}
