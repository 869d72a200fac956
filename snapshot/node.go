package snapshot

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// maxElements bounds one list or map when reading, because a few bytes of
// run-length encoded levels can claim billions of empty elements.
const maxElements = 1 << 22

// node is a place in the schema. shred and assemble mirror each other: what one
// appends to the columns below the node, the other takes from them.
type node interface {
	// shred appends v; rep is the repetition level of its first entry.
	shred(out []*column, v reflect.Value, rep int16) error
	// assemble sets v, which is zero, from entries the first of which has repetition level rep.
	assemble(in []*cursor, v reflect.Value, rep int16) error
}

// leaf is one parquet column.
type leaf struct {
	place
	column int
	kind   *kind
}

func (l *leaf) shred(out []*column, v reflect.Value, rep int16) error {
	c := out[l.column]
	c.level(rep, l.def)
	if err := l.kind.put(c, v); err != nil {
		return fmt.Errorf("column %s: %w", l.path, err)
	}
	return nil
}

func (l *leaf) assemble(in []*cursor, v reflect.Value, rep int16) error {
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
	if err := l.kind.take(c, v); err != nil {
		return fmt.Errorf("column %s: %w", l.path, err)
	}
	c.value++
	return nil
}

// group is a struct.
type group struct{ fields []field }

type field struct {
	index []int
	node  node
}

func (g *group) shred(out []*column, v reflect.Value, rep int16) error {
	for i := range g.fields {
		if err := g.fields[i].node.shred(out, v.FieldByIndex(g.fields[i].index), rep); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) assemble(in []*cursor, v reflect.Value, rep int16) error {
	for i := range g.fields {
		if err := g.fields[i].node.assemble(in, v.FieldByIndex(g.fields[i].index), rep); err != nil {
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
	isNull  func(reflect.Value) bool
	pointer bool // the value is behind a pointer
}

func (o *optional) shred(out []*column, v reflect.Value, rep int16) error {
	if o.isNull(v) {
		o.absent(out, rep, o.def-1)
		return nil
	}
	if o.pointer {
		v = v.Elem()
	}
	return o.inner.shred(out, v, rep)
}

func (o *optional) assemble(in []*cursor, v reflect.Value, rep int16) error {
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
	if o.pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	return o.inner.assemble(in, v, rep)
}

// list is a slice that is there. Its place is that of its elements.
type list struct {
	span
	place
	element node
}

func (l *list) shred(out []*column, v reflect.Value, rep int16) error {
	if v.Len() == 0 {
		l.absent(out, rep, l.def-1)
		return nil
	}
	for i := range v.Len() {
		if err := l.element.shred(out, v.Index(i), rep); err != nil {
			return err
		}
		rep = l.rep
	}
	return nil
}

func (l *list) assemble(in []*cursor, v reflect.Value, rep int16) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return l.each(in, rep, l.place, func(i int, rep int16) error {
		if i == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(i + 1)
		return l.element.assemble(in, v.Index(i), rep)
	})
}

// mapping is a map that is there. Its place is that of its values.
type mapping struct {
	span
	place
	key, value node
}

func (m *mapping) shred(out []*column, v reflect.Value, rep int16) error {
	if v.Len() == 0 {
		m.absent(out, rep, m.def-1)
		return nil
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		if err := m.key.shred(out, k, rep); err != nil {
			return err
		}
		if err := m.value.shred(out, v.MapIndex(k), rep); err != nil {
			return err
		}
		rep = m.rep
	}
	return nil
}

func (m *mapping) assemble(in []*cursor, v reflect.Value, rep int16) error {
	t := v.Type()
	v.Set(reflect.MakeMap(t))
	return m.each(in, rep, m.place, func(i int, rep int16) error {
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := m.key.assemble(in, key, rep); err != nil {
			return err
		}
		if err := m.value.assemble(in, value, rep); err != nil {
			return err
		}
		if v.SetMapIndex(key, value); v.Len() != i+1 {
			return fmt.Errorf("column %s: the key %q comes twice", m.path, key.String())
		}
		return nil
	})
}

// absent says in each column below that nothing is defined beyond def.
func (s span) absent(out []*column, rep, def int16) {
	for _, c := range out[s.lo:s.hi] {
		c.level(rep, def)
	}
}

// skip takes what absent appended.
func (s span) skip(in []*cursor, rep, def int16) error {
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
func (s span) each(in []*cursor, rep int16, at place, f func(i int, rep int16) error) error {
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
