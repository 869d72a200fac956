package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/orchd/orchd/api"
)

const (
	piece     = 256 << 10 // read and written at once
	roomEvery = 64 << 20  // written between two looks at what is free
	tellEvery = 100 * time.Millisecond
)

// intake is a file on its way in: what is written to it is hashed, counted and
// kept within limits. Pieces of zeros become holes.
type intake struct {
	d     *Depot
	file  *os.File
	name  string // of the file
	size  int64
	sum   hash.Hash
	limit int64 // at most so many bytes; 0: as many as there is room for
	total int64 // 0: unknown
	tell  Progress

	looked int64     // size when the room was looked at
	told   time.Time // when progress was told
}

var zeros = make([]byte, piece)

// open opens the file of kind k of an image, and makes it if it is missing.
func (d *Depot) open(k kind, id string) (*intake, error) {
	f, err := d.root.OpenFile(k.name(id), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, failed(err)
	}
	if err := f.Chmod(0o644); err != nil { // the umask may have taken something away
		f.Close()
		return nil, failed(err)
	}
	return &intake{d: d, file: f, name: k.name(id), sum: sha256.New(), tell: func(int64, int64) {}}, nil
}

// ended says why something that ctx ended was ended.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errRemoved) {
		return api.Errorf(api.Gone, "image", "%w while its content was brought in", cause)
	}
	return broken("bringing in an image was ended: %w", cause)
}

// least is the smaller of two limits, of which 0 is none.
func least(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// begin looks whether what is announced can be taken at all.
func (in *intake) begin() error {
	if in.limit > 0 && in.total > in.limit {
		return in.tooLarge()
	}
	in.looked = in.size
	return in.d.room(max(in.total-in.size, 0))
}

func (in *intake) tooLarge() error {
	return api.Errorf(api.TooLarge, "image", "the image is larger than %s: that is the most that is taken", size(in.limit))
}

// read takes everything of r. broke is what r said other than its end, err is why the
// rest is not taken.
func (in *intake) read(ctx context.Context, r io.Reader) (broke, err error) {
	buf := make([]byte, piece)
	for {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		n, broke := r.Read(buf)
		if err := in.write(buf[:n]); err != nil {
			return nil, err
		}
		if broke == io.EOF {
			return nil, nil
		}
		if broke != nil {
			return broke, nil
		}
	}
}

// write adds to the end.
func (in *intake) write(p []byte) error {
	if in.limit > 0 && in.size+int64(len(p)) > in.limit {
		return in.tooLarge()
	}
	if in.size+int64(len(p)) > in.looked+roomEvery {
		in.looked = in.size
		if err := in.d.room(int64(len(p))); err != nil {
			return err
		}
	}
	if !bytes.Equal(p, zeros[:len(p)]) {
		if _, err := in.file.WriteAt(p, in.size); isFull(err) {
			return full("the file system says: %v", err)
		} else if err != nil {
			return failed(err)
		}
	}
	in.add(p)
	return nil
}

// add counts p, which is in the file.
func (in *intake) add(p []byte) {
	in.sum.Write(p)
	in.size += int64(len(p))
	if now := time.Now(); now.Sub(in.told) >= tellEvery {
		in.told = now
		in.tell(in.size, in.total)
	}
}

// recount hashes what the file holds already; then writing goes on behind it.
func (in *intake) recount(ctx context.Context) error {
	in.sum.Reset()
	in.size = 0
	buf := make([]byte, piece)
	for {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		n, err := in.file.ReadAt(buf, in.size)
		in.add(buf[:n])
		if err == io.EOF {
			return nil
		} else if err != nil {
			return failed(err)
		}
	}
}

// empty throws away what the file holds.
func (in *intake) empty() error {
	in.sum.Reset()
	in.size, in.looked = 0, 0
	return failed(in.file.Truncate(0))
}

// digest is the SHA-256 of what was written.
func (in *intake) digest() string { return hex.EncodeToString(in.sum.Sum(nil)) }

// settle makes the file as long as what was written: zeros at its end are not there yet.
func (in *intake) settle() error {
	if err := in.file.Truncate(in.size); isFull(err) {
		return full("the file system says: %v", err)
	} else if err != nil {
		return failed(err)
	}
	return nil
}

// finish checks the whole and gives it its name. The order matters: the content is
// on the disk before it is looked at, and both are done before it has the name.
func (in *intake) finish(ctx context.Context, w Wanted) (api.ImageContent, error) {
	none := api.ImageContent{}
	if err := in.settle(); err != nil {
		return none, err
	}
	in.tell(in.size, in.size)
	if err := in.matches(w); err != nil {
		return none, err
	}
	if err := in.file.Sync(); isFull(err) {
		return none, full("the file system says: %v", err)
	} else if err != nil {
		return none, failed(err)
	}
	virtual, err := in.d.inspect(ctx, in.name, w.Format)
	if err != nil {
		return none, err
	}
	if err := in.d.root.Rename(in.name, whole.name(w.ID)); err != nil {
		return none, failed(err)
	}
	if err := in.d.syncFolder(); err != nil {
		return none, err
	}
	return api.ImageContent{Image: w.ID, SHA256: in.digest(), Bytes: in.size, VirtualBytes: virtual}, nil
}

// errOther is in the error of content that is not what was wanted.
var errOther = errors.New("other content")

// matches compares the whole with what was wanted.
func (in *intake) matches(w Wanted) error {
	e := &api.Error{Kind: api.Invalid, Op: "image", Err: errOther}
	switch got := in.digest(); {
	case w.Bytes > 0 && in.size != w.Bytes:
		e.Msg = fmt.Sprintf("the content has %d bytes, not %d as announced: it is refused", in.size, w.Bytes)
	case w.SHA256 != "" && got != w.SHA256:
		e.Msg = fmt.Sprintf("the content has SHA-256 %s, not %s: it is refused; check the file, and where the sum comes from", got, w.SHA256)
	default:
		return nil
	}
	return e
}

// discard closes the file and removes it.
func (in *intake) discard() {
	in.file.Close()
	if err := in.d.drop(in.name); err != nil {
		in.d.log.Warn("what is left of an image could not be removed", "file", in.name, "err", err)
	}
}

// keep closes the file so that a later try can go on with it.
func (in *intake) keep() {
	if err := in.settle(); err != nil {
		in.d.log.Warn("what came of an image could not be kept whole", "file", in.name, "err", err)
	}
	in.file.Close()
}
