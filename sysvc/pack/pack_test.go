package pack_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/modules"
	"github.com/orchd/orchd/sysvc/pack"
)

// registry is a package that uses everything.
const registry = `name = "registry"
version = "1.2.0"
scope = "cluster"
description = "names to endpoints"

[grants]
kv = true
now = true
http = ["$endpoint", "/ip4/127.0.0.1/tcp/5001", "example.org:80", "$more"]

[settings]
period_sec = 3600
endpoint = ""
root = ["a"]
more = ["https://one.example", "http://[::1]:8080/x"]
open = false

[[services]]
alias = "registry"
call_ttl = 30
modules = [
  { name = "names", file = "lib/names.star" },
  { name = "registry", file = "registry.wasm", settings = { roots = "$root", period_sec = 1 } },
]
viewer = ["lookup"]
admin = ["set_root"]

[[spells]]
alias = "renew"
file = "renew.star"
kv = { count = 3, texts = ["x", "$root"], w_note = "$endpoint" }
[spells.trigger]
clock = { start_sec = 1, period_sec = "$period_sec" }
connections = { connect = true }
events = [{ table = "vms", where = { "status.state" = "failed" } }]
missed = "run-once"

[[init]]
service = "registry"
function = "set_root"
args = { root = "$root" }
`

// folder is a package's folder; without says what is left out of it.
func folder(files map[string]string) fstest.MapFS {
	all := fstest.MapFS{}
	for name, content := range files {
		all[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return all
}

func whole() map[string]string {
	return map[string]string{
		"package.toml": registry, "lib/names.star": "def norm(s): return s", "registry.wasm": "\x00asm", "renew.star": "def run(): pass",
	}
}

func load(t *testing.T, files map[string]string) pack.Package {
	t.Helper()
	p, err := pack.Load(folder(files))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLoad(t *testing.T) {
	p := load(t, whole())
	if p.Name != "registry" || p.Version != "1.2.0" || p.Scope != api.ScopeCluster || p.Account != "default" {
		t.Errorf("head: %+v", p)
	}
	if want := []string{"127.0.0.1:5001", "example.org:80", "one.example:443", "[::1]:8080"}; !reflect.DeepEqual(p.Grants.HTTP, want) {
		t.Errorf("hosts: got %q, want %q", p.Grants.HTTP, want)
	}
	s, _ := p.Service("registry")
	if s.CallTTL != 30 || len(s.Modules) != 2 || s.Modules[1].Kind != api.ModuleWASM || s.Modules[0].Kind != api.ModuleStarlark {
		t.Errorf("service: %+v", s)
	}
	settings := `{"endpoint":"","more":["https://one.example","http://[::1]:8080/x"],"open":false,"period_sec":1,"root":["a"],"roots":["a"]}`
	if got := string(s.Modules[1].Settings); got != settings {
		t.Errorf("settings of a module:\n%s\nwant\n%s", got, settings)
	}
	if d := s.Modules[1].Digest; d != modules.Digest([]byte("\x00asm")) || string(p.Files[d]) != "\x00asm" {
		t.Errorf("module %s is not among the files", d)
	}
	spell := p.Spells[0]
	if spell.Trigger.Clock.PeriodSec != 3600 || !spell.Trigger.Connections.Connect || spell.Trigger.Events[0].Where["status.state"] != "failed" || spell.CallTTL != api.DefaultCallTTL {
		t.Errorf("spell: %+v", spell)
	}
	if kv := spell.KV; string(kv["count"]) != "3" || string(kv["texts"]) != `["x","a"]` || string(kv["w_note"]) != `""` {
		t.Errorf("kv: %s", kv)
	}
	if string(p.Init[0].Args) != `{"root":["a"]}` {
		t.Errorf("init: %+v", p.Init)
	}
}

// TestEverythingWrongAtOnce: one error lists all, each with file and line.
func TestEverythingWrongAtOnce(t *testing.T) {
	_, err := pack.Load(folder(map[string]string{"a.star": "", "big.star": strings.Repeat(" ", api.MaxScript+1), "package.toml": `name = "Bad Name"
version = "one"
scope = "clutser"
[grants]
http = ["ftp://x"]
[[services]]
alias = "self"
call_ttl = 4000
viewer = ["_hidden"]
modules = [
  { name = "gone", file = "gone.star" },
  { name = "out", file = "../out.star" },
  { name = "odd", file = "package.toml" },
]
[[services]]
alias = "empty"
[[spells]]
alias = "empty"
file = "big.star"
kv = { hw_counter = 1 }
trigger = { clock = { start_sec = 10, end_sec = 5 }, overlap = "alow" }
[[spells]]
alias = "slow"
file = "a.star"
trigger = { clock = { start_sec = 1, period_sec = 4000000000 }, events = [{ verb = "made" }] }
[[init]]
service = "emty"
function = "go now"
args = 5
`}))
	for _, want := range []string{
		`package.toml:1: name: "Bad Name" is no name`,
		`package.toml:2: version: "one" is no version such as 1.2.0`,
		`package.toml:3: scope: "clutser" is neither peer nor cluster; did you mean cluster?`,
		`package.toml:5: grants.http[0]: "ftp://x" is no URL of http or https`,
		`package.toml:7: services[0].alias: "self" is reserved`,
		`package.toml:8: services[0].call_ttl: 4000 is not between 1 and 3600`,
		`package.toml:9: services[0].viewer[0]: "_hidden" is no name of a function`,
		`package.toml:11: services[0].modules[0].file: module gone: no file gone.star in the package`,
		`package.toml:12: services[0].modules[1].file: module out: "../out.star" is no path inside the package`,
		`package.toml:13: services[0].modules[2].file: module odd: package.toml is neither Starlark`,
		`package.toml:15: services[1]: service empty has no modules`,
		`package.toml:18: spells[0].alias: "empty" is already the alias of services[1]`,
		`package.toml:19: spells[0].file: spell empty: big.star has more than 65536 bytes`,
		`package.toml:20: spells[0].kv.hw_counter: the host keeps hw_counter`,
		`package.toml:21: spells[0].trigger.clock: invalid config: end_sec is less than start_sec or in the past`,
		`package.toml:21: spells[0].trigger.overlap: "alow" is none of queue, allow; did you mean allow?`,
		`package.toml:25: spells[1].trigger.clock: invalid config: period is too big`,
		`package.toml:25: spells[1].trigger.events[0]: names no table`,
		`package.toml:25: spells[1].trigger.events[0].verb: "made" is none of create, update, delete`,
		`package.toml:27: init[0].service: "emty" is no service of this package; did you mean empty?`,
		`package.toml:28: init[0].function: "go now" is no name of a function`,
		`package.toml:29: init[0].args: want a table, by name, or a list`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("the error:\n%v", err)
	}
}

// TestUnknownKeys: of every table, with the nearest name, and together with values of a wrong sort.
func TestUnknownKeys(t *testing.T) {
	_, err := pack.Load(folder(map[string]string{"package.toml": `name = 5
versoin = "1.0.0"
[grants]
anyaccount = true
call = "x"
[[services]]
alias = "a"
modules = [{ name = "a", fil = "a.star", settings = { free = 1 } }]
[[spells]]
[spells.trigger]
blockchain = { start_block = 1 }
clock = { period = 5, start_sec = "$nothing" }
`}))
	for _, want := range []string{
		`package.toml:1: name: want a text in quotes, got 5`,
		`package.toml:2: versoin is an unknown key; did you mean version?`,
		`package.toml:4: grants.anyaccount is an unknown key; did you mean any_account?`,
		`package.toml:5: grants.call: want a list in [ ], got x`,
		`package.toml:8: services[0].modules[0].fil is an unknown key; did you mean file?`,
		`package.toml:11: spells[0].trigger.blockchain: a blockchain trigger is not supported`,
		`package.toml:12: spells[0].trigger.clock.period is an unknown key; there are: `,
		`package.toml:12: $nothing names no setting; there are none`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("the error:\n%v", err)
	}
	for text, want := range map[string]string{"name = \n": "package.toml:1:8: ", "": `version: "" is no version`} {
		if _, err := pack.Load(folder(map[string]string{"package.toml": text})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := pack.Load(folder(nil)); err == nil || !strings.Contains(err.Error(), "no file package.toml in the package") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestSettingsFile(t *testing.T) {
	files := whole()
	files["config.toml"] = "period_sec = 60\nopen = true\n"
	p := load(t, files)
	if got := p.Spells[0].Trigger.Clock.PeriodSec; got != 60 {
		t.Errorf("period: got %d, want that of config.toml", got)
	}
	files["config.toml"] = "period_sec = 60\nperod_sec = 1\nopen = \"maybe\"\n"
	_, err := pack.Load(folder(files))
	for _, want := range []string{"config.toml:2: unknown setting perod_sec; did you mean period_sec?", "config.toml:3: setting open: want true or false, got maybe"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestWith(t *testing.T) {
	p := load(t, whole())
	other, err := p.With(map[string]any{"period_sec": "120", "root": "b, c", "endpoint": "http://127.0.0.1:9000", "open": "true", "more": []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if got := other.Spells[0].Trigger.Clock.PeriodSec; got != 120 {
		t.Errorf("period: got %d, want 120", got)
	}
	if got := string(other.Init[0].Args); got != `{"root":["b","c"]}` {
		t.Errorf("init: %s", got)
	}
	if want := []string{"127.0.0.1:9000", "127.0.0.1:5001", "example.org:80"}; !reflect.DeepEqual(other.Grants.HTTP, want) {
		t.Errorf("hosts: got %q, want %q", other.Grants.HTTP, want)
	}
	if p.Spells[0].Trigger.Clock.PeriodSec != 3600 {
		t.Error("With changed the package itself")
	}
	if again, err := other.With(map[string]any{"open": false}); err != nil || again.Settings["period_sec"] != int64(120) {
		t.Errorf("With of With: %v, %v; want what was set before to stay", again.Settings, err)
	}
	_, err = p.With(map[string]any{"perod_sec": 1, "root": 5, "period_sec": "x"})
	for _, want := range []string{
		"settings of package registry: unknown setting perod_sec; did you mean period_sec?",
		"setting root: want a list", "setting period_sec: want a whole number, got x",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestDigests: they change with what they are of, and with nothing else.
func TestDigests(t *testing.T) {
	type digests struct{ blueprint, whole, init string }
	of := func(change func(files map[string]string), settings map[string]any) digests {
		files := whole()
		change(files)
		p, err := load(t, files).With(settings)
		if err != nil {
			t.Fatal(err)
		}
		return digests{p.Services[0].Blueprint, p.Digest(), p.InitDigest()}
	}
	text := func(old, new string) func(map[string]string) {
		return func(files map[string]string) {
			files["package.toml"] = strings.Replace(files["package.toml"], old, new, 1)
		}
	}
	same := of(func(map[string]string) {}, nil)
	for name, c := range map[string]struct {
		change                 func(map[string]string)
		settings               map[string]any
		blueprint, whole, init bool // change
	}{
		"nothing":      {change: func(map[string]string) {}},
		"words":        {change: text("names to endpoints", "names")},
		"equal":        {change: func(map[string]string) {}, settings: map[string]any{"period_sec": "3600"}},
		"order":        {change: text(`{ roots = "$root", period_sec = 1 }`, `{ period_sec = 1, roots = "$root" }`)},
		"version":      {change: text("1.2.0", "1.2.1"), whole: true},
		"module":       {change: func(f map[string]string) { f["lib/names.star"] += "\n" }, blueprint: true, whole: true, init: true},
		"setting":      {change: func(map[string]string) {}, settings: map[string]any{"root": "z"}, blueprint: true, whole: true, init: true},
		"grants":       {change: text("now = true", ""), blueprint: true, whole: true, init: true},
		"access":       {change: text(`["lookup"]`, `[]`), blueprint: true, whole: true, init: true},
		"spell":        {change: func(f map[string]string) { f["renew.star"] += "\n" }, whole: true},
		"trigger":      {change: text(`missed = "run-once"`, ""), whole: true},
		"declared":     {change: text("count = 3", "count = 4"), whole: true},
		"init":         {change: text(`args = { root = "$root" }`, `args = { root = [] }`), whole: true, init: true},
		"its own file": {change: func(f map[string]string) { f["notes.star"] = "unused" }},
	} {
		got := of(c.change, c.settings)
		if (got.blueprint != same.blueprint) != c.blueprint || (got.whole != same.whole) != c.whole || (got.init != same.init) != c.init {
			t.Errorf("%s: changed blueprint %v, whole %v, init %v; want %v, %v, %v", name,
				got.blueprint != same.blueprint, got.whole != same.whole, got.init != same.init, c.blueprint, c.whole, c.init)
		}
	}
}

// TestLoadDir: a link out of the folder leads nowhere, and errors name the folder.
func TestLoadDir(t *testing.T) {
	dir := t.TempDir()
	for name, content := range whole() {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := pack.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := load(t, whole()); p.Digest() != want.Digest() || !maps.EqualFunc(p.Files, want.Files, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("the folder gives another package than the same files elsewhere")
	}
	if _, err := p.With(map[string]any{"open": true}); err != nil {
		t.Errorf("with other settings, later: %v", err)
	}
	secret := filepath.Join(t.TempDir(), "secret.star")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "renew.star")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "renew.star")); err != nil {
		t.Fatal(err)
	}
	if _, err := pack.LoadDir(dir); err == nil || !strings.Contains(err.Error(), dir+"/package.toml:30: spells[0].file: spell renew: ") {
		t.Errorf("a link out of the folder: %v", err)
	}
}
