package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// verifiedAtOpen is how much of the newest files is read whole when a history is opened.
const verifiedAtOpen = 64 << 20

// scan finds the files, and makes order of what a crash has left.
func (h *History) scan() error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	if err := h.disk.sync(filepath.Dir(h.dir)); err != nil {
		return err
	}
	swept, err := sweep(h.dir, func(string) bool { return false })
	if len(swept) > 0 {
		h.log.Info("removed unfinished files of changes", "dir", h.dir, "names", swept)
	}
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := h.found(e); err != nil {
			return err
		}
	}
	if err := h.settle(); err != nil {
		return err
	}
	if err := h.verifyNewest(); err != nil {
		return err
	}
	return h.forgetFilled()
}

// found takes note of what lies in the folder.
func (h *History) found(e fs.DirEntry) error {
	if name, damaged := strings.CutSuffix(e.Name(), damagedSuffix); damaged {
		if r, ok := changesRange(name); ok {
			h.lost = append(h.lost, r)
		}
		return nil
	}
	r, ok := changesRange(e.Name())
	if !ok {
		return nil // not ours
	}
	f := &changeFile{HistoryFile: HistoryFile{Range: r, Name: e.Name()}}
	err := h.describe(f)
	if _, damaged := errors.AsType[errDamaged](err); damaged {
		h.rename(f, err)
		return nil
	}
	h.files = append(h.files, f)
	return err
}

// describe reads what the file says about itself.
func (h *History) describe(f *changeFile) error {
	in, err := os.Open(h.path(f))
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	label, rows, err := readLabel(in, info.Size())
	if err != nil {
		return damage(err)
	}
	if said := (Range{label.From, label.To}); said != f.Range {
		return errDamaged{fmt.Errorf("it says that it covers %v", said)}
	}
	f.Rows, f.Bytes, f.Since, f.Until = rows, info.Size(), label.Since, label.Until
	return nil
}

// settle leaves only files that do not overlap. A crash in a merge leaves the
// wide file beside those that went into it: if the wide one is whole these go.
func (h *History) settle() error {
	found := slices.SortedFunc(slices.Values(h.files), func(a, b *changeFile) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(b.To, a.To)) // the wider first
	})
	h.files = nil
	for len(found) > 0 {
		last := len(h.files) - 1
		if last < 0 || h.files[last].To < found[0].From {
			h.files, found = append(h.files, found[0]), found[1:]
			continue
		}
		out, why, err := h.narrower(h.files[last], found[0])
		if err != nil {
			return err
		}
		if out == found[0] {
			found = found[1:]
		} else {
			h.files = h.files[:last]
		}
		if why != nil {
			h.rename(out, why)
		} else if err := h.remove(out); err != nil {
			return err
		}
	}
	return nil
}

// narrower tells which of two files that overlap has to go, and, unless the other
// has all that it has, why.
func (h *History) narrower(a, b *changeFile) (out *changeFile, why, err error) {
	for _, f := range []*changeFile{a, b} {
		in, _, err := h.openWhole(f)
		if _, damaged := errors.AsType[errDamaged](err); damaged {
			return f, err, nil
		}
		if err != nil {
			return nil, nil, err
		}
		in.Close()
		if f == a && a.holds(b.Range) {
			return b, nil, nil
		}
	}
	if a.To-a.From < b.To-b.From {
		a, b = b, a
	}
	return b, fmt.Errorf("it overlaps %s, which is wider", a.Name), nil
}

// remove deletes a file that is off the list.
func (h *History) remove(f *changeFile) error {
	err := h.disk.remove(h.path(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// verifyNewest reads the newest files whole, so that End does not promise what
// the log could still give again.
func (h *History) verifyNewest() error {
	budget := int64(verifiedAtOpen)
	for i, f := range slices.Backward(h.files) {
		if budget -= f.Bytes; budget < 0 && i < len(h.files)-1 {
			break
		}
		in, _, err := h.openWhole(f)
		if _, damaged := errors.AsType[errDamaged](err); damaged {
			h.setAside(f, err)
			continue
		}
		if err != nil {
			return err
		}
		in.Close()
	}
	return nil
}

// forgetFilled deletes damaged files when all that they covered is there again.
func (h *History) forgetFilled() error {
	h.mu.Lock()
	covered := h.coveredLocked()
	h.mu.Unlock()
	return h.forget(func(r Range) bool { return len(r.without(covered)) == 0 })
}

// forget deletes those damaged files that f names.
func (h *History) forget(f func(Range) bool) (err error) {
	h.mu.Lock()
	var gone []Range
	h.lost = slices.DeleteFunc(h.lost, func(r Range) bool {
		if f(r) {
			gone = append(gone, r)
		}
		return f(r)
	})
	h.mu.Unlock()
	for _, r := range gone {
		if e := h.disk.remove(filepath.Join(h.dir, changesName(r)+damagedSuffix)); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
