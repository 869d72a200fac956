package fsm

// index is how the rows of a table are found by something other than their keys.
type index[T any] struct {
	name string
	of   func(*T) string   // the value of a row; empty: it has none. nil where of is of several
	all  func(*T) []string // its values
	// alone: no two rows have a value in common, so a row stands under the value.
	// Otherwise it stands under value, zero byte, key.
	alone bool
}

// indexesOf are the indexes that a table declares, of each sort by name.
func indexesOf[T any](t *table[T]) (all []index[T]) {
	for name, of := range ordered(t.by) {
		all = append(all, index[T]{name: name, of: of})
	}
	for name, of := range ordered(t.unique) {
		all = append(all, index[T]{name: name, all: of, alone: true})
	}
	for name, of := range ordered(t.many) {
		all = append(all, index[T]{name: name, all: of})
	}
	return all
}

// index is the tree of one index in a state.
func (t *table[T]) index(s *state, name string) *pointers[T] {
	for i := range t.indexes {
		if t.indexes[i].name == name {
			return t.in(s).by[i]
		}
	}
	panic("fsm: the table " + t.name + " has no index " + name)
}

// places appends what a row with that key stands under.
func (x *index[T]) places(to []string, key string, row *T) []string {
	switch {
	case x.of != nil:
		if value := x.of(row); value != "" {
			to = append(to, value+"\x00"+key)
		}
		return to
	case x.alone:
		return append(to, x.all(row)...)
	}
	for _, value := range x.all(row) {
		to = append(to, value+"\x00"+key)
	}
	return to
}

// fewPlaces is what most rows have at most in one index.
const fewPlaces = 8

// enter puts a row into the indexes.
func (t *table[T]) enter(e *tree[T], key string, row *T) {
	var room [fewPlaces]string
	for i := range t.indexes {
		for _, at := range t.indexes[i].places(room[:0], key, row) {
			e.by[i].set(at, row)
		}
	}
}

// leave takes a row out of the indexes.
func (t *table[T]) leave(e *tree[T], key string, row *T) {
	var room [fewPlaces]string
	for i := range t.indexes {
		for _, at := range t.indexes[i].places(room[:0], key, row) {
			e.by[i].delete(at)
		}
	}
}

// reenter puts a row into the indexes in place of the one that had its key. Most
// changes leave it where it was.
func (t *table[T]) reenter(e *tree[T], key string, old, row *T) {
	var room, oldRoom [fewPlaces]string
	for i := range t.indexes {
		were, are := t.indexes[i].places(oldRoom[:0], key, old), t.indexes[i].places(room[:0], key, row)
		for _, at := range middle(were, are) {
			e.by[i].delete(at)
		}
		for _, at := range are {
			e.by[i].set(at, row)
		}
	}
}

// middle is what of were lies between what both have at their beginning and at their
// end: one of ten thousand places, where one of as many nodes leaves a collection.
func middle(were, are []string) []string {
	for len(were) > 0 && len(are) > 0 && were[0] == are[0] {
		were, are = were[1:], are[1:]
	}
	for len(were) > 0 && len(are) > 0 && were[len(were)-1] == are[len(are)-1] {
		were, are = were[:len(were)-1], are[:len(are)-1]
	}
	return were
}
