// Package depot keeps the image files of one host, all in one folder.
//
// What holds: a file that has an image's id for its name is whole, has the sum
// that was asked for, was looked at before anything else could use it, and never
// changes. What is on its way has another name (.ID.part or .ID.new), so that a crash
// at any moment leaves a whole checked file or none. No name, path or URL of a user
// becomes a file name, and every access goes through an os.Root.
//
// Content comes in by Receive (an upload), FetchURL (the internet), FetchFrom
// (another peer), Import (a file of this host) or Adopt (a disk that was copied to
// Temp). Fetches go on where they were cut off, also after a restart, and several
// callers share one. Start with Open and take.go; what is refused is in inspect.go
// and qcow2.go.
package depot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/orchd/orchd/api"
)

// The formats of images.
const (
	Qcow2 = "qcow2"
	Raw   = "raw"
)

// Config says where the files are and what is taken.
type Config struct {
	Dir             string // the folder; made if it is missing
	MaxVirtualBytes int64  // of the disk in an image; default and at most 1 PiB
	ReserveBytes    int64  // that stay free; default 5 % of the file system, but at most 1 GiB
	QemuImg         string // the program that gives a second opinion on qcow2; default: found in PATH, none if it is not there
}

// Validate reports everything that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	if !filepath.IsAbs(c.Dir) {
		errs = append(errs, fmt.Errorf("depot: the folder %q is no absolute path", c.Dir))
	}
	if c.MaxVirtualBytes < 0 || c.MaxVirtualBytes > maxVirtual {
		errs = append(errs, fmt.Errorf("depot: disks of %d bytes: 1 PiB is the most", c.MaxVirtualBytes))
	}
	if c.ReserveBytes < 0 {
		errs = append(errs, errors.New("depot: the reserve is negative"))
	}
	return errors.Join(errs...)
}

// Depot is the folder. Its methods may be called side by side.
type Depot struct {
	cfg  Config
	root *os.Root
	tool []string // qemu-img and what holds it in bounds; empty: no second opinion
	log  *slog.Logger

	mu      sync.Mutex
	flights map[string]*flight // what is being done with an image, by id
}

// Wanted is what the content of an image must be.
type Wanted struct {
	ID     string // of the image; the name of its file
	Format string // qcow2 or raw; never guessed
	SHA256 string // hexadecimal; empty: not known before
	Bytes  int64  // of the file; 0: not known before
}

// Progress is told how far something is, at most ten times a second and once at
// the end; total is 0 while nobody knows it. It must be quick.
type Progress func(done, total int64)

// Open opens the folder and removes what a crash left that nothing can go on with.
func Open(cfg Config, log *slog.Logger) (*Depot, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.MaxVirtualBytes == 0 {
		cfg.MaxVirtualBytes = maxVirtual
	}
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("depot: %w", err)
	}
	// QEMU's own user passes through to the files, whatever the umask is.
	if err := os.Chmod(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("depot: %w", err)
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("depot: %w", err)
	}
	d := &Depot{cfg: cfg, root: root, tool: findTool(cfg.QemuImg, log), log: log, flights: map[string]*flight{}}
	if err := d.dropHalves(); err != nil {
		root.Close()
		return nil, err
	}
	return d, nil
}

// Close lets go of the folder. What is under way must have ended.
func (d *Depot) Close() error { return d.root.Close() }

// kind is what a file of the depot is.
type kind uint8

const (
	foreign kind = iota // none of ours
	whole               // ID
	part                // .ID.part: a fetch that can go on
	half                // .ID.new: it is written in one go, or not at all
)

// name is the file name of an image's file of a kind.
func (k kind) name(id string) string {
	switch k {
	case part:
		return "." + id + ".part"
	case half:
		return "." + id + ".new"
	}
	return id
}

// parse is the reverse of name.
func parse(file string) (id string, k kind) {
	id, k = file, whole
	if inner, hidden := strings.CutPrefix(file, "."); hidden {
		if base, is := strings.CutSuffix(inner, ".part"); is {
			id, k = base, part
		} else if base, is := strings.CutSuffix(inner, ".new"); is {
			id, k = base, half
		}
	}
	if !api.IsUUID(id) {
		return "", foreign
	}
	return id, k
}

// Path is where the file of an image lies; NotFound when this host has none.
func (d *Depot) Path(id string) (string, error) {
	if !d.Has(id) {
		return "", missing(id)
	}
	return d.path(whole, id), nil
}

func (d *Depot) path(k kind, id string) string { return filepath.Join(d.cfg.Dir, k.name(id)) }

// Has tells whether this host has an image's content.
func (d *Depot) Has(id string) bool {
	if !api.IsUUID(id) {
		return false
	}
	info, err := d.root.Lstat(id)
	return err == nil && info.Mode().IsRegular()
}

// Open opens the file of an image for reading; NotFound when this host has none.
func (d *Depot) Open(id string) (*os.File, int64, error) {
	if !d.Has(id) {
		return nil, 0, missing(id)
	}
	f, bytes, err := d.openRead(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, missing(id)
	}
	return f, bytes, err
}

// openRead opens a file of the folder only for reading.
func (d *Depot) openRead(name string) (*os.File, int64, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, 0, failed(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, failed(err)
	}
	return f, info.Size(), nil
}

// List gives the ids of the images that this host has, in order.
func (d *Depot) List() ([]string, error) {
	var ids []string
	err := d.each(func(f fs.DirEntry, id string, k kind) error {
		if k == whole && f.Type().IsRegular() {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

// each goes over the files in order of their names, those that are none of ours too.
func (d *Depot) each(do func(f fs.DirEntry, id string, k kind) error) error {
	files, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return failed(err)
	}
	for _, f := range files {
		id, k := parse(f.Name())
		if err := do(f, id, k); err != nil {
			return err
		}
	}
	return nil
}

// Temp is a path in the folder for a new file that another program writes; then
// Adopt takes it. What an earlier try left there is removed.
func (d *Depot) Temp(id string) (string, error) {
	if !api.IsUUID(id) {
		return "", refuse("%q is no id of an image", id)
	}
	if err := d.drop(half.name(id)); err != nil {
		return "", err
	}
	return d.path(half, id), nil
}

// Remove removes all that this host has of an image, and ends what is being done
// with it. One that is not there is no error.
func (d *Depot) Remove(ctx context.Context, id string) error {
	if !api.IsUUID(id) {
		return refuse("%q is no id of an image", id)
	}
	release, err := d.interrupt(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	for _, k := range []kind{whole, part, half} {
		if err := d.drop(k.name(id)); err != nil {
			return err
		}
	}
	return d.syncFolder()
}

// drop removes a file that may be missing.
func (d *Depot) drop(name string) error {
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(err)
	}
	return nil
}

// dropHalves removes files that were to be written in one go.
func (d *Depot) dropHalves() error {
	return d.each(func(f fs.DirEntry, id string, k kind) error {
		if k != half {
			return nil
		}
		d.log.Warn("removed what is left of an image", "image", id)
		return d.drop(f.Name())
	})
}

// syncFolder makes names survive a loss of power.
func (d *Depot) syncFolder() error {
	folder, err := d.root.Open(".")
	if err != nil {
		return failed(err)
	}
	defer folder.Close()
	return failed(folder.Sync())
}

// check refuses what can be no image's content.
func (w Wanted) check() error {
	switch {
	case !api.IsUUID(w.ID):
		return refuse("%q is no id of an image", w.ID)
	case !slices.Contains([]string{Qcow2, Raw}, w.Format):
		return refuse("the format %q is refused: it is qcow2 or raw", w.Format)
	case w.SHA256 != "" && !isSHA256(w.SHA256):
		return refuse("%q is no SHA-256: it has 64 of 0-9 and a-f", w.SHA256)
	case w.Bytes < 0:
		return refuse("an image of %d bytes is refused", w.Bytes)
	}
	return nil
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// refuse says why content can never be taken as it is.
func refuse(format string, args ...any) error {
	return api.Errorf(api.Invalid, "image", format, args...)
}

// broken says what did not work just now.
func broken(format string, args ...any) error {
	return api.Errorf(api.Unavailable, "image", format, args...)
}

func missing(id string) error {
	return api.Errorf(api.NotFound, "image", "this host has no file of image %s", id)
}

// failed wraps what the host's file system says; nil stays nil.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return api.Errorf(api.Internal, "image", "the folder of images: %w", err)
}
