package fsm

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
)

// runs is what is known of the runs of one spell: how many there were, those that go
// on, the newest, and which firings are over. A firing is marked here before the spell
// runs, in the entry that makes it run: nobody runs it a second time.
type runs struct {
	Spell     string         `json:"spell"`
	Scope     string         `json:"scope"`
	Counter   int64          `json:"counter"`
	Succeeded int64          `json:"succeeded"`
	Failed    int64          `json:"failed"`
	Runs      []api.SpellRun `json:"runs,omitempty"` // those that go on, and the newest, by number

	Start       int64    `json:"start"`               // tick 0 of its clock, in seconds since 1970
	Ticks       int64    `json:"ticks"`               // how many ticks of its clock are over
	CursorIndex uint64   `json:"cursor_index"`        // position of the newest event that is over
	CursorN     uint64   `json:"cursor_n"`            //
	Connected   []string `json:"connected,omitempty"` // peers whose coming is over, and whose going is not; nil: never noted

	Logs   int64 `json:"logs"`   // number of the newest line of its log
	Errors int64 `json:"errors"` // number of its newest error
	Mails  int64 `json:"mails"`  // number of the newest message to it
}

var spellRuns = &table[runs]{
	name:        "spell_runs",
	bookkeeping: true,
	key:         func(r *runs) string { return r.Spell },
	by: map[string]func(*runs) string{
		"running": func(r *runs) string { // by scope
			if !r.busy() {
				return ""
			}
			return r.Scope
		},
	},
}

// busy tells whether a run goes on.
func (r *runs) busy() bool {
	return slices.ContainsFunc(r.Runs, func(run api.SpellRun) bool { return run.State == api.RunRunning })
}

// newest is the newest run, if there has been one.
func (r *runs) newest() (api.SpellRun, bool) {
	if len(r.Runs) == 0 {
		return api.SpellRun{}, false
	}
	return r.Runs[len(r.Runs)-1], true
}

// rearm sets what is known of firings when a spell gets another trigger: what lies
// before this entry does not fire it.
func rearm(tx *Txn, s api.Spell, t api.Trigger) {
	r, known := spellRuns.one(tx.Reader, s.ID)
	if !known {
		r = runs{Spell: s.ID, Scope: s.Scope}
	}
	if s.Trigger.Clock != t.Clock {
		at, _ := t.Clock.At(tx.Now)
		r.Start, r.Ticks = at.StartSec, 0
	}
	if !sameEvents(s.Trigger.Events, t.Events) {
		now := api.After(tx.Index())
		r.CursorIndex, r.CursorN = now.Index, now.N
	}
	if s.Trigger.Connections != t.Connections {
		r.Connected = nil
	}
	spellRuns.put(tx, r)
}

// interruptRuns ends the runs of a scope that nobody goes on with.
func interruptRuns(tx *Txn, scope string) {
	for _, r := range slices.Collect(spellRuns.all(tx.Reader, "running", scope)) {
		r.Runs = slices.Clone(r.Runs)
		for i := range r.Runs {
			if r.Runs[i].State == api.RunRunning {
				r.end(tx, i, api.RunInterrupted, "interrupted: its peer ended, or lost its turn, before the run did")
			}
		}
		r.settle()
		spellRuns.put(tx, r)
	}
}

// maxRunError bounds an error in the row of a run; the whole is in the errors.
const maxRunError = 500

// end notes how the i-th run ended.
func (r *runs) end(tx *Txn, i int, state api.RunState, problem string) {
	run := &r.Runs[i]
	run.State, run.Error, run.EndedAt = state, cut(problem, maxRunError), tx.Now
	switch state {
	case api.RunSucceeded:
		r.Succeeded++
	case api.RunFailed:
		r.Failed++
	}
	if problem != "" {
		r.fail(tx, run.Number, problem)
	}
}

// settle drops the runs that have ended, but for the newest.
func (r *runs) settle() {
	newest := len(r.Runs) - 1
	at := -1
	r.Runs = slices.DeleteFunc(r.Runs, func(run api.SpellRun) bool {
		at++
		return at != newest && run.State != api.RunRunning
	})
}

// SpellStatus is what is known of a spell's runs; Next is left to who knows the time.
func (r Reader) SpellStatus(id string) api.SpellStatus {
	row, known := spellRuns.one(r, id)
	s, there := spells.one(r, id)
	if !known || !there {
		return api.SpellStatus{}
	}
	status := api.SpellStatus{Counter: row.Counter, Succeeded: row.Succeeded, Failed: row.Failed, Start: row.Start, Ticks: row.Ticks, Disarmed: disarmed(r, s.Account)}
	status.Last, _ = row.newest()
	for _, run := range row.Runs {
		if run.State == api.RunRunning {
			status.Running = append(status.Running, run)
		}
	}
	return status
}

// Cursor is the position of the newest event that is over for a spell, at first that
// of the entry that set its trigger, and the peers whose coming is over for it; nil
// when that was never noted.
func (r Reader) Cursor(spell string) (at api.Position, connected []string) {
	row, _ := spellRuns.one(r, spell)
	return api.Position{Index: row.CursorIndex, N: row.CursorN}, row.Connected
}

// Runs tells the cluster of runs that are to begin and that have ended; Precondition
// when the term of the one who asks is over. Whether a run may begin is seen in the
// status of its spell.
func (w *Writer) Runs(ctx context.Context, b api.RunBatch) error {
	_, err := propose[struct{}](ctx, w, runSpells, b)
	return err
}
