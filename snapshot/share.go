package snapshot

import (
	"os"
	"path/filepath"
	"syscall"
)

// earlier is an older folder whose parts a draft may share. A part that holds the
// same rows as one of it becomes a hard link to that: it costs no space, and no
// time but that of reading it, because nothing is shared that was not found whole.
type earlier struct {
	path  string
	bytes uint64          // of all its files
	parts map[string]File // by content
	read  *sums           // of what was shared
}

func newEarlier(path string, m Manifest) *earlier {
	e := &earlier{path: path, parts: map[string]File{}, read: newSums()}
	for _, f := range m.Files {
		e.bytes += uint64(f.Bytes)
		if f.Content != "" {
			e.parts[f.Content] = f
		}
	}
	return e
}

// verified are the sums of the files that were shared, read when they were.
func (e *earlier) verified() *sums {
	if e == nil {
		return nil
	}
	return e.read
}

// size is what the next folder will take at most, as far as the one before can tell; 0 if there is none.
func (e *earlier) size() uint64 {
	if e == nil {
		return 0
	}
	return e.bytes
}

// earlier is the newest snapshot that has a manifest. Whether its parts are whole
// is found out part by part, when they are to be shared.
func (m *Marks) earlier() *earlier {
	indexes, err := m.indexes()
	if err != nil {
		return nil // what is wrong with the folder is said by whoever writes into it
	}
	for _, index := range indexes {
		if manifest, _, err := readManifest(m.at(index)); err == nil {
			return newEarlier(m.at(index), manifest)
		}
	}
	return nil
}

// Every wholeEvery-th snapshot shares no part with those before it, and no part
// is in more than maxLinks, so that a bad sector does not end all of them.
const (
	wholeEvery = 24
	maxLinks   = wholeEvery
)

// sharedLocked is e, or nothing when the next snapshot is to be whole.
func (m *Marks) sharedLocked(e *earlier) *earlier {
	if m.sharing < 0 {
		m.sharing = m.countSharing()
	}
	if m.sharing >= wholeEvery-1 {
		return nil
	}
	return e
}

// countSharing counts the newest snapshots that each have a part in common with the one before.
// Nothing on disk says how many there were: of deleted ones it knows nothing, and
// then it is maxLinks that bounds the sharing.
func (m *Marks) countSharing() int {
	indexes, err := m.indexes()
	if err != nil || len(indexes) == 0 {
		return 0
	}
	newer := partsBelow(m.at(indexes[0]))
	for n, index := range indexes[1:] {
		parts := partsBelow(m.at(index))
		if n == wholeEvery || !haveCommon(newer, parts) {
			return n
		}
		newer = parts
	}
	return len(indexes) - 1
}

func haveCommon(a, b map[fileState]bool) bool {
	for part := range a {
		if b[part] {
			return true
		}
	}
	return false
}

// partsBelow are the parts in the folder at path.
func partsBelow(path string) map[fileState]bool {
	out := map[fileState]bool{}
	files, _ := filepath.Glob(filepath.Join(path, "*", "part-*.parquet")) // it fails on bad patterns only
	for _, file := range files {
		if info, err := os.Lstat(file); err == nil {
			if part, known := stateOf(info); known {
				out[part] = true
			}
		}
	}
	return out
}

// share makes the file at path, below the draft, a link to the part of the earlier folder
// that holds the same rows, if there is one and it is whole.
func (d *draft) share(path string, p part) (File, bool) {
	if d.earlier == nil {
		return File{}, false
	}
	f, known := d.earlier.parts[p.content]
	if !known || f.Rows != int64(p.rows) {
		return File{}, false
	}
	from := below(d.earlier.path, f.Path)
	f.Path = path
	return f, d.linkTo(from, f, d.earlier.read)
}

// linkTo makes a file of the draft a link to the part at from, if that is whole; it is
// remembered in read.
func (d *draft) linkTo(from string, f File, read *sums) bool {
	to := below(d.path, f.Path)
	if info, err := os.Lstat(from); err != nil || !info.Mode().IsRegular() || links(info) >= maxLinks {
		return false
	}
	if os.MkdirAll(filepath.Dir(to), 0o700) != nil || os.Link(from, to) != nil {
		return false
	}
	if read.check(to, f) != nil {
		os.Remove(to) // if it stays, the new part finds its name taken and says so
		return false
	}
	return true
}

// below is the path of a file of the folder at root.
func below(root, name string) string { return filepath.Join(root, filepath.FromSlash(name)) }

// links is how many names a file has.
func links(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return maxLinks
}
