package fsm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

const time10s = 10 * time.Second

// turns is a cluster whose runs somebody has in hand.
type turns struct {
	*log
	scope string
}

func newTurns(t *testing.T, scope string) turns {
	l := newLog(t, "a", "b")
	l.must(ActorOfPeer("a"), claimScope, scopeClaim{scope, "one"})
	return turns{l, scope}
}

// spelled makes a spell with a trigger, and gives its id.
func (l turns) spelled(alias string, trigger api.Trigger) string {
	l.t.Helper()
	return l.must(ActorOfPeer("a"), deploySpell, spellWrite{Package: "p", Scope: l.scope, Alias: alias, Script: "x", Trigger: trigger, CallTTL: 30}).Key
}

// begin asks for runs of a spell as peer a in its term.
func (l turns) begin(id string, firings ...api.Firing) {
	l.t.Helper()
	b := l.batch()
	for _, f := range firings {
		b.Begin = append(b.Begin, api.RunBegin{Spell: id, Version: l.spell(id).Version, Firing: f})
	}
	l.must(ActorOfPeer("a"), runSpells, b)
}

func (l turns) batch() api.RunBatch {
	h, _ := l.m.Read().Holder(l.scope)
	return api.RunBatch{Scope: l.scope, Peer: "a", Term: h.Term}
}

// ends ends the newest run of a spell.
func (l turns) ends(id string, state api.RunState, problem string, lines ...api.SpellLine) {
	l.t.Helper()
	b := l.batch()
	b.End = []api.RunEnd{{Spell: id, Number: l.status(id).Counter, State: state, Error: problem, Log: lines}}
	l.must(ActorOfPeer("a"), runSpells, b)
}

// counted expects how many runs began, and how many go on.
func (l turns) counted(what, id string, counter int64, running int) {
	l.t.Helper()
	if got := l.status(id); got.Counter != counter || len(got.Running) != running {
		l.t.Errorf("%s: %d runs began and %d go on, want %d and %d", what, got.Counter, len(got.Running), counter, running)
	}
}

func tick(n int64) api.Firing { return api.Firing{Kind: "clock", Tick: n} }

// TestTicksAreMarkedOnce: a tick that is over is over, whether the spell ran or not.
func TestTicksAreMarkedOnce(t *testing.T) {
	l := newTurns(t, "a")
	id := l.spelled("s", everySecond)
	l.begin(id, tick(0))
	l.counted("the first tick", id, 1, 1)
	if run := l.status(id).Last; run.Number != 1 || run.Peer != "a" || run.Term != 1 || run.State != api.RunRunning || !run.BeganAt.Equal(l.at) {
		t.Errorf("it runs: %+v", run)
	}
	l.begin(id, tick(1))
	l.counted("while it runs", id, 1, 1)
	l.ends(id, api.RunSucceeded, "")
	l.begin(id, tick(0))
	l.counted("the same tick again", id, 1, 0)
	l.begin(id, tick(1), tick(2))
	l.counted("the tick that waited, and the next", id, 2, 1)
	l.ends(id, api.RunFailed, "no such key")
	b := l.batch()
	b.Begin = []api.RunBegin{{Spell: id, Version: 1, Firing: tick(7), Skip: true}}
	l.must(ActorOfPeer("a"), runSpells, b)
	l.begin(id, tick(7))
	l.counted("one that was skipped", id, 2, 0)
	b.Begin = []api.RunBegin{{Spell: id, Version: 2, Firing: tick(9)}, {Spell: "gone", Version: 1, Firing: tick(9)}, {Spell: id, Version: 1, Firing: api.Firing{Kind: "blockchain"}},
		{Spell: id, Version: 1, Firing: tick(-1)}}
	l.must(ActorOfPeer("a"), runSpells, b)
	l.counted("of another version, and of nothing", id, 2, 0)
	if got := l.status(id); got.Ticks != 8 || got.Succeeded != 1 || got.Failed != 1 || got.Last.State != api.RunFailed || got.Last.Error != "no such key" || !got.Last.EndedAt.After(got.Last.BeganAt) {
		t.Errorf("in the end: %+v", got)
	}
	l.begin(id, api.Firing{Kind: "manual"})
	l.counted("by hand", id, 3, 1)
	l.ends(id, "dancing", "")
	if got := l.status(id); got.Failed != 2 {
		t.Errorf("an end that is none: %+v", got)
	}

	once := l.spelled("once", api.Trigger{Clock: api.Clock{StartSec: 1}})
	l.begin(once, tick(1))
	l.begin(once, tick(0))
	l.ends(once, api.RunSucceeded, "")
	l.begin(once, tick(0))
	l.counted("one that runs once", once, 1, 0)
	ending := l.spelled("ending", api.Trigger{Clock: api.Clock{StartSec: 1, PeriodSec: 2, EndSec: l.at.Unix() + 4}})
	l.begin(ending, tick(2))
	l.begin(ending, tick(1))
	l.counted("one that has an end", ending, 1, 1)
	off := l.spelled("off", api.Trigger{})
	l.begin(off, tick(0), api.Firing{Kind: "connect", Peer: "b"}, api.Firing{Kind: "event", At: "9999.1"})
	l.counted("one without a trigger", off, 0, 0)
	runsHold(t, 0, l.m.Read())
}

func TestRunsSideBySide(t *testing.T) {
	l := newTurns(t, "a")
	id := l.spelled("s", api.Trigger{Clock: everySecond.Clock, Overlap: api.OverlapAllow})
	var all []api.Firing
	for n := range int64(20) {
		all = append(all, tick(n))
	}
	l.begin(id, all...)
	l.counted("all at once", id, maxRunning, maxRunning)
	b := l.batch()
	b.End = []api.RunEnd{{Spell: id, Number: 3, State: api.RunSucceeded}, {Spell: id, Number: 3, State: api.RunSucceeded}, {Spell: id, Number: 99, State: api.RunSucceeded}}
	b.Begin = []api.RunBegin{{Spell: id, Version: 1, Firing: tick(maxRunning)}}
	l.must(ActorOfPeer("a"), runSpells, b)
	l.counted("one ends, and in the same batch the next begins", id, maxRunning+1, maxRunning)
	if got := l.status(id); got.Succeeded != 1 || got.Last.Number != maxRunning+1 {
		t.Errorf("%+v", got)
	}
	runsHold(t, 0, l.m.Read())
}

func TestEventsByPosition(t *testing.T) {
	l := newTurns(t, "a")
	id := l.spelled("s", api.Trigger{Events: []api.EventMatch{{Table: "vms"}}, Overlap: api.OverlapAllow})
	at, _ := l.m.Read().Cursor(id)
	if at != api.After(l.index) {
		t.Errorf("it begins at %v, want behind the entry that made it, %d", at, l.index)
	}
	event := func(position string) api.Firing {
		return api.Firing{Kind: "event", At: position, Event: json.RawMessage(`{"table":"vms"}`)}
	}
	l.begin(id, event(fmt.Sprintf("%d.1", l.index)), event("nonsense"), event("100.1"), event("100.1"), event("99.9"), event("100.2"))
	l.counted("those behind the last", id, 2, 2)
	if at, _ := l.m.Read().Cursor(id); at != (api.Position{Index: 100, N: 2}) {
		t.Errorf("the cursor is at %v", at)
	}
	if e, ok := l.m.Read().KV(id, api.KeyTrigger); !ok || !strings.Contains(e.Text, `"position":"100.2"`) || !strings.Contains(e.Text, `"event":{"table":"vms"}`) {
		t.Errorf("the spell reads of what fired it: %+v", e)
	}
	large := event("101.1")
	large.Event = json.RawMessage(`"` + strings.Repeat("x", maxFiring) + `"`)
	l.begin(id, large)
	if got := l.status(id).Last.Firing; got.At != "101.1" || got.Event != nil {
		t.Errorf("of a large change is kept %d bytes", len(got.Event))
	}
	l.must(operator, updateSpellTrigger, spellTrigger{ID: id, Trigger: api.Trigger{Events: []api.EventMatch{{Table: "images"}}, Overlap: api.OverlapAllow}})
	if at, _ := l.m.Read().Cursor(id); at != api.After(l.index) {
		t.Errorf("with other events it is at %v", at)
	}
}

// TestConnections: who came or went while the spell could not run stays to be told.
func TestConnections(t *testing.T) {
	l := newTurns(t, "a")
	id := l.spelled("s", api.Trigger{Connections: api.Connections{Connect: true}})
	say := func(connected []string, firings ...api.Firing) {
		t.Helper()
		b := l.batch()
		b.Connected = connected
		for _, f := range firings {
			b.Begin = append(b.Begin, api.RunBegin{Spell: id, Version: l.spell(id).Version, Firing: f})
		}
		l.must(ActorOfPeer("a"), runSpells, b)
	}
	want := func(what string, peers ...string) {
		t.Helper()
		if _, got := l.m.Read().Cursor(id); !slices.Equal(got, peers) {
			t.Errorf("%s: over is the coming of %v, want %v", what, got, peers)
		}
	}
	came := func(peer string) api.Firing { return api.Firing{Kind: "connect", Peer: peer} }
	want("before anything was noted")
	say([]string{"b", "a"})
	want("those who were there", "a", "b")
	say([]string{"a", "b", "c", "d"}, came("c"), came("d"))
	l.counted("two at once", id, 1, 1)
	want("the second waits for its turn", "a", "b", "c")
	l.ends(id, api.RunSucceeded, "")
	say([]string{"a", "b", "c", "d"}, came("d"), api.Firing{Kind: "disconnect", Peer: "b"})
	l.counted("its turn", id, 2, 1)
	want("all", "a", "b", "c", "d")
	say([]string{"a", "c", "d"})
	want("one that goes needs no run", "a", "c", "d")
	l.ends(id, api.RunSucceeded, "")
	say(nil, came("b"))
	l.counted("without saying who is there", id, 2, 0)
	l.must(operator, updateSpellTrigger, spellTrigger{ID: id, Trigger: api.Trigger{Connections: api.Connections{Disconnect: true}}})
	want("with another trigger")
	say([]string{"a", "c", "d"})
	say([]string{"a", "d", "e"})
	want("the going of c is not over", "a", "c", "d", "e")
	say([]string{"a", "d", "e"}, api.Firing{Kind: "disconnect", Peer: "c"})
	l.counted("who went", id, 3, 1)
	want("now it is", "a", "d", "e")
}

// TestTakingOver: the cluster's runs change hands when the holder has been silent for
// its lease and the longest of its runs, at once when its process began anew or it gave
// them back; what was cut off is told.
func TestTakingOver(t *testing.T) {
	l := newTurns(t, api.ScopeCluster)
	a, b := ActorOfPeer("a"), ActorOfPeer("b")
	claim := func(life string) scopeClaim { return scopeClaim{api.ScopeCluster, life} }
	holder := func(peer string, term uint64) {
		t.Helper()
		if h, held := l.m.Read().Holder(api.ScopeCluster); !held || h.Peer != peer || h.Term != term {
			t.Errorf("held: %v, by %+v, want %s in term %d", held, h, peer, term)
		}
	}
	id := l.spelled("s", api.Trigger{Clock: everySecond.Clock, Retry: true})
	l.must(a, claimScope, claim("one"))
	holder("a", 1)
	l.begin(id, tick(0))
	renewed := l.at
	l.at = renewed.Add(api.HolderLease + 29*time.Second)
	if e := l.refused(api.Conflict, b, claimScope, claim("x")); !strings.Contains(e.Msg, "peer a has") {
		t.Errorf("refused with %q", e.Msg)
	}
	l.at = renewed.Add(api.HolderLease + 30*time.Second - time.Millisecond)
	l.must(b, claimScope, claim("x"))
	holder("b", 2)
	got := l.status(id)
	if got.Last.State != api.RunInterrupted || len(got.Running) != 0 || !got.Last.EndedAt.Equal(l.at) || !strings.Contains(got.Last.Error, "interrupted") {
		t.Errorf("the run of the term before: %+v", got)
	}
	if errs := l.m.Read().SpellErrors(id); len(errs) != 1 || errs[0].Run != 1 || errs[0].Seq != 1 {
		t.Errorf("its errors: %+v", errs)
	}
	l.refused(api.Precondition, a, runSpells, api.RunBatch{Scope: api.ScopeCluster, Peer: "a", Term: 1, End: []api.RunEnd{{Spell: id, Number: 1, State: api.RunSucceeded}}})
	l.refused(api.Precondition, a, runSpells, api.RunBatch{Scope: api.ScopeCluster, Peer: "a", Term: 2})
	l.refused(api.Forbidden, a, runSpells, api.RunBatch{Scope: api.ScopeCluster, Peer: "b", Term: 2})
	l.refused(api.Conflict, a, claimScope, claim("one"))

	retry := api.RunBatch{Scope: api.ScopeCluster, Peer: "b", Term: 2, Begin: []api.RunBegin{{Spell: id, Version: 1, Firing: api.Firing{Kind: "retry"}}}}
	l.must(b, runSpells, retry)
	l.counted("what was cut off runs again", id, 2, 1)
	l.must(b, claimScope, claim("y"))
	holder("b", 3)
	l.counted("its process began anew", id, 2, 0)
	l.must(b, runSpells, api.RunBatch{Scope: api.ScopeCluster, Peer: "b", Term: 3, Begin: retry.Begin, Release: true})
	if h, held := l.m.Read().Holder(api.ScopeCluster); held || h.Term != 3 {
		t.Errorf("given back, and held: %v, %+v", held, h)
	}
	l.counted("what goes on is given up", id, 3, 0)
	l.refused(api.Precondition, b, runSpells, api.RunBatch{Scope: api.ScopeCluster, Peer: "b", Term: 3})
	l.must(a, claimScope, claim("one"))
	holder("a", 4)
	l.at = l.at.Add(api.HolderLease - 2*time.Millisecond)
	l.refused(api.Conflict, b, claimScope, claim("y"))
	l.must(a, runSpells, api.RunBatch{Scope: api.ScopeCluster, Peer: "a", Term: 4})
	l.at = l.at.Add(api.HolderLease - 2*time.Millisecond)
	l.refused(api.Conflict, b, claimScope, claim("y")) // an empty batch is a sign of life
	l.at = l.at.Add(2 * time.Millisecond)
	l.must(b, claimScope, claim("y"))
	holder("b", 5)

	l.refused(api.Forbidden, b, claimScope, scopeClaim{"a", "y"})
	l.refused(api.Forbidden, admin, claimScope, claim("y"))
	l.refused(api.Invalid, a, claimScope, claim(""))
	w := NewWriter(atOnce{l.log}, nil, marking{})
	if done, err := w.Claim(as1(a), "a", "one"); err != nil || done.Object.Term != 1 || done.Object.Peer != "a" {
		t.Errorf("its own scope: %+v, %v", done, err)
	}
	if held := slices.Collect(l.m.Read().Holders()); len(held) != 2 {
		t.Errorf("holders: %+v", held)
	}
}

// TestFence: what a run asks for is refused once its term is over, whatever it is.
func TestFence(t *testing.T) {
	l := newTurns(t, api.ScopeCluster)
	a := ActorOfPeer("a")
	id := l.spelled("s", everySecond)
	asks := func(term uint64, actor api.Actor) api.Caller {
		return api.Caller{Actor: actor, Fence: &api.Fence{Scope: api.ScopeCluster, Term: term}}
	}
	w := NewWriter(atOnce{l.log}, nil, marking{})
	change := func(term uint64) error {
		_, err := w.ChangeKV(api.WithCaller(t.Context(), asks(term, a)), setKV(id, api.KVBySelf, "k", "v"))
		return err
	}
	if err := change(1); err != nil {
		t.Error(err)
	}
	for _, term := range []uint64{0, 2} {
		if err := change(term); !api.IsKind(err, api.Precondition) || !strings.Contains(err.Error(), "no longer in charge") {
			t.Errorf("in term %d: %v", term, err)
		}
	}
	l.must(a, claimScope, scopeClaim{api.ScopeCluster, "two"})
	before := l.counts()
	if _, err := w.CreateDeal(api.WithCaller(t.Context(), asks(1, operator)), api.DealCreate{Name: "web", Spec: api.DealSpec{Count: 1, Size: "s"}}); !api.IsKind(err, api.Precondition) {
		t.Errorf("a deal of a run that was cut off: %v", err)
	}
	if after := l.counts(); after != before {
		t.Errorf("it was refused, and the tables went from %s to %s", before, after)
	}
	if _, err := w.CreateDeal(api.WithCaller(t.Context(), asks(2, operator)), api.DealCreate{Name: "web", Spec: api.DealSpec{Count: 1, Size: "s"}}); err != nil {
		t.Errorf("in the term in force: %v", err)
	}
	l.must(a, runSpells, api.RunBatch{Scope: api.ScopeCluster, Peer: "a", Term: 2, Release: true})
	if err := change(2); !api.IsKind(err, api.Precondition) {
		t.Errorf("when the runs were given back: %v", err)
	}
}

// TestSuspendedSpells: they do not run, say why, and go on when the account does.
func TestSuspendedSpells(t *testing.T) {
	l := newTurns(t, "a")
	l.makeAccount("co-op")
	id := l.must(ActorOfPeer("a"), deploySpell, spellWrite{Package: "p", Scope: "a", Alias: "s", Account: "co-op", Script: "x", Trigger: everySecond}).Key
	waiting := l.m.Read().ServicesChanged()
	l.must(admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Suspended: true, Reason: "unpaid"}})
	select {
	case <-waiting:
	default:
		t.Error("who waits for spells is not woken")
	}
	if !l.m.Read().Suspended("co-op") || l.m.Read().Suspended(api.DefaultAccount) {
		t.Error("the wrong account is suspended")
	}
	l.begin(id, tick(0), api.Firing{Kind: "manual"})
	l.counted("suspended", id, 0, 0)
	if got := l.status(id); !strings.Contains(got.Disarmed, "unpaid") || got.Ticks != 0 {
		t.Errorf("it says %+v", got)
	}
	l.refused(api.Forbidden, admin, pushMail, mailPush{id, "hello"})
	l.refused(api.Forbidden, admin, changeKV, setKV(id, api.KVByAccount, "w_k", "v"))
	l.must(admin, updateAccount, accountUpdate{Name: "co-op"})
	l.begin(id, tick(0))
	l.counted("and no more", id, 1, 1)
}

// TestLimitsOfWhatIsSaid: the newest 500 lines and 50 errors are kept, cut to length.
func TestLimitsOfWhatIsSaid(t *testing.T) {
	l := newTurns(t, "a")
	id := l.spelled("s", everySecond)
	for n := range int64(52) {
		l.begin(id, tick(n))
		var lines []api.SpellLine
		for k := range 10 {
			lines = append(lines, api.SpellLine{Text: fmt.Sprintf("line %d of run %d", k, n+1)})
		}
		l.ends(id, api.RunFailed, fmt.Sprint("error of run ", n+1), lines...)
	}
	r := l.m.Read()
	if lines := r.SpellLog(id); len(lines) != api.MaxSpellLog || lines[0].Text != "line 0 of run 3" || lines[0].Seq != 21 || lines[499].Seq != 520 || lines[499].Run != 52 {
		t.Errorf("%d lines, from %+v to %+v", len(lines), lines[0], lines[len(lines)-1])
	}
	if errs := r.SpellErrors(id); len(errs) != api.MaxSpellErrors || errs[0].Text != "error of run 3" || errs[49].Run != 52 {
		t.Errorf("%d errors, from %+v to %+v", len(errs), errs[0], errs[len(errs)-1])
	}
	l.begin(id, tick(100))
	many := make([]api.SpellLine, 700)
	many[699].Text = strings.Repeat("é", api.MaxLogLine)
	l.ends(id, api.RunFailed, strings.Repeat("e", 9000), many...)
	r = l.m.Read()
	lines, errs := r.SpellLog(id), r.SpellErrors(id)
	if last := lines[499].Text; len(lines) != api.MaxSpellLog || len(last) > api.MaxLogLine || len(last) < api.MaxLogLine-4 || !strings.HasSuffix(last, "é...") {
		t.Errorf("%d lines, and the last has %d bytes", len(lines), len(lines[499].Text))
	}
	if len(errs[49].Text) != api.MaxLogLine || len(r.SpellStatus(id).Last.Error) != maxRunError {
		t.Errorf("an error has %d bytes, and %d in its run", len(errs[49].Text), len(r.SpellStatus(id).Last.Error))
	}
	through := throughSnapshot(t, l.m)
	if got := through.Read().SpellLog(id); len(got) != api.MaxSpellLog {
		t.Errorf("%d lines are left after a restart", len(got))
	}
	l.must(admin, deleteSpell, spellRemoval{ID: id})
	if n := spellLines.size(l.m.published.Load()); n != 0 {
		t.Errorf("%d lines are left of a spell that is gone", n)
	}
}

func TestMailbox(t *testing.T) {
	l := newTurns(t, "a")
	id := l.spelled("s", api.Trigger{})
	l.must(ActorOfPeer("b"), pushMail, mailPush{id, "first"})
	for n := range api.MaxMailbox - 1 {
		l.must(operator, pushMail, mailPush{id, fmt.Sprint(n)})
	}
	l.refused(api.Conflict, operator, pushMail, mailPush{id, "one too many"})
	box := l.m.Read().Mailbox(id)
	if box[0].Text != "first" || box[0].From != "peer:b" || box[1].From != operator.ID || box[49].Seq != 50 {
		t.Errorf("it holds %+v", box)
	}
	a := ActorOfPeer("a")
	l.refused(api.Precondition, a, popMail, mailPop{id, 2})
	l.must(a, popMail, mailPop{id, 1})
	l.refused(api.Precondition, a, popMail, mailPop{id, 1})
	l.must(operator, pushMail, mailPush{id, "there is room"})
	if box := l.m.Read().Mailbox(id); len(box) != api.MaxMailbox || box[49].Seq != 51 {
		t.Errorf("it holds %d, the last is %+v", len(box), box[49])
	}
	l.refused(api.Forbidden, ActorOfPeer("b"), popMail, mailPop{id, 2})
	l.refused(api.Forbidden, operator, popMail, mailPop{id, 2})
	l.refused(api.NotFound, a, popMail, mailPop{"gone", 2})
	l.refused(api.NotFound, operator, pushMail, mailPush{"gone", "x"})
	l.refused(api.NotFound, boundTo("other", api.RoleOperator), pushMail, mailPush{id, "x"})
	l.refused(api.Forbidden, viewer, pushMail, mailPush{id, "x"})
	l.refused(api.Invalid, a, pushMail, mailPush{id, strings.Repeat("x", 64<<10+1)})
}
