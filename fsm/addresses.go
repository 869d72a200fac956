package fsm

import (
	"net/netip"

	"github.com/tidwall/btree"
)

// addresses counts how often each IP address is named. It is derived from rows:
// to look for a free address must not mean to read all of them.
type addresses struct {
	v4 btree.Map[uint32, int32]
	v6 *btree.BTreeG[named6]
}

// named6 is an IPv6 address and how often it is named.
type named6 struct {
	addr  netip.Addr
	times int32
}

func (a *addresses) copied() addresses {
	c := addresses{v4: *a.v4.Copy()}
	if a.v6 != nil {
		c.v6 = a.v6.Copy()
	}
	return c
}

// count adds n to each address in the list; what is no address is nothing.
func (a *addresses) count(n int32, list []string) {
	for _, text := range list {
		addr, err := netip.ParseAddr(text)
		switch {
		case text == "" || err != nil:
		case addr.Unmap().Is4():
			a.count4(n, number4(addr.Unmap()))
		default:
			a.count6(n, addr.WithZone(""))
		}
	}
}

func (a *addresses) count4(n int32, addr uint32) {
	if times, _ := a.v4.Get(addr); times+n != 0 {
		a.v4.Set(addr, times+n)
	} else {
		a.v4.Delete(addr)
	}
}

func (a *addresses) count6(n int32, addr netip.Addr) {
	if a.v6 == nil {
		a.v6 = btree.NewBTreeGOptions(func(x, y named6) bool { return x.addr.Less(y.addr) }, btree.Options{NoLocks: true})
	}
	at := named6{addr: addr}
	if was, ok := a.v6.Get(at); ok {
		at.times = was.times
	}
	if at.times += n; at.times != 0 {
		a.v6.Set(at)
	} else {
		a.v6.Delete(at)
	}
}

// number4 is an IPv4 address as a number.
func number4(addr netip.Addr) uint32 {
	b := addr.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// used tells whether an address is named anywhere.
func (a *addresses) used(addr netip.Addr) bool {
	if addr.Is4() {
		_, ok := a.v4.Get(number4(addr))
		return ok
	}
	if a.v6 == nil {
		return false
	}
	_, ok := a.v6.Get(named6{addr: addr})
	return ok
}

// free is the first address from first to last that nobody names and skip does
// not exclude. It takes as many steps as there are named ones before it.
func (a *addresses) free(first, last netip.Addr, skip func(netip.Addr) bool) (netip.Addr, bool) {
	for addr := first; addr.IsValid() && addr.Compare(last) <= 0; addr = addr.Next() {
		if !a.used(addr) && !skip(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}
