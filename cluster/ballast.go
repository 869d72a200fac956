package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ballast is a file that holds room on the disk, to be given back when there is none
// left: raft's terms, votes and entries then still find some, for long enough to hand
// leadership over and to delete what is not needed. It is made again when there is room.
type ballast struct {
	path string       // of the file; empty: there is none to be
	want int64        // its size in bytes, of which a small disk holds less
	said func(string) // is told when the file is given back

	mu    sync.Mutex
	there bool
	lacks atomic.Int64 // bytes of the file while it is not there
}

const (
	ballastTick  = 10 * time.Second // how often it is looked after
	ballastShare = 100              // it takes one part in so many of a disk at most
	ballastUnit  = 1 << 20          // and whole ones of these, in bytes
)

func newBallast(dataDir string, want int64) *ballast {
	b := &ballast{want: want}
	if dataDir != "" {
		b.path = filepath.Join(dataDir, "ballast")
	}
	return b
}

// drop gives the room back; false when there is none to give, as of no ballast at all.
func (b *ballast) drop() bool {
	if b == nil || b.path == "" {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.there {
		return false
	}
	info, err := os.Lstat(b.path)
	if err != nil || os.Remove(b.path) != nil {
		return false
	}
	b.there = false
	b.lacks.Store(info.Size())
	if b.said != nil {
		b.said(b.path)
	}
	return true
}

// found tells whether the file is there from an earlier run.
func (b *ballast) found() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path != "" {
		_, err := os.Lstat(b.path)
		b.there = err == nil
	}
	return b.there
}

// missing is how much room the file will take when it is made again.
func (b *ballast) missing() int64 { return b.lacks.Load() }

// keep has the file as it should be, if there is room for it: as much again must be left,
// and what a nearly full disk keeps for deletes (a tenth, 1 GiB at most).
func (b *ballast) keep() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path == "" {
		return nil
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(b.path), &disk); err != nil {
		return fmt.Errorf("how full the disk of %s is cannot be told: %w", filepath.Dir(b.path), err)
	}
	size, free := int64(disk.Blocks)*disk.Bsize, int64(disk.Bavail)*disk.Bsize
	want := min(b.want, size/ballastShare/ballastUnit*ballastUnit)
	info, err := os.Lstat(b.path)
	if b.there = err == nil && want > 0 && info.Size() == want; b.there {
		b.lacks.Store(0)
		return nil
	}
	if err == nil { // half made, or of another size
		if err := os.Remove(b.path); err != nil {
			return fmt.Errorf("remove the ballast file: %w", err)
		}
		free += info.Size()
	}
	b.lacks.Store(want)
	if want == 0 || free < 2*want+min(1<<30, size/10) {
		return nil
	}
	if err := fillFile(b.path, want); err != nil {
		return errors.Join(fmt.Errorf("make the ballast file: %w", err), b.forget())
	}
	b.there = true
	b.lacks.Store(0)
	return nil
}

// forget removes what there is of the file.
func (b *ballast) forget() error {
	if err := os.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fillFile makes a file that takes up that many bytes. Where the file system cannot
// reserve them they are written, and so that they cannot be compressed.
func fillFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ballastLoop keeps the ballast, until the node is closed.
func (n *Node) ballastLoop() {
	look := func() {
		if err := n.stores.ballast.keep(); err != nil {
			n.log.Warn("the ballast file is not as it should be", "err", err)
		}
	}
	look()
	n.every(ballastTick, look)
}

// BallastMissing is how many bytes of the disk the ballast file will take when it is made
// again; 0 while it is there.
func (n *Node) BallastMissing() int64 { return n.stores.ballast.missing() }
