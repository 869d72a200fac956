package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// errNothing is why a file is not mended when nobody could be asked.
var errNothing = errors.New("no other file is like it, and there is nobody to ask")

// Where a mended file comes from, as Reread.Source tells it.
const (
	fromFile   = "another file"
	fromMemory = "memory"
	fromPeer   = "another peer"
)

// state is the state in memory that may have what is bad in the snapshot of an index.
func (r *rereading) state(index uint64) (Content, bool) {
	if r.from.State == nil {
		return Content{}, false
	}
	return r.from.State(index)
}

// source is a place that may have a file as it should be.
type source struct {
	name  string
	write func(w io.Writer) error
}

// mend writes a bad file anew from the first source that has it. Only the end of ctx is an error.
func (r *rereading) mend(ctx context.Context, bad badFile) error {
	var why error
	for _, s := range r.sources(ctx, bad) {
		err := r.replace(bad, s)
		if err == nil {
			r.found[bad.found].Source = s.name
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		why = errors.Join(why, fmt.Errorf("from %s: %w", s.name, err))
	}
	r.found[bad.found].Why = cmp.Or(why, errNothing)
	return nil
}

// sources lists what to try, the nearest first.
func (r *rereading) sources(ctx context.Context, bad badFile) (out []source) {
	if path, known := r.whole[bad.SHA256]; known {
		open := func() (io.ReadCloser, error) { return os.Open(path) }
		out = append(out, source{fromFile, func(w io.Writer) error { return copyFrom(w, bad.Bytes, open) }})
	}
	if c, there := r.state(bad.index); there {
		out = append(out, source{fromMemory, func(w io.Writer) error { return c.writeAgain(w, bad.File) }})
	}
	if r.from.Fetch != nil {
		open := func() (io.ReadCloser, error) { return r.from.Fetch(ctx, bad.index, bad.Path) }
		out = append(out, source{fromPeer, func(w io.Writer) error { return copyFrom(w, bad.Bytes, open) }})
	}
	return out
}

// copyFrom copies at most a byte more than there should be.
func copyFrom(w io.Writer, size int64, open func() (io.ReadCloser, error)) error {
	in, err := open()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.LimitReader(in, size+1))
	return errors.Join(err, in.Close())
}

// replace puts a new file where the bad one is. Snapshots that shared the bad one share the new one.
func (r *rereading) replace(bad badFile, s source) error {
	d, err := r.bench()
	if err != nil {
		return err
	}
	to := below(r.at(bad.index), bad.Path)
	name := filepath.Base(to)
	if !r.linked(bad.File, filepath.Join(d.path, name)) {
		err = d.copyOf(name, bad.File, s.write)
	}
	if err == nil {
		err = r.place(filepath.Join(d.path, name), to, func() bool {
			m, _, err := readManifest(r.at(bad.index))
			return err == nil && slices.Contains(m.Files, bad.File)
		})
	}
	if err == nil {
		r.made[bad.SHA256], r.whole[bad.SHA256] = to, to
	}
	return errors.Join(err, d.discard())
}

// linked makes to a link to a part that was mended before, if it was and not too many share it.
func (r *rereading) linked(part File, to string) bool {
	made, known := r.made[part.SHA256]
	if !known || part.Content == "" {
		return false
	}
	info, err := os.Lstat(made)
	return err == nil && links(info) < maxLinks && os.Link(made, to) == nil
}

// bench is a folder to make new files in. It begins with a dot, so the next start sweeps it if this one cannot.
func (m *Marks) bench() (*draft, error) {
	path, err := os.MkdirTemp(m.dir, ".mend-")
	return draftAt(path, newTurns(m.Busy, m.Still)), err
}

// copyOf writes a file that must come out as it is in a manifest. The same rows give the same bytes,
// as long as they are written by the same release.
func (d *draft) copyOf(name string, want File, write func(io.Writer) error) error {
	w, err := d.create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(write(w), w.finish()); err != nil {
		return err
	}
	if w.bytes != want.Bytes || w.sum() != want.SHA256 {
		return errors.New("its bytes are not those that the manifest names")
	}
	return nil
}

var errMeanwhile = errors.New("the snapshot was deleted or written again meanwhile")

// place gives the file at from the name to, in a snapshot, if that is still wanted.
func (m *Marks) place(from, to string, wanted func() bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !wanted() {
		return errMeanwhile
	}
	parent := filepath.Dir(to)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(syncDir(parent), syncDir(filepath.Dir(parent)))
}

// mendManifest writes a snapshot whose manifest is bad anew, or only the manifest, and gives
// that; what its files hold is then for the caller to see. The error is why it could not.
func (r *rereading) mendManifest(ctx context.Context, index uint64, bad error) (m Manifest, err error) {
	found := Reread{ID: strconv.FormatUint(index, 10), Path: manifestName, Err: bad}
	defer func() {
		found.Why = err
		r.found = append(r.found, found)
	}()
	var why error
	if c, there := r.state(index); there && c.Index == index {
		if m, err = r.Write(c); err == nil {
			found.Source = fromMemory
			return m, nil
		}
		why = fmt.Errorf("from %s: %w", fromMemory, err)
	}
	if r.from.Fetch != nil {
		if m, err = r.fetchManifest(ctx, index); err == nil {
			found.Source = fromPeer
			return m, nil
		}
		why = errors.Join(why, fmt.Errorf("from %s: %w", fromPeer, err))
	}
	return Manifest{}, cmp.Or(why, errNothing)
}

// fetchManifest puts another peer's manifest in the place of this one's. It is the same document, for the same
// rows give the same files everywhere.
func (r *rereading) fetchManifest(ctx context.Context, index uint64) (Manifest, error) {
	var data bytes.Buffer
	err := copyFrom(&data, maxManifest, func() (io.ReadCloser, error) { return r.from.Fetch(ctx, index, manifestName) })
	if err != nil {
		return Manifest{}, err
	}
	m, err := parseManifest(data.Bytes())
	if err == nil && m.Index != index {
		err = fmt.Errorf("%s: it is of index %d", manifestName, m.Index)
	}
	if err != nil {
		return Manifest{}, err
	}
	d, err := r.bench()
	if err != nil {
		return Manifest{}, err
	}
	if err = d.small(manifestName, data.Bytes()); err == nil {
		to := filepath.Join(r.at(index), manifestName)
		err = r.place(filepath.Join(d.path, manifestName), to, func() bool { return exists(r.at(index)) && manifestOf(r.at(index), index).Format == 0 })
	}
	return m, errors.Join(err, d.discard())
}

// writeAgain writes the file of a folder that holds what f held: the part with the same rows, or the whole table.
func (c Content) writeAgain(w io.Writer, f File) error {
	at := slices.IndexFunc(c.Tables, func(t Table) bool { return t.Name == f.Table() })
	if at < 0 {
		return fmt.Errorf("it has no table %q", f.Table())
	}
	t := c.Tables[at]
	if t.large == nil {
		_, err := t.Write(w)
		return err
	}
	for p := range t.large.plan {
		if p.content == f.Content {
			_, err := t.large.write(w, p, func() {})
			return err
		}
	}
	return errors.New("its rows are others by now")
}
