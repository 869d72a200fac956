// Package runtest is a cluster in memory for the tests of what runs on one: the tables
// of system services with the rules of the real ones for holders, marks, fences and
// values, and peers that can be killed, held up and cut off.
package runtest

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
)

// World is the cluster: what a majority has agreed on. Its time is time.Now.
type World struct {
	mu      sync.Mutex
	tables  tables
	events  []api.Event
	oldest  uint64        // index of the oldest event that is kept
	grew    chan struct{} // closed with the next event
	changed chan struct{} // closed with the next change that Watch tells of
	alive   map[string]bool
	peers   []*Cluster
	batches map[string][]Batch // by peer
}

// Batch is a batch of a peer that was applied.
type Batch struct {
	At time.Time
	api.RunBatch
}

// tables is one state. Rows in it are never changed, only replaced.
type tables struct {
	index       uint64
	services    map[string]api.Service
	spells      map[string]api.Spell
	runs        map[string]*spellRuns
	mail        map[string][]api.Mail
	kv          map[string]api.KVEntry // by store, 0, key
	deployments map[string]api.Deployment
	holders     map[string]api.Holder
	released    map[string]bool
	suspended   map[string]bool
	deals       map[string]api.Deal
	vms         map[string]api.VM // by account/name
}

// spellRuns is what is known of a spell's runs.
type spellRuns struct {
	start     int64
	tick      int64 // newest that is marked; -1: none
	cursor    api.Position
	connected []string
	moved     map[string]bool // in the batch that is applied: "connect PEER"
	all       []api.SpellRun
	counts    api.SpellStatus // Succeeded and Failed
	running   []int           // in all
	log       []api.SpellLine
}

// New is a cluster of peers that are all alive.
func New(peers ...string) *World {
	w := &World{grew: make(chan struct{}), changed: make(chan struct{}), alive: map[string]bool{}, batches: map[string][]Batch{}, tables: tables{
		index: 1, services: map[string]api.Service{}, spells: map[string]api.Spell{}, runs: map[string]*spellRuns{}, mail: map[string][]api.Mail{},
		kv: map[string]api.KVEntry{}, deployments: map[string]api.Deployment{}, holders: map[string]api.Holder{}, released: map[string]bool{}, suspended: map[string]bool{},
		deals: map[string]api.Deal{}, vms: map[string]api.VM{},
	}}
	for _, id := range peers {
		w.alive[id] = true
	}
	return w
}

func (t tables) clone() tables {
	t.services, t.spells, t.mail, t.kv = maps.Clone(t.services), maps.Clone(t.spells), maps.Clone(t.mail), maps.Clone(t.kv)
	t.deployments, t.holders, t.suspended, t.released = maps.Clone(t.deployments), maps.Clone(t.holders), maps.Clone(t.suspended), maps.Clone(t.released)
	t.deals, t.vms = maps.Clone(t.deals), maps.Clone(t.vms)
	runs := map[string]*spellRuns{}
	for id, r := range t.runs {
		same := *r
		same.all, same.running, same.log = slices.Clone(r.all), slices.Clone(r.running), slices.Clone(r.log)
		runs[id] = &same
	}
	t.runs = runs
	return t
}

// change does something to the tables, under the lock.
func (w *World) change(f func(*tables)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tables.index++
	f(&w.tables)
	w.woke()
}

func (w *World) woke() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Spell installs a spell, or another version of it.
func (w *World) Spell(s api.Spell) {
	w.change(func(t *tables) {
		old, was := t.spells[s.ID]
		s.Version = old.Version + 1
		if s.Digest == "" {
			s.Digest = s.ID
		}
		t.spells[s.ID] = s
		if !was {
			t.runs[s.ID] = &spellRuns{tick: -1, cursor: api.After(t.index)}
		}
		if old.Trigger.Connections != s.Trigger.Connections {
			t.runs[s.ID].connected = nil
		}
		if !was || old.Trigger.Clock != s.Trigger.Clock {
			t.runs[s.ID].tick = -1
			t.runs[s.ID].start = max(s.Trigger.Clock.StartSec, time.Now().Unix())
		}
	})
}

// RemoveSpell forgets a spell.
func (w *World) RemoveSpell(id string) {
	w.change(func(t *tables) {
		delete(t.spells, id)
		delete(t.runs, id)
	})
}

// Service installs a service.
func (w *World) Service(s api.Service) {
	w.change(func(t *tables) { t.services[s.ID] = s })
}

// Deployment says what became of a package.
func (w *World) Deployment(d api.Deployment) {
	w.change(func(t *tables) { t.deployments[d.Peer+"/"+d.Package] = d })
}

// Deal makes a deal.
func (w *World) Deal(d api.Deal) {
	w.change(func(t *tables) { t.deals[d.ID] = d })
}

// Suspend suspends an account, or no more.
func (w *World) Suspend(account string, is bool) {
	w.change(func(t *tables) { t.suspended[account] = is })
}

// Alive says whether gossip knows a peer to be alive.
func (w *World) Alive(id string, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive[id] = is
}

// Emit makes a change of a table, and gives its place.
func (w *World) Emit(table, key, account string, verb api.ChangeVerb, row any) api.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tables.index++
	var value json.RawMessage
	if row != nil {
		value, _ = json.Marshal(row)
	}
	e := api.Event{Index: w.tables.index, N: 1, Time: time.Now(), Table: table, Key: key, Account: account, Verb: verb, Value: value}
	w.events = append(w.events, e)
	close(w.grew)
	w.grew = make(chan struct{})
	return e.Position()
}

// Forget drops the events up to now.
func (w *World) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events, w.oldest = nil, w.tables.index+1
}

// View is the newest state.
func (w *World) View() state.View { return live{w, nil} }

// Runs are all runs of a spell, by number.
func (w *World) Runs(spell string) []api.SpellRun {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tables.runs[spell].all)
}

// Log is what a spell has logged.
func (w *World) Log(spell string) []api.SpellLine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tables.runs[spell].log)
}

// Marked is the newest tick of a spell that is marked; -1: none.
func (w *World) Marked(spell string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tables.runs[spell].tick
}

// Batches are those of a peer that were applied.
func (w *World) Batches(peer string) []Batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.batches[peer])
}

func (w *World) claim(scope, peer, life string) (api.Holder, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, now := &w.tables, time.Now()
	t.index++
	h, has := t.holders[scope]
	if has && h.Peer == peer && h.Life == life && !t.released[scope] {
		return h, nil
	}
	if has && !t.released[scope] && h.Peer != peer && now.Before(h.Renewed.Add(api.HolderLease+t.longest(scope))) {
		return api.Holder{}, api.Errorf(api.Conflict, "spell.claim", "peer %s has scope %s", h.Peer, scope)
	}
	for id, s := range t.spells {
		if s.Scope == scope {
			t.runs[id].interrupt(now)
		}
	}
	h = api.Holder{Scope: scope, Peer: peer, Life: life, Term: h.Term + 1, Renewed: now}
	t.holders[scope] = h
	delete(t.released, scope)
	w.woke()
	return h, nil
}

func (t *tables) longest(scope string) time.Duration {
	longest := int64(0)
	for id, s := range t.spells {
		if s.Scope == scope && len(t.runs[id].running) > 0 {
			longest = max(longest, s.CallTTL)
		}
	}
	return time.Duration(longest) * time.Second
}

func (r *spellRuns) interrupt(now time.Time) {
	for _, i := range r.running {
		r.all[i].State, r.all[i].EndedAt = api.RunInterrupted, now
	}
	r.running = nil
}

func (w *World) run(b api.RunBatch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, now := &w.tables, time.Now()
	h := t.holders[b.Scope]
	if h.Peer != b.Peer || h.Term != b.Term || t.released[b.Scope] {
		return over(b.Scope)
	}
	t.index++
	w.batches[b.Peer] = append(w.batches[b.Peer], Batch{now, b})
	for _, e := range b.End {
		if r := t.runs[e.Spell]; r != nil {
			r.end(e, now)
		}
	}
	for _, begin := range b.Begin {
		t.begin(b, begin, now)
	}
	if b.Connected != nil {
		for id, s := range t.spells {
			if s.Scope == b.Scope && s.Trigger.Connections != (api.Connections{}) {
				t.runs[id].note(s.Trigger.Connections, b)
			}
		}
	}
	h.Renewed = now
	t.holders[b.Scope] = h
	if b.Release {
		for id, s := range t.spells {
			if s.Scope == b.Scope {
				t.runs[id].interrupt(now)
			}
		}
		t.released[b.Scope] = true
		w.woke()
	}
	return nil
}

// note keeps which peers are there. What the spell wants to be run for and was not stays
// to be done.
func (r *spellRuns) note(c api.Connections, b api.RunBatch) {
	if r.connected == nil {
		r.connected = b.Connected
		return
	}
	var is []string
	for _, p := range b.Connected {
		if slices.Contains(r.connected, p) || !c.Connect || r.moved["connect "+p] {
			is = append(is, p)
		}
	}
	for _, p := range r.connected {
		if !slices.Contains(b.Connected, p) && c.Disconnect && !r.moved["disconnect "+p] {
			is = append(is, p)
		}
	}
	slices.Sort(is)
	r.connected, r.moved = is, nil
}

func over(scope string) error {
	return api.Errorf(api.Precondition, "spell.runs", "the run of a spell that asks is no longer in charge of scope %s", scope)
}

func (r *spellRuns) end(e api.RunEnd, now time.Time) {
	at := int(e.Number) - 1
	if !slices.Contains(r.running, at) {
		return
	}
	r.running = slices.DeleteFunc(r.running, func(i int) bool { return i == at })
	r.all[at].State, r.all[at].Error, r.all[at].EndedAt = e.State, e.Error, now
	r.log = append(r.log, e.Log...)
	switch e.State {
	case api.RunSucceeded:
		r.counts.Succeeded++
	case api.RunFailed:
		r.counts.Failed++
	}
}

func (t *tables) begin(b api.RunBatch, begin api.RunBegin, now time.Time) {
	s, there := t.spells[begin.Spell]
	if !there || s.Scope != b.Scope || s.Version != begin.Version || t.suspended[s.Account] {
		return
	}
	r, f := t.runs[begin.Spell], begin.Firing
	at, _ := api.ParsePosition(f.At)
	most := 1
	if s.Trigger.Overlap == api.OverlapAllow {
		most = 16
	}
	busy := len(r.running) >= most && !begin.Skip
	switch {
	case busy,
		f.Kind == "clock" && f.Tick <= r.tick,
		f.Kind == "event" && !r.cursor.Before(at),
		(f.Kind == "connect" || f.Kind == "disconnect") && b.Connected == nil:
		return
	case f.Kind == "clock":
		r.tick = f.Tick
	case f.Kind == "event":
		r.cursor = at
	case f.Kind == "connect", f.Kind == "disconnect":
		if r.moved == nil {
			r.moved = map[string]bool{}
		}
		r.moved[f.Kind+" "+f.Peer] = true
	}
	if begin.Skip {
		return
	}
	r.running = append(r.running, len(r.all))
	r.all = append(r.all, api.SpellRun{Number: int64(len(r.all)) + 1, Firing: f, Peer: b.Peer, Term: b.Term, State: api.RunRunning, BeganAt: now})
}

// fenced refuses what a run of an old term does.
func (t *tables) fenced(c api.Caller) error {
	if c.Fence != nil && (t.holders[c.Fence.Scope].Term != c.Fence.Term || t.released[c.Fence.Scope]) {
		return over(c.Fence.Scope)
	}
	return nil
}

func sorted[V any](m map[string]V, keep func(V) bool) []V {
	var all []V
	for _, key := range slices.SortedFunc(maps.Keys(m), cmp.Compare) {
		if keep(m[key]) {
			all = append(all, m[key])
		}
	}
	return all
}

func kvKey(store, key string) string { return store + "\x00" + key }

func (t *tables) changeKV(c api.KVChange, now time.Time) (last api.KVEntry, err error) {
	undo := t.kv
	if len(c.Ops) > 1 {
		undo = maps.Clone(t.kv)
	}
	for _, op := range c.Ops {
		if last, err = t.changeOne(c, op, now); err != nil {
			t.kv = undo
			return api.KVEntry{}, err
		}
	}
	return last, nil
}

func (t *tables) changeOne(c api.KVChange, op api.KVOp, now time.Time) (api.KVEntry, error) {
	const name = "kv.change"
	e, there := t.kv[kvKey(c.Store, op.Key)]
	if op.IfAbsent && there || op.IfVersion != 0 && op.IfVersion != e.Version {
		return e, api.Errorf(api.Precondition, name, "%s is not as you saw it", op.Key)
	}
	e.Store, e.Key = c.Store, op.Key
	list := op.Verb == api.KVPush || op.Verb == api.KVPop || op.Verb == api.KVTake || op.Verb == api.KVDrop
	if list && there && e.Kind != api.KVList {
		return e, api.Errorf(api.Conflict, name, "%s is no list", op.Key)
	}
	e.List = slices.Clone(e.List)
	switch op.Verb {
	case api.KVCompare:
		return e, nil
	case api.KVRemove:
		delete(t.kv, kvKey(c.Store, op.Key))
		return e, nil
	case api.KVSet:
		e.Kind, e.Text = api.KVString, op.Text
	case api.KVSetU32:
		e.Kind, e.U32 = api.KVU32, op.U32
	case api.KVAdd:
		if uint64(e.U32)+uint64(op.U32) > 1<<32-1 {
			return e, api.Errorf(api.Conflict, name, "%s would be beyond 2^32-1", op.Key)
		}
		e.Kind, e.U32 = api.KVU32, e.U32+op.U32
	case api.KVPush:
		e.Kind, e.List = api.KVList, append(e.List, op.Text)
	case api.KVPop, api.KVTake:
		at := int(op.U32)
		if op.Verb == api.KVPop {
			at = len(e.List) - 1
		}
		if at < 0 || at >= len(e.List) || e.List[at] != op.Text {
			return e, api.Errorf(api.Precondition, name, "%s has another element there", op.Key)
		}
		e.List = slices.Delete(e.List, at, at+1)
	case api.KVDrop:
		e.Kind, e.List = api.KVList, slices.DeleteFunc(e.List, func(text string) bool { return text == op.Text })
	case api.KVField:
		object := map[string]json.RawMessage{}
		if there && json.Unmarshal([]byte(e.Text), &object) != nil {
			return e, api.Errorf(api.Conflict, name, "%s is no JSON object", op.Key)
		}
		object[op.Field] = json.RawMessage(op.Text)
		if op.Text == "" {
			delete(object, op.Field)
		}
		text, _ := json.Marshal(object)
		e.Kind, e.Text = api.KVString, string(text)
	}
	e.Version++
	e.UpdatedAt = now
	t.kv[kvKey(c.Store, op.Key)] = e
	return e, nil
}

func hasPrefix(e api.KVEntry, store, prefix string) bool {
	return e.Store == store && strings.HasPrefix(e.Key, prefix)
}
