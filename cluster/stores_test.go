package cluster

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotsAt is a store that lists snapshots of those indexes.
type snapshotsAt struct {
	raft.SnapshotStore
	indexes []uint64
	bad     []string
}

func (s snapshotsAt) Usable() (good []*raft.SnapshotMeta, bad []string, err error) {
	for _, i := range s.indexes {
		good = append(good, &raft.SnapshotMeta{Index: i})
	}
	return good, s.bad, nil
}

// entries are log entries from first to last.
func entries(first, last uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 1})
	}
	return logs
}

func TestPreflightRefusesWhatDoesNotJoinUp(t *testing.T) {
	for name, c := range map[string]struct {
		snapshots []uint64
		bad       []string
		logs      []*raft.Log
		applied   uint64 // as noted on the disk
		refused   string // part of the sentence; empty: it starts
	}{
		"a new peer":                     {},
		"a log from the start":           {logs: entries(1, 9)},
		"a snapshot alone":               {snapshots: []uint64{7}},
		"a snapshot within the log":      {snapshots: []uint64{7}, logs: entries(3, 9)},
		"a snapshot next to the log":     {snapshots: []uint64{7}, logs: entries(8, 9)},
		"a log older than the snapshot":  {snapshots: []uint64{20}, logs: entries(1, 9)},
		"a gap that the snapshot covers": {snapshots: []uint64{20}, logs: append(entries(1, 9), entries(21, 25)...)},
		"no snapshot, log cut":           {logs: entries(3, 9), refused: "entry 1 is missing"},
		"snapshot too old":               {snapshots: []uint64{5}, logs: entries(8, 9), refused: "entry 6 is missing"},
		"a gap after the snapshot":       {snapshots: []uint64{5}, logs: append(entries(1, 9), entries(21, 25)...), refused: "entry 10 is missing"},
		"all snapshots bad, no log":      {bad: []string{"snapshot 7 is torn"}, refused: "snapshot 7 is torn"},
		"all that was applied":           {logs: entries(1, 9), applied: 9},
		"applied from a snapshot":        {snapshots: []uint64{20}, logs: entries(1, 9), applied: 20},
		"the end of the log is lost":     {logs: entries(1, 8), applied: 9, refused: "entry 9 is missing"},
		"the whole log is lost":          {applied: 9, refused: "entry 1 is missing"},
		"newest bad, log covers":         {snapshots: []uint64{5}, bad: []string{"snapshot 7 is torn"}, logs: entries(4, 9)},
	} {
		t.Run(name, func(t *testing.T) {
			store := raft.NewInmemStore()
			must(t, store.StoreLogs(c.logs))
			must(t, store.SetUint64(commitKey, c.applied))
			s := &stores{logs: &journal{LogStore: store, stable: store}, snapshots: snapshotsAt{indexes: c.snapshots, bad: c.bad}}
			_, err := s.preflight("/data")
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.refused != "" && err == nil:
				t.Error("it starts")
			case c.refused != "" && !(strings.Contains(err.Error(), c.refused) && strings.Contains(err.Error(), "/data/raft/snapshots")):
				t.Errorf("refused with %q; want the folder and %q in it", err, c.refused)
			}
		})
	}
}

func TestJournalRemembersWhatIsCommitted(t *testing.T) {
	store := raft.NewInmemStore()
	j := &journal{LogStore: store, stable: store}
	committed := func() uint64 {
		t.Helper()
		// A new one on the same disk: what would be known after a crash.
		index, err := (&journal{LogStore: store, stable: store}).committed()
		must(t, err)
		return index
	}
	if got := committed(); got != 0 {
		t.Errorf("an empty log has %d committed, want 0", got)
	}
	written := entries(1, 3)
	must(t, j.StageCommitIndex(1))
	if got := committed(); got != 0 {
		t.Errorf("a staged index was stored before its entries: %d", got)
	}
	must(t, j.StoreLogs(written))
	if got := committed(); got != 1 {
		t.Errorf("committed %d, want 1", got)
	}
	for _, l := range written {
		if len(l.Extensions) != 0 {
			t.Errorf("raft's own copy of entry %d was changed", l.Index)
		}
	}
	var l raft.Log
	must(t, j.GetLog(3, &l))
	if len(l.Extensions) != 0 {
		t.Errorf("the mark is read back with the entry: %q", l.Extensions)
	}

	must(t, j.note(3))
	if got := committed(); got != 3 {
		t.Errorf("after note committed %d, want 3", got)
	}
	must(t, j.note(9)) // applied from a snapshot that is ahead of this log
	if got := committed(); got != 3 {
		t.Errorf("committed %d, past the end of the log at 3", got)
	}
}

// badDisk fails, or hangs as long as a test holds it.
type badDisk struct {
	*raft.InmemStore
	err  error
	hold sync.Mutex
}

func (b *badDisk) StoreLogs(logs []*raft.Log) error {
	b.hold.Lock()
	defer b.hold.Unlock()
	if b.err != nil {
		return b.err
	}
	return b.InmemStore.StoreLogs(logs)
}

// newHouseOfBadDisks is a house in which a test can hold the disk of each peer, by its id.
func newHouseOfBadDisks(t *testing.T, size int, configure ...func(*Config)) (*house, map[string]*badDisk) {
	disks := map[string]*badDisk{}
	return newHouse(t, size, func(c *Config) {
		for _, set := range configure {
			set(c)
		}
		if disks[c.Identity.PeerID] == nil {
			disks[c.Identity.PeerID] = &badDisk{InmemStore: raft.NewInmemStore()}
		}
		c.Logs = disks[c.Identity.PeerID]
		c.Stable = disks[c.Identity.PeerID]
	}), disks
}

// stall holds the disk of p, a follower, until p itself has seen it: the stall of one whose
// disk answers would be over at its next look.
func (h *house) stall(p *peer, d *badDisk) {
	d.hold.Lock()
	if _, err := h.leader().Propose(within(h.t, 20*time.Second), set("stall", "1")); err != nil {
		h.t.Errorf("the others could not commit: %v", err)
	}
	h.eventually(func() error {
		if !p.DiskStalled() {
			return errors.New("no stall was seen yet")
		}
		return nil
	})
}

func TestOneFailedWriteEndsThePeer(t *testing.T) {
	broken := &badDisk{InmemStore: raft.NewInmemStore(), err: io.ErrUnexpectedEOF}
	var fatal error
	d := &disk{LogStore: broken, stable: broken, fail: func(err error) { fatal = err }}
	if err := d.StoreLogs(entries(1, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the write gave %v", err)
	}
	if fatal == nil || !strings.Contains(fatal.Error(), "this peer stops") {
		t.Errorf("the node was told %v; want a sentence", fatal)
	}
	broken.err = nil
	if err := d.StoreLogs(entries(1, 1)); err == nil {
		t.Error("a disk that failed once was written to again")
	}
	if err := (vault{broken, d}).SetUint64([]byte("term"), 2); err == nil {
		t.Error("a vote was stored on a disk that failed")
	}
}

func TestFullDiskIsNoFailure(t *testing.T) {
	full := &badDisk{InmemStore: raft.NewInmemStore(), err: syscall.ENOSPC}
	d := &disk{LogStore: full, stable: full, fail: func(err error) { t.Errorf("a full disk ended the peer: %v", err) }}
	if err := d.StoreLogs(entries(1, 1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the write gave %v, want ENOSPC", err)
	}
	full.err = nil
	must(t, d.StoreLogs(entries(1, 1)))
}

// smallVault has no room for the first few values.
type smallVault struct {
	raft.StableStore
	full int // writes that fail from now on
}

func (v *smallVault) SetUint64(key []byte, value uint64) error {
	if v.full > 0 {
		v.full--
		return syscall.ENOSPC
	}
	return v.StableStore.SetUint64(key, value)
}

// TestTermWaitsForRoom: raft would panic if it could not store its term.
func TestTermWaitsForRoom(t *testing.T) {
	small := &smallVault{raft.NewInmemStore(), 2}
	d := &disk{stable: small, fail: func(err error) { t.Errorf("a full disk ended the peer: %v", err) }}
	must(t, raftValues{vault: vault{small, d}, wait: roomWait}.SetUint64([]byte("term"), 7))
	if term, err := small.GetUint64([]byte("term")); err != nil || term != 7 {
		t.Errorf("the term that was stored is %d: %v", term, err)
	}
}

// deadVault takes nothing any more.
type deadVault struct {
	raft.StableStore
	err error
}

func (v deadVault) Set(_, _ []byte) error              { return v.err }
func (v deadVault) SetUint64(_ []byte, _ uint64) error { return v.err }

// TestTermWithoutRoomEndsThePeer: where room does not come, the node ends with a sentence,
// and raft's goroutine with it, which would panic. The same after any other error.
func TestTermWithoutRoomEndsThePeer(t *testing.T) {
	for _, failure := range []error{syscall.ENOSPC, syscall.EIO} {
		var said atomic.Pointer[string]
		running := &atomic.Bool{}
		running.Store(true)
		broken := deadVault{raft.NewInmemStore(), failure}
		d := &disk{stable: broken, fail: func(error) {}}
		values := raftValues{vault: vault{broken, d}, running: running, fail: func(err error) { said.Store(new(err.Error())) }}
		came, ended := false, make(chan struct{})
		go func() {
			defer close(ended)
			values.SetUint64([]byte("CurrentTerm"), 7)
			came = true
		}()
		<-ended
		if came {
			t.Errorf("%v: raft hears of it, and panics", failure)
		}
		if s := said.Load(); s == nil || failure == syscall.ENOSPC && !strings.Contains(*s, "make room under its data folder") {
			t.Errorf("%v: the node was ended with %v", failure, s)
		}
		running.Store(false) // while raft starts, its error is one of Open
		if err := values.Set([]byte("vote"), []byte("x")); !errors.Is(err, failure) {
			t.Errorf("before it runs: %v, want %v", err, failure)
		}
	}
}

// TestFullDiskGetsTheBallast: the write that finds no room is done again with what the
// ballast file held.
func TestFullDiskGetsTheBallast(t *testing.T) {
	dir := t.TempDir()
	b := newBallast(dir, 1<<20)
	must(t, b.keep())
	path := filepath.Join(dir, "ballast")
	if info, err := os.Stat(path); err != nil || info.Size() != 1<<20 || b.missing() != 0 {
		t.Fatalf("the ballast is %v, %v, and lacks %d bytes", info, err, b.missing())
	}
	small := &smallVault{raft.NewInmemStore(), 1}
	d := &disk{stable: small, ballast: b, fail: func(err error) { t.Errorf("a full disk ended the peer: %v", err) }}
	must(t, vault{small, d}.SetUint64([]byte("term"), 7))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || b.missing() != 1<<20 {
		t.Errorf("after the write the ballast is there (%v), or lacks %d bytes", err, b.missing())
	}
	small.full = 1
	if err := (vault{small, d}).SetUint64([]byte("term"), 8); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("without ballast: %v, want ENOSPC", err)
	}
	must(t, b.keep()) // there is room again
	if _, err := os.Stat(path); err != nil || b.missing() != 0 {
		t.Errorf("it is not made again: %v, lacks %d", err, b.missing())
	}
	must(t, os.Truncate(path, 5)) // a crash came while it was made
	again := newBallast(dir, 1<<20)
	must(t, again.keep())
	if info, err := os.Stat(path); err != nil || info.Size() != 1<<20 {
		t.Errorf("a half made one stays: %v, %v", info, err)
	}
	none := newBallast(dir, 0)
	must(t, none.keep())
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || none.drop() || none.missing() != 0 {
		t.Errorf("none is wanted, and it stays: %v", err)
	}
}

func TestDiskKnowsHowLongWritesTake(t *testing.T) {
	slow := &badDisk{InmemStore: raft.NewInmemStore()}
	slow.hold.Lock()
	d := &disk{LogStore: slow, stable: slow}
	done := make(chan error)
	go func() { done <- d.StoreLogs(entries(1, 1)) }()
	eventually(t, func() error {
		if at := d.oldest(); at.IsZero() || time.Since(at) < 20*time.Millisecond {
			return errors.New("the write in hand is not seen to hang")
		}
		return nil
	})
	slow.hold.Unlock()
	must(t, <-done)
	if got := d.oldest(); !got.IsZero() {
		t.Errorf("a write is in hand since %s, want none", got)
	}
	if last, slowest := d.times(); last < 20*time.Millisecond || slowest < last {
		t.Errorf("last write %s, slowest %s; want at least 20ms", last, slowest)
	}
}

// TestYoungerWriteDoesNotHideOneThatHangs: a vote that is stored beside it.
func TestYoungerWriteDoesNotHideOneThatHangs(t *testing.T) {
	slow := &badDisk{InmemStore: raft.NewInmemStore()}
	slow.hold.Lock()
	d := &disk{LogStore: slow, stable: slow}
	done := make(chan error)
	go func() { done <- d.StoreLogs(entries(1, 1)) }()
	eventually(t, func() error {
		if d.oldest().IsZero() {
			return errors.New("the write has not begun")
		}
		return nil
	})
	before := d.oldest()
	must(t, vault{slow, d}.SetUint64([]byte("term"), 2))
	if got := d.oldest(); !got.Equal(before) {
		t.Errorf("the write in hand began at %s, it began at %s before", got, before)
	}
	slow.hold.Unlock()
	must(t, <-done)
	if got := d.oldest(); !got.IsZero() {
		t.Errorf("a write is in hand since %s, want none", got)
	}
}

// TestPausedProcessBlamesNoDisk: what hangs is what was looked at and hung.
func TestPausedProcessBlamesNoDisk(t *testing.T) {
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	write := began.Add(time.Millisecond)
	var c stallClock
	for _, look := range []struct {
		at     time.Duration
		oldest time.Time
		want   time.Duration
	}{
		{0, time.Time{}, 0},
		{diskTick, write, 0},
		{2 * diskTick, write, diskTick},
		{3 * diskTick, write, 2 * diskTick},
		{time.Minute, write, 4 * diskTick}, // the process was paused
		{time.Minute + diskTick, write, 5 * diskTick},
		{time.Minute + 2*diskTick, write.Add(time.Minute), 0}, // another write
		{time.Minute + 3*diskTick, write.Add(time.Minute), diskTick},
		{time.Minute + 4*diskTick, time.Time{}, 0},
	} {
		if got := c.look(began.Add(look.at), look.oldest); got != look.want {
			t.Errorf("at %s: %s, want %s", look.at, got, look.want)
		}
	}
}
