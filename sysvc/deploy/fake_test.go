package deploy_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
)

// tables are what a cluster remembers, as far as deployers look at it.
type tables struct {
	services    map[string]api.Service
	spells      map[string]api.Spell
	deployments map[string]api.Deployment // by peer/package
	kv          map[string]string         // store/function: the arguments of the last call
	peers       []string
}

func (t tables) clone() tables {
	return tables{maps.Clone(t.services), maps.Clone(t.spells), maps.Clone(t.deployments), maps.Clone(t.kv), slices.Clone(t.peers)}
}

// view is the tables at one moment; it has what deployers ask for.
type view struct {
	state.View
	t tables
}

func inOrder[T any](m map[string]T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			if !yield(m[id]) {
				return
			}
		}
	}
}

func find[T any](m map[string]T, is func(T) bool) (none T, found bool) {
	for v := range inOrder(m) {
		if is(v) {
			return v, true
		}
	}
	return none, false
}

func (v view) Services() iter.Seq[api.Service]       { return inOrder(v.t.services) }
func (v view) Spells() iter.Seq[api.Spell]           { return inOrder(v.t.spells) }
func (v view) Deployments() iter.Seq[api.Deployment] { return inOrder(v.t.deployments) }

func (v view) Service(id string) (api.Service, bool) {
	s, ok := v.t.services[id]
	return s, ok
}

func (v view) ServiceAt(scope, alias string) (api.Service, bool) {
	return find(v.t.services, func(s api.Service) bool { return s.Scope == scope && s.Alias == alias })
}

func (v view) SpellAt(scope, alias string) (api.Spell, bool) {
	return find(v.t.spells, func(s api.Spell) bool { return s.Scope == scope && s.Alias == alias })
}

func (v view) Peers() iter.Seq[api.Peer] {
	return func(yield func(api.Peer) bool) {
		for _, id := range v.t.peers {
			if !yield(api.Peer{ID: id}) {
				return
			}
		}
	}
}

// book is the log and the tables of a cluster, in memory.
type book struct {
	mu      sync.Mutex
	now     tables
	writes  []string // what was written, in order
	moments []tables // at the beginning, and after each write
	changed chan struct{}
	ids     int
	down    map[string]bool // peers that are away
	calls   []string        // calls of functions, "alias or new alias.function"
	failing map[string]bool // functions that fail
	robbed  []string        // removals by a peer that wants the package, of who had the alias: its values may go with it
}

func newBook(peers ...string) *book {
	now := tables{
		services: map[string]api.Service{}, spells: map[string]api.Spell{}, deployments: map[string]api.Deployment{},
		kv: map[string]string{}, peers: peers,
	}
	return &book{
		now: now, moments: []tables{now.clone()},
		changed: make(chan struct{}), down: map[string]bool{}, failing: map[string]bool{},
	}
}

// wrote notes a change.
func (b *book) wrote(format string, args ...any) {
	b.writes = append(b.writes, fmt.Sprintf(format, args...))
	b.moments = append(b.moments, b.now.clone())
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *book) view() view {
	b.mu.Lock()
	defer b.mu.Unlock()
	return view{t: b.now.clone()}
}

// set changes what no deployer does.
func (b *book) set(f func(t *tables)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.now)
	b.wrote("set")
}

// fail makes a function fail from now on, or no longer.
func (b *book) fail(function string, fails bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing[function] = fails
}

func (b *book) written() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.writes)
}

// mostWrites are more than any test makes: who goes beyond works against somebody, and
// would do so for ever.
const mostWrites = 2000

// errDead is what a peer gets that has died.
var errDead = errors.New("this process has died")

// peer is a cluster as one of its peers has it.
type peer struct {
	state.Cluster // what deployers do not ask for
	*book
	id string

	mu    sync.Mutex
	left  int        // writes until it dies; below 0: it does not
	die   func()     // ends its deployer
	dead  bool       // it has
	pause func()     // before each write and each fresh read; nil: none
	lag   func() int // how many writes its view is behind, at most; nil: none
	seen  int        // writes that it knows of at least
	wants bool       // it enables packages
}

func (b *book) peer(id string) *peer { return &peer{book: b, id: id, left: -1} }

func (p *peer) Self() string   { return p.id }
func (p *peer) Now() time.Time { return time.Now() }

func (p *peer) View() state.View {
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	at := len(p.moments)
	if p.lag != nil {
		at = max(p.seen, at-p.lag(), 1)
	}
	p.seen = at
	if at == len(p.moments) {
		return view{t: p.now.clone()}
	}
	return view{t: p.moments[at-1].clone()}
}

func (p *peer) Fresh(ctx context.Context) (state.View, error) {
	if p.pause != nil {
		p.pause()
	}
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	p.seen = len(p.moments)
	return view{t: p.now.clone()}, ctx.Err()
}

func (p *peer) Watch() <-chan struct{} {
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	return p.changed
}

func (p *peer) Alive() (alive []string) {
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	for _, id := range p.now.peers {
		if !p.down[id] {
			alive = append(alive, id)
		}
	}
	return alive
}

// write makes a change as this peer, which may die of it: then the change is made, and
// the peer never hears of it. f says what it changed; empty: nothing.
func (p *peer) write(ctx context.Context, f func(t *tables) (string, error)) error {
	if p.pause != nil {
		p.pause()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	if p.dead || ctx.Err() != nil {
		return errDead
	}
	what, err := f(&p.now)
	if what == "" {
		return err
	}
	p.wrote("%s: %s", p.id, what)
	p.seen = len(p.moments)
	if p.left--; p.left == 0 || len(p.writes) > mostWrites {
		p.dead = true
		p.die()
		return errDead
	}
	return err
}

func (b *book) newID(kind string) string {
	b.ids++
	return fmt.Sprintf("%s-%06d", kind, b.ids)
}

func (p *peer) DeployService(ctx context.Context, d api.ServiceDeploy) (row api.Service, err error) {
	err = p.write(ctx, func(t *tables) (string, error) {
		same, there := find(t.services, func(s api.Service) bool {
			return s.Scope == d.Scope && s.Package == d.Package && s.Wanted == d.Alias && s.Blueprint == d.Blueprint
		})
		if there {
			row = same
			return "", nil
		}
		id := p.newID("service")
		row = api.Service{
			ID: id, Scope: d.Scope, Wanted: d.Alias, Package: d.Package, Account: d.Account, Blueprint: d.Blueprint,
			Modules: d.Modules, Grants: d.Grants, Access: d.Access, CallTTL: d.CallTTL, Store: id,
		}
		t.services[id] = row
		return "create " + d.Package + "/" + d.Alias, nil
	})
	return row, err
}

func (p *peer) MoveAlias(ctx context.Context, id string) (row api.Service, err error) {
	err = p.write(ctx, func(t *tables) (string, error) {
		s, there := t.services[id]
		if !there {
			return "", api.Errorf(api.NotFound, "service", "no service %s", id)
		}
		if row = s; s.Alias == s.Wanted {
			return "", nil
		}
		if _, taken := (view{t: *t}).SpellAt(s.Scope, s.Wanted); taken {
			return "", api.Errorf(api.Conflict, "service", "a spell has the alias %s", s.Wanted)
		}
		if old, has := (view{t: *t}).ServiceAt(s.Scope, s.Wanted); has {
			for key, args := range t.kv { // what the new one keeps lies over what the old one has
				if function, own := strings.CutPrefix(key, s.Store+"/"); own {
					t.kv[old.Store+"/"+function] = args
				}
			}
			s.Store, old.Alias = old.Store, ""
			t.services[old.ID] = old
		}
		s.Alias = s.Wanted
		t.services[id], row = s, s
		return "move " + s.Package + "/" + s.Alias, nil
	})
	return row, err
}

// wishesStand is as the state machine has it.
func (p *peer) wishesStand(t *tables, pkg, wishes string) error {
	if api.WishesOfOthers((view{t: *t}).Deployments(), pkg, p.id) != wishes {
		return api.Errorf(api.Precondition, "package", "others want something else of %s", pkg)
	}
	return nil
}

func (p *peer) RemoveService(ctx context.Context, id, alias, wishes string) error {
	return p.write(ctx, func(t *tables) (string, error) {
		s, there := t.services[id]
		if !there {
			return "", nil
		}
		if s.Alias != alias {
			return "", api.Errorf(api.Precondition, "service", "alias %q, not %q", s.Alias, alias)
		}
		if err := p.wishesStand(t, s.Package, wishes); err != nil {
			return "", err
		}
		if s.Alias != "" && p.wants {
			p.robbed = append(p.robbed, p.id+" removes "+s.Package+"/"+s.Alias)
		}
		delete(t.services, id)
		return "remove service " + s.Package + "/" + cmp.Or(s.Alias, "("+s.Wanted+")"), nil
	})
}

func (p *peer) DeploySpell(ctx context.Context, d api.SpellDeploy) (row api.Spell, err error) {
	err = p.write(ctx, func(t *tables) (string, error) {
		if _, taken := (view{t: *t}).ServiceAt(d.Scope, d.Alias); taken {
			return "", api.Errorf(api.Conflict, "spell", "a service has the alias %s", d.Alias)
		}
		old, has := view{t: *t}.SpellAt(d.Scope, d.Alias)
		kv, err := api.DeclaredKV(d.KV)
		if err != nil {
			return "", err
		}
		row = api.Spell{
			ID: old.ID, Scope: d.Scope, Alias: d.Alias, Package: d.Package, Account: d.Account, Script: d.Script,
			Trigger: d.Trigger, KVDigest: api.KVDigest(kv), Grants: d.Grants, CallTTL: d.CallTTL,
		}
		if has && text(row) == text(old) {
			return "", nil
		}
		if !has {
			row.ID = p.newID("spell")
		}
		t.spells[row.ID] = row
		return "cast " + d.Package + "/" + d.Alias, nil
	})
	return row, err
}

func (p *peer) RemoveSpell(ctx context.Context, id, wishes string) error {
	return p.write(ctx, func(t *tables) (string, error) {
		s, there := t.spells[id]
		if !there {
			return "", nil
		}
		if err := p.wishesStand(t, s.Package, wishes); err != nil {
			return "", err
		}
		delete(t.spells, id)
		return "remove spell " + s.Package + "/" + s.Alias, nil
	})
}

func (p *peer) ReportDeployment(ctx context.Context, d api.Deployment) error {
	return p.write(ctx, func(t *tables) (string, error) {
		if d.Peer != p.id {
			return "", fmt.Errorf("%s reports for %s", p.id, d.Peer)
		}
		d.UpdatedAt = time.Now()
		t.deployments[d.Peer+"/"+d.Package] = d
		return "row " + said(d), nil
	})
}

// said is a row in short.
func said(d api.Deployment) string {
	s := fmt.Sprintf("%s %s %s %d", d.Package, d.Version, d.State, d.Order)
	if d.Deploying {
		s += " deploying"
	}
	if !d.Enabled {
		s += " disabled"
	}
	if d.Error != "" {
		s += fmt.Sprintf(" (%d) %s", d.Attempts, d.Error)
	}
	if d.Note != "" {
		s += " [" + d.Note + "]"
	}
	return s
}

// call is a service's function: it keeps its arguments in the service's store, unless it is to fail.
func (p *peer) call(ctx context.Context, s api.Service, function string, args json.RawMessage) error {
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	who := s.Alias
	if who == "" {
		who = "new " + s.Wanted
	}
	p.calls = append(p.calls, who+"."+function)
	if p.failing[function] {
		return errors.New("it does not like it")
	}
	p.now.kv[s.Store+"/"+function] = string(args)
	return ctx.Err()
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
