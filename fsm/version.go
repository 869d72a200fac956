package fsm

import (
	"reflect"
	"sync"
)

// Rows that a client may change under If-Match have a field Version, which counts
// their changes from 1.

// versionFields are the places of Version in the types of rows; nil where a type has none.
var versionFields sync.Map // reflect.Type to []int

// versionOf is the version of a row, given as a pointer or by value; 0 where its table counts none.
func versionOf(row any) uint64 {
	v := reflect.ValueOf(row)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return 0
	}
	at, known := versionFields.Load(v.Type())
	if !known {
		at, _ = versionFields.LoadOrStore(v.Type(), versionField(v.Type()))
	}
	if index := at.([]int); index != nil {
		return v.FieldByIndex(index).Uint()
	}
	return 0
}

// versionField is where a type of rows has its version. A Version that is text is
// somebody else's: of a package, say.
func versionField(t reflect.Type) []int {
	f, there := t.FieldByName("Version")
	if !there || f.Type.Kind() != reflect.Uint64 {
		return nil
	}
	return f.Index
}
