package snapshot

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/schema"
)

// kind is how one sort of Go value lies in a parquet column. put appends v to a
// column; take sets v to the value that the cursor stands on.
type kind struct {
	physical parquet.Type
	logical  schema.LogicalType
	put      func(c *column, v reflect.Value) error
	take     func(c *cursor, v reflect.Value) error
}

var (
	boolean  = &kind{parquet.Types.Boolean, nil, putBool, takeBool}
	signed   = &kind{parquet.Types.Int64, schema.NewIntLogicalType(64, true), putInt, takeInt}
	unsigned = &kind{parquet.Types.Int64, schema.NewIntLogicalType(64, false), putUint, takeUint}
	moment   = &kind{parquet.Types.Int64, schema.NewTimestampLogicalType(true, schema.TimeUnitMicros), putTime, takeTime}
	text     = &kind{parquet.Types.ByteArray, schema.StringLogicalType{}, putString, takeString}
	blob     = &kind{parquet.Types.ByteArray, nil, putBytes, takeBytes}
	jsonText = &kind{parquet.Types.ByteArray, schema.JSONLogicalType{}, putBytes, takeBytes}
)

// kindOf is the kind of column that holds a t, nil if t is no leaf.
func kindOf(t reflect.Type) *kind {
	switch t.Kind() {
	case reflect.Bool:
		return boolean
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		return signed
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		return unsigned
	case reflect.String:
		return text
	case reflect.Struct:
		if t == timeType {
			return moment
		}
	case reflect.Slice:
		if t == jsonType {
			return jsonText
		}
		if t.Elem().Kind() == reflect.Uint8 {
			return blob
		}
	}
	return nil
}

func putBool(c *column, v reflect.Value) error {
	c.bools = append(c.bools, v.Bool())
	return nil
}

func takeBool(c *cursor, v reflect.Value) error {
	v.SetBool(c.bools[c.value])
	return nil
}

func putInt(c *column, v reflect.Value) error {
	c.ints = append(c.ints, v.Int())
	return nil
}

func takeInt(c *cursor, v reflect.Value) error {
	n := c.ints[c.value]
	if v.OverflowInt(n) {
		return fmt.Errorf("%d does not fit %v", n, v.Type())
	}
	v.SetInt(n)
	return nil
}

// An unsigned integer keeps its 64 bits; its logical type says how to read them.
func putUint(c *column, v reflect.Value) error {
	c.ints = append(c.ints, int64(v.Uint()))
	return nil
}

func takeUint(c *cursor, v reflect.Value) error {
	n := uint64(c.ints[c.value])
	if v.OverflowUint(n) {
		return fmt.Errorf("%d does not fit %v", n, v.Type())
	}
	v.SetUint(n)
	return nil
}

func putTime(c *column, v reflect.Value) error {
	t := timeIn(v)
	if s := t.Unix(); s <= math.MinInt64/1_000_000 || s >= math.MaxInt64/1_000_000 {
		return fmt.Errorf("the year %d is out of reach of microseconds", t.Year())
	}
	c.ints = append(c.ints, t.UnixMicro())
	return nil
}

// timeIn is the time in v, without a copy on the heap where v has an address (map values have none).
func timeIn(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time)
}

func takeTime(c *cursor, v reflect.Value) error {
	*(v.Addr().Interface().(*time.Time)) = time.UnixMicro(c.ints[c.value]).UTC()
	return nil
}

func putString(c *column, v reflect.Value) error {
	s := v.String()
	if !utf8.ValidString(s) {
		return errors.New("a string that is not UTF-8, which other readers of the file would refuse")
	}
	c.putBytes(unsafe.Slice(unsafe.StringData(s), len(s)))
	return nil
}

// takeString copies: a string must not keep its whole page alive. Equal
// neighbours share one copy, which is most of a column of states or names.
func takeString(c *cursor, v reflect.Value) error {
	if b := c.bytes[c.value]; string(b) != c.last {
		c.last = string(b)
	}
	v.SetString(c.last)
	return nil
}

func putBytes(c *column, v reflect.Value) error {
	c.putBytes(v.Bytes())
	return nil
}

func takeBytes(c *cursor, v reflect.Value) error {
	v.SetBytes(append([]byte{}, c.bytes[c.value]...))
	return nil
}
