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
	parts map[string]File // by content
	read  *sums           // of what was shared
}

func newEarlier(path string, m Manifest) *earlier {
	e := &earlier{path, map[string]File{}, newSums()}
	for _, f := range m.Files {
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

// maxLinks is how many snapshots share a part. Then it is written anew, so that
// a bad sector does not end all of them.
const maxLinks = 24

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
	from, to := below(d.earlier.path, f.Path), below(d.path, path)
	if info, err := os.Lstat(from); err != nil || !info.Mode().IsRegular() || links(info) >= maxLinks {
		return File{}, false
	}
	if os.MkdirAll(filepath.Dir(to), 0o700) != nil || os.Link(from, to) != nil {
		return File{}, false
	}
	if d.earlier.read.check(to, f) != nil {
		os.Remove(to) // if it stays, the new part finds its name taken and says so
		return File{}, false
	}
	f.Path = path
	return f, true
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
