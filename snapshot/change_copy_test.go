package snapshot

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/metadata"

	"github.com/orchd/orchd/api"
)

// told is what a footer says of a row group, but where it lies.
type told struct {
	rows, bytes int64
	large       bool
	columns     []toldColumn
}

type toldColumn struct {
	path             string
	values           int64
	packed, unpacked int64
	stats            metadata.EncodedStatistics
	encodings        []parquet.Encoding
	pages            []byte
}

// tell reads the footer of a file of changes.
func tell(t *testing.T, path string) (all []told) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := bytes.NewReader(data)
	groups, err := changeCodec.rows.open(in, in.Size())
	if err != nil {
		t.Fatal(err)
	}
	for g := range groups.count() {
		group := groups.file.RowGroup(g)
		one := told{rows: group.NumRows(), bytes: group.ByteSize(), large: isLarge(group)}
		for i, l := range changeCodec.rows.leaves {
			chunk, err := group.MetaData().ColumnChunk(i)
			if err != nil {
				t.Fatal(err)
			}
			stats, err := statisticsOf(chunk, l)
			if err != nil {
				t.Fatal(err)
			}
			pages, err := pagesOf(in, in.Size(), chunk)
			if err != nil {
				t.Fatal(err)
			}
			one.columns = append(one.columns, toldColumn{chunk.PathInSchema().String(), chunk.NumValues(), chunk.TotalCompressedSize(),
				chunk.TotalUncompressedSize(), stats, chunk.Encodings(), pages})
		}
		all = append(all, one)
	}
	return all
}

// TestMergeCopiesLargeRowGroups: they go over with their pages and all that the footer says of
// them, small ones between become one. What is read stays the same, from anywhere.
func TestMergeCopiesLargeRowGroups(t *testing.T) {
	const end = 22_000
	dir := t.TempDir()
	h := historyOf(t, dir, Range{1, 100}, Range{101, 200}, Range{201, 6000}, Range{6001, 6100}, Range{6101, 6200}, Range{6201, 18000}, Range{18001, 18001}, Range{18002, end})
	h.mu.Lock()
	files := h.files
	h.mu.Unlock()
	var want []told // rows alone of those that are made anew
	for _, f := range files {
		for _, group := range tell(t, h.path(f)) {
			if last := len(want) - 1; group.large || last < 0 || want[last].large {
				want = append(want, group)
			} else {
				want[last].rows += group.rows
			}
		}
	}
	if copied := slices.IndexFunc(want, func(g told) bool { return g.large }); copied < 0 || len(want) < 5 {
		t.Fatalf("nothing to copy in %d row groups", len(want))
	}
	first, last := files[0], files[len(files)-1]
	if err := h.merge(files); err != nil {
		t.Fatal(err)
	}
	if got, want := ranges(h), []Range{{1, end}}; !slices.Equal(got, want) {
		t.Fatalf("got files %v, want %v", got, want)
	}
	got := tell(t, h.path(h.files[0]))
	if len(got) != len(want) {
		t.Fatalf("got %d row groups, want %d", len(got), len(want))
	}
	for i := range want {
		if want[i].large && !reflect.DeepEqual(got[i], want[i]) || got[i].rows != want[i].rows {
			t.Errorf("row group %d is not what it was: %d rows of %d bytes, want %d of %d", i, got[i].rows, got[i].bytes, want[i].rows, want[i].bytes)
		}
	}
	for range 2 {
		for _, after := range []api.Position{{}, {Index: 150, N: 1}, {Index: 5999}, {Index: 6001, N: 1}, {Index: 12_345}, {Index: 18_001}, {Index: end - 1}} {
			expect(t, h, after, end)
		}
		if f := h.files[0]; !f.Since.Equal(first.Since) || !f.Until.Equal(last.Until) || f.Rows != int64(len(truths(Range{1, end}))) {
			t.Errorf("got %d changes from %v to %v", f.Rows, f.Since, f.Until)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = openTestHistory(t, dir)
	}
}

// TestMergeLooksAgain: what was altered since a file was read last does not get a new sum by
// being copied; the file is set aside.
func TestMergeLooksAgain(t *testing.T) {
	h := historyOf(t, t.TempDir(), Range{1, 6000}, Range{6001, 12_000})
	expect(t, h, api.Position{}, 12_000)
	h.mu.Lock()
	files := h.files
	h.mu.Unlock()
	info, err := os.Stat(h.path(files[1]))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(h.path(files[1]))
	if err == nil {
		err = os.WriteFile(h.path(files[1]), flip(len(data)/3)(data), 0o600)
	}
	if err = errors.Join(err, os.Chtimes(h.path(files[1]), info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	files[1].mu.Lock() // a disk that rots changes no times, as writing does
	if info, err = os.Stat(h.path(files[1])); err == nil {
		files[1].whole, _ = stateOf(info)
	}
	files[1].mu.Unlock()
	if err := errors.Join(err, h.merge(files)); err != nil {
		t.Fatal(err)
	}
	if got, want := ranges(h), []Range{{1, 6000}}; !slices.Equal(got, want) {
		t.Errorf("got files %v, want %v", got, want)
	}
	expect(t, h, api.Position{}, 6000)
}
