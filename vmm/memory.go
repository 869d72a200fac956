package vmm

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// memory is what the loop remembers from one look to the next. None of it is
// needed to be right after a restart, only to be calm.
type memory struct {
	cfg   Config
	busy  *places           // VMs that somebody works on
	work  int               // workers that are out
	asked map[string]asked  // guests that were asked to shut down
	anew  map[string]string // the operation, of those whose restart has come to the start
	falls map[string]fall   // VMs that went off by themselves and are started again
	said  map[string]said   // the last report of each VM
	waits map[string]wait   // VMs whose last step failed
	blind bool              // the last look saw nothing: the hypervisor did not answer
}

// asked is when a guest was asked to shut down, and how long it has for that.
type asked struct {
	at       time.Time
	patience time.Duration
	moot     bool // it was wanted on again since: if it is to be off once more, it is asked anew
}

type said struct {
	report  step
	version uint64 // of the row that it was said of
	at      time.Time
}

// wait is how long a VM is left alone after a failure. A change of its row ends
// it, other than by the report of the failure, and a new operation makes the count begin
// again.
type wait struct {
	tries     int
	failures  int // tries of which it is known that they failed
	until     time.Time
	version   uint64
	told      bool // and the next one, which the report of the failure made
	operation string
}

// rests tells whether a VM is left alone while its row has that version.
func (w wait) rests(version uint64, now time.Time) bool {
	return now.Before(w.until) && (version == w.version || w.told && version == w.version+1)
}

// job is what a worker is given.
type job struct {
	vm       string
	steps    []step
	row      api.VM        // as it was when the job was given
	seen     present       // what the steps were planned from
	tries    int           // before this one, none of which came to an end
	failures int           // those of which it is known that they failed
	waited   time.Duration // since the guest was asked to shut down; 0 when it was not
}

// outcome is what a worker brings back.
type outcome struct {
	job
	did    []step
	failed step  // the step after those, if one was tried
	err    error // of it; nil when all were taken
	told   bool  // the VM's row says so
}

func newMemory(cfg Config, busy *places) *memory {
	return &memory{
		cfg:   cfg,
		busy:  busy,
		asked: map[string]asked{},
		anew:  map[string]string{},
		falls: map[string]fall{},
		said:  map[string]said{},
		waits: map[string]wait{},
	}
}

// look puts together what plan needs, and forgets what no longer matters.
func (m *memory) look(w Wanted, l Listing, now time.Time) present {
	p := present{
		domains:   map[string][]Domain{},
		strangers: l.StrangerMarks,
		asked:     map[string]bool{},
		waiting:   map[string]bool{},
		overdue:   map[string]bool{},
		anew:      map[string]bool{},
		again:     map[string]comeback{},
	}
	for _, d := range l.Domains {
		p.domains[d.Mark.VM] = append(p.domains[d.Mark.VM], d)
	}
	m.forget(w, p, now)
	for id, a := range m.asked {
		p.asked[id] = true
		p.waiting[id] = !a.moot
		p.overdue[id] = !a.moot && now.Sub(a.at) >= a.patience
	}
	for id := range m.anew {
		p.anew[id] = true
	}
	for row := range w.Mine() {
		if a, ok := m.restart(w, p, row, now); ok {
			p.again[row.ID] = a
		}
	}
	return p
}

// forget drops what no longer matters. That a guest was asked to stop matters
// for a while after it is wanted again: it may still do as it was asked.
func (m *memory) forget(w Wanted, p present, now time.Time) {
	for id, a := range m.asked {
		row, known := w.Row(id)
		if st := row.Status; st.StopSeconds > 0 {
			a.patience = time.Duration(st.StopSeconds) * time.Second
		} else {
			a.patience = m.cfg.StopAfter
		}
		off := wantOf(row) == api.WantStopped || row.Status.Restarting
		a.moot = a.moot || !off
		m.asked[id] = a
		own, _ := p.of(id)
		done := wantOf(row) == api.WantStopped && row.Status.State == api.VMStopped && own != nil && own.Power == Off
		if !known || done || !off && now.Sub(a.at) >= a.patience {
			delete(m.asked, id)
		}
	}
	maps.DeleteFunc(m.anew, func(id, operation string) bool {
		row, _ := w.Row(id)
		return !row.Status.Restarting || row.Status.Operation != operation
	})
	nowhere := func(id string) bool {
		_, known := w.Row(id)
		return !known && len(p.domains[id]) == 0 && !m.busy.has(id)
	}
	maps.DeleteFunc(m.falls, func(id string, _ fall) bool { return nowhere(id) })
	maps.DeleteFunc(m.said, func(id string, _ said) bool { return nowhere(id) })
	maps.DeleteFunc(m.waits, func(id string, _ wait) bool { return nowhere(id) })
}

// free tells whether another worker may go out. Those that only wait for an image to
// be fetched keep nobody else waiting.
func (m *memory) free(fetching int) bool { return m.work-fetching < m.cfg.Workers }

// full tells whether nobody more may go out who might wait for an image.
func (m *memory) full() bool { return m.work >= mostFetching(m.cfg) }

// take makes a job of the steps of one VM unless it is worked on already, waits
// after a failure, or has nothing new to say.
func (m *memory) take(row api.VM, steps []step, now time.Time) (job, bool) {
	id := steps[0].vm
	w := m.waits[id]
	if w.operation != row.Status.Operation {
		w = wait{}
	}
	steps = slices.DeleteFunc(steps, func(s step) bool { return m.repeats(s, row.Version, now) })
	if w.rests(row.Version, now) || len(steps) == 0 || !m.busy.take(id) {
		return job{}, false
	}
	m.work++
	j := job{vm: id, steps: steps, row: row, tries: w.tries, failures: w.failures}
	if a, ok := m.asked[id]; ok && !a.moot {
		j.waited = now.Sub(a.at)
	}
	return j, true
}

// repeats tells whether a report says of a row what was just said of it: the
// tables of this peer may lag behind what it has written.
func (m *memory) repeats(s step, version uint64, now time.Time) bool {
	last, ok := m.said[s.vm]
	return s.do == report && ok && last.report == s && last.version == version && now.Sub(last.at) < m.cfg.LookEvery
}

// mostFetching is how many workers wait for images at most.
func mostFetching(cfg Config) int { return 8 * cfg.Workers }

// mostWorkers is how many workers are out at most, fetching or not.
func mostWorkers(cfg Config) int { return mostFetching(cfg) + cfg.Workers }

// learn takes in what a worker brings back. A start that failed may have
// switched the domain on all the same; it was off before.
func (m *memory) learn(o outcome, now time.Time) {
	m.busy.give(o.vm)
	m.work--
	if o.failed.do == start && o.failed.restarted {
		m.anew[o.vm] = o.row.Status.Operation
	}
	for _, s := range o.did {
		switch s.do {
		case shutdown:
			m.asked[s.vm] = asked{at: now, patience: m.cfg.StopAfter}
		case start, create:
			m.started(s, o.row, now)
		case destroy:
			delete(m.asked, s.vm)
		}
		if r, ok := s.reports(); ok {
			m.said[s.vm] = said{r, o.row.Version, now}
		}
	}
	if o.err == nil {
		delete(m.waits, o.vm)
		return
	}
	w := wait{tries: o.tries + 1, failures: o.failures, until: now.Add(backoff(o.tries, o.err)), version: o.row.Version, told: o.told, operation: o.row.Status.Operation}
	var waits *awaited
	if !errors.As(o.err, &waits) && !unknownOutcome(o.err) {
		w.failures++
	}
	m.waits[o.vm] = w
}

// backoff is 1 s, doubled with each failure up to 1 min. Where nobody answered
// it ends at 8 s: the VM is not to blame, and waits only for that to pass.
func backoff(tries int, err error) time.Duration {
	ceiling := time.Minute
	if api.IsKind(err, api.Unavailable) {
		ceiling = 8 * time.Second
	}
	return min(time.Second<<min(tries, 6), ceiling)
}

// blindLook is how soon the loop looks again after it saw nothing.
const blindLook = 2 * time.Second

// untilDue is how long nothing needs a look unless something happens.
func (m *memory) untilDue(now time.Time) time.Duration {
	due := now.Add(m.cfg.LookEvery)
	if m.blind {
		due = now.Add(min(m.cfg.LookEvery, blindLook))
	}
	for _, w := range m.waits {
		if w.until.After(now) && w.until.Before(due) {
			due = w.until
		}
	}
	for _, a := range m.asked {
		if end := a.at.Add(a.patience); end.After(now) && end.Before(due) {
			due = end
		}
	}
	for _, f := range m.falls {
		if f.up.IsZero() && f.until.After(now) && f.until.Before(due) {
			due = f.until
		}
	}
	return due.Sub(now)
}
