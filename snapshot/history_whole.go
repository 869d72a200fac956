package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/orchd/orchd/api"
)

// errDamaged says that a file is not what was written.
type errDamaged struct{ error }

func (e errDamaged) Unwrap() error { return e.error }

var errMissing = errDamaged{errors.New("it is missing")}

// errGone says that a file is not one of the history any more.
var errGone = errors.New("the file was merged or deleted meanwhile")

// openFile opens a file and reads it whole if that was not done since it last
// changed. A damaged one is set aside, and then it is gone, too.
func (h *History) openFile(f *changeFile) (*changeSource, error) {
	in, size, err := h.openWhole(f)
	if err != nil {
		return nil, h.lose(f, err)
	}
	each := func(after api.Position) iter.Seq2[*Change, error] { return changesBehind(in, size, after) }
	return &changeSource{f.To, f, each, in.Close}, nil
}

// wholeFile is a file of changes in memory, where it matched its sum. What goes into another
// file without being looked at must not have been altered since it was read last.
type wholeFile struct {
	bytes        []byte
	since, until time.Time // of its first and last change
}

// readWhole reads a file into memory, whatever was known of it. A damaged one is set aside, and
// then it is gone, too.
func (h *History) readWhole(f *changeFile) (*wholeFile, error) {
	data, err := os.ReadFile(h.path(f))
	if err == nil {
		err = verifyChanges(bytes.NewReader(data), int64(len(data)))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = errMissing
	case err != nil:
		err = damage(err)
	}
	if err != nil {
		return nil, h.lose(f, err)
	}
	return &wholeFile{data, f.Since, f.Until}, nil
}

// lose sets a file aside if the error says that it is damaged: then it is gone.
func (h *History) lose(f *changeFile, err error) error {
	if _, damaged := errors.AsType[errDamaged](err); !damaged {
		return err
	}
	h.setAside(f, err)
	return errGone
}

// spoilt looks again at a file that could not be read to its end, though it was whole when it
// was opened or before. If it is damaged, or gone, what it covers is to be looked for again.
func (h *History) spoilt(f *changeFile) bool {
	f.doubt()
	in, _, err := h.openWhole(f)
	if err == nil {
		in.Close()
		return false
	}
	return errors.Is(h.lose(f, err), errGone)
}

// openWhole opens a file that matches its sum. If it does not, or is missing, the
// error is errDamaged.
func (h *History) openWhole(f *changeFile) (*os.File, int64, error) {
	in, err := os.Open(h.path(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, errMissing
	}
	if err != nil {
		return nil, 0, err
	}
	size, err := f.verify(in)
	if err != nil {
		return nil, 0, errors.Join(err, in.Close())
	}
	return in, size, nil
}

// verify compares the open file with its sum, unless it did when it was in the same state.
func (f *changeFile) verify(in *os.File) (size int64, err error) {
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	state, known := stateOf(info)
	f.mu.Lock()
	defer f.mu.Unlock()
	if known && f.whole == state {
		return info.Size(), nil
	}
	if err := verifyChanges(in, info.Size()); err != nil {
		return 0, damage(err)
	}
	if f.whole = state; !known {
		f.whole = fileState{}
	}
	return info.Size(), nil
}

// damage makes an errDamaged of what reading a file has shown, unless the
// system failed and the file may be whole.
func damage(err error) error {
	if no, ok := errors.AsType[syscall.Errno](err); ok && no != syscall.EIO {
		return err
	}
	return errDamaged{err}
}

// setAside takes a damaged file out of the history. It tells whether the file was
// in it: one that was merged or deleted meanwhile is missing and not damaged.
func (h *History) setAside(f *changeFile, why error) bool {
	h.settling.Lock()
	defer h.settling.Unlock()
	kept := h.drop(f)
	if kept {
		h.rename(f, why)
	}
	return kept
}

// drop takes a file off the list, and tells whether it was on it.
func (h *History) drop(f *changeFile) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(h.files), func(o *changeFile) bool { return o == f })
	kept := len(rest) < len(h.files)
	h.files = rest
	return kept
}

// rename gives a damaged file, which is off the list, a name under which nobody
// reads it, and which tells the next start that something is missing.
func (h *History) rename(f *changeFile, why error) {
	h.mu.Lock()
	h.lost = append(h.lost, f.Range)
	h.mu.Unlock()
	err := h.disk.rename(h.path(f), h.path(f)+damagedSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, h.disk.sync(h.dir))
	h.log.Warn("file of changes is damaged and set aside; what it covered is a gap", "dir", h.dir, "file", f.Name, "err", errors.Join(why, err))
}

// Verify reads all files again. What is damaged is set aside; it gives those ranges.
func (h *History) Verify(ctx context.Context) (damaged []Range, err error) {
	h.mu.Lock()
	files := h.files
	h.mu.Unlock()
	for _, f := range files {
		if ctx.Err() != nil {
			return damaged, ctx.Err()
		}
		f.doubt()
		in, _, err := h.openWhole(f)
		switch _, bad := errors.AsType[errDamaged](err); {
		case bad && h.setAside(f, err):
			damaged = append(damaged, f.Range)
		case err != nil && !bad:
			return damaged, err
		}
		if in != nil {
			in.Close()
		}
	}
	return damaged, nil
}

// doubt has the file read whole again when it is opened next.
func (f *changeFile) doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = fileState{}
}
