package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Files are merged with their neighbours until they have one of these.
const (
	mergedBytes = 16 << 20
	mergedRows  = 1 << 18
	mergedSpan  = 24 * time.Hour // between the first change and the last, so that old ones can be deleted in time
)

// mergedFiles is how many files of one size become one of the next.
const mergedFiles = 8

// sizes are where the next size begins. A change is written again at most once
// for each of them, and of each at most mergedFiles wait.
var sizes = [...]int64{32 << 10, 256 << 10, 2 << 20, mergedBytes / 2}

// size is how many of sizes the file has reached.
func (f *changeFile) size() (n int) {
	for n < len(sizes) && f.Bytes >= sizes[n] {
		n++
	}
	if f.Rows >= mergedRows/2 {
		n = len(sizes)
	}
	return n
}

// mergeInTime merges until nothing is left to merge, whenever it is asked to, until Close.
func (h *History) mergeInTime() {
	said := false
	for {
		select {
		case <-h.closing:
			return
		case <-h.merges:
		}
		err := modest(h.mergeAll)
		if err != nil && !said {
			h.log.Warn("files of changes cannot be merged; they stay as they are", "dir", h.dir, "err", err)
		}
		said = err != nil
	}
}

// mergeAll merges until nothing is left to merge, or Close.
func (h *History) mergeAll() error {
	for {
		h.mu.Lock()
		files := planMerge(h.files)
		h.mu.Unlock()
		if len(files) == 0 {
			return nil
		}
		if err := h.merge(files); err != nil {
			return err
		}
		select {
		case <-h.closing:
			return nil
		default:
		}
	}
}

// planMerge picks neighbours that should become one file, the small ones first;
// none if all is well.
func planMerge(files []*changeFile) []*changeFile {
	for size := range sizes {
		from := 0
		var run mergeRun
		for i, f := range files {
			switch {
			case f.size() > size:
				run, from = mergeRun{}, i+1
				continue
			case i > from && files[i-1].To+1 != f.From: // a gap
				run, from = mergeRun{}, i
			case i > from && !run.room(f):
				if i-from > 1 {
					return files[from:i]
				}
				run, from = mergeRun{}, i
			}
			if run.add(f); f.size() == size {
				run.equal++
			}
			if run.equal == mergedFiles {
				return files[from : i+1]
			}
		}
	}
	return nil
}

// mergeRun is what neighbours have together.
type mergeRun struct {
	bytes, rows  int64
	since, until time.Time
	equal        int // files of the size that is looked at
}

// room tells whether f can be added.
func (m *mergeRun) room(f *changeFile) bool {
	with := *m
	with.add(f)
	return with.bytes <= mergedBytes && with.rows <= mergedRows && with.until.Sub(with.since) <= mergedSpan
}

func (m *mergeRun) add(f *changeFile) {
	m.bytes += f.Bytes
	m.rows += f.Rows
	if m.since.IsZero() {
		m.since = f.Since
	}
	if !f.Until.IsZero() {
		m.until = f.Until
	}
}

// merge makes one file of neighbours. If one of them is damaged or gone by then,
// nothing is made of it.
func (h *History) merge(files []*changeFile) error {
	r := Range{files[0].From, files[len(files)-1].To}
	d, err := h.newDraft()
	if err != nil {
		return fmt.Errorf("merge changes %v: %w", r, err)
	}
	var merged *changeFile
	err = h.copyAll(d, files)
	if err == nil {
		merged, err = d.finish(r)
	}
	if err == nil {
		err = h.exchange(files, merged, d)
	}
	if err != nil {
		err = errors.Join(err, d.discard())
	}
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("merge changes %v: %w", r, err)
	}
	return nil
}

// copyAll writes the changes of all files into one.
func (h *History) copyAll(d *changesDraft, files []*changeFile) error {
	for _, f := range files {
		whole, err := h.readWhole(f)
		if err == nil {
			err = d.take(whole)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exchange puts the merged file in the place of those that went into it. Until
// these are deleted there are two of each change on disk, and a start prefers the merged.
func (h *History) exchange(files []*changeFile, merged *changeFile, d *changesDraft) error {
	h.settling.Lock()
	defer h.settling.Unlock()
	if !h.keeps(files) {
		return errGone
	}
	if err := h.place(merged, d); err != nil {
		return err
	}
	h.mu.Lock()
	h.replaceLocked(files, merged)
	h.mu.Unlock()
	for _, f := range files {
		if err := h.remove(f); err != nil {
			h.log.Warn("file of changes was merged and cannot be deleted", "dir", h.dir, "file", f.Name, "err", err)
		}
	}
	return nil
}

// keeps tells whether all files are still of the history.
func (h *History) keeps(files []*changeFile) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range files {
		if !slices.Contains(h.files, f) {
			return false
		}
	}
	return true
}
