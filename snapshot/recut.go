package snapshot

import (
	"slices"
	"sort"
)

// recut is the plan of a table of which an older one is known: of old parts and the
// rows that were touched since.
type recut struct {
	l       *large
	old     []part
	touched []string // keys, in order
	moved   []string // those of rows that came or are gone, in order
	parts   []part
}

// recut makes the plan that cut would make; false where it has to be cut from its
// beginning, because so much was touched or because the sums do not match.
func (l *large) recut(old []part, touches []touch) ([]part, bool) {
	r := recut{l: l, old: old}
	for _, t := range touches {
		r.touched = append(r.touched, t.key)
		if t.moved {
			r.moved = append(r.moved, t.key)
		}
	}
	slices.Sort(r.touched)
	slices.Sort(r.moved)
	if r.reads() > len(old)/2 {
		return nil, false
	}
	for i := 0; i < len(old); {
		if r.stands(i) {
			r.parts = append(r.parts, r.renewed(i))
			i++
		} else {
			i = r.anew(i)
		}
	}
	return r.parts, l.moment.matches(r.parts)
}

// reads is about how many parts have to be read.
func (r *recut) reads() (n int) {
	for i := range r.old {
		if !r.stands(i) || anyOf(r.touched, r.from(i), r.from(i+1)) {
			n++
		}
	}
	return n
}

// from is the key from which on rows are in the i-th old part; behind the last one it is
// empty and stands for behind all. What comes before the first row is in the first part.
func (r *recut) from(i int) string {
	if i == 0 || i >= len(r.old) {
		return ""
	}
	return r.old[i].first
}

// stands tells whether the i-th old part ends where it did, if it begins where it did: that
// hangs on the keys of the maxPart+1 rows from its beginning on.
func (r *recut) stands(i int) bool {
	j := i
	for rows := 0; j < len(r.old) && rows <= maxPart; j++ {
		rows += r.old[j].rows
	}
	return !anyOf(r.moved, r.from(i), r.from(j))
}

// anyOf tells whether one of keys, which are in order, lies from one key on and before
// another, which is no bound if it is empty.
func anyOf(keys []string, from, before string) bool {
	at, _ := slices.BinarySearch(keys, from)
	return at < len(keys) && (before == "" || keys[at] < before)
}

// renewed is the i-th old part with the rows that are in it now, which have the same keys.
func (r *recut) renewed(i int) part {
	if !anyOf(r.touched, r.from(i), r.from(i+1)) {
		return r.old[i]
	}
	w := make(window, 0, r.old[i].rows)
	r.l.keys(r.old[i].first, func(key string, hash Hash) bool {
		w = append(w, windowRow{key: key, hash: hash})
		return len(w) < r.old[i].rows
	})
	return w.part(r.l.layout)
}

// anew cuts the table from the beginning of the i-th old part on until a part begins where
// an old one did, and gives the number of that; that of none at the end of the table.
func (r *recut) anew(i int) (next int) {
	next = len(r.old)
	r.l.cut(r.from(i), func(p part, behind string) bool {
		r.parts = append(r.parts, p)
		k := sort.Search(len(r.old), func(k int) bool { return r.old[k].first >= behind })
		if behind != "" && k > i && k < len(r.old) && r.old[k].first == behind {
			next = k
			return false
		}
		return true
	})
	return next
}
