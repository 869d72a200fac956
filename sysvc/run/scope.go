package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
	"github.com/orchd/orchd/sysvc/trigger"
)

// Times of a scope.
const (
	renewEvery = api.HolderLease / 3
	writeLimit = api.HolderLease / 2    // for one batch
	settle     = 5 * time.Second        // after a claim, until gossip has met the others
	apart      = 300 * time.Millisecond // between claims of peers
	patience   = 5 * time.Second        // with the runs in hand, when the peer stops
	idle       = time.Minute            // between two looks when nothing is expected
)

// scope runs the spells of one scope while this peer holds it. One goroutine owns it;
// all others speak to it through its inbox.
type scope struct {
	r       *Runner
	name    string
	inbox   inbox
	changed <-chan struct{} // closed: the tables are to be looked at

	spells map[string]*spell
	agenda agenda // by the next time of their clock
	asked  []*asking
	parked []*run // marked, and not begun while the lease was not renewed

	term    uint64 // 0: another peer holds it, or nobody
	gone    uint64 // newest term that is over
	since   time.Time
	renewed time.Time // when the batch that last renewed was sent
	second  int64     // in which the last batch was sent
	retryAt time.Time // no claim before
	free    time.Time // since when the scope can be claimed

	runs    context.Context // of all runs, and of all that follows events
	cut     context.CancelFunc
	readers sync.WaitGroup
	leaving bool
}

func newScope(r *Runner, name string) *scope {
	return &scope{r: r, name: name, inbox: newInbox(), spells: map[string]*spell{}}
}

func (s *scope) cluster() state.Cluster { return s.r.cfg.Cluster }
func (s *scope) now() time.Time         { return s.cluster().Now() }
func (s *scope) holds() bool            { return s.term != 0 }

// asPeer is ctx with this peer as the one who asks.
func (s *scope) asPeer(ctx context.Context) context.Context {
	return api.WithCaller(ctx, api.Caller{Actor: api.Actor{ID: "peer:" + s.cluster().Self(), Role: api.RolePeer}})
}

// run works until ctx ends, then gives the scope back.
func (s *scope) run(ctx context.Context) {
	s.runs, s.cut = context.WithCancel(context.WithoutCancel(ctx))
	defer s.readers.Wait()
	defer s.cut()
	for ctx.Err() == nil {
		wake := s.step(s.asPeer(ctx))
		s.sleep(ctx, wake)
	}
	s.leave(s.asPeer(context.WithoutCancel(ctx)))
}

func (s *scope) sleep(ctx context.Context, until time.Time) {
	t := time.NewTimer(until.Sub(s.now()))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.changed:
	case <-s.inbox.woken:
	case <-t.C:
	}
}

// step does what is to be done now, and says when to come back at the latest.
func (s *scope) step(ctx context.Context) time.Time {
	s.look()
	s.receive()
	s.notice()
	switch {
	case !s.wanted() && !s.holds():
		return s.now().Add(idle)
	case !s.holds():
		return s.claim(ctx)
	case !s.wanted() && s.name == api.ScopeCluster && s.inHand() == 0 && !s.inDoubt():
		s.release(ctx)
		return s.now().Add(idle)
	}
	return s.work(ctx)
}

// look reads the spells again when the tables have changed.
func (s *scope) look() {
	if s.changed != nil {
		select {
		case <-s.changed:
		default:
			return
		}
	}
	s.changed = s.cluster().Watch()
	s.read(s.cluster().View())
}

// read brings the scope's spells up to date.
func (s *scope) read(v state.View) {
	there := map[string]bool{}
	for row := range v.Spells() {
		if row.Scope != s.name {
			continue
		}
		there[row.ID] = true
		known := s.spells[row.ID]
		if known == nil {
			known = &spell{marked: trigger.None, place: -1, runs: map[int64]*run{}}
			s.spells[row.ID] = known
		}
		disarmed := Disarmed(v, row)
		if known.Version != row.Version || known.disarmed != disarmed {
			s.change(v, known, row, disarmed)
		}
	}
	for id, known := range s.spells {
		if !there[id] {
			s.disarm(known)
			known.drop(api.Errorf(api.NotFound, opNow, "the spell was removed"))
			known.stop()
			delete(s.spells, id)
		}
	}
}

// change takes in another version of a spell, or that it is armed now, or no more.
func (s *scope) change(v state.View, known *spell, row api.Spell, disarmed string) {
	row, status := inForce(v, row)
	if row.Trigger.Clock != known.Trigger.Clock {
		known.marked = status.Ticks - 1
	}
	rearm := known.disarmed != disarmed || !slices.EqualFunc(known.Trigger.Events, row.Trigger.Events, sameMatch) ||
		known.Account != row.Account || !slices.Equal(known.Grants.Read, row.Grants.Read) || known.Grants.AnyAccount != row.Grants.AnyAccount
	known.Spell, known.disarmed = row, disarmed
	if rearm {
		s.disarm(known)
	}
	if s.holds() {
		s.arm(v, known)
	}
}

func sameMatch(a, b api.EventMatch) bool {
	return a.Table == b.Table && a.Verb == b.Verb && maps.Equal(a.Where, b.Where)
}

// arm has a spell's triggers looked at, and what was cut off run again.
func (s *scope) arm(v state.View, known *spell) {
	if known.disarmed != "" {
		return
	}
	s.plan(known)
	if len(known.Trigger.Events) > 0 && known.events == nil {
		known.events = follow(s.asPeer(s.runs), s.cluster(), known.Spell, &s.readers, func(f fired) { s.inbox.add(f) })
	}
	last := v.SpellStatus(known.ID).Last
	if known.Trigger.Retry && last.State == api.RunInterrupted && !known.hasRetry() {
		known.waiting = slices.Insert(known.waiting, 0, waiting{firing: again(last.Firing)})
	}
}

// disarm stops looking at a spell's triggers. Runs in hand go on.
func (s *scope) disarm(known *spell) {
	s.agenda.remove(known)
	if known.events != nil {
		known.events.stop()
		known.events = nil
	}
	known.waiting = slices.DeleteFunc(known.waiting, func(w waiting) bool {
		if w.firing.Kind == trigger.Event {
			w.over() // the history has it, and it is read again
		}
		return w.firing.Kind == trigger.Event
	})
}

// plan enters a spell into the agenda for its next tick.
func (s *scope) plan(known *spell) {
	if next, has := trigger.Next(known.Trigger.Clock, known.marked); has && known.disarmed == "" {
		s.agenda.put(known, next)
		return
	}
	s.agenda.remove(known)
}

// receive takes in what others told.
func (s *scope) receive() {
	for _, v := range s.inbox.take() {
		switch v := v.(type) {
		case finished:
			s.ended(v)
		case *asking:
			s.asked = append(s.asked, v)
		case fired:
			s.heard(v)
		}
	}
}

func (s *scope) ended(f finished) {
	r, known := f.run, s.spells[f.run.spell.ID]
	if known == nil || known.runs[r.Number] != r {
		r.stop()
		return // of a term that is over, or of a spell that is gone
	}
	if f.end == nil { // it was not begun
		s.parked = append(s.parked, r)
		return
	}
	r.stop()
	r.end, r.EndedAt, known.free = f.end, s.now(), s.now()
	if known.place < 0 && s.holds() {
		s.plan(known)
	}
}

func (s *scope) heard(f fired) {
	known := s.spells[f.from.spell.ID]
	if known == nil || known.events != f.from {
		f.over()
		return
	}
	known.waiting = append(known.waiting, f.waiting)
}

// notice finds out whether the scope is still, or already, in this peer's hands.
func (s *scope) notice() {
	h, has := s.cluster().View().Holder(s.name)
	mine := has && h.Peer == s.cluster().Self() && h.Life == s.r.life
	switch {
	case s.holds() && (!mine || h.Term != s.term):
		s.lose("another peer holds the scope")
	case !s.holds() && mine && h.Term > s.gone:
		s.take(h, h.Renewed) // a claim of ours was granted, and nobody could tell us
	}
}

// wanted tells whether somebody has to hold the scope.
func (s *scope) wanted() bool {
	if len(s.asked) > 0 || s.name != api.ScopeCluster && len(s.spells) > 0 {
		return true
	}
	for _, known := range s.spells {
		if known.disarmed == "" && !known.Trigger.Empty() || len(known.waiting) > 0 {
			return true
		}
	}
	return false
}

// inHand is how many runs are not reported yet.
func (s *scope) inHand() (n int) {
	for _, known := range s.spells {
		n += len(known.runs)
	}
	return n
}

// claim takes the scope in hand as soon as that can succeed.
func (s *scope) claim(ctx context.Context) time.Time {
	now, look := s.now(), s.now().Add(time.Second) // a release is not announced
	if at := s.claimAt(now); now.Before(at) {
		return earlier(at, look)
	}
	writing, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	h, err := s.cluster().Claim(writing, s.name, s.r.life)
	if err != nil {
		s.free = time.Time{}
		s.retryAt = s.now().Add(time.Second + s.spread())
		s.r.cfg.Log.Debug("scope not claimed", "scope", s.name, "err", err)
		return s.retryAt
	}
	s.take(h, earlier(now, h.Renewed))
	return now
}

// claimAt is when this peer should claim. Peers that may do so at the same time take
// turns, so that all but one need not ask.
func (s *scope) claimAt(now time.Time) time.Time {
	v := s.cluster().View()
	h, has := v.Holder(s.name)
	if s.name != api.ScopeCluster || has && h.Peer == s.cluster().Self() && h.Life != s.r.life {
		return s.retryAt
	}
	at := now
	if has {
		at = claimable(v, h)
	}
	if at.After(now) {
		s.free = time.Time{}
	} else if s.free.IsZero() {
		s.free = now
	}
	if !s.free.IsZero() {
		at = s.free
	}
	return later(at.Add(s.spread()), s.retryAt)
}

// spread is this peer's place among those that are alive, as time.
func (s *scope) spread() time.Duration {
	if s.name != api.ScopeCluster {
		return 0
	}
	alive := slices.Clone(s.cluster().Alive())
	slices.SortFunc(alive, func(a, b string) int { return cmp.Or(cmp.Compare(hash(a), hash(b)), cmp.Compare(a, b)) })
	return time.Duration(max(0, slices.Index(alive, s.cluster().Self()))) * apart
}

func hash(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return h.Sum64()
}

// take begins a term.
func (s *scope) take(h api.Holder, renewed time.Time) {
	s.term, s.since, s.renewed, s.free = h.Term, s.now(), renewed, time.Time{}
	s.r.cfg.Log.Info("runs of spells in hand", "scope", s.name, "term", s.term)
	v := s.cluster().View()
	for _, known := range s.spells {
		row, status := inForce(v, known.Spell)
		known.Spell = row
		known.marked, known.free = status.Ticks-1, time.Time{}
		s.arm(v, known)
	}
}

// lose ends a term: what was begun in it is cut off, and whatever it still does is
// refused by its fence.
func (s *scope) lose(why string) {
	s.r.cfg.Log.Warn("runs of spells no longer in hand", "scope", s.name, "term", s.term, "why", why)
	s.gone, s.term = s.term, 0
	s.retryAt, s.parked = s.now().Add(time.Second+s.spread()), nil
	for _, known := range s.spells {
		known.stop()
		known.doubt = false
		s.disarm(known)
		known.drop(errors.New("the runs of the scope have come into other hands: try again"))
	}
}

// leave ends the scope's work in good order.
func (s *scope) leave(ctx context.Context) {
	s.leaving = true
	for _, a := range s.asked {
		a.answer <- api.Errorf(api.Unavailable, opNow, "this peer is stopping: ask another one")
	}
	for _, known := range s.spells {
		s.disarm(known)
		known.drop(api.Errorf(api.Unavailable, opNow, "this peer is stopping: ask another one"))
	}
	for _, limit := range []time.Duration{patience, patience} {
		s.await(limit)
		s.cut()
	}
	if s.holds() {
		s.release(ctx)
	}
}

// await waits for the runs in hand to end, but not for long.
func (s *scope) await(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	for s.receive(); s.running(); s.receive() {
		select {
		case <-s.inbox.woken:
		case <-t.C:
			return
		}
	}
}

func (s *scope) running() bool {
	for _, known := range s.spells {
		for _, r := range known.runs {
			if r.end == nil && !slices.Contains(s.parked, r) {
				return true
			}
		}
	}
	return false
}

// release says how the last runs ended, and gives the scope back. A peer's own scope is
// nobody else's: it is only said if there is something to say.
func (s *scope) release(ctx context.Context) {
	b := s.batch(api.RunBatch{Release: true, End: s.ends()})
	for _, known := range s.spells {
		for _, r := range known.runs {
			if r.end == nil {
				b.End = append(b.End, api.RunEnd{Spell: known.ID, Number: r.Number, State: api.RunInterrupted})
			}
		}
	}
	if s.name != api.ScopeCluster && len(b.End) == 0 {
		s.gone, s.term = s.term, 0
		return
	}
	writing, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	for _, part := range split(b) {
		if err := s.cluster().Runs(writing, part); err != nil {
			s.r.cfg.Log.Warn("end of runs not reported", "scope", s.name, "term", s.term, "err", err)
			break
		}
	}
	s.gone, s.term = s.term, 0
	for _, known := range s.spells {
		clear(known.runs)
		known.doubt = false
		s.disarm(known)
	}
}

func (s *scope) batch(b api.RunBatch) api.RunBatch {
	b.Scope, b.Peer, b.Term = s.name, s.cluster().Self(), s.term
	return b
}

func (s *scope) String() string { return fmt.Sprintf("scope %s, term %d", s.name, s.term) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
