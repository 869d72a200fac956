package snapshot

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"sync"
	"unsafe"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/schema"
)

// A row group ends at whichever of these comes first. Both bound memory, the
// second when rows are large.
const (
	groupRows  = 8_192
	groupBytes = 32 << 20
)

// batchLevels is how many levels are decoded at once.
const batchLevels = 1024

// Codec turns rows of T into parquet columns and back. Columns carry the JSON
// names of T's fields, so that a file speaks the words of the API. NewCodec says
// which types it takes. A Codec may be used by several goroutines at once.
type Codec[T any] struct {
	root    node
	leaves  []*leaf
	schema  *schema.GroupNode
	batches sync.Pool // of *batch, so that the parts of one snapshot share their buffers
	blank   func() (blank, error)
}

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
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("snapshot: %v is no struct", t)
	}
	var c compiler
	root, group, err := c.bare(place{name: parquet.DefaultRootName}, t, parquet.Repetitions.Required)
	if err != nil {
		return nil, fmt.Errorf("snapshot: codec of %v: %w", t, err)
	}
	codec := &Codec[T]{root: root, leaves: c.leaves, schema: group.(*schema.GroupNode)}
	codec.batches.New = func() any { return newBatch(codec.leaves) }
	codec.blank = sync.OnceValues(codec.newBlank)
	return codec, nil
}

// layout spells the columns.
func (c *Codec[T]) layout() string {
	var b strings.Builder
	for _, l := range c.leaves {
		fmt.Fprintf(&b, "%q %v %v %d %d\n", l.path, l.kind.physical, l.kind.logical, l.def, l.rep)
	}
	return b.String()
}

// MustCodec is NewCodec for package variables; it panics where NewCodec fails.
func MustCodec[T any]() *Codec[T] {
	c, err := NewCodec[T]()
	if err != nil {
		panic(err)
	}
	return c
}

// Write writes rows to w as one parquet file and tells how many they were. Rows
// must not change until it returns; the same rows give the same bytes. What is
// in memory is one row group: at most 8,192 rows or, where rows are large, the
// rows that reach 32 MiB. Times are cut to microseconds.
func (c *Codec[T]) Write(w io.Writer, rows iter.Seq[*T]) (n int64, err error) {
	var out *fileWriter // from the first row on
	defer func() {
		if out != nil {
			err = cmp.Or(out.out.err, err)
		}
	}()
	defer recovered(&err)
	b := c.batches.Get().(*batch)
	defer func() { b.reset(); c.batches.Put(b) }()

	for row := range rows {
		if out == nil {
			if out, err = newFileWriter(w, c.schema); err != nil {
				return 0, err
			}
		}
		if err := c.root.shred(b.columns, unsafe.Pointer(row), 0); err != nil {
			return n, fmt.Errorf("row %d: %w", n, err)
		}
		n++
		if b.rows++; b.full() {
			if err := b.flush(out); err != nil {
				return n, err
			}
		}
	}
	if out == nil {
		return 0, c.writeBlank(w)
	}
	if b.rows > 0 {
		if err := b.flush(out); err != nil {
			return n, err
		}
	}
	return n, out.close()
}

// Read gives the rows of a parquet file of size bytes, in the order in which
// they were written. The first error ends it. A file that lacks an optional
// column reads as if that were null everywhere, so a field that was added later
// must be optional; a column that T does not have is an error with its name.
// No input makes it panic.
func (c *Codec[T]) Read(r io.ReaderAt, size int64) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		groups, err := c.open(r, size)
		if err != nil {
			yield(nil, err)
			return
		}
		for g := range groups.count() {
			rows, err := groups.open(g)
			for err == nil && rows.left > 0 {
				row := new(T)
				if err = rows.next(unsafe.Pointer(row)); err == nil && !yield(row, nil) {
					return
				}
			}
			if err == nil {
				err = rows.end()
			}
			if err != nil {
				yield(nil, fmt.Errorf("row group %d: %w", g, err))
				return
			}
		}
	}
}

// rowsOf reads one file of a folder and closes it.
func (c *Codec[T]) rowsOf(f *Folder, entry File) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		r, err := f.OpenFile(entry.Path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.Close()
		for row, err := range c.Read(r, entry.Bytes) {
			if err != nil {
				err = fmt.Errorf("%s: %w", entry.Path, err)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// recovered makes an error of a panic: arrow panics where input is not parquet.
func recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case error:
		*err = fmt.Errorf("parquet: %w", r)
	default:
		*err = fmt.Errorf("parquet: %v", r)
	}
}
