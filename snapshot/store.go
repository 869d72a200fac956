package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api/planted"
)

// retained is how many snapshots raft keeps: the newest, and one to fall back on.
const retained = 2

// Store keeps raft's own snapshots, each a folder DIR/TERM-INDEX-N with a
// raft.json beside the manifest. It is a raft.SnapshotStore.
type Store struct {
	// Busy and Still are as those of Marks. Set before use.
	Busy, Still func() bool

	dir  string
	log  *slog.Logger
	sums *sums

	mu     sync.Mutex
	drafts map[string]bool   // folder names that a Sink is writing
	reads  map[string]int    // ids that are being read, and by how many
	warned map[string]string // ids that were skipped, and why, so that it is said once
}

var _ raft.SnapshotStore = (*Store)(nil)

// Skipped is a snapshot that cannot be used.
type Skipped struct {
	ID     string
	Path   string
	Reason error
}

// OpenStore opens the store in dir, which it makes if need be, and removes what
// a crash left half written.
func OpenStore(dir string, log *slog.Logger) (*Store, error) {
	s := &Store{dir: dir, log: log, sums: newSums(),
		drafts: map[string]bool{}, reads: map[string]int{}, warned: map[string]string{}}
	if err := openDir(dir, log); err != nil {
		return nil, fmt.Errorf("open snapshot store: %w", err)
	}
	return s, nil
}

// openDir makes dir durably and sweeps it.
func openDir(dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	swept, err := sweep(dir, func(string) bool { return false })
	if len(swept) > 0 {
		log.Info("removed unfinished snapshots", "dir", dir, "names", swept)
	}
	return err
}

// Create begins a snapshot. What came of earlier ones that could not be removed
// is swept first, so that a full disk is not made fuller.
func (s *Store) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raftVersion {
		return nil, fmt.Errorf("snapshot version %d is not known, only %d", version, raftVersion)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := sweep(s.dir, func(name string) bool { return s.drafts[name] }); err != nil {
		s.log.Warn("unfinished snapshots stay", "dir", s.dir, "err", err)
	}
	id, d, err := s.newDraftLocked(term, index)
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	s.drafts[filepath.Base(d.path)], d.turns = true, newTurns(s.Busy, s.Still)
	return &Sink{store: s, draft: d, meta: raftMeta{
		ID: id, Index: index, Term: term, Version: version,
		Configuration: configuration.Clone(), ConfigurationIndex: configurationIndex,
	}}, nil
}

// newDraftLocked makes a draft under the first number that is free.
func (s *Store) newDraftLocked(term, index uint64) (string, *draft, error) {
	for n := uint64(1); ; n++ {
		id := snapshotID{term, index, n}.String()
		if exists(filepath.Join(s.dir, id)) {
			continue
		}
		if d, err := newDraft(s.dir, id); !errors.Is(err, fs.ErrExist) {
			return id, d, err
		}
	}
}

// List gives the snapshots that are whole, newest first. One that is torn or
// altered is left out with a warning that names it. Files that were read before
// and have not changed since by their times are not read again; Open trusts nothing.
func (s *Store) List() ([]*raft.SnapshotMeta, error) {
	found, err := s.scan()
	if err != nil {
		return nil, err
	}
	var out []*raft.SnapshotMeta
	for _, e := range found {
		if e.err != nil {
			s.warn(e)
			continue
		}
		out = append(out, e.meta)
	}
	return out, nil
}

// Open verifies a snapshot, every byte of it, and gives it as a stream of
// exactly meta.Size bytes. It is kept at least until the reader is closed.
func (s *Store) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if _, err := parseID(id); err != nil {
		return nil, nil, err
	}
	s.hold(id, 1)
	meta, folder, err := s.open(id, nil)
	if err != nil {
		s.hold(id, -1)
		s.sums.forget() // so that the next List leaves it out, and raft goes on to another
		return nil, nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	stream, err := pack(folder)
	if err != nil {
		s.hold(id, -1)
		return nil, nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	return meta, &reader{stream, folder, sync.OnceFunc(func() { s.hold(id, -1) })}, nil
}

// Usable tells what raft could start from: the newest snapshot that is whole,
// and those newer than it that are not. With none that is whole, newest has no
// ID. Without a log that reaches back to newest, raft would panic when it
// starts; the caller, who has the log, refuses with a sentence instead.
func (s *Store) Usable() (newest raft.SnapshotMeta, skipped []Skipped, err error) {
	found, err := s.scan()
	if err != nil {
		return raft.SnapshotMeta{}, nil, err
	}
	for _, e := range found {
		if e.err == nil {
			return *e.meta, skipped, nil
		}
		skipped = append(skipped, Skipped{e.id.String(), filepath.Join(s.dir, e.id.String()), e.err})
	}
	return raft.SnapshotMeta{}, skipped, nil
}

// entry is a folder of the store, whole or not.
type entry struct {
	id   snapshotID
	meta *raft.SnapshotMeta
	err  error
}

// scan looks at every folder, newest first.
func (s *Store) scan() ([]entry, error) {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var out []entry
	for _, name := range names {
		id, err := parseID(name.Name())
		if err != nil || !name.IsDir() {
			continue // not ours
		}
		meta, _, err := s.open(name.Name(), s.sums)
		if err != nil && !exists(filepath.Join(s.dir, name.Name())) {
			continue // reaped in between
		}
		out = append(out, entry{id, meta, err})
	}
	slices.SortFunc(out, func(a, b entry) int { return b.id.compare(a.id) })
	return out, nil
}

// exists tells whether something lies at path, as far as can be told.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// open verifies a snapshot, believing the sums in known.
func (s *Store) open(id string, known *sums) (*raft.SnapshotMeta, *Folder, error) {
	path := filepath.Join(s.dir, id)
	folder, err := openFolder(path, known, raftName)
	if err != nil {
		return nil, nil, err
	}
	rm, err := readRaftMeta(path)
	if err != nil {
		return nil, nil, err
	}
	if rm.ID != id || rm.Manifest != folder.manifest.Sum && !planted.Is(planted.ChecksumSkipped) {
		return nil, nil, fmt.Errorf("%s: it belongs to another snapshot", raftName)
	}
	meta := rm.meta()
	meta.Size = streamSize(folder)
	return meta, folder, nil
}

// warn says once that a snapshot is skipped.
func (s *Store) warn(e entry) {
	id, reason := e.id.String(), e.err.Error()
	s.mu.Lock()
	said := s.warned[id] == reason
	s.warned[id] = reason
	s.mu.Unlock()
	if !said {
		s.log.Warn("snapshot is skipped", "snapshot", id, "dir", s.dir, "err", e.err)
	}
}

// hold counts who reads a snapshot.
func (s *Store) hold(id string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads[id] += by; s.reads[id] == 0 {
		delete(s.reads, id)
	}
}

// release ends a draft.
func (s *Store) release(d *draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.drafts, filepath.Base(d.path))
}

// reap removes what is older than the snapshots to keep, whole or not, once
// there are enough whole ones. What is being read waits for the next time.
func (s *Store) reap() error {
	found, err := s.scan()
	if err != nil {
		return err
	}
	whole := 0
	for _, e := range found {
		if whole >= retained {
			err = errors.Join(err, s.reapOne(e.id.String()))
		}
		if e.err == nil {
			whole++
		}
	}
	return err
}

func (s *Store) reapOne(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads[id] > 0 {
		return nil
	}
	delete(s.warned, id)
	return remove(filepath.Join(s.dir, id))
}

// snapshotID is the name of a snapshot: TERM-INDEX-N, the n-th of its index.
type snapshotID struct{ term, index, n uint64 }

func (id snapshotID) String() string { return fmt.Sprintf("%d-%d-%d", id.term, id.index, id.n) }

// compare orders by age, older first.
func (id snapshotID) compare(b snapshotID) int {
	return cmp.Or(cmp.Compare(id.term, b.term), cmp.Compare(id.index, b.index), cmp.Compare(id.n, b.n))
}

// parseID reads a name exactly as String writes it.
func parseID(name string) (id snapshotID, err error) {
	_, err = fmt.Sscanf(name, "%d-%d-%d", &id.term, &id.index, &id.n)
	if err != nil || id.String() != name {
		return snapshotID{}, fmt.Errorf("%q is no id of a snapshot", name)
	}
	return id, nil
}
