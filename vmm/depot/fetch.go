package depot

import (
	"context"
	"errors"
	"io"

	"github.com/orchd/orchd/api"
)

// Source opens the content of an image at an offset.
type Source func(ctx context.Context, offset int64) (io.ReadCloser, error)

// maxCuts bounds how often one fetch goes on after it was cut off.
const maxCuts = 100

// FetchFrom fetches the content of an image, whose sum must be known, from source.
// What is cut off goes on where it was while each try brings more, and at the next
// call otherwise, also after a restart: Unavailable says that. Callers that want
// the same at the same time share one fetch; it ends with the last one's context.
// Content with another sum is thrown away.
func (d *Depot) FetchFrom(ctx context.Context, w Wanted, source Source, progress Progress) (api.ImageContent, error) {
	return d.fetch(ctx, w, 0, func(ctx context.Context, offset int64) (stream, error) {
		body, err := source(ctx, offset)
		return stream{body, w.Bytes}, err
	}, progress)
}

// stream is content from an offset on, and how long the whole is (0: unknown).
type stream struct {
	io.ReadCloser
	total int64
}

type opener func(ctx context.Context, offset int64) (stream, error)

func (d *Depot) fetch(ctx context.Context, w Wanted, limit int64, open opener, progress Progress) (api.ImageContent, error) {
	if err := w.check(); err != nil {
		return api.ImageContent{}, err
	}
	if w.SHA256 == "" {
		return api.ImageContent{}, refuse("an image is fetched only if its SHA-256 is known: give it")
	}
	return d.share(ctx, w, progress, func(ctx context.Context, tell Progress) (api.ImageContent, error) {
		if d.Has(w.ID) {
			return d.arrived(ctx, w)
		}
		return d.resume(ctx, w, limit, open, tell)
	})
}

// arrived tells of content that came earlier. It was checked then, and is not read
// again: this is asked each time that a VM is made from the image.
func (d *Depot) arrived(ctx context.Context, w Wanted) (api.ImageContent, error) {
	f, bytes, err := d.Open(w.ID)
	if err != nil {
		return api.ImageContent{}, err
	}
	defer f.Close()
	virtual, err := Inspect(f, bytes, w.Format)
	if err != nil || w.Bytes > 0 && w.Bytes != bytes {
		return d.Check(ctx, w) // which says what is wrong with it
	}
	return api.ImageContent{Image: w.ID, SHA256: w.SHA256, Bytes: bytes, VirtualBytes: virtual}, nil
}

// resume goes on with what there is, or begins.
func (d *Depot) resume(ctx context.Context, w Wanted, limit int64, open opener, tell Progress) (c api.ImageContent, err error) {
	in, err := d.open(part, w.ID)
	if err != nil {
		return c, err
	}
	in.limit, in.total, in.tell = least(limit, w.Bytes), w.Bytes, tell
	if err = in.recount(ctx); err == nil && in.limit > 0 && in.size > in.limit {
		err = in.empty()
	}
	if err == nil {
		c, err = in.fetch(ctx, w, open)
	}
	switch {
	case err == nil:
		in.file.Close()
	case api.IsKind(err, api.Unavailable):
		in.keep()
	default: // it cannot become better, or takes the room of others
		in.discard()
	}
	return c, err
}

// fetch brings in the rest. If that with what was there makes other content, what
// was there may be to blame (a host that lost power): then all is fetched anew.
func (in *intake) fetch(ctx context.Context, w Wanted, open opener) (api.ImageContent, error) {
	had := in.size
	err := in.rest(ctx, open)
	if err != nil {
		return api.ImageContent{}, err
	}
	c, err := in.finish(ctx, w)
	if had == 0 || !errors.Is(err, errOther) {
		return c, err
	}
	in.d.log.Warn("fetching an image anew: with what was left of an earlier try it has another sum", "image", w.ID, "had", had)
	if err := in.empty(); err != nil {
		return api.ImageContent{}, err
	}
	if err := in.rest(ctx, open); err != nil {
		return api.ImageContent{}, err
	}
	return in.finish(ctx, w)
}

// rest reads to the end, and opens the source again after a cut as long as that helps.
func (in *intake) rest(ctx context.Context, open opener) error {
	for range maxCuts {
		before := in.size
		done, cause, err := in.once(ctx, open)
		switch {
		case err != nil || done:
			return err
		case ctx.Err() != nil:
			return ended(ctx)
		}
		if in.size == before {
			return broken("fetching the image broke off after %s: it goes on from there at the next try: %w", size(in.size), cause)
		}
	}
	return broken("fetching the image broke off %d times, now after %s: it goes on from there at the next try", maxCuts, size(in.size))
}

// once reads from the source until it ends or breaks off; cause is why it broke off.
func (in *intake) once(ctx context.Context, open opener) (done bool, cause, err error) {
	if in.total > 0 && in.size == in.total {
		return true, nil, nil
	}
	s, cause := open(ctx, in.size)
	if cause != nil {
		return false, cause, verdict(cause)
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })() // a read that hangs ends with ctx
	if s.total > 0 {
		in.total = s.total
	}
	if err := in.begin(); err != nil {
		return false, nil, err
	}
	cause, err = in.read(ctx, s)
	if err != nil {
		return false, nil, err
	}
	if cause == nil && in.size < in.total {
		cause = io.ErrUnexpectedEOF
	}
	return cause == nil, cause, verdict(cause)
}

// verdict is what a source's own error says for good; nil if another try may help.
func verdict(cause error) error {
	var e *api.Error
	if errors.As(cause, &e) && e.Kind != api.Unavailable {
		return e
	}
	return nil
}
