package vmm

import (
	"cmp"
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
	j.seen = p
	for _, s := range steps {
		t := &trail{operation: j.knows(view, s)}
		if err := l.act(ctx, view, s, j, t); err != nil {
			l.log.Warn("step failed", "vm", s.vm, "step", s.do.String(), "epoch", s.epoch, "tries", j.tries+1, "err", err)
			o.failed, o.err, o.told = s, err, l.confess(ctx, view, s, j, t, err)
			return o
		}
		o.did = append(o.did, s)
		if s.do != report {
			l.log.Info("step taken", "vm", s.vm, "step", s.do.String(), "epoch", s.epoch, "took", t.total())
		}
	}
	return o
}

// knows is the newest operation that a step was planned in the knowledge of. What
// is reported without proof was planned from the row that the job began with: of
// an operation that was asked for since, it says nothing.
func (j job) knows(proven Wanted, s step) string {
	if s.needsProof() {
		if row, known := proven.Row(j.vm); known {
			return row.Status.Operation
		}
	}
	return j.row.Status.Operation
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
		return l.create(ctx, w, s, j, t)
	case start:
		return l.start(ctx, w, s, j, t)
	case shutdown:
		return t.time("shutdown", func() error { return l.hv.Shutdown(ctx, s.vm) })
	case destroy, pause, resume:
		return l.switched(ctx, s, t)
	case remove:
		return l.remove(ctx, w, s, t)
	case retire:
		return l.takeDown(ctx, s.vm, t)
	case suspend:
		return t.time("suspend", func() error { return l.hv.Suspend(ctx, s.vm) })
	case reshape, hotplug:
		return l.shape(ctx, w, s, j, t)
	case adopt:
		return l.adopt(ctx, w, s)
	case keep, revert, forget, refuse:
		return l.workOnSnapshot(ctx, w, s)
	}
	return l.tell(ctx, s, j, t)
}

// switched takes the steps that are one word to the hypervisor and one report.
func (l *Loop) switched(ctx context.Context, s step, t *trail) error {
	do := map[action]func(context.Context, string) error{destroy: l.hv.Destroy, pause: l.hv.Suspend, resume: l.hv.Resume}[s.do]
	if err := t.time(s.do.String(), func() error { return do(ctx, s.vm) }); err != nil {
		return err
	}
	if said, ok := s.reports(); ok {
		return l.report(ctx, said, t)
	}
	return nil
}

// start switches a domain on. The seed of one that should have one is made again
// if somebody has removed it: the domain names it and would not start.
func (l *Loop) start(ctx context.Context, w Wanted, s step, j job, t *trail) error {
	if s.restarted && j.waited > 0 {
		t.add("shutdown", j.waited)
	}
	row, _ := w.Row(s.vm)
	if err := l.seedAgain(ctx, w, row, t); err != nil {
		return err
	}
	if err := t.time("start", func() error { return l.hv.Start(ctx, s.vm) }); err != nil {
		return err
	}
	return l.reportFor(ctx, s, t)
}

// shape gives a domain the shape that its row asks for.
func (l *Loop) shape(ctx context.Context, w Wanted, s step, j job, t *trail) error {
	b, _, err := l.prepare(ctx, w, s, j, &trail{})
	if err != nil {
		return err
	}
	change := l.hv.Reshape
	if s.do == hotplug {
		// A new name, if it waits too, comes with the next start alone.
		change, b.Name = l.hv.Hotplug, s.name
		b.Mark.Spec = Shape(b)
	}
	if err := t.time(s.do.String(), func() error { return change(ctx, b) }); err != nil || s.state == "" {
		return err
	}
	return l.reportFor(ctx, s, t)
}

// adopt makes a domain ours that the log has made ours. The guest does not notice.
func (l *Loop) adopt(ctx context.Context, w Wanted, s step) error {
	row, _ := w.Row(s.vm)
	// What an adopted domain is made from is not known: the mark says what its row
	// asks for now, so that a change of the row is seen.
	b, err := l.me().build(w, row)
	if err != nil {
		l.log.Warn("what an adopted domain should be made from is not known", "vm", s.vm, "err", err)
	}
	return l.hv.Adopt(ctx, s.vm, b.Mark, b.Record)
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
		return l.report(ctx, s, t)
	}
	panic("vmm: nobody takes step " + s.do.String())
}

// remove leaves nothing of a VM and says so. Each part of it may have been done
// before. Disks of an adopted one that are not in our folder are not ours to remove.
func (l *Loop) remove(ctx context.Context, w Wanted, s step, t *trail) error {
	if row, _ := w.Row(s.vm); slices.Contains(row.Status.Flags, diskElsewhere) {
		l.log.Info("the disks of an adopted VM that are not in orchd's folder stay", "vm", s.vm, "name", row.Name)
	}
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

// report writes the state that a step of kind report tells into the log, with what
// the operation took.
func (l *Loop) report(ctx context.Context, s step, t *trail) error {
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	return l.records.Report(ctx, api.VMReport{VM: s.vm, Epoch: s.epoch, State: s.state, Reason: s.reason, Steps: t.steps,
		Restarted: s.restarted, Failed: s.failed, Operation: t.operation})
}

// reportFor writes the report that another step ends with.
func (l *Loop) reportFor(ctx context.Context, s step, t *trail) error {
	said, _ := s.reports()
	return l.report(ctx, said, t)
}

// confess reports a step that has failed for good, or so often that somebody
// should know. A VM that cannot be made or started is failed, and rests until
// somebody starts it; a shape that a domain cannot be given ends the operation
// that asked for it; any other step is tried on. It tells whether it reported what will
// be tried again.
func (l *Loop) confess(ctx context.Context, w Wanted, s step, j job, t *trail, err error) (told bool) {
	row, known := w.Row(s.vm)
	said := step{do: report, vm: s.vm, epoch: s.epoch, state: row.Status.State, reason: reason(s, err)}
	var left *leftBehind
	var waits *awaited
	forGood := api.IsKind(err, api.Invalid) || errors.As(err, &left) || s.do == hotplug && api.IsKind(err, api.Conflict)
	switch {
	case !known || !s.confessed() || row.Status.OwnerID != l.cfg.Peer || row.Status.Epoch != s.epoch: // not ours to tell
		return false
	case errors.As(err, &waits):
		said.state, said.reason = cmp.Or(s.state, api.VMCreating), waits.Error()
		if row.Status.State == said.state && row.Status.Reason == said.reason {
			return false
		}
		t = &trail{operation: t.operation} // it is not over
	case unknownOutcome(err) || !forGood && j.failures+1 < l.cfg.Tries:
		return false
	case s.state != "": // reshape and hotplug for an operation
		said.state, said.failed = s.state, true
	case s.do == create || s.do == start || s.do == reshape:
		said.state = api.VMFailed
	case row.Status.State == api.VMDeleting:
		said.state = api.VMRunning // what is left of it; the row goes on to say deleting
	}
	if said.state != api.VMFailed && !said.failed && j.failures >= l.cfg.Tries && row.Status.Reason == said.reason {
		return false // the row says so since an earlier try
	}
	if err := l.report(ctx, said, t); err != nil {
		l.log.Warn("failure not reported", "vm", s.vm, "err", err)
		return false
	}
	return !forGood
}

// confessed tells whether a failure of the step is told in the VM's row. What only
// writes to the log is tried on, and of a snapshot its own row tells.
func (s step) confessed() bool {
	switch s.do {
	case begin, report, saw, unsaw, keep, revert, forget, refuse:
		return false
	}
	return true
}

// reason is an error as a row shows it: one line of bounded, valid text.
func reason(s step, err error) string {
	return fmt.Sprintf("%s: %s", s.do, bounded(err.Error()))
}

func bounded(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\n", "; "), "?")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	return text
}

// unknownOutcome tells whether what was asked may have happened all the same.
func unknownOutcome(err error) bool {
	return api.IsKind(err, api.Unavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// trail is how long the parts of a job took.
type trail struct {
	steps     []api.OpStep
	operation string // newest operation on the VM that the job knew of
}

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
