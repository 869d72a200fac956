package run

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/host"
	"github.com/orchd/orchd/sysvc/state"
	"github.com/orchd/orchd/sysvc/trigger"
	"github.com/orchd/orchd/sysvc/worker"
)

// spell is what a scope knows of one of its spells.
type spell struct {
	api.Spell           // as it was last seen; its clock is the one in force
	disarmed  string    // why it does not run
	marked    int64     // newest tick that is over: marked, or missed
	free      time.Time // since when nothing of it runs
	waiting   []waiting // firings that are not marked, oldest first
	runs      map[int64]*run
	newest    int64    // number of the newest run that was begun here
	doubt     bool     // a mark of it may have been made, or not
	notes     []string // for the log of its next run
	events    *follower
	at        time.Time // when its clock is to be looked at
	place     int       // in the scope's agenda; -1: not there
}

// waiting is a firing that is to be marked.
type waiting struct {
	firing api.Firing
	skip   bool    // mark it, run nothing
	note   string  // for the log of the spell, once it is marked
	asking *asking // who waits for it
	done   func()  // it waits no more; nil: nobody has to know
}

func (w waiting) over() {
	if w.done != nil {
		w.done()
	}
}

// asking is somebody who wants a spell run now.
type asking struct {
	spell  string
	answer chan error // takes one
	gone   atomic.Bool
}

// run is a run that is marked and in this peer's hands.
type run struct {
	api.SpellRun
	spell api.Spell
	lines host.Lines
	notes []string
	ctx   context.Context
	stop  context.CancelFunc
	end   *api.RunEnd // how it ended; nil: it has not
}

// finished is a run that has ended, or was not begun and has no end.
type finished struct {
	run *run
	end *api.RunEnd
}

// inForce is a spell with the clock as it really began.
func inForce(v state.View, s api.Spell) (api.Spell, api.SpellStatus) {
	status := v.SpellStatus(s.ID)
	if status.Start != 0 && !s.Trigger.Clock.IsOff() {
		s.Trigger.Clock.StartSec = status.Start
	}
	return s, status
}

// maxSide is how many runs of a spell go on side by side where they may; the log
// grants no more.
const maxSide = 16

// turns is how many runs of the spell may begin.
func (s *spell) turns() int {
	n := 1
	if s.Trigger.Overlap == api.OverlapAllow {
		n = maxSide
	}
	for _, r := range s.runs {
		if r.end == nil {
			n--
		}
	}
	return n
}

// hasRetry tells whether a run is to be run again already.
func (s *spell) hasRetry() bool {
	return slices.ContainsFunc(s.waiting, func(w waiting) bool { return w.firing.Kind == trigger.Retry })
}

// stop cuts off the runs that are in hand, and forgets them.
func (s *spell) stop() {
	for _, r := range s.runs {
		r.stop()
	}
	clear(s.runs)
}

// drop forgets the firings that wait, and tells who waits for them.
func (s *spell) drop(why error) {
	for _, w := range s.waiting {
		if w.asking != nil {
			w.asking.answer <- why
		}
		w.over()
	}
	s.waiting = nil
}

// again is the firing of a run that was cut off, to be run again.
func again(f api.Firing) api.Firing {
	f.Kind = trigger.Retry
	return f
}

// execute runs a run to its end.
func (r *run) execute(pool host.Pool, hosts *host.Hosts, now func() time.Time) api.RunEnd {
	ttl := time.Duration(r.spell.CallTTL) * time.Second
	if ttl <= 0 {
		ttl = api.DefaultCallTTL * time.Second
	}
	ctx, cancel := context.WithTimeout(r.ctx, ttl)
	defer cancel()
	program, about, world, forget := hosts.ForRun(r.spell, r.SpellRun, &r.lines)
	defer forget()
	raw, err := pool.Call(ctx, worker.Call{Program: program, Function: "run", Args: []byte("{}"), Context: about, Host: world})
	if err == nil {
		_, err = host.Result(raw)
	}
	end := api.RunEnd{Spell: r.spell.ID, Number: r.Number, State: api.RunSucceeded, Error: r.lines.Errors(), Log: r.lines.Log()}
	for _, note := range r.notes {
		end.Log = append([]api.SpellLine{{Run: r.Number, At: now(), Text: note}}, end.Log...)
	}
	switch {
	case err == nil:
		return end
	case r.ctx.Err() != nil:
		end.State = api.RunInterrupted
	default:
		end.State = api.RunFailed
		end.Error = joined(end.Error, reason(err, ttl))
	}
	return end
}

// reason is why a run failed, as its owner is to know it.
func reason(err error, ttl time.Duration) string {
	if fault := (*worker.ScriptError)(nil); errors.As(err, &fault) {
		return joined(fault.Error(), fault.Backtrace)
	}
	if errors.Is(err, worker.ErrDeadline) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("the run took longer than its call_ttl of %v, and was stopped", ttl)
	}
	return err.Error()
}

// maxError bounds what is kept of why a run failed, in bytes.
const maxError = api.MaxLogLine

func joined(a, b string) string {
	if a != "" && b != "" {
		a += "\n"
	}
	return host.Clipped(a+b, maxError)
}

// agenda is the spells with a clock, the one that is to be looked at next first.
type agenda []*spell

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}
func (a *agenda) Push(v any) {
	s := v.(*spell)
	s.place = len(*a)
	*a = append(*a, s)
}
func (a *agenda) Pop() any {
	last := len(*a) - 1
	s := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	s.place = -1
	return s
}

// put enters a spell, or moves it.
func (a *agenda) put(s *spell, at time.Time) {
	s.at = at
	if s.place >= 0 {
		heap.Fix(a, s.place)
		return
	}
	heap.Push(a, s)
}

func (a *agenda) remove(s *spell) {
	if s.place >= 0 {
		heap.Remove(a, s.place)
	}
}
