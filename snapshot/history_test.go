package snapshot

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
)

func TestHistoryReadsFilesAndMemoryAsOne(t *testing.T) {
	dir := t.TempDir()
	h := historyOf(t, dir, Range{1, 10}, Range{11, 12})
	appendRange(t, h, Range{13, 20})
	for range 2 {
		for index := uint64(0); index <= 20; index++ {
			for _, n := range []uint64{0, 1, 2, math.MaxUint64} {
				expect(t, h, api.Position{Index: index, N: n}, 20)
				expect(t, h, api.Position{Index: 3, N: n}, index)
			}
		}
		if h.End() != 20 || h.Oldest() != 1 || len(h.Gaps()) > 0 {
			t.Errorf("got end %d, oldest %d, gaps %v, want 20, 1, none", h.End(), h.Oldest(), h.Gaps())
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = openTestHistory(t, dir)
	}
}

func TestHistoryEndsAtItsEnd(t *testing.T) {
	h := historyOf(t, t.TempDir(), Range{1, 10})
	for _, after := range []api.Position{{}, {Index: 4, N: 1}, api.After(10), api.After(11), api.After(math.MaxUint64)} {
		got, err := collect(h.Changes(after, math.MaxUint64))
		want := slices.DeleteFunc(truths(Range{1, 10}), func(c Change) bool { return !after.Before(c.Position()) })
		if diff := differ(got, want); err != nil || diff != "" {
			t.Errorf("behind %v: %s, %v", after, diff, err)
		}
	}
}

func TestHistoryTakesAReplay(t *testing.T) {
	h := historyOf(t, t.TempDir(), Range{1, 10})
	if err := h.Append(8, truths(Range{3, 8})); err != nil {
		t.Error(err)
	}
	if err := h.Append(15, truths(Range{3, 15})); err != nil {
		t.Error(err)
	}
	expect(t, h, api.Position{}, 15)
	if h.End() != 15 || h.Durable() != 10 {
		t.Errorf("got end %d, durable %d, want 15, 10", h.End(), h.Durable())
	}
}

func TestAppendRefuses(t *testing.T) {
	h := openTestHistory(t, t.TempDir())
	two := changesOf(2, 2)
	for want, bad := range map[string][]Change{
		"2.2 comes behind change 2.2": {two[1], two[1]},
		"2.1 comes behind change 2.2": {two[1], two[0]},
		"change 4.1 lies beyond":      changesOf(4, 1),
		"is not UTF-8":                {{Index: 1, N: 1, Key: "\xff"}},
		"the year 12000":              {{Index: 1, N: 1, Time: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"more than":                   {{Index: 1, N: 1, Value: make([]byte, maxChange)}},
	} {
		if err := h.Append(3, bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if h.End() != 0 {
		t.Errorf("got end %d: something was taken", h.End())
	}
}

// TestAppendKeepsWhatItWasGiven: neither the caller's slice nor its clock's precision shows later.
func TestAppendKeepsWhatItWasGiven(t *testing.T) {
	h := openTestHistory(t, t.TempDir())
	cs := changesOf(1, 1)
	at := cs[0].Time
	cs[0].Time = at.Add(999).In(time.FixedZone("elsewhere", 3600))
	if err := h.Append(1, cs); err != nil {
		t.Fatal(err)
	}
	cs[0].Key = "altered"
	for range 2 {
		got, err := collect(h.Changes(api.Position{}, 1))
		if err != nil || len(got) != 1 || got[0].Key != "key-0" || got[0].Time != at {
			t.Errorf("got %s, %v", show(got), err)
		}
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHistoryCoversWhatChangedNothing: a quiet stretch is no gap, on disk neither.
func TestHistoryCoversWhatChangedNothing(t *testing.T) {
	dir := t.TempDir()
	h := openTestHistory(t, dir)
	if err := errors.Join(h.Append(7, nil), h.Flush(), h.Append(9, nil), h.Close()); err != nil {
		t.Fatal(err)
	}
	h = openTestHistory(t, dir)
	got, err := collect(h.Changes(api.Position{}, 9))
	if err != nil || len(got) > 0 || h.End() != 9 || h.Oldest() != 1 {
		t.Errorf("got %s, %v, end %d, oldest %d", show(got), err, h.End(), h.Oldest())
	}
	if want := []Range{{1, 7}, {8, 9}}; !slices.Equal(ranges(h), want) {
		t.Errorf("got files %v, want %v", ranges(h), want)
	}
}

func TestHistorySkips(t *testing.T) {
	dir := t.TempDir()
	h := openIdle(t, dir)
	if err := h.Skip(100); err != nil {
		t.Fatal(err)
	}
	if h.End() != 100 || h.Oldest() != 101 || h.Durable() != 100 || len(h.Gaps()) > 0 {
		t.Errorf("got end %d, oldest %d, durable %d, gaps %v", h.End(), h.Oldest(), h.Durable(), h.Gaps())
	}
	appendRange(t, h, Range{101, 110})
	if err := errors.Join(h.Skip(105), h.Skip(120), h.Skip(130)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{100, 130} { // 101 to 110 wait at first
		if d := h.Durable(); d != want {
			t.Errorf("got durable %d, want %d", d, want)
		}
		if err := h.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	appendRange(t, h, Range{131, 140})
	for range 2 {
		if gaps, want := h.Gaps(), []Range{{111, 130}}; !slices.Equal(gaps, want) || h.Oldest() != 131 || h.End() != 140 {
			t.Errorf("got gaps %v, oldest %d, end %d", gaps, h.Oldest(), h.End())
		}
		expect(t, h, api.After(100), 110)
		expect(t, h, api.After(130), 140)
		for after, want := range map[uint64]Range{0: {1, 100}, 50: {51, 100}, 108: {111, 130}, 120: {121, 130}} {
			_, err := collect(h.Changes(api.After(after), 140))
			if missing, ok := errors.AsType[ErrMissing](err); !ok || missing.Range != want {
				t.Errorf("behind %d: got %v, want %v missing", after, err, want)
			}
		}
		_, err := collect(h.Changes(api.After(10), 15))
		if missing, ok := errors.AsType[ErrMissing](err); !ok || missing.Range != (Range{11, 15}) {
			t.Errorf("got %v, want 11-15 missing", err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = openTestHistory(t, dir)
	}
}

// TestHistoryTellsWhatIsDurable: in order, and nothing that is not.
func TestHistoryTellsWhatIsDurable(t *testing.T) {
	h := openIdle(t, t.TempDir())
	var told []uint64
	h.OnDurable(func(index uint64) {
		if index != h.Durable() {
			t.Errorf("told %d, durable is %d", index, h.Durable())
		}
		told = append(told, index)
	})
	appendRange(t, h, Range{1, 10})
	if err := errors.Join(h.Flush(), h.Flush(), h.Skip(20)); err != nil {
		t.Fatal(err)
	}
	appendRange(t, h, Range{21, 22})
	if err := errors.Join(h.Skip(30), h.Close()); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{10, 20, 30}; !slices.Equal(told, want) {
		t.Errorf("got %v, want %v", told, want)
	}
}

// TestSkipTellsWhatIsDurable: nothing waits for the disk, so there is nothing to wait for.
func TestSkipTellsWhatIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openTestHistory(t, t.TempDir())
		var told []uint64
		h.OnDurable(func(index uint64) { told = append(told, index) })
		if err := h.Skip(100); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []uint64{100}; !slices.Equal(told, want) {
			t.Errorf("got %v, want %v", told, want)
		}
		h.Close()
	})
}

func TestHistoryFlushesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openOn(t, t.TempDir(), &testDisk{})
		h.FlushEvery = flushEvery
		appendRange(t, h, Range{1, 3})
		time.Sleep(flushEvery)
		synctest.Wait()
		if h.Durable() != 3 {
			t.Errorf("got durable %d after %v, want 3", h.Durable(), flushEvery)
		}
		h.Close()
	})
}

// TestHistoryHoldsLittle: what waits is bounded however fast changes come.
func TestHistoryHoldsLittle(t *testing.T) {
	h := openTestHistory(t, t.TempDir())
	h.FlushBytes = 10_000
	for index := uint64(1); index <= 1000; index++ {
		if err := h.Append(index, truth(index)); err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		held := h.held
		h.mu.Unlock()
		if held > h.FlushBytes+2000 {
			t.Fatalf("%d bytes wait, want at most %d and an entry", held, h.FlushBytes)
		}
	}
	expect(t, h, api.Position{}, 1000)
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	if h.held != 0 {
		t.Errorf("%d bytes are held when nothing waits", h.held)
	}
}

func TestHistoryWatch(t *testing.T) {
	h := openTestHistory(t, t.TempDir())
	for name, move := range map[string]func() error{
		"append": func() error { return h.Append(h.End()+1, nil) },
		"skip":   func() error { return h.Skip(h.End() + 1) },
	} {
		watch := h.Watch()
		select {
		case <-watch:
			t.Errorf("%s: told before", name)
		default:
		}
		if err := move(); err != nil {
			t.Fatal(err)
		}
		<-watch
	}
}

func TestHistoryFiles(t *testing.T) {
	dir := t.TempDir()
	h := historyOf(t, dir, Range{1, 10}, Range{11, 20})
	if err := errors.Join(h.Append(21, nil), h.Flush()); err != nil {
		t.Fatal(err)
	}
	first := truths(Range{1, 10})
	for range 2 {
		files := h.Files()
		if len(files) != 3 {
			t.Fatalf("got %v", files)
		}
		want := HistoryFile{Range: Range{1, 10}, Rows: int64(len(first)), Bytes: files[0].Bytes,
			Since: first[0].Time, Until: first[len(first)-1].Time, Name: "000000000000001-000000000000010.parquet"}
		if !reflect.DeepEqual(files[0], want) || files[0].Bytes < 100 {
			t.Errorf("got %#v, want %#v", files[0], want)
		}
		if f := files[2]; f.Rows != 0 || !f.Since.IsZero() || !f.Until.IsZero() {
			t.Errorf("a file without changes: got %#v", f)
		}
		h = openTestHistory(t, dir)
	}
}

func TestHistoryCloses(t *testing.T) {
	h := historyOf(t, t.TempDir(), Range{1, 10})
	appendRange(t, h, Range{11, 12})
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	if h.Durable() != 12 {
		t.Errorf("got durable %d, want 12", h.Durable())
	}
	if err := errors.Join(h.Append(13, nil)); !errors.Is(err, errHistoryClosed) {
		t.Errorf("append: got %v", err)
	}
	if err := h.Skip(13); !errors.Is(err, errHistoryClosed) {
		t.Errorf("skip: got %v", err)
	}
	expect(t, h, api.Position{}, 12)
}
