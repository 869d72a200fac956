package fsm

import (
	"math"
	"slices"

	"github.com/orchd/orchd/api"
)

// This file is what one who has the runs of a scope in hand says of them at once.

const (
	// maxRunning bounds how many runs of a spell go on side by side.
	maxRunning = 16
	// maxFiring is how many bytes of a change a firing keeps; a larger one is told
	// by its position alone.
	maxFiring = 40 << 10
)

// runBatch is a batch while it is applied. Rows are collected, and put once.
type runBatch struct {
	*Txn
	api.RunBatch
	rows  map[string]*runs
	order []string
	moved map[moved]bool // connections whose firing is over with this batch
}

// moved is that a peer came or went, for one spell.
type moved struct{ spell, kind, peer string }

// applyRuns ends and begins runs, in this order, so that a spell whose turn is over may
// have the next at once. What does not fit is passed over: the others must not wait for it.
func applyRuns(tx *Txn, c api.RunBatch) (object, error) {
	const op = "spell.runs"
	h, err := inHandOf(tx, op, c)
	if err != nil {
		return nothing, err
	}
	b := &runBatch{Txn: tx, RunBatch: c, rows: map[string]*runs{}, moved: map[moved]bool{}}
	for _, end := range c.End {
		b.end(end)
	}
	for _, begin := range c.Begin {
		b.begin(begin)
	}
	b.note()
	for _, id := range b.order {
		r := b.rows[id]
		r.settle()
		spellRuns.put(tx, *r)
	}
	h.Renewed = tx.Now
	if c.Release {
		interruptRuns(tx, c.Scope)
		h.Released = true
		wakeServices(tx)
	}
	holders.put(tx, h)
	return nothing, nil
}

// inHandOf finds the term of a batch, if it is the one in force.
func inHandOf(tx *Txn, op string, c api.RunBatch) (holding, error) {
	h, there := holders.one(tx.Reader, c.Scope)
	p, err := tx.asPeer(op)
	switch {
	case err != nil:
		return h, err
	case c.Peer != p.ID:
		return h, api.Errorf(api.Forbidden, op, "peer %s says what only peer %s can", p.Name, clipped(c.Peer))
	case !there || h.Peer != p.ID || h.Term != c.Term || h.Released:
		return h, api.Errorf(api.Precondition, op, "term %d of peer %s over the runs of the scope %s has ended: claim them anew", c.Term, p.Name, clipped(c.Scope))
	}
	return h, nil
}

// row is the row of a spell of the batch's scope, for the batch to change.
func (b *runBatch) row(id string) (*runs, bool) {
	if r, known := b.rows[id]; known {
		return r, true
	}
	r, known := spellRuns.one(b.Reader, id)
	if !known || r.Scope != b.Scope {
		return nil, false
	}
	r.Runs = slices.Clone(r.Runs)
	b.rows[id], b.order = &r, append(b.order, id)
	return &r, true
}

func (b *runBatch) end(c api.RunEnd) {
	r, known := b.row(c.Spell)
	if !known {
		return
	}
	at := slices.IndexFunc(r.Runs, func(run api.SpellRun) bool {
		return run.Number == c.Number && run.Term == b.Term && run.State == api.RunRunning
	})
	if at < 0 {
		return
	}
	if c.State != api.RunSucceeded && c.State != api.RunInterrupted {
		c.State = api.RunFailed
	}
	r.log(b.Txn, c.Number, c.Log)
	r.end(b.Txn, at, c.State, c.Error)
}

func (b *runBatch) begin(c api.RunBegin) {
	s, there := spells.one(b.Reader, c.Spell)
	if !there || s.Scope != b.Scope || s.Version != c.Version {
		return
	}
	r, known := b.row(s.ID)
	if !known || !c.Skip && (disarmed(b.Reader, s.Account) != "" || !r.turn(s.Trigger.Overlap)) || !b.mark(r, s.Trigger, c.Firing) || c.Skip {
		return
	}
	if len(c.Firing.Event) > maxFiring {
		c.Firing.Event = nil
	}
	r.Counter++
	r.Runs = append(r.Runs, api.SpellRun{Number: r.Counter, Firing: c.Firing, Peer: b.Peer, Term: b.Term, State: api.RunRunning, BeganAt: b.Now})
}

// turn tells whether a run may begin beside those that go on.
func (r *runs) turn(o api.Overlap) bool {
	most := 1
	if o == api.OverlapAllow {
		most = maxRunning
	}
	for _, run := range r.Runs {
		if run.State == api.RunRunning {
			most--
		}
	}
	return most > 0
}

// mark notes that a firing is over; false when it was before, or is none of the trigger's.
func (b *runBatch) mark(r *runs, t api.Trigger, f api.Firing) bool {
	switch f.Kind {
	case "clock":
		if f.Tick < r.Ticks || !hasTick(t.Clock, r.Start, f.Tick) {
			return false
		}
		r.Ticks = f.Tick + 1
		return true
	case "event":
		at, err := api.ParsePosition(f.At)
		if err != nil || len(t.Events) == 0 || !(api.Position{Index: r.CursorIndex, N: r.CursorN}).Before(at) {
			return false
		}
		r.CursorIndex, r.CursorN = at.Index, at.N
		return true
	case "connect", "disconnect":
		wanted := f.Kind == "connect" && t.Connections.Connect || f.Kind == "disconnect" && t.Connections.Disconnect
		if b.Connected == nil || !wanted {
			return false
		}
		b.moved[moved{r.Spell, f.Kind, f.Peer}] = true
		return true
	}
	return f.Kind == "manual" || f.Kind == "retry"
}

// hasTick tells whether a clock with that start ever comes to a tick.
func hasTick(c api.Clock, start, tick int64) bool {
	switch {
	case c.IsOff() || tick < 0:
		return false
	case c.PeriodSec == 0:
		return tick == 0
	case tick > (math.MaxInt64-start)/c.PeriodSec:
		return false
	}
	return c.EndSec == 0 || start+tick*c.PeriodSec < c.EndSec
}

// note keeps which peers are there. What a spell wants to be run for, and was not yet,
// stays to be done: for it the peer has not come, or not gone.
func (b *runBatch) note() {
	if b.Connected == nil {
		return
	}
	now := slices.Compact(slices.Sorted(slices.Values(b.Connected)))
	for s := range spells.all(b.Reader, "connections", b.Scope) {
		r, known := b.row(s.ID)
		if !known {
			continue
		}
		if r.Connected == nil {
			r.Connected = now
			continue
		}
		r.Connected = b.noted(r, s.Trigger.Connections, now)
	}
}

// noted is whose coming is over for a spell, now that those peers are there.
func (b *runBatch) noted(r *runs, t api.Connections, now []string) (is []string) {
	for _, p := range now {
		if slices.Contains(r.Connected, p) || !t.Connect || b.moved[moved{r.Spell, "connect", p}] {
			is = append(is, p)
		}
	}
	for _, p := range r.Connected {
		if !slices.Contains(now, p) && t.Disconnect && !b.moved[moved{r.Spell, "disconnect", p}] {
			is = append(is, p)
		}
	}
	slices.Sort(is)
	return is
}
