package worker

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// heap is how many bytes this process uses, without garbage.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestHello(t *testing.T) {
	newPool(t).works(t)
}

// All that a module in Go can do. It is compiled once, which takes its time.
//
//race:out
func TestModuleInGo(t *testing.T) {
	b := newPool(t, func(c *Config) { c.Workers = 1 })
	p := b.wasm(t, exampleFolder)
	p.Modules[0].Settings = json.RawMessage(`{"greeting": "good day"}`)
	names, err := b.Functions(during(t, compileTime), p)
	if got, want := fmt.Sprint(names), "[count forward greet]"; err != nil || got != want {
		t.Fatalf("got functions %s, %v, want %s", got, err, want)
	}
	h := keeping()
	h.services = map[string]Program{"square": b.service("def of(x):\n    return x * x"), "guest": p}
	beside := p.Modules[0]
	beside.Name = "guest"
	mixed := Program{Modules: []Module{beside, b.star("face", `
def greet(name):
    return module_call("guest", "greet", {"name": name}) + "!"

def through():
    return call("guest", "forward", {"service": "square", "function": "of", "args": [6]})

def nobody():
    module_call("nobody", "x")
`)}}
	for _, c := range []struct {
		program              Program
		function, args, want string
	}{
		{p, "greet", `{"name": "you"}`, `"good day you"`},
		{p, "count", "", `{"calls":1}`},
		{p, "count", "", `{"calls":2}`},
		{mixed, "greet", `["you"]`, `"good day you!"`},
		{mixed, "through", "", "36"},
	} {
		if got, err := b.call(t, c.program, c.function, c.args, h); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.function, got, err, c.want)
		}
	}
	if !slices.Contains(h.asked, `log {"text":"call 2 by uid:0"}`) {
		t.Errorf("the host was asked %q, and not for the log", h.asked)
	}
	if _, err := b.call(t, p, "sing", "", h); !errors.Is(err, ErrNoFunction) {
		t.Errorf("got %v, want ErrNoFunction", err)
	}
	_, err = b.call(t, p, "greet", "{}", h)
	contains(t, err, "whom am I to greet?")
	_, err = b.call(t, mixed, "nobody", "", h)
	contains(t, err, `the service has no module "nobody"`)
}

// compileTime is how long a module in Go may take to be compiled by a worker: seconds,
// and far more where the race detector looks on.
const compileTime = 5 * time.Minute

func TestWhatScriptsKnow(t *testing.T) {
	b := newPool(t)
	lib := b.star("lib", "def twice(x):\n    return 2 * x")
	lib.Settings = json.RawMessage(`{"of": "lib"}`)
	face := b.star("face", `
load("lib", "twice")
seen = []

def values(a, b=2):
    seen.append(a)
    return {"z": twice(a), "b": b, "seen": seen, "settings": settings, "who": caller.id + " " + caller.role + " " + caller.account,
        "spell": spell, "none": None, "float": 1.0, "big": 1 << 100, "tuple": (1, "ä\n\"")}

def crypt():
    return [crypto.sha256("abc"), base64.decode(base64.encode("x")), hex.encode("az"), json.decode('{"b": 1, "a": [1.5]}'), math.floor(2.5),
        crypto.ed25519_verify("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b")]

def _private():
    pass

def frozen():
    settings["x"] = 1
`)
	face.Settings = json.RawMessage(`{"b": [1, {"c": 12345678901234567890123}], "a": 1.0}`)
	p := Program{Modules: []Module{lib, face}}
	want := `{"z":6,"b":2,"seen":[3],"settings":{"b":[1,{"c":12345678901234567890123}],"a":1.0},"who":"uid:0 admin default",` +
		`"spell":null,"none":null,"float":1.0,"big":1267650600228229401496703205376,"tuple":[1,"ä\n\""]}`
	for range 2 { // nothing is left of the first call
		if got, err := b.call(t, p, "values", `{"a": 3}`, &host{}); err != nil || got != want {
			t.Errorf("by name: got %s, %v, want %s", got, err, want)
		}
		if got, err := b.call(t, p, "values", `[3]`, &host{}); err != nil || got != want {
			t.Errorf("in order: got %s, %v, want %s", got, err, want)
		}
	}
	want = `["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","x","617a",{"b":1,"a":[1.5]},2,true]`
	if got, err := b.call(t, p, "crypt", "", &host{}); err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	_, err := b.call(t, p, "frozen", "", &host{})
	contains(t, err, "frozen", "face.star:19:13")
	if _, err := b.call(t, p, "_private", "", &host{}); !errors.Is(err, ErrNoFunction) {
		t.Errorf("private: got %v, want ErrNoFunction", err)
	}
	names, err := b.Functions(t.Context(), p)
	if got, want := fmt.Sprint(names), "[values crypt frozen]"; err != nil || got != want {
		t.Errorf("got functions %s, %v, want %s", got, err, want)
	}
}

func TestSpell(t *testing.T) {
	b := newPool(t)
	p := Program{Spell: true, Modules: []Module{b.star("beat", "def run():\n    log('run', spell.counter, spell.trigger['kind'])\n    print(spell.alias)")}}
	h := &host{}
	got, err := b.Call(t.Context(), Call{Program: p, Host: h, Context: Context{Spell: json.RawMessage(`{"alias": "beat", "counter": 7, "trigger": {"kind": "clock"}}`)}})
	if err != nil || string(got) != "null" {
		t.Errorf("got %s, %v, want null", got, err)
	}
	if got, want := strings.Join(h.asked, "; "), `log {"text":"run 7 clock"}; log {"text":"beat"}`; got != want {
		t.Errorf("the host was asked %s, want %s", got, want)
	}
	_, err = b.Functions(t.Context(), Program{Spell: true, Modules: []Module{b.star("none", "x = 1")}})
	contains(t, err, "none defines no function run")
	_, err = b.Functions(t.Context(), Program{Spell: true, Modules: []Module{b.star("broken", "def run():\n    nope()")}})
	contains(t, err, "undefined: nope", "broken.star:2:5")
	_, err = b.Functions(t.Context(), Program{Spell: true, Modules: []Module{b.star("syntax", "def run(:")}})
	contains(t, err, "syntax.star:1:")
}

// Host functions go to the host by name, with their arguments by name.
func TestHostFunctions(t *testing.T) {
	b := newPool(t)
	h := keeping()
	script := `
def run_all():
    kv.set("b", "1")
    kv.set(key="a", text="ü")
    return [kv.get("b"), kv.get("c"), kv.items(), kv.add_u32("n", 2), kv.add_u32("n", 3)]

def refused():
    kv.push("l", "x")

def wrong():
    kv.set("only a key")
`
	got, err := b.call(t, b.service(script), "run_all", "", h)
	if want := `["1",null,{"a":"ü","b":"1"},2,5]`; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	_, err = b.call(t, b.service(script), "refused", "", h)
	contains(t, err, "not granted: kv.push needs kv = true under [grants] of package.toml", "svc.star:8:12")
	var script1 *ScriptError
	if !errors.As(err, &script1) || !strings.Contains(script1.Backtrace, "in refused") {
		t.Errorf("got %#v, want a ScriptError with a backtrace", err)
	}
	_, err = b.call(t, b.service(script), "wrong", "", h)
	contains(t, err, "missing argument for text")
}

// Calls from inside a call run in the same worker.
func TestCallsInside(t *testing.T) {
	b := newPool(t, func(c *Config) { c.Workers = 1 })
	h := keeping()
	h.services = map[string]Program{
		"square": b.service("def of(x):\n    log(caller.id)\n    return x * x\ndef fails():\n    return {'success': False, 'error': 'no luck'}\ndef breaks():\n    return 1 // 0"),
		"again":  b.service("def again(n):\n    return call('again', 'again', {'n': n + 1})"),
		"spin":   b.service("def spin():\n    while True:\n        pass"),
	}
	outer := b.service(`
def good():
    return [call("square", "of", {"x": 3}), call("square", "of", [4]), attempt("square", "of", [5])]
def bad(function):
    return [attempt("square", function), attempt("nowhere", "f"), attempt("square", "_f")]
def worse():
    call("square", "breaks")
def caught():
    return attempt("spin", "spin")
`)
	for _, c := range []struct{ function, args, want string }{
		{"good", "", `[9,16,{"error":"","result":25,"success":true}]`},
		{"bad", `["fails"]`, `[{"error":"call square.fails: no luck","result":null,"success":false},` +
			`{"error":"call nowhere: there is no service nowhere","result":null,"success":false},` +
			`{"error":"call square._f: no function \"_f\" can be called","result":null,"success":false}]`},
	} {
		if got, err := b.call(t, outer, c.function, c.args, h); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.function, got, err, c.want)
		}
	}
	_, err := b.call(t, outer, "worse", "", h)
	contains(t, err, "call square.breaks: floored division by zero", "svc.star:7:9")
	_, err = b.call(t, h.services["again"], "again", `[0]`, h)
	contains(t, err, "calls may go 16 deep")
	_, err = b.callWithin(t, 300*time.Millisecond, outer, "caught", "", h)
	if !errors.Is(err, ErrDeadline) {
		t.Errorf("got %v, want the one deadline of all calls", err)
	}
	b.works(t)
}

// The workers wait for each other, and for nobody for ever.
func TestBusy(t *testing.T) {
	b := newPool(t, func(c *Config) { c.Workers = 1 })
	inside, leave := make(chan struct{}), make(chan struct{})
	h := &host{functions: map[string]func(json.RawMessage) (any, error){"now": func(json.RawMessage) (any, error) {
		close(inside)
		<-leave
		return 1, nil
	}}}
	first := make(chan error)
	go func() {
		_, err := b.Call(t.Context(), Call{Program: b.service("def f():\n    return now()"), Function: "f", Host: h})
		first <- err
	}()
	<-inside
	_, err := b.callWithin(t, 50*time.Millisecond, b.service("def f():\n    pass"), "f", "", &host{})
	if !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
	b.works(t)
}

// Who kills a worker fails the call that it runs and no other.
func TestKilledWorker(t *testing.T) {
	b := newPool(t)
	type one struct{ inside, leave chan struct{} }
	var calls []one
	results := make(chan error)
	program := b.service("def f():\n    return now()")
	for range 2 {
		c := one{make(chan struct{}), make(chan struct{})}
		calls = append(calls, c)
		h := &host{functions: map[string]func(json.RawMessage) (any, error){"now": func(json.RawMessage) (any, error) {
			close(c.inside)
			<-c.leave
			return 1, nil
		}}}
		go func() {
			_, err := b.Call(t.Context(), Call{Program: program, Function: "f", Host: h})
			results <- err
		}()
		<-c.inside
	}
	b.Pool.mu.Lock()
	for w := range b.all {
		syscall.Kill(w.pid, syscall.SIGKILL)
		break
	}
	b.Pool.mu.Unlock()
	for _, c := range calls {
		close(c.leave)
	}
	a, z := <-results, <-results
	if a == nil {
		a, z = z, a
	}
	if !errors.Is(a, ErrCrashed) || z != nil {
		t.Errorf("got %v and %v, want ErrCrashed and nothing", a, z)
	}
	b.works(t)
}

// A worker that somebody kills while it rests fails no call.
func TestKilledWhileIdle(t *testing.T) {
	b := newPool(t)
	b.works(t)
	for w := range b.all {
		if err := syscall.Kill(w.pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		<-w.gone
	}
	b.works(t)
	if got := len(b.all); got != 1 {
		t.Errorf("got %d workers, want 1", got)
	}
}

// A worker that nobody needs goes, and the next call starts another.
func TestWorkersRest(t *testing.T) {
	b := newPool(t)
	b.cfg.Rest = time.Millisecond
	b.works(t)
	b.Pool.mu.Lock()
	for w := range b.Pool.all {
		b.Pool.mu.Unlock()
		<-w.gone
		b.Pool.mu.Lock()
	}
	b.Pool.mu.Unlock()
	b.works(t)
}

func TestCancelAndClose(t *testing.T) {
	b := newPool(t)
	ctx, cancel := context.WithCancel(t.Context())
	h := &host{functions: map[string]func(json.RawMessage) (any, error){"now": func(json.RawMessage) (any, error) { cancel(); return 1, nil }}}
	spin := b.service("def f():\n    now()\n    while True:\n        pass")
	if _, err := b.Call(ctx, Call{Program: spin, Function: "f", Host: h}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	h.functions["now"] = func(json.RawMessage) (any, error) { go b.Close(); return 1, nil }
	if _, err := b.Call(t.Context(), Call{Program: spin, Function: "f", Host: h}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if _, err := b.call(t, spin, "f", "", h); !errors.Is(err, ErrClosed) {
		t.Errorf("afterwards: got %v, want ErrClosed", err)
	}
}

// A worker holds nothing but its pipes, is nobody, and sees no network.
func TestConfinement(t *testing.T) {
	b := newPool(t, func(c *Config) { c.Workers = 1 })
	checked := false
	h := &host{functions: map[string]func(json.RawMessage) (any, error){"now": func(json.RawMessage) (any, error) {
		checked = true
		for w := range b.all {
			checkConfined(t, fmt.Sprintf("/proc/%d", w.pid))
		}
		return 1, nil
	}}}
	tiny := Program{Modules: []Module{{Name: "tiny", Kind: api.ModuleWASM, Digest: b.put(tinyModule)}}}
	if got, err := b.call(t, tiny, "f", "", h); err != nil || got != `["f"]` { // it has everything then that it ever has
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := b.call(t, b.service("def f():\n    return now()"), "f", "", h); err != nil {
		t.Error(err)
	}
	if !checked {
		t.Error("nothing was checked")
	}
}

// tinyModule answers every call with {"result": ["f"]}. How it is made is shown in the
// tests of package wasm.
var tinyModule, _ = hex.DecodeString("0061736d01000000010c0260017f017f60027f7f017e03030200010503010001071903066d656d6f7279020005616c6c6f6300000463616c6c00010a120205004180200b0a0042908080808080010b0b1701004180080b107b22726573756c74223a5b2266225d7d")

func checkConfined(t *testing.T, proc string) {
	fds, err := os.ReadDir(proc + "/fd")
	if os.Geteuid() != 0 {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v, want that its own user cannot look into a worker", err)
		}
		checkThreads(t, proc)
		return
	}
	if err != nil {
		t.Error(err)
	}
	for _, fd := range fds {
		what, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		own := strings.HasPrefix(what, "anon_inode:[event") // what the Go runtime waits with
		if err != nil || !own && !(strings.HasPrefix(what, "pipe:") && len(fd.Name()) == 1 && fd.Name() <= "2") {
			t.Errorf("file %s is %s (%v), want only the three pipes", fd.Name(), what, err)
		}
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(proc, name))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	if env := read("environ"); env != "" {
		t.Errorf("got environment %q, want none", env)
	}
	checkThreads(t, proc)
	devices := strings.Split(strings.TrimSpace(read("net/dev")), "\n")[2:]
	if len(devices) != 1 || !strings.HasPrefix(strings.TrimSpace(devices[0]), "lo:") {
		t.Errorf("got network devices %q, want lo alone", devices)
	}
	if routes := strings.TrimSpace(read("net/fib_trie")); routes != "" {
		t.Errorf("got routes %q, want none: lo is down", routes)
	}
	limits := strings.Join(strings.Fields(read("limits")), " ")
	for _, limit := range []string{"Max core file size 0 0", "Max file size 0 0", "Max open files 16 16"} {
		if !strings.Contains(limits, limit) {
			t.Errorf("got limits %s, want %q", limits, limit)
		}
	}
}

// checkThreads asserts that no thread of a worker was forgotten.
func checkThreads(t *testing.T, proc string) {
	threads, err := filepath.Glob(proc + "/task/*/status")
	if err != nil || len(threads) == 0 {
		t.Errorf("got threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil {
			t.Error(err)
		}
		want := []string{"NoNewPrivs:\t1", "Seccomp:\t2"}
		if os.Geteuid() == 0 {
			want = append(want, "Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "Groups:\t \n")
		}
		for _, line := range want {
			if !strings.Contains(string(status), line) {
				t.Errorf("%s has no line %q:\n%s", thread, line, status)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	c := Config{}.withDefaults()
	if c.Workers < 1 || c.Workers > maxWorkers || c.Memory != defaultMemory || c.Steps != defaultSteps || c.Command[1] != "sysvc-worker" {
		t.Errorf("got %+v", c)
	}
}
