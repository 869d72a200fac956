package depot

import (
	"context"
	"errors"
	"sync"

	"github.com/orchd/orchd/api"
)

// flight is something that is being done with one image; there is only one at a
// time. Some are shared: everybody who asks for the same rides along, and it ends
// early when the last rider has left.
type flight struct {
	want   Wanted // shared only
	shared bool
	cancel context.CancelCauseFunc
	done   chan struct{} // closed at the end; then content and err are set

	content api.ImageContent
	err     error

	mu     sync.Mutex // held while riders are told, so that none is told after it left
	riders map[*rider]struct{}
	ending bool // nobody is on board any more
}

type rider struct{ progress Progress }

var (
	errRemoved = errors.New("the image was removed")
	errLeft    = errors.New("nobody waits for it any more")
)

// alone begins something that nobody else can share; the end of the context that
// it gives is to end it.
func (d *Depot) alone(ctx context.Context, id string) (context.Context, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flights[id] != nil {
		return nil, nil, api.Errorf(api.Conflict, "image", "the content of image %s is being brought in already: wait for it", id)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	f := &flight{cancel: cancel, done: make(chan struct{})}
	d.flights[id] = f
	return ctx, func() { d.land(id, f) }, nil
}

// land ends a flight.
func (d *Depot) land(id string, f *flight) {
	d.mu.Lock()
	delete(d.flights, id)
	d.mu.Unlock()
	f.cancel(nil)
	close(f.done)
}

// interrupt ends what is being done with an image and lets nothing else begin until release.
func (d *Depot) interrupt(ctx context.Context, id string) (release func(), err error) {
	for {
		if _, release, err = d.alone(ctx, id); err == nil {
			return release, nil
		}
		d.mu.Lock()
		f := d.flights[id]
		d.mu.Unlock()
		if f == nil {
			continue
		}
		f.cancel(errRemoved)
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// wait waits for the end of f, or of ctx.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return broken("waiting for an image that is being brought in: %w", context.Cause(ctx))
	}
}

// share runs work, or rides along if that very work is being done already.
func (d *Depot) share(ctx context.Context, w Wanted, progress Progress,
	work func(context.Context, Progress) (api.ImageContent, error)) (api.ImageContent, error) {
	r := &rider{progress}
	f, err := d.board(ctx, w, r, work)
	if err != nil {
		return api.ImageContent{}, err
	}
	if err := f.wait(ctx); err != nil {
		f.leave(r)
		return api.ImageContent{}, err
	}
	f.leave(r)
	return f.content, f.err
}

// board finds the flight that does this work, or starts it. One that is ending is waited for.
func (d *Depot) board(ctx context.Context, w Wanted, r *rider,
	work func(context.Context, Progress) (api.ImageContent, error)) (*flight, error) {
	for {
		f, joined, err := d.join(ctx, w, r, work)
		if err != nil || joined {
			return f, err
		}
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
	}
}

func (d *Depot) join(ctx context.Context, w Wanted, r *rider,
	work func(context.Context, Progress) (api.ImageContent, error)) (f *flight, joined bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f = d.flights[w.ID]
	if f == nil {
		return d.start(ctx, w, r, work), true, nil
	}
	if !f.shared || f.want != w {
		return nil, false, api.Errorf(api.Conflict, "image", "other content of image %s is being brought in already: wait for it", w.ID)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending {
		return f, false, nil
	}
	f.riders[r] = struct{}{}
	return f, true, nil
}

// start begins a shared flight. It does not end with the first rider's context, but with the last one's.
func (d *Depot) start(ctx context.Context, w Wanted, r *rider,
	work func(context.Context, Progress) (api.ImageContent, error)) *flight {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	f := &flight{want: w, shared: true, cancel: cancel, done: make(chan struct{}), riders: map[*rider]struct{}{r: {}}}
	d.flights[w.ID] = f
	go func() {
		defer d.land(w.ID, f)
		f.content, f.err = work(ctx, f.tell)
	}()
	return f
}

// tell passes progress on to everybody on board.
func (f *flight) tell(done, total int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.riders {
		if r.progress != nil {
			r.progress(done, total)
		}
	}
}

// leave takes a rider off; the last one ends the flight and sees it land.
func (f *flight) leave(r *rider) {
	f.mu.Lock()
	delete(f.riders, r)
	last := len(f.riders) == 0
	f.ending = f.ending || last
	f.mu.Unlock()
	if last {
		f.cancel(errLeft)
		<-f.done
	}
}
