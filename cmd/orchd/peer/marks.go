package peer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// marks writes the marked states to disk and tells who waits for one.
type marks struct {
	files *snapshot.Marks
	found uint64 // index of the newest that was there when this peer started, of those in the log then; 0: none

	mu      sync.Mutex
	done    map[uint64]error // how the last ones went
	newest  error            // how the newest went
	asked   map[uint64]bool  // for which somebody waits
	writing uint64           // index of the one that is being written; 0: none is
	through uint64           // index of the newest that is there, or could not be written; 1: none yet
	change  chan struct{}    // closed when any of that changes
}

// failed is why the newest marked state is not on this peer's disk; nil when it is.
func (m *marks) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest
}

// keptOutcomes bounds done.
const keptOutcomes = 64

func newMarks(files *snapshot.Marks) *marks {
	m := &marks{files: files, done: map[uint64]error{}, asked: map[uint64]bool{}, through: 1, change: make(chan struct{})}
	if files != nil {
		m.through = max(m.through, files.Newest())
	}
	return m
}

// begins notes what is there when the log has come to an index. A snapshot of another cluster,
// with which this one began, may have a higher one.
func (m *marks) begins(last uint64) { m.found = m.files.NewestUpTo(last) }

// passed tells of a mark that is met again after a restart whether its snapshot was written, and
// deleted since: they are written in order, and there is a newer one.
func (m *marks) passed(index uint64) bool {
	if index >= m.found {
		return false
	}
	_, err := os.Lstat(m.files.Path(strconv.FormatUint(index, 10)))
	return errors.Is(err, fs.ErrNotExist)
}

// writeMarks writes marked states until ctx ends.
func (p *Peer) writeMarks(ctx context.Context) error {
	return p.machine.WriteMarks(ctx, func(k *fsm.Mark) {
		if p.marks.passed(k.Index) {
			p.marks.finish(k.Index, nil)
			return
		}
		term := p.node.TermOf(k.Index) // while the log is sure to have it
		p.awaitTurn(ctx, k)
		p.marks.begin(k.Index)
		c := k.Content()
		c.Term = term
		manifest, err := p.marks.files.Write(c)
		if errors.Is(err, syscall.ENOSPC) { // what is past its time may be in the way
			p.retireSnapshots()
			manifest, err = p.marks.files.Write(c)
		}
		if err != nil {
			p.log.Error("snapshot not written", "index", k.Index, "err", err)
		} else {
			p.log.Info("snapshot written", "index", k.Index, "hash", manifest.StateHash)
			p.retireSnapshots()
		}
		p.marks.finish(k.Index, err)
	})
}

// retireSnapshots deletes the oldest snapshots, if more are there than are to be kept.
func (p *Peer) retireSnapshots() {
	r := p.machine.Read()
	keep := r.Settings().Snapshot
	gone, err := p.marks.files.Retire(snapshot.Retention{Newest: keep.Retain, Daily: keep.Daily, Monthly: keep.Monthly}, p.soberNow(r))
	if err != nil {
		p.log.Warn("old snapshots not deleted; tried again after the next", "err", err)
	}
	if len(gone) > 0 {
		p.log.Info("old snapshots deleted", "ids", gone)
	}
}

func (m *marks) begin(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writing = index
	m.tellLocked()
}

func (m *marks) finish(index uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.asked, index)
	m.writing, m.through = 0, max(m.through, index)
	if len(m.done) >= keptOutcomes {
		clear(m.done)
	}
	m.done[index], m.newest = err, err
	m.tellLocked()
}

func (m *marks) tellLocked() {
	close(m.change)
	m.change = make(chan struct{})
}

// ask says that somebody waits for the mark of an index here.
func (m *marks) ask(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, done := m.done[index]; !done && !m.asked[index] {
		m.asked[index] = true
		m.tellLocked()
	}
}

// wanted tells whether somebody waits here for a mark, or for one behind it, and when to
// look again.
func (m *marks) wanted(index uint64) (yes bool, change <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for asked := range m.asked {
		yes = yes || asked >= index
	}
	return yes, m.change
}

// progress is what gossip tells of the marks.
func (m *marks) progress() (writing, through uint64, change <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writing, m.through, m.change
}

// wait returns when the mark of that index is on this peer's disk, or could not be written.
func (m *marks) wait(ctx context.Context, index uint64) error {
	m.ask(index)
	for {
		m.mu.Lock()
		err, done := m.done[index]
		change := m.change
		m.mu.Unlock()
		if done && err != nil {
			return api.Errorf(api.Unavailable, "snapshot.take", "the state at index %d is marked, but this peer could not write it; look at its disk, or ask another peer, which writes its own: %w", index, err)
		}
		if done {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return api.Errorf(api.Unavailable, "snapshot.take", "the state at index %d is marked, but this peer has not written it yet: %w", index, ctx.Err())
		}
	}
}

// writeTime bounds how long a caller waits for this peer's files.
const writeTime = 2 * time.Minute

// TakeSnapshot makes every peer keep its state of one index, and answers when
// this peer's files are in place and verified.
func (p *Peer) TakeSnapshot(ctx context.Context) (api.Snapshot, error) {
	index, err := p.writer.Mark(ctx)
	if err != nil {
		return api.Snapshot{}, err
	}
	id := strconv.FormatUint(index, 10)
	if s, err := p.Snapshot(ctx, id); err == nil { // asked for again: it may have been written long ago
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if err := p.marks.wait(ctx, index); err != nil {
		return api.Snapshot{}, err
	}
	return p.Snapshot(ctx, id)
}

// Snapshots lists this peer's marked snapshots, newest first. Damaged ones are
// left out; the log has named them.
func (p *Peer) Snapshots(context.Context) ([]api.Snapshot, error) {
	found, err := p.marks.files.List()
	if err != nil {
		return nil, api.Errorf(api.Internal, "snapshot.list", "read the snapshots: %w", err)
	}
	list := []api.Snapshot{}
	for _, f := range found {
		if f.Err != nil {
			p.log.Warn("snapshot is damaged", "id", f.ID, "err", f.Err)
			continue
		}
		list = append(list, describeSnapshot(f.ID, f.Path, f.Manifest))
	}
	return list, nil
}

// Snapshot finds one of this peer's marked snapshots, or the state as it is now.
func (p *Peer) Snapshot(ctx context.Context, id string) (api.Snapshot, error) {
	s, err := p.state(ctx, id)
	return s.describe, err
}

// VerifySnapshot reads a marked snapshot into a scratch machine.
func (p *Peer) VerifySnapshot(ctx context.Context, id string) (api.SnapshotCheck, error) {
	if err := p.awaitMarked(ctx, id); err != nil {
		return api.SnapshotCheck{}, err
	}
	folder, err := p.marks.files.Open(id)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = p.openMarked(ctx, id)
		return api.SnapshotCheck{}, err
	}
	if err != nil {
		return api.SnapshotCheck{ID: id, Rows: map[string]int64{}, Problems: []string{err.Error()}}, nil
	}
	check := fsm.CheckFolder(folder)
	check.ID = id
	return check, nil
}

// DeleteSnapshot deletes this peer's files of a snapshot.
func (p *Peer) DeleteSnapshot(ctx context.Context, id string) error {
	if index, err := strconv.ParseUint(id, 10, 64); err == nil && p.machine.Marking(index) { // or it would come back
		ctx, cancel := context.WithTimeout(ctx, writeTime)
		defer cancel()
		if err := p.marks.wait(ctx, index); err != nil {
			return err
		}
	}
	if err := p.noteDeleted(id); err != nil {
		return api.Errorf(api.Internal, "snapshot.delete", "note that snapshot %s is deleted: %w", id, err)
	}
	switch err := p.marks.files.Delete(id); {
	case errors.Is(err, fs.ErrNotExist):
		return api.Errorf(api.NotFound, "snapshot.delete", "no snapshot %q on this peer; list them with: orchd snapshot list", id)
	case errors.Is(err, snapshot.ErrNewest):
		return api.Errorf(api.Conflict, "snapshot.delete", "snapshot %s is the newest whole one of this peer, and that is never deleted: take another first, with: orchd snapshot take", id)
	case err != nil:
		return api.Errorf(api.Internal, "snapshot.delete", "delete snapshot %s: %w", id, err)
	}
	p.log.Info("snapshot deleted", "id", id, "actor", api.CallerOf(ctx).Actor.ID)
	return nil
}

func describeSnapshot(id, path string, m snapshot.Manifest) api.Snapshot {
	s := api.Snapshot{ID: id, Index: m.Index, Term: m.Term, CreatedAt: m.Time, StateHash: m.StateHash, Rows: map[string]int64{}, Path: path}
	for _, f := range m.Files {
		s.Bytes += f.Bytes
		if slices.Contains(fsm.RecordedTables(), f.Table()) { // the others are of no use to people
			s.Rows[f.Table()] += f.Rows
		}
	}
	return s
}
