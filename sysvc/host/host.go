// Package host is the world of scripts: what they may do to the cluster and beyond.
//
// For each call and each run there is one world, a worker.Host. It knows for whom it
// acts, what was granted, and which run it belongs to. Every name is always there;
// what was not granted is refused with the line of the manifest that is missing. What
// a run does carries its fence, so that the log refuses it once another peer has the
// spell in hand.
//
// To add a function, write it beside its like and give it a line in functions.
package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
	"github.com/orchd/orchd/sysvc/worker"
)

// Config is what worlds are made from.
type Config struct {
	Cluster state.Cluster
	// HTTP sends one request, to one of the hosts that are allowed (HOST or HOST:PORT),
	// and gives what comes back, redirects too: those are followed here. nil: there is no network.
	HTTP func(ctx context.Context, allowed []string, r *http.Request) (*http.Response, error)
	Log  *slog.Logger // nil: silent
}

// Hosts makes the worlds of a peer's services and spells.
type Hosts struct {
	cfg Config

	mu      sync.Mutex
	scripts map[string]*script // by digest; that run, or are compiled to see whether they can
}

type script struct {
	text  string
	users int
}

// New makes worlds of a cluster.
func New(c Config) *Hosts {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Hosts{cfg: c, scripts: map[string]*script{}}
}

// ForService is what runs when a service is called: its modules, who calls it, and
// what it may do. Who may call which function is not asked here; see Call.
func (h *Hosts) ForService(svc api.Service, caller api.Actor) (worker.Program, worker.Context, worker.Host) {
	w := &world{
		hosts: h, owner: ownerOfService(svc), session: &session{cluster: h.cfg.Cluster},
		note: func(kind, text string) {
			h.cfg.Log.Info("a service says", "service", name(svc), "kind", kind, "text", text)
		},
	}
	return ProgramOf(svc.Modules), worker.Context{Caller: caller, Random: svc.Grants.Random}, w
}

// ForRun is what runs when a spell fires. What it logs is gathered in lines.
// The script is known to Source until forget is called, also when the spell has another
// by then.
func (h *Hosts) ForRun(spell api.Spell, run api.SpellRun, lines *Lines) (p worker.Program, about worker.Context, in worker.Host, forget func()) {
	w := &world{
		hosts: h, owner: ownerOfSpell(spell), run: &run,
		session: &session{cluster: h.cfg.Cluster, fence: &api.Fence{Scope: spell.Scope, Term: run.Term}},
		note:    func(kind, text string) { lines.add(kind, run.Number, h.cfg.Cluster.Now(), text) },
	}
	self, _ := json.Marshal(map[string]any{"alias": spell.Alias, "id": spell.ID, "counter": run.Number, "trigger": run.Firing})
	p, forget = h.Script(spell.Alias, spell.Script)
	return p, worker.Context{Caller: w.owner.actor(), Spell: self, Random: spell.Grants.Random}, w, forget
}

// ProgramOf is what runs of a service with these modules.
func ProgramOf(modules []api.Module) (p worker.Program) {
	for _, m := range modules {
		p.Modules = append(p.Modules, worker.Module{Name: m.Name, Kind: m.Kind, Digest: m.Digest, Settings: m.Settings})
	}
	return p
}

// name is the alias of a service, also of one that is still being made.
func name(svc api.Service) string {
	if svc.Alias != "" {
		return svc.Alias
	}
	return svc.Wanted
}

// Script is the program of a script, which errors call by that name. Its text is known to
// Source until forget is called, whether a spell has it or not.
func (h *Hosts) Script(name, text string) (p worker.Program, forget func()) {
	sum := sha256.Sum256([]byte(text))
	digest := hex.EncodeToString(sum[:])
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.scripts[digest] == nil {
		h.scripts[digest] = &script{text: text}
	}
	h.scripts[digest].users++
	forget = sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.scripts[digest].users--; h.scripts[digest].users == 0 {
			delete(h.scripts, digest)
		}
	})
	return worker.Program{Spell: true, Modules: []worker.Module{{Name: name, Kind: api.ModuleStarlark, Digest: digest}}}, forget
}

// Source gives the bytes of what runs: scripts of spells by Script, modules of services
// out of files.
func (h *Hosts) Source(modules state.Modules) state.Modules { return source{h, modules} }

type source struct {
	hosts   *Hosts
	modules state.Modules
}

func (s source) Module(ctx context.Context, digest string) ([]byte, error) {
	s.hosts.mu.Lock()
	kept := s.hosts.scripts[digest]
	s.hosts.mu.Unlock()
	if kept != nil {
		return []byte(kept.text), nil
	}
	return s.modules.Module(ctx, digest)
}

// owner is the service or spell that acts, and the account that it acts for.
type owner struct {
	kind    string // "service" or "spell"
	id      string
	alias   string
	scope   string
	account string
	pkg     string
	store   string // whose values it keeps
	grants  api.Grants
}

func ownerOfService(s api.Service) owner {
	return owner{"service", s.ID, name(s), s.Scope, s.Account, s.Package, s.Store, s.Grants}
}

func ownerOfSpell(s api.Spell) owner {
	return owner{"spell", s.ID, s.Alias, s.Scope, s.Account, s.Package, s.ID, s.Grants}
}

// actor is who the cluster sees: an operator of the account, or of all accounts.
func (o owner) actor() api.Actor {
	a := api.Actor{ID: o.kind + ":" + o.alias, Role: api.RoleOperator, Account: o.account}
	if o.grants.AnyAccount {
		a.Account = ""
	}
	return a
}

// mayActFor tells whether what belongs to an account is the owner's business.
func (o owner) mayActFor(account string) bool { return o.grants.AnyAccount || account == o.account }

// session is one call from outside, or one run, with all that it calls in turn.
type session struct {
	cluster state.Cluster
	fence   *api.Fence // nil for calls from outside

	mu    sync.Mutex
	fresh bool
}

// view is the tables with everything that was acknowledged before the session first
// asked, and with all that it has written itself.
func (s *session) view(ctx context.Context) (state.View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh {
		return s.cluster.View(), nil
	}
	v, err := s.cluster.Fresh(ctx)
	s.fresh = err == nil
	return v, err
}

// again makes the next view a fresh one: another was faster.
func (s *session) again() {
	s.mu.Lock()
	s.fresh = false
	s.mu.Unlock()
}

// world is a worker.Host.
type world struct {
	hosts   *Hosts
	owner   owner
	run     *api.SpellRun // nil: a service
	session *session
	note    func(kind, text string) // a line of the log ("log"), or an error ("error")
	depth   int                     // how many calls lead here
}

var _ worker.Host = (*world)(nil)

func (w *world) cluster() state.Cluster { return w.hosts.cfg.Cluster }

// asSelf is ctx with the service or spell as the one who asks.
func (w *world) asSelf(ctx context.Context) context.Context {
	return api.WithCaller(ctx, api.Caller{Actor: w.owner.actor(), Fence: w.session.fence})
}

// asPeer is ctx with this peer as the one who asks: it answers for what it writes in
// the name of those whose code it runs.
func (w *world) asPeer(ctx context.Context) context.Context {
	return api.WithCaller(ctx, api.Caller{Actor: api.Actor{ID: "peer:" + w.cluster().Self(), Role: api.RolePeer}, Fence: w.session.fence})
}

// as is who calls a service, for the question which functions it may call. Code acts as
// an operator; functions for admins are for code of the same package, and for code that an
// admin lets act for every account. Otherwise any operator's spell could call them.
func (w *world) as(svc api.Service) api.Actor {
	a := w.owner.actor()
	if same := w.owner.pkg != "" && w.owner.pkg == svc.Package && w.owner.scope == svc.Scope; same || w.owner.grants.AnyAccount {
		a.Role, a.Account = api.RoleAdmin, ""
	}
	return a
}

// maxDepth is how many calls may lead from one to the next.
const maxDepth = 8

// Enter answers a call of one service by another, or by a spell.
func (w *world) Enter(ctx context.Context, alias string) (worker.Program, worker.Context, worker.Host, error) {
	return w.enter(ctx, alias, worker.FunctionOf(ctx))
}

func (w *world) enter(ctx context.Context, alias, function string) (worker.Program, worker.Context, worker.Host, error) {
	fail := func(err error) (worker.Program, worker.Context, worker.Host, error) {
		return worker.Program{}, worker.Context{}, nil, err
	}
	if calls := w.owner.grants.Call; !slices.Contains(calls, alias) && !slices.Contains(calls, "*") {
		return fail(w.notGranted("call of "+alias, `call = ["`+alias+`"]`))
	}
	if w.depth >= maxDepth {
		return fail(api.Errorf(api.Conflict, "call", "more than %d calls lead from one service to the next: do they call each other in a circle?", maxDepth))
	}
	view, err := w.session.view(ctx)
	if err != nil {
		return fail(err)
	}
	svc, found := view.ServiceAt(w.owner.scope, alias)
	if !found {
		svc, found = view.ServiceAt(api.ScopeCluster, alias)
	}
	if !found {
		return fail(api.Errorf(api.NotFound, "call", "there is no service %q on this peer or in the cluster", alias))
	}
	if err := mayCall(svc, function, w.as(svc)); err != nil {
		return fail(err)
	}
	inner := &world{hosts: w.hosts, owner: ownerOfService(svc), session: w.session, depth: w.depth + 1,
		note: func(kind, text string) { w.note(kind, alias+": "+text) }}
	return ProgramOf(svc.Modules), worker.Context{Caller: w.owner.actor(), Random: svc.Grants.Random}, inner, nil
}
