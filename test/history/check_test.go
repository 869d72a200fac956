package history

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// op is an operation on node n, from begin to end.
func op(id string, verb Verb, begin, end int, change func(*Operation)) Operation {
	o := Operation{ID: id, Kind: Register, Object: "n", Verb: verb, Begin: time.Duration(begin) * ms, End: time.Duration(end) * ms, Outcome: OK}
	if change != nil {
		change(&o)
	}
	return o
}

func create(id string, begin, end int) Operation {
	return op(id, Create, begin, end, func(o *Operation) { o.Want.Content, o.Saw = id, Value{Exists: true, Version: 1, Content: id} })
}

func swap(id string, from uint64, begin, end int) Operation {
	return op(id, Swap, begin, end, func(o *Operation) {
		o.Want = Value{Version: from, Content: id}
		o.Saw = Value{Exists: true, Version: from + 1, Content: id}
	})
}

func read(id string, version uint64, content string, begin, end int) Operation {
	return op(id, Read, begin, end, func(o *Operation) {
		o.Saw = Value{Exists: version > 0, Version: version, Content: content}
	})
}

func as(o Operation, outcome Outcome, reason Reason) Operation {
	o.Outcome, o.Reason, o.Saw = outcome, reason, Value{}
	return o
}

func at(o Operation, index uint64) Operation { o.Index = index; return o }

// vm is an operation on the VM name n.
func vm(o Operation, id string) Operation {
	o.Kind, o.Saw, o.Want = Machine, Value{Exists: id != "", ID: id}, Value{}
	return o
}

// join is a use of a token by a newcomer.
func join(id, newcomer string, outcome Outcome, begin, end int) Operation {
	return op(id, Use, begin, end, func(o *Operation) {
		o.Kind, o.Outcome, o.Want.ID = Token, outcome, newcomer
		if outcome == Fail {
			o.Reason = Taken
		}
	})
}

// logged is a log with an entry for each of these requests: from index 1 on.
func logged(requests ...string) *Log {
	var effects []Effect
	for i, r := range requests {
		if r != "" {
			effects = append(effects, Effect{Index: uint64(i + 1), N: 1, Request: r, Table: "compute_nodes", Key: "n", Verb: "update"})
		}
	}
	return NewLog(effects)
}

// TestCheck: histories that are right, and each way in which one can be wrong.
func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		ops   []Operation
		log   *Log
		fault string // empty: none
	}{
		{"nothing", nil, logged(), ""},
		{"one after the other", []Operation{create("a", 0, 1), read("r", 1, "a", 2, 3), swap("b", 1, 4, 5), read("s", 2, "b", 6, 7)}, logged("a", "b"), ""},
		{"a read beside a write sees either", []Operation{create("a", 0, 1), swap("b", 1, 2, 9), read("r", 1, "a", 3, 4), read("s", 2, "b", 5, 6)}, logged("a", "b"), ""},
		{"but not the new one, then the old one", []Operation{create("a", 0, 1), swap("b", 1, 2, 9), read("r", 2, "b", 3, 4), read("s", 1, "a", 5, 6)}, logged("a", "b"), "not linearizable"},
		{"a stale read", []Operation{create("a", 0, 1), swap("b", 1, 2, 3), read("r", 1, "a", 4, 5)}, logged("a", "b"), "not linearizable"},
		{"a stale read of another object", []Operation{at(create("a", 0, 1), 1), at(swap("b", 1, 2, 3), 2),
			at(op("r", Read, 4, 5, func(o *Operation) { o.Object = "m" }), 1)}, logged("a", "b"), "stale"},
		{"a lost write", []Operation{create("a", 0, 1), swap("b", 1, 2, 3)}, logged("a"), "lost write: b"},
		{"a lost write that nobody reads, and the log holds", []Operation{create("a", 0, 1), swap("b", 1, 2, 3), swap("c", 1, 4, 5)}, logged("a", "b", "c"), "not linearizable"},
		{"a write of content that nobody wrote", []Operation{create("a", 0, 1), read("r", 1, "x", 2, 3)}, logged("a"), "not linearizable"},
		{"a refused write that took effect", []Operation{create("a", 0, 1), as(swap("b", 7, 2, 3), Fail, Changed)}, logged("a", "b"), "refused"},
		{"a write refused for a version that was right", []Operation{create("a", 0, 1), as(swap("b", 1, 2, 3), Fail, Changed)}, logged("a"), "not linearizable"},
		{"a write refused rightly", []Operation{create("a", 0, 1), as(swap("b", 7, 2, 3), Fail, Changed)}, logged("a"), ""},
		{"applied twice", []Operation{create("a", 0, 1), swap("b", 0, 2, 3)}, logged("a", "b", "b"), "double apply"},
		{"applied twice, seen by a version", []Operation{create("a", 0, 1), swap("b", 1, 2, 3), read("r", 3, "b", 4, 5)}, logged("a", "b"), "not linearizable"},
		{"unknown, and never happened", []Operation{create("a", 0, 1), as(swap("b", 1, 2, 3), Unknown, ""), read("r", 1, "a", 4, 5)}, logged("a"), ""},
		{"unknown, and happened at once", []Operation{create("a", 0, 1), as(swap("b", 1, 2, 3), Unknown, ""), read("r", 2, "b", 4, 5)}, logged("a", "b"), ""},
		{"unknown, and happened later", []Operation{create("a", 0, 1), as(swap("b", 1, 2, 3), Unknown, ""), read("r", 1, "a", 4, 5), read("s", 2, "b", 6, 7)}, logged("a", "b"), ""},
		{"unknown, seen, and not in the log", []Operation{create("a", 0, 1), as(swap("b", 1, 2, 3), Unknown, ""), read("r", 2, "b", 4, 5)}, logged("a"), "not linearizable"},
		{"unknown, before what was answered", []Operation{create("a", 0, 1), as(swap("b", 0, 2, 3), Unknown, ""),
			op("other", Create, 4, 5, func(o *Operation) { o.Object = "m" }), read("r", 1, "a", 6, 7)}, logged("a", "b", "other"), "not linearizable"},
		{"an unknown read tells nothing", []Operation{create("a", 0, 1), as(read("r", 9, "x", 2, 3), Unknown, "")}, logged("a"), ""},
		{"the log's order against the clock's", []Operation{create("a", 0, 1), op("m", Create, 2, 3, func(o *Operation) { o.Object = "m" }),
			op("k", Create, 4, 5, func(o *Operation) { o.Object = "k" })}, logged("a", "k", "m"), "stale"},
		{"acknowledged before it was in the log", []Operation{at(create("a", 0, 1), 1)}, logged("", "", "a"), "before it took effect"},
		{"one id twice", []Operation{create("a", 0, 1), read("a", 1, "a", 2, 3)}, logged("a"), "worth nothing"},
		{"removed", []Operation{create("a", 0, 1), op("d", Delete, 2, 3, nil), read("r", 0, "", 4, 5), create("b", 6, 7)}, logged("a", "d", "b"), ""},
		{"removed, and still read", []Operation{create("a", 0, 1), op("d", Delete, 2, 3, nil), read("r", 1, "a", 4, 5)}, logged("a", "d"), "not linearizable"},

		{"a VM's life", []Operation{vm(create("a", 0, 1), "1"), vm(read("r", 1, "", 2, 3), "1"), vm(op("d", Delete, 4, 5, nil), ""), vm(read("s", 0, "", 6, 7), ""), vm(create("b", 8, 9), "2")}, logged("a", "d", "b"), ""},
		{"two VMs of one name", []Operation{vm(create("a", 0, 1), "1"), vm(create("b", 2, 3), "2")}, logged("a", "b"), "not linearizable"},
		{"one VM becomes another", []Operation{vm(create("a", 0, 1), "1"), vm(read("r", 1, "", 2, 3), "2")}, logged("a"), "not linearizable"},
		{"a VM that nobody deleted is gone", []Operation{vm(create("a", 0, 1), "1"), vm(read("r", 0, "", 2, 3), "")}, logged("a"), "not linearizable"},
		{"a VM that is gone comes back", []Operation{vm(create("a", 0, 1), "1"), vm(op("d", Delete, 2, 5, nil), ""), vm(op("g", Gone, 2, 5, nil), ""), vm(read("r", 1, "", 6, 7), "1")}, logged("a", "d"), "not linearizable"},
		{"a VM that is being deleted may be seen", []Operation{vm(create("a", 0, 1), "1"), vm(op("d", Delete, 2, 3, nil), ""), vm(read("r", 1, "", 4, 5), "1"), vm(read("s", 0, "", 6, 7), "")}, logged("a", "d"), ""},
		{"a create refused for a name that was free", []Operation{as(vm(create("a", 0, 1), "1"), Fail, Taken)}, logged(), "not linearizable"},
		{"a create without an answer whose VM the log knows", []Operation{as(vm(create("a", 0, 1), ""), Unknown, ""), vm(read("r", 1, "", 2, 3), "1")},
			NewLog([]Effect{{Index: 1, N: 1, Request: "a", Table: "vms", Key: "1", Verb: "create"}}), ""},

		{"a token used once", []Operation{join("a", "x", OK, 0, 9), join("b", "y", Fail, 1, 8)}, logged(), ""},
		{"a token used again by the same", []Operation{join("a", "x", OK, 0, 1), join("b", "x", OK, 2, 3)}, logged(), ""},
		{"a token used by two", []Operation{join("a", "x", OK, 0, 9), join("b", "y", OK, 1, 8)}, logged(), "not linearizable"},
		{"a token that was free and is refused", []Operation{join("b", "y", Fail, 0, 1), join("a", "x", OK, 2, 3)}, logged(), "not linearizable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Check(test.ops, test.log, t.TempDir())
			switch {
			case err == nil && test.fault != "":
				t.Errorf("it was accepted; expected: %s", test.fault)
			case err != nil && test.fault == "":
				t.Errorf("it was refused: %v", err)
			case err != nil && !strings.Contains(err.Error(), test.fault):
				t.Errorf("the fault is %q, expected: %s", err, test.fault)
			}
		})
	}
}

// TestTooMuchIsAFault: what cannot be judged is not accepted.
func TestTooMuchIsAFault(t *testing.T) {
	ops := []Operation{create("a", 0, 1)}
	for i := range MaxPerObject {
		ops = append(ops, read(fmt.Sprint("r", i), 1, "a", 2, 3))
	}
	if _, err := Check(ops, logged("a"), ""); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("%d operations on one object: %v", len(ops), err)
	}
}

// TestRandomHistories: clients beside each other on a register that is right, with
// answers that get lost; then one answer of it falsified, which must be found.
func TestRandomHistories(t *testing.T) {
	found := 0
	const rounds = 60
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		ops, log := play(rng)
		if _, err := Check(ops, log, ""); err != nil {
			t.Fatalf("seed %d: a history that is right is refused: %v", seed, err)
		}
		for {
			o := &ops[rng.IntN(len(ops))]
			if o.Outcome != OK || o.Verb != Read || o.Saw.Version < 2 {
				continue
			}
			o.Saw.Version += 1000 // a version that never was
			break
		}
		if _, err := Check(ops, log, ""); err != nil {
			found++
		}
	}
	if found != rounds {
		t.Errorf("%d of %d falsified histories were found", found, rounds)
	}
}

// play makes a history of 8 clients: each operation takes effect at a moment
// between its begin and its end; every seventh answer is lost.
func play(rng *rand.Rand) ([]Operation, *Log) {
	var ops []Operation
	var effects []Effect
	state, index, free := Value{Exists: true, Version: 1, Content: "a"}, uint64(1), [8]int{}
	ops = append(ops, at(create("a", 0, 1), 1))
	effects = append(effects, Effect{Index: 1, N: 1, Request: "a", Table: "compute_nodes", Key: "n", Verb: "create"})
	for now := 10; len(ops) < 120; now += 10 {
		c := rng.IntN(len(free))
		begin := max(free[c], now-rng.IntN(60))
		if begin >= now {
			continue
		}
		end := now + 1 + rng.IntN(60)
		free[c] = end + 1
		id := fmt.Sprint("o", len(ops))
		var o Operation
		switch from := max(1, state.Version-uint64(rng.IntN(2))); {
		case rng.IntN(2) == 0:
			o = at(read(id, state.Version, state.Content, begin, end), index)
		case from == state.Version:
			index++
			o = at(swap(id, from, begin, end), index)
			state = o.Saw
			effects = append(effects, Effect{Index: index, N: 1, Request: id, Table: "compute_nodes", Key: "n", Verb: "update"})
		default:
			o = as(swap(id, from, begin, end), Fail, Changed)
		}
		o.Client = c
		if rng.IntN(7) == 0 {
			o = as(o, Unknown, "")
		}
		ops = append(ops, o)
	}
	return ops, NewLog(effects)
}
