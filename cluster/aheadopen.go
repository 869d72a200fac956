package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/hashicorp/raft"
)

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
		return fmt.Errorf("sync folder: %w", err)
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
	if a.pending, err = a.missing(slices.Concat(found[0].logs, found[1].logs), known); err != nil {
		return err
	}
	a.newest = known
	if len(a.pending) > 0 {
		a.newest = a.pending[len(a.pending)-1].Index
	}
	if end := max(found[0].end, found[1].end); a.newest < end {
		return altered(filepath.Join(filepath.Dir(a.files[0].Name()), boltName), fmt.Sprintf("the log in it ends with entry %d, and entry %d had been stored", known, end))
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
	end   uint64      // index of the newest entry in bolt when the file was begun; 0 where it does not say
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
			if len(logs) == 0 {
				c.end = decodeEnd(all[size:])
			}
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
