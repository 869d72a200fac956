package snapshot

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// maxElements bounds one list or map when reading, because a few bytes of
// run-length encoded levels can claim billions of empty elements.
const maxElements = 1 << 22

// node is a place in the schema. shred and assemble mirror each other: what one
// appends to the columns below the node, the other takes from them. They work on
// memory and not on reflect.Value, which takes twice as long; the compiler of the
// schema sees to it that a node is handed pointers to its own type.
type node interface {
	// shred appends the value at from; rep is the repetition level of its first entry.
	shred(out []*column, from unsafe.Pointer, rep uint8) error
	// assemble sets the value at to, which is zero, from entries the first of which has repetition level rep.
	assemble(in []*cursor, to unsafe.Pointer, rep uint8) error
}

// leaf is one parquet column.
type leaf struct {
	place
	*scalar
	column int
}

func (l *leaf) shred(out []*column, from unsafe.Pointer, rep uint8) error {
	c := out[l.column]
	c.level(rep, l.def)
	if err := l.put(c, from); err != nil {
		return fmt.Errorf("column %s: %w", l.path, err)
	}
	c.turn()
	return nil
}

func (l *leaf) assemble(in []*cursor, to unsafe.Pointer, rep uint8) error {
	c := in[l.column]
	if c == nil {
		return fmt.Errorf("column %s: the file has none, and it is not optional", l.path)
	}
	if err := c.take(rep, l.def); err != nil {
		return err
	}
	if c.value >= c.values {
		return fmt.Errorf("column %s: fewer values than its levels say", l.path)
	}
	if err := l.take(c, to); err != nil {
		return fmt.Errorf("column %s: %w", l.path, err)
	}
	c.value++
	return nil
}

// group is a struct.
type group struct{ fields []field }

type field struct {
	offset uintptr // in the struct
	node   node
}

func (g *group) shred(out []*column, from unsafe.Pointer, rep uint8) error {
	for i := range g.fields {
		f := &g.fields[i]
		if err := f.node.shred(out, unsafe.Add(from, f.offset), rep); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) assemble(in []*cursor, to unsafe.Pointer, rep uint8) error {
	for i := range g.fields {
		f := &g.fields[i]
		if err := f.node.assemble(in, unsafe.Add(to, f.offset), rep); err != nil {
			return err
		}
	}
	return nil
}

// optional is a value that can be null.
type optional struct {
	span
	inner node
	place
	isNull func(unsafe.Pointer) bool
	behind reflect.Type // what a pointer points to; nil if the value is not behind one
}

func (o *optional) shred(out []*column, from unsafe.Pointer, rep uint8) error {
	if o.isNull(from) {
		o.absent(out, rep, o.def-1)
		return nil
	}
	if o.behind != nil {
		from = *(*unsafe.Pointer)(from)
	}
	return o.inner.shred(out, from, rep)
}

func (o *optional) assemble(in []*cursor, to unsafe.Pointer, rep uint8) error {
	c := o.first(in)
	if c == nil {
		return nil // the file is older than this column
	}
	def, err := c.peek()
	if err != nil {
		return err
	}
	if def < o.def {
		return o.skip(in, rep, o.def-1)
	}
	if o.behind != nil {
		made := reflect.New(o.behind).UnsafePointer()
		*(*unsafe.Pointer)(to) = made
		to = made
	}
	return o.inner.assemble(in, to, rep)
}

// list is a slice that is there. Its place is that of its elements.
type list struct {
	span
	place
	slice   reflect.Type
	size    uintptr // of an element
	element node
}

// elements is a slice of any type.
type elements struct {
	first unsafe.Pointer
	n     int
}

func (l *list) shred(out []*column, from unsafe.Pointer, rep uint8) error {
	v := (*elements)(from)
	if v.n == 0 {
		l.absent(out, rep, l.def-1)
		return nil
	}
	for i := range v.n {
		if err := l.element.shred(out, unsafe.Add(v.first, uintptr(i)*l.size), rep); err != nil {
			return err
		}
		rep = l.rep
	}
	return nil
}

func (l *list) assemble(in []*cursor, to unsafe.Pointer, rep uint8) error {
	v := reflect.NewAt(l.slice, to).Elem()
	v.Set(reflect.MakeSlice(l.slice, 0, 0))
	return l.each(in, rep, l.place, func(i int, rep uint8) error {
		if i == 0 {
			v.Grow(l.first(in).repeats(l.rep))
		} else if i == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(i + 1)
		return l.element.assemble(in, unsafe.Add(v.UnsafePointer(), uintptr(i)*l.size), rep)
	})
}

// mapping is a map that is there. Its place is that of its values.
type mapping struct {
	span
	place
	typ        reflect.Type
	key, value node
	entries    sync.Pool // of *mapEntries
}

func (m *mapping) shred(out []*column, from unsafe.Pointer, rep uint8) error {
	v := reflect.NewAt(m.typ, from).Elem()
	if v.Len() == 0 {
		m.absent(out, rep, m.def-1)
		return nil
	}
	e := m.sorted(v)
	defer m.done(e)
	for _, i := range e.order {
		if err := m.key.shred(out, e.keys.Index(i).Addr().UnsafePointer(), rep); err != nil {
			return err
		}
		if err := m.value.shred(out, e.values.Index(i).Addr().UnsafePointer(), rep); err != nil {
			return err
		}
		rep = m.rep
	}
	return nil
}

// mapEntries are the entries of a map, copied to where they have addresses. Its
// room is used again: a map in each row would otherwise be most of the garbage.
type mapEntries struct {
	keys, values reflect.Value // slices
	order        []int         // ascending by key
}

// sorted gives the entries of v until they are done with.
func (m *mapping) sorted(v reflect.Value) *mapEntries {
	e, _ := m.entries.Get().(*mapEntries)
	if n := v.Len(); e == nil || e.keys.Len() < n {
		e = &mapEntries{keys: reflect.MakeSlice(reflect.SliceOf(m.typ.Key()), 2*n, 2*n), values: reflect.MakeSlice(reflect.SliceOf(m.typ.Elem()), 2*n, 2*n)}
	}
	for it := v.MapRange(); it.Next(); {
		i := len(e.order)
		e.keys.Index(i).SetIterKey(it)
		e.values.Index(i).SetIterValue(it)
		e.order = append(e.order, i)
	}
	slices.SortFunc(e.order, func(a, b int) int { return strings.Compare(e.keys.Index(a).String(), e.keys.Index(b).String()) })
	return e
}

// done lets go of what the entries point to.
func (m *mapping) done(e *mapEntries) {
	e.keys.Clear()
	e.values.Clear()
	e.order = e.order[:0]
	m.entries.Put(e)
}

func (m *mapping) assemble(in []*cursor, to unsafe.Pointer, rep uint8) error {
	v := reflect.NewAt(m.typ, to).Elem()
	v.Set(reflect.MakeMap(m.typ))
	return m.each(in, rep, m.place, func(i int, rep uint8) error {
		key, value := reflect.New(m.typ.Key()), reflect.New(m.typ.Elem())
		if err := m.key.assemble(in, key.UnsafePointer(), rep); err != nil {
			return err
		}
		if err := m.value.assemble(in, value.UnsafePointer(), rep); err != nil {
			return err
		}
		if v.SetMapIndex(key.Elem(), value.Elem()); v.Len() != i+1 {
			return fmt.Errorf("column %s: the key %q comes twice", m.path, key.Elem().String())
		}
		return nil
	})
}

// absent says in each column below that nothing is defined beyond def.
func (s span) absent(out []*column, rep, def uint8) {
	for _, c := range out[s.lo:s.hi] {
		c.level(rep, def)
	}
}

// skip takes what absent appended.
func (s span) skip(in []*cursor, rep, def uint8) error {
	for _, c := range in[s.lo:s.hi] {
		if c == nil {
			continue
		}
		if err := c.take(rep, def); err != nil {
			return err
		}
	}
	return nil
}

// first is the first column below that the file has; its levels speak for all.
func (s span) first(in []*cursor) *cursor {
	for _, c := range in[s.lo:s.hi] {
		if c != nil {
			return c
		}
	}
	return nil
}

// each calls f for each element of the list or map whose elements stand at at.
func (s span) each(in []*cursor, rep uint8, at place, f func(i int, rep uint8) error) error {
	c := s.first(in)
	if c == nil {
		return errors.New("no column below " + at.path)
	}
	def, err := c.peek()
	if err != nil {
		return err
	}
	if def < at.def {
		return s.skip(in, rep, at.def-1)
	}
	for i := 0; ; i++ {
		if i == maxElements {
			return fmt.Errorf("column %s: more than %d elements in one row", at.path, maxElements)
		}
		if err := f(i, rep); err != nil {
			return err
		}
		if !c.more(at.rep) {
			return nil
		}
		rep = at.rep
	}
}
