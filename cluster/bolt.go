package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// boltLockWait is for a process that is just ending to let go of the file.
const boltLockWait = 2 * time.Second

// boltFile is raft's log and stable store in bolt. Bolt panics where a page makes no
// sense; here that is an error.
type boltFile struct {
	store *raftboltdb.BoltStore
	path  string
}

const boltName = "raft.db"

func boltPath(dataDir string) string { return filepath.Join(dataDir, "raft", boltName) }

// openBolt opens the log's file, and makes it as a whole or not at all. The list of
// free pages is kept in memory only: written with each commit it grows with the file
// and fills disks.
func openBolt(path string) (*boltFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		if err := makeBolt(path); err != nil {
			return nil, fmt.Errorf("make log %s: %w", path, err)
		}
	} else if err := inspect(path); err != nil {
		return nil, err
	}
	return openStore(path)
}

// makeBolt writes a new file. One that a crash left half made is no database, and would
// never become one.
func makeBolt(path string) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b, err := openStore(fresh)
	if err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func openStore(path string) (*boltFile, error) {
	b := &boltFile{path: path}
	err := b.guard("open it", func() (err error) {
		b.store, err = raftboltdb.New(raftboltdb.Options{
			Path: path,
			BoltOptions: &bbolt.Options{
				Timeout:        boltLockWait,
				NoFreelistSync: true,
				FreelistType:   bbolt.FreelistMapType,
			},
			MsgpackUseNewTimeFormat: true,
		})
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, errHeld(path)
	case err != nil:
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	return b, nil
}

func errHeld(path string) error {
	return fmt.Errorf("open log %s: another process holds it: is orchd already running with this data folder?", path)
}

// inspect looks at the pages before bolt does, in one of whose goroutines a damaged one
// is a panic that nobody can catch.
func inspect(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer f.Close()
	for until := time.Now().Add(boltLockWait); unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			return errHeld(path)
		}
	}
	b := &boltFile{path: path}
	return b.guard("read its pages", func() error {
		if err := checkPages(f); err != nil {
			return altered(path, err.Error())
		}
		return nil
	})
}

// guard turns a panic into an error: bolt's own at what makes no sense, and the
// fault of reading where the file has been cut off or cannot be read.
func (b *boltFile) guard(what string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = altered(b.path, fmt.Sprintf("%s: %v", what, p))
		}
	}()
	return f()
}

func (b *boltFile) FirstIndex() (index uint64, err error) {
	err = b.guard("read the first index", func() (err error) { index, err = b.store.FirstIndex(); return err })
	return index, err
}

func (b *boltFile) LastIndex() (index uint64, err error) {
	err = b.guard("read the last index", func() (err error) { index, err = b.store.LastIndex(); return err })
	return index, err
}

func (b *boltFile) GetLog(index uint64, l *raft.Log) error {
	return b.guard(fmt.Sprintf("read log entry %d", index), func() error { return b.store.GetLog(index, l) })
}

func (b *boltFile) StoreLog(l *raft.Log) error { return b.StoreLogs([]*raft.Log{l}) }

func (b *boltFile) StoreLogs(logs []*raft.Log) error {
	return b.guard("store log entries", func() error { return b.store.StoreLogs(logs) })
}

func (b *boltFile) DeleteRange(first, last uint64) error {
	return b.guard("delete log entries", func() error { return b.store.DeleteRange(first, last) })
}

func (b *boltFile) Set(key, value []byte) error {
	return b.guard(fmt.Sprintf("store %q", key), func() error { return b.store.Set(key, value) })
}

func (b *boltFile) Get(key []byte) (value []byte, err error) {
	err = b.guard(fmt.Sprintf("read %q", key), func() (err error) { value, err = b.store.Get(key); return err })
	return value, err
}

func (b *boltFile) SetUint64(key []byte, value uint64) error {
	return b.guard(fmt.Sprintf("store %q", key), func() error { return b.store.SetUint64(key, value) })
}

func (b *boltFile) GetUint64(key []byte) (value uint64, err error) {
	err = b.guard(fmt.Sprintf("read %q", key), func() (err error) { value, err = b.store.GetUint64(key); return err })
	return value, err
}

// Close lets go of the file.
func (b *boltFile) Close() error { return b.guard("close it", b.store.Close) }
