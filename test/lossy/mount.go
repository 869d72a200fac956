package lossy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// fsName begins the name of our mounts; the number of the process that serves one follows.
const fsName = "lossy-"

// Mount makes the disk visible at dir, which is made if it is not there, and gives the
// function that takes it away again, whoever still uses it. It needs root and /dev/fuse.
func (d *Disk) Mount(dir string) (unmount func(), err error) {
	Sweep()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("mount a lossy disk: %w", err)
	}
	long := time.Minute
	server, err := fs.Mount(dir, &node{disk: d, ino: rootIno}, &fs.Options{
		EntryTimeout: &long, AttrTimeout: &long, NullPermissions: true, RootStableAttr: &fs.StableAttr{Ino: rootIno},
		Logger: log.New(io.Discard, "", 0),
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, AllowOther: true, DisableXAttrs: true, MaxWrite: 1 << 20,
			FsName: fsName + strconv.Itoa(os.Getpid()), Name: "lossy", Logger: log.New(io.Discard, "", 0),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("mount a lossy disk at %s: %w", dir, err)
	}
	return func() {
		d.ReleaseAll()
		// With force the kernel ends the connection, whoever still uses the mount: a process that
		// ignores its end, or a mount namespace that somebody made meanwhile and that has a copy.
		unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH)
		server.Wait()
	}, nil
}

// Sweep takes away the mounts of processes that are gone: whoever touched one would
// get an error for each file, or wait.
func Sweep() {
	for dir, pid := range mounts() {
		if syscall.Kill(pid, 0) == syscall.ESRCH {
			unix.Unmount(dir, unix.MNT_DETACH|unix.MNT_FORCE)
			unix.Unmount(dir, unix.MNT_DETACH)
		}
	}
}

// mounts are the lossy disks that are mounted, and the processes that serve them.
func mounts() map[string]int {
	found := map[string]int{}
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return found
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 3 || f[2] != "fuse.lossy" {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimPrefix(f[0], fsName)); err == nil {
			found[strings.ReplaceAll(f[1], `\040`, " ")] = pid
		}
	}
	return found
}

// isKilled tells whether a thread has a SIGKILL to die of.
func isKilled(thread uint32) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return true
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		set, is := strings.CutPrefix(line, "SigPnd:")
		if !is {
			set, is = strings.CutPrefix(line, "ShdPnd:")
		}
		if !is {
			continue
		}
		if bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64); err == nil && bits&(1<<(unix.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}

// node is an inode as the kernel sees it.
type node struct {
	fs.Inode
	disk *Disk
	ino  uint64
}

// handle stands for an open file; all is in the node.
type handle struct{}

var (
	_ fs.NodeLookuper   = (*node)(nil)
	_ fs.NodeGetattrer  = (*node)(nil)
	_ fs.NodeSetattrer  = (*node)(nil)
	_ fs.NodeCreater    = (*node)(nil)
	_ fs.NodeMkdirer    = (*node)(nil)
	_ fs.NodeMknoder    = (*node)(nil)
	_ fs.NodeSymlinker  = (*node)(nil)
	_ fs.NodeLinker     = (*node)(nil)
	_ fs.NodeUnlinker   = (*node)(nil)
	_ fs.NodeRmdirer    = (*node)(nil)
	_ fs.NodeRenamer    = (*node)(nil)
	_ fs.NodeReaddirer  = (*node)(nil)
	_ fs.NodeReadlinker = (*node)(nil)
	_ fs.NodeOpener     = (*node)(nil)
	_ fs.NodeReader     = (*node)(nil)
	_ fs.NodeWriter     = (*node)(nil)
	_ fs.NodeFsyncer    = (*node)(nil)
	_ fs.NodeAllocater  = (*node)(nil)
	_ fs.NodeStatfser   = (*node)(nil)
)

// suffer is the fault that a request meets.
func (n *node) suffer(ctx context.Context, k Kind, name string) syscall.Errno {
	var thread uint32
	if caller, known := fuse.FromContext(ctx); known {
		thread = caller.Pid
	}
	return n.disk.suffer(k, n.ino, name, ctx.Done(), thread)
}

func (n *node) child(ctx context.Context, ino uint64, out *fuse.EntryOut) *fs.Inode {
	mode := n.disk.attr(ino, &out.Attr)
	return n.NewInode(ctx, &node{disk: n.disk, ino: ino}, fs.StableAttr{Mode: mode & syscall.S_IFMT, Ino: ino})
}

// attr is what stat gives.
func (d *Disk) attr(ino uint64, out *fuse.Attr) (mode uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.now[ino]
	out.Ino, out.Mode, out.Size, out.Nlink = ino, n.mode, uint64(len(n.data)), uint32(d.links[ino])
	out.Blocks, out.Blksize = (out.Size+511)/512, 4096
	out.Uid, out.Gid = d.owners[ino][0], d.owners[ino][1]
	if n.isDir() {
		out.Nlink, out.Size = 2, 4096
	}
	t := d.changed[ino]
	out.SetTimes(&t, &t, &t)
	return n.mode
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	ino, _, ok := n.disk.lookUp(n.ino, name)
	if !ok {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, ino, out), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.disk.attr(n.ino, &out.Attr)
	return 0
}

func (n *node) Setattr(ctx context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, set := in.GetSize(); set {
		if errno := n.suffer(ctx, Truncate, ""); errno != 0 {
			return errno
		}
		if errno := n.disk.do(Op{Kind: Truncate, Ino: n.ino, Offset: int64(size)}); errno != 0 {
			return errno
		}
	}
	if mode, set := in.GetMode(); set {
		n.disk.do(Op{Kind: Chmod, Ino: n.ino, Mode: n.disk.attr(n.ino, &out.Attr)&syscall.S_IFMT | mode&0o7777})
	}
	n.disk.own(n.ino, in)
	n.disk.attr(n.ino, &out.Attr)
	return 0
}

// own sets owner and time, which no test loses.
func (d *Disk) own(ino uint64, in *fuse.SetAttrIn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	owner := d.owners[ino]
	if uid, set := in.GetUID(); set {
		owner[0] = uid
	}
	if gid, set := in.GetGID(); set {
		owner[1] = gid
	}
	d.owners[ino] = owner
	if t, set := in.GetMTime(); set {
		d.changed[ino] = t
	}
}

// add is what Create, Mkdir, Mknod and Symlink share.
func (n *node) add(ctx context.Context, k Kind, name string, mode uint32, data []byte, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.suffer(ctx, k, name); errno != 0 {
		return nil, errno
	}
	ino, errno := n.disk.add(k, n.ino, name, mode, data)
	if errno != 0 {
		return nil, errno
	}
	return n.child(ctx, ino, out), 0
}

func (n *node) Create(ctx context.Context, name string, _ uint32, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, errno := n.add(ctx, Create, name, syscall.S_IFREG|mode&0o7777, nil, out)
	return child, handle{}, fuse.FOPEN_KEEP_CACHE, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, Mkdir, name, syscall.S_IFDIR|mode&0o7777, nil, out)
}

func (n *node) Mknod(ctx context.Context, name string, mode, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	k := Mknod
	if mode&syscall.S_IFMT == syscall.S_IFREG {
		k = Create
	}
	return n.add(ctx, k, name, mode, nil, out)
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, Symlink, name, syscall.S_IFLNK|0o777, []byte(target), out)
}

func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	return n.disk.now[n.ino].data, 0
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.suffer(ctx, Link, name); errno != 0 {
		return nil, errno
	}
	to := target.(*node).ino
	if _, _, taken := n.disk.lookUp(n.ino, name); taken {
		return nil, syscall.EEXIST
	}
	if errno := n.disk.do(Op{Kind: Link, Ino: to, Dir: n.ino, Name: name, Path: n.disk.path(n.ino, name)}); errno != 0 {
		return nil, errno
	}
	return n.child(ctx, to, out), 0
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.suffer(ctx, Unlink, name); errno != 0 {
		return errno
	}
	return n.disk.remove(Unlink, n.ino, name)
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.suffer(ctx, Rmdir, name); errno != 0 {
		return errno
	}
	return n.disk.remove(Rmdir, n.ino, name)
}

func (n *node) Rename(ctx context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.suffer(ctx, Rename, name); errno != 0 {
		return errno
	}
	return n.disk.rename(n.ino, name, newParent.(*node).ino, newName, flags)
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	var all []fuse.DirEntry
	for name, ino := range n.disk.now.folder(n.ino) {
		all = append(all, fuse.DirEntry{Name: name, Ino: ino, Mode: n.disk.now[ino].mode & syscall.S_IFMT})
	}
	return fs.NewListDirStream(all), 0
}

func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return handle{}, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, into []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(into[:n.disk.read(n.ino, into, at)]), 0
}

func (n *node) Write(ctx context.Context, _ fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	if errno := n.suffer(ctx, Write, ""); errno != 0 {
		return 0, errno
	}
	if errno := n.disk.do(Op{Kind: Write, Ino: n.ino, Offset: at, Data: bytes.Clone(data)}); errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

func (n *node) Fsync(ctx context.Context, _ fs.FileHandle, _ uint32) syscall.Errno {
	if errno := n.suffer(ctx, Fsync, ""); errno != 0 {
		return errno
	}
	return n.disk.do(Op{Kind: Fsync, Ino: n.ino})
}

// Allocate makes a file longer; holes are of no interest here.
func (n *node) Allocate(_ context.Context, _ fs.FileHandle, at, size uint64, mode uint32) syscall.Errno {
	if mode&^unix.FALLOC_FL_KEEP_SIZE != 0 {
		return syscall.EOPNOTSUPP
	}
	var attr fuse.Attr
	n.disk.attr(n.ino, &attr)
	if mode&unix.FALLOC_FL_KEEP_SIZE != 0 || attr.Size >= at+size {
		return 0
	}
	return n.disk.do(Op{Kind: Truncate, Ino: n.ino, Offset: int64(at + size)})
}

const statBlock = 4096

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	free := uint64(max(0, n.disk.capacity-n.disk.used)) / statBlock
	out.Bsize, out.Frsize, out.NameLen = statBlock, statBlock, 255
	out.Blocks, out.Bfree, out.Bavail = uint64(n.disk.capacity)/statBlock, free, free
	out.Files, out.Ffree = 1<<20, 1<<20
	return 0
}
