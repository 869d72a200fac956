package server

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// fakeFleet is the inventory in memory: what api/server asks of a peer about it,
// with the rules that answers depend on. It gives secrets away in every answer,
// so that what is not in an answer was left out by the server.
type fakeFleet struct {
	*fake

	lock        sync.Mutex
	nodes       map[string]inventory.ComputeNode
	bmcs        map[string]inventory.BMC
	collections map[string]inventory.NodeCollection
	networks    map[string]api.Network
	made        int
	sums        map[string][]byte // of bodies, by Idempotency-Key
	revealed    []string
	open        Anonymous
	late        int // so many replacements come a moment after somebody else's
	walked      int // rows given to lists
}

const (
	nodeID       = "a0000000-0000-4000-8000-000000000001"
	bareID       = "a0000000-0000-4000-8000-000000000002"
	bmcID        = "b0000000-0000-4000-8000-000000000001"
	collectionID = "c0000000-0000-4000-8000-000000000001"
	networkID    = "d0000000-0000-4000-8000-000000000001"

	nodeXName = "x1000c0s0b0n0"
	bmcXName  = "x1000c0s0b0"

	fleetSecret = "Hunter2-Hunter2" // every secret of the fleet
)

// newFakeFleet makes it a part of f.
func newFakeFleet(f *fake) *fakeFleet {
	fl := &fakeFleet{fake: f}
	f.fleet, f.inventory, f.InventoryWrites, f.InventoryAccess = fl, fl, fl, fl
	return fl
}

// fillFleet puts back what stands there at first.
func (f *fakeFleet) fillFleet() {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.made, f.sums, f.revealed, f.late, f.walked = 0, map[string][]byte{}, nil, 0, 0
	bmc := inventory.BMC{ID: bmcID, XName: bmcXName, Username: "root", Password: new(fleetSecret), MACAddress: "02:00:00:00:01:00", Version: 2}
	f.bmcs = map[string]inventory.BMC{bmcID: bmc}
	f.nodes = map[string]inventory.ComputeNode{
		nodeID: {ID: nodeID, Hostname: "nid1", Architecture: "x86_64", XName: nodeXName, BootMAC: "02:00:00:00:00:01", BMC: &bmc,
			NetworkInterfaces: []inventory.NetworkInterface{{InterfaceName: "eth0", MACAddress: "02:00:00:00:00:01"}},
			CloudInit:         &inventory.CloudInit{UserData: `"` + fleetSecret + `"`},
			Spec:              &inventory.NodeSpec{BMCUsername: "root", BMCPassword: new(fleetSecret)}, Version: 3},
		bareID: {ID: bareID, Hostname: "nid2", Architecture: "arm64", BootIPv4: "10.1.0.9", BootIPv6: "fd00::9", Version: 1},
	}
	f.collections = map[string]inventory.NodeCollection{collectionID: {ID: collectionID, Name: "Partition 1", Type: inventory.Partition,
		Nodes: []string{nodeXName}, CloudInit: map[string]string{"k": fleetSecret}, CreatorSubject: "someone", Version: 5}}
	f.networks = map[string]api.Network{networkID: {ID: networkID, Name: "lan", NetworkShape: api.NetworkShape{CIDR: "10.1.0.0/30"}, Version: 1}}
}

func (f *fakeFleet) newID(kind byte) string {
	f.made++
	return fmt.Sprintf("%c0000000-0000-4000-9000-%012d", kind, f.made)
}

// AuthenticateInventory takes what Authenticate takes, and some words for tokens
// that are refused.
func (f *fakeFleet) AuthenticateInventory(ctx context.Context, bearer string) (api.Actor, error) {
	if text, known := map[string]string{"old": "token is expired", "poor": "missing required claim"}[bearer]; known {
		return api.Actor{}, unauthenticated(text)
	}
	actor, err := f.Authenticate(ctx, bearer)
	if err != nil {
		return actor, unauthenticated("token is unauthorized")
	}
	return actor, nil
}

func (f *fakeFleet) Anonymous() Anonymous { return f.open }

// begin notes a write and tells whether it is a replay, of which object.
func (f *fakeFleet) begin(ctx context.Context, what string) (id string, again bool, err error) {
	if err := f.write(ctx, what); err != nil {
		return "", false, err
	}
	k := api.CallerOf(ctx).Once
	if id, again = f.replayed(ctx); again && !bytes.Equal(f.sums[k.Key], k.Body) {
		return "", false, &api.Error{Kind: api.Mismatch, Msg: "this Idempotency-Key came with another body"}
	}
	return id, again, nil
}

// done remembers a write.
func (f *fakeFleet) done(ctx context.Context, id string) {
	if k := api.CallerOf(ctx).Once; k != nil {
		f.remember(ctx, id)
		f.sums[k.Key] = k.Body
	}
}

// may is what apply asks.
func may(ctx context.Context, v api.Verb, kind string) error {
	return permit(api.CallerOf(ctx).Actor, v, api.Object{Kind: kind})
}

// replayOf is the answer to a request that was there before.
func replayOf[T any](f *fakeFleet, table map[string]T, id string, head func(*T) (*string, uint64)) Done[T] {
	object, there := table[id]
	at, _ := head(&object)
	*at = id
	return Done[T]{Object: object, Replayed: true, Gone: !there, Index: f.index}
}

// freshAt refuses another version than the one that was asked for.
func freshAt(have, want uint64) error {
	if want != 0 && want != have {
		return &api.Error{Kind: api.Precondition, Msg: "it has another version"}
	}
	return nil
}

// CreateNodes refuses xnames and MAC addresses that are there.
func (f *fakeFleet) CreateNodes(ctx context.Context, nodes []inventory.ComputeNode, array bool) (Done[[]inventory.ComputeNode], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	var out Done[[]inventory.ComputeNode]
	id, again, err := f.begin(ctx, fmt.Sprintf("node.create %d", len(nodes)))
	if err == nil {
		err = may(ctx, api.Create, "node")
	}
	if err != nil {
		return out, err
	}
	out = Done[[]inventory.ComputeNode]{Index: f.index, Replayed: again}
	if again {
		for id := range strings.SplitSeq(id, " ") {
			object, there := f.nodes[id]
			object.ID = id
			out.Gone = out.Gone || !there
			out.Object = append(out.Object, object)
		}
		return out, nil
	}
	before := maps.Clone(f.nodes)
	var ids []string
	for k, n := range nodes {
		if err := f.taken(n); err != nil {
			f.nodes = before
			conflict := &api.Error{Kind: api.Conflict, Op: "node.create", Msg: err.Error()}
			if array {
				conflict.Fields = []api.FieldError{{Pointer: fmt.Sprintf("/%d", k), Detail: err.Error()}}
			}
			return out, conflict
		}
		n.ID, n.Version = f.newID('a'), 1
		if n.BMC == nil && n.XName != "" {
			place, _ := xname.ParseNode(n.XName)
			n.BMC = &inventory.BMC{ID: f.newID('b'), XName: place.BMCName().String(), Version: 1}
			f.bmcs[n.BMC.ID] = *n.BMC
		}
		f.nodes[n.ID] = n
		ids = append(ids, n.ID)
		out.Object = append(out.Object, n)
	}
	f.done(ctx, strings.Join(ids, " "))
	return out, nil
}

// taken says which node has the place or a MAC address of n.
func (f *fakeFleet) taken(n inventory.ComputeNode) error {
	for _, other := range f.nodes {
		if other.ID == n.ID {
			continue
		}
		if n.XName != "" && xname.Canonical(n.XName) == xname.Canonical(other.XName) {
			return fmt.Errorf("a ComputeNode with the xname %s already exists", n.XName)
		}
		if key := inventory.MACKey(n.BootMAC); key != "" && key == inventory.MACKey(other.BootMAC) {
			return fmt.Errorf("the MAC address %s already exists", n.BootMAC)
		}
	}
	return nil
}

// ReplaceNode lets a controller change the status and nothing else.
func (f *fakeFleet) ReplaceNode(ctx context.Context, id string, ifVersion uint64, n inventory.ComputeNode) (Done[inventory.ComputeNode], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, again, err := f.begin(ctx, fmt.Sprintf("node.replace %s %d", id, ifVersion)); again || err != nil {
		return replayOf(f, f.nodes, id, nodeKind.head), err
	}
	old, there := f.nodes[id]
	if !there {
		return Done[inventory.ComputeNode]{}, notFound("node")
	}
	if f.late > 0 {
		f.late--
		old.Description, old.Version = "somebody was here", old.Version+1
		f.nodes[id] = old
	}
	if err := freshAt(old.Version, ifVersion); err != nil {
		return Done[inventory.ComputeNode]{}, err
	}
	if n.Status != nil && !reflect.DeepEqual(n.Status, old.Status) {
		if err := may(ctx, api.Update, "node-status"); err != nil {
			return Done[inventory.ComputeNode]{}, err
		}
	}
	if may(ctx, api.Update, "node") != nil {
		if n.Hostname != old.Hostname || n.Description != old.Description {
			return Done[inventory.ComputeNode]{}, may(ctx, api.Update, "node")
		}
	}
	n.ID, n.Version = id, old.Version+1
	if err := f.taken(n); err != nil {
		return Done[inventory.ComputeNode]{}, &api.Error{Kind: api.Conflict, Msg: err.Error()}
	}
	if n.BMC != nil && old.BMC != nil && n.BMC.Password == nil {
		bmc := *n.BMC
		bmc.Password = old.BMC.Password
		n.BMC = &bmc
	}
	if n.CloudInit == nil {
		n.CloudInit = old.CloudInit
	}
	if n.Status == nil {
		n.Status = old.Status
	}
	f.nodes[id] = n
	f.done(ctx, id)
	return Done[inventory.ComputeNode]{Object: n, Index: f.index}, nil
}

// DeleteNode tells which collections still list the node.
func (f *fakeFleet) DeleteNode(ctx context.Context, id string, ifVersion uint64) (Done[inventory.DeletedNode], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	_, again, err := f.begin(ctx, fmt.Sprintf("node.delete %s %d", id, ifVersion))
	if again || err != nil {
		return Done[inventory.DeletedNode]{Object: inventory.DeletedNode{ID: id}, Replayed: again, Gone: again, Index: f.index}, err
	}
	old, there := f.nodes[id]
	if !there {
		return Done[inventory.DeletedNode]{}, notFound("node")
	}
	if err := freshAt(old.Version, ifVersion); err != nil {
		return Done[inventory.DeletedNode]{}, err
	}
	delete(f.nodes, id)
	f.done(ctx, id)
	left := inventory.DeletedNode{ID: id, XName: old.XName}
	for c := range f.collectionsOf(old.XName) {
		left.Collections = append(left.Collections, c.Name)
	}
	return Done[inventory.DeletedNode]{Object: left, Index: f.index}, nil
}

// AllocateAddress gives the addresses .1 and .2 of the network and then none.
func (f *fakeFleet) AllocateAddress(ctx context.Context, id string, k int, network string) (Done[inventory.ComputeNode], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, again, err := f.begin(ctx, fmt.Sprintf("node.allocate %s %d %s", id, k, network)); again || err != nil {
		return replayOf(f, f.nodes, id, nodeKind.head), err
	}
	net, err := f.network(network)
	n := f.nodes[id]
	switch {
	case err != nil:
		return Done[inventory.ComputeNode]{}, err
	case k >= len(n.NetworkInterfaces):
		return Done[inventory.ComputeNode]{}, api.Errorf(api.Invalid, "node.allocate", "the node has no interface %d", k)
	case n.NetworkInterfaces[k].IPv4Address != "":
		return Done[inventory.ComputeNode]{}, api.Errorf(api.Conflict, "node.allocate", "the interface has an address")
	}
	ip := netip.MustParsePrefix(net.CIDR).Addr().Next()
	for range f.made {
		ip = ip.Next()
	}
	if f.made++; f.made > 2 {
		return Done[inventory.ComputeNode]{}, api.Errorf(api.NoCapacity, "node.allocate", "all addresses of the network are held")
	}
	n.NetworkInterfaces = slices.Clone(n.NetworkInterfaces)
	n.NetworkInterfaces[k].IPv4Address = ip.String()
	n.Version++
	f.nodes[id] = n
	f.done(ctx, id)
	return Done[inventory.ComputeNode]{Object: n, Index: f.index}, nil
}

// CreateBMC refuses the xname of another.
func (f *fakeFleet) CreateBMC(ctx context.Context, b inventory.BMC) (Done[inventory.BMC], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if id, again, err := f.begin(ctx, "bmc.create "+b.XName); again || err != nil {
		return replayOf(f, f.bmcs, id, bmcKind.head), err
	}
	for _, other := range f.bmcs {
		if b.XName != "" && xname.Canonical(b.XName) == xname.Canonical(other.XName) {
			return Done[inventory.BMC]{}, api.Errorf(api.Conflict, "bmc.create", "a BMC with the xname %s already exists", b.XName)
		}
	}
	b.ID, b.Version = f.newID('b'), 1
	f.bmcs[b.ID] = b
	f.done(ctx, b.ID)
	return Done[inventory.BMC]{Object: b, Index: f.index}, nil
}

// ReplaceBMC keeps the password that is not mentioned.
func (f *fakeFleet) ReplaceBMC(ctx context.Context, id string, ifVersion uint64, b inventory.BMC) (Done[inventory.BMC], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, again, err := f.begin(ctx, fmt.Sprintf("bmc.replace %s %d", id, ifVersion)); again || err != nil {
		return replayOf(f, f.bmcs, id, bmcKind.head), err
	}
	old, there := f.bmcs[id]
	if !there {
		return Done[inventory.BMC]{}, notFound("bmc")
	}
	if err := freshAt(old.Version, ifVersion); err != nil {
		return Done[inventory.BMC]{}, err
	}
	if b.Password == nil {
		b.Password = old.Password
	}
	b.ID, b.Version = id, old.Version+1
	f.bmcs[id] = b
	f.done(ctx, id)
	return Done[inventory.BMC]{Object: b, Index: f.index}, nil
}

// NodesAt lists the nodes that name an address.
func (f *fakeFleet) NodesAt(addr netip.Addr) iter.Seq[inventory.ComputeNode] {
	return func(yield func(inventory.ComputeNode) bool) {
		for n := range f.ComputeNodes(inventory.NodeFilter{}, "") {
			if slices.Contains(addressesOf(n), addr) && !yield(n) {
				return
			}
		}
	}
}

// DeleteBMC forgets a BMC.
func (f *fakeFleet) DeleteBMC(ctx context.Context, id string, ifVersion uint64) (Done[struct{}], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	return deleteFrom(f, ctx, f.bmcs, "bmc", id, ifVersion, f.bmcs[id].Version)
}

func deleteFrom[T any](f *fakeFleet, ctx context.Context, table map[string]T, kind, id string, ifVersion, version uint64) (Done[struct{}], error) {
	_, again, err := f.begin(ctx, fmt.Sprintf("%s.delete %s %d", kind, id, ifVersion))
	if again || err != nil {
		return Done[struct{}]{Replayed: again}, err
	}
	if _, there := table[id]; !there {
		return Done[struct{}]{}, notFound(kind)
	}
	if err := freshAt(version, ifVersion); err != nil {
		return Done[struct{}]{}, err
	}
	delete(table, id)
	f.done(ctx, id)
	return Done[struct{}]{Index: 1}, nil
}

// CreateCollection refuses names and nodes that are taken.
func (f *fakeFleet) CreateCollection(ctx context.Context, c inventory.NodeCollection) (Done[inventory.NodeCollection], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if id, again, err := f.begin(ctx, "collection.create "+c.Name); again || err != nil {
		return replayOf(f, f.collections, id, collectionKind.head), err
	}
	c.ID, c.Version, c.CreatorSubject = f.newID('c'), 1, api.CallerOf(ctx).Actor.ID
	if err := f.collectionTaken(c); err != nil {
		return Done[inventory.NodeCollection]{}, err
	}
	f.collections[c.ID] = c
	f.done(ctx, c.ID)
	return Done[inventory.NodeCollection]{Object: c, Index: f.index}, nil
}

func (f *fakeFleet) collectionTaken(c inventory.NodeCollection) error {
	for _, other := range f.collections {
		if other.ID == c.ID {
			continue
		}
		if other.Name == c.Name {
			return api.Errorf(api.Conflict, "collection.create", "a NodeCollection with the name %s already exists", c.Name)
		}
		for _, n := range c.Nodes {
			if other.Type == c.Type && (c.Type == inventory.Partition || c.Type == inventory.Tenant) && slices.Contains(other.Nodes, n) {
				return api.Errorf(api.Conflict, "collection.create", "node %s is already assigned to another collection: %s", n, other.Name)
			}
		}
	}
	return nil
}

// ReplaceCollection refuses names and nodes that are taken.
func (f *fakeFleet) ReplaceCollection(ctx context.Context, id string, ifVersion uint64, c inventory.NodeCollection) (Done[inventory.NodeCollection], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, again, err := f.begin(ctx, fmt.Sprintf("collection.replace %s %d", id, ifVersion)); again || err != nil {
		return replayOf(f, f.collections, id, collectionKind.head), err
	}
	old, there := f.collections[id]
	if !there {
		return Done[inventory.NodeCollection]{}, notFound("collection")
	}
	if err := freshAt(old.Version, ifVersion); err != nil {
		return Done[inventory.NodeCollection]{}, err
	}
	c.ID, c.Version, c.CreatorSubject = id, old.Version+1, old.CreatorSubject
	if err := f.collectionTaken(c); err != nil {
		return Done[inventory.NodeCollection]{}, err
	}
	f.collections[id] = c
	f.done(ctx, id)
	return Done[inventory.NodeCollection]{Object: c, Index: f.index}, nil
}

// AddMember refuses a node that is taken.
func (f *fakeFleet) AddMember(ctx context.Context, collection, node string) (Done[struct{}], error) {
	return f.changeMember(ctx, collection, node, true)
}

// RemoveMember takes a node out.
func (f *fakeFleet) RemoveMember(ctx context.Context, collection, node string) (Done[struct{}], error) {
	return f.changeMember(ctx, collection, node, false)
}

func (f *fakeFleet) changeMember(ctx context.Context, collection, node string, comes bool) (Done[struct{}], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, again, err := f.begin(ctx, fmt.Sprintf("collection.member %s %s %t", collection, node, comes)); again || err != nil {
		return Done[struct{}]{Replayed: again, Index: f.index}, err
	}
	c, there := f.collections[collection]
	if !there {
		return Done[struct{}]{}, notFound("collection")
	}
	at := slices.IndexFunc(c.Nodes, func(x string) bool { return xname.Canonical(x) == xname.Canonical(node) })
	switch {
	case comes && at >= 0:
		return Done[struct{}]{}, api.Errorf(api.Conflict, "collection.member", "the component is a member already")
	case comes:
		c.Nodes = append(slices.Clone(c.Nodes), node)
	case at < 0:
		return Done[struct{}]{}, notFound("member")
	default:
		c.Nodes = slices.Delete(slices.Clone(c.Nodes), at, at+1)
	}
	if err := f.collectionTaken(c); err != nil {
		return Done[struct{}]{}, err
	}
	c.Version++
	f.collections[collection] = c
	f.done(ctx, collection)
	return Done[struct{}]{Index: f.index}, nil
}

// DeleteCollection forgets a collection.
func (f *fakeFleet) DeleteCollection(ctx context.Context, id string, ifVersion uint64) (Done[struct{}], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	return deleteFrom(f, ctx, f.collections, "collection", id, ifVersion, f.collections[id].Version)
}

// CreateNetwork declares a network.
func (f *fakeFleet) CreateNetwork(ctx context.Context, c api.NetworkCreate) (Done[api.Network], error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if id, again, err := f.begin(ctx, "network.create "+c.Name); again || err != nil {
		return replayOf(f, f.networks, id, func(n *api.Network) (*string, uint64) { return &n.ID, n.Version }), err
	}
	n := api.Network{ID: f.newID('d'), Name: c.Name, NetworkShape: c.NetworkShape, Version: 1}
	f.networks[n.ID] = n
	f.done(ctx, n.ID)
	return Done[api.Network]{Object: n, Index: f.index}, nil
}

// DeleteNetwork forgets a network.
func (f *fakeFleet) DeleteNetwork(ctx context.Context, id string) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, again, err := f.begin(ctx, "network.delete "+id); again || err != nil {
		return err
	}
	delete(f.networks, id)
	f.done(ctx, id)
	return nil
}

// RevealNode notes who was shown what.
func (f *fakeFleet) RevealNode(ctx context.Context, ref string) (inventory.ComputeNode, error) {
	n, err := f.ComputeNode(ref)
	f.revealed = append(f.revealed, api.CallerOf(ctx).Actor.ID+" node "+n.ID)
	return n, err
}

// RevealBMC notes who was shown what.
func (f *fakeFleet) RevealBMC(ctx context.Context, ref string) (inventory.BMC, error) {
	b, err := f.BMC(ref)
	f.revealed = append(f.revealed, api.CallerOf(ctx).Actor.ID+" bmc "+b.ID)
	return b, err
}

// CloudInit gives a node's own data and that of its collections.
func (f *fakeFleet) CloudInit(_ context.Context, ref string) (inventory.CloudInit, map[string]map[string]string, error) {
	n, err := f.ComputeNode(ref)
	if err != nil || n.CloudInit == nil {
		return inventory.CloudInit{}, nil, err
	}
	groups := map[string]map[string]string{}
	for c := range f.CollectionsOf(n.XName) {
		groups[c.Name] = c.CloudInit
	}
	return *n.CloudInit, groups, nil
}

// ComputeNode finds a node by id or xname.
func (f *fakeFleet) ComputeNode(ref string) (inventory.ComputeNode, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for _, n := range f.nodes {
		if n.ID == ref || n.XName != "" && xname.Canonical(n.XName) == xname.Canonical(ref) {
			return n, nil
		}
	}
	return inventory.ComputeNode{}, notFound("node")
}

// ComputeNodes lists what a filter selects.
func (f *fakeFleet) ComputeNodes(want inventory.NodeFilter, after string) iter.Seq[inventory.ComputeNode] {
	f.lock.Lock()
	defer f.lock.Unlock()
	all := rows(maps.Clone(f.nodes), after)
	return func(yield func(inventory.ComputeNode) bool) {
		for n := range all {
			if f.walked++; selects(want, n) && !yield(n) {
				return
			}
		}
	}
}

func selects(f inventory.NodeFilter, n inventory.ComputeNode) bool {
	bmcMAC, nics4, nics6 := "", n.BootIPv4, n.BootIPv6
	if n.BMC != nil {
		bmcMAC = n.BMC.MACAddress
	}
	for _, i := range n.NetworkInterfaces {
		nics4, nics6 = nics4+i.IPv4Address, nics6+i.IPv6Address
	}
	return (f.XName == "" || xname.Canonical(f.XName) == xname.Canonical(n.XName)) &&
		(f.Hostname == "" || f.Hostname == n.Hostname) && (f.Arch == "" || f.Arch == n.Architecture) &&
		(f.BootMAC == "" || inventory.MACKey(f.BootMAC) == inventory.MACKey(n.BootMAC)) &&
		(f.BMCMAC == "" || inventory.MACKey(f.BMCMAC) == inventory.MACKey(bmcMAC)) &&
		!(f.MissingIPv4 && nics4 != "") && !(f.MissingIPv6 && nics6 != "")
}

// BMC finds a BMC by id or xname.
func (f *fakeFleet) BMC(ref string) (inventory.BMC, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for _, b := range f.bmcs {
		if b.ID == ref || b.XName != "" && xname.Canonical(b.XName) == xname.Canonical(ref) {
			return b, nil
		}
	}
	return inventory.BMC{}, notFound("bmc")
}

// BMCs lists all.
func (f *fakeFleet) BMCs(after string) iter.Seq[inventory.BMC] {
	f.lock.Lock()
	defer f.lock.Unlock()
	return rows(maps.Clone(f.bmcs), after)
}

// Collection finds a collection by id or name.
func (f *fakeFleet) Collection(ref string) (inventory.NodeCollection, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for _, c := range f.collections {
		if c.ID == ref || c.Name == ref {
			return c, nil
		}
	}
	return inventory.NodeCollection{}, notFound("collection")
}

// Collections lists all.
func (f *fakeFleet) Collections(after string) iter.Seq[inventory.NodeCollection] {
	f.lock.Lock()
	defer f.lock.Unlock()
	return rows(maps.Clone(f.collections), after)
}

// CollectionsOf lists those that list an xname, in no order.
func (f *fakeFleet) CollectionsOf(name string) iter.Seq[inventory.NodeCollection] {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.collectionsOf(name)
}

func (f *fakeFleet) collectionsOf(name string) iter.Seq[inventory.NodeCollection] {
	all := maps.Clone(f.collections)
	return func(yield func(inventory.NodeCollection) bool) {
		for _, c := range all {
			if slices.ContainsFunc(c.Nodes, func(n string) bool { return xname.Canonical(n) == xname.Canonical(name) }) && !yield(c) {
				return
			}
		}
	}
}

// Network finds a network by id or name.
func (f *fakeFleet) Network(ref string) (api.Network, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.network(ref)
}

func (f *fakeFleet) network(ref string) (api.Network, error) {
	for _, n := range f.networks {
		if n.ID == ref || n.Name == ref {
			return n, nil
		}
	}
	return api.Network{}, notFound("network")
}

// Networks lists all.
func (f *fakeFleet) Networks(after string) iter.Seq[api.Network] {
	f.lock.Lock()
	defer f.lock.Unlock()
	return rows(maps.Clone(f.networks), after)
}
