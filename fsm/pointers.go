package fsm

import (
	"unsafe"

	"github.com/tidwall/btree"
)

// degree of the B-trees. A tree is copied on write, node by node, for every entry
// of the log: small nodes make a change cheap, and a read no slower that counts.
const degree = 16

// pointers is a B-tree of pointers to V by their keys. They are pointers so that what is
// copied of a tree on write is small, and kept without their type so that the compiler
// makes one B-tree for all kinds of rows: it makes one for each kind of pointer that a
// generic function names, and these were a tenth of this package.
type pointers[V any] btree.Map[string, unsafe.Pointer]

func newPointers[V any]() *pointers[V] {
	return (*pointers[V])(btree.NewMap[string, unsafe.Pointer](degree))
}

func (p *pointers[V]) tree() *btree.Map[string, unsafe.Pointer] {
	return (*btree.Map[string, unsafe.Pointer])(p)
}

// copied is a copy that may be changed, in O(1).
func (p *pointers[V]) copied() *pointers[V] { return (*pointers[V])(p.tree().Copy()) }

func (p *pointers[V]) len() int       { return p.tree().Len() }
func (p *pointers[V]) keys() []string { return p.tree().Keys() }

func (p *pointers[V]) get(key string) (*V, bool) {
	v, ok := p.tree().Get(key)
	return (*V)(v), ok
}

// last is what stands behind all others.
func (p *pointers[V]) last() (v *V, there bool) {
	_, found, there := p.tree().Max()
	return (*V)(found), there
}

// set puts v in place of what has its key, and gives that.
func (p *pointers[V]) set(key string, v *V) (old *V, replaced bool) {
	was, replaced := p.tree().Set(key, unsafe.Pointer(v))
	return (*V)(was), replaced
}

// load is set, which is fastest where keys come in ascending order.
func (p *pointers[V]) load(key string, v *V) { p.tree().Load(key, unsafe.Pointer(v)) }

func (p *pointers[V]) delete(key string) (old *V, there bool) {
	was, there := p.tree().Delete(key)
	return (*V)(was), there
}

// ascend calls yield for what stands at from and behind it, until that returns false.
func (p *pointers[V]) ascend(from string, yield func(key string, v *V) bool) {
	p.tree().Ascend(from, func(key string, v unsafe.Pointer) bool { return yield(key, (*V)(v)) })
}

// descend calls yield for what stands at from and before it, the last first.
func (p *pointers[V]) descend(from string, yield func(key string, v *V) bool) {
	p.tree().Descend(from, func(key string, v unsafe.Pointer) bool { return yield(key, (*V)(v)) })
}

// cursor walks one tree of a state in key order beside others, so that what
// several tables say of one key is put together without building a list.
type cursor[V any] struct {
	it   btree.MapIter[string, unsafe.Pointer]
	live bool
}

// behind is a cursor on the first key behind after.
func (p *pointers[V]) behind(after string) *cursor[V] {
	c := &cursor[V]{it: p.tree().Iter()}
	if c.live = c.it.Seek(after); c.live && after != "" && c.it.Key() == after {
		c.live = c.it.Next()
	}
	return c
}

// before is the lesser of key and the cursor's own; an empty key is none.
func (c *cursor[V]) before(key string) string {
	if c.live && (key == "" || c.it.Key() < key) {
		return c.it.Key()
	}
	return key
}

// take gives what stands at key and goes on; nil when the cursor is not there.
func (c *cursor[V]) take(key string) (v *V) {
	if c.live && c.it.Key() == key {
		v = (*V)(c.it.Value())
		c.live = c.it.Next()
	}
	return v
}
