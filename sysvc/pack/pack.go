// Package pack reads packages: folders that say which services and spells there are to
// be, and bring their code. What it gives is complete and valid, or an error that lists
// everything that is wrong, each with its file and line. It looks at no clock and at
// nothing outside of the folder.
//
// A folder holds package.toml, the files that it names (*.star, *.wasm) and, if the
// operator likes, config.toml with other settings than those of package.toml. Start
// with Load.
package pack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/semver"

	"github.com/orchd/orchd/api"
)

// ScopePeer is the scope of a package that each peer has for itself; the other one is
// api.ScopeCluster.
const ScopePeer = "peer"

// Package is what a folder wants to be there.
type Package struct {
	Name        string
	Version     string // semver, without a v
	Scope       string // ScopePeer or api.ScopeCluster
	Account     string // in whose name it acts
	Description string
	Grants      api.Grants
	Settings    map[string]any // in force
	Services    []Service
	Spells      []Spell
	Init        []Call            // in order
	Files       map[string][]byte // modules, by digest
	// Fault is why nothing can be deployed of the package: its folder is not as it should
	// be. There is nothing else in such a package but its name.
	Fault error

	source *source
}

// Faulty is a package of which only this much is known.
func Faulty(name string, fault error) Package {
	return Package{Name: name, Scope: ScopePeer, Fault: fault}
}

// Service is a service that a package wants.
type Service struct {
	Alias     string
	Blueprint string // digest of all below, of the package's grants and its account
	Modules   []api.Module
	Access    api.Access
	CallTTL   int64 // seconds
}

// Spell is a spell that a package wants.
type Spell struct {
	Alias   string
	File    string `json:"-"` // that the script is from
	Script  string
	KV      map[string]json.RawMessage // values to begin with
	Trigger api.Trigger
	CallTTL int64 // seconds
}

// Call is a call of a function, which initialises.
type Call struct {
	Service  string          `json:"service"` // alias, of this package
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args"`
}

// ScopeOn is the scope of what the package wants on a peer.
func (p Package) ScopeOn(peer string) string {
	if p.Scope == ScopePeer {
		return peer
	}
	return p.Scope
}

// Digest is that of everything that the package wants.
func (p Package) Digest() string {
	return digest(struct {
		Name, Version, Scope, Account string
		Grants                        api.Grants
		Services                      []Service
		Spells                        []Spell
		Init                          []Call
	}{p.Name, p.Version, p.Scope, p.Account, p.Grants, p.Services, p.Spells, p.Init})
}

// InitDigest is that of all that initialising depends on: the calls, and what answers
// them. Empty: there is nothing to initialise.
func (p Package) InitDigest() string {
	if len(p.Init) == 0 {
		return ""
	}
	blueprints := map[string]string{}
	for _, c := range p.Init {
		blueprints[c.Service], _ = p.blueprint(c.Service)
	}
	return digest(struct {
		Calls      []Call
		Blueprints map[string]string
	}{p.Init, blueprints})
}

func (p Package) blueprint(alias string) (string, bool) {
	s, there := p.Service(alias)
	return s.Blueprint, there
}

// Service finds a service of the package.
func (p Package) Service(alias string) (Service, bool) {
	i := slices.IndexFunc(p.Services, func(s Service) bool { return s.Alias == alias })
	if i < 0 {
		return Service{}, false
	}
	return p.Services[i], true
}

// Spell finds a spell of the package.
func (p Package) Spell(alias string) (Spell, bool) {
	i := slices.IndexFunc(p.Spells, func(s Spell) bool { return s.Alias == alias })
	if i < 0 {
		return Spell{}, false
	}
	return p.Spells[i], true
}

// KVDigest is that of the values that the spell begins with, as rows of spells have it.
func (s Spell) KVDigest() string {
	kept, _ := api.DeclaredKV(s.KV) // they are JSON: that was looked at when the package was read
	return api.KVDigest(kept)
}

// Initialises tells whether a service is called when the package is initialised.
func (p Package) Initialises(alias string) bool {
	return slices.ContainsFunc(p.Init, func(c Call) bool { return c.Service == alias })
}

// Newer compares versions as semver does: more than 0 if a is newer than b. What is no
// version is older than all.
func Newer(a, b string) int { return semver.Compare("v"+a, "v"+b) }

// blueprint is the digest of what makes a service the one that it is.
func blueprint(s Service, grants api.Grants, account string) string {
	type module struct {
		Name     string
		Kind     api.ModuleKind
		Digest   string
		Settings json.RawMessage
	}
	var all []module
	for _, m := range s.Modules {
		all = append(all, module{m.Name, m.Kind, m.Digest, m.Settings})
	}
	return digest(struct {
		Modules []module
		Grants  api.Grants
		Access  api.Access
		CallTTL int64
		Account string
	}{all, grants, s.Access, s.CallTTL, account})
}

// digest is that of a value's JSON, in which keys of maps are in order.
func digest(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("pack: digest: %v", err)) // nothing here but texts, numbers and checked JSON
	}
	return digestOf(text)
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// merged is base with the keys of over in place of its own.
func merged(base, over map[string]any) map[string]any {
	all := maps.Clone(base)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, over)
	return all
}
