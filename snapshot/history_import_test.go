package snapshot

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// TestImportFillsGaps: all of one, a part, several at once, and what is older than all.
func TestImportFillsGaps(t *testing.T) {
	for name, c := range map[string]struct {
		imports []Range
		gaps    []Range
	}{
		"exactly":       {[]Range{{21, 29}}, []Range{{41, 49}}},
		"first part":    {[]Range{{21, 24}}, []Range{{25, 29}, {41, 49}}},
		"last part":     {[]Range{{25, 29}}, []Range{{21, 24}, {41, 49}}},
		"middle":        {[]Range{{24, 25}}, []Range{{21, 23}, {26, 29}, {41, 49}}},
		"overlapping":   {[]Range{{15, 25}, {23, 35}}, []Range{{41, 49}}},
		"both":          {[]Range{{15, 55}}, nil},
		"before all":    {[]Range{{1, 9}}, []Range{{21, 29}, {41, 49}}},
		"nothing":       {[]Range{{12, 18}}, []Range{{21, 29}, {41, 49}}},
		"into memory":   {[]Range{{45, 60}}, []Range{{21, 29}, {41, 44}}},
		"quiet entries": {[]Range{{21, 21}, {28, 28}}, []Range{{22, 27}, {29, 29}, {41, 49}}}, // which changed nothing
		"some, again":   {[]Range{{24, 25}, {21, 29}, {21, 29}}, []Range{{41, 49}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h := historyOf(t, dir, Range{10, 20}, Range{30, 40})
			if err := errors.Join(h.Skip(49), h.Append(60, truths(Range{50, 60}))); err != nil {
				t.Fatal(err)
			}
			for _, r := range c.imports {
				if err := h.Import(r, given(truths(r))); err != nil {
					t.Fatal(err)
				}
			}
			if h.Durable() != 60 {
				t.Errorf("got durable %d: a crash would leave what was filled and lose what came before", h.Durable())
			}
			if err := h.Flush(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if gaps := h.Gaps(); !slices.Equal(gaps, c.gaps) {
					t.Errorf("got gaps %v, want %v", gaps, c.gaps)
				}
				for _, r := range ranges(h) {
					expect(t, h, api.After(r.From-1), r.To)
				}
				h = openTestHistory(t, dir)
			}
		})
	}
}

// TestImportThroughAFile is how peers do it.
func TestImportThroughAFile(t *testing.T) {
	from := historyOf(t, t.TempDir(), Range{1, 30}, Range{31, 50})
	var file bytes.Buffer
	if _, err := WriteChanges(&file, from.Changes(api.After(9), 39)); err != nil {
		t.Fatal(err)
	}
	to := historyOf(t, t.TempDir(), Range{1, 9}, Range{40, 50})
	if err := to.Import(Range{10, 39}, ReadChanges(bytes.NewReader(file.Bytes()), int64(file.Len()))); err != nil {
		t.Fatal(err)
	}
	expect(t, to, api.Position{}, 50)
}

func TestImportRefuses(t *testing.T) {
	broken := errors.New("broken")
	r := Range{11, 19}
	good := truths(r)
	for want, c := range map[string]struct {
		r       Range
		changes func(func(*Change, error) bool)
	}{
		"lies outside": {r, given(truths(Range{11, 20}))},
		"9.1 lies":     {r, given(changesOf(9, 1))},
		"comes behind": {r, given(append(slices.Clone(good), good[0]))},
		"not UTF-8":    {r, given([]Change{{Index: 12, N: 1, Key: "\xff"}})},
		"broken":       {r, func(yield func(*Change, error) bool) { _ = yield(&good[0], nil) && yield(nil, broken) }},
		"up to 30":     {Range{25, 31}, given(nil)},
		"no range":     {Range{0, 5}, given(nil)},
		"19-18":        {Range{19, 18}, given(nil)},
	} {
		dir := t.TempDir()
		h := historyOf(t, dir, Range{1, 10}, Range{20, 30})
		if err := h.Import(c.r, c.changes); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
		if gaps := h.Gaps(); !slices.Equal(gaps, []Range{r}) || len(names(t, dir)) != 2 {
			t.Errorf("%s: got gaps %v, folder %v", want, gaps, names(t, dir))
		}
	}
}

// TestImportKeepsWhatItHas: what came before a cut stays, so that a long import gets on.
//
//race:out
func TestImportKeepsWhatItHas(t *testing.T) {
	var changes []Change
	for index := uint64(1); index <= 50; index++ {
		c := changesOf(index, 2)
		c[0].Time = timeOf(1).AddDate(0, 0, int(index))
		c[1].Time = c[0].Time.Add(20 * time.Hour) // a day is full in the middle of an entry
		changes = append(changes, c...)
	}
	h := openTestHistory(t, t.TempDir())
	if err := h.Skip(60); err != nil {
		t.Fatal(err)
	}
	cut := errors.New("cut")
	err := h.Import(Range{1, 60}, func(yield func(*Change, error) bool) {
		for i := range 61 { // 30 entries and half of another
			if !yield(&changes[i], nil) {
				return
			}
		}
		yield(nil, cut)
	})
	files := h.Files()
	if !errors.Is(err, cut) || len(files) == 0 || files[len(files)-1].To >= 31 || files[len(files)-1].To < 28 {
		t.Fatalf("got %v, files %v", err, files)
	}
	for _, f := range files {
		if f.Until.Sub(f.Since) > 2*mergedSpan {
			t.Errorf("%s spans %v: it could not be deleted in time", f.Name, f.Until.Sub(f.Since))
		}
	}
	if err := h.Import(Range{1, 60}, given(changes)); err != nil {
		t.Fatal(err)
	}
	for index := range uint64(50) { // from each on: no entry is in two files
		got, err := collect(h.Changes(api.After(index), 60))
		if diff := differ(got, changes[2*index:]); err != nil || diff != "" {
			t.Errorf("behind %d: %s, %v", index, diff, err)
		}
	}
}

// TestImportWaitsForNobody: a peer that sends slowly holds nothing up.
func TestImportWaitsForNobody(t *testing.T) {
	h := historyOf(t, t.TempDir(), Range{1, 10}, Range{20, 30})
	err := h.Import(Range{11, 19}, func(yield func(*Change, error) bool) {
		for _, c := range truths(Range{11, 19}) {
			next := h.End() + 1
			if err := errors.Join(h.Append(next, truth(next)), h.Flush()); err != nil {
				t.Error(err)
			}
			if _, err := h.Retire(time.Time{}); err != nil {
				t.Error(err)
			}
			if !yield(&c, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, h, api.Position{}, h.End())
}
