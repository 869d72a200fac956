package fsm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// system is a random command about services, spells and deals. One in some comes from
// the run of a spell, whose term may be over.
func (s *scribe) system(t *testing.T) []byte {
	return pick(s, []func(*testing.T) []byte{
		s.deploy, s.deploy, s.alias, s.alias, s.undeploy, s.wantSpell, s.wantSpell, s.wantSpell, s.spell, s.spell, s.trigger, s.unspell, s.deployment,
		s.values, s.values, s.values, s.values, s.mail, s.mail, s.unmail, s.unmail, s.claim, s.claim, s.claim, s.runs, s.runs, s.runs, s.runs, s.runs, s.runs,
		s.deal, s.deal, s.deal, s.deal, s.redeal, s.redeal, s.undeal, s.undeal, s.dealReport, s.dealReport,
	})(t)
}

// scope is one that some peer has a say about, and the peer.
func (s *scribe) scope() (string, api.Actor) {
	p := s.member()
	return pick(s, []string{api.ScopeCluster, p.ID, p.ID, p.ID, "p0"}), ActorOfPeer(p.ID)
}

func (s *scribe) someService() api.Service {
	return pick(s, slices.Collect(s.m.Read().Services()))
}
func (s *scribe) someSpell() api.Spell { return pick(s, slices.Collect(s.m.Read().Spells())) }

// hostOf is a peer that has a say about a scope.
func (s *scribe) hostOf(scope string) api.Actor {
	if scope == api.ScopeCluster {
		scope = s.member().ID
	}
	return ActorOfPeer(scope)
}

var randomAliases = []string{"registry", "decider", "x"}

func (s *scribe) deploy(t *testing.T) []byte {
	scope, a := s.scope()
	return s.encoded(t, deployService, a, api.ServiceDeploy{Scope: scope, Alias: pick(s, append(randomAliases, "self")), Package: pick(s, []string{"registry", "decider"}),
		Account: pick(s, randomAccounts), Blueprint: pick(s, testSums), CallTTL: int64(s.rng.IntN(2) * 30), Grants: api.Grants{KV: true, Call: []string{"*"}},
		Modules: []api.Module{{Name: "m", Kind: api.ModuleStarlark, Digest: pick(s, testSums), Bytes: 3, Settings: json.RawMessage(pick(s, []string{"", `{"a":1}`, `{ "a": 1 }`}))}}})
}

// alias is moved to a service that waits for it, mostly.
func (s *scribe) alias(t *testing.T) []byte {
	v := s.someService()
	for other := range s.m.Read().Services() {
		if other.Alias == "" && s.rng.IntN(2) == 0 {
			v = other
		}
	}
	return s.encoded(t, moveAlias, s.hostOf(v.Scope), serviceID{v.ID})
}

func (s *scribe) undeploy(t *testing.T) []byte {
	v := s.someService()
	host, c := s.hostOf(v.Scope), serviceRemoval{ID: v.ID}
	if s.rng.IntN(2) == 0 {
		c.Wishes = new(api.WishesOfOthers(s.m.Read().Deployments(), v.Package, s.member().ID)) // its own, or what another would say
	}
	return s.encoded(t, removeService, host, c)
}

func (s *scribe) someTrigger() api.Trigger {
	return pick(s, []api.Trigger{{}, {Clock: api.Clock{StartSec: 1, PeriodSec: 10}}, {Clock: api.Clock{StartSec: 1}, Overlap: api.OverlapAllow}, {Clock: api.Clock{StartSec: 9, EndSec: 5}},
		{Connections: api.Connections{Connect: true, Disconnect: true}, Overlap: api.OverlapAllow}, {Events: []api.EventMatch{{Table: "vms", Where: map[string]string{"status.state": "failed"}}}}})
}

func (s *scribe) spellOf(scope string) spellWrite {
	w := spellWrite{Scope: scope, Alias: pick(s, append(randomAliases, "y", "z", "No")), Account: pick(s, randomAccounts), Script: pick(s, []string{"def run(): pass", "run = 1"}),
		Trigger: s.someTrigger(), CallTTL: int64(s.rng.IntN(3) * 20), KV: map[string]string{}}
	for range s.rng.IntN(3) {
		w.KV[pick(s, []string{"a", "b", "h_a", "w_a"})] = pick(s, []string{"", "1", `{"x":1}`})
	}
	if s.rng.IntN(8) == 0 {
		w.Grants.HTTP = []string{"example.org"}
	}
	return w
}

func (s *scribe) wantSpell(t *testing.T) []byte {
	scope, a := s.scope()
	w := s.spellOf(scope)
	w.Package = "registry"
	return s.encoded(t, deploySpell, a, w)
}

func (s *scribe) spell(t *testing.T) []byte {
	return s.encoded(t, createSpell, s.actor(), s.spellOf(pick(s, []string{api.ScopeCluster, s.member().Name, s.member().ID, "nobody"})))
}

func (s *scribe) trigger(t *testing.T) []byte {
	return s.encoded(t, updateSpellTrigger, s.actor(), spellTrigger{s.someSpell().ID, uint64(s.rng.IntN(9) / 8), s.someTrigger()})
}

func (s *scribe) unspell(t *testing.T) []byte {
	v := s.someSpell()
	return s.encoded(t, deleteSpell, pick(s, []api.Actor{s.actor(), s.hostOf(v.Scope)}), spellRemoval{ID: v.ID})
}

func (s *scribe) deployment(t *testing.T) []byte {
	scope, a := s.scope()
	peer, _ := peerOf(a)
	return s.encoded(t, reportDeployment, a, api.Deployment{Peer: peer, Package: pick(s, []string{"registry", "decider"}), Scope: scope, State: pick(s, append(packageStates, "dancing")),
		Error: pick(s, []string{"", strings.Repeat("e", 3000)}), Attempts: int64(s.rng.IntN(3)), At: s.at})
}

// fence is that of a term which may be over.
func (s *scribe) fence() *api.Fence {
	if s.rng.IntN(3) > 0 {
		return nil
	}
	h := pick(s, slices.Collect(s.m.Read().Holders()))
	return &api.Fence{Scope: h.Scope, Term: h.Term - uint64(s.rng.IntN(4)/3)}
}

func (s *scribe) values(t *testing.T) []byte {
	store, scope, by := s.someSpell().ID, s.someSpell().Scope, pick(s, []api.KVWriter{api.KVBySelf, api.KVBySelf, api.KVByHost, api.KVByAccount, "them"})
	if v := s.someService(); s.rng.IntN(3) == 0 {
		store, scope = v.Store, v.Scope
	}
	actor := s.hostOf(scope)
	if by == api.KVByAccount {
		actor = s.actor()
	}
	c := api.KVChange{Store: store, By: by}
	prefix := map[api.KVWriter]string{api.KVByHost: pick(s, []string{"h_", "hw_"}), api.KVByAccount: pick(s, []string{"w_", "hw_"})}[by]
	for range 1 + s.rng.IntN(3) {
		op := api.KVOp{Key: prefix + pick(s, []string{"a", "b", "c"}), U32: uint32(s.rng.IntN(2)), Text: pick(s, []string{"", "1", `{"x":2}`}), Field: pick(s, []string{"x", "é\n"}),
			Verb: pick(s, []api.KVVerb{api.KVSet, api.KVSet, api.KVSetU32, api.KVAdd, api.KVPush, api.KVPush, api.KVPop, api.KVTake, api.KVDrop, api.KVField, api.KVRemove, api.KVRemove, api.KVCompare})}
		if e, there := s.m.Read().KV(store, op.Key); there && s.rng.IntN(3) == 0 {
			op.IfVersion = e.Version
			if len(e.List) > 0 {
				op.Text = e.List[len(e.List)-1]
			}
		}
		op.IfAbsent = s.rng.IntN(9) == 0
		c.Ops = append(c.Ops, op)
	}
	return s.encodedBehind(t, changeKV, actor, c, s.fence())
}

func (s *scribe) mail(t *testing.T) []byte {
	return s.encodedBehind(t, pushMail, pick(s, []api.Actor{s.actor(), ActorOfPeer(s.member().ID)}), mailPush{s.someSpell().ID, pick(s, []string{"", "hello"})}, s.fence())
}

func (s *scribe) unmail(t *testing.T) []byte {
	v, seq := s.someSpell(), int64(1)
	for other := range s.m.Read().Spells() {
		if box := s.m.Read().Mailbox(other.ID); len(box) > 0 {
			v, seq = other, box[0].Seq
		}
	}
	return s.encodedBehind(t, popMail, s.hostOf(v.Scope), mailPop{v.ID, seq}, s.fence())
}

func (s *scribe) claim(t *testing.T) []byte {
	scope, a := s.scope()
	return s.encoded(t, claimScope, a, scopeClaim{scope, fmt.Sprint("life ", s.rng.IntN(4))})
}

// runs is what a holder would say: some runs end, and all that can begin are tried.
func (s *scribe) runs(t *testing.T) []byte {
	r := s.m.Read()
	h := pick(s, slices.Collect(r.Holders()))
	b := api.RunBatch{Scope: h.Scope, Peer: h.Peer, Term: h.Term, Release: s.rng.IntN(12) == 0}
	if s.rng.IntN(12) == 0 {
		b.Term++
	}
	if s.rng.IntN(3) == 0 {
		for p := range r.Members() {
			b.Connected = append(b.Connected, p.ID)
		}
	}
	for v := range r.Spells() {
		status := r.SpellStatus(v.ID)
		for _, run := range status.Running {
			if s.rng.IntN(2) == 0 {
				b.End = append(b.End, api.RunEnd{Spell: v.ID, Number: run.Number, State: pick(s, []api.RunState{api.RunSucceeded, api.RunFailed, api.RunInterrupted, "dancing"}),
					Error: pick(s, []string{"", "no such key"}), Log: []api.SpellLine{{Text: "a"}, {Text: "b", At: s.at}}})
			}
		}
		f := pick(s, []api.Firing{{Kind: "clock", Tick: status.Ticks}, {Kind: "clock", Tick: status.Ticks - 1}, {Kind: "manual"}, {Kind: "retry"}, {Kind: "connect", Peer: s.member().ID},
			{Kind: "event", At: fmt.Sprintf("%d.%d", s.index-uint64(s.rng.IntN(3)), s.rng.IntN(3)), Event: json.RawMessage(`{"a":1}`)}, {Kind: "blockchain"}})
		b.Begin = append(b.Begin, api.RunBegin{Spell: v.ID, Version: v.Version - uint64(s.rng.IntN(9)/8), Firing: f, Skip: s.rng.IntN(6) == 0})
	}
	return s.encoded(t, runSpells, ActorOfPeer(h.Peer), b)
}

func (s *scribe) someDeal() api.Deal { return pick(s, slices.Collect(s.m.Read().Deals(""))) }

func (s *scribe) dealSpec() api.DealSpec {
	return pick(s, []api.DealSpec{{Count: 3, Size: "s"}, {Count: 2, VCPUs: 1, MemoryMiB: 512}, {Count: -1}})
}

func (s *scribe) deal(t *testing.T) []byte {
	return s.encodedBehind(t, createDeal, s.actor(), api.DealCreate{Name: pick(s, []string{"web", "db", "No"}), Account: pick(s, randomAccounts), Spec: s.dealSpec(), Inactive: s.rng.IntN(3) == 0}, s.fence())
}

func (s *scribe) redeal(t *testing.T) []byte {
	return s.encoded(t, updateDeal, s.actor(), dealUpdate{s.someDeal().ID, uint64(s.rng.IntN(9) / 8), api.DealUpdate{Spec: s.dealSpec(), State: pick(s, []api.DealState{"", api.DealActive, api.DealInactive, api.DealEnding})}})
}

func (s *scribe) undeal(t *testing.T) []byte {
	return s.encoded(t, deleteDeal, s.actor(), dealDelete{s.someDeal().ID})
}

func (s *scribe) dealReport(t *testing.T) []byte {
	c := api.DealReport{ID: s.someDeal().ID, Reason: pick(s, []string{"", "quota"})}
	for k := range s.rng.IntN(3) {
		c.Workers = append(c.Workers, api.DealVM{Name: fmt.Sprint("web-", k), State: "running"})
	}
	return s.encoded(t, reportDeal, ActorOfPeer(s.member().ID), c)
}

// servicesHold: an alias is that of one service or spell in its scope, values are those
// of somebody and within limits, runs go on only in the term that is in force, and
// nothing is kept of what is gone.
func servicesHold(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	aliases := map[string]string{}
	named := func(scope, alias, id, account string) {
		if other, taken := aliases[scope+"/"+alias]; taken {
			t.Errorf("seed %d: %s and %s have the alias %s/%s", seed, other, id, scope, alias)
		}
		aliases[scope+"/"+alias] = id
		if homeless(r, scope, account) {
			t.Errorf("seed %d: %s of scope %s and account %s has no home", seed, id, scope, account)
		}
	}
	for s := range r.Services() {
		alias := s.Alias
		if alias == "" {
			alias = "without alias " + s.ID
		}
		named(s.Scope, alias, s.ID, s.Account)
		if s.Wanted == "" || s.Alias != "" && s.Alias != s.Wanted {
			t.Errorf("seed %d: service %s has the alias %q and was made for %q", seed, s.ID, s.Alias, s.Wanted)
		}
	}
	for s := range r.Spells() {
		named(s.Scope, s.Alias, s.ID, s.Account)
		if row, known := spellRuns.one(r, s.ID); !known || row.Scope != s.Scope {
			t.Errorf("seed %d: of the runs of spell %s is known %+v", seed, s.ID, row)
		}
	}
	for d := range r.Deals("") {
		if _, there := accounts.one(r, d.Account); !there {
			t.Errorf("seed %d: deal %s is of account %s, which is gone", seed, d.Name, d.Account)
		}
	}
	for d := range r.Deployments() {
		if !scopeLives(r, d.Peer) {
			t.Errorf("seed %d: a deployment is left of peer %s", seed, d.Peer)
		}
	}
	valuesHold(t, seed, r)
	runsHold(t, seed, r)
}

func valuesHold(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	stores := map[string]storeSize{}
	for e := range spellKV.each(r, "") {
		if o, known := r.ownerOf(e.Store); !known || o.account != e.Account || o.scope != e.Scope {
			t.Errorf("seed %d: value %+v is of %+v", seed, e, o)
		}
		size := stores[e.Store]
		stores[e.Store] = storeSize{size.keys + 1, size.bytes + valueBytes(&e)}
	}
	if n := r.state.sums.stores.Len(); n != len(stores) {
		t.Errorf("seed %d: %d stores are said to hold something, %d do", seed, n, len(stores))
	}
	for store, size := range stores {
		if got := r.storeSize(store); got != size {
			t.Errorf("seed %d: store %s is said to hold %+v, and holds %+v", seed, store, got, size)
		}
	}
}

func runsHold(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	for row := range spellRuns.each(r, "") {
		if _, there := spells.one(r, row.Spell); !there {
			t.Errorf("seed %d: the runs of spell %s are left", seed, row.Spell)
		}
		h, held := r.Holder(row.Scope)
		for i, run := range row.Runs {
			if run.State == api.RunRunning && (!held || run.Term != h.Term || run.Peer != h.Peer) {
				t.Errorf("seed %d: run %d of %s goes on in term %d, and in force is %+v", seed, run.Number, row.Spell, run.Term, h)
			}
			if newest := i == len(row.Runs)-1; newest != (run.Number == row.Counter) || !newest && run.State != api.RunRunning {
				t.Errorf("seed %d: of %d runs of %s these are kept: %+v", seed, row.Counter, row.Spell, row.Runs)
			}
		}
	}
	lines := map[string]int{}
	for l := range spellLines.each(r, "") {
		lines[l.Spell+l.Kind]++
		if _, there := spells.one(r, l.Spell); !there || lines[l.Spell+l.Kind] > api.MaxSpellLog || l.Kind == lineError && lines[l.Spell+l.Kind] > api.MaxSpellErrors {
			t.Errorf("seed %d: line %d of spell %s, which is there: %v, is too much", seed, l.Seq, l.Spell, there)
		}
	}
	for m := range spellMail.each(r, "") {
		if _, there := spells.one(r, m.Spell); !there || len(r.Mailbox(m.Spell)) > api.MaxMailbox {
			t.Errorf("seed %d: message %d to spell %s, which is there: %v, is too much", seed, m.Seq, m.Spell, there)
		}
	}
}

// counters remembers how many runs spells had: they get more, and ticks are never taken back.
type counters map[string][2]int64

func (c counters) rise(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	now := counters{}
	for s := range r.Spells() {
		status := r.SpellStatus(s.ID)
		now[s.ID] = [2]int64{status.Counter, int64(s.Version)}
		if was := c[s.ID]; status.Counter < was[0] || int64(s.Version) < was[1] {
			t.Errorf("seed %d: spell %s had %d runs and version %d, and has %d and %d", seed, s.ID, was[0], was[1], status.Counter, s.Version)
		}
	}
	clear(c)
	for id, n := range now {
		c[id] = n
	}
}
