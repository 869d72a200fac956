package lossy

import (
	"maps"
	"slices"
	"syscall"
)

// rootIno is the inode of the disk's root folder.
const rootIno = 1

// inode is a file, a folder, or another thing with a name.
type inode struct {
	mode    uint32 // type and permissions
	data    []byte // of a file; where a symbolic link leads
	entries map[string]uint64
}

func newInode(mode uint32) *inode {
	n := &inode{mode: mode}
	if n.isDir() {
		n.entries = map[string]uint64{}
	}
	return n
}

func (n *inode) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// resize gives a file that many bytes.
func (n *inode) resize(size int64) {
	if grow := size - int64(len(n.data)); grow > 0 {
		n.data = append(n.data, make([]byte, grow)...)
	}
	n.data = n.data[:size]
}

func (n *inode) write(data []byte, at int64) {
	if end := at + int64(len(data)); end > int64(len(n.data)) {
		n.resize(end)
	}
	copy(n.data[at:], data)
}

// image is everything on a disk at one moment.
type image map[uint64]*inode

func newImage() image { return image{rootIno: newInode(syscall.S_IFDIR | 0o755)} }

func (im image) clone() image {
	c := make(image, len(im))
	for ino, n := range im {
		c[ino] = &inode{n.mode, slices.Clone(n.data), maps.Clone(n.entries)}
	}
	return c
}

// make adds the inode that an operation makes, without a name.
func (im image) make(o Op) {
	switch o.Kind {
	case Create, Mkdir, Mknod, Symlink:
		im[o.Ino] = newInode(o.Mode)
		if o.Kind == Symlink {
			im[o.Ino].data = o.Data
		}
	}
}

// naming carries out what an operation does to names: each is set as a whole, to
// what it was when the operation happened.
func (im image) naming(o Op) {
	dir := im.folder(o.Dir)
	switch o.Kind {
	case Create, Mkdir, Mknod, Symlink, Link:
		dir[o.Name] = o.Ino
	case Unlink, Rmdir:
		delete(dir, o.Name)
	case Rename:
		delete(dir, o.Name)
		im[o.Dir2].entries[o.Name2] = o.Ino
	case Exchange:
		dir[o.Name] = uint64(o.Offset)
		im[o.Dir2].entries[o.Name2] = o.Ino
	}
}

// content carries out what an operation does to a file's bytes.
func (im image) content(o Op) {
	switch n := im[o.Ino]; o.Kind {
	case Write:
		n.write(o.Data, o.Offset)
	case Truncate:
		n.resize(o.Offset)
	}
}

// apply carries out all of an operation.
func (im image) apply(o Op) {
	im.make(o)
	im.naming(o)
	im.content(o)
	if o.Kind == Chmod {
		im[o.Ino].mode = o.Mode
	}
}

// folder is the names in a folder; nil for what is none.
func (im image) folder(ino uint64) map[string]uint64 {
	if n := im[ino]; n != nil {
		return n.entries
	}
	return nil
}
