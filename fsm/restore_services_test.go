package fsm

import (
	"reflect"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestRollbackOfServices: services, spells and their values come back as they were; how
// often spells ran does not.
func TestRollbackOfServices(t *testing.T) {
	a := ActorOfPeer("a")
	deployed := func(p *past, blueprint string) string {
		id := p.must(a, deployService, registryOf("a", blueprint)).Key
		p.must(a, moveAlias, serviceID{id})
		return id
	}
	spelled := func(p *past, alias, script string, trigger api.Trigger, kv map[string]string) string {
		return p.must(a, deploySpell, spellWrite{Package: "p", Scope: "a", Alias: alias, Script: script, Trigger: trigger, KV: kv}).Key
	}
	var one, changed, dropped string
	p := newPast(t, func(p *past) {
		p.makeAccount("gone")
		one = deployed(p, testSums[0])
		p.must(a, changeKV, setKV(one, api.KVBySelf, "names", "old"))
		changed = spelled(p, "changed", "one", everySecond, map[string]string{"k": "v"})
		dropped = spelled(p, "dropped", "one", everySecond, map[string]string{"k": "v"})
		p.must(admin, createSpell, spellWrite{Alias: "orphan", Scope: "a", Account: "gone", Script: "x", KV: map[string]string{"k": "v"}})
		p.must(a, claimScope, scopeClaim{"a", "one"})
	})
	two := deployed(p, testSums[1])
	p.must(a, removeService, serviceID{one})
	p.must(a, changeKV, setKV(one, api.KVBySelf, "names", "new", "more", "x"))
	spelled(p, "changed", "two", api.Trigger{}, map[string]string{"k": "w"})
	p.must(a, deleteSpell, spellRemoval{ID: dropped})
	orphan, _ := p.m.Read().SpellAt("a", "orphan")
	p.must(admin, deleteSpell, spellRemoval{ID: orphan.ID})
	p.must(admin, deleteAccount, accountDelete{"gone"})
	late := spelled(p, "late", "x", everySecond, map[string]string{"k": "v"})
	p.must(operator, pushMail, mailPush{late, "hello"})
	p.must(a, runSpells, api.RunBatch{Scope: "a", Peer: "a", Term: 1, Begin: []api.RunBegin{
		{Spell: changed, Version: p.spell(changed).Version, Firing: api.Firing{Kind: "manual"}}, {Spell: late, Version: 1, Firing: tick(0)}}})

	d := p.difference()
	want := []api.TableDifference{{Table: "services", Create: 1, Delete: 1}, {Table: "spells", Create: 1, Update: 1, Delete: 1}, {Table: "spell_kv", Create: 1, Update: 2, Delete: 2}}
	if !reflect.DeepEqual(d.Tables, want) {
		t.Errorf("the difference is %+v, want %+v", d.Tables, want)
	}
	waiting, version := p.m.Read().ServicesChanged(), p.spell(changed).Version
	if _, err := p.w.RestoreState(asAdmin(), d); err != nil {
		t.Fatal(err)
	}
	select {
	case <-waiting:
	default:
		t.Error("who waits for services is not woken")
	}
	r := p.m.Read()
	if s, _ := r.ServiceAt("a", "registry"); s.ID != one || p.values(one) != "names=old" {
		t.Errorf("it answers: %+v, with %s", s, p.values(one))
	}
	if _, there := r.Service(two); there {
		t.Error("the service that took its place is left")
	}
	if s := p.spell(changed); s.Script != "one" || s.Version <= version || p.values(changed) != "k=v" {
		t.Errorf("changed: %+v, with %s", s, p.values(changed))
	}
	if got := r.SpellStatus(changed); got.Counter != 1 || got.Start != p.at.Unix() || got.Ticks != 0 {
		t.Errorf("its runs: %+v, its clock begins anew at %d", got, p.at.Unix())
	}
	if got := r.SpellStatus(dropped); p.values(dropped) != "k=v" || got.Start != p.at.Unix() || got.Counter != 0 {
		t.Errorf("one that was gone: %+v, with %s", got, p.values(dropped))
	}
	if _, there := r.SpellAt("a", "orphan"); there {
		t.Error("a spell has come back and its account has not")
	}
	if _, there := r.Spell(late); there || p.values(late) != "" || len(r.Mailbox(late)) != 0 {
		t.Error("something is left of a spell that came later")
	}
	if again := p.difference(); !again.Empty() {
		t.Errorf("still to do is %v", again.Tables)
	}
	servicesHold(t, 0, r)
}

// TestServiceRollbackMeetsChanges: what services and spells need, or need them, is looked at in apply.
func TestServiceRollbackMeetsChanges(t *testing.T) {
	a := ActorOfPeer("a")
	spell := spellWrite{Package: "p", Scope: "a", Alias: "registry", Account: "co-op", Script: "x"}
	dropped := func(p *past) {
		p.makeAccount("co-op")
		p.must(a, deleteSpell, spellRemoval{ID: p.must(a, deploySpell, spell).Key})
	}
	past := func(t *testing.T) *past {
		var id string
		p := newPast(t, func(p *past) {
			p.makeAccount("co-op")
			id = p.must(a, deploySpell, spell).Key
		})
		p.must(a, deleteSpell, spellRemoval{ID: id})
		return p
	}
	t.Run("an account goes", func(t *testing.T) {
		p := past(t)
		p.refusedAfter(func() { p.must(admin, deleteAccount, accountDelete{"co-op"}) }, `its account "co-op"`)
	})
	t.Run("a service takes the alias", func(t *testing.T) {
		p := past(t)
		d := p.difference()
		p.must(a, moveAlias, serviceID{p.must(a, deployService, registryOf("a", testSums[0])).Key})
		if _, err := p.w.RestoreState(asAdmin(), d); !api.IsKind(err, api.Conflict) {
			t.Errorf("a spell comes back and a service has its alias: %v", err)
		}
	})
	t.Run("a value comes to a store that goes", func(t *testing.T) {
		p := newPast(t, dropped)
		id := p.must(a, deploySpell, spell).Key
		p.refusedAfter(func() { p.must(a, changeKV, setKV(id, api.KVBySelf, "k", "v")) }, `its value "k" would be left`)
	})
}
