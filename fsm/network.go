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
	if _, _, fields := networkRange(c); len(fields) > 0 || !api.ValidName(c.Name) {
		if !api.ValidName(c.Name) {
			fields = append(fields, api.FieldError{Pointer: "/name", Detail: "must be 1 to 63 of a-z, 0-9 and -, and no UUID"})
		}
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the network is not valid", Fields: fields}
	}
	if _, taken := networks.holder(tx.Reader, "name", c.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "network %q exists already", c.Name)
	}
	n := networks.put(tx, api.Network{ID: tx.newID(), Name: c.Name, NetworkShape: c.NetworkShape,
		Version: 1, CreatedAt: tx.Now, UpdatedAt: tx.Now})
	return object{table: networks, key: n.ID}, nil
}

// networkRange is what may be allotted from a network: by default what a host can
// have, which in IPv4 is neither the first nor the last address of the range, and
// in IPv6 not the first (RFC 4291, 2.6.1: the subnet-router anycast address).
func networkRange(c api.NetworkCreate) (first, last netip.Addr, faults []api.FieldError) {
	wrong := func(pointer, detail string) {
		faults = append(faults, api.FieldError{Pointer: pointer, Detail: detail})
	}
	cidr, err := netip.ParsePrefix(c.CIDR)
	if err != nil || cidr != cidr.Masked() || cidr.Addr().Is4In6() {
		wrong("/cidr", "must be an address range in its normal form, such as 10.1.0.0/16")
		return first, last, faults
	}
	inside := func(pointer, text string, otherwise netip.Addr) netip.Addr {
		if text == "" {
			return otherwise
		}
		addr, err := netip.ParseAddr(text)
		if err != nil || !cidr.Contains(addr) {
			wrong(pointer, "must be an address inside the network")
		}
		return addr
	}
	inside("/gateway", c.Gateway, netip.Addr{})
	lowest, highest := hosts(cidr)
	first, last = inside("/first", c.First, lowest), inside("/last", c.Last, highest)
	if len(faults) == 0 && last.Less(first) {
		wrong("/last", "comes before the first")
	}
	for _, server := range c.DNS {
		if _, err := netip.ParseAddr(server); err != nil {
			wrong("/dns", "must be addresses of name servers")
		}
	}
	return first, last, faults
}

// hosts are the lowest and the highest address that a host can have in a range.
func hosts(cidr netip.Prefix) (lowest, highest netip.Addr) {
	lowest, highest = cidr.Addr(), lastOf(cidr)
	if host := lowest.BitLen() - cidr.Bits(); host >= 2 { // RFC 3021: both of a /31 are hosts
		lowest = lowest.Next()
		if lowest.Is4() {
			highest = highest.Prev()
		}
	}
	return lowest, highest
}

// lastOf is the last address of a range.
func lastOf(cidr netip.Prefix) netip.Addr {
	b := cidr.Addr().AsSlice()
	for bit := cidr.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

type networkDelete struct {
	ID string `cbor:"1,keyasint"`
}

func applyDeleteNetwork(tx *Txn, c networkDelete) (object, error) {
	if err := tx.may(api.Delete, "network.delete", api.Object{Kind: "network"}); err != nil {
		return nothing, err
	}
	if _, ok := networks.one(tx.Reader, c.ID); !ok {
		return nothing, api.Errorf(api.NotFound, "network.delete", "no network %s", c.ID)
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
	cidr := netip.MustParsePrefix(network.CIDR)
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
	first, last, _ := networkRange(api.NetworkCreate{NetworkShape: network.NetworkShape})
	gateway, _ := netip.ParseAddr(network.Gateway)
	addr, ok := tx.state.sums.addresses.free(first, last, func(a netip.Addr) bool { return a == gateway })
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

// DeleteNetwork forgets a network; addresses that were allotted from it stay where they are.
func (w *Writer) DeleteNetwork(ctx context.Context, id string) error {
	_, err := propose[struct{}](ctx, w, deleteNetwork, networkDelete{id})
	return err
}

// AllocateAddress gives the k-th interface of a node the next free address of a network.
func (w *Writer) AllocateAddress(ctx context.Context, node string, k int, network string) (Done[string], error) {
	d, err := propose[computeNode](ctx, w, allocateAddress, addressAllocate{node, k, network})
	return as(d, node), err
}
