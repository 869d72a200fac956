package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// SpellRef names a spell.
type SpellRef struct {
	Alias string `path:"alias" doc:"Alias or id"`
	ScopeRef
}

// finder looks for the spell with the eyes of the caller.
func (r SpellRef) finder(ctx context.Context) func(View) (api.SpellView, error) {
	return func(v View) (api.SpellView, error) {
		if !findable(r.Alias) || !r.findable() {
			return api.SpellView{}, notFound("spell")
		}
		x, err := v.Spell(r.Scope, r.Alias)
		if err == nil && !maySee(ctx, "spell", x.Account) {
			return api.SpellView{}, notFound("spell")
		}
		return x, err
	}
}

func keyOfSpell(x api.SpellView) string { return x.ID }

// targetSpell finds the spell that a write is about. With an Idempotency-Key one that
// is gone is still asked for: see target.
func (s *Server) targetSpell(ctx context.Context, ref SpellRef) (api.Spell, error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return api.Spell{}, err
	}
	x, err := ref.finder(ctx)(v)
	if mayBeRetry(ctx, err) && findable(ref.Alias) {
		return api.Spell{ID: ref.Alias}, nil
	}
	return x.Spell, err
}

// mayInstall refuses whom a scope is not for: what the cluster has once is for who
// answers for all of it.
func mayInstall(a api.Actor, scope string) error {
	if scope != api.ScopeCluster || isWholeAdmin(a) {
		return nil
	}
	return &api.Error{Kind: api.Forbidden, Op: "spell.scope", Msg: "spells of the scope cluster are for an admin of the whole cluster; one of a single peer is for operators too"}
}

type listSpellsInput struct {
	ListInput
	ScopeRef
	Account string `query:"account" maxLength:"63" doc:"Only those of this account"`
	Package string `query:"package" maxLength:"63" doc:"Only those that came with this package"`
}

func (s *Server) listSpells(ctx context.Context, in *listSpellsInput) (*Reply[api.Page[api.SpellView]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	scope := scopeID(v, in.Scope)
	page := pageOf(in.Paging, v.Spells(in.after), keyOfSpell, func(x api.SpellView) bool {
		return passes(scope, x.Scope) && passes(in.Account, x.Account) && passes(in.Package, x.Package) && maySee(ctx, "spell", x.Account)
	})
	return &Reply[api.Page[api.SpellView]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type showSpellInput struct {
	SpellRef
	Freshness
}

func (s *Server) showSpell(ctx context.Context, in *showSpellInput) (*Reply[api.SpellView], error) {
	return showing(ctx, s, in.Consistency, in.finder(ctx), func(x api.SpellView) uint64 { return x.Version })
}

type createSpellInput struct {
	Keyed
	Body api.SpellCreate
}

func (s *Server) createSpell(ctx context.Context, in *createSpellInput) (*Reply[Stored[api.Spell]], error) {
	c, actor := in.Body, actorOf(ctx)
	c.Account = cmp.Or(c.Account, actor.Account, api.DefaultAccount)
	if err := invalid("spell.create", spellErrors(c, time.Now())); err != nil {
		return nil, err
	}
	if err := permit(actor, api.Create, api.Object{Kind: "spell", Account: c.Account}); err != nil {
		return nil, err
	}
	if err := errors.Join(mayInstall(actor, c.Scope), mayGrant(actor, c.Grants)); err != nil {
		return nil, err
	}
	if err := s.settleScope(ctx, &c); err != nil {
		return nil, err
	}
	if err := s.compiled(ctx, c.Script); err != nil {
		return nil, err
	}
	done, err := s.backend.CreateSpell(ctx, c)
	if err != nil {
		return nil, err
	}
	return made(done, "/v1/spells", done.Object.ID, done.Object.Version), nil
}

// mayGrant refuses what only an admin of the whole cluster gives to a script.
func mayGrant(a api.Actor, g api.Grants) error {
	if isWholeAdmin(a) {
		return nil
	}
	for name, asked := range map[string]bool{"http": len(g.HTTP) > 0, "read": len(g.Read) > 0, "any_account": g.AnyAccount} {
		if asked {
			return api.Errorf(api.Forbidden, "spell.grant", "the grant %s is for an admin of the whole cluster to give: ask one to install the spell, or do without", name)
		}
	}
	return nil
}

// settleScope makes the scope that is meant the one that rows have.
func (s *Server) settleScope(ctx context.Context, c *api.SpellCreate) error {
	if c.Scope == api.ScopeCluster {
		return nil
	}
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return err
	}
	p, err := v.Peer(cmp.Or(c.Scope, s.backend.PeerName()))
	if api.IsKind(err, api.NotFound) {
		return invalid("spell.create", []api.FieldError{{Pointer: "/scope", Detail: "there is no such peer; orchd peer list names those there are"}})
	}
	c.Scope = p.ID
	return err
}

// compiled refuses a script that does not compile; what is said of it names the line.
func (s *Server) compiled(ctx context.Context, script string) error {
	err := s.backend.CheckScript(ctx, script)
	if e, ok := errors.AsType[*api.Error](err); ok && e.Kind == api.Invalid && len(e.Fields) == 0 {
		return invalid("spell.create", []api.FieldError{{Pointer: "/script", Detail: e.Msg}})
	}
	return err
}

// reservedAliases mean something in scripts.
var reservedAliases = []string{"self", "spell"}

// spellErrors is what the schema cannot say of a spell.
func spellErrors(c api.SpellCreate, now time.Time) []api.FieldError {
	bad := append(nameErrors("/alias", c.Alias), nameErrors("/account", c.Account)...)
	if slices.Contains(reservedAliases, c.Alias) {
		bad = append(bad, api.FieldError{Pointer: "/alias", Detail: "this word is reserved: choose another"})
	}
	if c.Scope != "" && c.Scope != api.ScopeCluster {
		bad = append(bad, refErrors("/scope", "peer", c.Scope)...)
	}
	switch {
	case c.Script == "":
		bad = append(bad, api.FieldError{Pointer: "/script", Detail: "expected a Starlark script that defines run()"})
	case len(c.Script) > api.MaxScript:
		bad = append(bad, api.FieldError{Pointer: "/script", Detail: fmt.Sprintf("expected at most %s", sizeInWords(api.MaxScript))})
	}
	for key, value := range c.KV {
		at := "/kv/" + escapePointer(key)
		bad = append(bad, keyErrors(at, key)...)
		if len(value) > api.MaxKVValue {
			bad = append(bad, api.FieldError{Pointer: at, Detail: fmt.Sprintf("a value has at most %s", sizeInWords(api.MaxKVValue))})
		}
	}
	return append(bad, triggerErrors("/trigger", c.Trigger, now)...)
}

// triggerErrors is what the schema cannot say of a trigger. The words about clocks are
// those of the system that they come from.
func triggerErrors(at string, t api.Trigger, now time.Time) (bad []api.FieldError) {
	if err := t.Clock.Check(now); err != nil {
		bad = append(bad, api.FieldError{Pointer: at + "/clock", Detail: err.Error()})
	}
	for i, e := range t.Events {
		here := fmt.Sprintf("%s/events/%d", at, i)
		if !tableForm(e.Table) {
			bad = append(bad, api.FieldError{Pointer: here + "/table", Detail: "expected the name of a table, such as vms or compute_nodes"})
		}
		for field, value := range e.Where {
			if field == "" || !showable(field, maxRef) || !showable(value, maxLabelValue) {
				bad = append(bad, api.FieldError{Pointer: here + "/where/" + escapePointer(field), Detail: "expected a field, with dots between levels, and the value that it must have become"})
			}
		}
	}
	return bad
}

// tableForm tells whether a word could name a table.
func tableForm(word string) bool {
	for _, r := range word {
		if r != '_' && (r < 'a' || r > 'z') {
			return false
		}
	}
	return word != "" && len(word) <= maxRef
}

type deleteSpellInput struct {
	SpellRef
	Keyed
}

func (s *Server) deleteSpell(ctx context.Context, in *deleteSpellInput) (*Nothing, error) {
	x, err := s.targetSpell(ctx, in.SpellRef)
	if err == nil {
		err = mayInstall(actorOf(ctx), x.Scope)
	}
	if err != nil {
		return nil, err
	}
	return &Nothing{}, s.backend.DeleteSpell(ctx, x.ID)
}

type updateTriggerInput struct {
	SpellRef
	Keyed
	Matching
	Body api.Trigger
}

func (s *Server) updateTrigger(ctx context.Context, in *updateTriggerInput) (*Reply[Stored[api.Spell]], error) {
	if err := invalid("spell.trigger", triggerErrors("", in.Body, time.Now())); err != nil {
		return nil, err
	}
	x, err := s.targetSpell(ctx, in.SpellRef)
	if err == nil {
		err = mayInstall(actorOf(ctx), x.Scope)
	}
	if err != nil {
		return nil, err
	}
	done, err := s.backend.UpdateSpellTrigger(ctx, x.ID, in.version, in.Body)
	if err != nil {
		return nil, err
	}
	return changed(http.StatusOK, done, done.Object.ID, done.Object.Version), nil
}

type runSpellInput struct {
	SpellRef
}

// runSpell answers once the run began. It is made anew each time that it is asked for:
// there is no key under which it would be remembered.
func (s *Server) runSpell(ctx context.Context, in *runSpellInput) (*Reply[api.SpellRun], error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	x, err := in.finder(ctx)(v)
	if err != nil {
		return nil, err
	}
	run, err := s.backend.RunSpell(ctx, x.Spell)
	if err != nil {
		return nil, err
	}
	return &Reply[api.SpellRun]{Status: http.StatusAccepted, Body: run}, nil
}

// linesInput asks for lines of a spell, oldest first.
type linesInput struct {
	SpellRef
	ListInput
	Since int64 `query:"since" minimum:"0" doc:"Only those behind the line with this seq"`
}

// from is the seq behind which a page begins.
func (in *linesInput) from() int64 {
	n, err := strconv.ParseInt(in.after, 10, 64)
	if err != nil {
		return in.Since
	}
	return max(n, in.Since)
}

// Resolve reads the cursor, which is a seq.
func (in *linesInput) Resolve(ctx huma.Context) []error {
	if bad := in.Paging.Resolve(ctx); bad != nil {
		return bad
	}
	if _, err := strconv.ParseInt(cmp.Or(in.after, "0"), 10, 64); err != nil {
		return []error{errCursor}
	}
	return nil
}

func (s *Server) spellLog(ctx context.Context, in *linesInput) (*Reply[api.Page[api.SpellLine]], error) {
	return ofSpell(ctx, s, in, View.SpellLog, func(l api.SpellLine) int64 { return l.Seq })
}

func (s *Server) spellErrorLines(ctx context.Context, in *linesInput) (*Reply[api.Page[api.SpellLine]], error) {
	return ofSpell(ctx, s, in, View.SpellErrors, func(l api.SpellLine) int64 { return l.Seq })
}

// ofSpell answers with a page of what is kept of a spell in the order of its seq.
func ofSpell[T any](ctx context.Context, s *Server, in *linesInput, rows func(View, string) []T, seq func(T) int64) (*Reply[api.Page[T]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	x, err := in.finder(ctx)(v)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, slices.Values(rows(v, x.ID)), func(row T) string { return strconv.FormatInt(seq(row), 10) },
		func(row T) bool { return seq(row) > in.from() })
	return &Reply[api.Page[T]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}
