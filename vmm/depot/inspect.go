package depot

import (
	"bytes"
	"context"
	"io"
)

// maxVirtual is the most that a disk may have: 1 PiB, the largest that a VM can ask for.
const maxVirtual = 1 << 50

// looks are beginnings of files that are no raw disks. QEMU would not take a raw
// image for one of these, because it is always told the format; but whoever guesses
// would, and then read other files of the host for the guest. (OpenStack's nova
// #1524274, CVE-2015-7548: a guest writes a qcow2 header into its raw disk;
// CVE-2022-47951: a VMDK that names a file of the host; CVE-2024-32498: a qcow2 with
// a data file.) The packed ones are mistakes that are easily made.
var looks = []struct {
	at         int64
	magic, why string
}{
	{0, qcow2Magic, "looks like qcow2: say that its format is qcow2"},
	{0, "QED\x00", "looks like QED: " + convert},
	{0, "KDMV", "looks like VMDK: " + convert},
	{0, "COWD", "looks like VMDK: " + convert},
	{0, "# Disk DescriptorFile", "looks like VMDK: " + convert},
	{64, "\x7f\x10\xda\xbe", "looks like VDI: " + convert},
	{0, "vhdxfile", "looks like VHDX: " + convert},
	{0, "conectix", "looks like VHD: " + convert},
	{0, "cxsparse", "looks like VHD: " + convert},
	{0, "WithoutFreeSpace", "looks like a disk of Parallels: " + convert},
	{0, "WithouFreSpacExt", "looks like a disk of Parallels: " + convert},
	{0, "Bochs Virtual HD Image", "looks like a disk of Bochs: " + convert},
	{0, "LUKS\xba\xbe", "is encrypted (LUKS): decrypt it; guests can encrypt within their disk"},
	{0, "\x1f\x8b", "is packed with gzip: " + unpack},
	{0, "BZh", "is packed with bzip2: " + unpack},
	{0, "\xfd7zXZ\x00", "is packed with xz: " + unpack},
	{0, "\x28\xb5\x2f\xfd", "is packed with zstd: " + unpack},
	{0, "PK\x03\x04", "is packed with zip: " + unpack},
}

const (
	convert = "convert it with 'qemu-img convert -O qcow2'"
	unpack  = "unpack it first"
)

// Inspect looks at the head of an image of so many bytes and gives the size of the
// disk in it. It refuses what is not of its format, what is not whole in itself
// (backing files, data files), what is encrypted, and what contradicts itself.
func Inspect(r io.ReaderAt, size int64, format string) (virtual int64, err error) {
	if size <= 0 {
		return 0, refuse("the image is empty")
	}
	switch format {
	case Qcow2:
		h, err := readQcow2(r, size)
		return int64(h.Size), err
	case Raw:
		return inspectRaw(r, size)
	}
	return 0, refuse("the format %q is refused: it is qcow2 or raw", format)
}

func inspectRaw(r io.ReaderAt, size int64) (int64, error) {
	head := make([]byte, min(size, 128))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return 0, failed(err)
	}
	for _, l := range looks {
		if l.at < size && bytes.HasPrefix(head[min(l.at, int64(len(head))):], []byte(l.magic)) {
			return 0, refuse("the raw image %s", l.why)
		}
	}
	if size > maxVirtual {
		return 0, refuse("the raw image has %d bytes: 1 PiB is the most", size)
	}
	return size, nil
}

// inspect is Inspect of a file of the folder, the host's own limit, and a second
// opinion. The file is opened anew, only for reading.
func (d *Depot) inspect(ctx context.Context, name, format string) (int64, error) {
	f, bytes, err := d.openRead(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	virtual, err := Inspect(f, bytes, format)
	if err != nil {
		return 0, err
	}
	if virtual > d.cfg.MaxVirtualBytes {
		return 0, refuse("the image holds a disk of %s: %s is the most on this host", size(virtual), size(d.cfg.MaxVirtualBytes))
	}
	if format != Qcow2 {
		return virtual, nil // QEMU takes any file for raw
	}
	return virtual, d.secondOpinion(ctx, f, bytes, virtual)
}
