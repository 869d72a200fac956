package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/orchd/orchd/api/planted"
)

// Folder is a folder that was found whole: every file that its manifest lists is
// there with the right sum, and nothing else is.
type Folder struct {
	path     string
	manifest Manifest
	encoded  []byte // manifest.json as it is on disk
}

// OpenFolder verifies the folder at path and opens it. An unknown format, a
// file that is missing, altered or not listed, is an error with its name.
func OpenFolder(path string) (*Folder, error) { return openFolder(path, nil, "") }

// Path is where the folder is.
func (f *Folder) Path() string { return f.path }

// Manifest is what the folder says about itself. Its slice is shared.
func (f *Folder) Manifest() Manifest { return f.manifest }

// Files lists the paths of a table's files below the folder, in row order.
func (f *Folder) Files(table string) []string {
	var out []string
	for _, e := range f.entries(table) {
		out = append(out, e.Path)
	}
	return out
}

// OpenFile opens one of the files that the manifest lists, for reading.
func (f *Folder) OpenFile(path string) (*os.File, error) {
	if !slices.ContainsFunc(f.manifest.Files, func(e File) bool { return e.Path == path }) {
		return nil, fmt.Errorf("snapshot %s has no file %q", f.path, path)
	}
	return os.Open(filepath.Join(f.path, filepath.FromSlash(path)))
}

func (f *Folder) entries(table string) []File {
	var out []File
	for _, e := range f.manifest.Files {
		if e.Table() == table {
			out = append(out, e)
		}
	}
	return out
}

// openFolder verifies a folder. Only if there is no folder at all is
// the error fs.ErrNotExist. Sums in known are believed. extra, unless "", is
// a file that lies there beside the listed ones and is somebody else's to check.
func openFolder(path string, known *sums, extra string) (*Folder, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	m, data, err := readManifest(path)
	if err != nil {
		return nil, err
	}
	if err := checkNames(path, m, extra); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if err := known.check(filepath.Join(path, filepath.FromSlash(f.Path)), f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return &Folder{path, m, data}, nil
}

// readManifest reads the manifest of the folder at path, and gives it as it is on disk too.
func readManifest(path string) (Manifest, []byte, error) {
	data, err := readSmall(filepath.Join(path, manifestName))
	if err != nil {
		return Manifest{}, nil, err
	}
	m, err := parseManifest(data)
	return m, data, err
}

// checkNames fails on what lies below path and is not listed. What is listed and
// does not lie there is found when it is opened.
func checkNames(root string, m Manifest, extra string) error {
	expected := map[string]bool{".": true, manifestName: false}
	if extra != "" {
		expected[extra] = false
	}
	for _, f := range m.Files {
		expected[f.Path] = false
	}
	for _, d := range m.folders() {
		expected[d] = true
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		isDir, listed := expected[name]
		switch {
		case !listed:
			return fmt.Errorf("%s: not in the manifest", name)
		case isDir != d.IsDir() || !isDir && !d.Type().IsRegular():
			return fmt.Errorf("%s: not the kind of file that it should be", name)
		}
		return nil
	})
}

// readSmall reads a file of at most maxManifest bytes.
func readSmall(path string) ([]byte, error) {
	name := filepath.Base(path)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, reason(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, reason(err))
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxManifest)
	}
	return data, nil
}

// reason is a file error without the path, which the caller says better. A
// missing file is no fs.ErrNotExist: the folder exists, and is not whole.
func reason(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("missing")
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// sums remembers the SHA-256 of files that were read before, so that a listing
// does not read every snapshot again. A file is known by device, inode, size and
// time of change, so hard links of one part are read once. What changes behind
// the file system's back is found where nothing is believed: on opening.
type sums struct {
	pace *pace // at which files are read; nil: as fast as it goes

	mu   sync.Mutex
	seen map[fileState]string
}

type fileState struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func newSums() *sums { return &sums{seen: map[fileState]string{}} }

// check compares the file at path with its entry. A nil s believes nothing.
func (s *sums) check(path string, want File) error {
	r, err := os.Open(path)
	if err != nil {
		return reason(err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return reason(err)
	}
	if info.Size() != want.Bytes {
		return fmt.Errorf("has %d bytes, not %d", info.Size(), want.Bytes)
	}
	if planted.Is(planted.ChecksumSkipped) { // what the disk altered becomes state
		return nil
	}
	got, known := s.of(info)
	if !known {
		if got, err = s.read(r); err != nil {
			return reason(err)
		}
		s.remember(info, got)
	}
	if !strings.EqualFold(got, want.SHA256) {
		return errors.New("was altered: its SHA-256 is not the one in the manifest")
	}
	return nil
}

// copies are buffers for reading files through.
var copies = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// read gives the SHA-256 of a file.
func (s *sums) read(f *os.File) (string, error) {
	var in io.Reader = f
	if s != nil && s.pace != nil {
		in = s.pace.read(f)
	}
	h, b := sha256.New(), copies.Get().(*[]byte)
	defer copies.Put(b)
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{in}, *b); err != nil { // a file would bring a buffer of its own
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (s *sums) of(info fs.FileInfo) (string, bool) {
	key, ok := stateOf(info)
	if s == nil || !ok {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, known := s.seen[key]
	return sum, known
}

func (s *sums) remember(info fs.FileInfo, sum string) {
	key, ok := stateOf(info)
	if s == nil || !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= maxSums {
		clear(s.seen)
	}
	s.seen[key] = sum
}

// maxSums bounds what is remembered of files that are long gone.
const maxSums = 4 * maxFiles

// forget makes the next listing read everything again.
func (s *sums) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.seen)
}

func stateOf(info fs.FileInfo) (fileState, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileState{}, false
	}
	return fileState{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}, true
}
