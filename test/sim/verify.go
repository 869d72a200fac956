package sim

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
	"github.com/orchd/orchd/test/model"
)

// verdict is the committed log, applied again, one command after the other.
type verdict struct {
	world    *world
	hashes   map[uint64]string          // state hash by index
	commands map[uint64]map[string]bool // ids of commands by index
	results  map[string][]fsm.Result    // by request id
	indexes  map[string]uint64          // of the first command that succeeded, by request id
	events   []event
}

// verify compares the committed log, what clients were told and what the peers
// had. It runs outside of the bubble.
func (w *world) verify() {
	v := &verdict{w, map[uint64]string{}, map[uint64]map[string]bool{}, map[string][]fsm.Result{}, map[string]uint64{}, nil}
	if !v.replay() {
		return
	}
	v.writes()
	v.reads()
	v.keys()
	v.followers()
	v.registers()
}

// replay applies the log to a machine and to the model.
func (v *verdict) replay() bool {
	w := v.world
	whole, steps, m := fsm.New(), fsm.New(), model.New()
	whole.KeepChanges(0)
	sink := &truth{v: v}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { whole.WriteChanges(ctx, sink) })
	log := w.journal.ordered()
	w.add("entries", len(log))
	defer func() {
		for len(log) > 0 && sink.reached() < log[len(log)-1].index {
			time.Sleep(time.Millisecond) // real time: the queue is handed over by another goroutine
		}
		stop()
		all.Wait()
	}()
	for k, e := range log {
		whole.ApplyAll(e.index, e.at, e.commands)
		v.hashes[e.index], v.commands[e.index] = e.hash, map[string]bool{}
		for n, b := range e.commands {
			c, err := model.Decode(b)
			if err != nil {
				w.violation("command %d.%d does not decode: %v", e.index, n, err)
				continue
			}
			got := steps.Apply(e.index, n, e.at, b).(fsm.Result)
			m.Apply(e.at, c, got, steps.Read())
			v.commands[e.index][c.ID] = true
			v.results[c.Request] = append(v.results[c.Request], got)
			if _, known := v.indexes[c.Request]; !known && got.Err == nil && !got.Replayed {
				v.indexes[c.Request] = e.index
			}
		}
		for _, fault := range m.Faults() {
			w.violation("at index %d: %s", e.index, fault)
		}
		one, other := whole.Read().Hash(), steps.Read().Hash()
		if len(m.Faults()) > 0 || one != e.hash || other != e.hash {
			if one != e.hash || other != e.hash {
				w.violation("the log applied again has the hash %s at index %d (%s command by command), the peers had %s", one, e.index, other, e.hash)
			}
			log = log[:k+1]
			return false
		}
	}
	return true
}

// truth takes the events of the log.
type truth struct {
	v  *verdict
	mu sync.Mutex
	to uint64
}

func (t *truth) Append(to uint64, changes []snapshot.Change) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		t.v.events = append(t.v.events, event{c.Index, c.N, c.Table, c.Key})
	}
	t.to = to
	return nil
}

func (t *truth) Skip(uint64) error { return nil }

func (t *truth) reached() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.to
}

// writes: what was acknowledged is in the log, and what was refused is not.
func (v *verdict) writes() {
	for _, one := range v.world.history.writes {
		switch {
		case one.outcome == done && !v.commands[one.index][one.command]:
			v.world.violation("%s %s of %s was acknowledged at index %d, where its command %s is not", one.what, one.object+one.value, one.client, one.index, one.command)
		case one.outcome == refused && !passing(one.refusal) && v.succeeded(one.request) && !one.twin:
			v.world.violation("%s %s of %s was refused (%s) and yet done", one.what, one.object+one.value, one.client, one.refusal)
		}
	}
}

// passing tells whether a refusal is none to remember: the same request may be done a moment later.
func passing(refusal string) bool {
	return refusal == api.NoCapacity.Code() || refusal == api.TooMany.Code()
}

func (v *verdict) succeeded(request string) bool {
	_, yes := v.indexes[request]
	return yes
}

// reads: what was read is the state of the index that it was read at.
func (v *verdict) reads() {
	for _, one := range v.world.history.reads {
		if hash, known := v.hashes[one.index]; known && hash != one.hash {
			v.world.violation("%s read a state of index %d that is none", one.client, one.index)
		}
	}
}

// keys: one object for each Idempotency-Key, and the same answer.
func (v *verdict) keys() {
	made := map[string]string{}
	for _, one := range v.world.history.writes {
		if one.key == "" || one.outcome != done {
			continue
		}
		if before, known := made[one.key]; known && before != one.id {
			v.world.violation("Idempotency-Key %q of %s made %s and %s", one.key, one.what, before, one.id)
		}
		made[one.key] = one.id
		fresh := map[string]bool{} // a command that a peer sent again is the same command
		for _, r := range v.results[one.request] {
			if r.Err == nil && !r.Replayed {
				fresh[r.Command] = true
			}
		}
		if len(fresh) > 1 {
			v.world.violation("%s with Idempotency-Key %q was done by %d commands", one.what, one.key, len(fresh))
		}
	}
}

// followers: each event once, in order, none missing.
func (v *verdict) followers() {
	for k, f := range v.world.followers {
		v.world.add("events followed", len(f.got))
		for i, e := range f.got {
			if i >= len(v.events) || v.events[i] != e {
				v.world.violation("follower %d got %+v as event %d, which is another", k, e, i)
				break
			}
		}
	}
}

// state of a register: its version, 0 before it was made, and what it says.
type state struct {
	version uint64
	value   string
}

type input struct {
	reads     bool
	ifVersion uint64
	value     string
}

type output struct {
	version uint64
	value   string
	refused bool // for its version
	free    bool // nobody heard the answer
}

// compareAndSet is what a node is to its clients.
var compareAndSet = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, out any) (bool, any) {
		now, i, o := s.(state), in.(input), out.(output)
		switch {
		case i.reads:
			return now.version == 0 && o.version == 0 || now == state{o.version, o.value}, now
		case o.refused:
			return now.version != i.ifVersion, now
		case now.version != 0 && i.ifVersion != 0 && now.version != i.ifVersion:
			return false, now
		}
		return true, state{now.version + 1, i.value}
	},
}

// Bounds of the checker.
const (
	mostOps   = 300
	checkTime = 60 * time.Second
)

// registers: the history of each node is linearizable.
func (v *verdict) registers() {
	ops := map[string][]porcupine.Operation{}
	made := map[string]bool{}
	for _, one := range v.world.history.writes {
		id := one.object
		if one.what == "node.create" && one.id != "" && one.outcome == done {
			if made[one.key] {
				continue // the same one, answered twice
			}
			id, made[one.key] = one.id, true
		} else if one.what != "node.replace" || one.twin {
			continue
		}
		op := porcupine.Operation{Input: input{ifVersion: one.ifVersion, value: one.value}, Call: one.call, Return: one.ret, Output: output{}}
		switch {
		case one.outcome == refused && one.refusal == api.Precondition.Code():
			op.Output = output{refused: true}
		case one.outcome == refused, one.outcome != done && !v.succeeded(one.request):
			continue
		case one.outcome != done: // also where it was never sent: its duplicate may have been
			op.Return, op.Output = math.MaxInt64, output{free: true}
		}
		ops[id] = append(ops[id], op)
	}
	for _, one := range v.world.history.reads {
		if one.linear && ops[one.object] != nil {
			ops[one.object] = append(ops[one.object], porcupine.Operation{Input: input{reads: true}, Call: one.call, Return: one.ret, Output: output{version: one.version, value: one.value}})
		}
	}
	for id, history := range ops {
		if len(history) > mostOps {
			v.world.count("histories too long")
			continue
		}
		v.world.count("histories")
		v.world.add("operations checked", len(history))
		if got := porcupine.CheckOperationsTimeout(compareAndSet, history, checkTime); got != porcupine.Ok {
			v.world.violation("the history of node %s with %d operations is not linearizable: %s", id, len(history), got)
		}
	}
}
