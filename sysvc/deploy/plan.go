package deploy

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/pack"
)

// action is what can be done for one package.
type action uint8

const (
	announce      action = iota // say in the log what this peer is about to make of the package
	create                      // make a service that has no alias yet, or find the one that was made
	initialise                  // call what the package says: what is new by id, the rest by alias
	move                        // give a new service its alias
	cast                        // make a spell, or make it what it is to be
	removeSpell                 // by id
	removeService               // by id
	refuse                      // fail: it cannot be as it is wanted
	report                      // say what became of it
)

func (a action) String() string {
	return [...]string{"announce", "create", "initialise", "move", "cast", "remove-spell", "remove-service", "refuse", "report"}[a]
}

// step is one action for one package. The steps of a package are taken in their order
// until one fails.
type step struct {
	do     action
	pkg    string
	alias  string         // create, move, cast
	id     string         // create: of one that is there; what to remove
	has    string         // remove-service: the alias that it has by then; with another one it stays
	reason string         // refuse
	row    api.Deployment // announce, report: all but the times
}

// want is a package as this peer is to have it.
type want struct {
	pack.Package
	scope  string // as rows have it
	digest string
	init   string
}

// wanted is what a peer's configuration says.
type wanted struct {
	self     string
	packages map[string]want
	keep     bool // leave what is no longer enabled
}

// present is what is there of one package.
type present struct {
	services []api.Service     // of this peer's scope and the cluster's
	spells   []api.Spell       // likewise
	rows     []api.Deployment  // of members, this peer among them
	alive    map[string]bool   // members
	strange  map[string]string // aliases that the package wants and others have: who
}

// plan says what this peer is to do, package by package in the order of their names.
// Who is as he should be gets no step.
func plan(w wanted, there map[string]present) []step {
	names := maps.Clone(w.packages)
	for name := range there {
		if _, is := names[name]; !is {
			names[name] = want{}
		}
	}
	var steps []step
	for _, name := range slices.Sorted(maps.Keys(names)) {
		steps = append(steps, planOne(w, there[name], name)...)
	}
	return steps
}

// planOne is plan for one package.
func planOne(w wanted, there present, name string) []step {
	wants, enabled := w.packages[name]
	m := matter{w: w, name: name, want: wants, p: there}
	m.own, m.known = m.rowOf(w.self)
	switch {
	case !enabled:
		return m.unwanted()
	case wants.Fault != nil:
		return m.faulty()
	}
	return m.enabled()
}

// faulty is the plan for a package of which nothing but the name is known: what is there
// of it stays as it was last wanted.
func (m matter) faulty() []step {
	s := m.step(refuse, "", "")
	s.reason = m.want.Fault.Error()
	return []step{s}
}

// matter is one package: what is wanted of it, what is there, and what was said.
type matter struct {
	w     wanted
	name  string
	want  want
	p     present
	own   api.Deployment // this peer's row
	known bool           // it has one
}

func (m matter) rowOf(peer string) (api.Deployment, bool) {
	i := slices.IndexFunc(m.p.rows, func(d api.Deployment) bool { return d.Peer == peer })
	if i < 0 {
		return api.Deployment{Peer: peer, Package: m.name}, false
	}
	return m.p.rows[i], true
}

func (m matter) step(do action, alias, id string) step {
	return step{do: do, pkg: m.name, alias: alias, id: id}
}

// enabled is the plan for a package that this peer enables.
func (m matter) enabled() []step {
	work, row := m.work(), m.outcome()
	switch {
	case len(work) == 0:
		return m.say(row)
	case !m.mayAct():
		row.State, row.Note, row.Init = api.PackageExisting, m.why(), m.own.Init
		return m.say(row)
	case m.inOtherHands():
		return nil
	}
	row.Order = m.order()
	if !m.announced() || !m.own.Deploying {
		row.State = m.change()
	}
	steps := append(m.announcement(row, work), work...)
	return append(steps, step{do: report, pkg: m.name, row: row})
}

// outcome is this peer's row once everything is as it should be.
func (m matter) outcome() api.Deployment {
	row := api.Deployment{
		Peer: m.w.self, Package: m.name, Version: m.want.Version, Scope: m.want.scope, Digest: m.want.digest,
		State: api.PackageExisting, Enabled: true, Init: m.want.init, Order: m.own.Order,
	}
	switch {
	case !m.announced() && m.mayAct():
		row.Order = m.order()
	case m.announced() && m.own.State != api.PackageFailed:
		row.State = m.own.State
	}
	return row
}

// change is what it is called that this peer is about to do.
func (m matter) change() api.PackageState {
	if slices.ContainsFunc(m.p.services, m.isHere) || slices.ContainsFunc(m.p.spells, func(s api.Spell) bool { return s.Scope == m.want.scope }) {
		return api.PackageUpdated
	}
	return api.PackageCreated
}

func (m matter) isHere(s api.Service) bool { return s.Scope == m.want.scope && s.Alias != "" }

// say reports a row unless it is what the cluster has already.
func (m matter) say(row api.Deployment) []step {
	if m.known && same(m.own, row) {
		return nil
	}
	return []step{{do: report, pkg: m.name, row: row}}
}

// same compares all but the times.
func same(a, b api.Deployment) bool {
	a.At, a.UpdatedAt = b.At, b.UpdatedAt
	return a == b
}

// announcement goes before the first change: other peers see that this one is at it,
// and if it ends in the middle its row does not say that all is well. What is being
// tried again was announced.
func (m matter) announcement(row api.Deployment, work []step) []step {
	inits := slices.ContainsFunc(work, func(s step) bool { return s.do == initialise })
	unfinished := m.own.Deploying || m.own.State == api.PackageFailed
	if m.announced() && unfinished && m.own.Order == m.order() && !(inits && m.own.Init != "") {
		return nil
	}
	row.Deploying, row.Attempts = true, m.own.Attempts
	if inits {
		row.Init = ""
	}
	return []step{{do: announce, pkg: m.name, row: row}}
}

// work is what makes everything as it should be: the new services beside the old, which
// are initialised, then their aliases, then the spells; at last what is not wanted goes.
func (m matter) work() []step {
	if refused := m.conflicts(); len(refused) > 0 {
		return refused
	}
	var creates, early, late, rest []step
	news, stays := map[string]bool{}, map[string]bool{}
	for _, s := range m.want.Services {
		old, has := m.serviceAt(s.Alias)
		if has && old.Blueprint == s.Blueprint {
			stays[old.ID] = true
			continue
		}
		id := m.candidate(s)
		news[s.Alias], stays[id] = true, true
		creates = append(creates, m.step(create, s.Alias, id))
		if has || m.want.Initialises(s.Alias) {
			late = append(late, m.step(move, s.Alias, ""))
		} else { // what is initialised may call it by its alias
			early = append(early, m.step(move, s.Alias, ""))
		}
	}
	for _, s := range m.want.Spells {
		if row, has := m.spellAt(s.Alias); has {
			stays[row.ID] = true
			if !m.differs(row, s) {
				continue
			}
		}
		rest = append(rest, m.step(cast, s.Alias, ""))
	}
	services, spells := m.doomed(stays)
	rest = append(rest, m.removals(services, spells, news)...)

	steps := append(creates, early...)
	if m.mustInit(news) {
		steps = append(steps, m.step(initialise, "", ""))
	}
	return append(append(steps, late...), rest...)
}

// conflicts refuses what cannot be: aliases that others have.
func (m matter) conflicts() (steps []step) {
	for _, alias := range slices.Sorted(maps.Keys(m.p.strange)) {
		s := m.step(refuse, "", "")
		s.reason = "alias " + alias + " is held by " + m.p.strange[alias] + ": remove that, or do not enable this package"
		steps = append(steps, s)
	}
	return steps
}

// serviceAt is the package's service that has an alias.
func (m matter) serviceAt(alias string) (api.Service, bool) {
	i := slices.IndexFunc(m.p.services, func(s api.Service) bool { return s.Scope == m.want.scope && s.Alias == alias })
	if i < 0 {
		return api.Service{}, false
	}
	return m.p.services[i], true
}

func (m matter) spellAt(alias string) (api.Spell, bool) {
	i := slices.IndexFunc(m.p.spells, func(s api.Spell) bool { return s.Scope == m.want.scope && s.Alias == alias })
	if i < 0 {
		return api.Spell{}, false
	}
	return m.p.spells[i], true
}

// candidate is the id of a service that was made to be s and has no alias yet; empty: there is none.
func (m matter) candidate(s pack.Service) string {
	i := slices.IndexFunc(m.p.services, func(row api.Service) bool {
		return row.Scope == m.want.scope && row.Alias == "" && row.Wanted == s.Alias && row.Blueprint == s.Blueprint
	})
	if i < 0 {
		return ""
	}
	return m.p.services[i].ID
}

// mustInit tells whether the package is to be initialised, where news are the aliases
// of services that are not there yet.
func (m matter) mustInit(news map[string]bool) bool {
	if m.want.init == "" {
		return false
	}
	for alias := range news {
		if m.want.Initialises(alias) {
			return true
		}
	}
	return !m.initialised()
}

// differs tells whether a spell is not as it is wanted.
func (m matter) differs(row api.Spell, s pack.Spell) bool {
	return row.Script != s.Script || row.KVDigest != s.KVDigest() || row.CallTTL != s.CallTTL || row.Account != m.want.Account ||
		!equal(row.Grants, m.want.Grants) || !equal(usual(row.Trigger), usual(s.Trigger))
}

// usual is a trigger with what is meant by what was left out.
func usual(t api.Trigger) api.Trigger {
	if t.Overlap == "" {
		t.Overlap = api.OverlapQueue
	}
	if t.Missed == "" {
		t.Missed = api.MissedSkip
	}
	return t
}

// equal compares two values of api as they are in JSON, where nothing is as good as empty.
func equal(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// doomed is what is there of the package and not among the ids that stay: what others
// have taken the place of, what a deployment that came to nothing has left, what is no
// longer in the package, and what it had in another scope.
func (m matter) doomed(stays map[string]bool) (services []api.Service, spells []api.Spell) {
	gone := func(scope, id string) bool {
		return !stays[id] && (scope != api.ScopeCluster || m.want.scope == scope || m.blocked() == "")
	}
	for _, s := range m.p.services {
		if gone(s.Scope, s.ID) {
			services = append(services, s)
		}
	}
	for _, s := range m.p.spells {
		if gone(s.Scope, s.ID) {
			spells = append(spells, s)
		}
	}
	return services, spells
}

// removals: spells first, so that none calls a service that is gone. Some aliases have
// been given to new services by then.
func (m matter) removals(services []api.Service, spells []api.Spell, given map[string]bool) (steps []step) {
	for _, s := range spells {
		steps = append(steps, m.step(removeSpell, s.Alias, s.ID))
	}
	for _, s := range services {
		gone := m.step(removeService, s.Alias, s.ID)
		if gone.has = s.Alias; s.Scope == m.want.scope && given[s.Alias] {
			gone.has = ""
		}
		steps = append(steps, gone)
	}
	return steps
}

// unwanted is the plan for a package that this peer does not enable, or no longer.
func (m matter) unwanted() []step {
	services, spells := m.doomed(nil)
	things := len(services)+len(spells) > 0
	switch row := m.gone(); {
	case m.w.keep && !m.known:
		return nil
	case m.w.keep && things:
		row.State, row.Init = api.PackageExisting, m.own.Init
		row.Note = "no longer enabled; keep_disabled leaves it as it is"
		return m.say(row)
	case !m.known && (!things || m.rowsElsewhere(services, spells)):
		return nil
	default:
		if len(m.p.services)+len(m.p.spells) > len(services)+len(spells) {
			row.Note = m.blocked()
		}
		return append(m.removals(services, spells, nil), m.say(row)...)
	}
}

// gone is this peer's row once the package is gone.
func (m matter) gone() api.Deployment {
	row := m.own
	row.State, row.Enabled, row.Error, row.Note = api.PackageRemoved, false, "", ""
	row.Attempts, row.Init, row.Deploying = 0, "", false
	if !m.known && len(m.p.services) > 0 {
		row.Scope = m.p.services[0].Scope
	} else if !m.known && len(m.p.spells) > 0 {
		row.Scope = m.p.spells[0].Scope
	}
	return row
}

// rowsElsewhere tells whether another peer will see to what is there of the cluster's.
func (m matter) rowsElsewhere(services []api.Service, spells []api.Spell) bool {
	own := func(scope string) bool { return scope == m.w.self }
	mine := slices.ContainsFunc(services, func(s api.Service) bool { return own(s.Scope) }) ||
		slices.ContainsFunc(spells, func(s api.Spell) bool { return own(s.Scope) })
	return !mine && slices.ContainsFunc(m.p.rows, func(d api.Deployment) bool { return d.Scope == api.ScopeCluster })
}
