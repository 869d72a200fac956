package depot

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/orchd/orchd/api"
)

// leftAfter is how long a fetch that was cut off may lie before nobody is
// expected to go on with it.
const leftAfter = 24 * time.Hour

// Sweep removes what is left of fetches that nobody has gone on with for a day, and
// the files of images that known does not know. It gives the names that it removed.
// What is being worked on is left alone, and so are files that are none of ours.
func (d *Depot) Sweep(ctx context.Context, known func(id string) bool) (removed []string, err error) {
	err = d.each(func(f fs.DirEntry, id string, k kind) error {
		if err := ctx.Err(); err != nil {
			return broken("sweeping the folder of images: %w", err)
		}
		if k == foreign {
			d.log.Warn("a file that is none of ours lies in the folder of images", "file", f.Name())
			return nil
		}
		gone, err := d.sweep(ctx, f, id, k, known)
		if gone {
			removed = append(removed, f.Name())
		}
		return err
	})
	if len(removed) > 0 {
		err = errors.Join(err, d.syncFolder())
	}
	return removed, err
}

// sweep removes one file if nobody needs it.
func (d *Depot) sweep(ctx context.Context, f fs.DirEntry, id string, k kind, known func(id string) bool) (gone bool, err error) {
	_, release, err := d.alone(ctx, id)
	if api.IsKind(err, api.Conflict) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer release()
	info, err := d.root.Lstat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, failed(err)
	}
	old := k != whole && time.Since(info.ModTime()) > leftAfter
	if !old && known(id) {
		return false, nil
	}
	return true, d.drop(f.Name())
}
