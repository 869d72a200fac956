package fsm

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// gathered is who names which address, in the order in which they entered, until all
// that a snapshot holds have: sorted, they are loaded at once.
type gathered struct {
	v4 []gathered4
	v6 []gathered6
}

type gathered4 struct {
	addr uint32
	n    uint32 // which entered
	node *computeNode
}

type gathered6 struct {
	hi, lo uint64
	n      uint32
	node   *computeNode
}

func (g *gathered) add(addr netip.Addr, by naming) {
	if addr.Is4() {
		g.v4 = append(g.v4, gathered4{number4(addr), uint32(len(g.v4)), by.node})
		return
	}
	b := addr.As16()
	g.v6 = append(g.v6, gathered6{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), uint32(len(g.v6)), by.node})
}

// gather begins to hold back what rows name; it is for addresses that nobody names yet.
func (a *addresses) gather() { a.gathered = &gathered{} }

// settle enters what was gathered.
func (a *addresses) settle() {
	if a.gathered == nil {
		return
	}
	g := a.gathered
	a.gathered = nil
	a.load4(g.v4)
	a.load6(g.v6)
}

func (a *addresses) load4(all []gathered4) {
	slices.SortFunc(all, func(x, y gathered4) int {
		if x.addr != y.addr {
			return cmp.Compare(x.addr, y.addr)
		}
		return cmp.Compare(x.n, y.n)
	})
	for from, to := 0, 0; from < len(all); from = to {
		for to = from + 1; to < len(all) && all[to].addr == all[from].addr; to++ {
		}
		a.v4.Load(all[from].addr, naming{int32(to - from), all[to-1].node})
	}
}

func (a *addresses) load6(all []gathered6) {
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(x, y gathered6) int {
		switch {
		case x.hi != y.hi:
			return cmp.Compare(x.hi, y.hi)
		case x.lo != y.lo:
			return cmp.Compare(x.lo, y.lo)
		}
		return cmp.Compare(x.n, y.n)
	})
	a.v6 = newV6()
	for from, to := 0, 0; from < len(all); from = to {
		for to = from + 1; to < len(all) && all[to].hi == all[from].hi && all[to].lo == all[from].lo; to++ {
		}
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], all[from].hi)
		binary.BigEndian.PutUint64(b[8:], all[from].lo)
		a.v6.Load(naming6{netip.AddrFrom16(b), naming{int32(to - from), all[to-1].node}})
	}
}
