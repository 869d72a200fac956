package snapshot

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Space is how large a disk is and how much of it is free, in bytes.
type Space struct{ Free, Size uint64 }

// SpaceOf asks the file system that dir lies on.
func SpaceOf(dir string) (Space, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return Space{}, fmt.Errorf("how full the disk of %s is cannot be told: %w", dir, err)
	}
	block := uint64(fs.Bsize)
	return Space{Free: fs.Bavail * block, Size: fs.Blocks * block}, nil
}

// spare is what a snapshot leaves free for the log, which must not run out of room: 1 GiB, or
// a twentieth of a smaller disk.
func (s Space) spare() uint64 { return min(1<<30, s.Size/20) }

// roomFor fails if there is no room for a snapshot of as many bytes. The error is syscall.ENOSPC.
func (m *Marks) roomFor(bytes uint64) error {
	s, err := m.Space(m.dir)
	if err != nil {
		return err
	}
	return s.roomFor(m.dir, bytes, "snapshot")
}

// RoomFor fails if dir has no room for a file of as many bytes and what is spared for the
// log. The error is syscall.ENOSPC.
func RoomFor(dir string, bytes uint64) error {
	s, err := SpaceOf(dir)
	if err != nil {
		return err
	}
	return s.roomFor(dir, bytes, "file")
}

func (s Space) roomFor(dir string, bytes uint64, what string) error {
	if need := bytes + s.spare(); s.Free < need {
		return fmt.Errorf("the disk of %s is nearly full: %d MiB are free, and %d MiB are needed, %d for the %s and %d to spare; make room there, or keep fewer snapshots: %w",
			dir, s.Free>>20, mebibytes(need), mebibytes(bytes), what, mebibytes(s.spare()), syscall.ENOSPC)
	}
	return nil
}

// mebibytes rounds up.
func mebibytes(n uint64) uint64 { return (n + 1<<20 - 1) >> 20 }

// ranFull says of an error of a draft that was discarded if the disk was why.
func (m *Marks) ranFull(err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return fmt.Errorf("the disk of %s ran full in the middle, and what there was of the snapshot is removed; make room there, or keep fewer snapshots: %w", m.dir, err)
}
