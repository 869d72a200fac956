package api

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// WithScope says where an alias is looked for: "cluster", or a peer by name or id.
func WithScope(scope string) CallOption { return WithQuery("scope", scope) }

// Services lists services in id order; filter with WithScope, and with WithQuery for
// package and alias.
func (c *Client) Services(ctx context.Context, opts ...CallOption) iter.Seq2[Service, error] {
	return list[Service](ctx, c, "/v1/services", opts)
}

// Service shows a service and its functions, by alias or id.
func (c *Client) Service(ctx context.Context, ref string, opts ...CallOption) (ServiceView, error) {
	return ask[ServiceView](ctx, c, http.MethodGet, at("/v1/services", ref), nil, opts)
}

// CallService calls a function of a service with a JSON object, by name, or array, in
// order; nil: without arguments. It gives the result as it stands. ServiceFailed is the
// function's own failure, ServiceDeadline that it took too long. A call is not made
// twice: when its answer is lost, nobody knows whether it was made, and that is the error.
func (c *Client) CallService(ctx context.Context, ref, function string, args json.RawMessage, opts ...CallOption) (json.RawMessage, error) {
	opts = append([]CallOption{WithPatience(DefaultCallTTL * time.Second)}, opts...)
	return c.once(ctx, at("/v1/services", ref, url.PathEscape(function)), args, opts)
}

// once posts what must not be done twice. It carries no Idempotency-Key: the peer would
// not know it again, and net/http takes one for leave to send anew by itself.
func (c *Client) once(ctx context.Context, path string, body []byte, opts []CallOption) ([]byte, error) {
	k, err := newCall(http.MethodPost, path, body, opts)
	if err != nil {
		return nil, err
	}
	k.key = ""
	answer, err := c.persistWith(ctx, k, c.tryOnce)
	if k.answer != nil {
		*k.answer = answer
	}
	return answer.Body, err
}

// tryOnce is try for what must not be done twice.
func (c *Client) tryOnce(ctx context.Context, to address, k *call) attempt {
	a := c.try(ctx, to, k)
	if !a.final() && a.answer.Status == 0 && mayHaveArrived(a.err) {
		a.err = Errorf(Internal, "client", "the answer of %s was lost: what was asked for may have been done; look before you ask again: %v", to.given, a.err)
	}
	return a
}

// Packages lists what became of packages, peer by peer; filter with WithQuery for peer,
// package and state.
func (c *Client) Packages(ctx context.Context, opts ...CallOption) iter.Seq2[Deployment, error] {
	return list[Deployment](ctx, c, "/v1/packages", opts)
}

// Spells lists spells in id order; filter with WithScope and WithAccount.
func (c *Client) Spells(ctx context.Context, opts ...CallOption) iter.Seq2[SpellView, error] {
	return list[SpellView](ctx, c, "/v1/spells", opts)
}

// Spell shows a spell and its runs, by alias or id.
func (c *Client) Spell(ctx context.Context, ref string, opts ...CallOption) (SpellView, error) {
	return ask[SpellView](ctx, c, http.MethodGet, at("/v1/spells", ref), nil, opts)
}

// CreateSpell installs a spell.
func (c *Client) CreateSpell(ctx context.Context, s SpellCreate, opts ...CallOption) (Spell, error) {
	return ask[Spell](ctx, c, http.MethodPost, "/v1/spells", s, opts)
}

// DeleteSpell removes a spell, its values and its mailbox.
func (c *Client) DeleteSpell(ctx context.Context, ref string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at("/v1/spells", ref), nil, nil, opts)
}

// UpdateTrigger says anew when a spell runs.
func (c *Client) UpdateTrigger(ctx context.Context, ref string, t Trigger, opts ...CallOption) (Spell, error) {
	return ask[Spell](ctx, c, http.MethodPut, at("/v1/spells", ref, "trigger"), t, opts)
}

// RunSpell runs a spell now, once: see CallService. It returns when the run began.
func (c *Client) RunSpell(ctx context.Context, ref string, opts ...CallOption) (SpellRun, error) {
	var run SpellRun
	body, err := c.once(ctx, at("/v1/spells", ref, "run"), nil, opts)
	if err == nil {
		err = json.Unmarshal(body, &run)
	}
	return run, err
}

// SpellKVs lists the values of a spell by key; WithQuery("prefix", P) lists some.
func (c *Client) SpellKVs(ctx context.Context, ref string, opts ...CallOption) iter.Seq2[KVEntry, error] {
	return list[KVEntry](ctx, c, at("/v1/spells", ref, "kv"), opts)
}

// SpellKV shows a value of a spell.
func (c *Client) SpellKV(ctx context.Context, ref, key string, opts ...CallOption) (KVEntry, error) {
	return ask[KVEntry](ctx, c, http.MethodGet, at(at("/v1/spells", ref, "kv"), key), nil, opts)
}

// PutSpellKV sets a value of a spell whose key begins with w_ or hw_.
func (c *Client) PutSpellKV(ctx context.Context, ref, key string, p KVPut, opts ...CallOption) (KVEntry, error) {
	return ask[KVEntry](ctx, c, http.MethodPut, at(at("/v1/spells", ref, "kv"), key), p, opts)
}

// DeleteSpellKV removes a value of a spell whose key begins with w_ or hw_.
func (c *Client) DeleteSpellKV(ctx context.Context, ref, key string, opts ...CallOption) error {
	return c.send(ctx, http.MethodDelete, at(at("/v1/spells", ref, "kv"), key), nil, nil, opts)
}

// Mailbox lists the messages that a spell has not taken yet, oldest first.
func (c *Client) Mailbox(ctx context.Context, ref string, opts ...CallOption) iter.Seq2[Mail, error] {
	return list[Mail](ctx, c, at("/v1/spells", ref, "mailbox"), opts)
}

// PushMail puts a message into a spell's mailbox; Conflict when it is full.
func (c *Client) PushMail(ctx context.Context, ref, text string, opts ...CallOption) error {
	return c.send(ctx, http.MethodPost, at("/v1/spells", ref, "mailbox"), MailCreate{Text: text}, nil, opts)
}

// SpellLog lists what a spell logged behind the line with that seq, oldest first.
func (c *Client) SpellLog(ctx context.Context, ref string, since int64, opts ...CallOption) iter.Seq2[SpellLine, error] {
	return list[SpellLine](ctx, c, at("/v1/spells", ref, "log"), append([]CallOption{WithQuery("since", strconv.FormatInt(since, 10))}, opts...))
}

// SpellErrors lists the errors of a spell's runs, oldest first.
func (c *Client) SpellErrors(ctx context.Context, ref string, opts ...CallOption) iter.Seq2[SpellLine, error] {
	return list[SpellLine](ctx, c, at("/v1/spells", ref, "errors"), opts)
}

// Deals lists deals in id order; WithAccount lists those of one account.
func (c *Client) Deals(ctx context.Context, opts ...CallOption) iter.Seq2[Deal, error] {
	return list[Deal](ctx, c, "/v1/deals", opts)
}

// Deal shows a deal and its workers, by id or by its name in an account.
func (c *Client) Deal(ctx context.Context, ref string, opts ...CallOption) (Deal, error) {
	return ask[Deal](ctx, c, http.MethodGet, at("/v1/deals", ref), nil, opts)
}

// CreateDeal asks for a number of alike virtual machines, and that they are kept alive.
func (c *Client) CreateDeal(ctx context.Context, d DealCreate, opts ...CallOption) (Deal, error) {
	return ask[Deal](ctx, c, http.MethodPost, "/v1/deals", d, opts)
}

// ReplaceDeal says anew what a deal asks for.
func (c *Client) ReplaceDeal(ctx context.Context, ref string, u DealUpdate, opts ...CallOption) (Deal, error) {
	return ask[Deal](ctx, c, http.MethodPut, at("/v1/deals", ref), u, opts)
}

// PatchDeal changes a deal, by a merge patch (RFC 7396).
func (c *Client) PatchDeal(ctx context.Context, ref string, patch json.RawMessage, opts ...CallOption) (Deal, error) {
	return ask[Deal](ctx, c, http.MethodPatch, at("/v1/deals", ref), patch, opts)
}

// ActivateDeal has the workers of a deal made and kept alive.
func (c *Client) ActivateDeal(ctx context.Context, ref string, opts ...CallOption) (Deal, error) {
	return ask[Deal](ctx, c, http.MethodPost, at("/v1/deals", ref, "activate"), nil, opts)
}

// DeactivateDeal has the workers of a deal removed; the deal stays.
func (c *Client) DeactivateDeal(ctx context.Context, ref string, opts ...CallOption) (Deal, error) {
	return ask[Deal](ctx, c, http.MethodPost, at("/v1/deals", ref, "deactivate"), nil, opts)
}

// DeleteDeal ends a deal; it goes when its workers have gone.
func (c *Client) DeleteDeal(ctx context.Context, ref string, opts ...CallOption) (Deal, error) {
	return ask[Deal](ctx, c, http.MethodDelete, at("/v1/deals", ref), nil, opts)
}
