package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
	"github.com/orchd/orchd/snapshot"
)

// Snapshot keeps hold of the state as it is now: O(1), for a state never changes.
func (m *Machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &frozen{m.published.Load(), append([]*Mark(nil), m.marks...), m.unmarked, m.changes}, nil
}

// frozen is a state on its way into one of raft's own snapshots.
type frozen struct {
	state *state
	marks []*Mark // wanted before it
	ended <-chan struct{}

	changes *changeQueue
}

// filler is the sink of snapshot.Store: it takes tables, not a stream.
type filler interface {
	Fill(snapshot.Content) error
}

// Persist writes the tables. It waits for the marks and the changes before it: once
// raft has this snapshot it drops their log entries, and after a crash nobody
// would write them.
func (f *frozen) Persist(sink raft.SnapshotSink) error {
	for _, m := range f.marks {
		m.hurry()
	}
	for _, m := range f.marks {
		select {
		case <-m.written:
		case <-f.ended:
			return errors.New("marked states are not written any more: this peer is stopping")
		}
	}
	if err := f.changes.awaitDurable(f.state.index); err != nil {
		return err
	}
	tables, ok := sink.(filler)
	if !ok {
		return fmt.Errorf("snapshot sink %T takes no tables", sink)
	}
	return tables.Fill(content(f.state))
}

// Release is raft's word that it is done.
func (f *frozen) Release() {}

// content is a state as the snapshot package writes it.
func content(s *state) snapshot.Content {
	c := snapshot.Content{Index: s.index, Time: s.now, Level: Reader{s}.Level(), StateHash: s.sum.String()}
	for _, t := range tables {
		c.Tables = append(c.Tables, t.content(s))
	}
	return c
}

// Restore replaces everything by what a snapshot holds. The state hash of the
// rows must be the one that the manifest names. An *api.Error: it is of a behaviour
// level that this program does not know.
//
// A leader that does not know how far this peer is may send a snapshot that is older
// than what this peer has applied. Of that there is nothing to learn, and to go back to
// it would show readers what is no longer so, and the sink changes that it has: the
// state stays, and the entries that raft applies again are known.
func (m *Machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	folder, done, err := snapshot.FolderOf(r)
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	defer done()
	if folder.Manifest().Index < m.published.Load().index {
		return nil
	}
	s, err := load(folder)
	if err != nil {
		return err
	}
	old := m.published.Swap(s)
	for _, tree := range old.trees {
		tree.supersede()
	}
	m.changes.skip(s.index)
	return nil
}

// load fills a fresh state from a folder.
func load(folder *snapshot.Folder) (*state, error) {
	manifest := folder.Manifest()
	if manifest.Level > Level() {
		return nil, tooOld(manifest.Level, "")
	}
	if err := knownTables(manifest); err != nil {
		return nil, err
	}
	s := emptyState()
	s.index, s.now = manifest.Index, canonicalTime(manifest.Time)
	if err := loadTables(s, folder, tables...); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if got := s.sum.String(); got != manifest.StateHash && !planted.Is(planted.ChecksumSkipped) {
		return nil, fmt.Errorf("restore: the rows of the snapshot at index %d hash to %s, its manifest says %s", s.index, got, manifest.StateHash)
	}
	return s, nil
}

// knownTables refuses a snapshot with a table that this release does not know:
// to skip it would be to forget it.
func knownTables(m snapshot.Manifest) error {
	for _, name := range m.Tables() {
		if tableNamed(name) == nil {
			return fmt.Errorf("restore: the snapshot holds a table %q that this release does not know; run the release that wrote it, or a newer one", name)
		}
	}
	return nil
}

// stateMark is the body of a mark: every peer keeps its state of that index.
type stateMark struct{}

func applyMark(tx *Txn, _ stateMark) (object, error) {
	if err := tx.may(api.Create, "snapshot.take", api.Object{Kind: "snapshot"}); err != nil && !isPeer(tx.Actor) {
		return nothing, err
	}
	tx.mark = true
	return nothing, nil
}

// Mark is a state that was asked to be kept as a snapshot.
type Mark struct {
	Index   uint64
	Time    time.Time
	state   *state
	written chan struct{}
	waited  chan struct{} // closed when somebody waits for it
	once    sync.Once
}

// Hurry is closed once one of raft's snapshots waits for this mark.
func (k *Mark) Hurry() <-chan struct{} { return k.waited }

func (k *Mark) hurry() { k.once.Do(func() { close(k.waited) }) }

// Content is what is to be written; the caller adds the term.
func (k *Mark) Content() snapshot.Content { return content(k.state) }

func (m *Machine) keepMark(s *state) {
	m.mu.Lock()
	m.marks = append(m.marks, &Mark{Index: s.index, Time: s.now, state: s, written: make(chan struct{}), waited: make(chan struct{})})
	m.mu.Unlock()
	select {
	case m.marked <- struct{}{}:
	default:
	}
}

// WriteMarks hands each marked state, in order, to write until ctx ends. A mark
// counts as done when write returns, however it went: write reports its failures
// itself. After that raft's snapshots wait for no mark: they fail instead, and
// the marks are met again when the log is applied anew.
func (m *Machine) WriteMarks(ctx context.Context, write func(*Mark)) error {
	defer m.unmarking.Do(func() { close(m.unmarked) })
	for {
		for k := m.firstMark(); k != nil && ctx.Err() == nil; k = m.firstMark() {
			write(k)
			m.dropMark(k)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.marked:
		}
	}
}

// Marking tells whether the state at an index is marked and has not been written yet.
func (m *Machine) Marking(index uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.marks, func(k *Mark) bool { return k.Index == index })
}

func (m *Machine) firstMark() *Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.marks) == 0 {
		return nil
	}
	return m.marks[0]
}

func (m *Machine) dropMark(k *Mark) {
	m.mu.Lock()
	m.marks = m.marks[1:]
	m.mu.Unlock()
	close(k.written)
}
