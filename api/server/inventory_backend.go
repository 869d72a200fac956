package server

import (
	"context"
	"iter"
	"net/netip"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

// InventoryView is the fleet in one unchanging state. No object that it gives
// holds a secret. A ref is an id, an xname, or, for collections, a name.
type InventoryView interface {
	ComputeNode(ref string) (inventory.ComputeNode, error)
	ComputeNodes(f inventory.NodeFilter, after string) iter.Seq[inventory.ComputeNode] // keyed by id
	NodesAt(addr netip.Addr) iter.Seq[inventory.ComputeNode]                           // those that name it in any place
	BMC(ref string) (inventory.BMC, error)
	BMCs(after string) iter.Seq[inventory.BMC] // keyed by id
	Collection(ref string) (inventory.NodeCollection, error)
	Collections(after string) iter.Seq[inventory.NodeCollection]   // keyed by id
	CollectionsOf(xname string) iter.Seq[inventory.NodeCollection] // those that list it
	Network(ref string) (api.Network, error)
	Networks(after string) iter.Seq[api.Network] // keyed by id
}

// StateManagerView is what the State Manager API shows of it: rows of its own,
// and what compute nodes and BMCs are in its words.
type StateManagerView interface {
	Component(xname string) (smd.Component, error)
	ComponentByNID(nid int64) (smd.Component, error)
	Components(after string) iter.Seq[smd.Component] // in canonical xname order
	RedfishEndpoint(xname string) (smd.RedfishEndpoint, error)
	RedfishEndpoints(after string) iter.Seq[smd.RedfishEndpoint]
	ComponentEndpoint(xname string) (smd.ComponentEndpoint, error)
	ComponentEndpoints(after string) iter.Seq[smd.ComponentEndpoint]
	EthernetInterface(id string) (smd.EthernetInterface, error)
	EthernetInterfaces(after string) iter.Seq[smd.EthernetInterface] // keyed by id
}

// InventoryAccess says who may speak on the routes of the inventory and of the
// State Manager API.
type InventoryAccess interface {
	// AuthenticateInventory finds the actor of a bearer token, which may also be
	// a JSON Web Token there.
	AuthenticateInventory(ctx context.Context, bearer string) (api.Actor, error)
	// Anonymous says what is answered to who brings no credential.
	Anonymous() Anonymous
}

// Anonymous is what is open to everybody, by the cluster's settings.
type Anonymous struct {
	Reads bool // all reads of the inventory: auth.anonymous_read
	SMD   bool // service/* and the two lists that coresmd reads: auth.smd_anonymous
}

// InventoryWrites change the fleet. Where a kind has a version, ifVersion 0 means any.
type InventoryWrites interface {
	// CreateNodes stores all of them or none; in an array a FieldError of its error points at /K/... of the K-th.
	CreateNodes(ctx context.Context, n []inventory.ComputeNode, array bool) (Done[[]inventory.ComputeNode], error)
	ReplaceNode(ctx context.Context, id string, ifVersion uint64, n inventory.ComputeNode) (Done[inventory.ComputeNode], error)
	DeleteNode(ctx context.Context, id string, ifVersion uint64) (Done[inventory.DeletedNode], error)
	// AllocateAddress gives the k-th interface of a node the next free address of a network.
	AllocateAddress(ctx context.Context, id string, k int, network string) (Done[inventory.ComputeNode], error)
	CreateBMC(ctx context.Context, b inventory.BMC) (Done[inventory.BMC], error)
	ReplaceBMC(ctx context.Context, id string, ifVersion uint64, b inventory.BMC) (Done[inventory.BMC], error)
	DeleteBMC(ctx context.Context, id string, ifVersion uint64) (Done[struct{}], error)
	CreateCollection(ctx context.Context, c inventory.NodeCollection) (Done[inventory.NodeCollection], error)
	ReplaceCollection(ctx context.Context, id string, ifVersion uint64, c inventory.NodeCollection) (Done[inventory.NodeCollection], error)
	DeleteCollection(ctx context.Context, id string, ifVersion uint64) (Done[struct{}], error)
	// AddMember and RemoveMember change which nodes, by xname, are in a collection, one at a time.
	AddMember(ctx context.Context, collection, node string) (Done[struct{}], error)
	RemoveMember(ctx context.Context, collection, node string) (Done[struct{}], error)
	CreateNetwork(ctx context.Context, c api.NetworkCreate) (Done[api.Network], error)
	DeleteNetwork(ctx context.Context, id string) error

	// RevealNode and RevealBMC give the object with its secrets, to an admin,
	// after an audit record of it is in the log.
	RevealNode(ctx context.Context, ref string) (inventory.ComputeNode, error)
	RevealBMC(ctx context.Context, ref string) (inventory.BMC, error)
	// CloudInit gives a node's own cloud-init data in clear, and that of each of
	// its collections by name: what the node itself gets at boot.
	CloudInit(ctx context.Context, xnameOrID string) (node inventory.CloudInit, groups map[string]map[string]string, err error)
}

// StateManagerWrites change what the State Manager API knows. Counts are of objects touched.
type StateManagerWrites interface {
	// PutComponents makes components or replaces them. What is not there yet gets
	// the defaults: Type by its name, Enabled, Role Compute, a NID.
	PutComponents(ctx context.Context, c []smd.Component, force bool) (Done[int], error)
	// PatchComponents changes components, all or none; NotFound names those that are unknown.
	PatchComponents(ctx context.Context, c []smd.ComponentChange, force bool) (Done[int], error)
	// DeleteComponents forgets components; nil means all of them.
	DeleteComponents(ctx context.Context, xnames []string) (Done[int], error)
	// PutEndpoint stores an endpoint with what is derived from it. Conflict when
	// it, or its FQDN, is there and replace is false; NotFound when it is not and replace is true.
	PutEndpoint(ctx context.Context, r smd.EndpointRecord, replace bool) (Done[smd.RedfishEndpoint], error)
	DeleteEndpoints(ctx context.Context, xnames []string) (Done[int], error) // nil: all
	DeleteComponentEndpoints(ctx context.Context, xnames []string) (Done[int], error)
	CreateInterface(ctx context.Context, i smd.EthernetInterface) (Done[smd.EthernetInterface], error)
	PatchInterface(ctx context.Context, id string, p smd.InterfacePatch) (Done[smd.EthernetInterface], error)
	DeleteInterfaces(ctx context.Context, ids []string) (Done[int], error) // nil: all
}
