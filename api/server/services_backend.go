package server

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/orchd/orchd/api"
)

// ServiceView is services, spells and deals in one unchanging state. A scope is
// "cluster", or a peer by name or id; empty: where the alias is looked for first at the
// asked peer, then in the cluster. Rows come in key order, beginning after the key
// after. Who may see which is the server's business.
type ServiceView interface {
	Services(after string) iter.Seq[api.Service]       // keyed by id
	Service(scope, ref string) (api.Service, error)    // by alias or id
	Spells(after string) iter.Seq[api.SpellView]       // keyed by id
	Spell(scope, ref string) (api.SpellView, error)    // by alias or id
	SpellLog(id string) []api.SpellLine                // oldest first
	SpellErrors(id string) []api.SpellLine             // oldest first
	Mailbox(id string) []api.Mail                      // oldest first
	KV(store, key string) (api.KVEntry, error)         // of a spell also what is kept with its runs, as hw_counter
	KVs(store, prefix string) iter.Seq[api.KVEntry]    // in the order of their keys
	Deployments(after string) iter.Seq[api.Deployment] // keyed by peer/package
	Deals(after string) iter.Seq[api.Deal]             // keyed by id
	Deal(account, ref string) (api.Deal, error)        // by id, or by name in the account
}

// ServiceWrites change spells and deals. ifVersion 0 means any.
type ServiceWrites interface {
	// CreateSpell takes a scope that is "cluster" or the id of a peer.
	CreateSpell(ctx context.Context, c api.SpellCreate) (Done[api.Spell], error)
	UpdateSpellTrigger(ctx context.Context, id string, ifVersion uint64, t api.Trigger) (Done[api.Spell], error)
	DeleteSpell(ctx context.Context, id string) error
	// ChangeKV gives the value of the last op as it is then.
	ChangeKV(ctx context.Context, c api.KVChange) (Done[api.KVEntry], error)
	PushMail(ctx context.Context, spell, text string) error
	CreateDeal(ctx context.Context, c api.DealCreate) (Done[api.Deal], error)
	UpdateDeal(ctx context.Context, id string, ifVersion uint64, u api.DealUpdate) (Done[api.Deal], error)
	// DeleteDeal gives the deal as it ends; it goes when its workers have gone.
	DeleteDeal(ctx context.Context, id string) (Done[api.Deal], error)
}

// ServiceCalls run what services and spells are made of; any peer can be asked for it.
type ServiceCalls interface {
	// CallService calls a function with a JSON object, by name, or array, in order, and
	// gives its result. The server has asked whether the caller may. A function that
	// fails is ServiceFailed with its own text, one that takes longer than call_ttl is
	// ServiceDeadline, one that is not there NotFound.
	CallService(ctx context.Context, svc api.Service, function string, args json.RawMessage) (json.RawMessage, error)
	// RunSpell runs a spell now, and waits until the run began. Conflict: another run
	// of it goes on, or it is disarmed.
	RunSpell(ctx context.Context, spell api.Spell) (api.SpellRun, error)
	// CheckScript compiles the script of a spell: Invalid with what is wrong, and in
	// which line.
	CheckScript(ctx context.Context, script string) error
	// Functions are those of a service that can be called.
	Functions(ctx context.Context, svc api.Service) ([]string, error)
	// FailedPackages are those of the asked peer that are not deployed, by name.
	FailedPackages() []string
}
