package fsm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/orchd/orchd/api"
)

// spellWrite is a spell as somebody, or a package, wants it.
type spellWrite struct {
	Package string            `cbor:"1,keyasint,omitempty"`
	Alias   string            `cbor:"2,keyasint"`
	Scope   string            `cbor:"3,keyasint"` // cluster, or a peer by name or id
	Account string            `cbor:"4,keyasint,omitempty"`
	Script  string            `cbor:"5,keyasint"`
	KV      map[string]string `cbor:"6,keyasint,omitempty"` // as api.DeclaredKV gives it
	Trigger api.Trigger       `cbor:"7,keyasint"`
	Grants  api.Grants        `cbor:"8,keyasint"`
	CallTTL int64             `cbor:"9,keyasint,omitempty"`
}

// applyCreateSpell installs a spell for its account.
func applyCreateSpell(tx *Txn, c spellWrite) (object, error) {
	const op = "spell.create"
	if c.Account == "" {
		c.Account = defaultAccount(tx.Actor)
	}
	if err := tx.may(api.Create, op, api.Object{Kind: "spell", Account: c.Account}); err != nil {
		return nothing, err
	}
	if err := mayGrant(tx, op, c.Grants); err != nil {
		return nothing, err
	}
	scope, known := scopeNamed(tx.Reader, c.Scope)
	if !known {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: fmt.Sprintf("there is no peer %q whose spell it could be", clipped(c.Scope)),
			Fields: []api.FieldError{{Pointer: "/scope", Detail: "must be cluster, or the name or id of a peer"}}}
	}
	if err := clusterScope(tx, op, scope); err != nil {
		return nothing, err
	}
	c.Package, c.Scope = "", scope
	if err := c.freeAlias(tx.Reader, op); err != nil {
		return nothing, err
	}
	if s, taken := tx.SpellAt(scope, c.Alias); taken {
		return nothing, api.Errorf(api.Conflict, op, "there is a spell with the alias %q already%s", c.Alias, ofPackage(s.Package))
	}
	return c.make(tx, op)
}

// mayGrant refuses grants that lead beyond an account to those who are not admins of everything.
func mayGrant(tx *Txn, op string, g api.Grants) error {
	if (len(g.HTTP) > 0 || len(g.Read) > 0 || g.AnyAccount) && !unboundAdmin(tx.Actor) {
		return api.Errorf(api.Forbidden, op, "the grants http, read and any_account are for admins that are bound to no account")
	}
	return nil
}

// freeAlias refuses an alias that a service has.
func (c spellWrite) freeAlias(r Reader, op string) error {
	if s, taken := services.holder(r, "alias", aliasKey(c.Scope, c.Alias)); taken {
		return api.Errorf(api.Conflict, op, "the alias %q is that of a service%s", c.Alias, ofPackage(s.Package))
	}
	return nil
}

// make puts a new spell into the tables.
func (c spellWrite) make(tx *Txn, op string) (object, error) {
	s := c.spell(tx, api.Spell{})
	if err := c.faults(tx, api.Spell{}).refusal(op, "the spell is not valid"); err != nil {
		return nothing, err
	}
	if err := accountOpen(tx.Reader, op, s.Account); err != nil {
		return nothing, err
	}
	s.ID, s.CreatedAt = tx.newID(), tx.Now
	rearm(tx, api.Spell{ID: s.ID, Scope: s.Scope}, s.Trigger)
	about := putSpell(tx, s)
	return about, c.declare(tx, op, s, nil)
}

// spell is what becomes of a spell.
func (c spellWrite) spell(tx *Txn, was api.Spell) api.Spell {
	s := was
	digest := sha256.Sum256([]byte(c.Script))
	s.Scope, s.Alias, s.Package, s.Account = c.Scope, c.Alias, c.Package, c.Account
	s.Script, s.Digest = c.Script, hex.EncodeToString(digest[:])
	s.Declared, s.KVDigest = slices.Sorted(maps.Keys(c.KV)), api.KVDigest(c.KV)
	s.Trigger, s.Grants, s.CallTTL = c.Trigger, c.Grants, c.CallTTL
	if s.CallTTL == 0 {
		s.CallTTL = api.DefaultCallTTL
	}
	canonicalize(&s)
	return s
}

// faults names what is wrong with a spell that takes the place of was, which is zero for a new one.
func (c spellWrite) faults(tx *Txn, was api.Spell) faults {
	var bad faults
	bad.alias("/alias", c.Alias)
	bad.wrong(c.Script == "" || len(c.Script) > api.MaxScript, "/script", "must be 1 to 65536 bytes")
	bad.wrong(c.CallTTL < 0 || c.CallTTL > api.MaxCallTTL, "/call_ttl", "must be from 1 to 3600 seconds")
	bad.grants(c.Grants)
	bad.trigger(c.Trigger)
	if was.Trigger.Clock != c.Trigger.Clock {
		bad.clock(tx, c.Trigger.Clock)
	}
	for key, text := range ordered(c.KV) {
		bad.wrong(key == "" || len(key) > api.MaxKVKey, "/kv", "must have keys of 1 to 256 bytes")
		bad.wrong(key == api.KeyCounter || key == api.KeyTrigger, "/kv", "hw_counter and hw_trigger are kept by the host")
		bad.wrong(len(text) > api.MaxKVValue, "/kv", "must have values of at most 64 KiB")
	}
	return bad
}

// declare sets the values that a spell is to begin with, and drops those that were set
// so before and are no more.
func (c spellWrite) declare(tx *Txn, op string, s api.Spell, before []string) error {
	was := tx.storeSize(s.ID)
	for _, key := range before {
		if _, still := c.KV[key]; !still {
			spellKV.remove(tx, kvKey(s.ID, key))
		}
	}
	for key, text := range ordered(c.KV) {
		e, there := spellKV.one(tx.Reader, kvKey(s.ID, key))
		if there && e.Kind == api.KVString && e.Text == text {
			continue
		}
		putKV(tx, api.KVEntry{Store: s.ID, Key: key, Scope: s.Scope, Account: s.Account, Kind: api.KVString, Text: text, Version: e.Version})
	}
	return storeFits(tx.Reader, op, s.ID, was)
}

// applyDeploySpell makes a spell what its package says. One that is that already stays
// untouched, and one that is replaced keeps its counter, its mail, and the values that
// the package did not declare.
func applyDeploySpell(tx *Txn, c spellWrite) (object, error) {
	const op = "spell.deploy"
	if err := tx.hosts(op, c.Scope); err != nil {
		return nothing, err
	}
	if !api.ValidName(c.Package) {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the spell is not valid", Fields: []api.FieldError{{Pointer: "/package", Detail: badName}}}
	}
	if c.Account == "" {
		c.Account = api.DefaultAccount
	}
	if err := c.freeAlias(tx.Reader, op); err != nil {
		return nothing, err
	}
	was, there := tx.SpellAt(c.Scope, c.Alias)
	switch {
	case !there:
		return c.make(tx, op)
	case was.Package != c.Package:
		return nothing, api.Errorf(api.Conflict, op, "there is a spell with the alias %q already%s; remove it first: orchd spell remove %s", c.Alias, ofPackage(was.Package), c.Alias)
	}
	is := c.spell(tx, was)
	if reflect.DeepEqual(is, was) {
		return object{table: spells, key: was.ID}, nil
	}
	return c.replace(tx, op, was, is)
}

// replace puts what is to be in the place of what was.
func (c spellWrite) replace(tx *Txn, op string, was, is api.Spell) (object, error) {
	if err := c.faults(tx, was).refusal(op, "the spell is not valid"); err != nil {
		return nothing, err
	}
	if err := accountOpen(tx.Reader, op, is.Account); err != nil {
		return nothing, err
	}
	rearm(tx, was, is.Trigger)
	about := putSpell(tx, is)
	if was.Account != is.Account {
		reassignStore(tx, is.ID, is.Account)
	}
	if was.KVDigest == is.KVDigest {
		return about, nil
	}
	return about, c.declare(tx, op, is, was.Declared)
}

// CreateSpell installs a spell. Its scope must be said: cluster, or a peer by name or id.
func (w *Writer) CreateSpell(ctx context.Context, c api.SpellCreate) (Done[api.Spell], error) {
	return w.writeSpell(ctx, createSpell, api.SpellDeploy{SpellCreate: c})
}

// DeploySpell makes a spell what its package says, for the peer that asks.
func (w *Writer) DeploySpell(ctx context.Context, d api.SpellDeploy) (Done[api.Spell], error) {
	return w.writeSpell(ctx, deploySpell, d)
}

// writeSpell reads what apply must not: JSON, and which tables there are.
func (w *Writer) writeSpell(ctx context.Context, t Type, d api.SpellDeploy) (Done[api.Spell], error) {
	kv, err := api.DeclaredKV(d.KV)
	if err != nil {
		return Done[api.Spell]{}, fault("/kv", err.Error())
	}
	if err := eventTables(d.Trigger); err != nil {
		return Done[api.Spell]{}, err
	}
	done, err := propose[api.Spell](ctx, w, t, spellWrite{d.Package, d.Alias, d.Scope, d.Account, d.Script, kv, d.Trigger, d.Grants, d.CallTTL})
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}
