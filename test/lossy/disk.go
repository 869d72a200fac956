package lossy

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is a file system in memory that can be mounted.
type Disk struct {
	mu       sync.Mutex
	trace    Trace
	now      image
	names    map[uint64]string // a path of each inode
	links    map[uint64]int
	changed  map[uint64]time.Time
	owners   map[uint64][2]uint32
	next     uint64
	used     int64 // bytes of files that have a name, or are open
	capacity int64
	faults   []*Fault
}

// NewDisk is an empty disk with room for 1 TiB.
func NewDisk() *Disk {
	return &Disk{
		now: newImage(), names: map[uint64]string{rootIno: ""}, links: map[uint64]int{}, changed: map[uint64]time.Time{},
		owners: map[uint64][2]uint32{}, next: rootIno + 1, capacity: 1 << 40,
	}
}

// Ops is how many operations there were.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.trace)
}

// Trace is what happened until now.
func (d *Disk) Trace() Trace {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clip(d.trace)
}

// SetCapacity gives the disk that many bytes. Whoever wants more gets ENOSPC, and so do
// those who already have it.
func (d *Disk) SetCapacity(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = bytes
}

// Used is how many bytes its files have.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Materialise lays out the disk as it may be if power went now.
func (d *Disk) Materialise(seed uint64, into string) error {
	trace := d.Trace()
	return Materialise(trace, len(trace), seed, into)
}

// Fault is what goes wrong with some operations.
type Fault struct {
	On     Kind          // which operations
	Path   string        // a part of the path of those that are meant; empty: any
	After  int           // how many of them still go well
	Times  int           // how many go wrong then; 0: all
	Err    syscall.Errno // what they give; 0: nothing, they only hang
	Hang   bool          // they wait until Release
	met    int
	struck int
	free   chan struct{}
}

// Inject makes operations go wrong from now on.
func (d *Disk) Inject(f Fault) *Fault {
	f.free = make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, &f)
	return &f
}

// Release ends a fault, and lets those go on that hang.
func (d *Disk) Release(f *Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := slices.Index(d.faults, f); at >= 0 {
		d.faults = slices.Delete(d.faults, at, at+1)
		close(f.free)
	}
}

// ReleaseAll ends all faults.
func (d *Disk) ReleaseAll() {
	d.mu.Lock()
	faults := slices.Clone(d.faults)
	d.mu.Unlock()
	for _, f := range faults {
		d.Release(f)
	}
}

// Struck is how many operations a fault has met.
func (d *Disk) Struck(f *Fault) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return f.struck
}

// meets finds the fault that an operation meets, if any.
func (d *Disk) meets(k Kind, path string) *Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.faults {
		if f.On != k || !strings.Contains(path, f.Path) {
			continue
		}
		f.met++
		if f.met > f.After && (f.Times == 0 || f.met <= f.After+f.Times) {
			f.struck++
			return f
		}
	}
	return nil
}

// suffer is what comes before an operation: the error that it gives, after it has
// hung, if it has to. Only a process that is being killed does not wait.
func (d *Disk) suffer(k Kind, ino uint64, name string, cancel <-chan struct{}, thread uint32) syscall.Errno {
	f := d.meets(k, d.path(ino, name))
	if f == nil {
		return 0
	}
	for f.Hang {
		select {
		case <-f.free:
			return f.Err
		case <-cancel:
			cancel = nil // a signal: of the Go runtime's own, most likely
			if isKilled(thread) {
				return syscall.EINTR
			}
		case <-time.After(50 * time.Millisecond):
			if isKilled(thread) {
				return syscall.EINTR
			}
		}
	}
	return f.Err
}

// path is a path of an inode, or of a name in it.
func (d *Disk) path(ino uint64, name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pathLocked(ino, name)
}

func (d *Disk) pathLocked(ino uint64, name string) string {
	if name == "" {
		return d.names[ino]
	}
	return strings.TrimPrefix(d.names[ino]+"/"+name, "/")
}

// do carries out an operation and writes it down.
func (d *Disk) do(o Op) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doLocked(o)
}

func (d *Disk) doLocked(o Op) syscall.Errno {
	if errno := d.roomFor(o); errno != 0 {
		return errno
	}
	if o.Path == "" {
		o.Path = d.pathLocked(o.Ino, "")
	}
	d.now.apply(o)
	d.trace = append(d.trace, o)
	d.note(o)
	return 0
}

// roomFor takes the room that a file grows by.
func (d *Disk) roomFor(o Op) syscall.Errno {
	size := int64(0)
	switch o.Kind {
	case Write:
		size = max(int64(len(d.now[o.Ino].data)), o.Offset+int64(len(o.Data)))
	case Truncate:
		size = o.Offset
	default:
		return 0
	}
	grow := size - int64(len(d.now[o.Ino].data))
	if grow > 0 && d.used+grow > d.capacity {
		return syscall.ENOSPC
	}
	d.used += grow
	return 0
}

// note keeps what the operations themselves do not: times, counts and paths.
func (d *Disk) note(o Op) {
	now := time.Now()
	d.changed[o.Ino], d.changed[o.Dir], d.changed[o.Dir2] = now, now, now
	switch o.Kind {
	case Create, Mkdir, Symlink, Mknod, Link:
		d.links[o.Ino]++
		d.names[o.Ino] = o.Path
	case Unlink, Rmdir:
		d.dropLink(o.Ino)
	case Rename:
		d.moved(o.Ino, d.pathLocked(o.Dir2, o.Name2))
		if replaced := uint64(o.Offset); replaced != 0 {
			d.dropLink(replaced)
		}
	case Exchange:
		d.moved(o.Ino, d.pathLocked(o.Dir2, o.Name2))
		d.moved(uint64(o.Offset), d.pathLocked(o.Dir, o.Name))
	}
}

// moved gives an inode, and all below it, another path.
func (d *Disk) moved(ino uint64, to string) {
	from := d.names[ino]
	d.names[ino] = to
	if !d.now[ino].isDir() {
		return
	}
	for other, path := range d.names {
		if rest, below := strings.CutPrefix(path, from+"/"); below {
			d.names[other] = to + "/" + rest
		}
	}
}

func (d *Disk) dropLink(ino uint64) {
	if d.links[ino]--; d.links[ino] == 0 && d.now[ino].mode&syscall.S_IFMT == syscall.S_IFREG {
		d.used -= int64(len(d.now[ino].data))
	}
}

// add makes a new inode with a name.
func (d *Disk) add(k Kind, dir uint64, name string, mode uint32, data []byte) (uint64, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.now.folder(dir)[name]; there {
		return 0, syscall.EEXIST
	}
	ino := d.next
	d.next++
	return ino, d.doLocked(Op{Kind: k, Ino: ino, Dir: dir, Name: name, Mode: mode, Data: data, Path: d.pathLocked(dir, name)})
}

// remove takes a name away.
func (d *Disk) remove(k Kind, dir uint64, name string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	ino, there := d.now.folder(dir)[name]
	switch {
	case !there:
		return syscall.ENOENT
	case k == Rmdir && len(d.now[ino].entries) > 0:
		return syscall.ENOTEMPTY
	}
	return d.doLocked(Op{Kind: k, Ino: ino, Dir: dir, Name: name, Path: d.pathLocked(dir, name)})
}

// rename moves a name; flags are those of renameat2.
func (d *Disk) rename(dir uint64, name string, dir2 uint64, name2 string, flags uint32) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	ino, there := d.now.folder(dir)[name]
	replaced, taken := d.now.folder(dir2)[name2]
	switch {
	case !there, flags&unix.RENAME_EXCHANGE != 0 && !taken:
		return syscall.ENOENT
	case flags&unix.RENAME_NOREPLACE != 0 && taken:
		return syscall.EEXIST
	case taken && replaced == ino:
		return 0
	case flags&unix.RENAME_EXCHANGE == 0 && taken && len(d.now[replaced].entries) > 0:
		return syscall.ENOTEMPTY
	}
	o := Op{Kind: Rename, Ino: ino, Dir: dir, Name: name, Dir2: dir2, Name2: name2, Offset: int64(replaced), Path: d.pathLocked(dir, name)}
	if flags&unix.RENAME_EXCHANGE != 0 {
		o.Kind = Exchange
	}
	return d.doLocked(o)
}

// lookUp finds a name.
func (d *Disk) lookUp(dir uint64, name string) (ino uint64, mode uint32, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ino, ok = d.now.folder(dir)[name]
	if ok {
		mode = d.now[ino].mode
	}
	return ino, mode, ok
}

// read copies what a file has from at on.
func (d *Disk) read(ino uint64, into []byte, at int64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	data := d.now[ino].data
	if at >= int64(len(data)) {
		return 0
	}
	return copy(into, data[at:])
}

// Crash is a power loss: what was not synced is lost as the seed says, and all
// operations before are forgotten. No process may use the disk, and it may not be mounted.
func (d *Disk) Crash(seed uint64) {
	trace := d.Trace()
	r := NewReplay(trace)
	r.Advance(len(trace))
	left := r.after(seed).clone()
	d.mu.Lock()
	defer d.mu.Unlock()
	fresh := NewDisk()
	fresh.capacity, fresh.next = d.capacity, d.next
	d.trace, d.now, d.names, d.links, d.changed, d.owners, d.used = nil, fresh.now, fresh.names, fresh.links, fresh.changed, fresh.owners, 0
	d.plantLocked(left, rootIno)
}

// plantLocked makes the disk hold an image, as operations that were synced.
func (d *Disk) plantLocked(left image, dir uint64) {
	for _, name := range slices.Sorted(maps.Keys(left[dir].entries)) {
		ino := left[dir].entries[name]
		n, kind := left[ino], Create
		switch {
		case d.now[ino] != nil && n.isDir():
			continue
		case d.now[ino] != nil:
			kind = Link
		case n.isDir():
			kind = Mkdir
		case n.mode&syscall.S_IFMT == syscall.S_IFLNK:
			kind = Symlink
		case n.mode&syscall.S_IFMT != syscall.S_IFREG:
			continue
		}
		d.doLocked(Op{Kind: kind, Ino: ino, Dir: dir, Name: name, Mode: n.mode, Data: n.data, Path: d.pathLocked(dir, name)})
		switch kind {
		case Create:
			d.doLocked(Op{Kind: Write, Ino: ino, Data: n.data})
			d.doLocked(Op{Kind: Fsync, Ino: ino})
		case Mkdir:
			d.plantLocked(left, ino)
		}
	}
	d.doLocked(Op{Kind: Fsync, Ino: dir})
}
