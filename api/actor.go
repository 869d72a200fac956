package api

import (
	"context"
	"slices"
)

// Role is what a credential may do; see Allowed.
type Role string

// The roles, least first.
const (
	RoleViewer     Role = "viewer"     // reads
	RoleController Role = "controller" // viewer, and inventory status and power state
	RoleOperator   Role = "operator"   // viewer, and VMs and the catalogues of its account
	RoleAdmin      Role = "admin"      // everything
	RolePeer       Role = "peer"       // a host of this cluster; as a token: joining only
)

// Actor is who asks. It travels with every command, so that apply can decide
// and the change history can tell.
type Actor struct {
	ID      string `json:"id"`                // "uid:0", "token:<id>", "peer:<id>", "jwt:<sub>", "anonymous"
	Role    Role   `json:"role"`              //
	Account string `json:"account,omitempty"` // bound to this account; empty: not bound
	// Tenant and Partition are the claims tenant_id and partition_id of a JSON Web
	// Token. Where present they keep the actor's hands off the nodes and the
	// collection of any other tenant or partition.
	Tenant    string `json:"tenant,omitempty"`
	Partition string `json:"partition,omitempty"`
}

// Verb is what an actor wants to do to an object.
type Verb string

// The verbs.
const (
	Read   Verb = "read"
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
)

// Object names what is asked for: its kind ("vm", "disk-snapshot", "image",
// "ssh-key", "size", "account", "usage", "token", "peer", "snapshot",
// "setting", "key", "operation", "network", "metrics", "spell", "deal", "service" and "deployment", which
// everybody may read, those of the inventory, "domain" for what is none
// of this cluster's, "lease", "finding", "secret" for what an answer otherwise leaves
// out, "fleet" for all rows of a table at once) and the account it belongs to, empty for
// what has none. An account belongs to itself.
type Object struct {
	Kind    string
	Account string
}

// inventoryKinds are the fleet's: "node" stands for compute nodes, "component"
// for what the State Manager API knows of an xname.
var inventoryKinds = []string{"node", "bmc", "collection", "component"}

// statusKinds are what controllers have seen: "node-status" is the status of a
// compute node, "component-state" the state and flag of a component.
var statusKinds = []string{"node-status", "component-state"}

// accountKinds are what an operator may change within its account. To change an
// operation is to cancel it.
var accountKinds = []string{"vm", "disk-snapshot", "image", "ssh-key", "operation", "spell", "deal"}

// adminReads hold secrets, or lead to them, or tell of hosts what only those who run
// them need: admins alone see them.
var adminReads = []string{"token", "setting", "key", "secret", "domain", "lease", "finding"}

// wholeReads tell of every account: who is bound to one does not see them. The metrics
// have series of each guest of a host.
var wholeReads = append([]string{"snapshot", "metrics"}, inventoryKinds...)

// Allowed is the whole rule of who may do what. The HTTP server asks it for
// reads and apply asks it for writes; it looks at nothing but its arguments. An
// admin that is bound to an account has everything in it in hand but the account itself.
func Allowed(a Actor, v Verb, o Object) bool {
	bound := a.Account != ""
	if bound && o.Account != "" && a.Account != o.Account {
		return false
	}
	switch a.Role {
	case RoleAdmin:
		own := o.Account != "" && (v == Read || o.Kind != "account") // its own quota is not its own to set
		return !bound || own || v == Read && mayRead(bound, o)
	case RoleOperator:
		return v == Read && mayRead(bound, o) || v != Read && mayWrite(bound, o)
	case RoleController:
		return v == Read && mayRead(bound, o) || v == Update && !bound && slices.Contains(statusKinds, o.Kind)
	case RoleViewer:
		return v == Read && mayRead(bound, o)
	}
	return false
}

// mayRead is what every role of people may see.
func mayRead(bound bool, o Object) bool {
	return !slices.Contains(adminReads, o.Kind) && !(bound && slices.Contains(wholeReads, o.Kind))
}

// mayWrite is what an operator may change: what belongs to its account and, unless it
// is bound to one, the fleet. An image without an account is everybody's, and so is the
// operation that brings its content in.
func mayWrite(bound bool, o Object) bool {
	everybodys := o.Account == "" && (o.Kind == "image" || o.Kind == "operation")
	return slices.Contains(accountKinds, o.Kind) && !everybodys || !bound && (slices.Contains(inventoryKinds, o.Kind) || o.Kind == "component-state")
}

// Consistency is how fresh a read must be.
type Consistency string

// The two promises a read can make.
const (
	Linearizable Consistency = "linearizable" // reflects every write acknowledged before it began
	Local        Consistency = "local"        // what this peer has applied; works without quorum and says its age
)

// OnceKey is an Idempotency-Key as the cluster remembers it: for one principal,
// one route and one key a body takes effect once.
type OnceKey struct {
	Key  string `json:"key"`  // "principal method path key", at most 1 KiB
	Body []byte `json:"body"` // SHA-256 of the request body
}

// Caller is what a request brings along besides its body.
type Caller struct {
	Actor     Actor
	RequestID string
	Once      *OnceKey // nil without an Idempotency-Key
	Fence     *Fence   // of the run of a spell that asks; nil for everybody else
}

type callerKey struct{}

// WithCaller puts the caller into a request's context.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is the caller of a request; the zero Caller, which may do nothing,
// when nobody put one there.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
