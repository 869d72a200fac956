package fsm

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/tidwall/btree"

	"github.com/orchd/orchd/api/inventory"
)

// addresses is who names each IP address: rows of the inventory, and leases of VMs.
// It is derived from rows: to look for a free address, or for the node that has one,
// must not mean to read all of them.
type addresses struct {
	v4 btree.Map[uint32, naming]
	v6 *btree.BTreeG[naming6]
	// leased are the stretches without a gap that leases hold, of both families, by
	// their first address: to look for a free one must not mean to walk all that are held.
	leased *btree.BTreeG[stretch]
	// gathered is what rows name while a state is loaded; nil otherwise.
	gathered *gathered
}

// stretch is all addresses from first to last.
type stretch struct{ first, last netip.Addr }

// naming is how many rows name an address, its lease among them, and the node that
// did last; nil when that one does no more, or the last was a BMC.
type naming struct {
	rows int32
	node *computeNode
}

type naming6 struct {
	addr netip.Addr
	naming
}

func (a *addresses) copied() addresses {
	c := addresses{v4: *a.v4.Copy()}
	if a.v6 != nil {
		c.v6 = a.v6.Copy()
	}
	if a.leased != nil {
		c.leased = a.leased.Copy()
	}
	return c
}

// enter notes that a row names the addresses in a list, each once; node is nil
// for a BMC. What is no address is nothing.
func (a *addresses) enter(list []string, node *computeNode) {
	for _, addr := range parsedOnce(list) {
		n := naming{1, node}
		if a.gathered != nil {
			a.gathered.add(addr, n)
			continue
		}
		if was := a.set(addr, n); was.rows > 0 { // seldom, so that one search of the tree does for most
			n.rows += was.rows
			a.set(addr, n)
		}
	}
}

// leave notes that a row that entered the list does so no more.
func (a *addresses) leave(list []string, node *computeNode) {
	for _, addr := range parsedOnce(list) {
		n := a.at(addr)
		if n.rows--; n.node == node {
			n.node = nil
		}
		a.set(addr, n)
	}
}

// parsedOnce is the addresses in a list, each once.
func parsedOnce(list []string) []netip.Addr {
	parsed := distinct[netip.Addr]{list: make([]netip.Addr, 0, len(list))}
	for _, text := range list {
		if text == "" {
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err == nil {
			parsed.add(addr.Unmap().WithZone(""))
		}
	}
	return parsed.list
}

func (a *addresses) at(addr netip.Addr) (n naming) {
	if addr.Is4() {
		n, _ = a.v4.Get(number4(addr))
		return n
	}
	if a.v6 == nil {
		return n
	}
	found, _ := a.v6.Get(naming6{addr: addr})
	return found.naming
}

// set notes how an address is named, and tells how it was.
func (a *addresses) set(addr netip.Addr, n naming) (was naming) {
	var was6 naming6
	switch {
	case addr.Is4() && n.rows == 0:
		was, _ = a.v4.Delete(number4(addr))
		return was
	case addr.Is4():
		was, _ = a.v4.Set(number4(addr), n)
		return was
	case n.rows == 0:
		was6, _ = a.v6.Delete(naming6{addr: addr})
	default:
		if a.v6 == nil {
			a.v6 = newV6()
		}
		was6, _ = a.v6.Set(naming6{addr, n})
	}
	return was6.naming
}

func newV6() *btree.BTreeG[naming6] {
	return btree.NewBTreeGOptions(func(x, y naming6) bool { return x.addr.Less(y.addr) }, btree.Options{NoLocks: true})
}

// number4 is an IPv4 address as a number.
func number4(addr netip.Addr) uint32 {
	b := addr.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// hold notes that a lease holds an address.
func (a *addresses) hold(addr netip.Addr) {
	a.settle()
	n := a.at(addr)
	n.rows++
	a.set(addr, n)
	held := stretch{addr, addr}
	if before, touches := a.stretchAt(addr.Prev()); touches {
		held.first = before.first
	}
	if behind, touches := a.stretchAt(addr.Next()); touches {
		held.last = behind.last
		a.leased.Delete(behind)
	}
	if a.leased == nil {
		a.leased = btree.NewBTreeGOptions(func(x, y stretch) bool { return x.first.Less(y.first) }, btree.Options{NoLocks: true})
	}
	a.leased.Set(held)
}

// release notes that no lease holds an address any more.
func (a *addresses) release(addr netip.Addr) {
	n := a.at(addr)
	n.rows--
	a.set(addr, n)
	held, _ := a.stretchAt(addr)
	if addr == held.first {
		a.leased.Delete(held)
	} else {
		a.leased.Set(stretch{held.first, addr.Prev()})
	}
	if addr != held.last {
		a.leased.Set(stretch{addr.Next(), held.last})
	}
}

// stretchAt is the stretch of leased addresses that one is in.
func (a *addresses) stretchAt(addr netip.Addr) (s stretch, ok bool) {
	if a.leased == nil || !addr.IsValid() {
		return s, false
	}
	a.leased.Descend(stretch{first: addr}, func(found stretch) bool {
		s, ok = found, addr.Compare(found.last) <= 0
		return false
	})
	return s, ok
}

// nextStretch is the first leased address behind one, in its family; the zero
// address, which is less than any other, when there is none.
func (a *addresses) nextStretch(addr netip.Addr) (first netip.Addr) {
	if a.leased == nil {
		return first
	}
	a.leased.Ascend(stretch{first: addr}, func(s stretch) bool {
		if s.first.BitLen() == addr.BitLen() {
			first = s.first
		}
		return false
	})
	return first
}

// free is the first address from first to last that nobody names and skip does
// not exclude. It passes a stretch of leased addresses in one step, and takes a
// short one for each address before it that the inventory names.
func (a *addresses) free(first, last netip.Addr, skip func(netip.Addr) bool) (netip.Addr, bool) {
	for addr := first; addr.IsValid() && addr.Compare(last) <= 0; {
		if held, leased := a.stretchAt(addr); leased {
			addr = held.last.Next()
			continue
		}
		until := last
		if next := a.nextStretch(addr); next.IsValid() && next.Compare(last) <= 0 {
			until = next.Prev()
		}
		if found, ok := a.unnamed(addr, until, skip); ok {
			return found, true
		}
		addr = until.Next()
	}
	return netip.Addr{}, false
}

// unnamed is free where no lease holds any.
func (a *addresses) unnamed(first, last netip.Addr, skip func(netip.Addr) bool) (netip.Addr, bool) {
	addr := first
	for named := range a.from(first) {
		for ; addr.Less(named) && addr.Compare(last) <= 0; addr = addr.Next() {
			if !skip(addr) {
				return addr, true
			}
		}
		if addr = named.Next(); named.Compare(last) >= 0 {
			return netip.Addr{}, false
		}
	}
	for ; addr.IsValid() && addr.Compare(last) <= 0; addr = addr.Next() {
		if !skip(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// from lists the named addresses of the family of first, beginning there, in order.
func (a *addresses) from(first netip.Addr) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		switch {
		case first.Is4():
			a.v4.Ascend(number4(first), func(n uint32, _ naming) bool {
				return yield(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}))
			})
		case a.v6 != nil:
			a.v6.Ascend(naming6{addr: first}, func(n naming6) bool { return yield(n.addr) })
		}
	}
}

// NodesAt lists the nodes that name an address, in any place. Where several rows
// do, or did, it has to look at all nodes.
func (r Reader) NodesAt(addr netip.Addr) iter.Seq[inventory.ComputeNode] {
	addr = addr.Unmap().WithZone("")
	return func(yield func(inventory.ComputeNode) bool) {
		n := r.state.sums.addresses.at(addr)
		if _, leased := r.state.sums.addresses.stretchAt(addr); leased {
			n.rows-- // the VM's
		}
		if n.rows == 0 || n.rows == 1 && n.node != nil {
			if n.rows == 1 {
				yield(r.shownNode(n.node))
			}
			return
		}
		for row := range computeNodes.rowsAfter(r.state, "") {
			if slices.Contains(parsedOnce(row.addresses()), addr) && !yield(r.shownNode(row)) {
				return
			}
		}
	}
}
