// Package state is what system services need of the cluster that they live in: its
// tables, its log, its modules. The peer gives it to them; this package only declares it.
package state

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"

	"github.com/orchd/orchd/api"
)

// View is the tables of system services in one unchanging state.
type View interface {
	Services() iter.Seq[api.Service] // in the order of their ids
	Service(id string) (api.Service, bool)
	ServiceAt(scope, alias string) (api.Service, bool) // who has the alias
	Spells() iter.Seq[api.Spell]
	Spell(id string) (api.Spell, bool)
	SpellAt(scope, alias string) (api.Spell, bool)
	SpellStatus(id string) api.SpellStatus // all but Next and Disarmed
	// Cursor is the position of the newest event that was marked for a spell, and the
	// peers that were there when connections were last noted; nil: never.
	Cursor(spell string) (at api.Position, connected []string)
	Mailbox(spell string) []api.Mail // oldest first
	KV(store, key string) (api.KVEntry, bool)
	KVs(store, prefix string) iter.Seq[api.KVEntry] // in the order of their keys
	Deployments() iter.Seq[api.Deployment]
	Deployment(peer, pkg string) (api.Deployment, bool)
	Holder(scope string) (api.Holder, bool)
	Suspended(account string) bool
	Deals() iter.Seq[api.Deal]
	Peers() iter.Seq[api.Peer] // members
	// Index is the log index of the newest entry in the view.
	Index() uint64
}

// Cluster is the cluster as one of its peers has it. Writes go through the log; the
// caller in their context (api.WithCaller) says who asks and, for what a spell does,
// its fence. When a write returns, a View opened then shows it.
type Cluster interface {
	Self() string   // id of this peer
	Now() time.Time // its clock
	View() View     // as this peer knows it
	// Fresh waits until this peer knows everything that was acknowledged before it was called.
	Fresh(ctx context.Context) (View, error)
	// Watch is closed when services, spells, deployments, holders, deals or accounts
	// change next: ask for it before the View.
	Watch() <-chan struct{}
	Alive() []string // ids of the members that gossip knows to be alive, this one too
	// Events are the changes behind a position.
	Events(ctx context.Context, since api.Position, tables []string) (Events, error)

	Deployer
	Runner
	Host
}

// Events gives one change after the other.
type Events interface {
	Next(ctx context.Context) (api.Event, error) // waits for it
	Close()
}

// Deployer are the writes of who makes services and spells what packages say.
type Deployer interface {
	// DeployService makes a service that has no alias yet; one that is there already
	// with the same scope, package, wanted alias and blueprint is given back.
	DeployService(ctx context.Context, d api.ServiceDeploy) (api.Service, error)
	// MoveAlias gives a service the alias that it was made for; who had it has none
	// then, and its store is the new one's. Conflict: a spell has it.
	MoveAlias(ctx context.Context, service string) (api.Service, error)
	// RemoveService fails with Precondition when the service has another alias than is
	// said, or others want something else of its package than wishes says, which is
	// api.WishesOfOthers of the tables by which it was decided. NotFound is no error.
	RemoveService(ctx context.Context, service, alias, wishes string) error
	DeploySpell(ctx context.Context, d api.SpellDeploy) (api.Spell, error)
	RemoveSpell(ctx context.Context, spell, wishes string) error  // Precondition and NotFound as there
	ReportDeployment(ctx context.Context, d api.Deployment) error // an equal one writes nothing
}

// Runner are the writes of who runs spells.
type Runner interface {
	// Claim takes the runs of a scope in hand. Conflict: another has them, or had them too lately.
	Claim(ctx context.Context, scope, life string) (api.Holder, error)
	Runs(ctx context.Context, b api.RunBatch) error // Precondition: the term is over
}

// Host is what runs and calls may do to the cluster, as the caller in the context.
type Host interface {
	ChangeKV(ctx context.Context, c api.KVChange) (api.KVEntry, error) // the value of the last op as it is then
	PushMail(ctx context.Context, spell, text string) error            // Conflict: the mailbox is full
	PopMail(ctx context.Context, spell string, seq int64) error        // Precondition: it is not the oldest
	// Read lists rows of a table as JSON, those whose fields (dots between levels) have
	// the values of filter, and that the caller may see.
	Read(ctx context.Context, table string, filter map[string]string) ([]json.RawMessage, error)
	CreateVM(ctx context.Context, c api.VMCreate) (api.VM, error)
	DeleteVM(ctx context.Context, account, name string) error
	ActOnVM(ctx context.Context, account, name, action string) error // an action of api.VMAct
	ReportDeal(ctx context.Context, r api.DealReport) error
	CreateDeal(ctx context.Context, c api.DealCreate) (api.Deal, error)
	UpdateDeal(ctx context.Context, account, name string, u api.DealUpdate) error
	DeleteDeal(ctx context.Context, account, name string) error
}

// Modules are the bytes of modules by digest (SHA-256, in hex).
type Modules interface {
	// Open reads a module; one that is not here is fetched from a peer that has it, and
	// what comes is verified.
	Module(ctx context.Context, digest string) ([]byte, error)
}

// Fetcher asks other peers for a module.
type Fetcher interface {
	FetchModule(ctx context.Context, digest string) (io.ReadCloser, error)
}
