package snapshot

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
)

// TestHistoryOnAFullDisk: at whatever step the disk fails, what was taken can be
// read, nothing is taken any more once too much waits, and all is written when it works again.
func TestHistoryOnAFullDisk(t *testing.T) {
	for _, step := range []string{"create", "write", "sync file", "rename", "sync"} {
		t.Run(step, func(t *testing.T) {
			dir, d := t.TempDir(), &testDisk{}
			h := openOn(t, dir, d)
			h.FlushBytes = 6000
			appendRange(t, h, Range{1, 5})
			d.fail(func(s, _ string) error {
				if s == step {
					return syscall.ENOSPC
				}
				return nil
			})
			if err := h.Flush(); !errors.Is(err, syscall.ENOSPC) || h.Durable() != 0 {
				t.Fatalf("flush: got %v, durable %d", err, h.Durable())
			}
			var err error
			end := uint64(5)
			for ; err == nil; end++ {
				err = h.Append(end+1, truth(end+1))
			}
			if end--; !errors.Is(err, syscall.ENOSPC) || h.End() != end || end < 10 {
				t.Fatalf("got %v at %d, end %d", err, end, h.End())
			}
			expect(t, h, api.Position{}, end)
			d.fail(nil)
			if err := h.Flush(); err != nil {
				t.Fatal(err)
			}
			appendRange(t, h, Range{end + 1, end + 20})
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			for _, name := range names(t, dir) {
				if _, ok := changesRange(name); !ok {
					t.Errorf("%s stays", name)
				}
			}
			expect(t, openTestHistory(t, dir), api.Position{}, end+20)
		})
	}
}

// TestHistoryTriesAgain: without being asked, while it is full and the disk works again.
func TestHistoryTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testDisk{}
		h := openOn(t, t.TempDir(), d)
		h.FlushEvery, h.FlushBytes = flushEvery, 1000
		tries := 0
		d.fail(func(step, _ string) error {
			if step == "create" {
				tries++
			}
			return syscall.ENOSPC
		})
		for h.Append(h.End()+1, changesOf(h.End()+1, 1)) == nil {
		}
		end := h.End()
		synctest.Wait()
		tries = 0
		for range 1000 {
			if err := h.Append(end+1, nil); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("got %v", err)
			}
		}
		if tries > 0 {
			t.Errorf("a full disk was tried %d times within no time", tries)
		}
		d.fail(nil)
		time.Sleep(flushEvery)
		synctest.Wait()
		if h.Durable() != end {
			t.Errorf("got durable %d, want %d", h.Durable(), end)
		}
		if err := h.Append(end+1, nil); err != nil {
			t.Error(err)
		}
		h.Close()
	})
}

// TestMergeOnAFullDisk: a merge that fails leaves everything as it was.
func TestMergeOnAFullDisk(t *testing.T) {
	for _, step := range []string{"create", "write", "sync file", "rename", "sync", "remove"} {
		t.Run(step, func(t *testing.T) {
			dir, d := t.TempDir(), &testDisk{}
			h := openOn(t, dir, d)
			h.start.Do(func() {}) // merges come when the test says so
			for index := uint64(1); index <= mergedFiles; index++ {
				if err := errors.Join(h.Append(index, truth(index)), h.Flush()); err != nil {
					t.Fatal(err)
				}
			}
			d.fail(func(s, _ string) error {
				if s == step {
					return syscall.ENOSPC
				}
				return nil
			})
			if err := h.mergeAll(); errors.Is(err, syscall.ENOSPC) == (step == "remove") { // what stays is only reported
				t.Errorf("got %v", err)
			}
			expect(t, h, api.Position{}, mergedFiles)
			d.fail(nil)
			if err := h.mergeAll(); err != nil || len(h.Files()) != 1 {
				t.Errorf("got %v, files %v", err, h.Files())
			}
			for range 2 {
				expect(t, h, api.Position{}, mergedFiles)
				h = openTestHistory(t, dir)
			}
			if len(names(t, dir)) != 1 {
				t.Errorf("got %v", names(t, dir))
			}
		})
	}
}

// TestImportOnAFullDisk: what could not be filled stays a gap.
func TestImportOnAFullDisk(t *testing.T) {
	for _, step := range []string{"create", "write", "sync file", "rename", "sync"} {
		dir := t.TempDir()
		historyOf(t, dir, Range{1, 5}, Range{11, 15}).Close()
		d := &testDisk{}
		h := openOn(t, dir, d)
		d.fail(func(s, _ string) error {
			if s == step {
				return syscall.ENOSPC
			}
			return nil
		})
		if err := h.Import(Range{6, 10}, given(truths(Range{6, 10}))); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: got %v", step, err)
		}
		if missing(t, h, api.Position{}) != (Range{6, 10}) || len(names(t, dir)) != 2 {
			t.Errorf("%s: got gaps %v, folder %v", step, h.Gaps(), names(t, dir))
		}
	}
}
