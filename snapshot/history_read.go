package snapshot

import (
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/orchd/orchd/api"
)

// ErrMissing says that changes are not there: they were deleted, were never
// here, or are damaged.
type ErrMissing struct{ Range }

func (e ErrMissing) Error() string {
	return fmt.Sprintf("the changes of entries %d to %d are not kept here", e.From, e.To)
}

// Changes gives the changes behind after up to and including those of the entry
// at to, or at End if that is less, in order. What it gives is shared and not to
// be altered. Where changes are missing it ends with an ErrMissing.
func (h *History) Changes(after api.Position, to uint64) iter.Seq2[*Change, error] {
	return func(yield func(*Change, error) bool) {
		to := min(to, h.End())
		for at := after; ; {
			next := following(at)
			if next == 0 || next > to {
				return
			}
			s, err := h.source(Range{next, to})
			if errors.Is(err, errGone) {
				continue // look again
			}
			if err != nil {
				yield(nil, err)
				return
			}
			more, err := s.give(&at, to, yield)
			if err != nil && s.file != nil && h.spoilt(s.file) {
				continue
			}
			if err != nil {
				yield(nil, err)
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// following is the first entry that may have changes behind a position; 0 if there is none.
func following(at api.Position) uint64 {
	if at.N == math.MaxUint64 {
		return at.Index + 1
	}
	return max(at.Index, 1)
}

// changeSource gives changes that lie together in a file or in memory.
type changeSource struct {
	to    uint64      // what it covers ends there
	file  *changeFile // nil: they are in memory
	each  func(after api.Position) iter.Seq2[*Change, error]
	close func() error
}

// give yields what lies behind a position up to an index, moves the position along, and
// closes the source. It tells whether to go on with the next.
func (s *changeSource) give(at *api.Position, to uint64, yield func(*Change, error) bool) (more bool, err error) {
	defer s.close()
	for c, err := range s.each(*at) {
		if err != nil {
			return false, err
		}
		if c.Index > to {
			return false, nil
		}
		*at = c.Position()
		if !yield(c, nil) {
			return false, nil
		}
	}
	*at = api.After(s.to)
	return true, nil
}

// source opens what covers the first index of r; ErrMissing if nothing does,
// errGone if what did is gone meanwhile.
func (h *History) source(r Range) (*changeSource, error) {
	h.mu.Lock()
	f := h.fileLocked(r.From)
	s, missing := h.waitingLocked(r)
	h.mu.Unlock()
	switch {
	case f != nil:
		return h.openFile(f)
	case s != nil:
		return &changeSource{s.To, nil, s.behind, func() error { return nil }}, nil
	}
	return nil, ErrMissing{missing}
}

// waitingLocked gives the stretch in memory that covers the first index of r as
// it is now, or else how much of r is missing from there on.
func (h *History) waitingLocked(r Range) (*stretch, Range) {
	for _, s := range h.waiting {
		if s.has(r.From) {
			now := *s
			return &now, Range{}
		}
	}
	for _, c := range h.coveredLocked() {
		if c.From > r.From {
			return nil, Range{r.From, min(r.To, c.From-1)}
		}
	}
	return nil, r
}
