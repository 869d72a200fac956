package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"

	"golang.org/x/sys/unix"
)

// A file of bolt's (version 2, as bbolt v1.4 writes it) is pages of equal size. The
// first two are the roots of the last two commits; which is the newer tells a number.
// In the host's byte order:
//
//	page    id 8 | flags 2 | count 2 | overflow 4 | content
//	meta    magic 4 | version 4 | page size 4 | flags 4 | root: page 8, sequence 8 | freelist 8 | pages 8 | commit 8 | FNV-1a of these 8
//	branch  count x (key at 4 | key length 4 | page 8), keys at their place behind
//	leaf    count x (flags 4 | key at 4 | key length 4 | value length 4), keys and values at their place behind
//
// A place counts from the element that names it. The value of a bucket is its root's
// page and a sequence, 8 each, and where the page is 0 one that has no place of its own.
const (
	pageHeader = 16
	metaSize   = 8 * 8
	branchElem = 16
	leafElem   = 16
	bucketHead = 16

	branchFlag = 1
	leafFlag   = 2
	bucketFlag = 1 // of a leaf's element

	boltMagic   = 0xED0CDAED
	boltVersion = 2
)

// pages are those of a file, as far as they have been looked at.
type pages struct {
	file []byte
	size uint64 // of a page, in bytes
	end  uint64 // pages that the newer root knows of
	seen map[uint64]bool
}

// checkPages follows every page that the newer root leads to, and says what bolt would
// trip over. What entries and values hold has checksums of our own. Both roots must be
// whole: bolt would go back to the older where the newer is not, and forget a vote. A
// torn write does not do that: a root fits into a sector.
func checkPages(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < 2*4096 {
		return fmt.Errorf("it has only %d bytes", info.Size())
	}
	file, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map it: %w", err)
	}
	defer unix.Munmap(file)
	first, err := readMeta(file)
	if err != nil {
		return fmt.Errorf("its first root: %w", err)
	}
	size := uint64(first.pageSize)
	if size < 1024 || size > 1<<16 || size&(size-1) != 0 || uint64(len(file)) < 2*size {
		return fmt.Errorf("its pages are said to have %d bytes", size)
	}
	newer, err := readMeta(file[size:])
	if err != nil {
		return fmt.Errorf("its second root: %w", err)
	}
	if first.commit > newer.commit {
		newer = first
	}
	if newer.pages > uint64(len(file))/size {
		return fmt.Errorf("it is cut off: %d pages are missing", newer.pages-uint64(len(file))/size)
	}
	p := &pages{file, size, newer.pages, map[uint64]bool{0: true, 1: true}}
	return p.bucket(newer.root, p.known)
}

// boltMeta is what a root says.
type boltMeta struct {
	pageSize            uint32
	root, pages, commit uint64
}

func readMeta(b []byte) (m boltMeta, err error) {
	b = b[pageHeader:]
	h := fnv.New64a()
	h.Write(b[:metaSize-8])
	switch {
	case native.Uint32(b) != boltMagic || native.Uint32(b[4:]) != boltVersion:
		return m, errors.New("it is none")
	case native.Uint64(b[metaSize-8:]) != h.Sum64():
		return m, errors.New("it does not match its checksum")
	}
	return boltMeta{native.Uint32(b[8:]), native.Uint64(b[16:]), native.Uint64(b[40:]), native.Uint64(b[48:])}, nil
}

var native = binary.NativeEndian

// boltEntry looks at a leaf's element.
type boltEntry func(flags uint32, key, value []byte) error

// known lets through what our file holds: the buckets of log and stable values.
func (p *pages) known(flags uint32, key, value []byte) error {
	if flags != bucketFlag || len(value) < bucketHead {
		return fmt.Errorf("%q is no bucket", key)
	}
	var each boltEntry
	switch string(key) {
	case "logs":
		each = func(flags uint32, key, _ []byte) error {
			if flags != 0 || len(key) != 8 {
				return fmt.Errorf("%x is no index of a log entry", key)
			}
			return nil
		}
	case "conf":
		each = func(flags uint32, key, _ []byte) error {
			for _, k := range stableKeys {
				if flags == 0 && bytes.Equal(k, key) {
					return nil
				}
			}
			return fmt.Errorf("%q is no value that belongs there", key)
		}
	default:
		return fmt.Errorf("%q is no bucket that belongs there", key)
	}
	if root := native.Uint64(value); root != 0 {
		return p.bucket(root, each)
	}
	return p.content(0, value[bucketHead:], each, &span{}, 0)
}

// bucket walks the tree of a bucket.
func (p *pages) bucket(root uint64, each boltEntry) error {
	return p.walk(root, each, &span{}, 0)
}

// span is where the next key must lie: behind last, or at it when none was met yet.
type span struct {
	last    []byte
	started bool
}

// next tells whether a key may come now.
func (s *span) next(key []byte) error {
	if order := bytes.Compare(key, s.last); order < 0 || s.started && order == 0 {
		return fmt.Errorf("key %x comes after %x", key, s.last)
	}
	return nil
}

// deepest is how many pages lie above another, at most; a tree of ours has four.
const deepest = 32

// walk looks at a page, and all below it.
func (p *pages) walk(id uint64, each boltEntry, keys *span, depth int) error {
	switch {
	case id >= p.end:
		return fmt.Errorf("page %d is wanted, and there are %d", id, p.end)
	case p.seen[id]:
		return fmt.Errorf("page %d is wanted twice", id)
	case depth > deepest:
		return fmt.Errorf("page %d lies too deep", id)
	}
	head := p.file[id*p.size:][:pageHeader]
	more := uint64(native.Uint32(head[12:]))
	if native.Uint64(head) != id || more >= p.end-id {
		return fmt.Errorf("page %d says that it is page %d, and %d more", id, native.Uint64(head), more)
	}
	for i := id; i <= id+more; i++ {
		if p.seen[i] {
			return fmt.Errorf("page %d is wanted twice", i)
		}
		p.seen[i] = true
	}
	return p.content(id, p.file[id*p.size:(id+1+more)*p.size], each, keys, depth)
}

// content looks at what is on a page.
func (p *pages) content(id uint64, b []byte, each boltEntry, keys *span, depth int) error {
	if len(b) < pageHeader {
		return fmt.Errorf("page %d has no head", id)
	}
	flags, count := native.Uint16(b[8:]), int(native.Uint16(b[10:]))
	elements := b[pageHeader:]
	if len(elements) < count*leafElem { // a branch's are as long
		return fmt.Errorf("page %d has no room for its %d elements", id, count)
	}
	for i := range count {
		e := elements[i*leafElem:]
		var err error
		switch flags {
		case branchFlag:
			err = p.branch(e, each, keys, depth)
		case leafFlag:
			err = p.leaf(e, each, keys)
		default:
			return fmt.Errorf("page %d is of kind %#x", id, flags)
		}
		if err != nil {
			return fmt.Errorf("page %d, element %d: %w", id, i, err)
		}
	}
	if flags != branchFlag && flags != leafFlag || flags == branchFlag && count == 0 {
		return fmt.Errorf("page %d is of kind %#x with %d elements", id, flags, count)
	}
	return nil
}

func (p *pages) branch(e []byte, each boltEntry, keys *span, depth int) error {
	key, _, err := cut(e, native.Uint32(e), native.Uint32(e[4:]), 0)
	if err != nil {
		return err
	}
	if err := keys.next(key); err != nil {
		return err
	}
	// The first key below is this one or comes after it.
	below := &span{last: key}
	if err := p.walk(native.Uint64(e[8:]), each, below, depth+1); err != nil {
		return err
	}
	if below.started {
		keys.last, keys.started = below.last, true
	}
	return nil
}

func (p *pages) leaf(e []byte, each boltEntry, keys *span) error {
	key, value, err := cut(e, native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:]))
	if err != nil {
		return err
	}
	if err := keys.next(key); err != nil {
		return err
	}
	keys.last, keys.started = key, true
	return each(native.Uint32(e), key, value)
}

// cut takes key and value from their place behind an element.
func cut(e []byte, at, keySize, valueSize uint32) (key, value []byte, err error) {
	end := uint64(at) + uint64(keySize) + uint64(valueSize)
	if at < leafElem || keySize == 0 || end > uint64(len(e)) {
		return nil, nil, fmt.Errorf("a key of %d bytes and a value of %d lie at %d of %d", keySize, valueSize, at, len(e))
	}
	return e[at:][:keySize], e[at+keySize:][:valueSize], nil
}
