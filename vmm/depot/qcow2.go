package depot

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The head of a qcow2 file, as QEMU's docs/interop/qcow2.txt has it; all numbers
// are big-endian. It is read here and not by QEMU first, because an image can make
// QEMU open other files of the host, or take very much memory.

const (
	qcow2Magic  = "QFI\xfb"
	qcow2V2Size = 72  // of the header in version 2
	qcow2V3Size = 104 // at least, in version 3

	maxL1Bytes       = 32 << 20 // QEMU's own limits
	maxRefcountBytes = 8 << 20
	maxSnapshots     = 65536
	leastSnapshot    = 40 // bytes of the shortest entry of the table of snapshots
)

// Bits of incompatible_features. Whoever does not know one must not open the file.
const (
	bitDirty       = 1 << 0
	bitCorrupt     = 1 << 1
	bitDataFile    = 1 << 2
	bitCompression = 1 << 3
	bitExtendedL2  = 1 << 4
)

// Types of header extensions that matter.
const (
	extEnd      = 0
	extLUKS     = 0x0537be77
	extDataFile = 0x44415441
)

const zstd = 1

// qcow2Header is what the head of a qcow2 file says.
type qcow2Header struct {
	Version        uint32
	Backing        uint64 // offset of the name of the backing file
	ClusterBits    uint32
	Size           uint64 // of the disk
	Crypt          uint32
	L1Entries      uint32
	L1             uint64 // offset
	Refcount       uint64 // offset
	RefcountLength uint32 // in clusters
	Snapshots      uint32
	SnapshotTable  uint64 // offset

	Incompatible  uint64
	RefcountOrder uint32
	Length        uint32 // of the header
	Compression   byte
}

// readQcow2 reads and checks the head of a qcow2 file of so many bytes. It gives
// the header of a file that is whole in itself.
func readQcow2(r io.ReaderAt, bytes int64) (qcow2Header, error) {
	raw := make([]byte, min(bytes, 112))
	if _, err := r.ReadAt(raw, 0); err != nil && err != io.EOF {
		return qcow2Header{}, failed(err)
	}
	h, why := parseQcow2(raw)
	if why == "" {
		why = h.alone()
	}
	if why == "" {
		why = h.sound(bytes)
	}
	if why == "" {
		why = h.extensions(r, bytes)
	}
	if why != "" {
		return h, refuse("the qcow2 image %s", why)
	}
	return h, nil
}

// parseQcow2 takes the fields out of the first bytes; why says what is wrong with their form.
func parseQcow2(raw []byte) (h qcow2Header, why string) {
	if len(raw) < qcow2V2Size || string(raw[:4]) != qcow2Magic {
		return h, "is none: it does not begin as one; is its format raw?"
	}
	be := binary.BigEndian
	h = qcow2Header{
		Version: be.Uint32(raw[4:]), Backing: be.Uint64(raw[8:]), ClusterBits: be.Uint32(raw[20:]), Size: be.Uint64(raw[24:]),
		Crypt: be.Uint32(raw[32:]), L1Entries: be.Uint32(raw[36:]), L1: be.Uint64(raw[40:]), Refcount: be.Uint64(raw[48:]),
		RefcountLength: be.Uint32(raw[56:]), Snapshots: be.Uint32(raw[60:]), SnapshotTable: be.Uint64(raw[64:]),
		RefcountOrder: 4, Length: qcow2V2Size,
	}
	if h.Version == 2 {
		return h, ""
	}
	if h.Version != 3 {
		return h, fmt.Sprintf("has version %d: only 2 and 3 are known; make it anew with 'qemu-img convert -O qcow2'", h.Version)
	}
	if len(raw) < qcow2V3Size {
		return h, "is torn: it ends within its header"
	}
	h.Incompatible, h.RefcountOrder, h.Length = be.Uint64(raw[72:]), be.Uint32(raw[96:]), be.Uint32(raw[100:])
	if h.Length > qcow2V3Size {
		if len(raw) <= qcow2V3Size {
			return h, "is torn: it ends within its header"
		}
		h.Compression = raw[qcow2V3Size]
	}
	return h, ""
}

// alone says what keeps the file from being read by itself: other files, keys, and
// features that nobody here knows.
func (h qcow2Header) alone() string {
	switch known := uint64(bitDirty | bitCorrupt | bitDataFile | bitCompression | bitExtendedL2); {
	case h.Backing != 0:
		return "has a backing file: make it whole with 'qemu-img convert -O qcow2'"
	case h.Incompatible&bitDataFile != 0:
		return "has an external data file: make it whole with 'qemu-img convert -O qcow2'"
	case h.Crypt != 0:
		return "is encrypted: decrypt it with 'qemu-img convert'; guests can encrypt within their disk"
	case h.Incompatible&^known != 0:
		return fmt.Sprintf("has features that are not known here (bits %#x)", h.Incompatible&^known)
	case h.Incompatible&bitCorrupt != 0:
		return "says of itself that it is corrupt: see 'qemu-img check'"
	case h.Incompatible&bitDirty != 0:
		return "was not closed: mend it with 'qemu-img check -r all'"
	}
	return ""
}

// sound says what in the header contradicts itself or lies outside of a file of so many bytes.
func (h qcow2Header) sound(bytes int64) string {
	if h.ClusterBits < 9 || h.ClusterBits > 21 {
		return fmt.Sprintf("has clusters of 2^%d bytes: 2^9 to 2^21 can be", h.ClusterBits)
	}
	cluster, entry := uint64(1)<<h.ClusterBits, uint64(8)
	if h.Incompatible&bitExtendedL2 != 0 {
		entry = 16
		if h.ClusterBits < 14 {
			return "has clusters that are too small for its extended tables"
		}
	}
	switch {
	case h.Size == 0 || h.Size > maxVirtual:
		return fmt.Sprintf("holds a disk of %d bytes: 1 byte to 1 PiB can be", h.Size)
	case h.Version == 3 && (h.Length < qcow2V3Size || h.Length%8 != 0 || uint64(h.Length) > cluster):
		return fmt.Sprintf("has a header of %d bytes", h.Length)
	case h.RefcountOrder > 6:
		return fmt.Sprintf("counts with 2^%d bits", h.RefcountOrder)
	case (h.Incompatible&bitCompression != 0) != (h.Compression != 0) || h.Compression > zstd:
		return fmt.Sprintf("is compressed in a way that is not known here (type %d)", h.Compression)
	}
	perTable := cluster / entry * cluster // bytes of the disk that one entry of L1 stands for
	l1 := uint64(h.L1Entries) * 8
	refcount := uint64(h.RefcountLength) * cluster
	switch {
	case uint64(h.L1Entries) < (h.Size+perTable-1)/perTable || l1 > maxL1Bytes:
		return fmt.Sprintf("has %d entries in its first table, which does not fit its disk of %d bytes", h.L1Entries, h.Size)
	case !inside(h.L1, l1, cluster, bytes):
		return "is torn: its first table lies outside of the file"
	case refcount == 0 || refcount > maxRefcountBytes || !inside(h.Refcount, refcount, cluster, bytes):
		return "is torn: its table of references lies outside of the file"
	case h.Snapshots > maxSnapshots || h.Snapshots > 0 && !inside(h.SnapshotTable, uint64(h.Snapshots)*leastSnapshot, cluster, bytes):
		return "is torn: its table of snapshots lies outside of the file"
	}
	return ""
}

// inside tells whether length bytes at offset, which stands at a cluster's begin
// and not in the header, are within a file of so many bytes.
func inside(offset, length, cluster uint64, bytes int64) bool {
	return offset >= cluster && offset%cluster == 0 && offset <= uint64(bytes) && length <= uint64(bytes)-offset
}

// extensions goes over the header extensions, which lie in the first cluster, and
// says which of them asks for another file or a key.
func (h qcow2Header) extensions(r io.ReaderAt, bytes int64) string {
	end := min(int64(1)<<h.ClusterBits, bytes)
	head := make([]byte, 8)
	for at := int64(h.Length); at+8 <= end; {
		if _, err := r.ReadAt(head, at); err != nil {
			return "is torn: it ends within its header"
		}
		switch kind := binary.BigEndian.Uint32(head); kind {
		case extEnd:
			return ""
		case extLUKS:
			return "is encrypted (LUKS): decrypt it with 'qemu-img convert'; guests can encrypt within their disk"
		case extDataFile:
			return "names an external data file: make it whole with 'qemu-img convert -O qcow2'"
		}
		length := int64(binary.BigEndian.Uint32(head[4:]))
		if length > end-at-8 {
			return "is torn: its header goes on behind its first cluster"
		}
		at += 8 + (length+7)/8*8
	}
	return "" // a header that fills its cluster needs no end
}
