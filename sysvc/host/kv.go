package host

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
)

// tries is how often a change that found another value than it had read is tried.
const tries = 16

// reading is what every function that reads a value is told.
type reading struct {
	key   string
	owner owner // whose values
	view  state.View
}

// reading finds out which value is meant: the caller's own, or with of one of another
// spell or service of the same account.
func (w *world) reading(ctx context.Context, a arguments) (r reading, err error) {
	var of string
	if err := a.all("key", &r.key, "of", &of); err != nil {
		return r, err
	}
	if r.view, err = w.session.view(ctx); err != nil {
		return r, err
	}
	r.owner = w.owner
	if of != "" && of != w.owner.alias {
		r.owner, err = w.other(r.view, a.function, of)
	}
	return r, err
}

// other is the spell or service that has an alias, here or in the cluster, and whose
// values the caller may see.
func (w *world) other(v state.View, op, alias string) (o owner, err error) {
	o, found := w.named(v, alias)
	switch {
	case !found:
		return o, api.Errorf(api.NotFound, op, "there is no spell or service %q on this peer or in the cluster", alias)
	case !w.owner.mayActFor(o.account):
		return o, api.Errorf(api.Forbidden, op, "%s belongs to account %q, and this %s acts for %q", alias, o.account, w.owner.kind, w.owner.account)
	}
	return o, nil
}

func (w *world) named(v state.View, alias string) (owner, bool) {
	for _, scope := range []string{w.owner.scope, api.ScopeCluster} {
		if spell, found := v.SpellAt(scope, alias); found {
			return ownerOfSpell(spell), true
		}
		if svc, found := v.ServiceAt(scope, alias); found {
			return ownerOfService(svc), true
		}
	}
	return owner{}, false
}

// value is the value that is read; what is kept with the runs of a spell is read from there.
func (w *world) value(r reading) (api.KVEntry, bool) {
	if r.owner.kind != "spell" || r.key != api.KeyCounter && r.key != api.KeyTrigger {
		return r.view.KV(r.owner.store, r.key)
	}
	run := r.view.SpellStatus(r.owner.id).Last
	if w.run != nil && r.owner.id == w.owner.id {
		run = *w.run // another run may have begun since
	}
	if run.Number == 0 {
		return api.KVEntry{}, false
	}
	if r.key == api.KeyCounter {
		return api.KVEntry{Kind: api.KVU32, U32: uint32(run.Number)}, true
	}
	text, _ := json.Marshal(run.Firing)
	return api.KVEntry{Kind: api.KVString, Text: string(text)}, true
}

// read is the value of a kind, or false where there is none. A value of another kind is an error.
func (w *world) read(ctx context.Context, a arguments, kind api.KVKind) (api.KVEntry, bool, error) {
	r, err := w.reading(ctx, a)
	if err != nil {
		return api.KVEntry{}, false, err
	}
	e, there := w.value(r)
	if there && e.Kind != kind {
		return e, false, a.wrong("%s is a %s, not a %s", r.key, e.Kind, kind)
	}
	return e, there, nil
}

func kvGet(w *world, ctx context.Context, a arguments) (any, error) {
	e, there, err := w.read(ctx, a, api.KVString)
	if err != nil || !there {
		return nil, err
	}
	return e.Text, nil
}

func kvGetJSON(w *world, ctx context.Context, a arguments) (any, error) {
	e, there, err := w.read(ctx, a, api.KVString)
	if err != nil || !there {
		return nil, err
	}
	if !json.Valid([]byte(e.Text)) {
		return nil, a.wrong("%s holds no JSON; kv.get reads it as it is", e.Key)
	}
	return json.RawMessage(e.Text), nil
}

func kvGetU32(w *world, ctx context.Context, a arguments) (any, error) {
	e, there, err := w.read(ctx, a, api.KVU32)
	if err != nil || !there {
		return nil, err
	}
	return e.U32, nil
}

func kvList(w *world, ctx context.Context, a arguments) (any, error) {
	e, _, err := w.read(ctx, a, api.KVList)
	if err != nil || e.List == nil {
		return []string{}, err
	}
	return e.List, nil
}

func kvExists(w *world, ctx context.Context, a arguments) (any, error) {
	r, err := w.reading(ctx, a)
	if err != nil {
		return nil, err
	}
	_, there := w.value(r)
	return there, nil
}

func kvGetField(w *world, ctx context.Context, a arguments) (any, error) {
	var field string
	if err := a.into("field", &field); err != nil {
		return nil, err
	}
	e, there, err := w.read(ctx, a, api.KVString)
	if err != nil || !there {
		return nil, err
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(e.Text), &object) != nil {
		return nil, a.wrong("%s holds no JSON object", e.Key)
	}
	return object[field], nil // nil: null
}

// each gives the values whose keys begin with the argument prefix, until the answer
// would be larger than a result may be.
func (w *world) each(ctx context.Context, a arguments, show func(api.KVEntry) int) error {
	var prefix string
	if err := a.into("prefix", &prefix); err != nil {
		return err
	}
	r, err := w.reading(ctx, a)
	if err != nil {
		return err
	}
	size := 0
	for e := range r.view.KVs(r.owner.store, prefix) {
		if size += show(e); size > api.MaxCallResult {
			return api.Errorf(api.TooLarge, a.function, "the values that begin with %q have more than %d bytes together: narrow the prefix", prefix, api.MaxCallResult)
		}
	}
	return nil
}

func kvKeys(w *world, ctx context.Context, a arguments) (any, error) {
	keys := []string{}
	err := w.each(ctx, a, func(e api.KVEntry) int {
		keys = append(keys, e.Key)
		return len(e.Key)
	})
	return keys, err
}

// kvItems gives all values as text: numbers in decimal, lists as JSON.
func kvItems(w *world, ctx context.Context, a arguments) (any, error) {
	items := map[string]string{}
	err := w.each(ctx, a, func(e api.KVEntry) int {
		text := e.Text
		switch e.Kind {
		case api.KVU32:
			text = strconv.FormatUint(uint64(e.U32), 10)
		case api.KVList:
			list, _ := json.Marshal(e.List)
			text = string(list)
		}
		items[e.Key] = text
		return len(e.Key) + len(text)
	})
	return items, err
}

// change does something to one value.
func (w *world) change(ctx context.Context, a arguments, op api.KVOp) (api.KVEntry, error) {
	if err := w.mayWrite(a, op); err != nil {
		return api.KVEntry{}, err
	}
	return w.cluster().ChangeKV(w.asPeer(ctx), api.KVChange{Store: w.owner.store, By: api.KVBySelf, Ops: []api.KVOp{op}})
}

func (w *world) mayWrite(a arguments, op api.KVOp) error {
	switch {
	case op.Key == "" || len(op.Key) > api.MaxKVKey:
		return a.wrong("a key has 1 to %d bytes; this one has %d", api.MaxKVKey, len(op.Key))
	case len(op.Text) > api.MaxKVValue:
		return api.Errorf(api.TooLarge, a.function, "the value of %s has %d bytes: at most %d", op.Key, len(op.Text), api.MaxKVValue)
	case w.owner.kind == "spell" && !api.KVBySelf.MayWrite(op.Key):
		return api.Errorf(api.Forbidden, a.function, "%s is not the spell's to write: keys beginning with h_ are the host's, with w_ the account's, with hw_ theirs both", op.Key)
	}
	return nil
}

// changeKey reads the key, and does an op to it that gives nothing.
func (w *world) changeKey(ctx context.Context, a arguments, op api.KVOp) (any, error) {
	if err := a.into("key", &op.Key); err != nil {
		return nil, err
	}
	_, err := w.change(ctx, a, op)
	return nil, err
}

func (w *world) changeText(ctx context.Context, a arguments, verb api.KVVerb) (any, error) {
	op := api.KVOp{Verb: verb}
	if err := a.into("text", &op.Text); err != nil {
		return nil, err
	}
	return w.changeKey(ctx, a, op)
}

func kvSet(w *world, ctx context.Context, a arguments) (any, error) {
	return w.changeText(ctx, a, api.KVSet)
}

func kvPush(w *world, ctx context.Context, a arguments) (any, error) {
	return w.changeText(ctx, a, api.KVPush)
}

func kvDrop(w *world, ctx context.Context, a arguments) (any, error) {
	return w.changeText(ctx, a, api.KVDrop)
}

// kvRemove: a key that is not there is gone already.
func kvRemove(w *world, ctx context.Context, a arguments) (any, error) {
	_, err := w.changeKey(ctx, a, api.KVOp{Verb: api.KVRemove})
	if api.IsKind(err, api.NotFound) {
		err = nil
	}
	return nil, err
}

// compacted is an argument that is any value, as JSON without spaces; none is null.
func (a arguments) compacted(name string) (string, error) {
	raw, there := a.by[name]
	if !there {
		return "null", nil
	}
	var text bytes.Buffer
	if err := json.Compact(&text, raw); err != nil {
		return "", a.wrong("argument %s: %v", name, err)
	}
	return text.String(), nil
}

func kvSetJSON(w *world, ctx context.Context, a arguments) (any, error) {
	text, err := a.compacted("value")
	if err != nil {
		return nil, err
	}
	return w.changeKey(ctx, a, api.KVOp{Verb: api.KVSet, Text: text})
}

func kvSetField(w *world, ctx context.Context, a arguments) (any, error) {
	op := api.KVOp{Verb: api.KVField}
	if err := a.into("field", &op.Field); err != nil {
		return nil, err
	}
	if op.Field == "" {
		return nil, a.wrong("name the field that is to be set")
	}
	text, err := a.compacted("value")
	if err != nil {
		return nil, err
	}
	if text != "null" { // None takes the field away
		op.Text = text
	}
	return w.changeKey(ctx, a, op)
}

// number reads an argument that a u32 can hold.
func (a arguments) number(name string) (uint32, error) {
	var n json.Number
	if err := a.into(name, &n); err != nil {
		return 0, err
	}
	u, err := strconv.ParseUint(n.String(), 10, 32)
	if err != nil {
		return 0, a.wrong("argument %s is to be a whole number from 0 to 4294967295, not %q", name, n)
	}
	return uint32(u), nil
}

func kvSetU32(w *world, ctx context.Context, a arguments) (any, error) {
	n, err := a.number("n")
	if err != nil {
		return nil, err
	}
	return w.changeKey(ctx, a, api.KVOp{Verb: api.KVSetU32, U32: n})
}

func kvAddU32(w *world, ctx context.Context, a arguments) (any, error) {
	op := api.KVOp{Verb: api.KVAdd}
	var err error
	if op.U32, err = a.number("n"); err != nil {
		return nil, err
	}
	if err = a.into("key", &op.Key); err != nil {
		return nil, err
	}
	e, err := w.change(ctx, a, op)
	if err != nil {
		return nil, err
	}
	return e.U32, nil
}

// raced does to a value what was decided from reading it, and decides again when
// another was faster. plan gives the op and what the function then gives; a nil op: nothing to do.
func (w *world) raced(ctx context.Context, a arguments, plan func(e api.KVEntry, there bool) (*api.KVOp, any, error)) (any, error) {
	var key string
	if err := a.into("key", &key); err != nil {
		return nil, err
	}
	for range tries {
		v, err := w.session.view(ctx)
		if err != nil {
			return nil, err
		}
		e, there := v.KV(w.owner.store, key)
		op, gives, err := plan(e, there)
		if err != nil || op == nil {
			return gives, err
		}
		op.Key, op.IfVersion, op.IfAbsent = key, e.Version, !there
		_, err = w.change(ctx, a, *op)
		if !w.faster(ctx, key, e.Version, err) {
			return gives, err
		}
	}
	return nil, api.Errorf(api.Conflict, a.function, "others changed %s %d times in between: try again later", key, tries)
}

// faster tells whether a change was refused because another came first, and not because
// the run that asks is no longer in charge.
func (w *world) faster(ctx context.Context, key string, version uint64, err error) bool {
	if !api.IsKind(err, api.Precondition) {
		return false
	}
	w.session.again()
	now, viewErr := w.session.view(ctx)
	if viewErr != nil {
		return false
	}
	e, _ := now.KV(w.owner.store, key)
	return e.Version != version
}

// aList is an error for values that are no lists.
func aList(a arguments, e api.KVEntry, there bool) error {
	if there && e.Kind != api.KVList {
		return a.wrong("%s is a %s, not a list", e.Key, e.Kind)
	}
	return nil
}

func kvPop(w *world, ctx context.Context, a arguments) (any, error) {
	return w.raced(ctx, a, func(e api.KVEntry, there bool) (*api.KVOp, any, error) {
		if err := aList(a, e, there); err != nil || len(e.List) == 0 {
			return nil, nil, err
		}
		last := e.List[len(e.List)-1]
		return &api.KVOp{Verb: api.KVPop, Text: last}, last, nil
	})
}

func kvTake(w *world, ctx context.Context, a arguments) (any, error) {
	i, err := a.number("i")
	if err != nil {
		return nil, err
	}
	return w.raced(ctx, a, func(e api.KVEntry, there bool) (*api.KVOp, any, error) {
		if err := aList(a, e, there); err != nil {
			return nil, nil, err
		}
		if int(i) >= len(e.List) {
			return nil, nil, a.wrong("there is no element %d: the list has %d, and the first is 0", i, len(e.List))
		}
		return &api.KVOp{Verb: api.KVTake, U32: i, Text: e.List[i]}, e.List[i], nil
	})
}

// kvCompareAndSet sets a text if it is old, where old None is no value at all; a new
// value None removes it. It gives whether it did.
func kvCompareAndSet(w *world, ctx context.Context, a arguments) (any, error) {
	var old, text string
	if err := a.all("old", &old, "new", &text); err != nil {
		return nil, err
	}
	done, err := w.raced(ctx, a, func(e api.KVEntry, there bool) (*api.KVOp, any, error) {
		same := there && e.Kind == api.KVString && e.Text == old
		switch {
		case a.has("old") != there || there && !same:
			return nil, false, nil
		case a.has("new"):
			return &api.KVOp{Verb: api.KVSet, Text: text}, true, nil
		case there:
			return &api.KVOp{Verb: api.KVRemove}, true, nil
		}
		return nil, true, nil // absent it was, and absent it stays
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}
