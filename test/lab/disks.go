package lab

import (
	"fmt"
	"path/filepath"
)

// SmallDisks gives each host so little room for the disks of guests that a test can
// fill it. Only processes of the host see what is in there.
func SmallDisks(mib int) Option { return func(l *Lab) { l.disksMiB = mib } }

// mountDisks puts a file system of its own where the disks lie.
func (h *Host) mountDisks() error {
	disks := filepath.Join(h.DataDir(), "disks")
	_, err := h.Output("sh", "-ec", fmt.Sprintf(`mkdir -p -m 0711 "%[1]s" "%[2]s"
mount -t tmpfs -o size=%[3]dm,mode=0711 disks "%[2]s"`, h.DataDir(), disks, h.lab.disksMiB))
	return err
}

// filler is the file that takes the room.
func (h *Host) filler() string { return filepath.Join(h.DataDir(), "disks", "filler") }

// FillDisks leaves no room for disks, until FreeDisks.
func (h *Host) FillDisks() {
	h.t.Helper()
	h.Run("sh", "-c", "cat /dev/zero >"+h.filler()+" 2>/dev/null; test -s "+h.filler())
}

// FreeDisks gives the room back.
func (h *Host) FreeDisks() {
	h.t.Helper()
	h.Run("rm", "-f", h.filler())
}
