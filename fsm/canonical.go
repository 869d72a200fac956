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
// microseconds, strings are valid UTF-8. The row must be the caller's own.
func canonicalize[T any](row *T) { canonicalValue(reflect.ValueOf(row).Elem()) }

func canonicalValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); !utf8.ValidString(s) {
			v.SetString(strings.ToValidUTF8(s, "\uFFFD"))
		}
	case reflect.Struct:
		if v.Type() == timeType {
			v.Set(reflect.ValueOf(canonicalTime(v.Interface().(time.Time))))
			return
		}
		for i := range v.NumField() {
			canonicalValue(v.Field(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			canonicalValue(v.Elem())
		}
	case reflect.Slice:
		canonicalSlice(v)
	case reflect.Map:
		canonicalMap(v)
	}
}

func canonicalSlice(v reflect.Value) {
	if v.Len() == 0 {
		v.SetZero()
		return
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return
	}
	for i := range v.Len() {
		canonicalValue(v.Index(i))
	}
}

func canonicalMap(v reflect.Value) {
	if v.Len() == 0 {
		v.SetZero()
		return
	}
	clean := reflect.MakeMapWithSize(v.Type(), v.Len())
	for it := v.MapRange(); it.Next(); {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.Set(it.Key())
		value.Set(it.Value())
		canonicalValue(key)
		canonicalValue(value)
		clean.SetMapIndex(key, value)
	}
	v.Set(clean)
}

// canonicalTime is t in UTC, in whole microseconds, without a monotonic part.
func canonicalTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}
