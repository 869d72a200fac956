package cluster

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/hashicorp/raft"
)

// ahead is the log store: bolt, with a write-ahead file in front of it. A commit
// of bolt's costs two syncs, and blocks of the file that were never written
// before; a proposal would wait for one on the leader and for one on a follower.
// Here entries are appended to a file of fixed size that was written full of
// zeros before, with one sync, and go to bolt together, behind the writer's back,
// when the file is full.
//
// There are two files, so that one is written while the other's entries move.
// What a file holds stays there until it is written again, and may be put into
// bolt any number of times, because it is the same; so whoever takes entries out
// of bolt first makes the files forget (reset).
type ahead struct {
	bolt boltLog
	size int64       // of a file, in bytes
	most int         // bytes of the largest batch that goes into one
	fail func(error) // told at once of a move that failed, since perhaps nobody writes for a while; may be nil

	writing sync.Mutex // one of StoreLogs, DeleteRange and Close at a time
	files   [2]aheadFile
	active  int    // the one that is appended to
	tail    int64  // where the next batch goes
	stamp   stamp  // of the active file's batches
	newest  uint64 // index of the newest entry, in the files or in bolt
	suspect bool   // an append failed half-way: the files must forget before they are used again
	broken  error  // a sync failed: nothing is written any more
	move    chan error

	mu      sync.Mutex
	pending []*raft.Log // in the active file and not in bolt; by index
	moving  []*raft.Log // in the other file, on their way to bolt
}

// boltLog is what ahead needs of bolt.
type boltLog interface {
	raft.LogStore
	Close() error
}

// Sizes of a write-ahead file, in bytes.
const (
	aheadSize = 4 << 20 // of each of the two
	aheadPage = 4096    // a batch begins at a multiple, so that no acknowledged one shares a page with one that is being written
	aheadMost = 1 << 20 // a larger batch goes straight to bolt: it would fill a file too soon
)

// StoreLog appends one entry.
func (a *ahead) StoreLog(l *raft.Log) error { return a.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries; when it returns they are on disk.
func (a *ahead) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	if a.broken != nil {
		return a.broken
	}
	if err := a.ready(); err != nil {
		return err
	}
	if err := a.append(logs); err != nil {
		return err
	}
	a.newest = max(a.newest, logs[len(logs)-1].Index)
	return nil
}

func (a *ahead) append(logs []*raft.Log) error {
	size := batchSize(logs)
	switch {
	case logs[0].Index <= a.newest: // instead of entries that nobody took out
		if err := a.settle(); err != nil {
			return err
		}
		return a.toBolt(logs)
	case size > a.most:
		if err := a.toBolt(logs); err != nil {
			return err
		}
		return a.tellEnd(logs[len(logs)-1].Index)
	}
	if a.tail+int64(roundUp(size)) > a.size {
		if err := a.turn(); err != nil {
			return err
		}
	}
	if err := a.write(a.active, a.tail, encodeBatch(a.stamp, logs)); err != nil {
		a.suspect = true
		return err
	}
	a.tail += int64(roundUp(size))
	a.mu.Lock()
	a.pending = append(a.pending, logs...)
	a.mu.Unlock()
	return nil
}

// ready hears how a move went, and puts right what a full disk left half done.
func (a *ahead) ready() error {
	select {
	case err := <-a.move:
		a.move <- err
		if err := a.moved(); err != nil {
			return err
		}
	default:
	}
	if a.suspect {
		return a.settle()
	}
	return nil
}

// write puts a batch into a file and waits until it is on disk.
func (a *ahead) write(file int, at int64, batch []byte) error {
	f := a.files[file]
	_, err := f.WriteAt(batch, at)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return a.note(fmt.Errorf("write %s: %w", f.Name(), err))
	}
	return nil
}

// note remembers an error after which nothing may be written any more: all but a full disk.
func (a *ahead) note(err error) error {
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		a.broken = err
	}
	return err
}

// turn goes on in the other file, as soon as bolt has what that one held, and
// has the entries of this one moved.
func (a *ahead) turn() error {
	if err := a.moved(); err != nil {
		return err
	}
	a.mu.Lock()
	a.moving, a.pending = a.pending, nil
	moving := a.moving
	a.mu.Unlock()
	a.active, a.tail = 1-a.active, 0
	a.stamp.round++
	done := make(chan error, 1)
	a.move = done
	go func() {
		err := a.bolt.StoreLogs(moving)
		done <- err
		if err != nil && a.fail != nil && !errors.Is(err, syscall.ENOSPC) {
			a.fail(fmt.Errorf("move log entries into bolt: %w. A write that failed once cannot be trusted when it is tried again, so this peer stops: "+
				"look at the disk under its data folder, then start it again", err))
		}
	}()
	return nil
}

// moved waits until the entries under way are in bolt. If the disk was full it
// tries again.
func (a *ahead) moved() error {
	if a.move == nil {
		return nil
	}
	err := <-a.move
	if errors.Is(err, syscall.ENOSPC) {
		err = a.bolt.StoreLogs(a.moving)
	}
	if err != nil {
		a.move <- err // for the next one who asks
		return a.note(fmt.Errorf("move log entries into bolt: %w", err))
	}
	a.move = nil
	a.mu.Lock()
	a.moving = nil
	a.mu.Unlock()
	return nil
}

// toBolt brings all that is pending, and logs behind it, into bolt.
func (a *ahead) toBolt(logs []*raft.Log) error {
	if err := a.moved(); err != nil {
		return err
	}
	a.mu.Lock()
	all := append(slices.Clone(a.pending), logs...)
	a.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	if err := a.bolt.StoreLogs(all); err != nil {
		return a.note(err)
	}
	a.mu.Lock()
	a.pending = nil
	a.mu.Unlock()
	return nil
}

// settle brings everything into bolt and makes the files forget it.
func (a *ahead) settle() error {
	if err := a.toBolt(nil); err != nil {
		return err
	}
	return a.reset(a.newest)
}

// reset begins both files again, each with an empty batch, on disk. Bolt holds the log
// up to end, and will.
func (a *ahead) reset(end uint64) error {
	a.stamp.salt = newSalt()
	for _, file := range []int{1 - a.active, a.active} {
		a.stamp.round++
		if err := a.write(file, 0, encodeEmpty(a.stamp, end)); err != nil {
			a.suspect = true
			return err
		}
	}
	a.tail, a.suspect = aheadPage, false
	return nil
}

// find gives an entry that bolt does not have yet.
func (a *ahead) find(index uint64) (*raft.Log, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, logs := range [][]*raft.Log{a.pending, a.moving} {
		at, ok := slices.BinarySearchFunc(logs, index, func(l *raft.Log, index uint64) int {
			switch {
			case l.Index < index:
				return -1
			case l.Index > index:
				return 1
			}
			return 0
		})
		if ok {
			return logs[at], true
		}
	}
	return nil, false
}

// GetLog reads an entry.
func (a *ahead) GetLog(index uint64, l *raft.Log) error {
	if found, ok := a.find(index); ok {
		*l = *found
		return nil
	}
	return a.bolt.GetLog(index, l)
}

// FirstIndex is the index of the oldest entry; 0 without one.
func (a *ahead) FirstIndex() (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first, err := a.bolt.FirstIndex()
	if err != nil || first != 0 {
		return first, err
	}
	for _, logs := range [][]*raft.Log{a.moving, a.pending} {
		if len(logs) > 0 {
			return logs[0].Index, nil
		}
	}
	return 0, nil
}

// LastIndex is the index of the newest entry; 0 without one.
func (a *ahead) LastIndex() (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, logs := range [][]*raft.Log{a.pending, a.moving} {
		if len(logs) > 0 {
			return logs[len(logs)-1].Index, nil
		}
	}
	return a.bolt.LastIndex()
}

// DeleteRange takes entries out of bolt. The files must have forgotten them by
// then, or a crash would bring them back.
func (a *ahead) DeleteRange(first, last uint64) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	if a.broken != nil {
		return a.broken
	}
	if err := a.toBolt(nil); err != nil {
		return err
	}
	end := a.newest
	if last >= end {
		end = 0 // what will be the newest is known afterwards
	}
	if err := a.reset(end); err != nil {
		return err
	}
	if err := a.note(a.bolt.DeleteRange(first, last)); err != nil {
		return err
	}
	newest, err := a.bolt.LastIndex()
	if err != nil {
		return a.note(fmt.Errorf("read the log's last index: %w", err))
	}
	a.newest = newest
	if newest == end {
		return nil
	}
	return a.tellEnd(newest)
}

// tellEnd tells the files where the log ends, now that bolt has changed. That it has is
// what raft must hear, also where there is no room to tell: the next append does it then.
func (a *ahead) tellEnd(end uint64) error {
	if err := a.reset(end); !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return nil
}

// Close moves what is pending into bolt and closes both. A disk that has failed is not written to.
func (a *ahead) Close() error {
	a.writing.Lock()
	defer a.writing.Unlock()
	var err error
	if a.broken == nil {
		err = a.settle()
	} else if a.move != nil {
		<-a.move
	}
	a.broken = os.ErrClosed
	return errors.Join(err, a.closeFiles(), a.bolt.Close())
}

func (a *ahead) closeFiles() error {
	var errs []error
	for _, f := range a.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
