package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/schema"
)

// place is where in the schema a type stands. Levels are those of Dremel
// (Melnik et al., "Dremel: Interactive Analysis of Web-Scale Datasets", VLDB
// 2010): def counts the optional and repeated ancestors that are there, rep the
// repeated ones.
type place struct {
	name string // of its own
	path string // of its leaf column, dotted, without the root
	def  uint8
	rep  uint8
}

func (p place) child(name string) place {
	p.name, p.path = name, strings.TrimPrefix(p.path+"."+name, ".")
	return p
}

// element is what repeats below a list or map.
func (p place) element(group, name string) place {
	p = p.child(group)
	p.def++
	p.rep++
	return p.child(name)
}

// span is the range of leaf columns below a node.
type span struct{ lo, hi int }

// compiler makes the nodes of a type and, beside them, its parquet schema.
type compiler struct {
	leaves []*leaf
	open   []reflect.Type // being compiled, so that a type inside itself is noticed
}

var (
	timeType = reflect.TypeFor[time.Time]()
	jsonType = reflect.TypeFor[json.RawMessage]()
)

// value compiles a type that may be null: by its nature, or because its field
// says that the zero value is.
func (c *compiler) value(at place, t reflect.Type, zeroIsNull bool) (node, schema.Node, error) {
	inner := t
	var behind reflect.Type
	switch {
	case t.Kind() == reflect.Pointer:
		inner = t.Elem()
		behind = inner
		if nullable(inner) && inner != timeType {
			return nil, nil, fmt.Errorf("%s: %v would have two ways to be null", at.path, t)
		}
	case nullable(t), zeroIsNull:
	default:
		return c.bare(at, t, parquet.Repetitions.Required)
	}
	if at.def++; at.def >= maxLevel {
		return nil, nil, fmt.Errorf("%s: nested too deep", at.path)
	}
	lo := len(c.leaves)
	n, s, err := c.bare(at, inner, parquet.Repetitions.Optional)
	return &optional{span{lo, len(c.leaves)}, n, at, isNull(t), behind}, s, err
}

// maxLevel bounds the depth of a type; levels are one byte.
const maxLevel = 100

// isNull tells of a value of t whether it is the one that stands for nothing.
func isNull(t reflect.Type) func(unsafe.Pointer) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map: // which begin with a pointer
		return func(p unsafe.Pointer) bool { return *(*unsafe.Pointer)(p) == nil }
	case reflect.String:
		return func(p unsafe.Pointer) bool { return *(*string)(p) == "" }
	}
	if t == timeType {
		return func(p unsafe.Pointer) bool { return (*time.Time)(p).IsZero() }
	}
	return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Elem().IsZero() }
}

// nullable tells whether a type has a value that stands for nothing.
func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return true
	}
	return t == timeType
}

// bare compiles a type that is there.
func (c *compiler) bare(at place, t reflect.Type, r parquet.Repetition) (node, schema.Node, error) {
	if v := scalarOf(t); v != nil {
		l := &leaf{at, v, len(c.leaves)}
		c.leaves = append(c.leaves, l)
		s, err := schema.NewPrimitiveNodeLogical(at.name, r, v.kind.logical, v.kind.physical, 0, -1)
		return l, s, err
	}
	if slices.Contains(c.open, t) {
		return nil, nil, fmt.Errorf("%s: %v contains itself", at.path, t)
	}
	c.open = append(c.open, t)
	defer func() { c.open = c.open[:len(c.open)-1] }()

	switch {
	case t.Kind() == reflect.Struct:
		return c.group(at, t, r)
	case t.Kind() == reflect.Slice:
		return c.list(at, t, r)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		return c.mapping(at, t, r)
	}
	return nil, nil, fmt.Errorf("%s: columns cannot hold %v", at.path, t)
}

func (c *compiler) group(at place, t reflect.Type, r parquet.Repetition) (node, schema.Node, error) {
	g := &group{}
	var kids schema.FieldList
	taken := map[string]bool{}
	for _, f := range columnsOf(t) {
		if f.err != nil {
			return nil, nil, fmt.Errorf("%s: %w", at.child(f.name).path, f.err)
		}
		folded := strings.ToLower(f.name) // as query engines compare names
		if taken[folded] {
			return nil, nil, fmt.Errorf("%s: two columns of this name", at.child(f.name).path)
		}
		taken[folded] = true
		n, s, err := c.value(at.child(f.name), f.typ, f.zeroIsNull)
		if err != nil {
			return nil, nil, err
		}
		g.fields = append(g.fields, field{f.offset, n})
		kids = append(kids, s)
	}
	if len(kids) == 0 {
		return nil, nil, fmt.Errorf("%s: %v has no columns", at.path, t)
	}
	s, err := schema.NewGroupNode(at.name, r, kids, -1)
	return g, s, err
}

func (c *compiler) list(at place, t reflect.Type, r parquet.Repetition) (node, schema.Node, error) {
	inner := at.element("list", "element")
	lo := len(c.leaves)
	elem, s, err := c.value(inner, t.Elem(), false)
	if err != nil {
		return nil, nil, err
	}
	repeated, err := schema.NewGroupNode("list", parquet.Repetitions.Repeated, schema.FieldList{s}, -1)
	if err != nil {
		return nil, nil, err
	}
	outer, err := schema.NewGroupNodeLogical(at.name, r, schema.FieldList{repeated}, schema.NewListLogicalType(), -1)
	return &list{span{lo, len(c.leaves)}, inner, t, t.Elem().Size(), elem}, outer, err
}

func (c *compiler) mapping(at place, t reflect.Type, r parquet.Repetition) (node, schema.Node, error) {
	inner := at.element("key_value", "value")
	lo := len(c.leaves)
	key, keySchema, err := c.bare(at.element("key_value", "key"), t.Key(), parquet.Repetitions.Required)
	if err != nil {
		return nil, nil, err
	}
	value, valueSchema, err := c.value(inner, t.Elem(), false)
	if err != nil {
		return nil, nil, err
	}
	repeated, err := schema.NewGroupNode("key_value", parquet.Repetitions.Repeated, schema.FieldList{keySchema, valueSchema}, -1)
	if err != nil {
		return nil, nil, err
	}
	outer, err := schema.NewGroupNodeLogical(at.name, r, schema.FieldList{repeated}, schema.MapLogicalType{}, -1)
	return &mapping{span: span{lo, len(c.leaves)}, place: inner, typ: t, key: key, value: value}, outer, err
}

// structColumn is a field of a struct as a column.
type structColumn struct {
	name       string
	offset     uintptr // in the outermost struct
	typ        reflect.Type
	zeroIsNull bool
	secret     bool
	err        error
}

// columnsOf lists the fields of t that are columns, those of embedded structs inlined.
func columnsOf(t reflect.Type) []structColumn {
	var out []structColumn
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" {
			continue
		}
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct && f.Type != timeType {
			if isSecret(f) {
				out = append(out, structColumn{name: f.Name, err: errors.New("a secret cannot be an embedded struct; name the field, or tag the fields in it")})
			}
			for _, inner := range columnsOf(f.Type) {
				inner.offset += f.Offset
				out = append(out, inner)
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		if !tagged || name == "" {
			name = f.Name
		}
		col := structColumn{name: name, offset: f.Offset, typ: f.Type, secret: isSecret(f)}
		given := strings.Split(options, ",")
		col.zeroIsNull = slices.Contains(given, "omitzero") ||
			slices.Contains(given, "omitempty") && scalarOf(f.Type) != nil
		switch secret := f.Tag.Get(secretTag); {
		case strings.Contains(name, "."):
			col.err = fmt.Errorf("a column name cannot hold a dot")
		case f.Anonymous && f.Type.Kind() == reflect.Pointer:
			col.err = fmt.Errorf("an embedded pointer cannot be inlined")
		case secret != "" && secret != "true":
			col.err = fmt.Errorf("the tag %s is \"true\" or not there, not %q", secretTag, secret)
		case secret != "" && !col.zeroIsNull && !nullable(f.Type):
			col.err = errors.New("a secret must be optional, so that it can be left out: tag it omitempty or omitzero, or make it a pointer")
		}
		out = append(out, col)
	}
	return out
}
