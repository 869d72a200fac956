package fsm

import "slices"

// distinct collects values, each once, in their order.
type distinct[T comparable] struct {
	list []T
	seen map[T]bool // nil while there are few
}

// few values are looked for in the list. More are not: an object with very many
// would hold up apply for the square of that.
const few = 32

func (d *distinct[T]) add(v T) {
	if d.seen == nil && len(d.list) < few {
		if !slices.Contains(d.list, v) {
			d.list = append(d.list, v)
		}
		return
	}
	if d.seen == nil {
		d.seen = make(map[T]bool, 2*few)
		for _, known := range d.list {
			d.seen[known] = true
		}
	}
	if !d.seen[v] {
		d.seen[v] = true
		d.list = append(d.list, v)
	}
}
