package pack

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/semver"

	"github.com/orchd/orchd/api"
)

// defaultAccount is in whose name a package acts that names no other.
const defaultAccount = "default"

// make is the package of a folder under some settings.
func (s *source) make(settings map[string]any) (Package, error) {
	tree, unknown := s.manifest.filled(settings)
	m, err := s.manifest.decode(tree)
	if err != nil {
		return Package{}, errors.Join(unknown, err)
	}
	b := builder{source: s, m: m, errs: []error{unknown}, aliases: map[string]string{}}
	p := b.build(settings)
	return p, errors.Join(b.errs...)
}

// builder makes a package of its manifest and notes what is wrong on the way.
type builder struct {
	*source
	m       manifest
	p       Package
	aliases map[string]string // and where each was used first
	errs    []error
}

func (b *builder) wrong(path, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("%s: %s: %w", b.manifest.at(path), path, fmt.Errorf(format, args...)))
}

func (b *builder) build(settings map[string]any) Package {
	b.p = Package{
		Name: b.m.Name, Version: b.m.Version, Scope: b.m.Scope, Account: b.m.Account, Description: b.m.Description,
		Grants: b.m.Grants, Settings: settings, Files: map[string][]byte{}, source: b.source,
	}
	b.head()
	b.hosts()
	for i, d := range b.m.Services {
		b.service(fmt.Sprintf("services[%d]", i), d)
	}
	for i, d := range b.m.Spells {
		b.spell(fmt.Sprintf("spells[%d]", i), d)
	}
	for i, d := range b.m.Init {
		b.init(fmt.Sprintf("init[%d]", i), d)
	}
	return b.p
}

func (b *builder) head() {
	if !api.ValidName(b.p.Name) {
		b.wrong("name", "%q is no name: 1 to 63 of a-z, 0-9 and -, not beginning with -, and no UUID", b.p.Name)
	}
	if v := "v" + b.p.Version; !semver.IsValid(v) || semver.Canonical(v)+semver.Build(v) != v {
		b.wrong("version", "%q is no version such as 1.2.0 (semver)", b.p.Version)
	}
	switch b.p.Scope {
	case "":
		b.p.Scope = ScopePeer
	case ScopePeer, api.ScopeCluster:
	default:
		b.wrong("scope", "%q is neither %s nor %s; %s", b.p.Scope, ScopePeer, api.ScopeCluster, meant(b.p.Scope, []string{ScopePeer, api.ScopeCluster}))
	}
	if b.p.Account == "" {
		b.p.Account = defaultAccount
	} else if !api.ValidName(b.p.Account) {
		b.wrong("account", "%q is no name of an account", b.p.Account)
	}
}

// hosts makes HOST or HOST:PORT of what settings have as URLs and multiaddrs. An empty
// one is a setting that was left out.
func (b *builder) hosts() {
	var hosts []string
	for i, address := range b.m.Grants.HTTP {
		host, err := hostOf(address)
		if err != nil {
			b.wrong(fmt.Sprintf("grants.http[%d]", i), "%w", err)
		}
		if host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	b.p.Grants.HTTP = hosts
}

// alias checks the alias of a service or spell.
func (b *builder) alias(path, alias string) {
	switch {
	case alias == "self" || alias == "spell":
		b.wrong(path+".alias", "%q is reserved", alias)
	case !api.ValidName(alias):
		b.wrong(path+".alias", "%q is no alias: 1 to 63 of a-z, 0-9 and -, not beginning with -, and no UUID", alias)
	case b.aliases[alias] != "":
		b.wrong(path+".alias", "%q is already the alias of %s: services and spells share their aliases", alias, b.aliases[alias])
	default:
		b.aliases[alias] = path
	}
}

func (b *builder) ttl(path string, seconds int64) int64 {
	if seconds == 0 {
		return api.DefaultCallTTL
	}
	if seconds < 1 || seconds > api.MaxCallTTL {
		b.wrong(path+".call_ttl", "%d is not between 1 and %d seconds", seconds, api.MaxCallTTL)
	}
	return seconds
}

func (b *builder) service(path string, d serviceDecl) {
	b.alias(path, d.Alias)
	s := Service{Alias: d.Alias, CallTTL: b.ttl(path, d.CallTTL), Access: api.Access{Viewer: d.Viewer, Admin: d.Admin}}
	b.functions(path+".viewer", d.Viewer)
	b.functions(path+".admin", d.Admin)
	if len(d.Modules) == 0 {
		b.wrong(path, "service %s has no modules", d.Alias)
	}
	seen := map[string]bool{}
	for i, module := range d.Modules {
		at := fmt.Sprintf("%s.modules[%d]", path, i)
		if module.Name == "" || seen[module.Name] {
			b.wrong(at, "%q is no name of its own for a module", module.Name)
		}
		seen[module.Name] = true
		s.Modules = append(s.Modules, b.module(at, module))
	}
	s.Blueprint = blueprint(s, b.p.Grants, b.p.Account)
	b.p.Services = append(b.p.Services, s)
}

func (b *builder) module(path string, d moduleDecl) api.Module {
	m := api.Module{Name: d.Name, Settings: b.json(path+".settings", merged(b.p.Settings, d.Settings))}
	content, ok := b.file(path+".file", "module "+d.Name, d.File)
	kind, known := kinds[suffix(d.File)]
	switch {
	case !ok:
		return m
	case !known:
		b.wrong(path+".file", "module %s: %s is neither Starlark (.star) nor WebAssembly (.wasm)", d.Name, d.File)
		return m
	}
	m.Kind, m.Digest, m.Bytes = kind, digestOf(content), int64(len(content))
	b.p.Files[m.Digest] = content
	return m
}

var kinds = map[string]api.ModuleKind{".star": api.ModuleStarlark, ".wasm": api.ModuleWASM}

func suffix(file string) string { return path.Ext(file) }

// file gives a file of the package, and whether it could be read.
func (b *builder) file(path, of, name string) ([]byte, bool) {
	if name == "" {
		b.wrong(path, "%s names no file", of)
		return nil, false
	}
	f := b.files[name]
	if f.err != nil {
		b.wrong(path, "%s: %w", of, f.err)
	}
	return f.content, f.err == nil
}

func (b *builder) json(path string, v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		b.wrong(path, "%w", err)
	}
	return text
}

// function is what can be called: a name that does not begin with _.
var function = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

func (b *builder) functions(path string, names []string) {
	for i, name := range names {
		if !function.MatchString(name) {
			b.wrong(fmt.Sprintf("%s[%d]", path, i), "%q is no name of a function that can be called", name)
		}
	}
}

func (b *builder) spell(path string, d spellDecl) {
	b.alias(path, d.Alias)
	content, ok := b.file(path+".file", "spell "+d.Alias, d.File)
	switch {
	case !ok:
	case kinds[suffix(d.File)] != api.ModuleStarlark:
		b.wrong(path+".file", "spell %s: %s is no Starlark file (.star)", d.Alias, d.File)
	case len(content) > api.MaxScript:
		b.wrong(path+".file", "spell %s: %s has more than %d bytes", d.Alias, d.File, api.MaxScript)
	case !utf8.Valid(content):
		b.wrong(path+".file", "spell %s: %s is no UTF-8 text", d.Alias, d.File)
	}
	b.kv(path+".kv", d.KV)
	b.trigger(path+".trigger", d.Trigger)
	b.p.Spells = append(b.p.Spells, Spell{d.Alias, d.File, string(content), d.KV, d.Trigger, b.ttl(path, d.CallTTL)})
}

func (b *builder) kv(path string, kv map[string]json.RawMessage) {
	kept, err := api.DeclaredKV(kv)
	if err != nil {
		b.wrong(path, "%w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		switch {
		case key == api.KeyCounter || key == api.KeyTrigger:
			b.wrong(path+"."+key, "the host keeps %s; it cannot be declared", key)
		case key == "" || len(key) > api.MaxKVKey:
			b.wrong(path+"."+key, "a key has 1 to %d bytes", api.MaxKVKey)
		case len(kept[key]) > api.MaxKVValue:
			b.wrong(path+"."+key, "the value has more than %d bytes", api.MaxKVValue)
		}
	}
}

const maxEvents = 16

// trigger checks all of a trigger but whether its end lies in the past: a package whose
// spell is over is still a package. That is found out when the spell is deployed.
func (b *builder) trigger(path string, t api.Trigger) {
	if err := t.Clock.Check(time.Unix(0, 0)); err != nil {
		b.wrong(path+".clock", "%w", err)
	}
	b.oneOf(path+".overlap", string(t.Overlap), string(api.OverlapQueue), string(api.OverlapAllow))
	b.oneOf(path+".missed", string(t.Missed), string(api.MissedSkip), string(api.MissedRunOnce))
	if len(t.Events) > maxEvents {
		b.wrong(path+".events", "%d of them: at most %d", len(t.Events), maxEvents)
	}
	for i, e := range t.Events {
		at := fmt.Sprintf("%s.events[%d]", path, i)
		if e.Table == "" {
			b.wrong(at, "names no table, such as vms")
		}
		b.oneOf(at+".verb", string(e.Verb), string(api.Created), string(api.Updated), string(api.Deleted))
	}
}

// oneOf checks a word that may be left out.
func (b *builder) oneOf(path, word string, words ...string) {
	if word != "" && !slices.Contains(words, word) {
		b.wrong(path, "%q is none of %s; %s", word, strings.Join(words, ", "), meant(word, words))
	}
}

func (b *builder) init(path string, d initDecl) {
	if _, there := b.p.Service(d.Service); !there {
		var services []string
		for _, s := range b.p.Services {
			services = append(services, s.Alias)
		}
		b.wrong(path+".service", "%q is no service of this package; %s", d.Service, meant(d.Service, services))
	}
	if !function.MatchString(d.Function) {
		b.wrong(path+".function", "%q is no name of a function that can be called", d.Function)
	}
	switch {
	case len(d.Args) == 0:
		d.Args = json.RawMessage("{}")
	case d.Args[0] != '{' && d.Args[0] != '[':
		b.wrong(path+".args", "want a table, by name, or a list, in order")
	}
	b.p.Init = append(b.p.Init, Call(d))
}
