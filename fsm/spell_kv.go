package fsm

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

// spellKV are the values that spells and services keep. A spell's store is its id, that
// of a service is named in its row: who takes its place inherits it.
var spellKV = &table[api.KVEntry]{
	name:    "spell_kv",
	key:     func(e *api.KVEntry) string { return kvKey(e.Store, e.Key) },
	account: func(e *api.KVEntry) string { return e.Account },
	derived: func(s *sums, old, row *api.KVEntry) {
		s.countValue(old, -1)
		s.countValue(row, +1)
	},
}

func kvKey(store, key string) string { return store + "/" + key }

// storeSize is how much a store holds.
type storeSize struct {
	keys  int
	bytes int64
}

// countValue adds a value to the size of its store, n = 1, or takes it out, n = -1.
func (s *sums) countValue(e *api.KVEntry, n int) {
	if e == nil {
		return
	}
	size, _ := s.stores.Get(e.Store)
	size.keys += n
	size.bytes += int64(n) * valueBytes(e)
	if size.keys == 0 {
		s.stores.Delete(e.Store)
		return
	}
	s.stores.Set(e.Store, size)
}

// valueBytes is what a value counts against the limit of its store.
func valueBytes(e *api.KVEntry) int64 {
	n := len(e.Key) + len(e.Text)
	for _, element := range e.List {
		n += len(element)
	}
	return int64(n)
}

func (r Reader) storeSize(store string) storeSize {
	size, _ := r.state.sums.stores.Get(store)
	return size
}

// storeFits refuses a store that holds more than it may, and more than it did before.
func storeFits(r Reader, op, store string, before storeSize) error {
	is := r.storeSize(store)
	switch {
	case is.keys > api.MaxKVKeys && is.keys > before.keys:
		return api.Errorf(api.Conflict, op, "the store would have %d keys, %d is the most; remove some first", is.keys, api.MaxKVKeys)
	case is.bytes > api.MaxKVBytes && is.bytes > before.bytes:
		return api.Errorf(api.Conflict, op, "the store would have %d bytes, %d is the most; remove some values first", is.bytes, api.MaxKVBytes)
	}
	return nil
}

// putKV stores a value under a version that its key has never had: the log's index,
// so that also a value that was removed and made again has another one.
func putKV(tx *Txn, e api.KVEntry) {
	e.Version = max(e.Version+1, tx.Index())
	e.UpdatedAt = tx.Now
	spellKV.put(tx, e)
}

// kvIn lists the values of a store whose keys have a prefix, by key.
func kvIn(r Reader, store, prefix string) iter.Seq[api.KVEntry] {
	from := kvKey(store, prefix)
	return func(yield func(api.KVEntry) bool) {
		spellKV.in(r.state).rows.ascend(from, func(key string, it *item[api.KVEntry]) bool {
			return strings.HasPrefix(key, from) && yield(it.row)
		})
	}
}

// dropStore forgets the values of a store.
func dropStore(tx *Txn, store string) {
	for _, e := range slices.Collect(kvIn(tx.Reader, store, "")) {
		spellKV.remove(tx, spellKV.key(&e))
	}
}

// reassignStore gives the values of a store to another account.
func reassignStore(tx *Txn, store, account string) {
	for _, e := range slices.Collect(kvIn(tx.Reader, store, "")) {
		if e.Account != account {
			e.Account = account
			putKV(tx, e)
		}
	}
}

// storeOwner is whose values a store keeps.
type storeOwner struct {
	scope, account string
	spell          bool
	alias          string
}

// ownerOf finds whose store it is: a spell, or a service, of several with one store the
// one that has the alias.
func (r Reader) ownerOf(store string) (o storeOwner, known bool) {
	if s, is := spells.one(r, store); is {
		return storeOwner{s.Scope, s.Account, true, s.Alias}, true
	}
	for s := range services.all(r, "store", store) {
		if !known || s.Alias != "" {
			o, known = storeOwner{s.Scope, s.Account, false, s.Alias}, true
		}
	}
	return o, known
}

// KV finds a value. A spell's hw_counter and hw_trigger are those of its newest run.
func (r Reader) KV(store, key string) (api.KVEntry, bool) {
	for _, e := range r.hostValues(store) {
		if e.Key == key {
			return e, true
		}
	}
	return spellKV.one(r, kvKey(store, key))
}

// KVs lists the values of a store whose keys have a prefix, by key, a spell's hw_counter
// and hw_trigger among them.
func (r Reader) KVs(store, prefix string) iter.Seq[api.KVEntry] {
	return func(yield func(api.KVEntry) bool) {
		host := slices.DeleteFunc(r.hostValues(store), func(e api.KVEntry) bool { return !strings.HasPrefix(e.Key, prefix) })
		for e := range kvIn(r, store, prefix) {
			for len(host) > 0 && host[0].Key < e.Key {
				if !yield(host[0]) {
					return
				}
				host = host[1:]
			}
			if !yield(e) {
				return
			}
		}
		for _, e := range host {
			if !yield(e) {
				return
			}
		}
	}
}

// hostValues are the values of a spell that are kept with its runs, by key; none for
// what is no spell.
func (r Reader) hostValues(store string) []api.KVEntry {
	s, is := spells.one(r, store)
	if !is {
		return nil
	}
	runs, _ := spellRuns.one(r, store)
	e := api.KVEntry{Store: store, Scope: s.Scope, Account: s.Account, Version: uint64(runs.Counter) + 1, UpdatedAt: s.CreatedAt}
	counter, trigger := e, e
	counter.Key, counter.Kind, counter.U32 = api.KeyCounter, api.KVU32, uint32(runs.Counter)
	newest, ran := runs.newest()
	if !ran {
		return []api.KVEntry{counter}
	}
	counter.UpdatedAt, trigger.UpdatedAt = newest.BeganAt, newest.BeganAt
	text, _ := json.Marshal(newest.Firing)
	trigger.Key, trigger.Kind, trigger.Text = api.KeyTrigger, api.KVString, string(text)
	return []api.KVEntry{counter, trigger}
}

// ChangeKV changes values of a store, all or none, and gives the last one as it is then.
func (w *Writer) ChangeKV(ctx context.Context, c api.KVChange) (Done[api.KVEntry], error) {
	return propose[api.KVEntry](ctx, w, changeKV, c)
}
