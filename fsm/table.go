package fsm

import (
	"io"
	"iter"
	"reflect"
	"strings"

	"github.com/orchd/orchd/snapshot"
)

// table declares one kind of row. Declaring it gives the store, a parquet file
// in every snapshot, and restore.
type table[T any] struct {
	name string
	key  func(*T) string
	by   map[string]func(*T) string // indexes: a row with an empty value is not in it
	// unique are indexes by values of which no two rows have the same: apply
	// checks that before it puts a row. A row may have several values, or none.
	unique map[string]func(*T) []string
	// many are indexes by values of which a row may have several, or none.
	many  map[string]func(*T) []string
	large bool // in snapshots a folder of parts, not one file
	// bookkeeping is for the machine alone: no changes are kept of the rows, and
	// neither downloads nor queries offer them.
	bookkeeping bool
	account     func(*T) string // the account that a row belongs to; nil where rows belong to none
	// derived keeps what is summed up over the rows; old or row is nil when there is none.
	derived func(s *sums, old, row *T)
	// secrets are the sealed values of a row, which may be given others; nil where rows
	// have none. What they lie in is the row's own then, and shared with no other.
	secrets func(row *T) []secretPart
	// whole is what an answer shows of all rows together, under the key "".
	whole func(Reader) any

	pos     int
	codec   *snapshot.Codec[T]
	indexes []index[T] // by, unique and many
	hasJSON bool       // pieces of JSON may be in a row
}

// item is a row in the store with its hash, so that taking it out costs no encoding.
type item[T any] struct {
	row T
	sum sum
}

// tree is the rows of one table in one state. Once published it never changes;
// watch is closed when another takes its place.
type tree[T any] struct {
	rows  *pointers[item[T]]
	by    []*pointers[T] // one for each of the table's indexes
	watch chan struct{}
	// Of a large table: what snapshots must know of it not to read it all.
	sum     sum // of all rows
	lineage *snapshot.Lineage
	moment  uint64 // of the lineage
}

// anyTable is a table whose row type does not matter.
type anyTable interface {
	number(pos int)
	label() string
	layout() Layout
	empty() anyTree
	find(s *state, key string) (any, bool)
	content(s *state) snapshot.Table
	load(s *state, folder *snapshot.Folder, b *building) error
	restore(tx *Txn, was rowBefore)
	rehash(s *state) sum
	size(s *state) int
	hasSecrets() bool
	recordable
	exportable
}

// anyTree is a tree whose row type does not matter.
type anyTree interface {
	copied() anyTree // a copy that may be changed, in O(1)
	changed() <-chan struct{}
	supersede()
}

func (t *table[T]) number(pos int) {
	t.pos = pos
	t.codec = snapshot.MustCodec[T]()
	t.indexes = indexesOf(t)
	t.hasJSON = typeHolds(reflect.TypeFor[T](), objectType) || typeHolds(reflect.TypeFor[T](), rawJSONType)
}

func (t *table[T]) label() string { return t.name }

func (t *table[T]) empty() anyTree {
	e := &tree[T]{rows: newPointers[item[T]](), by: make([]*pointers[T], len(t.indexes)), watch: make(chan struct{}), lineage: new(snapshot.Lineage)}
	for i := range e.by {
		e.by[i] = newPointers[T]()
	}
	return e
}

func (e *tree[T]) copied() anyTree {
	c := &tree[T]{rows: e.rows.copied(), by: make([]*pointers[T], len(e.by)), watch: make(chan struct{}), sum: e.sum, lineage: e.lineage, moment: e.moment}
	for i, ix := range e.by {
		c.by[i] = ix.copied()
	}
	return c
}

func (e *tree[T]) changed() <-chan struct{} { return e.watch }
func (e *tree[T]) supersede()               { close(e.watch) }

func (t *table[T]) in(s *state) *tree[T] { return s.trees[t.pos].(*tree[T]) }

// one finds a row by its key.
func (t *table[T]) one(r Reader, key string) (T, bool) {
	it, ok := t.in(r.state).rows.get(key)
	if !ok {
		var none T
		return none, false
	}
	return it.row, true
}

// with finds the first row, in key order, whose index has that value.
func (t *table[T]) with(r Reader, index, value string) (T, bool) {
	for row := range t.all(r, index, value) {
		return row, true
	}
	var none T
	return none, false
}

// all lists the rows whose index has that value, in key order.
func (t *table[T]) all(r Reader, index, value string) iter.Seq[T] {
	from := value + "\x00"
	return func(yield func(T) bool) {
		t.index(r.state, index).ascend(from, func(at string, row *T) bool {
			return strings.HasPrefix(at, from) && yield(*row)
		})
	}
}

// holder finds the row that has that value in a unique index.
func (t *table[T]) holder(r Reader, index, value string) (*T, bool) {
	return t.index(r.state, index).get(value)
}

// each lists all rows in key order, beginning after the key after.
func (t *table[T]) each(r Reader, after string) iter.Seq[T] {
	return func(yield func(T) bool) {
		for row := range t.rowsAfter(r.state, after) {
			if !yield(*row) {
				return
			}
		}
	}
}

func (t *table[T]) rowsAfter(s *state, after string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		t.in(s).rows.ascend(after, func(key string, it *item[T]) bool {
			return key == after && after != "" || yield(&it.row)
		})
	}
}

func (t *table[T]) size(s *state) int { return t.in(s).rows.len() }

// put stores a row in its canonical form, in place of the one with its key. The
// slices and maps in it become the store's own: nobody changes them any more.
func (t *table[T]) put(tx *Txn, row T) T {
	it := &item[T]{row: row}
	canonicalize(&it.row)
	t.noteStale(tx, &it.row)
	key := t.key(&it.row)
	if key == "" {
		panic("fsm: a row of " + t.name + " has no key")
	}
	var size int
	it.sum, size = hashedRow(t.name, &it.row)
	was := t.before(key, t.set(tx, key, it))
	was.size = size
	tx.changes = append(tx.changes, was)
	return it.row
}

// set puts an item in place of what has its key, which it gives; nil where nothing had it.
func (t *table[T]) set(tx *Txn, key string, it *item[T]) (old *item[T]) {
	s, e := tx.state, tx.changing(t.pos).(*tree[T])
	old, replaced := e.rows.set(key, it)
	if replaced {
		t.reenter(e, key, &old.row, &it.row)
		s.sum = s.sum.minus(old.sum)
	} else {
		t.enter(e, key, &it.row)
	}
	s.sum = s.sum.plus(it.sum)
	t.touch(e, key, old, it)
	if t.derived != nil {
		t.derived(&s.sums, old.orNil(), &it.row)
	}
	return old
}

// touch notes for snapshots what became of a row of a large table; old or now is nil where
// it came or is gone.
func (t *table[T]) touch(e *tree[T], key string, old, now *item[T]) {
	if !t.large {
		return
	}
	if old != nil {
		e.sum = e.sum.minus(old.sum)
	}
	if now != nil {
		e.sum = e.sum.plus(now.sum)
	}
	e.moment = e.lineage.Touch(key, old == nil || now == nil)
}

// orNil is the row, nil where there is none.
func (it *item[T]) orNil() *T {
	if it == nil {
		return nil
	}
	return &it.row
}

// before is how a row was, so that it can be restored.
func (t *table[T]) before(key string, old *item[T]) rowBefore {
	if old == nil {
		return rowBefore{table: t, key: key}
	}
	return rowBefore{table: t, key: key, row: &old.row, sum: old.sum}
}

// restore makes a row what it was.
func (t *table[T]) restore(tx *Txn, was rowBefore) {
	if was.row == nil {
		t.delete(tx, was.key)
		return
	}
	t.set(tx, was.key, &item[T]{*was.row.(*T), was.sum})
}

// remove deletes the row with that key, if there is one.
func (t *table[T]) remove(tx *Txn, key string) {
	if old, ok := t.delete(tx, key); ok {
		tx.changes = append(tx.changes, t.before(key, old))
	}
}

// delete takes out what has that key, and gives it.
func (t *table[T]) delete(tx *Txn, key string) (old *item[T], ok bool) {
	e := tx.changing(t.pos).(*tree[T])
	if old, ok = e.rows.delete(key); !ok {
		return old, false
	}
	t.leave(e, key, &old.row)
	tx.state.sum = tx.state.sum.minus(old.sum)
	t.touch(e, key, old, nil)
	if t.derived != nil {
		t.derived(&tx.state.sums, &old.row, nil)
	}
	return old, true
}

func (t *table[T]) find(s *state, key string) (any, bool) {
	if key == "" && t.whole != nil {
		return t.whole(Reader{s}), true
	}
	it, ok := t.in(s).rows.get(key)
	if !ok {
		return nil, false
	}
	return &it.row, true
}

// content is the table on its way into a snapshot of that state.
func (t *table[T]) content(s *state) snapshot.Table {
	if t.large {
		e := t.in(s)
		return t.codec.Large(t.name, func(from string, yield func(string, *T, snapshot.Hash) bool) {
			e.rows.ascend(from, func(key string, it *item[T]) bool {
				return yield(key, &it.row, snapshot.Hash{Hi: it.sum.hi, Lo: it.sum.lo})
			})
		}).Planned(e.lineage, snapshot.Moment{At: e.moment, Rows: e.rows.len(), Sum: snapshot.Hash{Hi: e.sum.hi, Lo: e.sum.lo}})
	}
	return snapshot.Table{Name: t.name, Write: func(w io.Writer) (int64, error) {
		return t.codec.Write(w, t.rowsAfter(s, ""))
	}}
}

// rehash computes the hash of all rows anew.
func (t *table[T]) rehash(s *state) sum {
	var total sum
	for row := range t.rowsAfter(s, "") {
		total = total.plus(rowSum(t.name, row))
	}
	return total
}
