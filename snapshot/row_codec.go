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

// rowCodec is a Codec without its type: the compiler makes it once, and not again for
// each kind of row. A pointer to a row points to a value of typ.
type rowCodec struct {
	typ     reflect.Type
	root    node
	leaves  []*leaf
	schema  *schema.GroupNode
	batches sync.Pool // of *batch, so that the parts of one snapshot share their buffers
	blank   func() (blank, error)
}

func newRowCodec(t reflect.Type) (*rowCodec, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("snapshot: %v is no struct", t)
	}
	var c compiler
	root, group, err := c.bare(place{name: parquet.DefaultRootName}, t, parquet.Repetitions.Required)
	if err != nil {
		return nil, fmt.Errorf("snapshot: codec of %v: %w", t, err)
	}
	codec := &rowCodec{typ: t, root: root, leaves: c.leaves, schema: group.(*schema.GroupNode)}
	codec.batches.New = func() any { return newBatch(codec.leaves) }
	codec.blank = sync.OnceValues(codec.newBlank)
	return codec, nil
}

// layout spells the columns.
func (c *rowCodec) layout() string {
	var b strings.Builder
	for _, l := range c.leaves {
		fmt.Fprintf(&b, "%q %v %v %d %d\n", l.path, l.kind.physical, l.kind.logical, l.def, l.rep)
	}
	return b.String()
}

// write is Codec.Write.
func (c *rowCodec) write(w io.Writer, rows iter.Seq[unsafe.Pointer]) (n int64, err error) {
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
		if err := c.root.shred(b.columns, row, 0); err != nil {
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

// read calls yield for the rows of a file, or what ends them early, until it returns false.
func (c *rowCodec) read(r io.ReaderAt, size int64, yield func(unsafe.Pointer, error) bool) {
	groups, err := c.open(r, size)
	if err != nil {
		yield(nil, err)
		return
	}
	for g := range groups.count() {
		rows, err := groups.open(g)
		for err == nil && rows.left > 0 {
			row := reflect.New(c.typ).UnsafePointer()
			if err = rows.next(row); err == nil && !yield(row, nil) {
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

// rowsOf reads one file of a folder and closes it.
func (c *rowCodec) rowsOf(f *Folder, entry File) iter.Seq2[unsafe.Pointer, error] {
	return func(yield func(unsafe.Pointer, error) bool) {
		r, err := f.OpenFile(entry.Path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.Close()
		c.read(r, entry.Bytes, func(row unsafe.Pointer, err error) bool {
			if err != nil {
				err = fmt.Errorf("%s: %w", entry.Path, err)
			}
			return yield(row, err)
		})
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
