package libvirt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/orchd/orchd/api"
)

// limits of the child: what it reads was written by QEMU for a guest, and a broken
// file must not take the host's memory.
var limits = []string{"--as=4294967296", "--core=0", "--nofile=256"}

// qemuImg runs qemu-img, which ends with ctx and with orchd, and gives what it
// said. No argument of it is ever a user's words, and files are absolute paths.
func qemuImg(ctx context.Context, op string, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	c := exec.CommandContext(ctx, "prlimit", append(append(limits[:len(limits):len(limits)], "--", "qemu-img"), args...)...)
	c.Stdout, c.Stderr = &out, &said
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the signal comes when the thread ends, not the process
	defer runtime.UnlockOSThread()
	err := c.Run()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, &api.Error{Kind: api.Unavailable, Op: "libvirt." + op, Msg: "qemu-img was ended before it was done", Err: ctx.Err()}
	case errors.Is(err, exec.ErrNotFound):
		return nil, api.Errorf(api.Internal, "libvirt."+op, "qemu-img or prlimit is missing: install qemu-utils and util-linux")
	}
	why := strings.TrimSpace(said.String())
	if strings.Contains(why, "Failed to get") && strings.Contains(why, "lock") {
		return nil, api.Errorf(api.Conflict, "libvirt."+op, "the disk is in use: %s", why)
	}
	return nil, api.Errorf(api.Internal, "libvirt."+op, "qemu-img: %s (%w)", why, err)
}

// keptIn are the names of the snapshots in a disk that no guest uses.
func keptIn(ctx context.Context, path string) (map[string]bool, error) {
	out, err := qemuImg(ctx, "snapshots", "info", "--output=json", "-f", "qcow2", "--", path)
	if err != nil {
		return nil, err
	}
	var info imageInfo
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, api.Errorf(api.Internal, "libvirt.snapshots", "read what qemu-img says: %w", err)
	}
	return info.names(), nil
}

// imageInfo is QEMU's description of an image.
type imageInfo struct {
	Filename  string `json:"filename"`
	Snapshots []struct {
		Name string `json:"name"`
	} `json:"snapshots"`
}

func (i imageInfo) names() map[string]bool {
	kept := map[string]bool{}
	for _, s := range i.Snapshots {
		kept[s.Name] = true
	}
	return kept
}
