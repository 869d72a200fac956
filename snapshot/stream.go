package snapshot

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/orchd/orchd/api/planted"
)

// A folder travels as a tar stream (USTAR): manifest.json, then the files that
// it lists, in its order. So whoever receives it knows before each file how long
// it must be and what its sum is.

const tarBlock = 512

// streamSize is the exact length of a folder's stream; raft compares it with
// what it received.
func streamSize(f *Folder) int64 {
	size := tarEntry(int64(len(f.encoded)))
	for _, e := range f.manifest.Files {
		size += tarEntry(e.Bytes)
	}
	return size + 2*tarBlock // the end of a tar is two blocks of zeros
}

// tarEntry is the length of a header and a padded file.
func tarEntry(size int64) int64 { return tarBlock + size + tarPadding(size) }

func tarPadding(size int64) int64 { return (tarBlock - size%tarBlock) % tarBlock }

// tarHeader is the header of a file of a stream.
func tarHeader(name string, size int64, modified time.Time) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: modified, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR})
	if err == nil && b.Len() != tarBlock {
		err = fmt.Errorf("%s does not fit one tar header", name)
	}
	return b.Bytes(), err
}

// pack gives the stream of a folder. Files are opened as their turn comes.
func pack(f *Folder) (io.ReadCloser, error) {
	head, err := tarHeader(manifestName, int64(len(f.encoded)), time.Time{})
	if err != nil {
		return nil, err
	}
	parts := []io.Reader{bytes.NewReader(head), bytes.NewReader(f.encoded), zeros(tarPadding(int64(len(f.encoded))))}
	var files closers
	for _, e := range f.manifest.Files {
		head, err := tarHeader(e.Path, e.Bytes, time.Time{})
		if err != nil {
			return nil, err
		}
		body := &lazyFile{folder: f, entry: e}
		files = append(files, body)
		parts = append(parts, bytes.NewReader(head), body, zeros(tarPadding(e.Bytes)))
	}
	parts = append(parts, zeros(2*tarBlock))
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(parts...), files}, nil
}

func zeros(n int64) io.Reader { return bytes.NewReader(make([]byte, n)) }

// closers closes all of them.
type closers []io.Closer

func (c closers) Close() (err error) {
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}

// lazyFile is a file of a folder that is open only while it is read.
type lazyFile struct {
	folder *Folder
	entry  File
	file   *os.File
	body   io.Reader
	done   bool
}

func (l *lazyFile) Read(p []byte) (int, error) {
	if l.done {
		return 0, io.EOF
	}
	if l.file == nil {
		f, err := l.folder.OpenFile(l.entry.Path)
		if err != nil {
			return 0, err
		}
		l.file, l.body = f, io.LimitReader(f, l.entry.Bytes)
	}
	n, err := l.body.Read(p)
	if err != nil {
		l.Close() // it was only read: nothing can be lost
	}
	return n, err
}

func (l *lazyFile) Close() error {
	l.done = true
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}

// unpack writes a stream into the draft. It makes only the files that the
// manifest at its head lists, in their order, with their sizes and sums, and
// wants nothing behind them.
func (d *draft) unpack(r io.Reader) error {
	counted := &countingReader{r: r}
	t := tar.NewReader(counted)
	folder, err := d.unpackManifest(t)
	if err != nil {
		return err
	}
	for _, f := range folder.manifest.Files {
		if err := d.unpackFile(t, f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if h, err := t.Next(); err == nil {
		return fmt.Errorf("%q comes after the last file of the manifest", h.Name)
	} else if err != io.EOF {
		return err
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return err
	}
	if want := streamSize(folder); counted.n != want {
		return fmt.Errorf("the stream has %d bytes, not %d", counted.n, want)
	}
	d.manifest = folder.manifest
	return nil
}

// countingReader counts what was read.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// unpackManifest gives the folder as it will be once its files are there too.
func (d *draft) unpackManifest(t *tar.Reader) (*Folder, error) {
	size, err := nextEntry(t, manifestName)
	if err != nil {
		return nil, err
	}
	if size > maxManifest {
		return nil, fmt.Errorf("%s: larger than %d bytes", manifestName, maxManifest)
	}
	data, err := io.ReadAll(t)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(data)
	if err != nil {
		return nil, err
	}
	return &Folder{d.path, m, data}, d.small(manifestName, data)
}

func (d *draft) unpackFile(t *tar.Reader, want File) error {
	size, err := nextEntry(t, want.Path)
	if err != nil {
		return err
	}
	if size != want.Bytes {
		return fmt.Errorf("has %d bytes, not %d", size, want.Bytes)
	}
	w, err := d.create(want.Path)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, t)
	if err = errors.Join(err, w.finish()); err != nil {
		return err
	}
	if w.sum() != want.SHA256 && !planted.Is(planted.ChecksumSkipped) {
		return errors.New("was altered on its way: its SHA-256 is not the one in the manifest")
	}
	return nil
}

// nextEntry moves to the next entry, which must be a regular file of that name.
func nextEntry(t *tar.Reader, name string) (size int64, err error) {
	h, err := t.Next()
	if err == io.EOF {
		return 0, fmt.Errorf("the stream ends before %s", name)
	}
	if err != nil {
		return 0, err
	}
	if h.Typeflag != tar.TypeReg || h.Name != name {
		return 0, fmt.Errorf("%q comes where %s should", h.Name, name)
	}
	return h.Size, nil
}

// unpackTemporary unpacks a stream where nobody keeps it.
func unpackTemporary(r io.Reader) (*Folder, func(), error) {
	dir, err := os.MkdirTemp("", "orchd-snapshot-")
	if err != nil {
		return nil, nil, err
	}
	done := func() { os.RemoveAll(dir) }
	d, err := newDraft(dir, "stream")
	if err == nil {
		err = d.unpack(r)
	}
	var f *Folder
	if err == nil {
		f, err = openFolder(d.path, nil, "")
	}
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("unpack snapshot: %w", err)
	}
	return f, done, nil
}
