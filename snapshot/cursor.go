package snapshot

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/schema"
)

// cursor stands on an entry of one column of a file.
type cursor struct {
	leaf       *leaf
	reader     file.ColumnChunkReader
	defs, reps []int16
	bools      []bool // the values, in one of these
	ints       []int64
	bytes      []parquet.ByteArray

	at, n   int    // entry stood on, of those buffered
	value   int    // value stood on
	values  int    // of those buffered
	last    string // the last string taken
	strings *arena // of the whole row
	drained bool
	err     error // what ended the column, said again each time
}

// start puts the cursor before the first entry of a column that says that it has
// n entries. The buffers never shrink, so row groups of one file share them.
func (c *cursor) start(r file.ColumnChunkReader, n int64) {
	size := int(min(max(n, 1), batchLevels))
	if size > len(c.defs) {
		c.grow(size)
	}
	c.reader, c.drained, c.err = r, false, nil
	c.at, c.n, c.value, c.values = 0, 0, 0, 0
}

// grow makes room for as many entries.
func (c *cursor) grow(size int) {
	c.defs, c.reps = make([]int16, size), make([]int16, size)
	switch c.leaf.kind.physical {
	case parquet.Types.Boolean:
		c.bools = make([]bool, size)
	case parquet.Types.Int64:
		c.ints = make([]int64, size)
	case parquet.Types.ByteArray:
		c.bytes = make([]parquet.ByteArray, size)
	}
}

// fill buffers the next entries when none is left.
func (c *cursor) fill() error {
	if c.at < c.n || c.drained {
		return c.err
	}
	room, n := int64(len(c.defs)), int64(0)
	var err error
	switch r := c.reader.(type) {
	case *file.BooleanColumnChunkReader:
		n, c.values, err = r.ReadBatch(room, c.bools, c.defs, c.reps)
	case *file.Int64ColumnChunkReader:
		n, c.values, err = r.ReadBatch(room, c.ints, c.defs, c.reps)
	case *file.ByteArrayColumnChunkReader:
		n, c.values, err = r.ReadBatch(room, c.bytes, c.defs, c.reps)
	}
	c.at, c.n, c.value, c.drained = 0, int(n), 0, n == 0
	if err = errors.Join(err, c.reader.Err()); err != nil {
		c.err = fmt.Errorf("column %s: %w", c.leaf.path, err)
		c.n, c.values, c.drained = 0, 0, true
	}
	return c.err
}

// peek is the definition level of the entry stood on.
func (c *cursor) peek() (uint8, error) {
	if err := c.fill(); err != nil {
		return 0, err
	}
	if c.at == c.n {
		return 0, fmt.Errorf("column %s: ends before the row group does", c.leaf.path)
	}
	return uint8(c.defs[c.at]), nil // which it fits: levels are decoded from as few bits as the maximum takes
}

// take leaves the entry stood on, which must have these levels.
func (c *cursor) take(rep, def uint8) error {
	if c.at == c.n {
		if _, err := c.peek(); err != nil {
			return err
		}
	}
	if c.defs[c.at] != int16(def) || c.reps[c.at] != int16(rep) {
		return fmt.Errorf("column %s: its levels do not fit those of its neighbours", c.leaf.path)
	}
	c.at++
	return nil
}

// more tells whether the entry stood on goes on with a list whose elements repeat at rep.
// An error of the column is said by whatever asks next.
func (c *cursor) more(rep uint8) bool {
	return c.fill() == nil && c.at < c.n && c.reps[c.at] == int16(rep)
}

// repeats is how many elements of the list whose elements repeat at rep are to
// come, the one stood on included, as far as they are buffered.
func (c *cursor) repeats(rep uint8) int {
	n := 1
	for i := c.at + 1; i < c.n && c.reps[i] >= int16(rep); i++ {
		if c.reps[i] == int16(rep) {
			n++
		}
	}
	return n
}

// groups are the row groups of an open file.
type groups struct {
	file  *file.Reader
	in    io.ReaderAt
	size  int64
	root  node
	at    []*cursor // by leaf; nil where the file has no such column
	index []int     // of the leaf's column in the file
}

// open reads the footer of a parquet file and finds the codec's columns in it.
func (c *rowCodec) open(r io.ReaderAt, size int64) (g *groups, err error) {
	defer recovered(&err)
	if err := checkFooter(r, size); err != nil {
		return nil, fmt.Errorf("parquet: %w", err)
	}
	f, err := file.NewParquetReader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	g = &groups{file: f, in: r, size: size, root: c.root, at: make([]*cursor, len(c.leaves)), index: make([]int, len(c.leaves))}
	strings := new(arena)
	wanted := make(map[string]int, len(c.leaves))
	for i, l := range c.leaves {
		wanted[l.path] = i
	}
	s := f.MetaData().Schema
	for i := range s.NumColumns() {
		col := s.Column(i)
		leaf, known := wanted[col.Path()]
		if !known || g.at[leaf] != nil {
			return nil, fmt.Errorf("column %s is not known", col.Path())
		}
		if err := c.leaves[leaf].fits(col); err != nil {
			return nil, err
		}
		g.at[leaf], g.index[leaf] = &cursor{leaf: c.leaves[leaf], strings: strings}, i
	}
	return g, nil
}

// fits tells what is wrong if a file's column cannot hold this leaf.
func (l *leaf) fits(col *schema.Column) error {
	logical := l.kind.logical
	if logical == nil {
		logical = schema.NoLogicalType{}
	}
	if col.PhysicalType() != l.kind.physical || !logical.Equals(col.LogicalType()) {
		return fmt.Errorf("column %s holds %v %v, not %v %v", l.path, col.PhysicalType(), col.LogicalType(), l.kind.physical, logical)
	}
	if col.MaxDefinitionLevel() != int16(l.def) || col.MaxRepetitionLevel() != int16(l.rep) {
		return fmt.Errorf("column %s: what is optional or repeated in it is not what it should be", l.path)
	}
	return nil
}

func (g *groups) count() int { return g.file.NumRowGroups() }

// open puts the cursors on the first row of a row group.
func (g *groups) open(i int) (_ *rows, err error) {
	defer recovered(&err)
	group := g.file.RowGroup(i)
	for leaf, c := range g.at {
		if c == nil {
			continue
		}
		if err := g.start(c, group, g.index[leaf]); err != nil {
			return nil, fmt.Errorf("column %s: %w", c.leaf.path, err)
		}
	}
	return &rows{g, group.NumRows()}, nil
}

// start puts a cursor on the i-th column of a row group.
func (g *groups) start(c *cursor, group *file.RowGroupReader, i int) error {
	chunk, err := group.MetaData().ColumnChunk(i)
	if err != nil {
		return err
	}
	pages, err := openPages(g.in, g.size, chunk, c.leaf)
	if err != nil {
		return err
	}
	col := g.file.MetaData().Schema.Column(i)
	c.start(file.NewColumnReader(col, pages, memory.DefaultAllocator, g.file.BufferPool()), chunk.NumValues())
	return nil
}

// rows are the rows of a row group that are still to come.
type rows struct {
	*groups
	left int64
}

// next sets row, which points to a zero struct of the codec's type, to the next row.
func (r *rows) next(row unsafe.Pointer) (err error) {
	defer recovered(&err)
	r.left--
	return r.root.assemble(r.at, row, 0)
}

// end fails if a column goes on after the last row.
func (r *rows) end() (err error) {
	defer recovered(&err)
	for _, c := range r.at {
		if c == nil {
			continue
		}
		if err := c.fill(); err != nil {
			return err
		}
		if c.at < c.n {
			return fmt.Errorf("column %s goes on after the last row", c.leaf.path)
		}
	}
	return nil
}
