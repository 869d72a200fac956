package fsm

import (
	"math"
	"slices"

	"github.com/orchd/orchd/api"
)

// This file is how values change: the ops of a command take effect together, each on
// what those before it have left.

const (
	// maxKVOps bounds what one command does: apply must not be held up.
	maxKVOps = 1000
	// maxListBytes bounds a list, which is copied and hashed whole when it changes.
	maxListBytes = 1 << 20
)

// applyChangeKV changes values of a store, all or none.
func applyChangeKV(tx *Txn, c api.KVChange) (object, error) {
	const op = "kv.change"
	owner, known := tx.ownerOf(c.Store)
	if err := mayChangeKV(tx, op, c, owner, known); err != nil {
		return nothing, err
	}
	if len(c.Ops) == 0 || len(c.Ops) > maxKVOps {
		return nothing, api.Errorf(api.Invalid, op, "a change must have 1 to %d ops, this one has %d", maxKVOps, len(c.Ops))
	}
	work := kvWork{tx: tx, op: op, store: c.Store, owner: owner, values: map[string]*kvValue{}}
	for _, do := range c.Ops {
		if owner.spell && do.Verb != api.KVCompare && !c.By.MayWrite(do.Key) {
			return nothing, api.Errorf(api.Forbidden, op, "the key %q is not for %s to write: h_ is for the host, w_ for the account, hw_ for both, all others for the spell itself, and hw_counter and hw_trigger are kept with its runs",
				do.Key, c.By)
		}
		if err := work.do(do); err != nil {
			return nothing, err
		}
	}
	if err := work.write(); err != nil {
		return nothing, err
	}
	return object{table: spellKV, key: kvKey(c.Store, c.Ops[len(c.Ops)-1].Key)}, nil
}

// mayChangeKV asks whether the actor may write in the name that it says it writes in.
func mayChangeKV(tx *Txn, op string, c api.KVChange, owner storeOwner, known bool) error {
	switch c.By {
	case api.KVBySelf, api.KVByHost:
		if _, err := tx.asPeer(op); err != nil {
			return err
		}
		if !known {
			return api.Errorf(api.NotFound, op, "no store %s", clipped(c.Store))
		}
		return tx.hosts(op, owner.scope)
	case api.KVByAccount:
		kind := "spell"
		if !owner.spell {
			kind = "service"
		}
		if err := tx.reach(api.Read, op, api.Object{Kind: kind, Account: owner.account}, clipped(c.Store), known); err != nil {
			return err
		}
		if !owner.spell {
			return api.Errorf(api.Forbidden, op, "the values of a service are its own: call its functions")
		}
		if err := tx.may(api.Update, op, api.Object{Kind: kind, Account: owner.account}); err != nil {
			return err
		}
		return accountOpen(tx.Reader, op, owner.account)
	}
	return api.Errorf(api.Invalid, op, "values are changed by host, account or self, not by %q", clipped(string(c.By)))
}

// kvWork is a change of values before it is written.
type kvWork struct {
	tx     *Txn
	op     string
	store  string
	owner  storeOwner
	values map[string]*kvValue
	order  []string // in which keys were first named
}

// kvValue is a value as the ops so far have left it.
type kvValue struct {
	api.KVEntry
	there, stored, changed bool // stored: it was there before
	owned                  bool // its list is no longer that of the row
}

func (w *kvWork) value(key string) *kvValue {
	v, named := w.values[key]
	if !named {
		e, there := spellKV.one(w.tx.Reader, kvKey(w.store, key))
		v = &kvValue{KVEntry: e, there: there, stored: there}
		w.values[key], w.order = v, append(w.order, key)
	}
	return v
}

// do takes one op.
func (w *kvWork) do(c api.KVOp) error {
	if c.Key == "" || len(c.Key) > api.MaxKVKey {
		return api.Errorf(api.Invalid, w.op, "a key has 1 to %d bytes, not %d", api.MaxKVKey, len(c.Key))
	}
	if len(c.Text) > api.MaxKVValue {
		return api.Errorf(api.Invalid, w.op, "a value has at most %d bytes, not %d as that of %q", api.MaxKVValue, len(c.Text), c.Key)
	}
	v := w.value(c.Key)
	if c.IfAbsent && v.there {
		return w.otherwise("the key %q has a value already", c.Key)
	}
	if c.IfVersion != 0 && (!v.there || v.Version != c.IfVersion) {
		return w.otherwise("the value of %q is not the one of version %d any more; read it again", c.Key, c.IfVersion)
	}
	switch c.Verb {
	case api.KVCompare:
		return nil
	case api.KVSet:
		w.put(v, api.KVEntry{Kind: api.KVString, Text: c.Text})
	case api.KVSetU32:
		w.put(v, api.KVEntry{Kind: api.KVU32, U32: c.U32})
	case api.KVRemove:
		v.changed = v.changed || v.there
		v.there = false
	case api.KVAdd:
		return w.add(v, c)
	case api.KVField:
		return w.field(v, c)
	case api.KVPush, api.KVPop, api.KVTake, api.KVDrop:
		return w.list(v, c)
	default:
		return api.Errorf(api.Invalid, w.op, "there is no op %q on values", clipped(string(c.Verb)))
	}
	return nil
}

// otherwise refuses an op that finds something else than it was told.
func (w *kvWork) otherwise(format string, args ...any) error {
	return api.Errorf(api.Precondition, w.op, format, args...)
}

// put gives a value another content; the same as before is no change.
func (w *kvWork) put(v *kvValue, is api.KVEntry) {
	if v.there && v.Kind == is.Kind && v.Text == is.Text && v.U32 == is.U32 && slices.Equal(v.List, is.List) {
		return
	}
	v.Kind, v.Text, v.U32, v.List = is.Kind, is.Text, is.U32, is.List
	v.there, v.changed = true, true
}

// kindIs refuses a value of another kind than an op is for.
func (w *kvWork) kindIs(v *kvValue, key string, want api.KVKind) error {
	if v.there && v.Kind != want {
		return api.Errorf(api.Conflict, w.op, "the value of %q is a %s, not a %s", key, v.Kind, want)
	}
	return nil
}

func (w *kvWork) add(v *kvValue, c api.KVOp) error {
	if err := w.kindIs(v, c.Key, api.KVU32); err != nil {
		return err
	}
	now := uint32(0)
	if v.there {
		now = v.U32
	}
	if c.U32 > math.MaxUint32-now {
		return api.Errorf(api.Conflict, w.op, "%d and %d are more than the value of %q can be, which is at most %d", now, c.U32, c.Key, uint32(math.MaxUint32))
	}
	w.put(v, api.KVEntry{Kind: api.KVU32, U32: now + c.U32})
	return nil
}

func (w *kvWork) field(v *kvValue, c api.KVOp) error {
	if err := w.kindIs(v, c.Key, api.KVString); err != nil {
		return err
	}
	text := "{}"
	if v.there {
		text = v.Text
	}
	if c.Text != "" && !validJSON(c.Text) {
		return api.Errorf(api.Invalid, w.op, "the new value of the field %q is no JSON", clipped(c.Field))
	}
	is, ok := withField(text, c.Field, c.Text)
	if !ok {
		return api.Errorf(api.Conflict, w.op, "the value of %q is no JSON object", c.Key)
	}
	if len(is) > api.MaxKVValue {
		return api.Errorf(api.Conflict, w.op, "the value of %q would have %d bytes, %d is the most", c.Key, len(is), api.MaxKVValue)
	}
	w.put(v, api.KVEntry{Kind: api.KVString, Text: is})
	return nil
}

// list takes an op on a list. An empty list stays a list.
func (w *kvWork) list(v *kvValue, c api.KVOp) error {
	if err := w.kindIs(v, c.Key, api.KVList); err != nil {
		return err
	}
	if !v.there {
		v.List, v.owned = nil, true
	}
	at := len(v.List) - 1
	switch c.Verb {
	case api.KVPush:
		return w.push(v, c)
	case api.KVDrop:
		if slices.Contains(v.List, c.Text) {
			v.own()
			v.List = slices.DeleteFunc(v.List, func(s string) bool { return s == c.Text })
			v.changed = true
		}
		return nil
	case api.KVTake:
		at = int(c.U32)
	}
	if at < 0 || at >= len(v.List) || v.List[at] != c.Text {
		return w.otherwise("the list %q has something else there, or nothing: it was changed meanwhile; read it again", c.Key)
	}
	v.own()
	v.List = slices.Delete(v.List, at, at+1)
	v.changed = true
	return nil
}

func (w *kvWork) push(v *kvValue, c api.KVOp) error {
	if len(v.List) >= api.MaxKVList {
		return api.Errorf(api.Conflict, w.op, "the list %q has %d elements, which is the most; remove some first", c.Key, len(v.List))
	}
	v.own()
	v.Kind, v.Text, v.U32, v.List = api.KVList, "", 0, append(v.List, c.Text)
	v.there, v.changed = true, true
	return nil
}

// own makes the list of a value one that may be changed.
func (v *kvValue) own() {
	if !v.owned {
		v.List, v.owned = slices.Clone(v.List), true
	}
}

// write puts what has changed into the tables, if the store has room for it.
func (w *kvWork) write() error {
	before := w.tx.storeSize(w.store)
	for _, key := range w.order {
		v := w.values[key]
		if !v.changed {
			continue
		}
		if !v.there {
			spellKV.remove(w.tx, kvKey(w.store, key))
			continue
		}
		e := v.KVEntry
		e.Store, e.Key, e.Scope, e.Account = w.store, key, w.owner.scope, w.owner.account
		if n := valueBytes(&e); e.Kind == api.KVList && n > maxListBytes {
			return api.Errorf(api.Conflict, w.op, "the list %q would have %d bytes, %d is the most; remove some elements first", key, n, maxListBytes)
		}
		putKV(w.tx, e)
	}
	return storeFits(w.tx.Reader, w.op, w.store, before)
}
