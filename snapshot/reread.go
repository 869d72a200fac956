package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Mending is where Reread takes from what it writes anew. What is nil is not asked.
type Mending struct {
	// State gives a state in memory, at best that of the index. A file is taken from
	// it only if it has the sum that the manifest names, so another state does no harm,
	// and helps where its rows are still the same.
	State func(index uint64) (Content, bool)
	// Fetch opens a file of the snapshot of that index as another peer has it, by its
	// path below the folder; manifest.json too.
	Fetch func(ctx context.Context, index uint64, path string) (io.ReadCloser, error)
	// Pace is how many bytes a second are read; 0: 32 MiB.
	Pace int
}

// Reread is a file of a snapshot that was found bad.
type Reread struct {
	ID     string // of the snapshot
	Path   string // below its folder; "" when there is what should not be
	Err    error  // what is wrong with it
	Source string // where the new file was taken from; "" if it was not mended
	Why    error  // why it was not
}

// Reread reads every file of every snapshot again, from the disk, and writes the
// bad ones anew: from another snapshot with the same file, from memory, or from
// another peer, whichever has it first. A file that several snapshots share is
// read once, and when it is bad all of them get the new one. It gives what was bad, newest
// snapshot first, mended or not. When ctx ends before all was read, that is the error.
func (m *Marks) Reread(ctx context.Context, from Mending) ([]Reread, error) {
	indexes, err := m.indexes()
	if err != nil {
		return nil, err
	}
	r := &rereading{Marks: m, from: from, whole: map[string]string{}, made: map[string]string{}, read: newSums()}
	r.read.pace = &pace{ctx: ctx, perSecond: cmp.Or(max(from.Pace, 0), defaultPace)}
	for _, index := range indexes {
		if err := r.snapshot(ctx, index); err != nil {
			return r.found, fmt.Errorf("read snapshot %d again: %w", index, err)
		}
	}
	for _, bad := range r.bad {
		if err := r.mend(ctx, bad); err != nil {
			return r.found, fmt.Errorf("mend snapshot %s: %w", r.found[bad.found].ID, err)
		}
	}
	if len(r.found) > 0 {
		m.sums.forget() // so that the next listing tells of what is bad, whatever it read before
	}
	return r.found, nil
}

// rereading is one reading of everything.
type rereading struct {
	*Marks
	from  Mending
	read  *sums             // of the files read so far
	whole map[string]string // of a sum, where a file lies that has it
	made  map[string]string // the same of files that were mended
	found []Reread
	bad   []badFile
}

// badFile is a file to mend.
type badFile struct {
	found int // its place among those found
	index uint64
	File
}

// snapshot reads one snapshot. What is bad is found, not an error.
func (r *rereading) snapshot(ctx context.Context, index uint64) error {
	manifest, _, err := readManifest(r.at(index))
	if err == nil && manifest.Index != index {
		err = fmt.Errorf("%s: it is of index %d", manifestName, manifest.Index)
	}
	if err != nil {
		if !exists(r.at(index)) {
			return nil // deleted in between
		}
		if manifest, err = r.mendManifest(ctx, index, err); err != nil {
			return ctx.Err()
		}
	}
	if err := checkNames(r.at(index), manifest, ""); err != nil && exists(r.at(index)) {
		r.found = append(r.found, Reread{ID: strconv.FormatUint(index, 10), Err: err, Why: errors.New("it is no part of the snapshot; look at it and take it away")})
	}
	for _, f := range manifest.Files {
		if err := r.file(ctx, index, f); err != nil {
			return err
		}
	}
	return nil
}

// file reads one file.
func (r *rereading) file(ctx context.Context, index uint64, f File) error {
	path := below(r.at(index), f.Path)
	err := r.read.check(path, f)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		r.whole[f.SHA256] = path
	case exists(r.at(index)):
		r.bad = append(r.bad, badFile{len(r.found), index, f})
		r.found = append(r.found, Reread{ID: strconv.FormatUint(index, 10), Path: f.Path, Err: err})
	}
	return nil
}
