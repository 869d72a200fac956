package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// disk is a text that the guest has written, and what was kept of it, by id.
type disk struct {
	gib  int64
	text string
	kept map[string]string
}

// MakeDisk makes an empty one.
func (d *Driver) MakeDisk(ctx context.Context, b vmm.Build) (made bool, err error) {
	err = d.call(ctx, "MakeDisk", func() error {
		name := vmm.DiskName(b.Mark)
		made = vmm.NeedsDisk(b) && !d.files[name]
		if made {
			d.files[name], d.disks[name] = true, &disk{gib: max(b.Spec.DiskGiB, 1), kept: map[string]string{}}
		}
		return nil
	})
	return made, err
}

// DropDisk forgets it.
func (d *Driver) DropDisk(ctx context.Context, b vmm.Build) error {
	return d.call(ctx, "DropDisk", func() error {
		delete(d.files, vmm.DiskName(b.Mark))
		delete(d.disks, vmm.DiskName(b.Mark))
		return nil
	})
}

// PutSeed remembers it.
func (d *Driver) PutSeed(ctx context.Context, vm string, iso []byte) error {
	return d.call(ctx, "PutSeed", func() error {
		d.files[vmm.SeedName(vm)], d.seeds[vm] = true, slices.Clone(iso)
		return nil
	})
}

// Clean forgets all files of a VM.
func (d *Driver) Clean(ctx context.Context, vm string) error {
	return d.call(ctx, "Clean", func() error {
		for name := range d.files {
			if strings.HasPrefix(name, vm+".") {
				delete(d.files, name)
				delete(d.disks, name)
			}
		}
		delete(d.seeds, vm)
		delete(d.logs, vm)
		delete(d.used, vm)
		return nil
	})
}

// DiskFiles are Files.
func (d *Driver) DiskFiles(ctx context.Context) (names []string, err error) {
	err = d.call(ctx, "DiskFiles", func() error {
		names = slices.Sorted(maps.Keys(d.files))
		return nil
	})
	return names, err
}

// missing is a file that a domain needs and that is not there.
func (d *Driver) missing(uuid string) string {
	b, known := d.builds[uuid]
	switch {
	case !known || d.adopted[uuid]: // its files are none of ours
	case vmm.NeedsDisk(b) && !d.files[vmm.DiskName(b.Mark)]:
		return vmm.DiskName(b.Mark)
	case b.Seeded && !d.files[vmm.SeedName(uuid)]:
		return vmm.SeedName(uuid)
	}
	return ""
}

// SnapshotDisk keeps what is on a disk.
func (d *Driver) SnapshotDisk(ctx context.Context, b vmm.Build, id string) error {
	return d.onDisk(ctx, "SnapshotDisk", b, func(now *disk) error {
		if _, there := now.kept[id]; !there {
			now.kept[id] = now.text
		}
		return nil
	})
}

// RevertDisk puts it back.
func (d *Driver) RevertDisk(ctx context.Context, b vmm.Build, id string) error {
	return d.onDisk(ctx, "RevertDisk", b, func(now *disk) error {
		text, there := now.kept[id]
		switch {
		case d.isOn(b):
			return api.Errorf(api.Conflict, "sim.revert", "the domain is not off")
		case !there:
			return api.Errorf(api.NotFound, "sim.revert", "no snapshot %s of this disk", id)
		}
		now.text = text
		return nil
	})
}

// DropSnapshot forgets it.
func (d *Driver) DropSnapshot(ctx context.Context, b vmm.Build, id string) error {
	return d.onDisk(ctx, "DropSnapshot", b, func(now *disk) error {
		delete(now.kept, id)
		return nil
	})
}

// CopyDisk writes an empty qcow2 file of the disk's size: there is nothing that a
// simulated guest could have put into it.
func (d *Driver) CopyDisk(ctx context.Context, b vmm.Build, to string) error {
	return d.onDisk(ctx, "CopyDisk", b, func(now *disk) error {
		if d.isOn(b) {
			return api.Errorf(api.Conflict, "sim.copy", "the domain is not off")
		}
		f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return api.Errorf(api.Conflict, "sim.copy", "%w", err)
		}
		if err != nil {
			return err
		}
		_, err = f.Write(emptyQcow2(now.gib << 30))
		return errors.Join(err, f.Close())
	})
}

func (d *Driver) onDisk(ctx context.Context, op string, b vmm.Build, f func(*disk) error) error {
	return d.call(ctx, op, func() error {
		now, there := d.disks[vmm.DiskName(b.Mark)]
		if !there {
			return api.Errorf(api.NotFound, "sim."+strings.ToLower(op), "no disk %s", vmm.DiskName(b.Mark))
		}
		return f(now)
	})
}

func (d *Driver) isOn(b vmm.Build) bool {
	dom, there := d.domains[b.Mark.VM]
	return there && dom.Power != vmm.Off
}

// emptyQcow2 is a qcow2 file, version 3, that holds nothing: a header, a table of
// reference counts, one block of those, and a first-level table without an entry,
// each in clusters of 64 KiB (QEMU, docs/interop/qcow2.txt).
func emptyQcow2(size int64) []byte {
	const cluster = 64 << 10
	perEntry := int64(cluster / 8 * cluster) // bytes of disk that one first-level entry stands for
	entries := (size + perEntry - 1) / perEntry
	clusters := 3 + (entries*8+cluster-1)/cluster
	file := make([]byte, clusters*cluster)
	copy(file, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(file[4:], 3)   // version
	be.PutUint32(file[20:], 16) // bits of a cluster
	be.PutUint64(file[24:], uint64(size))
	be.PutUint32(file[36:], uint32(entries))
	be.PutUint64(file[40:], 3*cluster) // first-level table
	be.PutUint64(file[48:], cluster)   // table of reference counts
	be.PutUint32(file[56:], 1)         // its clusters
	be.PutUint32(file[96:], 4)         // reference counts have 1<<4 bits
	be.PutUint32(file[100:], 104)      // length of the header
	be.PutUint64(file[cluster:], 2*cluster)
	for i := range clusters {
		be.PutUint16(file[2*cluster+2*i:], 1)
	}
	return file
}

// Scribble is the guest that writes a text to its disk in place of all before.
func (d *Driver) Scribble(vm, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dom, ok := d.domains[vm]; ok {
		if now, ok := d.disks[vmm.DiskName(dom.Mark)]; ok {
			now.text = text
		}
	}
}

// Scribbled is what is on the disk of a domain, and how many snapshots of it there are.
func (d *Driver) Scribbled(vm string) (text string, kept int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dom, ok := d.domains[vm]; ok {
		if now, ok := d.disks[vmm.DiskName(dom.Mark)]; ok {
			return now.text, len(now.kept)
		}
	}
	return "", 0
}

// SeedOf is the NoCloud image that a VM was given.
func (d *Driver) SeedOf(vm string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seeds[vm]
}
