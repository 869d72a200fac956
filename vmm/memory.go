package vmm

import (
	"maps"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// memory is what the loop remembers from one look to the next. None of it is
// needed to be right after a restart, only to be calm.
type memory struct {
	cfg   Config
	busy  map[string]bool      // VMs that a worker has
	asked map[string]time.Time // when a guest was asked to shut down
	said  map[string]said      // the last report of each VM
	waits map[string]wait      // VMs whose last step failed
	blind bool                 // the last look saw nothing: the hypervisor did not answer
}

type said struct {
	report  step
	version uint64 // of the row that it was said of
	at      time.Time
}

// wait is how long a VM is left alone after a failure. A change of its row ends
// it, and a new operation makes the count begin again.
type wait struct {
	tries     int
	until     time.Time
	version   uint64
	operation string
}

// job is what a worker is given.
type job struct {
	vm     string
	steps  []step
	row    api.VM        // as it was when the job was given
	tries  int           // failures before this one
	waited time.Duration // since the guest was asked to shut down; 0 when it was not
}

// outcome is what a worker brings back.
type outcome struct {
	job
	did []step
	err error // of the step after those; nil when all were taken
}

func newMemory(cfg Config) *memory {
	return &memory{
		cfg:   cfg,
		busy:  map[string]bool{},
		asked: map[string]time.Time{},
		said:  map[string]said{},
		waits: map[string]wait{},
	}
}

// look puts together what plan needs, and forgets what no longer matters.
func (m *memory) look(w Wanted, domains []Domain, now time.Time) present {
	p := present{
		domains: map[string][]Domain{},
		asked:   map[string]bool{},
		overdue: map[string]bool{},
	}
	for _, d := range domains {
		p.domains[d.Mark.VM] = append(p.domains[d.Mark.VM], d)
	}
	m.forget(w, p, now)
	for id, at := range m.asked {
		p.asked[id] = true
		p.overdue[id] = now.Sub(at) >= m.cfg.StopAfter
	}
	return p
}

// forget drops what no longer matters. That a guest was asked to stop matters
// for a while after it is wanted again: it may still do as it was asked.
func (m *memory) forget(w Wanted, p present, now time.Time) {
	maps.DeleteFunc(m.asked, func(id string, at time.Time) bool {
		row, known := w.Row(id)
		return !known || row.Status.Desired != api.WantStopped && now.Sub(at) >= m.cfg.StopAfter
	})
	nowhere := func(id string) bool {
		_, known := w.Row(id)
		return !known && len(p.domains[id]) == 0 && !m.busy[id]
	}
	maps.DeleteFunc(m.said, func(id string, _ said) bool { return nowhere(id) })
	maps.DeleteFunc(m.waits, func(id string, _ wait) bool { return nowhere(id) })
}

// take makes a job of the steps of one VM unless it is worked on already, waits
// after a failure, has nothing new to say, or no worker is free.
func (m *memory) take(row api.VM, steps []step, now time.Time) (job, bool) {
	id := steps[0].vm
	w := m.waits[id]
	if w.operation != row.Status.Operation {
		w = wait{}
	}
	rests := now.Before(w.until) && w.version == row.Version
	steps = slices.DeleteFunc(steps, func(s step) bool { return m.repeats(s, row.Version, now) })
	if m.busy[id] || rests || len(steps) == 0 || len(m.busy) >= m.cfg.Workers {
		return job{}, false
	}
	m.busy[id] = true
	j := job{vm: id, steps: steps, row: row, tries: w.tries}
	if at, ok := m.asked[id]; ok {
		j.waited = now.Sub(at)
	}
	return j, true
}

// repeats tells whether a report says of a row what was just said of it: the
// tables of this peer may lag behind what it has written.
func (m *memory) repeats(s step, version uint64, now time.Time) bool {
	last, ok := m.said[s.vm]
	return s.do == report && ok && last.report == s && last.version == version && now.Sub(last.at) < m.cfg.LookEvery
}

// learn takes in what a worker brings back.
func (m *memory) learn(o outcome, now time.Time) {
	delete(m.busy, o.vm)
	for _, s := range o.did {
		switch s.do {
		case shutdown:
			m.asked[s.vm] = now
		case start, create, destroy:
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
	m.waits[o.vm] = wait{o.tries + 1, now.Add(backoff(o.tries, o.err)), o.row.Version, o.row.Status.Operation}
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
	for _, at := range m.asked {
		if end := at.Add(m.cfg.StopAfter); end.After(now) && end.Before(due) {
			due = end
		}
	}
	return due.Sub(now)
}
