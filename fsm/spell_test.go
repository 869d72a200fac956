package fsm

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func (l *log) spell(id string) api.Spell {
	l.t.Helper()
	s, ok := l.m.Read().Spell(id)
	if !ok {
		l.t.Fatalf("no spell %s", id)
	}
	return s
}

func (l *log) status(id string) api.SpellStatus { return l.m.Read().SpellStatus(id) }

// everySecond is a trigger that has begun long ago.
var everySecond = api.Trigger{Clock: api.Clock{StartSec: 1, PeriodSec: 1}}

func TestSpellsOfUsers(t *testing.T) {
	l := newLog(t, "a", "b")
	l.makeAccount("other")
	w := NewWriter(atOnce{l}, nil, marking{})
	mine := boundTo(api.DefaultAccount, api.RoleOperator)
	done, err := w.CreateSpell(as1(mine), api.SpellCreate{Alias: "watch", Scope: "a", Script: "def run(): pass", Trigger: everySecond,
		KV: map[string]json.RawMessage{"url": json.RawMessage(`"http://x"`), "list": json.RawMessage(`[ 1, 2 ]`)}})
	if err != nil {
		t.Fatal(err)
	}
	s := done.Object
	if s.Account != api.DefaultAccount || s.Scope != "a" || s.CallTTL != api.DefaultCallTTL || s.Version != 1 || !slices.Equal(s.Declared, []string{"list", "url"}) || len(s.Digest) != 64 {
		t.Errorf("made: %+v", s)
	}
	if got := l.values(s.ID); got != "list=[1,2] url=http://x" {
		t.Errorf("it begins with %s", got)
	}
	if got := l.status(s.ID); got.Start != l.at.Unix() || got.Counter != 0 || got.Ticks != 0 {
		t.Errorf("its clock began in the past, which is now: %+v, now is %d", got, l.at.Unix())
	}
	if found, ok := l.m.Read().SpellAt("a", "watch"); !ok || !reflect.DeepEqual(found, s) {
		t.Errorf("by alias: %+v", found)
	}
	write := func(change func(*spellWrite)) spellWrite {
		c := spellWrite{Alias: "new", Scope: "b", Script: "x"}
		change(&c)
		return c
	}
	for _, c := range []struct {
		says  string
		kind  api.Kind
		actor api.Actor
		body  spellWrite
	}{
		{"an alias that is taken", api.Conflict, mine, write(func(c *spellWrite) { c.Alias, c.Scope = "watch", "a" })},
		{"a reserved alias", api.Invalid, mine, write(func(c *spellWrite) { c.Alias = "spell" })},
		{"a UUID", api.Invalid, mine, write(func(c *spellWrite) { c.Alias = s.ID })},
		{"no script", api.Invalid, mine, write(func(c *spellWrite) { c.Script = "" })},
		{"a long script", api.Invalid, mine, write(func(c *spellWrite) { c.Script = strings.Repeat("x", api.MaxScript+1) })},
		{"no such peer", api.Invalid, mine, write(func(c *spellWrite) { c.Scope = "c" })},
		{"no scope", api.Invalid, mine, write(func(c *spellWrite) { c.Scope = "" })},
		{"the cluster's scope", api.Forbidden, operator, write(func(c *spellWrite) { c.Scope = api.ScopeCluster })},
		{"the cluster's scope, bound", api.Forbidden, boundTo(api.DefaultAccount, api.RoleAdmin), write(func(c *spellWrite) { c.Scope = api.ScopeCluster })},
		{"HTTP", api.Forbidden, operator, write(func(c *spellWrite) { c.Grants.HTTP = []string{"x"} })},
		{"tables", api.Forbidden, operator, write(func(c *spellWrite) { c.Grants.Read = []string{"vms"} })},
		{"all accounts", api.Forbidden, boundTo(api.DefaultAccount, api.RoleAdmin), write(func(c *spellWrite) { c.Grants.AnyAccount = true })},
		{"another account", api.Forbidden, mine, write(func(c *spellWrite) { c.Account = "other" })},
		{"a viewer", api.Forbidden, viewer, write(func(*spellWrite) {})},
		{"an end that is over", api.Invalid, mine, write(func(c *spellWrite) { c.Trigger.Clock = api.Clock{StartSec: 5, EndSec: 6} })},
		{"events of nothing", api.Invalid, mine, write(func(c *spellWrite) { c.Trigger.Events = []api.EventMatch{{}} })},
		{"a value that the host keeps", api.Invalid, mine, write(func(c *spellWrite) { c.KV = map[string]string{api.KeyCounter: "1"} })},
	} {
		t.Run(c.says, func(t *testing.T) { l.refused(c.kind, c.actor, createSpell, c.body) })
	}
	l.must(admin, createSpell, write(func(c *spellWrite) {
		c.Scope, c.Grants = api.ScopeCluster, api.Grants{HTTP: []string{"x"}, Read: []string{"vms"}, AnyAccount: true}
	}))
	if _, err := w.CreateSpell(as1(mine), api.SpellCreate{Alias: "y", Scope: "a", Script: "x", Trigger: api.Trigger{Events: []api.EventMatch{{Table: "requests"}}}}); !api.IsKind(err, api.Invalid) {
		t.Errorf("events of bookkeeping: %v", err)
	}
	if _, err := w.CreateSpell(as1(mine), api.SpellCreate{Alias: "y", Scope: "a", Script: "x", KV: map[string]json.RawMessage{"k": json.RawMessage("{")}}); !api.IsKind(err, api.Invalid) {
		t.Errorf("a value that is no JSON: %v", err)
	}
	theirs := boundTo("other", api.RoleOperator)
	l.refused(api.NotFound, theirs, deleteSpell, spellRemoval{ID: s.ID})
	l.refused(api.NotFound, theirs, updateSpellTrigger, spellTrigger{ID: s.ID})
	l.refused(api.Forbidden, viewer, deleteSpell, spellRemoval{ID: s.ID})
	l.refused(api.Forbidden, ActorOfPeer("b"), deleteSpell, spellRemoval{ID: s.ID})
	clustered, _ := l.m.Read().SpellAt(api.ScopeCluster, "new")
	l.refused(api.Forbidden, operator, deleteSpell, spellRemoval{ID: clustered.ID})
	l.must(mine, deleteSpell, spellRemoval{ID: s.ID})
	l.refused(api.NotFound, mine, deleteSpell, spellRemoval{ID: s.ID})
	l.must(ActorOfPeer("b"), deleteSpell, spellRemoval{ID: s.ID}) // a deployer asks for what is so already
	servicesHold(t, 0, l.m.Read())
}

// TestSpellOfPackage: it is made, replaced in place, and left alone when it is as it should be.
func TestSpellOfPackage(t *testing.T) {
	l := newLog(t, "a", "b")
	a := ActorOfPeer("a")
	c := spellWrite{Package: "registry", Scope: "a", Alias: "renew", Script: "one", Trigger: everySecond, KV: map[string]string{"h_url": "u", "old": "1"}}
	id := l.must(a, deploySpell, c).Key
	l.must(a, claimScope, scopeClaim{"a", "one"})
	begin := func(version uint64, tick int64) {
		l.must(a, runSpells, api.RunBatch{Scope: "a", Peer: "a", Term: 1, End: []api.RunEnd{{Spell: id, Number: l.status(id).Counter, State: api.RunSucceeded}},
			Begin: []api.RunBegin{{Spell: id, Version: version, Firing: api.Firing{Kind: "clock", Tick: tick}}}})
	}
	begin(1, 0)
	begin(1, 1)
	l.must(a, changeKV, setKV(id, api.KVBySelf, "mine", "kept", "old", "2"))
	l.must(operator, pushMail, mailPush{id, "hello"})
	was, hash := l.spell(id), spells.rehash(l.m.published.Load())
	start := l.status(id).Start

	if again := l.must(a, deploySpell, c).Key; again != id || spells.rehash(l.m.published.Load()) != hash || l.values(id) != "h_url=u mine=kept old=2" {
		t.Errorf("the same again changed something: %s, %+v, %s", again, l.spell(id), l.values(id))
	}
	c.Script = "two"
	l.must(a, deploySpell, c)
	if is := l.spell(id); is.Script != "two" || is.Version != was.Version+1 || is.Digest == was.Digest || l.values(id) != "h_url=u mine=kept old=2" {
		t.Errorf("another script: %+v, %s", is, l.values(id))
	}
	c.KV = map[string]string{"h_url": "v", "new": "3"}
	l.must(a, deploySpell, c)
	if got := l.values(id); got != "h_url=v mine=kept new=3" {
		t.Errorf("other values: %s", got)
	}
	if got := l.status(id); got.Counter != 2 || got.Ticks != 2 || got.Start != start || len(l.m.Read().Mailbox(id)) != 1 {
		t.Errorf("its runs and mail: %+v, %v", got, l.m.Read().Mailbox(id))
	}
	c.Trigger.Clock.PeriodSec, c.CallTTL = 5, 30
	l.at = l.at.Add(time10s)
	l.must(a, deploySpell, c)
	if got := l.status(id); got.Counter != 2 || got.Ticks != 0 || got.Start != l.at.Unix() {
		t.Errorf("another clock begins anew: %+v, now is %d", got, l.at.Unix())
	}
	version := l.spell(id).Version
	l.must(operator, updateSpellTrigger, spellTrigger{ID: id, IfVersion: version, Trigger: api.Trigger{}})
	l.refused(api.Precondition, operator, updateSpellTrigger, spellTrigger{ID: id, IfVersion: version, Trigger: everySecond})
	l.must(operator, updateSpellTrigger, spellTrigger{ID: id, Trigger: api.Trigger{}})
	if s := l.spell(id); !s.Trigger.Empty() || s.Version != version+1 {
		t.Errorf("with its trigger taken off once: %+v", s)
	}
	l.must(a, deploySpell, c)
	if s := l.spell(id); s.Trigger.Clock.PeriodSec != 5 {
		t.Errorf("the package wants its trigger back: %+v", s)
	}

	other := c
	other.Package = "other"
	l.refused(api.Conflict, a, deploySpell, other)
	l.refused(api.Forbidden, ActorOfPeer("b"), deploySpell, c)
	l.refused(api.Forbidden, admin, deploySpell, c)
	l.must(a, moveAlias, serviceID{l.must(a, deployService, registryOf("a", testSums[0])).Key})
	c.Alias = "registry"
	l.refused(api.Conflict, a, deploySpell, c)
	l.must(admin, createSpell, spellWrite{Alias: "users", Scope: "a", Script: "x"})
	c.Alias = "users"
	l.refused(api.Conflict, a, deploySpell, c)
	l.refused(api.Conflict, admin, createSpell, spellWrite{Alias: "registry", Scope: "a", Script: "x"})

	l.must(a, deleteSpell, spellRemoval{ID: id})
	if got := l.values(id); got != "" || len(l.m.Read().Mailbox(id)) != 0 {
		t.Errorf("it is gone, and left %s", got)
	}
	servicesHold(t, 0, l.m.Read())
}

// TestSpellOfAnotherAccount: a package may be given to another account, and its values with it.
func TestSpellOfAnotherAccount(t *testing.T) {
	l := newLog(t, "a")
	l.makeAccount("co-op")
	a := ActorOfPeer("a")
	c := spellWrite{Package: "p", Scope: "a", Alias: "s", Script: "x", KV: map[string]string{"k": "v"}}
	id := l.must(a, deploySpell, c).Key
	c.Account = "co-op"
	l.must(a, deploySpell, c)
	if e, _ := l.m.Read().KV(id, "k"); e.Account != "co-op" {
		t.Errorf("its value is of %s", e.Account)
	}
	l.refused(api.Conflict, admin, deleteAccount, accountDelete{"co-op"})
	l.must(admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Suspended: true, Reason: "unpaid"}})
	c.Script = "y"
	l.must(a, deploySpell, spellWrite{Package: "p", Scope: "a", Alias: "s", Account: "co-op", Script: "x", KV: c.KV}) // as it is
	l.refused(api.Forbidden, a, deploySpell, c)
	l.must(admin, deleteSpell, spellRemoval{ID: id})
	l.must(admin, deleteAccount, accountDelete{"co-op"})
	servicesHold(t, 0, l.m.Read())
}
