package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// poolName is the storage pool of type dir over the folder of disks.
const poolName = "orchd"

// diskLimit bounds the making of an empty disk or an overlay; both are small files.
const diskLimit = 60 * time.Second

// MakeDisk makes a qcow2 file: empty, or an overlay over the image. One that is
// there already is taken as it is: it is of this very epoch, and may hold data.
func (d *Driver) MakeDisk(ctx context.Context, b vmm.Build) (made bool, err error) {
	if !vmm.NeedsDisk(b) {
		return false, nil
	}
	text, err := volumeXML(b)
	if err != nil {
		return false, err
	}
	return ask(ctx, d.disks, "disk", diskLimit, func(rpc *golibvirt.Libvirt) (made bool, err error) {
		pool, err := d.pool(rpc)
		if err != nil {
			return false, err
		}
		there, err := d.hasVolume(rpc, pool, vmm.DiskName(b.Mark))
		if there || err != nil {
			return false, err
		}
		_, err = rpc.StorageVolCreateXML(pool, text, 0)
		return err == nil, err
	})
}

// hasVolume looks again after a refresh when there is a file that the pool does
// not know: whoever put it there has not told.
func (d *Driver) hasVolume(rpc *golibvirt.Libvirt, pool golibvirt.StoragePool, name string) (bool, error) {
	_, err := rpc.StorageVolLookupByName(pool, name)
	if !is(err, golibvirt.ErrNoStorageVol) {
		return err == nil, err
	}
	if _, err := os.Lstat(filepath.Join(d.cfg.Disks, name)); err != nil {
		return false, nil
	}
	if err := rpc.StoragePoolRefresh(pool, 0); err != nil {
		return false, err
	}
	_, err = rpc.StorageVolLookupByName(pool, name)
	return err == nil, err
}

// volumeXML describes the disk of b.
func volumeXML(b vmm.Build) (string, error) {
	size := uint64(b.Spec.DiskGiB) << 30
	v := libvirtxml.StorageVolume{
		Name: vmm.DiskName(b.Mark),
		Target: &libvirtxml.StorageVolumeTarget{
			Format:      &libvirtxml.StorageVolumeTargetFormat{Type: "qcow2"},
			Compat:      "1.1", // an older one cannot grow once it has snapshots
			Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: "0600"},
		},
	}
	if b.Image != nil && b.Image.Kind == api.ImageDisk {
		least, err := imageSize(*b.Image)
		if err != nil {
			return "", err
		}
		if size == 0 {
			size = least
		}
		if size < least {
			return "", api.Errorf(api.Invalid, "libvirt.disk", "image %q needs a disk of %d GiB, the VM's has %d",
				b.Image.Name, (least+1<<30-1)>>30, b.Spec.DiskGiB)
		}
		v.BackingStore = &libvirtxml.StorageVolumeBackingStore{
			Path:   b.Image.Path,
			Format: &libvirtxml.StorageVolumeTargetFormat{Type: b.Image.Format},
		}
	}
	v.Capacity = &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: size}
	v.Allocation = &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: 0}
	return v.Marshal()
}

// DropDisk removes the disk of one epoch.
func (d *Driver) DropDisk(ctx context.Context, b vmm.Build) error {
	return d.dropVolume(ctx, vmm.DiskName(b.Mark))
}

func (d *Driver) dropVolume(ctx context.Context, name string) error {
	return d.disks.call(ctx, "drop disk", diskLimit, func(rpc *golibvirt.Libvirt) error {
		pool, err := d.pool(rpc)
		if err != nil {
			return err
		}
		volume, err := rpc.StorageVolLookupByName(pool, name)
		if err != nil {
			return err
		}
		return rpc.StorageVolDelete(volume, 0)
	})
}

// growDisk makes the disk of b as large as it should be. One that is larger stays so.
func (d *Driver) growDisk(ctx context.Context, b vmm.Build) error {
	want := diskBytes(b)
	if want == 0 {
		return nil
	}
	path, err := d.diskOf(ctx, b)
	if err != nil {
		return err
	}
	has, err := diskSize(path)
	if err != nil || has >= want {
		return err
	}
	return d.disks.call(ctx, "grow disk", diskLimit, func(rpc *golibvirt.Libvirt) error {
		pool, err := d.pool(rpc)
		if err != nil {
			return err
		}
		// The pool knows how large a disk was when it looked last.
		if err := rpc.StoragePoolRefresh(pool, 0); err != nil {
			return err
		}
		volume, err := rpc.StorageVolLookupByName(pool, filepath.Base(path))
		if err != nil {
			return err
		}
		return rpc.StorageVolResize(volume, want, 0)
	})
}

// diskBytes is how large the disk of b should be; 0: as it is.
func diskBytes(b vmm.Build) uint64 { return uint64(max(0, b.Spec.DiskGiB)) << 30 }

// diskOf is the path of the disk of b: the one that was made for its epoch, or
// the one that its domain had when it was adopted. Conflict if that lies elsewhere.
func (d *Driver) diskOf(ctx context.Context, b vmm.Build) (string, error) {
	own := filepath.Join(d.cfg.Disks, vmm.DiskName(b.Mark))
	if _, err := os.Lstat(own); err == nil {
		return own, nil
	}
	var path string
	err := d.change(ctx, "find disk", b.Mark.VM, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		x, err := definition(rpc, dom)
		if err != nil {
			return err
		}
		path = firstDisk(x)
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case path == "":
		return "", api.Errorf(api.Conflict, "libvirt.disk", "it has no disk in a file")
	case filepath.Dir(path) != d.cfg.Disks:
		return "", api.Errorf(api.Conflict, "libvirt.disk",
			"its disk is %s, outside of %s: orchd changes and copies no disk there", path, d.cfg.Disks)
	}
	return path, nil
}

// firstDisk is the path of the first disk in a file that can be written.
func firstDisk(x *libvirtxml.Domain) string {
	if x.Devices == nil {
		return ""
	}
	for _, disk := range x.Devices.Disks {
		if path := pathOf(disk.Source); path != "" && disk.ReadOnly == nil && (disk.Device == "" || disk.Device == "disk") {
			return path
		}
	}
	return ""
}

// PutSeed stores the NoCloud image of a VM. The old one is there until the new
// one is; a guest that is on keeps the one that it has. QEMU's own user gets it
// from libvirt, like a disk, and no other user of the host may read it.
func (d *Driver) PutSeed(_ context.Context, vm string, iso []byte) error {
	if !api.IsUUID(vm) {
		return api.Errorf(api.Invalid, "libvirt.seed", "%q is no VM's id", vm)
	}
	root, err := os.OpenRoot(d.cfg.Disks)
	if err != nil {
		return fmt.Errorf("libvirt: store the seed of %s: %w", vm, err)
	}
	defer root.Close()
	part := vmm.SeedName(vm) + ".part"
	if err := writeSynced(root, part, iso); err != nil {
		return fmt.Errorf("libvirt: store the seed of %s: %w", vm, errors.Join(err, root.Remove(part)))
	}
	if err := root.Rename(part, vmm.SeedName(vm)); err != nil {
		return fmt.Errorf("libvirt: store the seed of %s: %w", vm, err)
	}
	return syncFolder(d.cfg.Disks)
}

// writeSynced makes or overwrites a file, which is on the disk when it returns.
func writeSynced(root *os.Root, name string, content []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// DiskFiles are the names of all files in the folder of disks.
func (d *Driver) DiskFiles(context.Context) ([]string, error) {
	entries, err := os.ReadDir(d.cfg.Disks)
	if err != nil {
		return nil, fmt.Errorf("libvirt: list the folder of disks: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Clean removes every file whose name begins with the VM's id, and what the
// networks of libvirt keep for it.
func (d *Driver) Clean(ctx context.Context, vm string) error {
	if !api.IsUUID(vm) {
		return api.Errorf(api.Invalid, "libvirt.clean", "%q is no VM's id", vm)
	}
	err := d.jobs.call(ctx, "clean", changeLimit, func(rpc *golibvirt.Libvirt) error { return unreserve(rpc, vm, nil) })
	if err != nil {
		return err
	}
	files, err := d.DiskFiles(ctx)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(d.cfg.Disks)
	if err != nil {
		return fmt.Errorf("libvirt: clean up after %s: %w", vm, err)
	}
	defer root.Close()
	for _, f := range files {
		if !strings.HasPrefix(f, vm+".") {
			continue
		}
		if err := d.removeFile(ctx, root, f); err != nil {
			return err
		}
	}
	return nil
}

// removeFile removes a disk through its pool, and what the pool does not know by itself.
func (d *Driver) removeFile(ctx context.Context, root *os.Root, name string) error {
	if strings.Contains(name, ".epoch-") {
		err := d.dropVolume(ctx, name)
		if !api.IsKind(err, api.NotFound) {
			return err
		}
	}
	if err := root.Remove(name); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("libvirt: clean up: %w", err)
	}
	return nil
}

// pool finds the pool, makes it the first time, and opens it after a reboot.
func (d *Driver) pool(rpc *golibvirt.Libvirt) (golibvirt.StoragePool, error) {
	pool, err := rpc.StoragePoolLookupByName(poolName)
	if is(err, golibvirt.ErrNoStoragePool) {
		pool, err = d.definePool(rpc)
	}
	if err != nil {
		return pool, err
	}
	if err := d.checkPool(rpc, pool); err != nil {
		return pool, err
	}
	active, err := rpc.StoragePoolIsActive(pool)
	if err != nil || active != 0 {
		return pool, err
	}
	err = rpc.StoragePoolCreate(pool, 0)
	if is(err, golibvirt.ErrOperationInvalid) {
		return pool, nil // another call has opened it just now
	}
	return pool, err
}

func (d *Driver) definePool(rpc *golibvirt.Libvirt) (golibvirt.StoragePool, error) {
	p := libvirtxml.StoragePool{Type: "dir", Name: poolName, Target: &libvirtxml.StoragePoolTarget{Path: d.cfg.Disks}}
	text, err := p.Marshal()
	if err != nil {
		return golibvirt.StoragePool{}, api.Errorf(api.Invalid, "libvirt.pool", "%w", err)
	}
	return rpc.StoragePoolDefineXML(text, 0)
}

// checkPool refuses a pool that somebody else made over another folder.
func (d *Driver) checkPool(rpc *golibvirt.Libvirt, pool golibvirt.StoragePool) error {
	text, err := rpc.StoragePoolGetXMLDesc(pool, 0)
	if err != nil {
		return err
	}
	var p libvirtxml.StoragePool
	if err := p.Unmarshal(text); err != nil {
		return api.Errorf(api.Internal, "libvirt.pool", "%w", err)
	}
	if p.Target == nil || p.Target.Path != d.cfg.Disks {
		return api.Errorf(api.Invalid, "libvirt.pool",
			"libvirt's storage pool %q is not at %s: another orchd uses this libvirtd, or the data folder was moved: remove it with 'virsh pool-undefine %s'",
			poolName, d.cfg.Disks, poolName)
	}
	return nil
}
