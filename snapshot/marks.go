package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Marks keeps marked snapshots: the state at an index that the log chose, in
// DIR/index=000000000012345, so the same on every peer. Their id is the index
// in decimal. The name is the one that query engines take for a partition.
type Marks struct {
	dir  string
	log  *slog.Logger
	sums *sums
	mu   sync.Mutex // held while one is written
}

// Found is a marked snapshot, whole or not.
type Found struct {
	ID       string
	Index    uint64
	Path     string
	Manifest Manifest // zero if it cannot be read
	Err      error    // why it is not
}

// OpenMarks opens the marked snapshots in dir, which it makes if need be, and
// removes what a crash left half written.
func OpenMarks(dir string, log *slog.Logger) (*Marks, error) {
	if err := openDir(dir, log); err != nil {
		return nil, fmt.Errorf("open marked snapshots: %w", err)
	}
	return &Marks{dir: dir, log: log, sums: newSums()}, nil
}

// Write writes the state of an index and returns once it is on stable storage
// and was read again. If that index is there already and whole, it is left as it is; if it
// is there and not whole, it is replaced.
func (m *Marks) Write(c Content) (Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := markName(c.Index)
	f, err := openMark(filepath.Join(m.dir, name), c.Index, nil)
	if err == nil {
		return f.Manifest(), nil
	}
	if f, err = m.writeLocked(name, c, !errors.Is(err, fs.ErrNotExist)); err != nil {
		return Manifest{}, fmt.Errorf("write snapshot %d: %w", c.Index, err)
	}
	return f.Manifest(), nil
}

func (m *Marks) writeLocked(name string, c Content, replace bool) (*Folder, error) {
	d, err := newDraft(m.dir, name)
	if errors.Is(err, fs.ErrExist) { // of an attempt that could not be cleaned up
		if err = os.RemoveAll(filepath.Join(m.dir, "."+name)); err == nil {
			d, err = newDraft(m.dir, name)
		}
	}
	if err != nil {
		return nil, err
	}
	d.earlier = m.earlier()
	var f *Folder
	err = d.fill(c)
	if err == nil && replace {
		m.log.Warn("snapshot is not whole and is written again", "snapshot", c.Index, "dir", m.dir)
		err = remove(filepath.Join(m.dir, name))
	}
	if err == nil {
		f, err = d.commit(name, "")
	}
	if err != nil {
		return nil, errors.Join(err, d.discard())
	}
	return f, nil
}

// earlier is the newest snapshot that has a manifest. Whether its parts are whole
// is found out part by part, when they are to be shared.
func (m *Marks) earlier() *earlier {
	names, err := os.ReadDir(m.dir)
	if err != nil {
		return nil // what is wrong with the folder is said by whoever writes into it
	}
	for _, name := range slices.Backward(names) { // which are sorted, and so are indexes
		if _, ok := markIndex(name.Name()); !ok {
			continue
		}
		path := filepath.Join(m.dir, name.Name())
		if manifest, _, err := readManifest(path); err == nil {
			return newEarlier(path, manifest)
		}
	}
	return nil
}

// List gives all marked snapshots, newest first, and of those that are not whole
// why. Files that were read before and have not changed since by their times are
// not read again.
func (m *Marks) List() ([]Found, error) {
	names, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var out []Found
	for _, name := range names {
		index, ok := markIndex(name.Name())
		if !ok {
			continue // not ours
		}
		found := Found{ID: strconv.FormatUint(index, 10), Index: index, Path: filepath.Join(m.dir, name.Name())}
		if f, err := openMark(found.Path, index, m.sums); err == nil {
			found.Manifest = f.Manifest()
		} else {
			found.Manifest, found.Err = manifestOf(found.Path, index), err
		}
		out = append(out, found)
	}
	slices.SortFunc(out, func(a, b Found) int { return cmp.Compare(b.Index, a.Index) })
	return out, nil
}

// Open verifies a marked snapshot, every byte of it, and opens it; fs.ErrNotExist
// if there is none of that id.
func (m *Marks) Open(id string) (*Folder, error) {
	index, ok := parseIndex(id)
	if !ok {
		return nil, fmt.Errorf("snapshot %q: %w", id, fs.ErrNotExist)
	}
	f, err := openMark(m.Path(id), index, nil)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	return f, nil
}

// Path is where a marked snapshot lies or would lie; "" if id is none.
func (m *Marks) Path(id string) string {
	index, ok := parseIndex(id)
	if !ok {
		return ""
	}
	return filepath.Join(m.dir, markName(index))
}

// openMark verifies the folder of an index, believing the sums in known.
func openMark(path string, index uint64, known *sums) (*Folder, error) {
	f, err := openFolder(path, known, "")
	if err == nil && f.manifest.Index != index {
		return nil, fmt.Errorf("%s: it is of index %d", manifestName, f.manifest.Index)
	}
	return f, err
}

// manifestOf is what the folder of an index says about itself, zero if that cannot be read.
func manifestOf(path string, index uint64) Manifest {
	if m, _, err := readManifest(path); err == nil && m.Index == index {
		return m
	}
	return Manifest{}
}

// parseIndex reads an id.
func parseIndex(id string) (uint64, bool) {
	index, err := strconv.ParseUint(id, 10, 64)
	return index, err == nil && strconv.FormatUint(index, 10) == id
}

const markPrefix = "index="

// markName is the folder of an index: padded, so that names sort as indexes do.
func markName(index uint64) string { return fmt.Sprintf("%s%015d", markPrefix, index) }

// markIndex is the index of a folder's name.
func markIndex(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, markPrefix)
	index, err := strconv.ParseUint(digits, 10, 64)
	return index, ok && err == nil && markName(index) == name
}
