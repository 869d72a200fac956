package vmm

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
)

// create makes disk and domain and switches it on. If that fails half way, what
// was made is unmade, backwards; if the outcome is unknown nothing is unmade,
// for the guest may be running: the next look tells. The seed stays, as the
// console's log does: it is the VM's and not this attempt's.
func (l *Loop) create(ctx context.Context, w Wanted, s step, j job, t *trail) error {
	b, w, err := l.prepare(ctx, w, s, j, t)
	if err != nil {
		return err
	}
	row, _ := w.Row(s.vm)
	if err := l.seed(ctx, w, row, t); err != nil {
		return err
	}
	var undo undoList
	err = t.time("disk", func() error {
		made, err := l.hv.MakeDisk(ctx, b)
		if made {
			undo.add("disk "+DiskName(b.Mark), func(ctx context.Context) error { return l.hv.DropDisk(ctx, b) })
		}
		return err
	})
	if err == nil {
		err = t.time("define", func() error { return l.hv.Define(ctx, b) })
	}
	if err == nil {
		undo.add("domain "+b.Name, func(ctx context.Context) error { return l.hv.Undefine(ctx, s.vm) })
		err = t.time("start", func() error { return l.hv.Start(ctx, s.vm) })
	}
	switch {
	case err == nil:
		return l.reportFor(ctx, s, t)
	case unknownOutcome(err):
		return err
	}
	return errors.Join(err, undo.run(ctx))
}

// prepare is what a row's domain is made from, with its image on this host, and the view
// that this stands on.
func (l *Loop) prepare(ctx context.Context, w Wanted, s step, j job, t *trail) (Build, Wanted, error) {
	row, _ := w.Row(s.vm)
	b, err := l.me().build(w, row)
	if err != nil || b.Image == nil || !b.Image.Kept() {
		return b, w, err
	}
	if l.cfg.Images == nil {
		return b, w, api.Errorf(api.Invalid, "vmm.image", "this host keeps no images, and %q is one that is kept", b.Image.Name)
	}
	began := time.Now()
	err = t.time("image", func() (err error) {
		b.Image.Path, err = l.ensure(ctx, s, *b.Image)
		return err
	})
	if err != nil || time.Since(began) < proofLife {
		return b, w, err
	}
	if w, err = l.proveAgain(ctx, s, j); err != nil {
		return b, w, err
	}
	path := b.Image.Path
	row, _ = w.Row(s.vm)
	if b, err = l.me().build(w, row); err == nil && b.Image != nil {
		b.Image.Path = path
	}
	return b, w, err
}

// proofLife is how old the proof of a step may be when it is taken. To fetch an image may
// take hours, in which this host may lose the cluster, and the cluster its wish.
const proofLife = 2 * time.Second

// proveAgain is the view of a new proof of a step; an error when it is not to be taken any more.
func (l *Loop) proveAgain(ctx context.Context, s step, j job) (Wanted, error) {
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	view, err := l.records.Confirmed(ctx)
	if err != nil {
		return nil, unproven(err)
	}
	if !slices.Contains(planVM(l.me(), view, j.seen, s.vm), s) {
		return nil, api.Errorf(api.Unavailable, "vmm.prove", "what is wanted has changed while the image was fetched")
	}
	return view, nil
}

// ensure brings an image onto this host. It may take long: it keeps no other VM
// waiting, and ends when the VM is no longer wanted.
func (l *Loop) ensure(ctx context.Context, s step, image api.Image) (path string, err error) {
	l.fetching.Add(1)
	defer l.fetching.Add(-1)
	l.poke() // there is a worker more for others
	err = l.whileOurs(ctx, s, func(ctx context.Context) error {
		path, err = l.cfg.Images.Ensure(ctx, image, l.progress(ctx, s))
		if err != nil && ctx.Err() == nil && api.IsKind(err, api.Unavailable) {
			return &awaited{"image " + image.Name, err}
		}
		return err
	})
	return path, err
}

// whileOurs runs f, whose context ends when the VM is not ours any more, or is not
// to be in the state that s leads to.
func (l *Loop) whileOurs(ctx context.Context, s step, f func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer stop()
		l.whileWanted(ctx, s)
	})
	defer watching.Wait()
	defer stop()
	return f(ctx)
}

// whileWanted returns when a VM is no longer ours at this epoch, or is to be off or gone.
func (l *Loop) whileWanted(ctx context.Context, s step) {
	for {
		w, changed := l.records.Wanted()
		row, known := w.Row(s.vm)
		want := wantOf(row)
		unwanted := want == api.WantDeleted || want == api.WantStopped && s.state == ""
		if !known || unwanted || row.Status.OwnerID != l.cfg.Peer || row.Status.Epoch != s.epoch {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// progressEvery is how often it is told how far an image is.
const progressEvery = 2 * time.Second

func (l *Loop) progress(ctx context.Context, s step) func(done, total int64) {
	var last time.Time
	return func(done, total int64) {
		now := time.Now()
		if !last.IsZero() && now.Sub(last) < progressEvery {
			return
		}
		last = now
		ctx, cancel := context.WithTimeout(ctx, recordsWait)
		defer cancel()
		if err := l.records.Progress(ctx, api.VMProgress{VM: s.vm, Epoch: s.epoch, Step: "image", Done: done, Total: total}); err != nil {
			l.log.Debug("progress not told", "vm", s.vm, "err", err)
		}
	}
}

// seed stores what cloud-init reads, if the VM has a seed.
func (l *Loop) seed(ctx context.Context, w Wanted, row api.VM, t *trail) error {
	if l.cfg.Seeds == nil || !l.cfg.Seeds.Seeded(row) {
		return nil
	}
	n, _ := w.Network(row.Spec.Network)
	return t.time("seed", func() error {
		iso, ok, err := l.cfg.Seeds.Seed(ctx, row, n)
		switch {
		case err != nil && ctx.Err() == nil && api.IsKind(err, api.Unavailable):
			return &awaited{"its seed", err}
		case err != nil:
			return err
		case !ok:
			return api.Errorf(api.Internal, "vmm.seed", "a VM that has a seed was given none")
		}
		return l.hv.PutSeed(ctx, row.ID, iso)
	})
}

// seedAgain makes a seed that is missing on this host. Where the folder cannot be
// looked at, the start itself tells what is missing.
func (l *Loop) seedAgain(ctx context.Context, w Wanted, row api.VM, t *trail) error {
	if l.cfg.Seeds == nil || !l.cfg.Seeds.Seeded(row) {
		return nil
	}
	files, err := l.hv.DiskFiles(ctx)
	if err != nil || slices.Contains(files, SeedName(row.ID)) {
		return nil
	}
	return l.seed(ctx, w, row, t)
}

// awaited is what a VM waits for, which will come without anybody touching the VM.
type awaited struct {
	what string
	err  error
}

func (a *awaited) Error() string { return bounded("waits for " + a.what + ": " + a.err.Error()) }
func (a *awaited) Unwrap() error { return a.err }
