package snapshot

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
)

// secretTag marks the field of a row that leaves the cluster's own disks only as
// null: `secret:"true"`. NewCodec sees to it that null is possible.
const secretTag = "secret"

// Redacted gives a copy of row in which every field tagged secret:"true" is zero,
// however deep it lies below structs, pointers, slices and maps. What holds no secret
// is shared with row, which does not change. A row of a type without secrets is
// given back itself. T must be a type that NewCodec takes.
func Redacted[T any](row *T) *T {
	blank := blankerOf(reflect.TypeFor[T]())
	if blank == nil || row == nil {
		return row
	}
	out := *row
	blank(reflect.ValueOf(&out).Elem())
	return &out
}

// blanker takes the secrets out of a value that can be set. What the value only
// refers to may be somebody else's, so it is copied before it is changed.
type blanker func(reflect.Value)

// blankers are those of the row types seen so far; nil where a type has no secrets.
var blankers sync.Map // of reflect.Type to blanker

func blankerOf(t reflect.Type) blanker {
	if b, known := blankers.Load(t); known {
		return b.(blanker)
	}
	b := newBlanker(t, nil)
	blankers.Store(t, b)
	return b
}

// newBlanker compiles the blanker of t, which lies inside the types that are open.
func newBlanker(t reflect.Type, open []reflect.Type) blanker {
	if scalarOf(t) != nil {
		return nil
	}
	if slices.Contains(open, t) {
		panic(fmt.Sprintf("snapshot: %v contains itself, so it is no row", t))
	}
	open = append(slices.Clip(open), t)
	switch t.Kind() {
	case reflect.Struct:
		return blankFields(t, open)
	case reflect.Pointer:
		return blankBehind(t, newBlanker(t.Elem(), open))
	case reflect.Slice:
		return blankElements(t, newBlanker(t.Elem(), open))
	case reflect.Map:
		return blankValues(t, newBlanker(t.Elem(), open))
	}
	return nil
}

// blankFields follows the fields that are columns, and blanks those that are secret.
func blankFields(t reflect.Type, open []reflect.Type) blanker {
	type step struct {
		field int
		blank blanker
	}
	var steps []step
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("json") == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		blank := blanker(reflect.Value.SetZero)
		if !isSecret(f) {
			blank = newBlanker(f.Type, open)
		}
		if blank != nil {
			steps = append(steps, step{i, blank})
		}
	}
	if len(steps) == 0 {
		return nil
	}
	return func(v reflect.Value) {
		for _, s := range steps {
			s.blank(v.Field(s.field))
		}
	}
}

// isSecret takes any tag but an empty one for the word: a misspelt one must not let a secret out.
func isSecret(f reflect.StructField) bool { return f.Tag.Get(secretTag) != "" }

func blankBehind(t reflect.Type, blank blanker) blanker {
	if blank == nil {
		return nil
	}
	return func(v reflect.Value) {
		if v.IsNil() {
			return
		}
		own := reflect.New(t.Elem())
		own.Elem().Set(v.Elem())
		blank(own.Elem())
		v.Set(own)
	}
}

func blankElements(t reflect.Type, blank blanker) blanker {
	if blank == nil {
		return nil
	}
	return func(v reflect.Value) {
		if v.IsNil() {
			return
		}
		own := reflect.MakeSlice(t, v.Len(), v.Len())
		reflect.Copy(own, v)
		for i := range own.Len() {
			blank(own.Index(i))
		}
		v.Set(own)
	}
}

func blankValues(t reflect.Type, blank blanker) blanker {
	if blank == nil {
		return nil
	}
	return func(v reflect.Value) {
		if v.IsNil() {
			return
		}
		own := reflect.MakeMapWithSize(t, v.Len())
		for it := v.MapRange(); it.Next(); {
			value := reflect.New(t.Elem()).Elem()
			value.SetIterValue(it)
			blank(value)
			own.SetMapIndex(it.Key(), value)
		}
		v.Set(own)
	}
}
