package snapshot

import (
	"io"
	"iter"
	"reflect"
	"unsafe"
)

// Codec turns rows of T into parquet columns and back. Columns carry the JSON
// names of T's fields, so that a file speaks the words of the API. NewCodec says
// which types it takes. A Codec may be used by several goroutines at once.
type Codec[T any] struct{ rows *rowCodec }

// NewCodec compiles a codec for T, a struct. The types of its fields become:
//
//	bool                    BOOLEAN
//	int, int64, ... int8    INT64, INT(64,true)
//	uint, uint64, ... uint8 INT64, INT(64,false)
//	string                  BYTE_ARRAY, STRING; must be UTF-8
//	[]byte                  BYTE_ARRAY, optional: nil is null
//	json.RawMessage         BYTE_ARRAY, JSON, optional: nil is null
//	time.Time               INT64, TIMESTAMP(micros, UTC), optional: the zero time is null
//	*X                      X, optional: nil is null
//	[]X                     LIST, optional: nil is null, which is not the empty list
//	map[string]X            MAP, optional, keys in order
//	struct                  a group; an embedded one is inlined
//
// A string, bool or integer tagged omitempty, and anything tagged omitzero, is
// optional, its zero value null; what is not optional is required. A field tagged
// secret:"true" must be optional, so that Redacted can make it null. Fields tagged
// "-" and unexported ones are left out. Floats, arrays, interfaces, types that
// contain themselves, and two columns whose names differ in case only are errors.
func NewCodec[T any]() (*Codec[T], error) {
	rows, err := newRowCodec(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	return &Codec[T]{rows}, nil
}

// MustCodec is NewCodec for package variables; it panics where NewCodec fails.
func MustCodec[T any]() *Codec[T] {
	c, err := NewCodec[T]()
	if err != nil {
		panic(err)
	}
	return c
}

// Columns describes the columns of T in their order, each behind what it lies in.
func (c *Codec[T]) Columns() []Column { return columnsBelow(c.rows.schema, "", c.rows.typ) }

// Write writes rows to w as one parquet file and tells how many they were. Rows
// must not change until it returns; the same rows give the same bytes. What is
// in memory is one row group: at most 8,192 rows or, where rows are large, the
// rows that reach 32 MiB. Times are cut to microseconds.
func (c *Codec[T]) Write(w io.Writer, rows iter.Seq[*T]) (n int64, err error) {
	return c.rows.write(w, func(yield func(unsafe.Pointer) bool) {
		rows(func(row *T) bool { return yield(unsafe.Pointer(row)) })
	})
}

// Read gives the rows of a parquet file of size bytes, in the order in which
// they were written. The first error ends it. A file that lacks an optional
// column reads as if that were null everywhere, so a field that was added later
// must be optional; a column that T does not have is an error with its name.
// No input makes it panic.
func (c *Codec[T]) Read(r io.ReaderAt, size int64) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		c.rows.read(r, size, func(row unsafe.Pointer, err error) bool { return yield((*T)(row), err) })
	}
}

// Rows gives the rows of a table of a folder, over all its files in their order,
// and fails if they are not as many as the manifest says. Two files are decoded at once.
func (c *Codec[T]) Rows(f *Folder, table string) iter.Seq2[*T, error] {
	return Prepared(c, f, table, func(row *T) *T { return row })
}

// Prepared is Rows with each row passed through prepare, which is called by
// several goroutines at once. What is costly and looks at one row alone belongs
// there. No goroutine outlives the loop.
func Prepared[T, V any](c *Codec[T], f *Folder, table string, prepare func(*T) *V) iter.Seq2[*V, error] {
	return func(yield func(*V, error) bool) {
		c.rows.ahead(f, table,
			func(row unsafe.Pointer) unsafe.Pointer { return unsafe.Pointer(prepare((*T)(row))) },
			func(v unsafe.Pointer, err error) bool { return yield((*V)(v), err) })
	}
}

// Large is a table of many rows: in a folder NAME of parts, each a range of
// keys, written two at a time.
func (c *Codec[T]) Large(name string, source Source[T]) Table {
	return Table{Name: name, large: &large{
		layout: c.rows.layout(),
		keys: func(from string, yield func(string, Hash) bool) {
			source(from, func(key string, _ *T, hash Hash) bool { return yield(key, hash) })
		},
		write: func(w io.Writer, p part, step func()) (int64, error) {
			return c.Write(w, firstRows(source, p, step))
		},
	}}
}
