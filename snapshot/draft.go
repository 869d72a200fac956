package snapshot

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api/planted"
)

// draft is a folder being written. Its name begins with a dot until it is whole.
type draft struct {
	path     string
	manifest Manifest // what was written, once it was
	earlier  *earlier // whose parts may be shared; nil if none may
	turns    turns
	writing  chan struct{} // holds one for each file that is being written
}

// writers is how many files are written at once.
const writers = 2

// isDraft tells whether a name is that of a draft, which nobody may read.
func isDraft(name string) bool { return strings.HasPrefix(name, ".") }

// newDraft makes an empty folder .NAME in dir; fs.ErrExist if someone has it.
func newDraft(dir, name string) (*draft, error) {
	path := filepath.Join(dir, "."+name)
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	return draftAt(path, newTurns(nil, nil)), nil
}

func draftAt(path string, t turns) *draft {
	return &draft{path: path, turns: t, writing: make(chan struct{}, writers)}
}

// fill writes every table of c, and the manifest last.
func (d *draft) fill(c Content) error {
	m := Manifest{Format: Format, Index: c.Index, Term: c.Term, Time: c.Time.UTC().Truncate(time.Microsecond),
		Level: c.Level, StateHash: c.StateHash}
	var err error
	if m.Files, err = d.tables(c.Tables); err != nil {
		return err
	}
	data, err := encodeSealed(&m)
	if err != nil {
		return err
	}
	if m, err = parseManifest(data); err != nil {
		return err // such a folder could never be opened
	}
	d.manifest = m
	return d.small(manifestName, data)
}

// tables writes the files of all tables, of two at once: while small ones wait for the
// disk, the keys of a large one are read. When one fails no other is begun.
func (d *draft) tables(all []Table) ([]File, error) {
	files := make([][]File, len(all))
	var begun atomic.Int64
	g, ctx := errgroup.WithContext(context.Background())
	for range writers {
		g.Go(func() error {
			return modest(func() (err error) {
				for i := begun.Add(1) - 1; i < int64(len(all)) && err == nil && ctx.Err() == nil; i = begun.Add(1) - 1 {
					files[i], err = d.table(all[i])
				}
				return err
			})
		})
	}
	err := g.Wait()
	return slices.Concat(files...), err
}

// table writes the files of one table.
func (d *draft) table(t Table) (files []File, err error) {
	if !tableForm.MatchString(t.Name) {
		return nil, fmt.Errorf("%q is no name of a table", t.Name)
	}
	if t.large != nil {
		files, err = d.parts(t.Name, t.large)
	} else {
		files = make([]File, 1)
		files[0], err = d.file(t.Name+".parquet", t.Write)
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	return files, nil
}

// file writes one file of a table, beside one other.
func (d *draft) file(path string, write func(io.Writer) (int64, error)) (File, error) {
	d.writing <- struct{}{}
	defer func() { <-d.writing }()
	w, err := d.create(path)
	if err != nil {
		return File{}, err
	}
	done := d.turns.take()
	rows, err := write(w)
	done()
	if err = errors.Join(err, w.finish()); err != nil {
		return File{}, err
	}
	return File{Path: path, Rows: rows, Bytes: w.bytes, SHA256: w.sum()}, nil
}

// parts writes the parts of a large table, or shares them with the snapshot before, the
// first while it is still being found out where the others end. When one fails no other
// is begun.
func (d *draft) parts(table string, l *large) ([]File, error) {
	var files []*File
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(writers)
	done := d.turns.take()
	for p := range l.plan {
		done()
		f, path := new(File), partPath(table, len(files))
		files = append(files, f)
		var shared bool
		if *f, shared = d.share(path, p); !shared {
			g.Go(func() (err error) {
				if ctx.Err() == nil {
					*f, err = d.part(path, l, p)
				}
				return err
			})
		}
		if done = d.turns.take(); ctx.Err() != nil {
			break
		}
	}
	done()
	err := g.Wait()
	out := make([]File, len(files))
	for i, f := range files {
		out[i] = *f
	}
	return out, err
}

// part writes a part.
func (d *draft) part(path string, l *large, p part) (f File, err error) {
	err = modest(func() (err error) {
		f, err = d.file(path, func(w io.Writer) (int64, error) { return l.write(w, p, d.turns.rests()) })
		return err
	})
	if err == nil && f.Rows != int64(p.rows) {
		err = fmt.Errorf("%d rows from %q on where %d were counted", f.Rows, p.first, p.rows)
	}
	f.Content = p.content
	return f, err
}

// small writes a file that is in memory.
func (d *draft) small(name string, data []byte) error {
	w, err := d.create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.finish())
}

// commit gives the draft its name and reads it again as a stranger would.
// Before it returns without an error, everything is on stable storage.
func (d *draft) commit(name, extra string) (*Folder, error) {
	for _, sub := range d.manifest.folders() {
		if err := syncDir(filepath.Join(d.path, sub)); err != nil {
			return nil, err
		}
	}
	if err := syncDir(d.path); err != nil {
		return nil, err
	}
	parent := filepath.Dir(d.path)
	final := filepath.Join(parent, name)
	if err := os.Rename(d.path, final); err != nil {
		return nil, err
	}
	err := syncDir(parent)
	if err == nil {
		var f *Folder
		if f, err = openFolder(final, d.earlier.verified(), extra); err == nil {
			return f, nil
		}
		err = fmt.Errorf("%s, read again after writing: %w", name, err)
	}
	return nil, errors.Join(err, remove(final))
}

// discard removes the draft.
func (d *draft) discard() error { return os.RemoveAll(d.path) }

// remove takes a folder away: under a dot first, so that half a folder is never
// found under a good name.
func remove(path string) error {
	hidden := filepath.Join(filepath.Dir(path), ".gone-"+filepath.Base(path))
	if err := os.RemoveAll(hidden); err != nil {
		return err
	}
	if err := os.Rename(path, hidden); err != nil {
		return err
	}
	// A power loss may keep what happens in the folder and not its new name.
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return os.RemoveAll(hidden)
}

// sweep removes the drafts in dir that keep does not know.
func sweep(dir string, keep func(name string) bool) (swept []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if isDraft(e.Name()) && !keep(e.Name()) {
			swept = append(swept, e.Name())
		}
	}
	if len(swept) == 0 {
		return nil, nil
	}
	if err := syncDir(dir); err != nil { // as in remove
		return nil, err
	}
	for _, name := range swept {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	return swept, err
}

// syncDir makes the names in a folder durable.
func syncDir(path string) error {
	if planted.Is(planted.SnapshotUnsynced) { // a crash leaves a folder without its files, or no folder
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// draftFile is a file of a draft, hashed and counted while it is written.
type draftFile struct {
	file  *os.File
	out   *bufio.Writer
	hash  hash.Hash
	bytes int64
}

// create makes a new file below the draft, and the folder that it lies in.
func (d *draft) create(name string) (*draftFile, error) {
	path := filepath.Join(d.path, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := &draftFile{file: f, hash: sha256.New(), out: outs.Get().(*bufio.Writer)}
	w.out.Reset(io.MultiWriter(f, w.hash))
	return w, nil
}

// outs are the buffers of files that are finished: a snapshot is some fifty files, most of them small.
var outs = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 256<<10) }}

func (w *draftFile) Write(p []byte) (int, error) {
	if w.bytes += int64(len(p)); w.bytes > maxFile {
		return 0, fmt.Errorf("the file grows beyond %d bytes", int64(maxFile))
	}
	return w.out.Write(p)
}

// finish puts the file on stable storage and closes it.
func (w *draftFile) finish() error {
	defer func() {
		w.out.Reset(nil)
		outs.Put(w.out)
		w.out = nil
	}()
	if planted.Is(planted.SnapshotUnsynced) { // a crash leaves files without content, behind a log that was compacted
		return errors.Join(w.out.Flush(), w.file.Close())
	}
	return errors.Join(w.out.Flush(), w.file.Sync(), w.file.Close())
}

// sum is the SHA-256 of what was written.
func (w *draftFile) sum() string { return hex.EncodeToString(w.hash.Sum(nil)) }
