package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// disk is what files of changes are written to.
type disk interface {
	// create makes a new file in dir whose name begins with a dot.
	create(dir string) (diskFile, error)
	rename(from, to string) error
	remove(path string) error
	// sync makes the names in a folder durable.
	sync(dir string) error
}

// diskFile is a file being written.
type diskFile interface {
	io.WriteCloser
	Name() string
	Sync() error
}

// osDisk is a disk of this host.
type osDisk struct{}

func (osDisk) create(dir string) (diskFile, error) { return os.CreateTemp(dir, ".changes-*") }
func (osDisk) rename(from, to string) error        { return os.Rename(from, to) }
func (osDisk) remove(path string) error            { return os.Remove(path) }
func (osDisk) sync(dir string) error               { return syncDir(dir) }

// changeFile is a file of a History.
type changeFile struct {
	HistoryFile

	mu    sync.Mutex
	whole fileState // in which it was read and matched its sum
}

// Names of files: FROM-TO, padded so that names sort as indexes do.
const (
	changesSuffix = ".parquet"
	damagedSuffix = ".damaged" // behind the whole name of a file that was set aside
)

func changesName(r Range) string { return fmt.Sprintf("%015d-%015d%s", r.From, r.To, changesSuffix) }

// changesRange is the range of a file's name.
func changesRange(name string) (r Range, ok bool) {
	from, to, _ := strings.Cut(strings.TrimSuffix(name, changesSuffix), "-")
	var errFrom, errTo error
	r.From, errFrom = strconv.ParseUint(from, 10, 64)
	r.To, errTo = strconv.ParseUint(to, 10, 64)
	return r, errors.Join(errFrom, errTo) == nil && r.From > 0 && !r.empty() && changesName(r) == name
}

// changesDraft is a file being written. Its name begins with a dot until it is placed.
type changesDraft struct {
	*changeWriter
	file diskFile
	out  *bufio.Writer
	disk disk
	open bool
}

func (h *History) newDraft() (*changesDraft, error) {
	f, err := h.disk.create(h.dir)
	if err != nil {
		return nil, err
	}
	d := &changesDraft{file: f, out: bufio.NewWriterSize(f, 256<<10), disk: h.disk, open: true}
	if d.changeWriter, err = newChangeWriter(d.out); err != nil {
		return nil, errors.Join(err, f.Close(), h.disk.remove(f.Name()))
	}
	return d, nil
}

// finish puts the file, which covers r, on stable storage, still under its dot name.
func (d *changesDraft) finish(r Range) (*changeFile, error) {
	if err := d.changeWriter.finish(&changeLabel{r.From, r.To, d.since, d.until}); err != nil {
		return nil, err
	}
	err := errors.Join(d.out.Flush(), d.file.Sync())
	if err = errors.Join(err, d.close()); err != nil {
		return nil, err
	}
	return &changeFile{HistoryFile: HistoryFile{Range: r, Rows: d.rows, Bytes: d.bytes(),
		Since: d.since, Until: d.until, Name: changesName(r)}}, nil
}

// close lets go of everything but the file on disk.
func (d *changesDraft) close() error {
	if !d.open {
		return nil
	}
	d.open = false
	d.release()
	return d.file.Close()
}

// discard removes the file.
func (d *changesDraft) discard() error {
	err := errors.Join(d.close(), d.disk.remove(d.file.Name()))
	if errors.Is(err, os.ErrNotExist) {
		return nil // it has its final name, or had
	}
	return err
}

// place gives a finished file its name. If that is not known to be durable it
// is taken away again. settling must be held.
func (h *History) place(f *changeFile, d *changesDraft) error {
	path := h.path(f)
	if err := h.disk.rename(d.file.Name(), path); err != nil {
		return err
	}
	if err := h.disk.sync(h.dir); err != nil {
		return errors.Join(err, h.disk.remove(path))
	}
	return nil
}

func (h *History) path(f *changeFile) string { return filepath.Join(h.dir, f.Name) }
