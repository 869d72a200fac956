package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/snapshot"
)

// disk is what a host keeps when its peer is killed: what was synced. A write that
// was under way may be there in part.
type disk struct {
	host *host
	dir  string // where snapshots are unpacked, which are kept as states until then

	mu        sync.Mutex
	rng       *rand.Rand
	life      int // of the peer; a write of an earlier one reaches nothing
	logs      map[uint64]raft.Log
	first     uint64
	last      uint64
	underway  []*raft.Log // being synced
	values    map[string][]byte
	numbers   map[string]uint64
	snapshots []*kept
	made      int

	full    bool
	failing bool
	hanging bool
	slow    time.Duration // the longest that a write takes on top of the usual
	since   time.Time     // when the oldest write that hangs began; zero for none
	changed chan struct{}
}

func newDisk(h *host, dir string, seed uint64) *disk {
	return &disk{host: h, dir: dir, rng: rand.New(rand.NewPCG(seed, 3)), logs: map[uint64]raft.Log{},
		values: map[string][]byte{}, numbers: map[string]uint64{}, changed: make(chan struct{})}
}

// set changes what is wrong with the disk.
func (d *disk) set(f func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *disk) hangsFor() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.IsZero() {
		return 0
	}
	return time.Since(d.since)
}

// crash is the end of a life: of the write under way some entries are there.
func (d *disk) crash() {
	d.set(func(d *disk) {
		d.life++
		d.storeLocked(d.underway[:d.rng.IntN(len(d.underway)+1)])
		d.underway, d.since = nil, time.Time{}
		d.snapshots = slices.DeleteFunc(d.snapshots, func(k *kept) bool { return !k.whole })
	})
}

var errKilled = errors.New("the process was killed")

// sync is one write of a life: it takes its time and then does its work, or fails.
func (d *disk) sync(life int, do func()) error {
	d.host.thaw(context.Background())
	d.mu.Lock()
	begun := time.Now()
	pause := 200*time.Microsecond + time.Duration(d.rng.Int64N(int64(time.Millisecond)))
	if d.slow > 0 {
		pause += time.Duration(d.rng.Int64N(int64(d.slow)))
	}
	d.mu.Unlock()
	time.Sleep(pause)
	d.host.thaw(context.Background())
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.hanging && d.life == life {
		if d.since.IsZero() {
			d.since = begun
		}
		changed := d.changed
		d.mu.Unlock()
		<-changed
		d.mu.Lock()
	}
	d.since = time.Time{}
	switch {
	case d.life != life:
		return errKilled
	case d.failing:
		return syscall.EIO
	case d.full:
		return syscall.ENOSPC
	}
	do()
	return nil
}

func (d *disk) storeLocked(logs []*raft.Log) {
	for _, l := range logs {
		d.logs[l.Index] = *l
		if d.first == 0 {
			d.first = l.Index
		}
		d.last = max(d.last, l.Index)
	}
}

// mount is the disk as one life of a peer sees it: raft's log and stable store.
type mount struct {
	*disk
	life int
}

var (
	_ raft.LogStore    = mount{}
	_ raft.StableStore = mount{}
)

func (m mount) FirstIndex() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.first, nil
}

func (m mount) LastIndex() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, nil
}

func (m mount) GetLog(index uint64, into *raft.Log) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.logs[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*into = l
	return nil
}

func (m mount) StoreLog(l *raft.Log) error { return m.StoreLogs([]*raft.Log{l}) }

func (m mount) StoreLogs(logs []*raft.Log) error {
	m.mu.Lock()
	if m.disk.life == m.life {
		m.underway = logs
	}
	m.mu.Unlock()
	return m.sync(m.life, func() {
		m.underway = nil
		m.storeLocked(logs)
	})
}

func (m mount) DeleteRange(first, last uint64) error {
	return m.sync(m.life, func() {
		for i := first; i <= last; i++ {
			delete(m.logs, i)
		}
		switch {
		case len(m.logs) == 0:
			m.disk.first, m.disk.last = 0, 0
		case first <= m.disk.first:
			m.disk.first = last + 1
		default:
			m.disk.last = first - 1
		}
	})
}

func (m mount) Set(key, value []byte) error {
	return m.sync(m.life, func() { m.values[string(key)] = slices.Clone(value) })
}

// SetUint64 stores a number.
func (m mount) SetUint64(key []byte, value uint64) error {
	return m.sync(m.life, func() { m.numbers[string(key)] = value })
}

var errNotFound = errors.New("not found") // raft's own convention

func (m mount) Get(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[string(key)]
	if !ok {
		return nil, errNotFound
	}
	return slices.Clone(v), nil
}

func (m mount) GetUint64(key []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.numbers[string(key)]
	if !ok {
		return 0, errNotFound
	}
	return v, nil
}

// kept is a snapshot: a state, or what another peer sent, unpacked in a store of
// package snapshot. A state is written into one when somebody opens it.
type kept struct {
	disk    *disk
	meta    raft.SnapshotMeta
	content *snapshot.Content
	whole   bool

	turn  chan struct{} // holds a token for whoever opens it: in virtual time nobody may wait for a mutex that is held for long
	store *snapshot.Store
	id    string // in the store
}

// shelf is the snapshots as one life of a peer sees them.
type shelf struct{ mount }

var _ raft.SnapshotStore = shelf{}

// keptSnapshots is how many stay.
const keptSnapshots = 3

func (s shelf) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return &sink{shelf: s, kept: &kept{disk: s.disk, turn: make(chan struct{}, 1), meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d-%d", term, index, s.made), Index: index, Term: term, Configuration: c, ConfigurationIndex: at,
	}}}, nil
}

// List gives the newest first.
func (s shelf) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*raft.SnapshotMeta
	for _, k := range slices.Backward(s.snapshots) {
		if k.whole {
			all = append(all, &k.meta)
		}
	}
	return all, nil
}

func (s shelf) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	at := slices.IndexFunc(s.snapshots, func(k *kept) bool { return k.meta.ID == id })
	if at < 0 {
		s.mu.Unlock()
		return nil, nil, fmt.Errorf("there is no snapshot %s", id)
	}
	k := s.snapshots[at]
	s.mu.Unlock()
	return k.open()
}

// open writes the state down, if that was not done yet, and reads it.
func (k *kept) open() (*raft.SnapshotMeta, io.ReadCloser, error) {
	k.turn <- struct{}{}
	defer func() { <-k.turn }()
	if k.store == nil {
		unpacked, err := k.begin()
		if err == nil {
			err = unpacked.(interface{ Fill(snapshot.Content) error }).Fill(*k.content)
		}
		if err == nil {
			err = unpacked.Close()
		}
		if err != nil {
			k.store = nil
			return nil, nil, err
		}
	}
	m, r, err := k.store.Open(k.id)
	if err != nil {
		return nil, nil, err
	}
	meta := k.meta
	meta.Size = m.Size
	return &meta, r, nil
}

// begin opens a store of its own.
func (k *kept) begin() (raft.SnapshotSink, error) {
	store, err := snapshot.OpenStore(filepath.Join(k.disk.dir, k.meta.ID), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	unpacked, err := store.Create(k.meta.Version, k.meta.Index, k.meta.Term, k.meta.Configuration, k.meta.ConfigurationIndex, nil)
	if err != nil {
		return nil, err
	}
	k.store, k.id = store, unpacked.ID()
	return unpacked, nil
}

// sink takes a state from the machine, or a stream from another peer.
type sink struct {
	shelf    shelf
	kept     *kept
	unpacked raft.SnapshotSink
	ended    bool
}

// ID names the snapshot.
func (s *sink) ID() string { return s.kept.meta.ID }

// Fill takes a state.
func (s *sink) Fill(c snapshot.Content) error {
	s.kept.content = &c
	return nil
}

// Write takes a part of a stream.
func (s *sink) Write(b []byte) (n int, err error) {
	if s.unpacked == nil {
		if s.unpacked, err = s.kept.begin(); err != nil {
			return 0, err
		}
	}
	return s.unpacked.Write(b)
}

// Cancel forgets it.
func (s *sink) Cancel() error {
	if s.ended {
		return nil
	}
	s.ended = true
	if s.unpacked != nil {
		return s.unpacked.Cancel()
	}
	return nil
}

// Close keeps it, once it is synced.
func (s *sink) Close() error {
	if s.ended {
		return nil
	}
	s.ended = true
	if s.unpacked != nil {
		if err := s.unpacked.Close(); err != nil {
			return err
		}
	}
	err := s.shelf.sync(s.shelf.life, func() {
		d := s.shelf.disk
		s.kept.whole = true
		d.snapshots = append(d.snapshots, s.kept)
		slices.SortStableFunc(d.snapshots, func(a, b *kept) int { return int(int64(a.meta.Index) - int64(b.meta.Index)) })
		if extra := len(d.snapshots) - keptSnapshots; extra > 0 {
			d.snapshots = slices.Delete(d.snapshots, 0, extra) // what was unpacked goes with the test's folder
		}
	})
	if err == nil {
		s.shelf.host.world.count("snapshot")
	}
	return err
}
