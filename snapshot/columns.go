package snapshot

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/schema"
)

// Column is a column, or a group of columns, as a file's schema has it.
type Column struct {
	Name     string // dotted; NAME[] is an element of the list NAME, NAME{key} and NAME{value} are an entry's of the map NAME
	Type     string // as parquet spells it, such as "BYTE_ARRAY STRING"; "group", "LIST" or "MAP" of what has columns below it
	Optional bool   // it may be null
	Secret   bool   // it is null in whatever leaves the cluster's own disks
}

// columnsBelow describes what lies in a group that holds a t.
func columnsBelow(group *schema.GroupNode, path string, t reflect.Type) []Column {
	var out []Column
	for i, f := range columnsOf(t) {
		described := describe(group.Field(i), strings.TrimPrefix(path+"."+f.name, "."), f.typ)
		described[0].Secret = f.secret
		out = append(out, described...)
	}
	return out
}

// describe is a place in the schema that holds a t, and all below it.
func describe(n schema.Node, path string, t reflect.Type) []Column {
	self := Column{Name: path, Optional: n.RepetitionType() == parquet.Repetitions.Optional}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	group, ok := n.(*schema.GroupNode)
	if !ok {
		self.Type = spelled(n.(*schema.PrimitiveNode))
		return []Column{self}
	}
	switch t.Kind() {
	case reflect.Slice:
		self.Type = "LIST"
		element := group.Field(0).(*schema.GroupNode).Field(0)
		return append([]Column{self}, describe(element, path+"[]", t.Elem())...)
	case reflect.Map:
		self.Type = "MAP"
		entry := group.Field(0).(*schema.GroupNode)
		out := append([]Column{self}, describe(entry.Field(0), path+"{key}", t.Key())...)
		return append(out, describe(entry.Field(1), path+"{value}", t.Elem())...)
	}
	self.Type = "group"
	return append([]Column{self}, columnsBelow(group, path, t)...)
}

// spelled is the type of a column as the parquet format writes it.
func spelled(n *schema.PrimitiveNode) string {
	physical := n.PhysicalType().String()
	switch l := n.LogicalType().(type) {
	case schema.NoLogicalType:
		return physical
	case *schema.IntLogicalType:
		return fmt.Sprintf("%s INT(%d,%v)", physical, l.BitWidth(), l.IsSigned())
	case *schema.TimestampLogicalType:
		return fmt.Sprintf("%s TIMESTAMP(isAdjustedToUTC=%v, unit=%s)", physical, l.IsAdjustedToUTC(), unitNames[l.TimeUnit()])
	default:
		return physical + " " + strings.ToUpper(l.String())
	}
}

var unitNames = map[schema.TimeUnitType]string{schema.TimeUnitMillis: "MILLIS", schema.TimeUnitMicros: "MICROS", schema.TimeUnitNanos: "NANOS"}
