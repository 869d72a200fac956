package runtest

import (
	"iter"
	"slices"

	"github.com/orchd/orchd/api"
)

// live is a state.View: of the newest state, or of the one that a peer was left with
// when it was cut off. It is not held still while it is read, which is enough for tests
// that look at one thing at a time.
type live struct {
	w      *World
	frozen *tables
}

func read[T any](v live, f func(*tables) T) T {
	if v.frozen != nil {
		return f(v.frozen)
	}
	v.w.mu.Lock()
	defer v.w.mu.Unlock()
	return f(&v.w.tables)
}

func all[V any](v live, of func(*tables) map[string]V, keep func(V) bool) iter.Seq[V] {
	return slices.Values(read(v, func(t *tables) []V { return sorted(of(t), keep) }))
}

func every[V any](V) bool { return true }

type found[V any] struct {
	v  V
	is bool
}

func one[V any](v live, of func(*tables) map[string]V, key string) (V, bool) {
	f := read(v, func(t *tables) found[V] {
		row, is := of(t)[key]
		return found[V]{row, is}
	})
	return f.v, f.is
}

func first[V any](rows iter.Seq[V]) (row V, found bool) {
	for row := range rows {
		return row, true
	}
	return row, false
}

func servicesOf(t *tables) map[string]api.Service { return t.services }
func spellsOf(t *tables) map[string]api.Spell     { return t.spells }

func (v live) Services() iter.Seq[api.Service]       { return all(v, servicesOf, every) }
func (v live) Service(id string) (api.Service, bool) { return one(v, servicesOf, id) }
func (v live) Spells() iter.Seq[api.Spell]           { return all(v, spellsOf, every) }
func (v live) Spell(id string) (api.Spell, bool)     { return one(v, spellsOf, id) }
func (v live) Holder(scope string) (api.Holder, bool) {
	h, has := one(v, func(t *tables) map[string]api.Holder { return t.holders }, scope)
	return h, has && !read(v, func(t *tables) bool { return t.released[scope] })
}

func (v live) ServiceAt(scope, alias string) (api.Service, bool) {
	return first(all(v, servicesOf, func(s api.Service) bool { return s.Scope == scope && s.Alias == alias }))
}

func (v live) SpellAt(scope, alias string) (api.Spell, bool) {
	return first(all(v, spellsOf, func(s api.Spell) bool { return s.Scope == scope && s.Alias == alias }))
}

func (v live) SpellStatus(id string) api.SpellStatus {
	return read(v, func(t *tables) (status api.SpellStatus) {
		r := t.runs[id]
		if r == nil {
			return status
		}
		status = r.counts
		status.Counter, status.Start = int64(len(r.all)), r.start
		status.Ticks = r.tick + 1
		if len(r.all) > 0 {
			status.Last = r.all[len(r.all)-1]
		}
		for _, i := range r.running {
			status.Running = append(status.Running, r.all[i])
		}
		return status
	})
}

func (v live) Cursor(spell string) (at api.Position, connected []string) {
	r := read(v, func(t *tables) (r spellRuns) {
		if known := t.runs[spell]; known != nil {
			r = *known
		}
		return r
	})
	return r.cursor, r.connected
}

func (v live) Mailbox(spell string) []api.Mail {
	return read(v, func(t *tables) []api.Mail { return slices.Clone(t.mail[spell]) })
}

func (v live) KV(store, key string) (api.KVEntry, bool) {
	return one(v, func(t *tables) map[string]api.KVEntry { return t.kv }, kvKey(store, key))
}

func (v live) KVs(store, prefix string) iter.Seq[api.KVEntry] {
	return all(v, func(t *tables) map[string]api.KVEntry { return t.kv }, func(e api.KVEntry) bool { return hasPrefix(e, store, prefix) })
}

func (v live) Deployments() iter.Seq[api.Deployment] {
	return all(v, func(t *tables) map[string]api.Deployment { return t.deployments }, every)
}

func (v live) Deployment(peer, pkg string) (api.Deployment, bool) {
	return one(v, func(t *tables) map[string]api.Deployment { return t.deployments }, peer+"/"+pkg)
}

func (v live) Suspended(account string) bool {
	return read(v, func(t *tables) bool { return t.suspended[account] })
}

func (v live) Deals() iter.Seq[api.Deal] {
	return all(v, func(t *tables) map[string]api.Deal { return t.deals }, every)
}

func (v live) Peers() iter.Seq[api.Peer] { return slices.Values([]api.Peer(nil)) }
func (v live) Index() uint64             { return read(v, func(t *tables) uint64 { return t.index }) }
