package snapshot

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// follower reads a history to its end, wherever that is, in pieces.
type follower struct {
	t       *testing.T
	h       *History
	rng     *rand.Rand
	retired *atomic.Uint64 // at most what is at or before it may be missing
	at      api.Position
	jumps   int
}

// follow reads up to the entry at last.
func (f *follower) follow(last uint64) {
	for f.at.Index < last {
		watch := f.h.Watch()
		if !f.read() {
			return
		}
		if f.at.Index < last {
			<-watch
		}
	}
}

// read reads what is there, in pieces of a random length.
func (f *follower) read() bool {
	for end := f.h.End(); ; {
		stop, n := f.rng.IntN(200), 0
		for c, err := range f.h.Changes(f.at, end) {
			if missing, ok := errors.AsType[ErrMissing](err); ok && missing.To <= f.retired.Load() {
				f.at = api.After(missing.To)
				f.jumps++
				break
			}
			if err != nil {
				f.t.Errorf("behind %v: %v", f.at, err)
				return false
			}
			if next := f.next(); spell(c) != spell(&next) {
				f.t.Errorf("behind %v: got %s, want %s", f.at, spell(c), spell(&next))
				return false
			}
			f.at = c.Position()
			if n++; n == stop {
				break
			}
		}
		if n < stop && f.nextIndex() > end {
			f.at = api.After(end)
			return true
		}
	}
}

// next is the change that follows, and nextIndex its index.
func (f *follower) next() Change {
	for index := max(f.at.Index, 1); ; index++ {
		for _, c := range truth(index) {
			if f.at.Before(c.Position()) {
				return c
			}
		}
	}
}

func (f *follower) nextIndex() uint64 { return f.next().Index }

// TestHistoryReadersMissNothing: while changes are appended, flushed, merged and
// deleted, everyone who reads gets each of them once and in order.
func TestHistoryReadersMissNothing(t *testing.T) {
	const last = 2000
	h := openTestHistory(t, t.TempDir())
	h.FlushBytes, h.FlushEvery = 6000, time.Millisecond
	var retired atomic.Uint64
	var running sync.WaitGroup
	for i := range uint64(4) {
		f := &follower{t: t, h: h, rng: rand.New(rand.NewPCG(i, 0)), retired: &retired}
		running.Go(func() { f.follow(last) })
	}
	for index := uint64(1); index <= last; index++ {
		if err := h.Append(index, truth(index)); err != nil {
			t.Fatal(err)
		}
		if index%500 == 0 {
			retired.Store(index - 400)
			if _, err := h.Retire(timeOf(index - 400)); err != nil {
				t.Error(err)
			}
		}
	}
	running.Wait()
	if n := len(h.Files()); n > 60 {
		t.Errorf("got %d files", n)
	}
}

// TestChangesGoOnWhenTheirFileGoes: in the middle of a file that is merged, or
// of memory that is flushed.
func TestChangesGoOnWhenTheirFileGoes(t *testing.T) {
	dir := t.TempDir()
	h := openTestHistory(t, dir)
	h.start.Do(func() {}) // merges come when the test says so
	for index := uint64(1); index <= 2*mergedFiles; index += 2 {
		if err := errors.Join(h.Append(index+1, truths(Range{index, index + 1})), h.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	const end = 2*mergedFiles + 10
	appendRange(t, h, Range{2*mergedFiles + 1, end})
	var got []*Change
	for c, err := range h.Changes(api.Position{}, end) {
		if err != nil {
			t.Fatal(err)
		}
		switch got = append(got, c); {
		case c.Index == 5:
			if err := h.mergeAll(); err != nil || len(h.Files()) != 1 {
				t.Fatalf("got %v, %d files", err, len(h.Files()))
			}
		case c.Index == end-6:
			if err := h.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := differ(got, truths(Range{1, end})); diff != "" {
		t.Error(diff)
	}
}

// TestChangesLooksAgain: a file that was found and merged before it was opened is no damage.
func TestChangesLooksAgain(t *testing.T) {
	dir := t.TempDir()
	h := historyOf(t, dir, Range{1, 10})
	h.mu.Lock()
	f := h.files[0]
	h.mu.Unlock()
	if !h.drop(f) {
		t.Fatal("it is not there")
	}
	if err := os.Remove(filepath.Join(dir, f.Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.openFile(f); !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
	if h.lost != nil {
		t.Errorf("%v is taken for damaged", h.lost)
	}
}
