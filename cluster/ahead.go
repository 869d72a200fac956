package cluster

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

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

// aheadFile is a file whose size stays as it is.
type aheadFile interface {
	io.ReaderAt
	io.WriterAt
	Sync() error // all that was written is on disk when it returns
	Close() error
	Name() string
}

// zeroed is a file whose blocks are all there, so that its data are all there is to sync.
type zeroed struct{ *os.File }

func (z zeroed) Sync() error {
	for {
		if err := syscall.Fdatasync(int(z.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// Sizes of a write-ahead file, in bytes.
const (
	aheadSize = 4 << 20   // of each of the two
	aheadPage = 4096      // a batch begins at a multiple, so that no acknowledged one shares a page with one that is being written
	aheadMost = 256 << 10 // a larger batch goes straight to bolt: to write it twice would cost more than the syncs
)

// A batch is what one StoreLogs wrote, big endian:
//
//	CRC32C 4 bytes | length of the entries 4 bytes | round 8 bytes | salt 8 bytes | n x entry
//
// and an entry
//
//	index 8 | term 8 | type 1 | appended at: Unix seconds 8, nanoseconds 4 | length 4, data | length 4, extensions
//
// The checksum is over everything behind it.
const (
	batchHeader = 4 + 4 + 8 + 8
	entryHeader = 8 + 8 + 1 + 8 + 4 + 4 + 4
)

// stamp tells a file's batches from what it held before. Each time that a file
// is begun it gets a higher round, and each time that both forget a new salt.
// Batches of one salt are therefore never contradicted by bolt: between them
// nothing was taken out of it. The salt is random, because whoever writes
// commands could guess the round, and make bytes that look like a batch.
type stamp struct{ round, salt uint64 }

func newSalt() uint64 {
	var salt [8]byte
	rand.Read(salt[:])
	return binary.BigEndian.Uint64(salt[:])
}

// openAhead opens the two files beside bolt's and moves into bolt what a crash
// left in them. The store closes bolt from then on, also when this fails. Bolt's
// lock keeps other processes away from the files too, so it is open already.
func openAhead(dir string, bolt boltLog) (_ *ahead, err error) {
	a := &ahead{bolt: bolt, size: aheadSize, most: aheadMost}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.closeFiles(), bolt.Close())
		}
	}()
	for i := range a.files {
		f, err := openZeroed(filepath.Join(dir, fmt.Sprintf("ahead.%d", i)))
		if err != nil {
			return nil, err
		}
		a.files[i] = f
	}
	// The names of the files and of bolt's, and the name of their folder.
	for _, folder := range []string{dir, filepath.Dir(dir)} {
		if err := syncFolder(folder); err != nil {
			return nil, err
		}
	}
	if err := a.recover(); err != nil {
		return nil, err
	}
	return a, nil
}

// openZeroed opens a file that has all its blocks, so that no sync has to
// write down where new ones are.
func openZeroed(path string) (aheadFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() < aheadSize {
		// What is there stays: a crash may have come while the file was made.
		if _, err = f.WriteAt(make([]byte, aheadSize-info.Size()), info.Size()); err == nil {
			err = f.Sync()
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make %s, %d bytes: %w", path, aheadSize, err), f.Close())
	}
	return zeroed{f}, nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}

// recover puts into bolt what the files hold and it does not, in the order it
// was written. When bolt's disk is full the entries stay where they are, and are
// served from memory, until there is room.
func (a *ahead) recover() error {
	known, err := a.bolt.LastIndex()
	if err != nil {
		return fmt.Errorf("read the log's last index: %w", err)
	}
	var found [2]contents
	for i, f := range a.files {
		if found[i], err = readAhead(f, a.size); err != nil {
			return err
		}
	}
	for i, c := range found {
		if c.damaged(found[1-i], known) {
			return fmt.Errorf("%s is damaged in the middle: the disk or the memory altered it, and log entries are lost with it. "+
				"Move the data folder aside and join the cluster again with a new token; the other peers have everything", a.files[i].Name())
		}
	}
	a.stamp.round = max(found[0].stamp.round, found[1].stamp.round)
	if found[0].stamp.round > found[1].stamp.round {
		found[0], found[1] = found[1], found[0]
	}
	a.newest = known
	if a.pending, err = a.missing(slices.Concat(found[0].logs, found[1].logs), known); err != nil {
		return err
	}
	if len(a.pending) > 0 {
		a.newest = a.pending[len(a.pending)-1].Index
	}
	if err := a.settle(); err != nil {
		a.suspect = true
		if !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("move what a crash left into bolt: %w", err)
		}
	}
	return nil
}

// missing are the entries that bolt, which ends at known, does not have. Those
// that it should have it does have, or bolt was written by somebody who did not
// look into the files.
func (a *ahead) missing(logs []*raft.Log, known uint64) (rest []*raft.Log, err error) {
	last := known
	for _, l := range logs {
		var kept raft.Log
		err := error(raft.ErrLogNotFound)
		switch {
		case l.Index > last:
			rest, last = append(rest, l), l.Index
			continue
		case l.Index <= known:
			err = a.bolt.GetLog(l.Index, &kept)
		}
		if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
			return nil, fmt.Errorf("read log entry %d: %w", l.Index, err)
		}
		if err != nil || kept.Term != l.Term || kept.Type != l.Type {
			return nil, fmt.Errorf("%s and %s hold another log than the file beside them: entry %d is not the same. "+
				"A version of orchd that does not know the two files may have run after a crash; if so, move them aside and start again. "+
				"If not, move the data folder aside and join the cluster again with a new token", a.files[0].Name(), a.files[1].Name(), l.Index)
		}
	}
	return rest, nil
}

// contents are what is legible in a file.
type contents struct {
	begun bool // its first batch is legible
	stamp stamp
	logs  []*raft.Log // of the batches from the beginning on, with this stamp
	stray []stray     // batches behind something else
}

// stray is a batch that does not follow on the one before.
type stray struct {
	salt uint64
	last uint64 // index of its newest entry; 0 without one
}

// damaged tells whether a batch behind an illegible one is missing in bolt, which
// ends at known. It was acknowledged, and so was the illegible one, which is
// therefore not one that a crash tore. What is of another salt lies there from
// before the files forgot. Where both files' beginnings are illegible it may be
// any. Of one salt, what bolt does not have is needed: a file is written again
// from the beginning only when bolt has what it held.
func (c contents) damaged(other contents, known uint64) bool {
	return slices.ContainsFunc(c.stray, func(s stray) bool {
		switch {
		case s.last <= known:
			return false
		case c.begun:
			return s.salt == c.stamp.salt
		}
		return !other.begun || s.salt == other.stamp.salt
	})
}

// readAhead reads a file up to the batch that a crash tore, and looks for batches behind it.
func readAhead(f aheadFile, size int64) (c contents, err error) {
	all := make([]byte, size)
	if _, err := f.ReadAt(all, 0); err != nil {
		return c, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	torn := false
	for pos := 0; pos < len(all); {
		stamp, logs, size, ok := decodeBatch(all[pos:])
		if !ok {
			torn = true
			pos += aheadPage
			continue
		}
		if pos == 0 {
			c.begun, c.stamp = true, stamp
		}
		pos += roundUp(size)
		if torn = torn || stamp != c.stamp; !torn {
			c.logs = append(c.logs, logs...)
		} else if n := len(logs); n > 0 {
			c.stray = append(c.stray, stray{stamp.salt, logs[n-1].Index})
		}
	}
	return c, nil
}

func roundUp(size int) int { return (size + aheadPage - 1) / aheadPage * aheadPage }

// encodeBatch lays out entries as one batch, padded to whole pages.
func encodeBatch(of stamp, logs []*raft.Log) []byte {
	size := batchSize(logs)
	b := make([]byte, 4, roundUp(size))
	b = binary.BigEndian.AppendUint32(b, uint32(size-batchHeader))
	b = binary.BigEndian.AppendUint64(b, of.round)
	b = binary.BigEndian.AppendUint64(b, of.salt)
	for _, l := range logs {
		b = binary.BigEndian.AppendUint64(b, l.Index)
		b = binary.BigEndian.AppendUint64(b, l.Term)
		b = append(b, byte(l.Type))
		b = binary.BigEndian.AppendUint64(b, uint64(l.AppendedAt.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(l.AppendedAt.Nanosecond()))
		b = binary.BigEndian.AppendUint32(b, uint32(len(l.Data)))
		b = append(b, l.Data...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(l.Extensions)))
		b = append(b, l.Extensions...)
	}
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b[:cap(b)]
}

func batchSize(logs []*raft.Log) int {
	size := batchHeader
	for _, l := range logs {
		size += entryHeader + len(l.Data) + len(l.Extensions)
	}
	return size
}

// decodeBatch reads the batch at the beginning of b; false when there is no
// whole one. The entries are copies.
func decodeBatch(b []byte) (of stamp, logs []*raft.Log, size int, ok bool) {
	if len(b) < batchHeader {
		return of, nil, 0, false
	}
	length := binary.BigEndian.Uint32(b[4:])
	if uint64(length) > uint64(len(b)-batchHeader) {
		return of, nil, 0, false
	}
	size = batchHeader + int(length)
	if crc32.Checksum(b[4:size], castagnoli) != binary.BigEndian.Uint32(b) {
		return of, nil, 0, false
	}
	for rest := b[batchHeader:size]; len(rest) > 0; {
		l := new(raft.Log)
		if rest, ok = decodeEntry(rest, l); !ok {
			return of, nil, 0, false
		}
		logs = append(logs, l)
	}
	return stamp{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, logs, size, true
}

func decodeEntry(b []byte, l *raft.Log) (rest []byte, ok bool) {
	const fixed = 8 + 8 + 1 + 8 + 4
	if len(b) < fixed {
		return nil, false
	}
	l.Index, l.Term, l.Type = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), raft.LogType(b[16])
	l.AppendedAt = time.Unix(int64(binary.BigEndian.Uint64(b[17:])), int64(binary.BigEndian.Uint32(b[25:]))).UTC()
	b = b[fixed:]
	for _, part := range []*[]byte{&l.Data, &l.Extensions} {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return nil, false
		}
		end := 4 + int(binary.BigEndian.Uint32(b))
		if end > 4 {
			*part = slices.Clone(b[4:end])
		}
		b = b[end:]
	}
	return b, true
}

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
		return a.toBolt(logs)
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
	return a.reset()
}

// reset begins both files again, each with an empty batch, on disk.
func (a *ahead) reset() error {
	a.stamp.salt = newSalt()
	for _, file := range []int{1 - a.active, a.active} {
		a.stamp.round++
		if err := a.write(file, 0, encodeBatch(a.stamp, nil)); err != nil {
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
	if err := a.settle(); err != nil {
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
