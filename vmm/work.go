package vmm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// recordsWait is how long one write or linearizable read may take: a little more
// than the log itself waits out an election.
const recordsWait = 15 * time.Second

// work takes the steps of one VM in order, up to the first that fails. Steps
// that need proof are taken only if the plan from a linearizable read has them too.
func (l *Loop) work(ctx context.Context, p present, j job) outcome {
	o := outcome{job: j}
	steps, view, err := l.prove(ctx, p, j)
	if err != nil {
		l.log.Debug("no proof of what is wanted: nothing is done", "vm", j.vm, "err", err)
		o.err = unproven(err)
		return o
	}
	if len(steps) < len(j.steps) {
		o.err = api.Errorf(api.Unavailable, "vmm.prove", "the tables of this peer are behind the cluster's")
	}
	for _, s := range steps {
		t := &trail{}
		if err := l.act(ctx, view, s, j, t); err != nil {
			l.log.Warn("step failed", "vm", s.vm, "step", s.do.String(), "epoch", s.epoch, "tries", j.tries+1, "err", err)
			l.confess(ctx, view, s, j, t, err)
			o.err = err
			return o
		}
		o.did = append(o.did, s)
		if s.do != report {
			l.log.Info("step taken", "vm", s.vm, "step", s.do.String(), "epoch", s.epoch, "took", t.total())
		}
	}
	return o
}

// prove gives the steps that may be taken, and the view that they stand on.
func (l *Loop) prove(ctx context.Context, p present, j job) ([]step, Wanted, error) {
	if !slices.ContainsFunc(j.steps, step.needsProof) {
		view, _ := l.records.Wanted()
		return j.steps, view, nil
	}
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	view, err := l.records.Confirmed(ctx)
	if err != nil {
		return nil, nil, err
	}
	proven := planVM(l.me(), view, p, j.vm)
	steps := slices.DeleteFunc(slices.Clone(j.steps), func(s step) bool {
		return s.needsProof() && !slices.Contains(proven, s)
	})
	return steps, view, nil
}

// unproven makes any failure to read linearizably one of the cluster, not of the VM.
func unproven(err error) error {
	return &api.Error{Kind: api.Unavailable, Op: "vmm.prove", Msg: "no linearizable read of what is wanted", Err: err}
}

// act takes one step.
func (l *Loop) act(ctx context.Context, w Wanted, s step, j job, t *trail) error {
	switch s.do {
	case create:
		return l.create(ctx, w, s, t)
	case start:
		if err := t.time("start", func() error { return l.hv.Start(ctx, s.vm) }); err != nil {
			return err
		}
		return l.report(ctx, s, api.VMRunning, "", t)
	case shutdown:
		return t.time("shutdown", func() error { return l.hv.Shutdown(ctx, s.vm) })
	case destroy:
		if err := t.time("destroy", func() error { return l.hv.Destroy(ctx, s.vm) }); err != nil {
			return err
		}
		return l.report(ctx, s, api.VMStopped, "", t)
	case remove:
		return l.remove(ctx, s, t)
	case retire:
		return l.takeDown(ctx, s.vm, t)
	case suspend:
		return t.time("suspend", func() error { return l.hv.Suspend(ctx, s.vm) })
	}
	return l.tell(ctx, s, j, t)
}

// tell takes the steps that only write to the log.
func (l *Loop) tell(ctx context.Context, s step, j job, t *trail) error {
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	switch s.do {
	case begin:
		return t.time("begin", func() error { return l.records.Begin(ctx, s.vm, s.epoch) })
	case gone:
		return l.records.Gone(ctx, s.vm, s.epoch)
	case saw:
		l.log.Error("a domain is on this host that should not be; nobody will touch it: compare with 'virsh dumpxml' and remove the wrong one",
			"vm", s.vm, "epoch", s.epoch)
		return l.records.Saw(ctx, api.Sighting{VM: s.vm, Epoch: s.epoch})
	case unsaw:
		return l.records.Saw(ctx, api.Sighting{VM: s.vm, Epoch: s.epoch, Gone: true})
	case report:
		if s.state == api.VMStopped && j.waited > 0 {
			t.add("shutdown", j.waited)
		}
		return l.report(ctx, s, s.state, s.reason, t)
	}
	panic("vmm: nobody takes step " + s.do.String())
}

// create makes disk and domain and switches it on. If that fails half way, what
// was made is unmade, backwards; if the outcome is unknown nothing is unmade,
// for the guest may be running: the next look tells.
func (l *Loop) create(ctx context.Context, w Wanted, s step, t *trail) error {
	b, err := l.build(w, s)
	if err != nil {
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
		return l.report(ctx, s, api.VMRunning, "", t)
	case unknownOutcome(err):
		return err
	}
	return errors.Join(err, undo.run(ctx))
}

// build is what the domain of a row is made from.
func (l *Loop) build(w Wanted, s step) (Build, error) {
	row, _ := w.Row(s.vm)
	b := Build{
		Mark: Mark{Cluster: l.cfg.Cluster, VM: s.vm, Epoch: s.epoch, Spec: SpecHash(row.Spec)},
		Name: DomainName(row),
		Spec: row.Spec,
	}
	if row.Spec.Image == "" {
		return b, nil
	}
	image, found := w.Image(row.Spec.Image)
	if !found {
		return b, api.Errorf(api.Invalid, "vmm.create", "there is no image %q: make it, then start the VM", row.Spec.Image)
	}
	b.Image = &image
	return b, nil
}

// remove leaves nothing of a VM and says so. Each part of it may have been done before.
func (l *Loop) remove(ctx context.Context, s step, t *trail) error {
	if s.domain {
		if err := l.takeDown(ctx, s.vm, t); err != nil {
			return err
		}
	}
	if err := t.time("clean", func() error { return l.hv.Clean(ctx, s.vm) }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	return l.records.Gone(ctx, s.vm, s.epoch)
}

// takeDown switches a domain off and removes it; its files stay.
func (l *Loop) takeDown(ctx context.Context, vm string, t *trail) error {
	err := t.time("destroy", func() error { return l.hv.Destroy(ctx, vm) })
	if err == nil {
		err = t.time("undefine", func() error { return l.hv.Undefine(ctx, vm) })
	}
	if api.IsKind(err, api.NotFound) {
		return nil
	}
	return err
}

// report writes the state of one VM into the log, with what its operation took.
func (l *Loop) report(ctx context.Context, s step, state api.VMState, reason string, t *trail) error {
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	return l.records.Report(ctx, api.VMReport{VM: s.vm, Epoch: s.epoch, State: state, Reason: reason, Steps: t.steps})
}

// confess reports a step that has failed for good, or so often that somebody
// should know. A VM that cannot be made or started is failed, and rests until
// somebody starts it; any other step is tried on.
func (l *Loop) confess(ctx context.Context, w Wanted, s step, j job, t *trail, err error) {
	row, known := w.Row(s.vm)
	var left *leftBehind
	enough := j.tries+1 == l.cfg.Tries || api.IsKind(err, api.Invalid) || errors.As(err, &left)
	if !known || !enough || s.do == begin || s.do == report || s.do == saw || s.do == unsaw || unknownOutcome(err) {
		return
	}
	state := row.Status.State
	switch {
	case s.do == create || s.do == start:
		state = api.VMFailed
	case state == api.VMDeleting:
		state = api.VMRunning // what is left of it; the row goes on to say deleting
	}
	if err := l.report(ctx, s, state, reason(s, err), t); err != nil {
		l.log.Warn("failure not reported", "vm", s.vm, "err", err)
	}
}

// reason is an error as a row shows it: one line of bounded, valid text.
func reason(s step, err error) string {
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\n", "; "), "?")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	return fmt.Sprintf("%s: %s", s.do, text)
}

// unknownOutcome tells whether what was asked may have happened all the same.
func unknownOutcome(err error) bool {
	return api.IsKind(err, api.Unavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// trail is how long the parts of a job took.
type trail struct{ steps []api.OpStep }

func (t *trail) time(name string, f func() error) error {
	began := time.Now()
	err := f()
	t.add(name, time.Since(began))
	return err
}

func (t *trail) add(name string, took time.Duration) {
	t.steps = append(t.steps, api.OpStep{Name: name, TookMs: took.Milliseconds()})
}

func (t *trail) total() time.Duration {
	var ms int64
	for _, s := range t.steps {
		ms += s.TookMs
	}
	return time.Duration(ms) * time.Millisecond
}

// undoList unmakes what was made, the last first.
type undoList []undo

type undo struct {
	what string
	f    func(context.Context) error
}

// undoWait is how long unmaking may take in all, also when the host is shutting down.
const undoWait = 30 * time.Second

func (u *undoList) add(what string, f func(context.Context) error) { *u = append(*u, undo{what, f}) }

// leftBehind names what could not be unmade; a person has to do it.
type leftBehind struct{ errs []error }

func (l *leftBehind) Error() string   { return "left behind: " + errors.Join(l.errs...).Error() }
func (l *leftBehind) Unwrap() []error { return l.errs }

// run unmakes everything it can.
func (u undoList) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWait)
	defer cancel()
	var errs []error
	for _, one := range slices.Backward(u) {
		if err := one.f(ctx); err != nil && !api.IsKind(err, api.NotFound) {
			errs = append(errs, fmt.Errorf("%s: %w", one.what, err))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &leftBehind{errs}
}
