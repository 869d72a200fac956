package server

import (
	"context"
	"iter"
	"net/http"

	"github.com/orchd/orchd/api"
)

// Backend is everything the HTTP API asks of a peer. The caller of a request
// (actor, request id, idempotency key) travels in the context: api.CallerOf.
// Every error that a user may see is an *api.Error.
type Backend interface {
	Reads
	Writes
	InventoryWrites
	StateManagerWrites
	Cluster
	Memory
	Guests
	ServiceCalls
	InventoryAccess
	// Authenticate finds the actor of a bearer token; Unauthenticated when it is unknown or expired, Unavailable when that cannot be told.
	Authenticate(ctx context.Context, bearer string) (api.Actor, error)
}

// Reads opens the replicated state for one request.
type Reads interface {
	// View is the state to answer from: linearizable, after proof that it holds
	// every write acknowledged before the call (Unavailable without quorum, in
	// at most 5 s), or local, at once.
	View(ctx context.Context, c api.Consistency) (View, error)
}

// View is one unchanging state. Lists come in key order, beginning after the key after.
type View interface {
	Index() uint64 // log index of the state
	AgeMs() int64  // milliseconds since it was known to be current; 0 when linearizable
	// VM finds a VM by id or by name; account narrows a name, empty means the
	// actor's account, else any: Conflict when several accounts hold the name.
	VM(account, ref string) (api.VM, error)
	VMs(after string) iter.Seq[api.VM] // keyed by id
	Operation(id string) (api.Operation, error)
	Operations(after string) iter.Seq[api.Operation] // keyed by id
	Peer(ref string) (api.PeerView, error)           // by id or name
	Peers(after string) iter.Seq[api.PeerView]       // keyed by id
	Image(ref string) (api.Image, error)
	Images(after string) iter.Seq[api.Image]     // keyed by id
	Tokens(after string) iter.Seq[api.Token]     // keyed by id
	Accounts(after string) iter.Seq[api.Account] // keyed by name
	InventoryView
	StateManagerView
	CatalogueView
	GuestView
	ServiceView
	// Watch is closed when the row of that operation may have changed.
	Watch() <-chan struct{}
}

// Done is what a write that may be a replay gives back.
type Done[T any] struct {
	Object   T    // as of the write, or, when Replayed, as it is now
	Replayed bool // an earlier request with this Idempotency-Key did it
	Gone     bool // Replayed, and the object is no longer there: Object has its id at most
	Index    uint64
	Version  uint64 // that Object was given by the write, and may no longer have; 0: the one that it has
}

// about is the outcome of a write with another object in it.
func about[T, U any](d Done[T], object U) Done[U] {
	return Done[U]{Object: object, Replayed: d.Replayed, Gone: d.Gone, Index: d.Index, Version: d.Version}
}

// Writes change the replicated state. Each returns once a majority has it on disk.
type Writes interface {
	GuestWrites
	CatalogueWrites
	ServiceWrites
	CreateImage(ctx context.Context, c api.ImageCreate) (Done[api.Image], error)
	DeleteImage(ctx context.Context, id string) error
	CreateToken(ctx context.Context, c api.TokenCreate) (Done[api.NewToken], error)
	DeleteToken(ctx context.Context, id string) error
	// SetSchedulable cordons (false) or uncordons (true) a peer.
	SetSchedulable(ctx context.Context, id string, on bool) (Done[api.PeerView], error)
	// RemovePeer takes a peer out of the cluster; Conflict while it owns VMs.
	RemovePeer(ctx context.Context, id string) error
}

// Cluster is what concerns more than the tables.
type Cluster interface {
	Status(ctx context.Context) (api.Status, error)
	// Capacity asks every host whether need fits. Local when there is no quorum: then ageMs is not 0.
	Capacity(ctx context.Context, need api.Resources) (c api.Capacity, ageMs int64, err error)
	Join(ctx context.Context, r api.JoinRequest) (api.JoinAnswer, error)
	// Keys tells of keys and certificates; it works without quorum.
	Keys(ctx context.Context) (api.Keys, error)
	// RotateKey begins to replace a key; Conflict while one of its kind is being replaced.
	RotateKey(ctx context.Context, r api.KeyRotate) (Done[api.KeyRotation], error)
	ExportKeys(ctx context.Context, to api.KeyExport) (api.KeyCopy, error)
	// TransferLeadership has the voter with that id lead, or, for "", the one furthest ahead;
	// Conflict when that cannot be.
	TransferLeadership(ctx context.Context, to string) (api.Leadership, error)
	// Ready is nil, or says what is missing until this peer can serve.
	Ready() error
	PeerName() string
	Metrics() http.Handler
}
