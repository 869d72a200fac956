package fsm

import "github.com/tidwall/btree"

// cursor walks one tree of a state in key order beside others, so that what
// several tables say of one key is put together without building a list.
type cursor[V any] struct {
	it   btree.MapIter[string, V]
	live bool
}

// behind is a cursor on the first key behind after.
func behind[V any](m *btree.Map[string, V], after string) *cursor[V] {
	c := &cursor[V]{it: m.Iter()}
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

// take gives what stands at key and goes on; nothing when the cursor is not there.
func (c *cursor[V]) take(key string) (v V) {
	if c.live && c.it.Key() == key {
		v = c.it.Value()
		c.live = c.it.Next()
	}
	return v
}
