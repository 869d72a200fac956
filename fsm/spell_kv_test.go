package fsm

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// kept is a spell with values.
type kept struct {
	turns
	id string
}

func newKept(t *testing.T) kept {
	l := newTurns(t, "a")
	return kept{l, l.spelled("s", everySecond)}
}

func (k kept) change(ops ...api.KVOp) Result {
	k.t.Helper()
	return k.send(ActorOfPeer("a"), changeKV, api.KVChange{Store: k.id, By: api.KVBySelf, Ops: ops})
}

func (k kept) does(want string, ops ...api.KVOp) {
	k.t.Helper()
	if r := k.change(ops...); r.Err != nil {
		k.t.Errorf("%+v: %v", ops, r.Err)
	}
	if got := k.values(k.id); got != want {
		k.t.Errorf("after %+v there are %q, want %q", ops, got, want)
	}
}

func (k kept) refuses(kind api.Kind, ops ...api.KVOp) {
	k.t.Helper()
	before := k.values(k.id)
	if r := k.change(ops...); r.Err == nil || r.Err.Kind != kind {
		k.t.Errorf("%+v: %v, want %s", ops, r.Err, kind.Code())
	}
	if got := k.values(k.id); got != before {
		k.t.Errorf("%+v was refused, and there are %q, not %q", ops, got, before)
	}
}

func (k kept) u32(key string) uint32 {
	e, _ := k.m.Read().KV(k.id, key)
	return e.U32
}

// TestValuesChange: each op on what those before it have left, all of them or none.
func TestValuesChange(t *testing.T) {
	k := newKept(t)
	op := func(verb api.KVVerb, key, text string) api.KVOp { return api.KVOp{Verb: verb, Key: key, Text: text} }
	k.does("a=1", op(api.KVSet, "a", "1"))
	first, _ := k.m.Read().KV(k.id, "a")
	k.does("a=1", op(api.KVSet, "a", "1"))
	if again, _ := k.m.Read().KV(k.id, "a"); again.Version != first.Version || again.Scope != "a" || again.Account != api.DefaultAccount {
		t.Errorf("the same again: %+v", again)
	}
	k.does("a=2", api.KVOp{Verb: api.KVSet, Key: "a", Text: "2", IfVersion: first.Version})
	k.refuses(api.Precondition, api.KVOp{Verb: api.KVSet, Key: "a", Text: "3", IfVersion: first.Version})
	k.refuses(api.Precondition, api.KVOp{Verb: api.KVCompare, Key: "a", IfAbsent: true})
	k.refuses(api.Precondition, api.KVOp{Verb: api.KVCompare, Key: "none", IfVersion: 1})
	k.refuses(api.Precondition, op(api.KVSet, "b", "1"), api.KVOp{Verb: api.KVCompare, Key: "a", IfVersion: first.Version})
	second, _ := k.m.Read().KV(k.id, "a")
	k.does("", op(api.KVRemove, "a", ""), op(api.KVRemove, "none", ""))
	k.does("a=9", api.KVOp{Verb: api.KVSet, Key: "a", Text: "9", IfAbsent: true})
	if anew, _ := k.m.Read().KV(k.id, "a"); anew.Version <= second.Version {
		t.Errorf("made again it has version %d, and had %d", anew.Version, second.Version)
	}
	k.does("", op(api.KVRemove, "a", ""))

	k.does("n=", api.KVOp{Verb: api.KVAdd, Key: "n", U32: 2}, api.KVOp{Verb: api.KVAdd, Key: "n", U32: 3})
	if got := k.u32("n"); got != 5 {
		t.Errorf("2 and 3 are %d", got)
	}
	k.does("n=", api.KVOp{Verb: api.KVSetU32, Key: "n", U32: math.MaxUint32})
	k.refuses(api.Conflict, api.KVOp{Verb: api.KVAdd, Key: "n", U32: 1})
	k.refuses(api.Conflict, op(api.KVPush, "n", "x"))
	k.refuses(api.Conflict, op(api.KVField, "n", "x"))
	k.does("n=text", op(api.KVSet, "n", "text"))
	k.refuses(api.Conflict, api.KVOp{Verb: api.KVAdd, Key: "n", U32: 1})
	k.does("", op(api.KVRemove, "n", ""))

	k.does("l=a+b+a+c", op(api.KVPush, "l", "a"), op(api.KVPush, "l", "b"), op(api.KVPush, "l", "a"), op(api.KVPush, "l", "c"))
	k.refuses(api.Precondition, op(api.KVPop, "l", "b"))
	k.does("l=a+b+a", op(api.KVPop, "l", "c"))
	k.refuses(api.Precondition, api.KVOp{Verb: api.KVTake, Key: "l", Text: "b", U32: 0})
	k.refuses(api.Precondition, api.KVOp{Verb: api.KVTake, Key: "l", Text: "b", U32: 7})
	k.does("l=b", op(api.KVDrop, "l", "a"))
	k.does("l=b", op(api.KVDrop, "l", "none"))
	k.does("l=", api.KVOp{Verb: api.KVTake, Key: "l", Text: "b", U32: 0})
	k.refuses(api.Precondition, op(api.KVPop, "l", ""))
	k.refuses(api.Precondition, op(api.KVPop, "none", ""))
	k.does("", op(api.KVRemove, "l", ""))

	field := func(name, text string) api.KVOp {
		return api.KVOp{Verb: api.KVField, Key: "o", Field: name, Text: text}
	}
	k.does(`o={"x":1,"y":[2]}`, field("x", "1"), field("y", "[2]"))
	k.does(`o={"x":{},"y":[2]}`, field("x", "{}"))
	k.does(`o={"y":[2]}`, field("x", ""))
	k.refuses(api.Invalid, field("x", "{"))
	k.does("o=[1]", op(api.KVSet, "o", "[1]"))
	k.refuses(api.Conflict, field("x", "1"))
	k.refuses(api.Invalid, op("dance", "o", ""))
	k.refuses(api.Invalid)
	valuesHold(t, 0, k.m.Read())
}

// TestWhoWritesWhichKeys: by its prefix a key is for the host, the account, both, or the spell itself.
func TestWhoWritesWhichKeys(t *testing.T) {
	k := newKept(t)
	k.makeAccount("other")
	a := ActorOfPeer("a")
	for key, may := range map[string][]api.KVWriter{"x": {api.KVBySelf}, "h_x": {api.KVByHost}, "w_x": {api.KVByAccount}, "hw_x": {api.KVByHost, api.KVByAccount}, api.KeyCounter: nil, api.KeyTrigger: nil} {
		for _, by := range []api.KVWriter{api.KVBySelf, api.KVByHost, api.KVByAccount} {
			actor := a
			if by == api.KVByAccount {
				actor = boundTo(api.DefaultAccount, api.RoleOperator)
			}
			r := k.send(actor, changeKV, setKV(k.id, by, key, "v"))
			if ok := slices.Contains(may, by); ok != (r.Err == nil) || !ok && r.Err.Kind != api.Forbidden {
				t.Errorf("%s writes %s: %v", by, key, r.Err)
			}
		}
	}
	k.refused(api.NotFound, boundTo("other", api.RoleOperator), changeKV, setKV(k.id, api.KVByAccount, "w_x", "v"))
	k.refused(api.Forbidden, viewer, changeKV, setKV(k.id, api.KVByAccount, "w_x", "v"))
	k.refused(api.Forbidden, operator, changeKV, setKV(k.id, api.KVBySelf, "x", "v"))
	k.refused(api.Forbidden, operator, changeKV, setKV(k.id, api.KVByHost, "h_x", "v"))
	k.refused(api.Forbidden, ActorOfPeer("b"), changeKV, setKV(k.id, api.KVBySelf, "x", "v"))
	k.refused(api.NotFound, a, changeKV, setKV("gone", api.KVBySelf, "x", "v"))
	k.refused(api.NotFound, operator, changeKV, setKV("gone", api.KVByAccount, "w_x", "v"))
	k.refused(api.Invalid, a, changeKV, setKV(k.id, "them", "x", "v"))
	service := k.must(a, deployService, registryOf("a", testSums[0])).Key
	k.must(a, changeKV, setKV(service, api.KVBySelf, "x", "v", "w_x", "v"))
	k.must(a, changeKV, setKV(service, api.KVByHost, "x", "w"))
	k.refused(api.Forbidden, admin, changeKV, setKV(service, api.KVByAccount, "w_x", "v"))
}

// TestValuesOfRuns: how many runs there were, and what fired the newest, is read as values.
func TestValuesOfRuns(t *testing.T) {
	k := newKept(t)
	keys := func(prefix string) string {
		var all []string
		for e := range k.m.Read().KVs(k.id, prefix) {
			all = append(all, e.Key)
		}
		return strings.Join(all, " ")
	}
	if got := keys(""); got != api.KeyCounter || k.u32(api.KeyCounter) != 0 {
		t.Errorf("before it ran there are %s, and %d runs", got, k.u32(api.KeyCounter))
	}
	k.begin(k.id, tick(0))
	k.must(ActorOfPeer("a"), changeKV, setKV(k.id, api.KVByHost, "hw_d", "", "h_a", "", "hw_u", ""))
	k.must(ActorOfPeer("a"), changeKV, setKV(k.id, api.KVBySelf, "a", "", "z", ""))
	for prefix, want := range map[string]string{"": "a h_a hw_counter hw_d hw_trigger hw_u z", "hw_t": "hw_trigger", "hw_": "hw_counter hw_d hw_trigger hw_u", "q": "", "z": "z"} {
		if got := keys(prefix); got != want {
			t.Errorf("with prefix %q there are %q, want %q", prefix, got, want)
		}
	}
	if e, _ := k.m.Read().KV(k.id, api.KeyTrigger); e.Kind != api.KVString || e.Text != `{"kind":"clock"}` || k.u32(api.KeyCounter) != 1 {
		t.Errorf("%+v", e)
	}
	for range k.m.Read().KVs(k.id, "") { // a walk may be left
		break
	}
}

func TestLimitsOfValues(t *testing.T) {
	k := newKept(t)
	long := strings.Repeat("x", api.MaxKVValue)
	push := func(text string) api.KVOp { return api.KVOp{Verb: api.KVPush, Key: "l", Text: text} }
	for name, ops := range map[string][]api.KVOp{
		"a long key":   {{Verb: api.KVSet, Key: strings.Repeat("k", api.MaxKVKey+1)}},
		"no key":       {{Verb: api.KVSet}},
		"a long value": {{Verb: api.KVSet, Key: "k", Text: long + "x"}},
		"many ops":     make([]api.KVOp, maxKVOps+1),
	} {
		if r := k.change(ops...); r.Err == nil || r.Err.Kind != api.Invalid {
			t.Errorf("%s: %v", name, r.Err)
		}
	}
	k.must(ActorOfPeer("a"), changeKV, api.KVChange{Store: k.id, By: api.KVBySelf, Ops: []api.KVOp{{Verb: api.KVSet, Key: "o", Text: `{"a":"` + long[:60000] + `"}`}}})
	if r := k.change(api.KVOp{Verb: api.KVField, Key: "o", Field: "b", Text: `"` + long[:6000] + `"`}); r.Err == nil || r.Err.Kind != api.Conflict {
		t.Errorf("an object that grows too large: %v", r.Err)
	}

	k.during(k.at, func(tx *Txn) {
		putKV(tx, api.KVEntry{Store: k.id, Key: "l", Scope: "a", Account: api.DefaultAccount, Kind: api.KVList, List: slices.Repeat([]string{"e"}, api.MaxKVList)})
	})
	if r := k.change(push("one more")); r.Err == nil || r.Err.Kind != api.Conflict {
		t.Errorf("element 10,001: %v", r.Err)
	}
	k.change(api.KVOp{Verb: api.KVRemove, Key: "l"})
	for range 15 {
		if r := k.change(push(long)); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if r := k.change(push(long), push("y")); r.Err == nil || r.Err.Kind != api.Conflict {
		t.Errorf("a list of more than a megabyte: %v", r.Err)
	}

	k.during(k.at, func(tx *Txn) {
		for n := range api.MaxKVKeys {
			putKV(tx, api.KVEntry{Store: k.id, Key: fmt.Sprintf("k%05d", n), Scope: "a", Account: api.DefaultAccount, Kind: api.KVU32})
		}
	})
	if r := k.change(api.KVOp{Verb: api.KVSet, Key: "new"}); r.Err == nil || r.Err.Kind != api.Conflict || !strings.Contains(r.Err.Msg, "10000 is the most") {
		t.Errorf("key 10,001: %v", r.Err)
	}
	if r := k.change(api.KVOp{Verb: api.KVSet, Key: "k00000", Text: "v"}, api.KVOp{Verb: api.KVRemove, Key: "k00001"}); r.Err != nil {
		t.Errorf("a value that was there: %v", r.Err)
	}
	k.during(k.at, func(tx *Txn) {
		dropStore(tx, k.id)
		for n := range 240 {
			putKV(tx, api.KVEntry{Store: k.id, Key: fmt.Sprintf("k%05d", n), Scope: "a", Account: api.DefaultAccount, Kind: api.KVList, List: []string{long, long[:4000]}})
		}
	})
	if r := k.change(api.KVOp{Verb: api.KVSet, Key: "a", Text: long}, api.KVOp{Verb: api.KVSet, Key: "b", Text: long}); r.Err == nil || r.Err.Kind != api.Conflict || !strings.Contains(r.Err.Msg, "bytes") {
		t.Errorf("more than 16 MiB: %v; there are %+v", r.Err, k.m.Read().storeSize(k.id))
	}
	valuesHold(t, 0, k.m.Read())
}

// TestJSONFields: what our own reading takes for JSON is what the library does, and a
// field that is set is found again.
func TestJSONFields(t *testing.T) {
	for _, c := range []struct{ object, field, value, want string }{
		{`{}`, "a", "1", `{"a":1}`},
		{` { "a" : 1 , "b":2 } `, "a", "3", `{"a":3,"b":2}`},
		{`{"a":1,"\u0061":2}`, "a", "3", `{"a":3}`},
		{`{"a":1}`, "b\n\"", "[ ]", `{"a":1,"b\u000a\"":[ ]}`},
		{`{"\ud83d\ude00":1}`, "😀", "", `{}`},
		{`{"\ud83d":1}`, "�", "2", `{"�":2}`},
	} {
		if got, ok := withField(c.object, c.field, c.value); !ok || got != c.want {
			t.Errorf("%s with %q = %s: got %s, want %s", c.object, c.field, c.value, got, c.want)
		}
	}
	pieces := []string{"{", "}", "[", "]", ",", ":", `"a"`, `"\u00e9"`, `"\x"`, `"\ud800"`, `"`, "1", "-0", "01", "1.5e+3", "1.", "-", "true", "nul", "null", " ", "\n", "é", `"é"`, "{}", `{"a":1}`}
	rng := rand.New(rand.NewPCG(5, 6))
	valid := 0
	for range 200_000 {
		var b strings.Builder
		for range 1 + rng.IntN(6) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		text := b.String()
		if got, want := validJSON(text), json.Valid([]byte(text)); got != want {
			t.Fatalf("%q is JSON: %v, says encoding/json: %v", text, got, want)
		}
		is, ok := withField(text, "é", "7")
		if !ok {
			continue
		}
		valid++
		var before, after map[string]any
		if json.Unmarshal([]byte(text), &before) != nil || json.Unmarshal([]byte(is), &after) != nil {
			t.Fatalf("%q became %q", text, is)
		}
		if len(after) == 0 || after["é"] != 7.0 || len(after)-len(before) > 1 {
			t.Fatalf("%q became %q", text, is)
		}
	}
	if valid < 1000 {
		t.Errorf("only %d were objects", valid)
	}
	if deep := strings.Repeat("[", 300) + strings.Repeat("]", 300); validJSON(deep) {
		t.Error("what is too deep was taken")
	}
}
