package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Retire deletes the oldest files, as far as the last change of each was before
// a time; never the newest file. It gives the ranges that are gone.
func (h *History) Retire(before time.Time) ([]Range, error) {
	h.settling.Lock()
	defer h.settling.Unlock()
	h.mu.Lock()
	old := retired(h.files, before)
	h.files = slices.Clone(h.files[len(old):])
	h.mu.Unlock()
	if len(old) == 0 {
		return nil, nil
	}
	gone := make([]Range, len(old))
	var err error
	for i, f := range old {
		gone[i] = f.Range
		err = errors.Join(err, h.remove(f))
	}
	end := gone[len(gone)-1].To
	err = errors.Join(err, h.forget(func(r Range) bool { return r.To <= end }), h.disk.sync(h.dir))
	if err != nil {
		err = fmt.Errorf("delete changes before %v: %w", before, err)
	}
	return gone, err
}

// retired are the files to delete. One without changes goes with a later one.
func retired(files []*changeFile, before time.Time) []*changeFile {
	n := 0
	for i, f := range files[:max(len(files)-1, 0)] {
		if f.Until.IsZero() {
			continue
		}
		if !f.Until.Before(before) {
			break
		}
		n = i + 1
	}
	return files[:n]
}
