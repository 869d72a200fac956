package depot

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/orchd/orchd/api"
)

// maxReserve is the most that stays free by default.
const maxReserve = 1 << 30

// room refuses to write need bytes more when too little would stay free: a full
// disk stops guests, and orchd itself.
func (d *Depot) room(need int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.cfg.Dir, &fs); err != nil {
		return failed(err)
	}
	block := int64(fs.Bsize)
	free, reserve := int64(fs.Bavail)*block, d.cfg.ReserveBytes
	if reserve == 0 {
		reserve = min(int64(fs.Blocks)*block/20, maxReserve)
	}
	if free-reserve >= need {
		return nil
	}
	return full("it needs %s more, and %s are free, of which %s stay free for the host", size(need), size(free), size(reserve))
}

func full(format string, args ...any) error {
	return api.Errorf(api.NoCapacity, "image",
		"there is no room for this image on this host: %s; remove images or disks that nobody needs, or enlarge the file system", fmt.Sprintf(format, args...))
}

// isFull tells whether err says that there is no room.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<40:
		return fmt.Sprintf("%.1f TiB", float64(n)/(1<<40))
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
