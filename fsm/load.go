package fsm

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/snapshot"
)

// This file fills the tables of a fresh state from a snapshot. Rows come in the order
// of their keys, and in that of nothing else. To look for the place of each in every
// index would be most of the work, for the trees of a large fleet lie in no cache: so
// the places are sorted, which needs no tree, and each tree is loaded from its left to
// its right, beside the others.

// building are the trees that are loaded while tables behind theirs are read.
type building struct{ errgroup.Group }

// loadTables fills tables of a fresh state from a snapshot folder.
func loadTables(s *state, folder *snapshot.Folder, wanted ...anyTable) error {
	var b building
	b.SetLimit(runtime.GOMAXPROCS(0))
	defer b.Wait()
	s.sums.addresses.gather()
	for _, t := range wanted {
		if err := t.load(s, folder, &b); err != nil {
			return err
		}
	}
	s.sums.addresses.settle()
	return b.Wait()
}

// load reads the rows of a table, which come in the order of their keys, each once.
// They are in its trees when b is done.
func (t *table[T]) load(s *state, folder *snapshot.Folder, b *building) error {
	var items []*item[T]
	e, last := t.in(s), ""
	// What a snapshot holds is canonical, and comes out of it so: were it not, its hash
	// would be another than the manifest's.
	prepared := snapshot.Prepared(t.codec, folder, t.name, func(row *T) *item[T] {
		return &item[T]{*row, rowSum(t.name, row)}
	})
	for it, err := range prepared {
		if err != nil {
			return err
		}
		key := t.key(&it.row)
		if key <= last {
			return fmt.Errorf("table %s: the row %q comes behind %q", t.name, key, last)
		}
		last = key
		items = append(items, it)
		s.sum, e.sum = s.sum.plus(it.sum), e.sum.plus(it.sum)
		if t.derived != nil {
			t.derived(&s.sums, nil, &it.row)
		}
	}
	t.build(e, items, b)
	return nil
}

// build loads the trees of a table.
func (t *table[T]) build(e *tree[T], items []*item[T], b *building) {
	if len(items) == 0 {
		return
	}
	b.Go(func() error {
		for _, it := range items {
			e.rows.load(t.key(&it.row), it)
		}
		return nil
	})
	for i := range t.indexes {
		b.Go(func() error {
			t.fill(e.by[i], &t.indexes[i], items)
			return nil
		})
	}
}

// fill loads the tree of an index. Of rows under one place the last stays, as if
// they had been put one by one.
func (t *table[T]) fill(to *pointers[T], x *index[T], items []*item[T]) {
	places := make([]placed, 0, len(items))
	var room [fewPlaces]string
	for n, it := range items {
		for _, at := range x.places(room[:0], t.key(&it.row), &it.row) {
			places = append(places, placed{at: at, n: uint32(n)})
		}
	}
	sortPlaces(places)
	for _, p := range places {
		to.load(p.at, &items[p.n].row)
	}
}

// placed is a place in an index, and which row stands there.
type placed struct {
	head uint64 // eight bytes of it, by which it is sorted for now
	at   string
	n    uint32
}

// sortPlaces sorts by place, and in one place by row.
func sortPlaces(all []placed) { sortBehind(all, 0) }

// sortBehind sorts places that have their first same bytes in common. Texts lie
// anywhere in memory: so eight bytes of each are laid beside it and compared, and
// only those that have these in common too are looked at again.
func sortBehind(all []placed, same int) {
	same = common(all, same)
	for i := range all {
		all[i].head = head(all[i].at[same:])
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Compare(a.head, b.head) })
	for from, to := 0, 0; from < len(all); from = to {
		for to = from + 1; to < len(all) && all[to].head == all[from].head; to++ {
		}
		switch run := all[from:to]; {
		case len(run) == 1:
		case len(run) <= few || slices.ContainsFunc(run, func(p placed) bool { return len(p.at) < same+8 }):
			slices.SortFunc(run, func(a, b placed) int {
				return cmp.Or(strings.Compare(a.at[same:], b.at[same:]), cmp.Compare(a.n, b.n))
			})
		default:
			sortBehind(run, same+8)
		}
	}
}

// common is how many bytes all places have in common, which are same at least.
func common(all []placed, same int) int {
	if len(all) == 0 {
		return same
	}
	first := all[0].at
	most := len(first)
	for _, p := range all[1:] {
		n := same
		for n < most && n < len(p.at) && p.at[n] == first[n] {
			n++
		}
		most = n
	}
	return most
}

// head is the first eight bytes of a text as a number, zeros where it has fewer.
func head(text string) uint64 {
	if len(text) >= 8 {
		return uint64(text[0])<<56 | uint64(text[1])<<48 | uint64(text[2])<<40 | uint64(text[3])<<32 |
			uint64(text[4])<<24 | uint64(text[5])<<16 | uint64(text[6])<<8 | uint64(text[7])
	}
	var b [8]byte
	copy(b[:], text)
	return binary.BigEndian.Uint64(b[:])
}
