package snapshot

import (
	"errors"
	"fmt"
	"iter"
)

// Import fills what is missing of r with changes that another peer gave: all of
// r's that it has, in order, which is checked as far as it can be. What is there already is left
// as it is. When changes end with an error, what was filled before stays.
func (h *History) Import(r Range, changes iter.Seq2[*Change, error]) error {
	h.importing.Lock()
	defer h.importing.Unlock()
	if err := h.importRange(r, changes); err != nil {
		return fmt.Errorf("import changes %v: %w", r, err)
	}
	return nil
}

func (h *History) importRange(r Range, changes iter.Seq2[*Change, error]) (err error) {
	if end := h.End(); r.From == 0 || r.empty() || r.To > end {
		return fmt.Errorf("it is no range of those up to %d", end)
	}
	if err := h.Flush(); err != nil { // so that nothing is on disk before what came before it
		return err
	}
	h.mu.Lock()
	in := changeImport{history: h, missing: r.without(h.coveredLocked())}
	h.mu.Unlock()
	defer func() { err = errors.Join(err, in.discard()) }()
	for c, err := range inOrder(changes) {
		if err == nil && !r.has(c.Index) {
			err = fmt.Errorf("change %v lies outside", c.Position())
		}
		if err == nil {
			err = in.add(c)
		}
		if err != nil {
			return err
		}
	}
	return in.end()
}

// changeImport is a range being filled.
type changeImport struct {
	history *History
	missing []Range       // in order
	draft   *changesDraft // of the first of them; nil if none is begun
	last    uint64        // index of the last change written to it
}

// add writes a change if it is missing.
func (in *changeImport) add(c *Change) error {
	for len(in.missing) > 0 && in.missing[0].To < c.Index {
		if err := in.fill(in.missing[0].To); err != nil {
			return err
		}
	}
	if len(in.missing) == 0 || c.Index < in.missing[0].From {
		return nil
	}
	if err := c.check(); err != nil {
		return err
	}
	if in.draft != nil && c.Index > in.last && (in.draft.bytes() >= mergedBytes || c.Time.Sub(in.draft.since) > mergedSpan) {
		if err := in.fill(c.Index - 1); err != nil {
			return err
		}
	}
	if err := in.begin(); err != nil {
		return err
	}
	in.last = c.Index
	return in.draft.write(c)
}

// end fills what is still missing: nothing changed there.
func (in *changeImport) end() error {
	for len(in.missing) > 0 {
		if err := in.fill(in.missing[0].To); err != nil {
			return err
		}
	}
	return nil
}

// begin makes a file if there is none.
func (in *changeImport) begin() (err error) {
	if in.draft == nil {
		in.draft, err = in.history.newDraft()
	}
	return err
}

// fill ends the file, which covers what is missing up to an index.
func (in *changeImport) fill(to uint64) error {
	if err := in.begin(); err != nil {
		return err
	}
	first := &in.missing[0]
	f, err := in.draft.finish(Range{first.From, to})
	if err != nil {
		return err
	}
	if err := in.history.add(f, in.draft); err != nil {
		return err
	}
	in.draft = nil
	if first.From = to + 1; first.empty() {
		in.missing = in.missing[1:]
	}
	return nil
}

// discard removes a file that was begun and not filled.
func (in *changeImport) discard() error {
	if in.draft == nil {
		return nil
	}
	return in.draft.discard()
}

// add takes a finished file into the history.
func (h *History) add(f *changeFile, d *changesDraft) error {
	h.settling.Lock()
	defer h.settling.Unlock()
	if err := h.place(f, d); err != nil {
		return err
	}
	h.mu.Lock()
	h.replaceLocked(nil, f)
	h.mu.Unlock()
	ask(h.merges)
	return h.forgetFilled()
}
