package api

import (
	"encoding/json"
	"time"
)

// ScopeCluster is the scope of what the cluster has once. Any other scope is the id of
// the peer that has it.
const ScopeCluster = "cluster"

// ModuleKind says what runs a module.
type ModuleKind string

// The kinds of module.
const (
	ModuleStarlark ModuleKind = "starlark"
	ModuleWASM     ModuleKind = "wasm"
)

// Module is one piece of a service's code. Its bytes lie on the peers, by digest, and
// never in the log.
type Module struct {
	Name   string     `json:"name"`
	Kind   ModuleKind `json:"kind" enum:"starlark,wasm"`
	Digest string     `json:"digest" doc:"SHA-256, in hex"`
	Bytes  int64      `json:"bytes"`
	// Settings are handed to the module as they stand: JSON, an object.
	Settings json.RawMessage `json:"settings,omitempty"`
}

// Grants are what a package may do beyond computing; what its manifest does not ask
// for it does not get.
type Grants struct {
	KV   bool     `json:"kv,omitempty" doc:"Keep values of its own in the cluster"`
	Call []string `json:"call,omitempty" doc:"Aliases of services that it may call; * for all"`
	HTTP []string `json:"http,omitempty" doc:"HOST or HOST:PORT that it may speak HTTP to"`
	Read []string `json:"read,omitempty" doc:"Tables that it may read"`
	VMs  bool     `json:"vms,omitempty" doc:"Create and delete VMs, and ask for their verbs"`
	// AnyAccount lets it act for every account, not only its own. Admins grant it.
	AnyAccount bool `json:"any_account,omitempty" doc:"Act for every account"`
	Now        bool `json:"now,omitempty" doc:"Know the time"`
	Random     bool `json:"random,omitempty" doc:"Have random bytes (WASM)"`
}

// Access says who may call which functions of a service. A function that is not named
// is for operators; one whose name begins with _ is for nobody.
type Access struct {
	Viewer []string `json:"viewer,omitempty" doc:"Functions for everybody who may read; they must change nothing"`
	Admin  []string `json:"admin,omitempty" doc:"Functions for admins alone"`
}

// Service is code that answers calls, by an alias within a scope. While a new version
// of it is being made the row of that has no alias yet.
type Service struct {
	ID        string    `json:"id" format:"uuid"`
	Scope     string    `json:"scope" doc:"cluster, or the id of a peer"`
	Alias     string    `json:"alias,omitempty" doc:"Empty: it is being made, or about to go"`
	Wanted    string    `json:"wanted_alias,omitempty" doc:"The alias that it is made for"`
	Package   string    `json:"package,omitempty" doc:"The package that it came with"`
	Account   string    `json:"account" doc:"In whose name it acts"`
	Blueprint string    `json:"blueprint" doc:"Digest of its modules and their settings: SHA-256, in hex"`
	Modules   []Module  `json:"modules" doc:"In the order in which they are loaded; functions of the last one can be called"`
	Grants    Grants    `json:"grants,omitzero"`
	Access    Access    `json:"access,omitzero"`
	CallTTL   int64     `json:"call_ttl" doc:"Seconds that a call may take"`
	Store     string    `json:"store" format:"uuid" doc:"Whose values it keeps: its own id, or the store of the service that it took the place of"`
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// ServiceDeploy is what a peer puts into the log to make a service. A service of the
// same scope, package, wanted alias and blueprint is not made twice.
type ServiceDeploy struct {
	Scope     string   `json:"scope"`
	Alias     string   `json:"alias"`
	Package   string   `json:"package"`
	Account   string   `json:"account"`
	Blueprint string   `json:"blueprint"`
	Modules   []Module `json:"modules"`
	Grants    Grants   `json:"grants"`
	Access    Access   `json:"access"`
	CallTTL   int64    `json:"call_ttl"`
}

// DefaultCallTTL is how many seconds a call may take, and MaxCallTTL how many can be asked for.
const (
	DefaultCallTTL = 60
	MaxCallTTL     = 3600
)

// PackageState is what became of a package on a peer.
type PackageState string

// What becomes of packages.
const (
	PackageCreated  PackageState = "created"
	PackageExisting PackageState = "existing"
	PackageUpdated  PackageState = "updated"
	PackageRemoved  PackageState = "removed"
	PackageFailed   PackageState = "failed"
)

// Deployment is what a peer says of one of its packages. Peers keep one row for each
// package that they enable, or have removed.
type Deployment struct {
	Peer     string       `json:"peer" doc:"Id of the peer"`
	Package  string       `json:"package"`
	Version  string       `json:"package_version"`
	Scope    string       `json:"scope" doc:"cluster, or the id of the peer"`
	Digest   string       `json:"digest" doc:"Of all that the package wants: SHA-256, in hex"`
	State    PackageState `json:"state" enum:"created,existing,updated,removed,failed"`
	Enabled  bool         `json:"enabled" doc:"The peer's configuration wants it"`
	Error    string       `json:"error,omitempty" doc:"Why it failed"`
	Note     string       `json:"note,omitempty" doc:"What is to be known, such as that other peers were told otherwise"`
	Attempts int64        `json:"attempts" doc:"How often it was tried since it last succeeded"`
	// Init is the digest of the configuration with which init last succeeded; empty:
	// it has not. It belongs to the scope: for a package of the cluster the newest row tells.
	Init string `json:"init,omitempty"`
	// Deploying is set from before the peer changes anything until it has come to an end.
	Deploying bool `json:"deploying,omitempty" doc:"The peer is at it: state is what it will have been"`
	// Order rises each time a peer says anew what it wants of a package of the cluster:
	// of peers that want one version in several ways the one with the highest has the say.
	Order     uint64    `json:"order,omitempty"`
	At        time.Time `json:"at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// ServiceCall is a call of a function of a service, as its answer is seen by clients.
type ServiceCall struct {
	Service  string          `json:"service"`
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args,omitempty" doc:"An object, by name, or an array, in order"`
}
