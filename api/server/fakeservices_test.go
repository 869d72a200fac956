package server

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

const (
	serviceID    = "5e000000-0000-4000-8000-000000000001"
	hereID       = "5e000000-0000-4000-8000-000000000002"
	spellID      = "59000000-0000-4000-8000-000000000001"
	otherSpellID = "59000000-0000-4000-8000-000000000002"
	wholeSpellID = "59000000-0000-4000-8000-000000000003"
	dealID       = "dea10000-0000-4000-8000-000000000001"
	otherDealID  = "dea10000-0000-4000-8000-000000000002"
)

// fakeServices is the part of a Backend that concerns services, spells and deals.
type fakeServices struct {
	fake *fake
	serviceTables
	call   func(svc api.Service, function string, args json.RawMessage) (json.RawMessage, error) // nil: an echo
	called []string                                                                              // "ALIAS FUNCTION ARGS" of each call
	failed []string
	silent error // of the peer that has the modules
}

// serviceTables are what a view shows of it.
type serviceTables struct {
	services    map[string]api.Service
	spells      map[string]api.SpellView
	lines       map[string][]api.SpellLine
	mails       map[string][]api.Mail
	values      map[string]api.KVEntry // by STORE/KEY
	deployments map[string]api.Deployment
	deals       map[string]api.Deal
}

func (t serviceTables) clone() serviceTables {
	return serviceTables{maps.Clone(t.services), maps.Clone(t.spells), maps.Clone(t.lines), maps.Clone(t.mails), maps.Clone(t.values),
		maps.Clone(t.deployments), maps.Clone(t.deals)}
}

// fillServices puts back what stands there at first.
func (s *fakeServices) fillServices() {
	module := []api.Module{{Name: "registry", Kind: api.ModuleStarlark, Digest: "ab", Bytes: 12}}
	service := api.Service{ID: serviceID, Scope: api.ScopeCluster, Alias: "registry", Package: "registry", Account: "default", Modules: module,
		Access: api.Access{Viewer: []string{"lookup"}, Admin: []string{"set_root"}}, CallTTL: 60, Store: serviceID, Version: 7}
	here := service
	here.ID, here.Scope, here.Alias, here.Package, here.Store = hereID, peerID, "ipfs", "aqua-ipfs", hereID
	spell := api.Spell{ID: spellID, Scope: peerID, Alias: "beat", Account: "default", Script: "def run():\n  pass\n", Trigger: api.Trigger{Clock: api.Clock{StartSec: 1, PeriodSec: 60}}, CallTTL: 60, Version: 3}
	theirs := spell
	theirs.ID, theirs.Alias, theirs.Account = otherSpellID, "theirs", "other"
	whole := spell
	whole.ID, whole.Alias, whole.Scope = wholeSpellID, "whole", api.ScopeCluster
	s.serviceTables = serviceTables{
		services:    map[string]api.Service{serviceID: service, hereID: here},
		spells:      map[string]api.SpellView{spellID: {Spell: spell, Status: api.SpellStatus{Counter: 2, Succeeded: 2}}, otherSpellID: {Spell: theirs}, wholeSpellID: {Spell: whole}},
		lines:       map[string][]api.SpellLine{spellID: {{Seq: 1, Run: 1, Text: "one"}, {Seq: 2, Run: 1, Text: "two"}, {Seq: 10, Run: 2, Text: "three"}}},
		mails:       map[string][]api.Mail{spellID: {{Seq: 4, From: "token:a", Text: "first"}, {Seq: 5, From: "token:b", Text: "second"}}},
		values:      map[string]api.KVEntry{},
		deployments: map[string]api.Deployment{},
		deals: map[string]api.Deal{
			dealID:      {ID: dealID, Name: "front", Account: "default", Spec: api.DealSpec{Count: 3, Size: "f1-s", Spread: "peer"}, State: api.DealActive, Version: 5},
			otherDealID: {ID: otherDealID, Name: "theirs", Account: "other", Spec: api.DealSpec{Count: 1, Size: "f1-s"}, State: api.DealActive, Version: 1},
		},
	}
	for _, e := range []api.KVEntry{{Key: "hw_counter", Kind: api.KVU32, U32: 2}, {Key: "seen", Kind: api.KVString, Text: "x"}, {Key: "w_limit", Kind: api.KVU32, U32: 9}, {Key: "w_names", Kind: api.KVList, List: []string{"a"}}} {
		e.Store, e.Account, e.Version = spellID, "default", 4
		s.values[spellID+"/"+e.Key] = e
	}
	for _, d := range []api.Deployment{{Peer: peerID, Package: "registry", Version: "1.0.0", Scope: api.ScopeCluster, State: api.PackageExisting, Enabled: true},
		{Peer: peerID, Package: "aqua-ipfs", Version: "1.0.0", Scope: peerID, State: api.PackageFailed, Error: "no peer has the module", Attempts: 3, Enabled: true}} {
		s.deployments[d.Peer+"/"+d.Package] = d
	}
	s.call, s.silent = nil, nil
}

func (s *fakeServices) CreateSpell(ctx context.Context, c api.SpellCreate) (Done[api.Spell], error) {
	what := fmt.Sprintf("spell.create %s %s/%s", c.Scope, c.Account, c.Alias)
	return stored(s.fake.fakeGuests, ctx, what, s.bareSpells, func() (string, api.Spell, error) {
		x := api.Spell{ID: s.fake.madeID(), Scope: c.Scope, Alias: c.Alias, Account: c.Account, Script: c.Script, Trigger: c.Trigger, Grants: c.Grants, CallTTL: 60, Version: 1}
		s.spells[x.ID] = api.SpellView{Spell: x}
		return x.ID, x, nil
	})
}

func (s *fakeServices) bareSpells() map[string]api.Spell {
	all := map[string]api.Spell{}
	for id, x := range s.spells {
		all[id] = x.Spell
	}
	return all
}

func (s *fakeServices) UpdateSpellTrigger(ctx context.Context, id string, ifVersion uint64, t api.Trigger) (Done[api.Spell], error) {
	return stored(s.fake.fakeGuests, ctx, fmt.Sprintf("spell.trigger %s %d %d", id, ifVersion, t.Clock.PeriodSec), s.bareSpells, func() (string, api.Spell, error) {
		x, there := s.spells[id]
		if !there {
			return "", api.Spell{}, notFound("spell")
		}
		if err := freshAt(x.Version, ifVersion); err != nil {
			return "", api.Spell{}, err
		}
		x.Trigger, x.Version = t, x.Version+1
		s.spells[id] = x
		return id, x.Spell, nil
	})
}

func (s *fakeServices) DeleteSpell(ctx context.Context, id string) error {
	return forgotten(s.fake.fakeGuests, ctx, "spell", id, s.spells)
}

// ChangeKV keeps to versions as apply does, and to who may write what.
func (s *fakeServices) ChangeKV(ctx context.Context, c api.KVChange) (Done[api.KVEntry], error) {
	what := "kv"
	for _, op := range c.Ops {
		what += fmt.Sprintf(" %s %s %s%d", op.Verb, op.Key, op.Text, op.U32)
	}
	last := c.Store + "/" + c.Ops[len(c.Ops)-1].Key
	return stored(s.fake.fakeGuests, ctx, what, func() map[string]api.KVEntry { return s.values }, func() (string, api.KVEntry, error) {
		values := maps.Clone(s.values)
		for _, op := range c.Ops {
			at := c.Store + "/" + op.Key
			old, there := values[at]
			if op.IfAbsent && there || !c.By.MayWrite(op.Key) {
				return "", old, &api.Error{Kind: api.Precondition, Msg: "it is not as it should be"}
			}
			if err := freshAt(old.Version, op.IfVersion); err != nil {
				return "", old, err
			}
			next := api.KVEntry{Store: c.Store, Key: op.Key, Account: "default", Version: old.Version + 1}
			switch op.Verb {
			case api.KVSet:
				next.Kind, next.Text = api.KVString, op.Text
			case api.KVSetU32:
				next.Kind, next.U32 = api.KVU32, op.U32
			case api.KVPush:
				next.Kind, next.List = api.KVList, append(slices.Clone(old.List), op.Text)
			case api.KVRemove:
				delete(values, at)
				continue
			case api.KVCompare:
				continue
			}
			values[at] = next
		}
		s.values = values
		return last, values[last], nil
	})
}

func (s *fakeServices) PushMail(ctx context.Context, spell, text string) error {
	none := func() map[string]string { return nil }
	_, err := stored(s.fake.fakeGuests, ctx, "mail.push "+spell+" "+text, none, func() (string, string, error) {
		if len(s.mails[spell]) >= api.MaxMailbox {
			return "", "", &api.Error{Kind: api.Conflict, Msg: "the mailbox is full"}
		}
		s.mails[spell] = append(s.mails[spell], api.Mail{Seq: 6, Text: text})
		return spell, "", nil
	})
	return err
}

func (s *fakeServices) dealTable() map[string]api.Deal { return s.deals }

func (s *fakeServices) CreateDeal(ctx context.Context, c api.DealCreate) (Done[api.Deal], error) {
	return stored(s.fake.fakeGuests, ctx, fmt.Sprintf("deal.create %s/%s %d", c.Account, c.Name, c.Spec.Count), s.dealTable, func() (string, api.Deal, error) {
		d := api.Deal{ID: s.fake.madeID(), Name: c.Name, Account: c.Account, Spec: c.Spec, State: api.DealActive, Version: 1}
		s.deals[d.ID] = d
		return d.ID, d, nil
	})
}

func (s *fakeServices) UpdateDeal(ctx context.Context, id string, ifVersion uint64, u api.DealUpdate) (Done[api.Deal], error) {
	return stored(s.fake.fakeGuests, ctx, fmt.Sprintf("deal.update %s %d %d %s%s %s", id, ifVersion, u.Spec.Count, u.Spec.Size, u.Spec.Spread, u.State), s.dealTable, func() (string, api.Deal, error) {
		d, there := s.deals[id]
		if !there {
			return "", d, notFound("deal")
		}
		if err := freshAt(d.Version, ifVersion); err != nil {
			return "", d, err
		}
		d.Spec, d.Version = u.Spec, d.Version+1
		if u.State != "" {
			d.State = u.State
		}
		s.deals[id] = d
		return id, d, nil
	})
}

func (s *fakeServices) DeleteDeal(ctx context.Context, id string) (Done[api.Deal], error) {
	return stored(s.fake.fakeGuests, ctx, "deal.delete "+id, s.dealTable, func() (string, api.Deal, error) {
		d, there := s.deals[id]
		if !there {
			return "", d, notFound("deal")
		}
		d.State, d.Version = api.DealEnding, d.Version+1
		s.deals[id] = d
		return id, d, nil
	})
}

func (s *fakeServices) CallService(_ context.Context, svc api.Service, function string, args json.RawMessage) (json.RawMessage, error) {
	s.called = append(s.called, svc.Alias+" "+function+" "+string(args))
	if s.call != nil {
		return s.call(svc, function, args)
	}
	return args, nil
}

func (s *fakeServices) RunSpell(ctx context.Context, x api.Spell) (api.SpellRun, error) {
	if err := s.fake.write(ctx, "spell.run "+x.ID); err != nil {
		return api.SpellRun{}, err
	}
	return api.SpellRun{Number: 3, Firing: api.Firing{Kind: "manual"}, Peer: peerID, Term: 1, State: api.RunRunning}, nil
}

func (s *fakeServices) CheckScript(_ context.Context, script string) error {
	for i, line := range strings.Split(script, "\n") {
		if strings.Contains(line, "syntax error") {
			return api.Errorf(api.Invalid, "script", "%d:1: got an error", i+1)
		}
	}
	return nil
}

func (s *fakeServices) Functions(context.Context, api.Service) ([]string, error) {
	return []string{"set_root", "lookup", "register", "_hidden"}, s.silent
}

func (t serviceTables) Services(after string) iter.Seq[api.Service] { return rows(t.services, after) }

// inScope tells whether a row of a scope is found when somebody looks in want, and
// this peer is the one that is asked.
func inScope(want, scope string) bool {
	switch want {
	case "":
		return scope == peerID || scope == api.ScopeCluster
	case "h1":
		return scope == peerID
	}
	return scope == want
}

func (t serviceTables) Service(scope, ref string) (api.Service, error) {
	for x := range t.Services("") {
		if x.ID == ref || x.Alias == ref && inScope(scope, x.Scope) {
			return x, nil
		}
	}
	return api.Service{}, notFound("service")
}

func (t serviceTables) Spells(after string) iter.Seq[api.SpellView] { return rows(t.spells, after) }

func (t serviceTables) Spell(scope, ref string) (api.SpellView, error) {
	for x := range t.Spells("") {
		if x.ID == ref || x.Alias == ref && inScope(scope, x.Scope) {
			return x, nil
		}
	}
	return api.SpellView{}, notFound("spell")
}

func (t serviceTables) SpellLog(id string) []api.SpellLine    { return t.lines[id] }
func (t serviceTables) SpellErrors(id string) []api.SpellLine { return t.lines[id] }
func (t serviceTables) Mailbox(id string) []api.Mail          { return t.mails[id] }

func (t serviceTables) KV(store, key string) (api.KVEntry, error) {
	if e, there := t.values[store+"/"+key]; there {
		return e, nil
	}
	return api.KVEntry{}, notFound("value")
}

func (t serviceTables) KVs(store, prefix string) iter.Seq[api.KVEntry] {
	return func(yield func(api.KVEntry) bool) {
		for e := range rows(t.values, "") {
			if e.Store == store && strings.HasPrefix(e.Key, prefix) && !yield(e) {
				return
			}
		}
	}
}

func (t serviceTables) Deployments(after string) iter.Seq[api.Deployment] {
	return rows(t.deployments, after)
}

func (t serviceTables) Deals(after string) iter.Seq[api.Deal] { return rows(t.deals, after) }

func (t serviceTables) Deal(account, ref string) (api.Deal, error) {
	for d := range t.Deals("") {
		if d.ID == ref || d.Name == ref && d.Account == account {
			return d, nil
		}
	}
	return api.Deal{}, notFound("deal")
}

func (s *fakeServices) FailedPackages() []string { return s.failed }
