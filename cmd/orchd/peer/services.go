package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/sysvc/run"
)

// scopes are the scopes in which a name is looked for: the one that is meant, by its
// peer's name too; else this peer's, then the cluster's.
func (v view) scopes(scope string) []string {
	switch host, known := v.Reader.Peer(scope); {
	case scope == "":
		return []string{v.peer.identity.PeerID, api.ScopeCluster}
	case scope != api.ScopeCluster && known:
		return []string{host.ID}
	default:
		return []string{scope}
	}
}

// Services lists the services behind an id.
func (v view) Services(after string) iter.Seq[api.Service] {
	return behind(v.Reader.Services(), after, func(s api.Service) string { return s.ID })
}

// Service finds a service by id, or by alias in a scope.
func (v view) Service(scope, ref string) (api.Service, error) {
	if s, ok := v.Reader.Service(ref); ok {
		return s, nil
	}
	for _, at := range v.scopes(scope) {
		if s, ok := v.ServiceAt(at, ref); ok {
			return s, nil
		}
	}
	return orMissing(api.Service{}, false, "service", ref)
}

// Spells lists the spells behind an id.
func (v view) Spells(after string) iter.Seq[api.SpellView] {
	return func(yield func(api.SpellView) bool) {
		for s := range behind(v.Reader.Spells(), after, func(s api.Spell) string { return s.ID }) {
			if !yield(v.spell(s)) {
				return
			}
		}
	}
}

// Spell finds a spell by id, or by alias in a scope.
func (v view) Spell(scope, ref string) (api.SpellView, error) {
	if s, ok := v.Reader.Spell(ref); ok {
		return v.spell(s), nil
	}
	for _, at := range v.scopes(scope) {
		if s, ok := v.SpellAt(at, ref); ok {
			return v.spell(s), nil
		}
	}
	return orMissing(api.SpellView{}, false, "spell", ref)
}

// spell is a spell with what is known of its runs, and when its clock fires next.
func (v view) spell(s api.Spell) api.SpellView {
	out := api.SpellView{Spell: s, Status: v.SpellStatus(s.ID)}
	out.Status.Disarmed = run.Disarmed(systemView{v.Reader}, s)
	if out.Status.Disarmed == "" && s.Trigger.Clock.StartSec != 0 {
		out.Status.Next = nextTick(s.Trigger.Clock, out.Status.Start, v.peer.cfg.Now())
	}
	return out
}

// Deployments lists what peers say of their packages, behind PEER/PACKAGE.
func (v view) Deployments(after string) iter.Seq[api.Deployment] {
	return behind(v.Reader.Deployments(), after, func(d api.Deployment) string { return d.Peer + "/" + d.Package })
}

// Deal finds a deal by id, or by name in an account.
func (v view) Deal(account, ref string) (api.Deal, error) {
	if d, ok := v.DealByID(ref); ok {
		return d, nil
	}
	d, ok := v.Reader.Deal(account, ref)
	return orMissing(d, ok, "deal", ref)
}

// KV is a value of a store.
func (v view) KV(store, key string) (api.KVEntry, error) {
	e, ok := v.Reader.KV(store, key)
	return orMissing(e, ok, "value", key)
}

// behind are the rows whose keys come after one.
func behind[T any](rows iter.Seq[T], after string, key func(T) string) iter.Seq[T] {
	return func(yield func(T) bool) {
		for row := range rows {
			if key(row) > after && !yield(row) {
				return
			}
		}
	}
}

// CreateSpell installs a spell; its scope is by then cluster or a peer's id.
func (p *Peer) CreateSpell(ctx context.Context, c api.SpellCreate) (server.Done[api.Spell], error) {
	if err := p.room("spell.create"); err != nil {
		return server.Done[api.Spell]{}, err
	}
	v := view{Reader: p.machine.Read(), peer: p}
	c.Scope = v.scopes(c.Scope)[0]
	return done(p.writer.CreateSpell(ctx, c))
}

// UpdateSpellTrigger says anew when a spell runs.
func (p *Peer) UpdateSpellTrigger(ctx context.Context, id string, ifVersion uint64, t api.Trigger) (server.Done[api.Spell], error) {
	return done(p.writer.UpdateSpellTrigger(ctx, id, ifVersion, t))
}

// DeleteSpell removes a spell and all that it keeps.
func (p *Peer) DeleteSpell(ctx context.Context, id string) error {
	return p.writer.DeleteSpell(ctx, id)
}

// ChangeKV changes values of a spell for its account.
func (p *Peer) ChangeKV(ctx context.Context, c api.KVChange) (server.Done[api.KVEntry], error) {
	return done(p.writer.ChangeKV(ctx, c))
}

// PushMail puts a message into a spell's mailbox.
func (p *Peer) PushMail(ctx context.Context, spell, text string) error {
	return p.writer.PushMail(ctx, spell, text)
}

// CreateDeal asks for workers.
func (p *Peer) CreateDeal(ctx context.Context, c api.DealCreate) (server.Done[api.Deal], error) {
	if err := p.room("deal.create"); err != nil {
		return server.Done[api.Deal]{}, err
	}
	return done(p.writer.CreateDeal(ctx, c))
}

// UpdateDeal changes what a deal asks for.
func (p *Peer) UpdateDeal(ctx context.Context, id string, ifVersion uint64, u api.DealUpdate) (server.Done[api.Deal], error) {
	return done(p.writer.UpdateDeal(ctx, id, ifVersion, u))
}

// DeleteDeal lets a deal end: its workers go, and then the deal.
func (p *Peer) DeleteDeal(ctx context.Context, id string) (server.Done[api.Deal], error) {
	return done(p.writer.DeleteDeal(ctx, id))
}

// asked is a call or a run that one peer passes on to another.
type asked struct {
	Actor   api.Actor       `json:"actor"`
	Request string          `json:"request,omitempty"`
	Args    json.RawMessage `json:"args,omitempty"`
}

// passOn asks another peer to do what only it can do, in the name of the caller.
func (p *Peer) passOn(ctx context.Context, peer, path string, args json.RawMessage, into any) error {
	caller := api.CallerOf(ctx)
	body, err := json.Marshal(asked{caller.Actor, caller.RequestID, args})
	if err != nil {
		return err
	}
	resp, err := p.request(ctx, peer, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}

// takeOn is the other side of passOn.
func (p *Peer) takeOn(do func(ctx context.Context, r *http.Request, args json.RawMessage) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q asked
		if err := json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(&q); err != nil {
			answerPeer(w, nil, api.Errorf(api.Malformed, "peer", "the request does not decode: %w", err))
			return
		}
		answer, err := do(api.WithCaller(r.Context(), api.Caller{Actor: q.Actor, RequestID: q.Request}), r, q.Args)
		answerPeer(w, answer, err)
	}
}

// CallService calls a function of a service, on its own peer where it has one.
func (p *Peer) CallService(ctx context.Context, s api.Service, function string, args json.RawMessage) (json.RawMessage, error) {
	if s.Scope == api.ScopeCluster || s.Scope == p.identity.PeerID {
		return p.services.Call(ctx, s, function, args)
	}
	var result json.RawMessage
	err := p.passOn(ctx, s.Scope, "/peer/services/"+s.ID+"/"+function, args, &result)
	return result, err
}

func (p *Peer) serveCall(ctx context.Context, r *http.Request, args json.RawMessage) (any, error) {
	if err := p.node.ReadIndex(ctx); err != nil {
		return nil, err
	}
	s, ok := p.machine.Read().Service(r.PathValue("id"))
	if !ok {
		return nil, api.Errorf(api.NotFound, "service", "no service %q", r.PathValue("id"))
	}
	return p.services.Call(ctx, s, r.PathValue("function"), args)
}

// RunSpell lets a spell run now, where its runs are in hand, and waits until it began.
func (p *Peer) RunSpell(ctx context.Context, s api.Spell) (api.SpellRun, error) {
	at := s.Scope
	if holder, held := p.machine.Read().Holder(s.Scope); at == api.ScopeCluster {
		if at = holder.Peer; !held || at == "" { // nothing has to be run by itself: this peer takes them
			at = p.identity.PeerID
		}
	}
	if at == p.identity.PeerID {
		return p.runHere(ctx, s.ID)
	}
	var began api.SpellRun
	err := p.passOn(ctx, at, "/peer/spells/"+s.ID+"/run", nil, &began)
	return began, err
}

func (p *Peer) runHere(ctx context.Context, spell string) (api.SpellRun, error) {
	before := p.machine.Read().SpellStatus(spell).Counter
	if err := p.services.RunNow(ctx, spell); err != nil {
		return api.SpellRun{}, err
	}
	last := p.machine.Read().SpellStatus(spell).Last
	if last.Number <= before {
		return last, api.Errorf(api.Conflict, "spell.run", "the spell did not begin: another run of it goes on, and its trigger says overlap = queue")
	}
	return last, nil
}

// CheckScript compiles the script of a spell.
func (p *Peer) CheckScript(ctx context.Context, script string) error {
	return p.services.CheckScript(ctx, script)
}

// Functions are the functions of a service that can be called.
func (p *Peer) Functions(ctx context.Context, s api.Service) ([]string, error) {
	return p.services.Functions(ctx, s)
}

// nextTick is when a clock fires next; zero: never again.
func nextTick(c api.Clock, start int64, now time.Time) time.Time {
	at := start
	if late := now.Unix() - start; late >= 0 {
		if c.PeriodSec == 0 {
			return time.Time{}
		}
		at += (late/c.PeriodSec + 1) * c.PeriodSec
	}
	if c.EndSec != 0 && at >= c.EndSec || at > api.LastSecond {
		return time.Time{}
	}
	return time.Unix(at, 0).UTC()
}
