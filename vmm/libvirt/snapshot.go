package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// A snapshot of a disk lies inside the qcow2 file, under the snapshot's id. libvirt
// 9.0 makes such a one of a guest that is on only together with its memory, and
// stops the guest until that is written. QEMU itself makes one of the disk alone, at
// once and in one step; so it is asked, through libvirt. The disk is then as after a
// power cut at that moment. While a domain is off, qemu-img does it; QEMU's lock on
// the file keeps the two apart.

const (
	snapshotLimit = 5 * time.Minute // of one qemu-img that changes no data
	copyLimit     = 12 * time.Hour
)

// SnapshotDisk keeps the disk of a domain as it is now.
func (d *Driver) SnapshotDisk(ctx context.Context, b vmm.Build, id string) error {
	path, on, err := d.disk(ctx, b, id)
	switch {
	case err != nil:
		return err
	case on:
		return d.inGuestDisk(ctx, "snapshot", b, path, func(disk guestDisk) error {
			if disk.kept[id] {
				return nil
			}
			return disk.do("blockdev-snapshot-internal-sync", id)
		})
	}
	return withKept(ctx, path, func(ctx context.Context, kept map[string]bool) error {
		if kept[id] {
			return nil
		}
		_, err := qemuImg(ctx, "snapshot", "snapshot", "-c", id, "--", path)
		return err
	})
}

// RevertDisk makes the disk as it was under id; but no smaller than b says.
func (d *Driver) RevertDisk(ctx context.Context, b vmm.Build, id string) error {
	path, on, err := d.disk(ctx, b, id)
	if err != nil {
		return err
	}
	if on {
		return api.Errorf(api.Conflict, "libvirt.revert", "the domain is not off: stop it first")
	}
	err = withKept(ctx, path, func(ctx context.Context, kept map[string]bool) error {
		if !kept[id] {
			return api.Errorf(api.NotFound, "libvirt.revert", "its disk keeps no snapshot %s", id)
		}
		_, err := qemuImg(ctx, "revert", "snapshot", "-a", id, "--", path)
		return err
	})
	if err != nil {
		return err
	}
	return d.growDisk(ctx, b)
}

// DropSnapshot forgets what was kept under id.
func (d *Driver) DropSnapshot(ctx context.Context, b vmm.Build, id string) error {
	path, on, err := d.disk(ctx, b, id)
	switch {
	case api.IsKind(err, api.NotFound):
		return nil // neither disk nor domain: there is nothing to forget
	case err != nil:
		return err
	case on:
		return d.inGuestDisk(ctx, "drop snapshot", b, path, func(disk guestDisk) error {
			if !disk.kept[id] {
				return nil
			}
			return disk.do("blockdev-snapshot-delete-internal-sync", id)
		})
	}
	return withKept(ctx, path, func(ctx context.Context, kept map[string]bool) error {
		if !kept[id] {
			return nil
		}
		_, err := qemuImg(ctx, "drop snapshot", "snapshot", "-d", id, "--", path)
		return err
	})
}

// CopyDisk writes the disk to a new file, without what lies below it and without
// its snapshots. The file is on the disk when it returns, and not there if it fails.
func (d *Driver) CopyDisk(ctx context.Context, b vmm.Build, to string) error {
	if !filepath.IsAbs(to) || filepath.Clean(to) != to {
		return api.Errorf(api.Invalid, "libvirt.copy", "%q is no absolute, plain path", to)
	}
	path, on, err := d.disk(ctx, b, b.Mark.VM)
	if err != nil {
		return err
	}
	if on {
		return api.Errorf(api.Conflict, "libvirt.copy", "the domain is not off: stop it first")
	}
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return api.Errorf(api.Conflict, "libvirt.copy", "%s is there already", to)
	}
	if err != nil {
		return fmt.Errorf("libvirt: copy a disk: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, copyLimit)
	defer cancel()
	if _, err = qemuImg(ctx, "copy", "convert", "-f", "qcow2", "-O", "qcow2", "--", path, to); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return syncFolder(filepath.Dir(to))
}

// disk is where the disk of b lies, and whether its domain is on.
func (d *Driver) disk(ctx context.Context, b vmm.Build, id string) (path string, on bool, err error) {
	if !api.IsUUID(id) {
		return "", false, api.Errorf(api.Invalid, "libvirt.disk", "%q is no id", id)
	}
	if path, err = d.diskOf(ctx, b); err != nil {
		return "", false, err
	}
	if _, err := diskSize(path); err != nil { // it is qcow2
		return "", false, err
	}
	err = d.refuseOn(ctx, b.Mark.VM)
	switch {
	case err == nil || api.IsKind(err, api.NotFound):
		return path, false, nil
	case api.IsKind(err, api.Conflict):
		return path, true, nil
	}
	return "", false, err
}

// withKept runs f, with the names of the snapshots in a disk that no guest uses.
func withKept(ctx context.Context, path string, f func(context.Context, map[string]bool) error) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotLimit)
	defer cancel()
	kept, err := keptIn(ctx, path)
	if err != nil {
		return err
	}
	return f(ctx, kept)
}

// guestDisk is a disk that QEMU has open.
type guestDisk struct {
	rpc  *golibvirt.Libvirt
	dom  golibvirt.Domain
	node string // QEMU's name of it
	kept map[string]bool
}

// inGuestDisk runs f on the disk at path of a domain that is on.
func (d *Driver) inGuestDisk(ctx context.Context, op string, b vmm.Build, path string, f func(guestDisk) error) error {
	return d.change(ctx, op, b.Mark.VM, snapshotLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		var blocks []struct {
			Inserted struct {
				NodeName string    `json:"node-name"`
				File     string    `json:"file"`
				Image    imageInfo `json:"image"`
			} `json:"inserted"`
		}
		if err := tellQEMU(rpc, dom, "query-block", nil, &blocks); err != nil {
			return err
		}
		for _, block := range blocks {
			if in := block.Inserted; in.File == path && in.NodeName != "" {
				return f(guestDisk{rpc, dom, in.NodeName, in.Image.names()})
			}
		}
		return api.Errorf(api.Conflict, "libvirt."+op, "QEMU does not have the disk %s open", path)
	})
}

func (g guestDisk) do(command, id string) error {
	return tellQEMU(g.rpc, g.dom, command, map[string]string{"device": g.node, "name": id}, nil)
}

// tellQEMU gives QEMU a command past libvirt (QMP), and reads its answer.
func tellQEMU(rpc *golibvirt.Libvirt, dom golibvirt.Domain, command string, arguments map[string]string, answer any) error {
	question, err := json.Marshal(struct {
		Execute   string            `json:"execute"`
		Arguments map[string]string `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return api.Errorf(api.Internal, "libvirt.qemu", "%w", err)
	}
	said, err := rpc.QEMUDomainMonitorCommand(dom, string(question), 0)
	if err != nil {
		return err
	}
	var a struct {
		Return json.RawMessage `json:"return"`
		Error  *struct {
			Desc string `json:"desc"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		return api.Errorf(api.Internal, "libvirt.qemu", "read what QEMU says to %s: %w", command, err)
	}
	if a.Error != nil {
		return api.Errorf(api.Internal, "libvirt.qemu", "QEMU refuses %s: %s", command, a.Error.Desc)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(a.Return, answer); err != nil {
		return api.Errorf(api.Internal, "libvirt.qemu", "read what QEMU says to %s: %w", command, err)
	}
	return nil
}
