package depot

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/orchd/orchd/api"
)

// Receive takes an upload of at most max bytes (0: as many as there is room for).
// What breaks off is thrown away. Conflict if the image has its content already. A
// reader that may stand still needs a deadline of its own: nothing else can end it.
func (d *Depot) Receive(ctx context.Context, w Wanted, r io.Reader, max int64, progress Progress) (api.ImageContent, error) {
	if err := w.check(); err != nil {
		return api.ImageContent{}, err
	}
	if d.Has(w.ID) {
		return api.ImageContent{}, api.Errorf(api.Conflict, "image", "image %s has its content already, and it never changes: make another image", w.ID)
	}
	return d.whole(ctx, w, progress, func(ctx context.Context, in *intake) error {
		in.limit, in.total = least(max, w.Bytes), w.Bytes
		if err := in.begin(); err != nil {
			return err
		}
		broke, err := in.read(ctx, r)
		if broke != nil {
			return broken("the upload broke off after %s: send it again: %w", size(in.size), broke)
		}
		return err
	})
}

// Import takes a copy of a file of this host that an admin named: a plain file,
// not a link to one. It shares its blocks with the copy where the file system can.
func (d *Depot) Import(ctx context.Context, w Wanted, path string, progress Progress) (api.ImageContent, error) {
	if err := w.check(); err != nil {
		return api.ImageContent{}, err
	}
	if d.Has(w.ID) {
		return d.Check(ctx, w)
	}
	from, bytes, err := openPlain(path)
	if err != nil {
		return api.ImageContent{}, err
	}
	defer from.Close()
	return d.whole(ctx, w, progress, func(ctx context.Context, in *intake) error {
		in.total = bytes
		if unix.IoctlFileClone(int(in.file.Fd()), int(from.Fd())) == nil {
			return in.recount(ctx)
		}
		// All of it must be hashed anyhow, so there is nothing to gain from copy_file_range.
		if err := in.begin(); err != nil {
			return err
		}
		broke, err := in.read(ctx, from)
		if broke != nil {
			return broken("the file %s cannot be read: %w", path, broke)
		}
		return err
	})
}

// openPlain opens a plain file. The last part of the path is no link, and to open it
// waits for nobody, as a pipe would.
func openPlain(path string) (*os.File, int64, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return nil, 0, refuse("the path %q is refused: it must be absolute, without '.', '..' and double slashes", path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return nil, 0, refuse("the file %s is refused: it is a symbolic link; name what it leads to", path)
	case err != nil:
		return nil, 0, refuse("the file cannot be opened on this host: %w", err)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, 0, refuse("the file %s is refused: it is no plain file", path)
	}
	return f, info.Size(), nil
}

// Adopt takes the file that another program wrote to Temp.
func (d *Depot) Adopt(ctx context.Context, w Wanted, progress Progress) (api.ImageContent, error) {
	if err := w.check(); err != nil {
		return api.ImageContent{}, err
	}
	if d.Has(w.ID) {
		return d.Check(ctx, w)
	}
	ctx, release, err := d.alone(ctx, w.ID)
	if err != nil {
		return api.ImageContent{}, err
	}
	defer release()
	info, err := d.root.Lstat(half.name(w.ID))
	if err != nil || !info.Mode().IsRegular() {
		return api.ImageContent{}, refuse("there is no plain file to adopt for image %s: write it to Temp first", w.ID)
	}
	in, err := d.open(half, w.ID)
	if err != nil {
		return api.ImageContent{}, err
	}
	in.total = info.Size()
	return in.complete(ctx, w, progress, func(ctx context.Context, in *intake) error { return in.recount(ctx) })
}

// whole runs fill on an empty file, which becomes the image's if all is well and is removed if not.
func (d *Depot) whole(ctx context.Context, w Wanted, progress Progress, fill func(context.Context, *intake) error) (api.ImageContent, error) {
	ctx, release, err := d.alone(ctx, w.ID)
	if err != nil {
		return api.ImageContent{}, err
	}
	defer release()
	in, err := d.open(half, w.ID)
	if err != nil {
		return api.ImageContent{}, err
	}
	return in.complete(ctx, w, progress, func(ctx context.Context, in *intake) error {
		if err := in.empty(); err != nil {
			return err
		}
		return fill(ctx, in)
	})
}

// complete fills the file and finishes it, or removes it.
func (in *intake) complete(ctx context.Context, w Wanted, progress Progress, fill func(context.Context, *intake) error) (c api.ImageContent, err error) {
	if progress != nil {
		in.tell = progress
	}
	if err = fill(ctx, in); err == nil {
		c, err = in.finish(ctx, w)
	}
	if err != nil {
		in.discard()
		return c, err
	}
	in.file.Close()
	return c, nil
}

// Check reads the file of an image again and compares it with what it must be:
// after a crash between its arrival and the report of it, or in doubt.
func (d *Depot) Check(ctx context.Context, w Wanted) (api.ImageContent, error) {
	if err := w.check(); err != nil {
		return api.ImageContent{}, err
	}
	f, bytes, err := d.Open(w.ID)
	if err != nil {
		return api.ImageContent{}, err
	}
	defer f.Close()
	in := &intake{d: d, file: f, sum: sha256.New(), tell: func(int64, int64) {}}
	if err := in.recount(ctx); err != nil {
		return api.ImageContent{}, err
	}
	virtual, err := Inspect(f, bytes, w.Format)
	if e := in.matches(w); e != nil || err != nil {
		return api.ImageContent{}, api.Errorf(api.Conflict, "image",
			"the file of image %s on this host is not what arrived here: it was changed or is damaged: %w", w.ID, errors.Join(e, err))
	}
	return api.ImageContent{Image: w.ID, SHA256: in.digest(), Bytes: in.size, VirtualBytes: virtual}, nil
}
