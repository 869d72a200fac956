package fsm

import (
	"context"
	"iter"
	"net/netip"
	"slices"

	"github.com/orchd/orchd/api"
)

var networks = &table[api.Network]{
	name: "networks",
	key:  func(n *api.Network) string { return n.ID },
	unique: map[string]func(*api.Network) []string{
		"name": func(n *api.Network) []string { return []string{n.Name} },
	},
}

func applyCreateNetwork(tx *Txn, c api.NetworkCreate) (object, error) {
	const op = "network.create"
	if err := tx.may(api.Create, op, api.Object{Kind: "network"}); err != nil {
		return nothing, err
	}
	if faults := networkFaults(tx.Reader, c); len(faults) > 0 {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the network is not valid", Fields: faults}
	}
	if _, taken := networks.holder(tx.Reader, "name", c.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "network %q exists already", c.Name)
	}
	n := networks.put(tx, api.Network{ID: tx.newID(), Name: c.Name, NetworkShape: c.NetworkShape,
		Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now})
	return object{table: networks, key: n.ID}, nil
}

type networkDelete struct {
	ID string `cbor:"1,keyasint"`
}

func applyDeleteNetwork(tx *Txn, c networkDelete) (object, error) {
	if err := tx.may(api.Delete, "network.delete", api.Object{Kind: "network"}); err != nil {
		return nothing, err
	}
	n, ok := networks.one(tx.Reader, c.ID)
	if !ok {
		return nothing, api.Errorf(api.NotFound, "network.delete", "no network %s", c.ID)
	}
	if l, held := leases.with(tx.Reader, "network", n.ID); held {
		vm, _ := vms.one(tx.Reader, l.VM)
		return nothing, api.Errorf(api.Conflict, "network.delete", "VM %s/%s is on network %q; delete the VMs on it first", l.Account, vm.Name, n.Name)
	}
	networks.remove(tx, c.ID)
	return nothing, nil
}

type addressAllocate struct {
	Node    string `cbor:"1,keyasint"`
	K       int    `cbor:"2,keyasint"` // which of the node's interfaces
	Network string `cbor:"3,keyasint"` // id or name
}

// applyAllocateAddress gives an interface the first address of a network that
// nothing in the inventory names. One that it has from there it keeps.
func applyAllocateAddress(tx *Txn, c addressAllocate) (object, error) {
	const op = "node.allocate"
	if err := tx.may(api.Update, op, api.Object{Kind: "node"}); err != nil {
		return nothing, err
	}
	n, err := tx.nodeAt(op, c.Node, 0)
	if err != nil {
		return nothing, err
	}
	if err := tx.tenancy(op, n.XName); err != nil {
		return nothing, err
	}
	network, ok := tx.Network(c.Network)
	if !ok {
		return nothing, api.Errorf(api.NotFound, op, "no network %q", c.Network)
	}
	if c.K < 0 || c.K >= len(n.NICs) {
		return nothing, api.Errorf(api.NotFound, op, "node %s has %d interfaces, counted from 0: there is no number %d", n.ID, len(n.NICs), c.K)
	}
	if err := tx.allot(op, &n, c.K, network); err != nil {
		return nothing, err
	}
	return object{table: computeNodes, key: n.ID}, nil
}

// allot puts an address of the network on the k-th interface of a node and stores it.
func (tx *Txn) allot(op string, n *computeNode, k int, network api.Network) error {
	cidr, err := netip.ParsePrefix(network.CIDR)
	if err != nil {
		return api.Errorf(api.Conflict, op, "network %s has no range of addresses to allot from", network.Name)
	}
	if len(network.Pools) > 0 {
		return api.Errorf(api.Conflict, op, "network %s is divided among peers, who allot its addresses to their VMs; name the address of the node yourself", network.Name)
	}
	n.NICs = slices.Clone(n.NICs)
	at := &n.NICs[k].IPv6Address
	if cidr.Addr().Is4() {
		at = &n.NICs[k].IPv4Address
	}
	if has, err := netip.ParseAddr(*at); err == nil {
		if cidr.Contains(has) {
			return nil
		}
		return api.Errorf(api.Conflict, op, "interface %d has the address %s already, which is not of network %s", k, has, network.Name)
	}
	first, last := allottable(network.NetworkShape, cidr)
	taboo := map[netip.Addr]bool{}
	if gateway, err := netip.ParseAddr(network.Gateway); err == nil {
		taboo[gateway] = true
	}
	if tx.Level() >= LevelAllotted {
		taboo = tx.neverAllotted(network)
	}
	addr, ok := tx.state.sums.addresses.free(first, last, func(a netip.Addr) bool { return taboo[a] })
	if !ok {
		return api.Errorf(api.NoCapacity, op, "network %s has no free address from %s to %s", network.Name, first, last)
	}
	*at = addr.String()
	n.Version++
	n.UpdatedAt = tx.Now
	computeNodes.put(tx, *n)
	return nil
}

// Network finds a network by id or name.
func (r Reader) Network(ref string) (api.Network, bool) {
	if n, ok := networks.one(r, ref); ok {
		return n, true
	}
	n, ok := networks.holder(r, "name", ref)
	if !ok {
		return api.Network{}, false
	}
	return *n, true
}

// Networks lists networks by id.
func (r Reader) Networks(after string) iter.Seq[api.Network] { return networks.each(r, after) }

// CreateNetwork declares a network.
func (w *Writer) CreateNetwork(ctx context.Context, c api.NetworkCreate) (Done[api.Network], error) {
	d, err := propose[api.Network](ctx, w, createNetwork, c)
	if d.Gone {
		d.Object.ID = d.ID
	}
	return d, err
}

// DeleteNetwork forgets a network that no VM is on; addresses of it that nodes have
// stay where they are.
func (w *Writer) DeleteNetwork(ctx context.Context, id string) error {
	_, err := propose[struct{}](ctx, w, deleteNetwork, networkDelete{id})
	return err
}

// AllocateAddress gives the k-th interface of a node the next free address of a network.
func (w *Writer) AllocateAddress(ctx context.Context, node string, k int, network string) (Done[string], error) {
	d, err := propose[computeNode](ctx, w, allocateAddress, addressAllocate{node, k, network})
	return as(d, node), err
}
