package fsm

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"

	"github.com/orchd/orchd/api"
)

// This file is what services and spells may look like, and who may say what of a scope.

// Limits of what a service or a grant may name.
const (
	maxModules       = 64
	maxSettings      = 64 << 10 // bytes of a module's settings
	maxGrants        = 128      // of a kind
	maxGrantName     = 253      // bytes
	maxTriggerEvents = 16
	maxTriggerWhere  = 16
)

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// hosts refuses whoever is not a peer that has a say about a scope: about the cluster's
// all have, about that of a peer itself.
func (tx *Txn) hosts(op, scope string) error {
	p, err := tx.asPeer(op)
	if err != nil {
		return err
	}
	if scope != api.ScopeCluster && scope != p.ID {
		return api.Errorf(api.Forbidden, op, "peer %s has no say about the scope %q: it is neither the cluster's nor its own", p.Name, clipped(scope))
	}
	return nil
}

// scopeLives tells whether a scope is the cluster's or that of a member.
func scopeLives(r Reader, scope string) bool {
	p, known := peers.one(r, scope)
	return scope == api.ScopeCluster || known && p.State == api.PeerMember
}

// scopeNamed is the scope that somebody means by "cluster", or by the name or id of a member.
func scopeNamed(r Reader, ref string) (scope string, known bool) {
	if ref == api.ScopeCluster {
		return ref, true
	}
	p, known := r.Peer(ref)
	return p.ID, known
}

// alias names what is no alias.
func (f *faults) alias(pointer, alias string) {
	f.wrong(!api.ValidName(alias), pointer, badName)
	f.wrong(alias == "self" || alias == "spell", pointer, "self and spell are reserved")
}

func (f *faults) callTTL(ttl int64) {
	f.wrong(ttl < 1 || ttl > api.MaxCallTTL, "/call_ttl", "must be from 1 to 3600 seconds")
}

func serviceFaults(c api.ServiceDeploy) faults {
	var bad faults
	bad.alias("/alias", c.Alias)
	bad.wrong(c.Package != "" && !api.ValidName(c.Package), "/package", badName)
	bad.wrong(!digestForm.MatchString(c.Blueprint), "/blueprint", "must be a SHA-256 in lower-case hex")
	bad.wrong(len(c.Modules) == 0 || len(c.Modules) > maxModules, "/modules", "must be 1 to 64")
	names := map[string]bool{}
	for _, m := range c.Modules {
		bad.wrong(m.Name == "" || len(m.Name) > maxGrantName || names[m.Name], "/modules", "each must have a name of its own, of at most 253 bytes")
		bad.wrong(m.Kind != api.ModuleStarlark && m.Kind != api.ModuleWASM, "/modules", "must be of the kind starlark or wasm")
		bad.wrong(!digestForm.MatchString(m.Digest), "/modules", "must have a digest: a SHA-256 in lower-case hex")
		bad.wrong(m.Bytes < 0 || m.Bytes > api.MaxModule, "/modules", "must be at most 32 MiB each")
		bad.wrong(len(m.Settings) > maxSettings, "/modules", "must have settings of at most 64 KiB each")
		names[m.Name] = true
	}
	bad.callTTL(c.CallTTL)
	bad.grants(c.Grants)
	bad.grantNames("/access/viewer", c.Access.Viewer)
	bad.grantNames("/access/admin", c.Access.Admin)
	return bad
}

func (f *faults) grants(g api.Grants) {
	f.grantNames("/grants/call", g.Call)
	f.grantNames("/grants/http", g.HTTP)
	f.grantNames("/grants/read", g.Read)
}

func (f *faults) grantNames(pointer string, names []string) {
	long := slices.ContainsFunc(names, func(s string) bool { return s == "" || len(s) > maxGrantName })
	f.wrong(long || len(names) > maxGrants, pointer, "must be at most 128 names of 1 to 253 bytes")
}

// trigger looks at the shape of a trigger. Whether its clock can be set just now is for
// who sets it to ask.
func (f *faults) trigger(t api.Trigger) {
	f.wrong(!slices.Contains([]api.Overlap{"", api.OverlapQueue, api.OverlapAllow}, t.Overlap), "/trigger/overlap", "must be queue or allow")
	f.wrong(!slices.Contains([]api.Missed{"", api.MissedSkip, api.MissedRunOnce}, t.Missed), "/trigger/missed", "must be skip or run-once")
	f.wrong(len(t.Events) > maxTriggerEvents, "/trigger/events", "must be at most 16")
	for _, e := range t.Events {
		f.wrong(e.Table == "" || len(e.Table) > maxGrantName, "/trigger/events", "must each name a table")
		f.wrong(!slices.Contains([]api.ChangeVerb{"", api.Created, api.Updated, api.Deleted}, e.Verb), "/trigger/events", "must have the verb create, update or delete, or none")
		f.wrong(len(e.Where) > maxTriggerWhere, "/trigger/events", "must have at most 16 conditions")
		for path, value := range ordered(e.Where) {
			f.wrong(path == "" || len(path)+len(value) > 1<<10, "/trigger/events", "must have conditions of at most 1 KiB")
		}
	}
}

// clock names what keeps a clock from being set now.
func (f *faults) clock(tx *Txn, c api.Clock) {
	if _, err := c.At(tx.Now); err != nil {
		f.wrong(true, "/trigger/clock", err.Error())
	}
}

// eventTables finds a table of which no changes are kept: what this release knows of
// tables the next one knows more of, so apply must not ask.
func eventTables(t api.Trigger) error {
	for _, e := range t.Events {
		if !slices.Contains(RecordedTables(), e.Table) {
			return fault("/trigger/events", "no changes are kept of a table "+e.Table)
		}
	}
	return nil
}

// compactObject is a JSON object without white space between its tokens, nil for none.
func compactObject(text json.RawMessage) (json.RawMessage, bool) {
	var out bytes.Buffer
	if len(text) == 0 {
		return nil, true
	}
	if json.Compact(&out, text) != nil || out.Bytes()[0] != '{' {
		return nil, false
	}
	return out.Bytes(), true
}
