package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
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
	// Space tells how full the disk is before a snapshot is written. OpenMarks sets it to SpaceOf.
	Space func(dir string) (Space, error)
	// Busy tells whether others want the processors now; nil: always.
	Busy func() bool
	// Still tells whether nothing has been committed for a while, so that writers need not rest; nil: never.
	Still func() bool

	dir  string
	log  *slog.Logger
	sums *sums

	mu      sync.Mutex // held while one is written or deleted
	sharing int        // how many were written since one that shares nothing; -1: not known yet
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
	return &Marks{Space: SpaceOf, dir: dir, log: log, sums: newSums(), sharing: -1}, nil
}

// Write writes the state of an index and returns once it is on stable storage
// and was read again. If that index is there already and whole, it is left as it is; if it
// is there and not whole, it is replaced.
func (m *Marks) Write(c Content) (Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := openMark(m.at(c.Index), c.Index, nil)
	if err == nil {
		return f.Manifest(), nil
	}
	if f, err = m.writeLocked(c, !errors.Is(err, fs.ErrNotExist)); err != nil {
		return Manifest{}, fmt.Errorf("write snapshot %d: %w", c.Index, err)
	}
	return f.Manifest(), nil
}

func (m *Marks) writeLocked(c Content, replace bool) (*Folder, error) {
	earlier := m.earlier()
	if err := m.roomFor(earlier.size()); err != nil {
		return nil, err
	}
	name := markName(c.Index)
	d, err := newDraft(m.dir, name)
	if errors.Is(err, fs.ErrExist) { // of an attempt that could not be cleaned up
		if err = os.RemoveAll(filepath.Join(m.dir, "."+name)); err == nil {
			d, err = newDraft(m.dir, name)
		}
	}
	if err != nil {
		return nil, err
	}
	d.earlier, d.turns = m.sharedLocked(earlier), newTurns(m.Busy, m.Still)
	var f *Folder
	err = d.fill(c)
	if err == nil && replace {
		m.log.Warn("snapshot is not whole and is written again", "snapshot", c.Index, "dir", m.dir)
		err = remove(m.at(c.Index))
	}
	if err == nil {
		f, err = d.commit(name, "")
	}
	if err != nil {
		return nil, errors.Join(m.ranFull(err), d.discard())
	}
	if m.sharing++; d.earlier == nil {
		m.sharing = 0
	}
	return f, nil
}

// indexes lists those that have a folder, newest first.
func (m *Marks) indexes() ([]uint64, error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var out []uint64
	for _, e := range entries {
		if index, ours := markIndex(e.Name()); ours {
			out = append(out, index)
		}
	}
	slices.SortFunc(out, func(a, b uint64) int { return cmp.Compare(b, a) })
	return out, nil
}

// Newest is the index of the newest that has a folder, whole or not; 0 when none has.
func (m *Marks) Newest() uint64 { return m.NewestUpTo(math.MaxUint64) }

// NewestUpTo is the newest of those whose index is at most last.
func (m *Marks) NewestUpTo(last uint64) uint64 {
	indexes, err := m.indexes()
	if err != nil {
		return 0
	}
	for _, index := range indexes { // the newest first
		if index <= last {
			return index
		}
	}
	return 0
}

// at is where the snapshot of an index lies.
func (m *Marks) at(index uint64) string { return filepath.Join(m.dir, markName(index)) }

// List gives all marked snapshots, newest first, and of those that are not whole
// why. Files that were read before and have not changed since by their times are
// not read again.
func (m *Marks) List() ([]Found, error) {
	indexes, err := m.indexes()
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, index := range indexes {
		found := Found{ID: strconv.FormatUint(index, 10), Index: index, Path: m.at(index)}
		f, err := openMark(found.Path, index, m.sums)
		switch {
		case err == nil:
			found.Manifest = f.Manifest()
		case !exists(found.Path):
			continue // deleted in between
		default:
			found.Manifest, found.Err = manifestOf(found.Path, index), err
		}
		out = append(out, found)
	}
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
	return m.at(index)
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
