package fsm

import (
	"time"

	"github.com/orchd/orchd/api"
)

// This file is what a rollback asks of services, spells and their values. What is known
// of the runs of spells does not come back: a firing that was marked stays marked, and
// a spell that was gone begins anew.

func serviceStamps(s *api.Service) (*uint64, *time.Time) { return &s.Version, &s.UpdatedAt }
func spellStamps(s *api.Spell) (*uint64, *time.Time)     { return &s.Version, &s.UpdatedAt }
func valueStamps(e *api.KVEntry) (*uint64, *time.Time)   { return &e.Version, &e.UpdatedAt }
func serviceStays(r Reader, s *api.Service) bool         { return homeless(r, s.Scope, s.Account) }
func spellStays(r Reader, s *api.Spell) bool             { return homeless(r, s.Scope, s.Account) }
func valueStays(r Reader, e *api.KVEntry) bool           { return homeless(r, e.Scope, e.Account) }

// homeless tells whether the account of something, or the peer that it was for, is gone:
// neither is brought back.
func homeless(r Reader, scope, account string) bool {
	_, there := accounts.one(r, account)
	return !there || !scopeLives(r, scope)
}

// hasHome refuses what has no account, or no peer.
func hasHome(r Reader, scope, account string) error {
	if homeless(r, scope, account) {
		return contradiction("its account %q, or the peer of its scope %q, is not there", account, scope)
	}
	return nil
}

// serviceFits: a service has its account and its scope, its alias is no spell's, and
// values are left only of stores that somebody has.
func serviceFits(tx *Txn, was, is *api.Service) error {
	if is != nil {
		if err := hasHome(tx.Reader, is.Scope, is.Account); err != nil {
			return err
		}
		if s, taken := spells.holder(tx.Reader, "alias", aliasKey(is.Scope, is.Alias)); taken && is.Alias != "" {
			return contradiction("the alias %q is that of spell %s", is.Alias, s.ID)
		}
	}
	if was != nil {
		return noValuesLeft(tx.Reader, was.Store)
	}
	return nil
}

// spellFits is serviceFits for spells.
func spellFits(tx *Txn, was, is *api.Spell) error {
	if is == nil {
		return noValuesLeft(tx.Reader, was.ID)
	}
	if err := hasHome(tx.Reader, is.Scope, is.Account); err != nil {
		return err
	}
	if s, taken := services.holder(tx.Reader, "alias", aliasKey(is.Scope, is.Alias)); taken {
		return contradiction("the alias %q is that of service %s", is.Alias, s.ID)
	}
	return nil
}

// spellSettles arms a spell that came back or has another trigger, and forgets the runs
// of one that is gone.
func spellSettles(tx *Txn, was, is *api.Spell) {
	wakeServices(tx)
	switch {
	case is == nil:
		forgetRuns(tx, was.ID)
	case was == nil:
		rearm(tx, api.Spell{ID: is.ID, Scope: is.Scope}, is.Trigger)
	default:
		rearm(tx, *was, is.Trigger)
	}
}

// valueFits: a value is somebody's, of the same account, and its store has room.
func valueFits(tx *Txn, _, is *api.KVEntry) error {
	if is == nil {
		return nil
	}
	owner, known := tx.ownerOf(is.Store)
	switch {
	case !known:
		return contradiction("the spell or service whose value it is is not there")
	case owner.account != is.Account || owner.scope != is.Scope:
		return contradiction("the spell or service whose value it is belongs to account %q and the scope %q now", owner.account, owner.scope)
	}
	if err := storeFits(tx.Reader, restoreOp, is.Store, storeSize{}); err != nil {
		return contradiction("its store would be too large: %s", refusal(err).Msg)
	}
	return nil
}

// noValuesLeft refuses to leave values of a store that nobody has any more.
func noValuesLeft(r Reader, store string) error {
	if _, known := r.ownerOf(store); known {
		return nil
	}
	for e := range kvIn(r, store, "") {
		return contradiction("its value %q would be left of it", e.Key)
	}
	return nil
}
