package fsm

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/orchd/orchd/api"
)

// spells are what runs when its trigger fires. What is known of their runs lies beside
// them in spell_runs, their values in spell_kv, their mail in spell_mail, and what they
// say in spell_lines: it all goes with them.
var spells = &table[api.Spell]{
	name:    "spells",
	key:     func(s *api.Spell) string { return s.ID },
	account: func(s *api.Spell) string { return s.Account },
	by: map[string]func(*api.Spell) string{
		"scope":   func(s *api.Spell) string { return s.Scope },
		"account": func(s *api.Spell) string { return s.Account },
		"connections": func(s *api.Spell) string {
			if s.Trigger.Connections == (api.Connections{}) {
				return ""
			}
			return s.Scope
		},
	},
	unique: map[string]func(*api.Spell) []string{
		"alias": func(s *api.Spell) []string { return []string{aliasKey(s.Scope, s.Alias)} },
	},
}

func putSpell(tx *Txn, s api.Spell) object {
	s.Version++
	s.UpdatedAt = tx.Now
	spells.put(tx, s)
	wakeServices(tx)
	return object{table: spells, key: s.ID}
}

// dropSpell forgets a spell and all that was kept of it.
func dropSpell(tx *Txn, s api.Spell) {
	spells.remove(tx, s.ID)
	dropStore(tx, s.ID)
	forgetRuns(tx, s.ID)
	wakeServices(tx)
}

// userSpell finds a spell that somebody wants to change, and may: those of the cluster's
// scope are for admins that are bound to no account.
func userSpell(tx *Txn, op string, verb api.Verb, id string) (api.Spell, error) {
	s, there := spells.one(tx.Reader, id)
	if err := tx.reach(verb, op, api.Object{Kind: "spell", Account: s.Account}, id, there); err != nil {
		return s, err
	}
	return s, clusterScope(tx, op, s.Scope)
}

// clusterScope refuses who may not have spells in the cluster's scope.
func clusterScope(tx *Txn, op, scope string) error {
	if scope == api.ScopeCluster && !unboundAdmin(tx.Actor) {
		return api.Errorf(api.Forbidden, op, "spells of the scope cluster are for admins that are bound to no account; a spell of a peer is yours to make")
	}
	return nil
}

func unboundAdmin(a api.Actor) bool { return a.Role == api.RoleAdmin && a.Account == "" }

type spellTrigger struct {
	ID        string      `cbor:"1,keyasint"`
	IfVersion uint64      `cbor:"2,keyasint,omitempty"`
	Trigger   api.Trigger `cbor:"3,keyasint"`
}

// applyUpdateSpellTrigger sets when a spell runs.
func applyUpdateSpellTrigger(tx *Txn, c spellTrigger) (object, error) {
	const op = "spell.update-trigger"
	s, err := userSpell(tx, op, api.Update, c.ID)
	if err != nil {
		return nothing, err
	}
	if err := otherVersion(op, "spell "+s.Alias, s.Version, c.IfVersion); err != nil {
		return nothing, err
	}
	canonicalize(&c.Trigger)
	if sameTrigger(s.Trigger, c.Trigger) {
		return object{table: spells, key: s.ID}, nil
	}
	var bad faults
	bad.trigger(c.Trigger)
	if s.Trigger.Clock != c.Trigger.Clock {
		bad.clock(tx, c.Trigger.Clock)
	}
	if err := bad.refusal(op, "the trigger is not valid"); err != nil {
		return nothing, err
	}
	rearm(tx, s, c.Trigger)
	s.Trigger = c.Trigger
	return putSpell(tx, s), nil
}

func sameTrigger(a, b api.Trigger) bool {
	return a.Clock == b.Clock && a.Connections == b.Connections && sameEvents(a.Events, b.Events) && a.Overlap == b.Overlap && a.Missed == b.Missed && a.Retry == b.Retry
}

func sameEvents(a, b []api.EventMatch) bool {
	return slices.EqualFunc(a, b, func(x, y api.EventMatch) bool {
		return x.Table == y.Table && x.Verb == y.Verb && maps.Equal(x.Where, y.Where)
	})
}

type spellRemoval struct {
	ID     string  `cbor:"1,keyasint"`
	Wishes *string `cbor:"2,keyasint,omitempty"` // as in a serviceRemoval; nil: of who knows what he does
}

// applyDeleteSpell forgets a spell. A peer that has a say about its scope may too; for
// it one that is not there is no error.
func applyDeleteSpell(tx *Txn, c spellRemoval) (object, error) {
	const op = "spell.delete"
	s, there := spells.one(tx.Reader, c.ID)
	err := error(nil)
	switch {
	case !isPeer(tx.Actor):
		_, err = userSpell(tx, op, api.Delete, c.ID)
	case there:
		err = tx.hosts(op, s.Scope)
	default:
		_, err = tx.asPeer(op)
	}
	if err != nil || !there {
		return nothing, err
	}
	if err := wishesStand(tx, op, s.Package, c.Wishes); err != nil {
		return nothing, err
	}
	dropSpell(tx, s)
	return nothing, nil
}

// Spells lists the spells by id.
func (r Reader) Spells() iter.Seq[api.Spell] { return spells.each(r, "") }

// Spell finds a spell by id.
func (r Reader) Spell(id string) (api.Spell, bool) { return spells.one(r, id) }

// SpellAt finds the spell that has an alias in a scope.
func (r Reader) SpellAt(scope, alias string) (api.Spell, bool) {
	s, ok := spells.holder(r, "alias", aliasKey(scope, alias))
	if !ok {
		return api.Spell{}, false
	}
	return *s, true
}

// Suspended tells whether an account is suspended, or gone: its spells do not run.
func (r Reader) Suspended(account string) bool { return disarmed(r, account) != "" }

// disarmed is why the spells of an account do not run; empty when they do.
func disarmed(r Reader, account string) string {
	a, known := accounts.one(r, account)
	switch {
	case !known:
		return "its account " + account + " is not there"
	case a.Suspended && a.Reason != "":
		return "its account " + account + " is suspended: " + a.Reason
	case a.Suspended:
		return "its account " + account + " is suspended"
	}
	return ""
}

// UpdateSpellTrigger sets when a spell runs; ifVersion 0 means any version.
func (w *Writer) UpdateSpellTrigger(ctx context.Context, id string, ifVersion uint64, t api.Trigger) (Done[api.Spell], error) {
	if err := eventTables(t); err != nil {
		return Done[api.Spell]{}, err
	}
	return propose[api.Spell](ctx, w, updateSpellTrigger, spellTrigger{id, ifVersion, t})
}

// DeleteSpell forgets a spell with its values, mail, log and what is known of its runs.
func (w *Writer) DeleteSpell(ctx context.Context, id string) error {
	_, err := propose[struct{}](ctx, w, deleteSpell, spellRemoval{ID: id})
	return err
}

// RemoveSpell is DeleteSpell for a peer that no longer wants the spell's package. It fails
// with Precondition when api.WishesOfOthers of that are not wishes any more.
func (w *Writer) RemoveSpell(ctx context.Context, id, wishes string) error {
	_, err := propose[struct{}](ctx, w, deleteSpell, spellRemoval{id, &wishes})
	return err
}
