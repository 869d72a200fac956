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

// kind is how one sort of value lies in a parquet column.
type kind struct {
	physical parquet.Type
	logical  schema.LogicalType
	text     bool // bytes of any number
}

var (
	boolean  = &kind{physical: parquet.Types.Boolean}
	signed   = &kind{physical: parquet.Types.Int64, logical: schema.NewIntLogicalType(64, true)}
	unsigned = &kind{physical: parquet.Types.Int64, logical: schema.NewIntLogicalType(64, false)}
	moment   = &kind{physical: parquet.Types.Int64, logical: schema.NewTimestampLogicalType(true, schema.TimeUnitMicros)}
	text     = &kind{physical: parquet.Types.ByteArray, logical: schema.StringLogicalType{}, text: true}
	blob     = &kind{physical: parquet.Types.ByteArray, text: true}
	jsonText = &kind{physical: parquet.Types.ByteArray, logical: schema.JSONLogicalType{}, text: true}
)

// scalar is a Go type that is one value. The pointers that put and take are
// given point to a value of exactly that type.
type scalar struct {
	kind *kind
	// put appends the value to a column.
	put func(c *column, from unsafe.Pointer) error
	// take sets the value to the one that the cursor stands on.
	take func(c *cursor, to unsafe.Pointer) error
}

// scalarOf is how columns hold a t, nil if t is no single value.
func scalarOf(t reflect.Type) *scalar {
	switch t.Kind() {
	case reflect.Bool:
		return &scalar{boolean, putBool, takeBool}
	case reflect.Int:
		return integer[int](signed)
	case reflect.Int64:
		return integer[int64](signed)
	case reflect.Int32:
		return integer[int32](signed)
	case reflect.Int16:
		return integer[int16](signed)
	case reflect.Int8:
		return integer[int8](signed)
	case reflect.Uint:
		return integer[uint](unsigned)
	case reflect.Uint64:
		return integer[uint64](unsigned)
	case reflect.Uint32:
		return integer[uint32](unsigned)
	case reflect.Uint16:
		return integer[uint16](unsigned)
	case reflect.Uint8:
		return integer[uint8](unsigned)
	case reflect.String:
		return &scalar{text, putString, takeString}
	case reflect.Struct:
		if t == timeType {
			return &scalar{moment, putTime, takeTime}
		}
	case reflect.Slice:
		if t == jsonType {
			return &scalar{jsonText, putBytes, takeBytes}
		}
		if t.Elem().Kind() == reflect.Uint8 {
			return &scalar{blob, putBytes, takeBytes}
		}
	}
	return nil
}

func putBool(c *column, from unsafe.Pointer) error {
	c.putBool(*(*bool)(from))
	return nil
}

func takeBool(c *cursor, to unsafe.Pointer) error {
	*(*bool)(to) = c.bools[c.value]
	return nil
}

// integer is an integer type. An unsigned one keeps its 64 bits; its logical
// type says how to read them.
func integer[N int | int64 | int32 | int16 | int8 | uint | uint64 | uint32 | uint16 | uint8](k *kind) *scalar {
	put := func(c *column, from unsafe.Pointer) error {
		c.putInt(int64(*(*N)(from)))
		return nil
	}
	take := func(c *cursor, to unsafe.Pointer) error {
		n := c.ints[c.value]
		if int64(N(n)) != n {
			if k == unsigned {
				return fmt.Errorf("%d does not fit %T", uint64(n), N(0))
			}
			return fmt.Errorf("%d does not fit %T", n, N(0))
		}
		*(*N)(to) = N(n)
		return nil
	}
	return &scalar{k, put, take}
}

func putTime(c *column, from unsafe.Pointer) error {
	t := *(*time.Time)(from)
	if s := t.Unix(); s <= math.MinInt64/1_000_000 || s >= math.MaxInt64/1_000_000 {
		return fmt.Errorf("the year %d is out of reach of microseconds", t.Year())
	}
	c.putInt(t.UnixMicro())
	return nil
}

func takeTime(c *cursor, to unsafe.Pointer) error {
	*(*time.Time)(to) = time.UnixMicro(c.ints[c.value]).UTC()
	return nil
}

func putString(c *column, from unsafe.Pointer) error {
	s := *(*string)(from)
	if !utf8.ValidString(s) {
		return errors.New("a string that is not UTF-8, which other readers of the file would refuse")
	}
	c.putText(s)
	return nil
}

// takeString copies: a string must not keep its whole page alive. Equal
// neighbours share one copy, which is most of a column of states or names.
func takeString(c *cursor, to unsafe.Pointer) error {
	if b := c.bytes[c.value]; string(b) != c.last {
		c.last = c.strings.keep(b)
	}
	*(*string)(to) = c.last
	return nil
}

func putBytes(c *column, from unsafe.Pointer) error {
	b := *(*[]byte)(from)
	c.putText(unsafe.String(unsafe.SliceData(b), len(b)))
	return nil
}

func takeBytes(c *cursor, to unsafe.Pointer) error {
	*(*[]byte)(to) = append([]byte{}, c.bytes[c.value]...)
	return nil
}

// arena keeps the strings of a row or two together in blocks: one object for
// the collector to mark instead of thirty, and nothing lost to size classes. A
// string that outlives its row keeps its block alive, so blocks are small.
type arena struct{ block []byte }

const (
	arenaBlock = 1 << 10
	arenaLong  = arenaBlock / 4 // strings from here on are on their own
)

// keep gives b as a string that nobody changes.
func (a *arena) keep(b []byte) string {
	if len(b) >= arenaLong {
		return string(b)
	}
	if len(b) > cap(a.block)-len(a.block) {
		a.block = make([]byte, 0, arenaBlock)
	}
	at := len(a.block)
	a.block = append(a.block, b...)
	return unsafe.String(unsafe.SliceData(a.block[at:]), len(b))
}
