package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// disk is the log and stable store with a watch on it: it knows how long
// writes take, and never writes again after one has failed. An fsync that is
// tried again after a failure may report success for data that is lost (fsync
// clears the error), so the process must end instead.
type disk struct {
	raft.LogStore
	stable raft.StableStore
	fail   func(error) // ends the node

	ballast *ballast // is given back when the disk is full

	mu      sync.Mutex
	failed  error
	inHand  []time.Time // when the writes in hand began, oldest first: the log, the vote and the commit index may be written side by side
	last    time.Duration
	slowest time.Duration
}

func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d *disk) StoreLogs(logs []*raft.Log) error {
	return d.write("append to the log", func() error { return d.LogStore.StoreLogs(logs) })
}

func (d *disk) DeleteRange(first, last uint64) error {
	return d.write("shorten the log", func() error { return d.LogStore.DeleteRange(first, last) })
}

// write does one write, timed.
func (d *disk) write(what string, do func() error) error {
	d.mu.Lock()
	if d.failed != nil {
		defer d.mu.Unlock()
		return d.failed
	}
	begun := time.Now()
	d.inHand = append(d.inHand, begun)
	d.mu.Unlock()

	err := do()
	if errors.Is(err, syscall.ENOSPC) && d.ballast.drop() {
		err = do()
	}

	d.mu.Lock()
	at := slices.Index(d.inHand, begun)
	d.inHand = slices.Delete(d.inHand, at, at+1)
	d.last = time.Since(begun)
	d.slowest = max(d.slowest, d.last)
	fatal := err != nil && !errors.Is(err, syscall.ENOSPC)
	if fatal {
		d.failed = fmt.Errorf("%s: %w", what, err)
	}
	d.mu.Unlock()

	if fatal {
		d.fail(fmt.Errorf("%s: %w. A write that failed once cannot be trusted when it is tried again, so this peer stops: "+
			"look at the disk under its data folder, then start it again", what, err))
	}
	return err
}

// oldest is when the oldest write in hand began; the zero time without one.
func (d *disk) oldest() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.inHand) == 0 {
		return time.Time{}
	}
	return d.inHand[0]
}

// times are how long the last and the slowest write took.
func (d *disk) times() (last, slowest time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last, d.slowest
}

// vault is the disk's stable store: terms, votes and what is committed.
type vault struct {
	raft.StableStore
	disk *disk
}

func (v vault) Set(key, value []byte) error {
	return v.disk.write("store the vote", func() error { return v.StableStore.Set(key, value) })
}

func (v vault) SetUint64(key []byte, value uint64) error {
	return v.disk.write("store the term", func() error { return v.StableStore.SetUint64(key, value) })
}

// raftValues are the terms and votes as they are given to raft, which panics when it
// cannot store its term. On a full disk they wait for room; where that does not come, and
// after any other error, the node ends, and of raft only the goroutine that met it.
type raftValues struct {
	vault
	fail    func(error)
	running *atomic.Bool
	wait    time.Duration // for room
}

// For how long a term or a vote waits for room on a full disk, and how often it looks.
const (
	roomWait  = 20 * time.Second
	roomPause = 100 * time.Millisecond
)

// Set stores a part of the vote.
func (r raftValues) Set(key, value []byte) error {
	return r.keep("the vote", func() error { return r.vault.Set(key, value) })
}

// SetUint64 stores the term, or a part of the vote.
func (r raftValues) SetUint64(key []byte, value uint64) error {
	return r.keep("the term", func() error { return r.vault.SetUint64(key, value) })
}

func (r raftValues) keep(what string, store func() error) error {
	err := store()
	for began := time.Now(); errors.Is(err, syscall.ENOSPC) && time.Since(began) < r.wait; err = store() {
		time.Sleep(roomPause)
	}
	if err == nil || !r.running.Load() {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("the disk has been full for %s, and %s of raft does not fit on it: %w. This peer stops; "+
			"make room under its data folder, then start it again", r.wait, what, err)
	}
	r.fail(err)
	runtime.Goexit()
	return err
}

// journal is the log as raft sees it. It also remembers what is known to be
// committed, so that a peer that starts alone can show what it had applied:
// raft itself would apply nothing before it finds a quorum.
//
// The commit index that raft stages lies in the Extensions of the last entry of
// each write, so that the two are atomic. Because an idle cluster appends
// nothing, note stores it by itself as well; a committed entry is never taken
// back, so either of the two may be believed.
type journal struct {
	raft.LogStore
	stable raft.StableStore
	staged atomic.Uint64
	noted  atomic.Uint64 // commit index that is on disk
	stored func()        // is called when entries have been stored; may be nil
}

var _ raft.CommitTrackingLogStore = (*journal)(nil)

// Marks of the commit index: in an entry's Extensions, and as a stable key.
var (
	commitMark = []byte("orchd/c1")
	commitKey  = []byte("orchd/committed")
)

// StageCommitIndex keeps the index for the next StoreLogs.
func (j *journal) StageCommitIndex(index uint64) error {
	j.staged.Store(index)
	return nil
}

// GetCommitIndex answers 0: "nothing known". In raft v1.8.0 the true answer
// breaks NewRaft twice: configuration entries up to the index are not put in
// force, so that a restarted peer has no peers and never elects; and more than
// 128 x MaxAppendEntries commands fill a channel that nobody reads yet, so that
// it hangs. The replica replays up to committed instead.
func (j *journal) GetCommitIndex() (uint64, error) { return 0, nil }

// committed is the highest index that this disk knows to be committed, never past the log's end.
func (j *journal) committed() (uint64, error) {
	last, err := j.LastIndex()
	if err != nil || last == 0 {
		return 0, err
	}
	var l raft.Log
	if err := j.LogStore.GetLog(last, &l); err != nil {
		return 0, fmt.Errorf("read log entry %d: %w", last, err)
	}
	index, err := j.appliedOnce()
	if err != nil {
		return 0, err
	}
	if mark, ok := bytes.CutPrefix(l.Extensions, commitMark); ok && len(mark) == 8 {
		index = max(index, binary.BigEndian.Uint64(mark))
	}
	index = min(index, last)
	j.noted.Store(index)
	return index, nil
}

// appliedOnce is the newest index that note stored; 0 without one.
func (j *journal) appliedOnce() (uint64, error) {
	index, err := j.stable.GetUint64(commitKey)
	if err != nil && !isNotFound(err) {
		return 0, fmt.Errorf("read the commit index: %w", err)
	}
	return index, nil
}

// note stores that everything up to index is committed, if the disk does not know yet.
func (j *journal) note(index uint64) error {
	if index <= j.noted.Load() {
		return nil
	}
	if err := j.stable.SetUint64(commitKey, index); err != nil {
		return fmt.Errorf("store the commit index: %w", err)
	}
	j.noted.Store(index)
	return nil
}

func (j *journal) StoreLog(l *raft.Log) error { return j.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries, the last with the staged commit index. It changes
// a copy: raft goes on to use, and to send, the entries that it handed in.
func (j *journal) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	index := j.staged.Load()
	last := *logs[len(logs)-1]
	last.Extensions = binary.BigEndian.AppendUint64(bytes.Clone(commitMark), index)
	marked := append(append(make([]*raft.Log, 0, len(logs)), logs[:len(logs)-1]...), &last)
	if err := j.LogStore.StoreLogs(marked); err != nil {
		return err
	}
	j.noted.Store(max(j.noted.Load(), index))
	if j.stored != nil {
		j.stored()
	}
	return nil
}

// termOf is the term of the entry at an index, if it is here.
func (j *journal) termOf(index uint64) (term uint64, ok bool) {
	var l raft.Log
	err := j.LogStore.GetLog(index, &l)
	return l.Term, err == nil
}

// GetLog reads an entry without our mark, which concerns this disk and no other peer.
func (j *journal) GetLog(index uint64, l *raft.Log) error {
	if err := j.LogStore.GetLog(index, l); err != nil {
		return err
	}
	l.Extensions = nil
	return nil
}
