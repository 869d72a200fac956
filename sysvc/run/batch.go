package run

import (
	"container/heap"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
	"github.com/orchd/orchd/sysvc/trigger"
)

// Limits of one batch: an entry of the log takes 512 KiB.
const (
	maxItems = 2000
	maxBytes = 320 << 10
)

// draft is a batch in the making: what is to be marked, and for whom.
type draft struct {
	api.RunBatch
	of    []*spell       // of each RunBegin
	begun map[*spell]int // how many runs it asks for
}

// work sends what there is to say, and gives the time of the next look.
func (s *scope) work(ctx context.Context) time.Time {
	now := s.now()
	next := time.Unix(now.Unix()+1, 0)
	if now.Unix() <= s.second {
		return next
	}
	s.ask()
	d := s.draft(now)
	quiet := len(d.Begin) == 0 && d.Connected == nil && !s.inDoubt()
	if quiet && !s.endsAreDue(now) && !s.mustRenew(now) {
		return s.wake(next)
	}
	d.End = s.ends()
	s.second = now.Unix()
	s.send(ctx, now, d)
	return next
}

// wake is when there may be something to say next.
func (s *scope) wake(next time.Time) time.Time {
	at := s.now().Add(idle)
	if len(s.agenda) > 0 {
		at = earlier(at, s.agenda[0].at)
	}
	if s.name == api.ScopeCluster {
		at = earlier(at, s.renewed.Add(renewEvery))
	}
	if s.watchesPeers() || s.inHand() > 0 || s.inDoubt() {
		at = earlier(at, next)
	}
	return later(at, s.now())
}

func (s *scope) watchesPeers() bool {
	for _, known := range s.spells {
		if known.disarmed == "" && known.Trigger.Connections != (api.Connections{}) {
			return true
		}
	}
	return false
}

// mustRenew: the cluster's scope is given to others unless its holder is heard of.
func (s *scope) mustRenew(now time.Time) bool {
	return s.name == api.ScopeCluster && now.Sub(s.renewed) >= renewEvery
}

// endsAreDue: ends of runs wait for the second after.
func (s *scope) endsAreDue(now time.Time) bool {
	for _, known := range s.spells {
		for _, r := range known.runs {
			if r.end != nil && r.EndedAt.Unix() < now.Unix() {
				return true
			}
		}
	}
	return false
}

// ends are the runs that have ended and were not reported, in order.
func (s *scope) ends() (all []api.RunEnd) {
	for _, id := range slices.Sorted(maps.Keys(s.spells)) {
		known := s.spells[id]
		for _, number := range slices.Sorted(maps.Keys(known.runs)) {
			if end := known.runs[number].end; end != nil {
				all = append(all, *end)
			}
		}
	}
	return all
}

// ask hands on what people want run now.
func (s *scope) ask() {
	for _, a := range s.asked {
		known := s.spells[a.spell]
		if known == nil {
			a.answer <- api.Errorf(api.NotFound, opNow, "there is no spell %s here", a.spell)
			continue
		}
		known.waiting = append(known.waiting, waiting{firing: api.Firing{Kind: trigger.Manual, Due: s.now()}, asking: a})
	}
	s.asked = nil
}

// draft gathers what is due. It changes nothing but the agenda, which is planned anew
// once the batch is through, or is not.
func (s *scope) draft(now time.Time) *draft {
	d := &draft{begun: map[*spell]int{}}
	for _, known := range s.spells {
		s.fireWaiting(d, known)
	}
	s.fireClocks(d, now)
	if now.Sub(s.since) >= settle {
		s.firePeers(d, now)
	}
	return d
}

func (d *draft) begin(known *spell, w waiting) {
	d.Begin = append(d.Begin, api.RunBegin{Spell: known.ID, Version: known.Version, Firing: w.firing, Skip: w.skip})
	d.of = append(d.of, known)
	if !w.skip {
		d.begun[known]++
	}
}

// free tells whether another run of a spell can be asked for in this batch.
func (d *draft) free(known *spell) bool { return known.turns() > d.begun[known] }

func (s *scope) fireWaiting(d *draft, known *spell) {
	known.waiting = slices.DeleteFunc(known.waiting, func(w waiting) bool { return w.asking != nil && w.asking.gone.Load() })
	if known.disarmed != "" {
		known.drop(api.Errorf(api.Conflict, opNow, "%s does not run: %s", known.Alias, known.disarmed))
		return
	}
	for _, w := range known.waiting {
		if !w.skip && !d.free(known) {
			return
		}
		d.begin(known, w)
	}
}

// fireClocks takes the spells whose clock is due out of the agenda. Those that wait for
// their turn come back when their run has ended.
func (s *scope) fireClocks(d *draft, now time.Time) {
	for len(s.agenda) > 0 && !s.agenda[0].at.After(now) {
		known := heap.Pop(&s.agenda).(*spell)
		if !d.free(known) {
			continue
		}
		tick, what := trigger.Decide(known.Trigger, known.marked, known.free, now)
		switch what {
		case trigger.Run:
			due := trigger.At(known.Trigger.Clock, tick)
			d.begin(known, waiting{firing: api.Firing{Kind: trigger.Clock, Tick: tick, Due: due}})
		case trigger.Skip:
			s.r.cfg.Log.Info("ticks of a spell were missed", "spell", known.Alias, "scope", s.name, "up_to", tick)
			known.marked = tick
			s.plan(known)
		case trigger.Wait:
			s.plan(known)
		}
	}
}

func (s *scope) alive() []string { return slices.Sorted(slices.Values(s.cluster().Alive())) }

// firePeers compares who is there with who was noted to be there. A peer is noted for a
// spell when its run is marked: while the spell waits for its turn, the difference stays.
func (s *scope) firePeers(d *draft, now time.Time) {
	if !s.watchesPeers() {
		return
	}
	v, alive := s.cluster().View(), s.alive()
	for _, id := range slices.Sorted(maps.Keys(s.spells)) {
		known := s.spells[id]
		if known.disarmed != "" || known.Trigger.Connections == (api.Connections{}) {
			continue
		}
		_, noted := v.Cursor(known.ID)
		if noted == nil {
			d.Connected = alive // from here on
			continue
		}
		came, went := trigger.Changes(noted, alive)
		firings := trigger.OfPeers(known.Trigger.Connections, came, went, now)
		if len(firings) < len(came)+len(went) {
			d.Connected = alive // somebody whom this spell only has to know of
		}
		for _, firing := range firings {
			if d.free(known) {
				d.Connected = alive
				d.begin(known, waiting{firing: firing})
			}
		}
	}
}

// split cuts a batch into such as the log takes.
func split(b api.RunBatch) (all []api.RunBatch) {
	part, size := b, 0
	part.Begin, part.End, part.Release = nil, nil, false
	empty := part
	room := func(item any) {
		text, _ := json.Marshal(item)
		if n := len(part.Begin) + len(part.End); n > 0 && (n == maxItems || size+len(text) > maxBytes) {
			all, part, size = append(all, part), empty, 0
		}
		size += len(text)
	}
	for _, end := range b.End {
		room(end)
		part.End = append(part.End, end)
	}
	for _, begin := range b.Begin {
		room(begin)
		part.Begin = append(part.Begin, begin)
	}
	part.Release = b.Release
	return append(all, part)
}

// send has a batch applied, and then does what the tables say.
func (s *scope) send(ctx context.Context, now time.Time, d *draft) {
	writing, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	at := 0
	for _, part := range split(s.batch(d.RunBatch)) {
		err := s.cluster().Runs(writing, part)
		if api.IsKind(err, api.Precondition) {
			s.lose("the log says that the term is over")
			return
		}
		if err != nil {
			s.r.cfg.Log.Warn("runs not marked", "scope", s.name, "term", s.term, "err", err)
			s.unsure(d, at, err)
			return
		}
		s.renewed = now
		s.reported(part.End)
		of := d.of[at : at+len(part.Begin)]
		at += len(part.Begin)
		s.marked(s.cluster().View(), part.Begin, of)
	}
	s.findOut(s.cluster().View())
	s.resume()
}

// unsure: from the at-th on, nobody knows whether the marks were made. Clocks and
// changes are asked for again, since no mark is made twice; what can be told apart by
// nothing is not. Should a mark have been made after all, its run is found with the
// next batch, which there is for that alone if for nothing else.
func (s *scope) unsure(d *draft, at int, err error) {
	for i, known := range d.of[at:] {
		firing := d.Begin[at+i].Firing
		known.doubt = true
		s.plan(known) // a clock that was due is out of the agenda, whatever the batch was to say of it
		switch firing.Kind {
		case trigger.Manual:
			s.answer(known, firing, api.Errorf(api.Unavailable, opNow, "it is not known whether the run was marked (%w): look at the spell's runs before you try again", err))
		case trigger.Retry:
			s.answer(known, firing, nil) // whether it is to be run again is seen from the last run
		}
	}
}

// inDoubt tells whether there are spells of which nobody knows whether they were marked.
func (s *scope) inDoubt() bool {
	for _, known := range s.spells {
		if known.doubt {
			return true
		}
	}
	return false
}

// findOut begins what was marked when nobody could tell, once a later batch was applied, and
// has what was cut off run again if that was not.
func (s *scope) findOut(v state.View) {
	for _, id := range slices.Sorted(maps.Keys(s.spells)) {
		if known := s.spells[id]; known.doubt {
			known.doubt = false
			s.adopt(known, v.SpellStatus(id))
			s.arm(v, known)
		}
	}
}

// answer takes a firing out of those that wait, and tells who waits for it.
func (s *scope) answer(known *spell, firing api.Firing, err error) {
	i := slices.IndexFunc(known.waiting, func(w waiting) bool { return same(w.firing, firing) })
	if i < 0 {
		return
	}
	w := known.waiting[i]
	known.waiting = slices.Delete(known.waiting, i, i+1)
	if w.asking != nil {
		w.asking.answer <- err
	}
	if err == nil && w.note != "" {
		s.r.cfg.Log.Warn("a spell missed changes", "spell", known.Alias, "scope", s.name, "note", w.note)
		known.notes = append(known.notes, w.note)
	}
	w.over()
}

func same(a, b api.Firing) bool {
	return a.Kind == b.Kind && a.Tick == b.Tick && a.Peer == b.Peer && a.At == b.At && a.Due.Truncate(time.Microsecond).Equal(b.Due.Truncate(time.Microsecond))
}

// reported forgets runs whose end is in the log.
func (s *scope) reported(ends []api.RunEnd) {
	for _, end := range ends {
		if known := s.spells[end.Spell]; known != nil {
			delete(known.runs, end.Number)
		}
	}
}

// marked reads from the tables what became of the marks, and begins the runs.
func (s *scope) marked(v state.View, begins []api.RunBegin, of []*spell) {
	begun := map[*spell][]*run{}
	for _, known := range of {
		if _, done := begun[known]; !done {
			begun[known] = s.adopt(known, v.SpellStatus(known.ID))
		}
	}
	for i, known := range of {
		b := begins[i]
		granted := slices.ContainsFunc(begun[known], func(r *run) bool { return same(r.Firing, b.Firing) })
		s.outcome(v, known, b, granted)
	}
}

// adopt begins every run that is marked with this term and not in hand yet: those just
// asked for, and those whose mark came through when nobody could tell.
func (s *scope) adopt(known *spell, status api.SpellStatus) (all []*run) {
	for _, marked := range status.Running {
		if marked.Term != s.term || marked.Peer != s.cluster().Self() || marked.Number <= known.newest {
			continue
		}
		known.newest = marked.Number
		r := &run{SpellRun: marked, spell: known.Spell, notes: known.notes}
		known.notes = nil
		r.ctx, r.stop = context.WithCancel(s.runs)
		known.runs[marked.Number] = r
		all = append(all, r)
		s.begin(r)
	}
	return all
}

// begin has a run done when its turn among all runs comes. A run begins only within
// the lease: whoever takes the scope over waits for the lease and a run's longest time.
func (s *scope) begin(r *run) {
	until := s.renewed.Add(api.HolderLease)
	s.r.queue.add(r.Firing.Due, func() {
		if s.name == api.ScopeCluster && !s.now().Before(until) && r.ctx.Err() == nil {
			s.inbox.add(finished{run: r})
			return
		}
		end := r.execute(s.r.cfg.Pool, s.r.cfg.Hosts, s.now)
		s.inbox.add(finished{r, &end})
	})
}

// resume begins what was parked when the lease was not renewed in time.
func (s *scope) resume() {
	parked := s.parked
	s.parked = nil
	for _, r := range parked {
		if known := s.spells[r.spell.ID]; known != nil && known.runs[r.Number] == r {
			s.begin(r)
		}
	}
}

// outcome takes note of what became of a mark.
func (s *scope) outcome(v state.View, known *spell, b api.RunBegin, granted bool) {
	row, there := v.Spell(known.ID)
	current := there && row.Version == b.Version && !v.Suspended(row.Account)
	switch {
	case b.Firing.Kind == trigger.Clock:
		known.marked = max(known.marked, v.SpellStatus(known.ID).Ticks-1)
		s.plan(known)
	case granted || b.Skip:
		s.answer(known, b.Firing, nil)
	case !current:
		// It is worked out again from the spell as it is now.
	case b.Firing.Kind == trigger.Manual:
		s.answer(known, b.Firing, isRunning(known.Spell))
	case b.Firing.Kind == trigger.Event && over(v, known.ID, b.Firing.At), b.Firing.Kind == trigger.Retry:
		s.answer(known, b.Firing, nil)
	}
}

// over tells whether a change was marked before.
func over(v state.View, spell, at string) bool {
	position, err := api.ParsePosition(at)
	cursor, _ := v.Cursor(spell)
	return err != nil || !cursor.Before(position)
}
