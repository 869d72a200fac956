package libvirt

import (
	"encoding/binary"
	"io"
	"os"

	"github.com/orchd/orchd/api"
)

// The head of a qcow2 file (QEMU, docs/interop/qcow2.txt), as far as it matters here.
type qcow2Head struct {
	Magic         uint32 // "QFI\xfb"
	Version       uint32
	BackingOffset uint64
	BackingSize   uint32
	ClusterBits   uint32
	Size          uint64 // of the disk in bytes
	CryptMethod   uint32
	_             [36]byte
	Incompatible  uint64 // version 3: bit 2 is an external data file
}

const (
	qcow2Magic        = 0x514649fb
	qcow2ExternalData = 1 << 2
)

// imageSize is how many bytes the disk in an image file has. It refuses what
// would make QEMU open further files of the host: a backing file, an external
// data file; and encrypted images.
func imageSize(i api.Image) (uint64, error) {
	refuse := func(why string) (uint64, error) {
		return 0, api.Errorf(api.Invalid, "libvirt.image", "image %q at %s %s", i.Name, i.Path, why)
	}
	file, err := os.Open(i.Path)
	if err != nil {
		return refuse("cannot be opened: " + err.Error())
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return refuse("is no plain file")
	}
	if i.Format == "raw" {
		return uint64(info.Size()), nil
	}
	var head qcow2Head
	if err := binary.Read(io.LimitReader(file, 128), binary.BigEndian, &head); err != nil || head.Magic != qcow2Magic {
		return refuse("is no qcow2 image")
	}
	switch {
	case head.BackingOffset != 0:
		return refuse("has a backing file: make it whole with 'qemu-img convert'")
	case head.CryptMethod != 0:
		return refuse("is encrypted")
	case head.Version >= 3 && head.Incompatible&qcow2ExternalData != 0:
		return refuse("has an external data file: make it whole with 'qemu-img convert'")
	}
	return head.Size, nil
}

// diskSize is how many bytes the disk has that is in a qcow2 file of our own.
func diskSize(path string) (uint64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, api.Errorf(api.NotFound, "libvirt.disk", "the disk cannot be opened: %w", err)
	}
	defer file.Close()
	var head qcow2Head
	if err := binary.Read(io.LimitReader(file, 128), binary.BigEndian, &head); err != nil || head.Magic != qcow2Magic {
		return 0, api.Errorf(api.Conflict, "libvirt.disk", "its disk %s is not qcow2: orchd neither grows nor keeps nor copies it", path)
	}
	return head.Size, nil
}
