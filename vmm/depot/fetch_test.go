package depot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm/vmmtest"
)

// cutting is a source that breaks off after so many bytes each time.
type cutting struct {
	b       []byte
	each    int64
	offsets []int64 // that were asked for
}

var errCut = errors.New("the line was cut")

func (c *cutting) open(_ context.Context, offset int64) (io.ReadCloser, error) {
	c.offsets = append(c.offsets, offset)
	rest := bytes.NewReader(c.b[offset:])
	if rest.Len() <= int(c.each) {
		return io.NopCloser(rest), nil
	}
	return io.NopCloser(io.MultiReader(io.LimitReader(rest, c.each), iotest.ErrReader(errCut))), nil
}

func TestFetch(t *testing.T) {
	b := content(5*piece + 3)
	d, w := newDepot(t), rawOf(b)
	var done, total int64
	got, err := d.FetchFrom(t.Context(), w, from(b), func(n, of int64) { done, total = n, of })
	wantStored(t, d, w, got, err, b)
	if done != w.Bytes || total != w.Bytes {
		t.Errorf("progress ended at %d of %d, want %d", done, total, w.Bytes)
	}
	got, err = d.FetchFrom(t.Context(), w, nil, nil) // it is there: the source is not asked
	wantStored(t, d, w, got, err, b)
	w.SHA256 = ""
	if _, err := d.FetchFrom(t.Context(), w, from(b), nil); !api.IsKind(err, api.Invalid) {
		t.Errorf("without a sum: got %v, want it refused", err)
	}
}

// TestFetchGoesOn is cut off again and again, and asks each time only for the rest.
func TestFetchGoesOn(t *testing.T) {
	b := content(5*piece + 3)
	d, w := newDepot(t), rawOf(b)
	c := &cutting{b: b, each: 2 * piece}
	got, err := d.FetchFrom(t.Context(), w, c.open, nil)
	wantStored(t, d, w, got, err, b)
	want := []int64{0, 2 * piece, 4 * piece}
	if len(c.offsets) != 3 || c.offsets[1] != want[1] || c.offsets[2] != want[2] {
		t.Errorf("asked from %v on, want %v", c.offsets, want)
	}
}

// TestFetchEndsEarly has a source that ends without an error before all is there.
func TestFetchEndsEarly(t *testing.T) {
	b := content(2 * piece)
	d, w := newDepot(t), rawOf(b)
	_, err := d.FetchFrom(t.Context(), w, func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b[offset:max(offset, piece)])), nil
	}, nil)
	wantKind(t, d, w, err, api.Unavailable)
	got, err := d.FetchFrom(t.Context(), w, from(b), nil)
	wantStored(t, d, w, got, err, b)
}

// TestFetchAfterRestart has the source die, and the process after it.
func TestFetchAfterRestart(t *testing.T) {
	b := content(5 * piece)
	d, w := newDepot(t), rawOf(b)
	c := &cutting{b: b, each: 2 * piece}
	_, err := d.FetchFrom(t.Context(), w, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		if offset > 0 {
			return nil, errors.New("the other host is off")
		}
		return c.open(ctx, offset)
	}, nil)
	wantKind(t, d, w, err, api.Unavailable)
	wantFiles(t, d, part.name(w.ID))
	d.Close()
	d = openDepot(t, d.cfg)
	c = &cutting{b: b, each: 1 << 30}
	got, err := d.FetchFrom(t.Context(), w, c.open, nil)
	wantStored(t, d, w, got, err, b)
	if len(c.offsets) != 1 || c.offsets[0] != 2*piece {
		t.Errorf("asked from %v on, want from %d on", c.offsets, 2*piece)
	}
}

// TestFetchLeftOver finds what an earlier try left, and it is not what it should be.
func TestFetchLeftOver(t *testing.T) {
	b := content(5 * piece)
	for name, left := range map[string][]byte{
		"other content": make([]byte, 2*piece),
		"all, spoilt":   append(bytes.Clone(b[:len(b)-1]), 0),
		"too much":      append(bytes.Clone(b), 1, 2, 3),
		"all, well":     b,
		"nothing":       {},
	} {
		t.Run(name, func(t *testing.T) {
			d, w := newDepot(t), rawOf(b)
			write(t, d.path(part, w.ID), left)
			got, err := d.FetchFrom(t.Context(), w, from(b), nil)
			wantStored(t, d, w, got, err, b)
		})
	}
}

func TestFetchOtherContent(t *testing.T) {
	b := content(5 * piece)
	for name, source := range map[string][]byte{
		"spoilt": append(bytes.Clone(b[:len(b)-1]), 0),
		"longer": append(bytes.Clone(b), 0),
	} {
		t.Run(name, func(t *testing.T) {
			d, w := newDepot(t), rawOf(b)
			_, err := d.FetchFrom(t.Context(), w, from(source), nil)
			if !api.IsKind(err, api.Invalid) && !api.IsKind(err, api.TooLarge) {
				t.Errorf("got %v, want it refused", err)
			}
			wantFiles(t, d)
			if name == "spoilt" && !strings.Contains(err.Error(), w.SHA256) {
				t.Errorf("the error does not name the sum: %v", err)
			}
		})
	}
}

// TestFetchVerdict: what the source says for good is not tried again.
func TestFetchVerdict(t *testing.T) {
	b := content(piece)
	d, w := newDepot(t), rawOf(b)
	asked := 0
	_, err := d.FetchFrom(t.Context(), w, func(context.Context, int64) (io.ReadCloser, error) {
		asked++
		return nil, api.Errorf(api.NotFound, "image", "that peer has none")
	}, nil)
	wantKind(t, d, w, err, api.NotFound)
	wantFiles(t, d)
	if asked != 1 {
		t.Errorf("the source was asked %d times, want once", asked)
	}
}

// gate is a source that stands still after its first piece until it is opened or closed.
type gate struct {
	b      []byte
	opened chan struct{} // by the test
	begun  chan struct{} // by the first reader
	asked  atomic.Int32
	closed atomic.Int32
}

func newGate(b []byte) *gate {
	return &gate{b: b, opened: make(chan struct{}), begun: make(chan struct{})}
}

func (g *gate) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if g.asked.Add(1) == 1 {
		close(g.begun)
	}
	r, w := io.Pipe()
	go func() {
		w.Write(g.b[offset:min(offset+100, int64(len(g.b)))])
		select {
		case <-g.opened:
			w.Write(g.b[min(offset+100, int64(len(g.b))):])
			w.Close()
		case <-ctx.Done():
			w.CloseWithError(ctx.Err())
		}
	}()
	return closer{r, &g.closed}, nil
}

type closer struct {
	io.ReadCloser
	n *atomic.Int32
}

func (c closer) Close() error { c.n.Add(1); return c.ReadCloser.Close() }

// riders tells how many wait for an image.
func riders(d *Depot, id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.flights[id]
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.riders)
}

func waitRiders(t *testing.T, d *Depot, id string, want int) {
	t.Helper()
	vmmtest.Eventually(t, func() error {
		if got := riders(d, id); got != want {
			return errors.New("not everybody is on board, or still is")
		}
		return nil
	})
}

// TestFetchShared has ten callers for one image: the source is asked once.
func TestFetchShared(t *testing.T) {
	b := content(5 * piece)
	d, w, g := newDepot(t), rawOf(b), newGate(b)
	var wg sync.WaitGroup
	var told atomic.Int32
	for range 10 {
		wg.Go(func() {
			var last int64
			got, err := d.FetchFrom(t.Context(), w, g.open, func(done, _ int64) { last = done })
			if err != nil || got.SHA256 != w.SHA256 {
				t.Errorf("got %+v, %v", got, err)
			}
			if last == w.Bytes {
				told.Add(1)
			}
		})
	}
	waitRiders(t, d, w.ID, 10)
	other := w
	other.SHA256 = sumOf(nil)
	if _, err := d.FetchFrom(t.Context(), other, g.open, nil); !api.IsKind(err, api.Conflict) {
		t.Errorf("other content for the same image: got %v, want a conflict", err)
	}
	if _, err := receive(t, d, w, b); !api.IsKind(err, api.Conflict) {
		t.Errorf("an upload beside a fetch: got %v, want a conflict", err)
	}
	close(g.opened)
	wg.Wait()
	if n := g.asked.Load(); n != 1 {
		t.Errorf("the source was asked %d times, want once", n)
	}
	if n := told.Load(); n != 10 {
		t.Errorf("%d of 10 were told of the end", n)
	}
	wantFiles(t, d, w.ID)
}

// TestFetchLeaves: the fetch goes on when the first caller leaves, and ends with the last.
func TestFetchLeaves(t *testing.T) {
	b := content(5 * piece)
	d, w, g := newDepot(t), rawOf(b), newGate(b)
	first, leaveFirst := context.WithCancel(t.Context())
	second, leaveSecond := context.WithCancel(t.Context())
	errs := make(chan error)
	call := func(ctx context.Context) {
		_, err := d.FetchFrom(ctx, w, g.open, nil)
		errs <- err
	}
	go call(first)
	<-g.begun
	go call(second)
	waitRiders(t, d, w.ID, 2)
	leaveFirst()
	if err := <-errs; !api.IsKind(err, api.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves: got %v, want its own context's end", err)
	}
	waitRiders(t, d, w.ID, 1)
	leaveSecond()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the last: got %v, want its own context's end", err)
	}
	if riders(d, w.ID) != 0 || g.closed.Load() == 0 {
		t.Error("the fetch goes on with nobody on board")
	}
	wantFiles(t, d, part.name(w.ID))
	close(g.opened)
	got, err := d.FetchFrom(t.Context(), w, g.open, nil) // and goes on where it was
	wantStored(t, d, w, got, err, b)
}

// TestRemoveEnds removes an image while it is fetched.
func TestRemoveEnds(t *testing.T) {
	b := content(5 * piece)
	d, w, g := newDepot(t), rawOf(b), newGate(b)
	errs := make(chan error)
	go func() {
		_, err := d.FetchFrom(t.Context(), w, g.open, nil)
		errs <- err
	}()
	<-g.begun
	if err := d.Remove(t.Context(), w.ID); err != nil {
		t.Errorf("remove: %v", err)
	}
	if err := <-errs; !api.IsKind(err, api.Gone) {
		t.Errorf("the fetch: got %v, want gone", err)
	}
	wantFiles(t, d)
	if _, err := os.Stat(d.path(part, w.ID)); err == nil {
		t.Error("a part is left")
	}
}
