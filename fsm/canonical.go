package fsm

import (
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

var timeType = reflect.TypeFor[time.Time]()

// canonicalize brings a row into the one form that survives a snapshot
// unchanged: empty slices and maps are nil, times are UTC in whole
// microseconds, strings are valid UTF-8. The row must be the caller's own; what its
// slices, maps and pointers lead to may be shared with the row as it was, which others
// read meanwhile. That was made canonical when it was stored, and what is canonical is
// not written to, not even with the same value.
func canonicalize[T any](row *T) {
	if coded, ok := any(row).(canonicalCoded); ok {
		coded.canonicalize()
		return
	}
	canonicalValue(reflect.ValueOf(row).Elem())
}

// canonicalValue tells whether it had to write.
func canonicalValue(v reflect.Value) (written bool) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); !utf8.ValidString(s) {
			v.SetString(strings.ToValidUTF8(s, "\uFFFD"))
			return true
		}
	case reflect.Struct:
		if v.Type() == timeType {
			return canonicalTimeValue(v)
		}
		for i := range v.NumField() {
			written = canonicalValue(v.Field(i)) || written
		}
	case reflect.Pointer:
		return !v.IsNil() && canonicalValue(v.Elem())
	case reflect.Slice:
		return canonicalSlice(v)
	case reflect.Map:
		return canonicalMap(v)
	}
	return written
}

func canonicalTimeValue(v reflect.Value) (written bool) {
	at := v.Addr().Interface().(*time.Time)
	was := *at
	canonicalTimeIn(at)
	return *at != was
}

func canonicalSlice(v reflect.Value) (written bool) {
	if v.Len() == 0 {
		return emptied(v)
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return false
	}
	for i := range v.Len() {
		written = canonicalValue(v.Index(i)) || written
	}
	return written
}

// canonicalMap puts a new map in place of one that holds anything that is not canonical.
func canonicalMap(v reflect.Value) (written bool) {
	if v.Len() == 0 {
		return emptied(v)
	}
	clean := reflect.MakeMapWithSize(v.Type(), v.Len())
	for it := v.MapRange(); it.Next(); {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.Set(it.Key())
		value.Set(it.Value())
		written = canonicalValue(key) || written
		written = canonicalValue(value) || written
		clean.SetMapIndex(key, value)
	}
	if written {
		v.Set(clean)
	}
	return written
}

// emptied makes an empty slice or map nil.
func emptied(v reflect.Value) (written bool) {
	if v.IsNil() {
		return false
	}
	v.SetZero()
	return true
}

// canonicalTime is t in UTC, in whole microseconds, without a monotonic part.
func canonicalTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}
