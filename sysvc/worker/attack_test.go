package worker

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// attack is something that no call may do, and how it ends.
type attack struct {
	name, script string
	function     string
	within       time.Duration // 0: long enough
	steps        uint64
	is           error    // the error, or
	says         []string // what is in it
}

const deadline = 400 * time.Millisecond

var attacks = []attack{
	{name: "loop until the deadline", script: "def f():\n    while True:\n        pass", within: deadline, steps: 1 << 62, is: ErrDeadline},
	{name: "loop until the steps are over", script: "def f():\n    while True:\n        pass", steps: 1_000_000, is: ErrSteps, says: []string{"svc.star:1:"}},
	{name: "loop at the top", script: "while True:\n    pass\ndef f():\n    pass", steps: 1_000_000, is: ErrSteps},
	{name: "double a list", script: "def f():\n    l = [1]\n    while True:\n        l = l + l", is: ErrMemory},
	{name: "double a string", script: "def f():\n    s = 'x'\n    while True:\n        s = s + s", is: ErrMemory},
	{name: "a list at once", script: "def f():\n    return list(range(1 << 40))", is: ErrMemory},
	{name: "a string at once", script: "def f():\n    return 'a' * (1 << 29)", is: ErrMemory},
	{name: "multiply a string", script: "def f():\n    return 'a' * (1 << 31)", says: []string{"repeat count 2147483648 too large"}},
	{name: "shift an int", script: "def f():\n    return 1 << 1000000000", says: []string{"shift count too large"}},
	{name: "square an int", script: "def f():\n    x = 3\n    while True:\n        x = x * x", within: 2 * time.Second},
	{name: "a long int as the result", script: "def f():\n    x = 3\n    for _ in range(20):\n        x = x * x\n    return x", says: []string{"return invalid result", "too long"}},
	{name: "recursion", script: "def f():\n    return f()", says: []string{"called recursively"}},
	{name: "nested lists as the result", script: "def f():\n    l = []\n    for _ in range(1000000):\n        l = [l]\n    return l", says: []string{"nested 200 deep"}},
	{name: "a list in itself", script: "def f():\n    l = []\n    l.append(l)\n    return l", says: []string{"nested 200 deep"}},
	{name: "nested lists as text", script: "def f():\n    l = []\n    for _ in range(3000000):\n        l = [l]\n    return str(l)", within: 5 * time.Second}, // deadline, stack or memory
	{name: "nested JSON", script: "def f():\n    return json.decode('[' * 10000000)", says: []string{"nested 200 deep"}},
	{name: "nested source", script: "x = " + strings.Repeat("(", 1<<20) + strings.Repeat(")", 1<<20), says: []string{"excessive nesting"}},
	{name: "10 MB as the result", script: "def f():\n    return 'x' * 10000000", says: []string{"return invalid result"}},
	{name: "2 MB as the result", script: "def f():\n    return 'x' * 2000000", says: []string{"return invalid result: 2000002 bytes"}},
	{name: "10 MB for the host", script: "def f():\n    kv.set('k', 'x' * 10000000)", says: []string{"kv.set: it would be more than"}},
	{name: "2 MB for the host", script: "def f():\n    kv.set('k', 'x' * 2000000)", says: []string{"kv.set: it is given 2000021 bytes"}},
	{name: "10 MB as the error", script: "def f():\n    fail('x' * 10000000)", says: []string{"fail: xxx"}},
	{name: "a flood of lines", script: "def f():\n    while True:\n        log('x' * 100)", says: []string{"log: one call may write 10000 lines"}},
	{name: "a flood of long lines", script: "def f():\n    while True:\n        print('x' * 1000000)", says: []string{"log: one call may write 10000 lines"}},
	{name: "what was not granted", script: "def f():\n    kv.set('k', 'v')", says: []string{"not granted: kv.set needs kv = true"}},
	{name: "a function as the result", script: "def f():\n    return f", says: []string{"return invalid result: a function has no place in JSON"}},
	{name: "a key that is no string", script: "def f():\n    return {1: 2}", says: []string{"return invalid result", "keys in JSON are strings"}},
	{name: "not a number", script: "def f():\n    return float('nan')", says: []string{"return invalid result"}},
	{name: "load a module that loads it", script: "load('svc', 'x')\ndef f():\n    pass", says: []string{"loads itself"}},
	{name: "load a file", script: "load('/etc/passwd', 'x')\ndef f():\n    pass", says: []string{"no Starlark module"}},
}

//race:out
func TestAttacksOfStarlark(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			b := newPool(t, func(c *Config) { c.Workers, c.Steps = 1, a.steps })
			b.works(t)
			a.function = "f"
			a.try(t, b, b.service(a.script))
		})
	}
}

//race:out
func TestAttacksOfWASM(t *testing.T) {
	b := newPool(t, func(c *Config) { c.Workers = 1 })
	p := b.wasm(t, attackFolder)
	if got, err := b.callWithin(t, compileTime, p, "fine", "", &host{}); err != nil || got != `"fine"` {
		t.Fatalf("got %s, %v", got, err)
	}
	for _, a := range []attack{
		{name: "loop until the deadline", function: "loop", within: 2 * time.Second, is: ErrDeadline},
		{name: "grow", function: "grow", is: ErrMemory},
		{name: "recurse", function: "recurse"},
		{name: "10 MB as the result", function: "huge", says: []string{"return invalid result"}},
		{name: "panic", function: "panic", says: []string{"panic: at the disco"}},
		{name: "a flood of lines", function: "flood", says: []string{"log: one call may write"}},
		{name: "what was not granted", function: "ungranted", says: []string{"not granted: kv.set needs kv = true"}},
		{name: "a name with an underscore", function: "_functions", is: ErrNoFunction},
	} {
		t.Run(a.name, func(t *testing.T) { a.try(t, b, p) })
	}
	if b.asked != 2 { // the module, and what works asks for: the worker has survived all of it
		t.Errorf("modules were asked for %d times, want 2", b.asked)
	}
}

// try asserts that the attack ends as it should, that this process does not suffer, and
// that the next call is answered.
func (a attack) try(t *testing.T, b bench, p Program) {
	t.Helper()
	if a.within == 0 {
		a.within = time.Minute
	}
	before := heap()
	began := time.Now()
	got, err := b.callWithin(t, a.within, p, a.function, "", &host{})
	t.Logf("after %v: %.300v", time.Since(began), err)
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("this process grew by %d bytes", grown)
	}
	if took := time.Since(began); took > a.within+10*time.Second {
		t.Errorf("it took %v, want no more than %v", took, a.within)
	}
	if len(got) > 100 {
		got = got[:100]
	}
	contains(t, err, a.says...)
	if a.is != nil && !errors.Is(err, a.is) {
		t.Errorf("got %s, %.300v, want %v", got, err, a.is)
	}
	if err != nil && len(err.Error()) > 10_000 {
		t.Errorf("got an error of %d bytes", len(err.Error()))
	}
	b.works(t)
}
