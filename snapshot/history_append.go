package snapshot

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/orchd/orchd/api"
)

// stretch is a range without a gap that waits in memory.
type stretch struct {
	Range
	chunks [][]Change // in order, none of them empty; what is in them is not altered any more
}

// newStretch is the empty stretch behind an index.
func newStretch(end uint64) *stretch { return &stretch{Range: Range{end + 1, end}} }

// Append extends what is covered to the index to. changes are those of the
// entries behind End, in order; what lies at or before End is dropped, so a
// replay may repeat. Readers see them at once. It waits for the disk when
// FlushBytes wait already. After an error nothing was taken.
func (h *History) Append(to uint64, changes []Change) error {
	if err := h.makeRoom(); err != nil {
		return fmt.Errorf("append changes up to %d: the disk does not take those before: %w", to, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errHistoryClosed
	}
	fresh, size, err := canonical(Range{h.endLocked() + 1, to}, changes)
	if err != nil {
		return fmt.Errorf("append changes up to %d: %w", to, err)
	}
	if to <= h.endLocked() {
		return nil
	}
	last := h.waiting[len(h.waiting)-1]
	if last.To = to; len(fresh) > 0 {
		last.chunks = append(last.chunks, fresh)
	}
	h.held += size
	h.movedLocked()
	if h.held >= h.FlushBytes/2 && h.failing == nil { // so that the other half can fill while this one is written
		ask(h.flushes)
	}
	return nil
}

// canonical gives a copy of those changes that lie in r, as they would be read
// from a file, and about how many bytes they take.
func canonical(r Range, changes []Change) (fresh []Change, size int, err error) {
	fresh = slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Index < r.From })
	var last api.Position
	for i := range fresh {
		c := &fresh[i]
		switch {
		case !last.Before(c.Position()):
			return nil, 0, fmt.Errorf("change %v comes behind change %v", c.Position(), last)
		case c.Index > r.To:
			return nil, 0, fmt.Errorf("change %v lies beyond", c.Position())
		}
		if err := c.check(); err != nil {
			return nil, 0, err
		}
		if !c.Time.IsZero() {
			c.Time = c.Time.Truncate(time.Microsecond).UTC()
		}
		last = c.Position()
		size += c.size()
	}
	return fresh, size, nil
}

// makeRoom flushes if as much waits as may wait. While the disk fails it does
// not try: that is done every FlushEvery.
func (h *History) makeRoom() error {
	h.mu.Lock()
	full, failing := h.held >= h.FlushBytes, h.failing
	h.mu.Unlock()
	switch {
	case !full:
		return nil
	case failing != nil:
		return failing
	}
	return h.Flush()
}

// Skip is told that the state was replaced by that of index to: what lies
// between End and it is a gap. If to is not behind End nothing happens.
func (h *History) Skip(to uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errHistoryClosed
	}
	if to <= h.endLocked() {
		return nil
	}
	if last := len(h.waiting) - 1; h.waiting[last].empty() {
		h.waiting = h.waiting[:last]
	}
	h.waiting = append(h.waiting, newStretch(to))
	h.movedLocked()
	ask(h.flushes) // for OnDurable
	return nil
}

// movedLocked tells readers and those that flush that the end has moved.
func (h *History) movedLocked() {
	close(h.watch)
	h.watch = make(chan struct{})
	h.start.Do(func() {
		h.running.Go(h.flushInTime)
		h.running.Go(h.mergeInTime)
	})
}

// flushInTime flushes every FlushEvery and when it is asked to, until Close.
func (h *History) flushInTime() {
	tick := time.NewTicker(h.FlushEvery)
	defer tick.Stop()
	said := false
	for {
		select {
		case <-h.closing:
			return
		case <-tick.C:
		case <-h.flushes:
		}
		err := h.Flush()
		if err != nil && !said {
			h.log.Warn("changes cannot be written; they wait in memory as long as there is room", "dir", h.dir, "err", err)
		}
		said = err != nil
	}
}

// Flush puts everything that was appended before it on disk.
func (h *History) Flush() error {
	h.settling.Lock()
	defer h.settling.Unlock()
	err := h.flush()
	h.mu.Lock()
	h.failing = err
	h.mu.Unlock()
	return err
}

// flush writes one file for each stretch that waits, oldest first.
func (h *History) flush() error {
	for {
		h.report()
		h.mu.Lock()
		s := *h.waiting[0]
		h.mu.Unlock()
		if s.empty() {
			return nil
		}
		f, err := h.writeStretch(s)
		if err != nil {
			return fmt.Errorf("write changes %v: %w", s.Range, err)
		}
		h.flushed(s, f)
		ask(h.merges)
	}
}

// report calls OnDurable's function if there is something new to tell.
func (h *History) report() {
	if d := h.Durable(); d > h.reported {
		h.reported = d
		if h.onDurable != nil {
			h.onDurable(d)
		}
	}
}

// writeStretch writes a stretch as a file.
func (h *History) writeStretch(s stretch) (*changeFile, error) {
	d, err := h.newDraft()
	if err != nil {
		return nil, err
	}
	for c := range s.behind(api.Position{}) {
		if err := d.write(c); err != nil {
			return nil, errors.Join(err, d.discard())
		}
	}
	f, err := d.finish(s.Range)
	if err == nil {
		err = h.place(f, d)
	}
	if err != nil {
		return nil, errors.Join(err, d.discard())
	}
	return f, nil
}

// flushed takes the oldest stretch as it was, which is in a file now, out of memory.
func (h *History) flushed(s stretch, f *changeFile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.replaceLocked(nil, f)
	rest := h.waiting[0]
	rest.From, rest.chunks = s.To+1, slices.Clone(rest.chunks[len(s.chunks):])
	if rest.empty() && len(h.waiting) > 1 {
		h.waiting = h.waiting[1:]
	}
	for c := range s.behind(api.Position{}) {
		h.held -= c.size()
	}
}

// behind gives the changes of the stretch that lie behind a position.
func (s *stretch) behind(after api.Position) iter.Seq2[*Change, error] {
	return func(yield func(*Change, error) bool) {
		first := sort.Search(len(s.chunks), func(i int) bool {
			chunk := s.chunks[i]
			return after.Before(chunk[len(chunk)-1].Position())
		})
		for _, chunk := range s.chunks[first:] {
			for i := range chunk {
				if c := &chunk[i]; after.Before(c.Position()) && !yield(c, nil) {
					return
				}
			}
		}
	}
}
