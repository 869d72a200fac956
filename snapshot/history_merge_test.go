package snapshot

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// sized makes files without gaps, each of so many KiB and one minute of changes.
func sized(kib ...int64) (out []*changeFile) {
	for i, n := range kib {
		index := uint64(i + 1)
		out = append(out, &changeFile{HistoryFile: HistoryFile{Range: Range{index, index}, Rows: 100, Bytes: n << 10,
			Since: timeOf(index), Until: timeOf(index + 1)}})
	}
	return out
}

func TestPlanMerge(t *testing.T) {
	tiny := slices.Repeat([]int64{3}, mergedFiles)
	for name, c := range map[string]struct {
		files    []*changeFile
		alter    func([]*changeFile)
		from, to int // of those picked
	}{
		"none":              {nil, nil, 0, 0},
		"few":               {sized(tiny[1:]...), nil, 0, 0},
		"enough":            {sized(tiny...), nil, 0, 8},
		"behind large ones": {sized(append([]int64{9000, 300}, tiny...)...), nil, 2, 10},
		"small first":       {sized(append([]int64{40, 40, 40, 40, 40, 40, 40, 40}, tiny...)...), nil, 8, 16},
		"next size":         {sized(40, 40, 3, 40, 40, 3, 40, 40, 40, 40, 3), nil, 0, 10},
		"others stay":       {sized(40, 3, 3, 3, 3, 3, 3, 3), nil, 0, 0},
		"bytes reached":     {sized(9000, 5000, 4000, 3000, 3000, 4000), nil, 1, 5},
		"full ones":         {sized(9000, 9000, 9000, 9000, 9000, 9000, 9000, 9000), nil, 0, 0},
		"a gap": {sized(tiny...), func(files []*changeFile) {
			for _, f := range files[4:] {
				f.From, f.To = f.From+1, f.To+1
			}
		}, 0, 0},
		"rows reached": {sized(tiny...), func(files []*changeFile) { files[0].Rows, files[1].Rows, files[2].Rows = 1e5, 1e5, 1e5 }, 0, 2},
		"a day reached": {sized(tiny...), func(files []*changeFile) {
			for _, f := range files[3:] {
				f.Since, f.Until = f.Since.Add(mergedSpan), f.Until.Add(mergedSpan)
			}
		}, 0, 3},
		"a day each": {sized(tiny...), func(files []*changeFile) {
			for i, f := range files {
				f.Since, f.Until = f.Since.AddDate(0, 0, i), f.Until.AddDate(0, 0, i)
			}
		}, 0, 0},
		"quiet": {sized(tiny...), func(files []*changeFile) {
			for _, f := range files {
				f.Since, f.Until = time.Time{}, time.Time{}
			}
		}, 0, 8},
	} {
		if c.alter != nil {
			c.alter(c.files)
		}
		if got := planMerge(c.files); !slices.Equal(got, c.files[c.from:c.to]) {
			t.Errorf("%s: got %d files, want %d to %d", name, len(got), c.from, c.to)
		}
	}
}

// TestMergesKeepFilesFew: days of small flushes leave a handful of files, and no
// change is written again more than a few times.
func TestMergesKeepFilesFew(t *testing.T) {
	const flushes = 20_000
	var files []*changeFile
	written, most := int64(0), 0
	for index := uint64(1); index <= flushes; index++ {
		at := timeOf(0).Add(time.Duration(index) * flushEvery)
		files = append(files, &changeFile{HistoryFile: HistoryFile{Range: Range{index, index}, Rows: 10, Bytes: 4 << 10, Since: at, Until: at}})
		for run := planMerge(files); len(run) > 0; run = planMerge(files) {
			first := slices.Index(files, run[0])
			merged := &changeFile{HistoryFile: HistoryFile{Range: Range{run[0].From, run[len(run)-1].To}, Since: run[0].Since, Until: run[len(run)-1].Until}}
			for _, f := range run {
				merged.Rows += f.Rows
				merged.Bytes += f.Bytes
			}
			written += merged.Bytes
			files = slices.Replace(files, first, first+len(run), merged)
		}
		most = max(most, len(files))
	}
	if most > 50 {
		t.Errorf("got %d files at most, want no more than 50", most)
	}
	if all := int64(flushes * 4 << 10); written > all*int64(len(sizes)+1) {
		t.Errorf("%d bytes were written for %d", written, all)
	}
}

// TestHistoryMerges: in the background of flushes, and what is read stays the same.
func TestHistoryMerges(t *testing.T) {
	dir := t.TempDir()
	h := openTestHistory(t, dir)
	const flushes = 1_000
	for index := uint64(1); index <= flushes; index++ {
		if err := errors.Join(h.Append(index, truth(index)), h.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(h.mergeAll(), h.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		expect(t, h, api.Position{}, flushes)
		if n := len(h.Files()); n > 40 || len(names(t, dir)) != n {
			t.Errorf("got %d files of %d flushes", n, flushes)
		}
		h = openTestHistory(t, dir)
	}
}

// TestMergeOfWhatIsGone: what was deleted while it was merged does not come back.
func TestMergeOfWhatIsGone(t *testing.T) {
	h := historyOf(t, t.TempDir(), Range{1, 10}, Range{11, 20}, Range{21, 30})
	h.mu.Lock()
	files := h.files
	h.mu.Unlock()
	d, err := h.newDraft()
	if err == nil {
		err = h.copyAll(d, files)
	}
	if err != nil {
		t.Fatal(err)
	}
	merged, err := d.finish(Range{1, 30})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Retire(timeOf(15)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.exchange(files, merged, d), d.discard()); !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
	if want := []Range{{11, 20}, {21, 30}}; !slices.Equal(ranges(h), want) || len(names(t, h.dir)) != len(want) {
		t.Errorf("got %v, folder %v, want %v", ranges(h), names(t, h.dir), want)
	}
}
