package lossy

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Materialise lays out the disk as it may be after a power loss before operation k
// of a trace: all that was synced, and of the rest what the seed says. into is an
// empty folder.
func Materialise(trace Trace, k int, seed uint64, into string) error {
	r := NewReplay(trace)
	r.Advance(k)
	return r.Materialise(seed, into)
}

// Replay goes through a trace and knows at each operation what is safe.
type Replay struct {
	trace   Trace
	k       int
	safe    image
	naming  []Op            // not safe yet, in order
	content map[uint64][]Op // of files, not safe yet, in order
}

// NewReplay begins before the first operation.
func NewReplay(trace Trace) *Replay {
	return &Replay{trace: trace, safe: newImage(), content: map[uint64][]Op{}}
}

// Advance goes on until k operations have happened. It does not go back.
func (r *Replay) Advance(k int) {
	for ; r.k < k; r.k++ {
		r.step(r.trace[r.k])
	}
}

func (r *Replay) step(o Op) {
	switch o.Kind {
	case Write, Truncate:
		r.content[o.Ino] = append(r.content[o.Ino], o)
	case Chmod:
		r.safe[o.Ino].mode = o.Mode // no promise of ours hangs on when it is
	case Fsync:
		r.sync(o.Ino)
	default:
		r.safe.make(o)
		r.naming = append(r.naming, o)
	}
}

// sync makes a file's content safe, or a folder's names. A rename between two
// folders is one thing: with it what it stands on in the other folder becomes safe.
func (r *Replay) sync(ino uint64) {
	for _, o := range r.content[ino] {
		r.safe.content(o)
	}
	delete(r.content, ino)
	if !r.safe[ino].isDir() {
		return
	}
	folders := map[uint64]bool{ino: true}
	for before := 0; before < len(folders); {
		before = len(folders)
		for _, o := range r.naming {
			if o.Dir2 != 0 && (folders[o.Dir] || folders[o.Dir2]) {
				folders[o.Dir], folders[o.Dir2] = true, true
			}
		}
	}
	rest := r.naming[:0:0]
	for _, o := range r.naming {
		if folders[o.Dir] || folders[o.Dir2] {
			r.safe.naming(o)
		} else {
			rest = append(rest, o)
		}
	}
	r.naming = rest
}

// A loss is one way to lose what was not synced.
type loss struct {
	random  *rand.Rand
	naming  int   // how names are kept: one of the constants below
	data    int   // and content
	grain   int64 // of content, in bytes
	cut     int   // keepPrefix: operations kept
	ofDir   map[uint64]int
	counted map[uint64]int
}

// How much is kept of what was not synced.
const (
	keepNone   = iota
	keepAll    // as when only the process died
	keepPrefix // names: in the order of their operations, up to some point, as with a journal
	keepEach   // names: up to a point of its own for each folder; content: each grain or not
	keepFiles  // content: of each file all, nothing, up to some write, or grain by grain
)

// newLoss draws one. Three cases are drawn often, because they are those that careless
// programs are caught by: nothing is kept, all is, and the names without the content.
func newLoss(seed uint64, k int, names []Op) *loss {
	r := rand.New(rand.NewPCG(seed, uint64(k)))
	l := &loss{random: r, grain: []int64{512, 4096}[r.IntN(2)], ofDir: map[uint64]int{}, counted: map[uint64]int{}}
	switch r.IntN(8) {
	case 0:
		l.naming, l.data = keepNone, keepNone
	case 1:
		l.naming, l.data = keepAll, keepAll
	case 2:
		l.naming, l.data = keepAll, keepNone
	case 3:
		l.naming, l.data = keepNone, keepAll
	case 4:
		l.naming, l.data = keepPrefix, keepAll
	case 5:
		l.naming, l.data = keepPrefix, keepFiles
	case 6:
		l.naming, l.data = keepEach, keepFiles
	case 7:
		l.naming, l.data = keepEach, keepEach
	}
	l.cut = r.IntN(len(names) + 1)
	return l
}

// keepsName tells whether the i-th of the operations on names is kept.
func (l *loss) keepsName(i int, o Op) bool {
	switch l.naming {
	case keepAll:
		return true
	case keepPrefix:
		return i < l.cut
	case keepEach:
		kept := l.within(o.Dir)
		return (o.Dir2 == 0 || o.Dir2 == o.Dir || l.within(o.Dir2)) && kept
	}
	return false
}

// within counts the operations of a folder up to a number drawn for it.
func (l *loss) within(dir uint64) bool {
	if _, drawn := l.ofDir[dir]; !drawn {
		l.ofDir[dir] = l.random.IntN(6)
	}
	l.counted[dir]++
	return l.counted[dir] <= l.ofDir[dir]
}

// file carries out what is kept of the operations on a file's content.
func (l *loss) file(n *inode, ops []Op) {
	how, upTo := l.data, len(ops)
	if how == keepFiles {
		switch l.random.IntN(4) {
		case 0:
			how = keepNone
		case 1:
			how = keepAll
		case 2: // up to some write, of which a part
			how, upTo = keepAll, l.random.IntN(len(ops))
			if ops[upTo].Kind == Write {
				defer l.torn(n, ops[upTo])
			}
		default:
			how = keepEach
		}
	}
	for _, o := range ops[:upTo] {
		switch {
		case how == keepAll:
			image{o.Ino: n}.content(o)
		case how == keepEach && o.Kind == Truncate:
			if l.random.IntN(2) == 0 {
				n.resize(o.Offset)
			}
		case how == keepEach:
			l.torn(n, o)
		}
	}
}

// torn keeps some grains of a write, and the length of the file perhaps.
func (l *loss) torn(n *inode, o Op) {
	end := o.Offset + int64(len(o.Data))
	for at := o.Offset; at < end; {
		next := min(end, (at/l.grain+1)*l.grain)
		if l.random.IntN(2) == 0 {
			n.write(o.Data[at-o.Offset:next-o.Offset], at)
		}
		at = next
	}
	if end > int64(len(n.data)) && l.random.IntN(2) == 0 {
		n.resize(end)
	}
}

// after is the image that a power loss leaves; it shares what it can with what is safe.
func (r *Replay) after(seed uint64) image {
	l := newLoss(seed, r.k, r.naming)
	left := make(image, len(r.safe))
	for ino, n := range r.safe {
		if n.isDir() {
			n = image{ino: n}.clone()[ino]
		}
		left[ino] = n
	}
	for i, o := range r.naming {
		if l.keepsName(i, o) {
			left.naming(o)
		}
	}
	for _, ino := range slices.Sorted(maps.Keys(r.content)) { // in order, so that the seed decides
		n := left[ino]
		n = &inode{n.mode, slices.Clone(n.data), n.entries}
		l.file(n, r.content[ino])
		left[ino] = n
	}
	return left
}

// Materialise lays out the disk as it may be after a power loss now.
func (r *Replay) Materialise(seed uint64, into string) error {
	return r.after(seed).layOut(into)
}

// layOut writes an image into a folder. What two names lead to is one file.
func (im image) layOut(into string) error {
	made := map[uint64]string{}
	return im.layOutFolder(rootIno, into, made)
}

func (im image) layOutFolder(ino uint64, path string, made map[uint64]string) error {
	made[ino] = path
	for _, name := range slices.Sorted(maps.Keys(im[ino].entries)) {
		if err := im.layOutEntry(im[ino].entries[name], filepath.Join(path, name), made); err != nil {
			return fmt.Errorf("lay out a disk: %w", err)
		}
	}
	return os.Chmod(path, os.FileMode(im[ino].mode&0o777))
}

func (im image) layOutEntry(ino uint64, at string, made map[uint64]string) error {
	n := im[ino]
	first, again := made[ino]
	switch kind := n.mode & syscall.S_IFMT; {
	case n.isDir() && again:
		return nil // a folder has one name; of a rename that went half it is the first
	case n.isDir():
		return errors.Join(os.Mkdir(at, 0o700), im.layOutFolder(ino, at, made))
	case again:
		return os.Link(first, at)
	case kind == syscall.S_IFLNK:
		return os.Symlink(string(n.data), at)
	case kind != syscall.S_IFREG:
		return nil // a socket without its process
	}
	made[ino] = at
	return writeSparse(at, n.data, os.FileMode(n.mode&0o777))
}

// writeSparse writes a file without the pages that are all zero.
func writeSparse(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = f.Truncate(int64(len(data)))
	const page = 4096
	for at := 0; at < len(data) && err == nil; {
		end := at
		for end < len(data) && !isZero(data[end:min(end+page, len(data))]) {
			end = min(end+page, len(data))
		}
		if end > at {
			_, err = f.WriteAt(data[at:end], int64(at))
			at = end
		} else {
			at += page
		}
	}
	return errors.Join(err, f.Close())
}

var zeros [4096]byte

func isZero(b []byte) bool { return string(b) == string(zeros[:len(b)]) }

// Kept lays out the disk as it is when only the process died: nothing is lost.
func (r *Replay) Kept(into string) error {
	left := r.safe.clone()
	for _, o := range r.naming {
		left.naming(o)
	}
	for _, ops := range r.content {
		for _, o := range ops {
			left.content(o)
		}
	}
	return left.layOut(into)
}
