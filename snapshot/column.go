package snapshot

import (
	"fmt"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
)

// column holds the levels and values of one leaf. Only one of the value slices is used.
type column struct {
	leaf       leaf
	defs, reps []int16
	bools      []bool
	ints       []int64
	bytes      []parquet.ByteArray
	held       int // bytes behind bytes
}

// level appends an entry.
func (c *column) level(rep, def int16) {
	if c.leaf.rep > 0 {
		c.reps = append(c.reps, rep)
	}
	if c.leaf.def > 0 {
		c.defs = append(c.defs, def)
	}
}

// putBytes appends a value that stays where it is until the row group is written.
func (c *column) putBytes(b []byte) {
	c.bytes = append(c.bytes, b)
	c.held += len(b)
}

// write hands the column to arrow.
func (c *column) write(w file.ColumnChunkWriter) (err error) {
	switch w := w.(type) {
	case *file.BooleanColumnChunkWriter:
		_, err = w.WriteBatch(c.bools, c.defs, c.reps)
	case *file.Int64ColumnChunkWriter:
		_, err = w.WriteBatch(c.ints, c.defs, c.reps)
	case *file.ByteArrayColumnChunkWriter:
		_, err = w.WriteBatch(c.bytes, c.defs, c.reps)
	}
	return err
}

// reset forgets the entries and keeps the room they took.
func (c *column) reset() {
	clear(c.bytes) // lets go of the rows
	c.defs, c.reps = c.defs[:0], c.reps[:0]
	c.bools, c.ints, c.bytes = c.bools[:0], c.ints[:0], c.bytes[:0]
	c.held = 0
}

// batch is a row group on its way to a file.
type batch struct {
	columns []*column
	rows    int
}

func newBatch(leaves []leaf) *batch {
	b := &batch{columns: make([]*column, len(leaves))}
	for i, l := range leaves {
		b.columns[i] = &column{leaf: l}
	}
	return b
}

// full tells whether the row group must be written before the next row.
func (b *batch) full() bool {
	if b.rows >= groupRows {
		return true
	}
	held := 0
	for _, c := range b.columns {
		held += c.held
	}
	return held >= groupBytes
}

// flush writes the row group and makes room for the next.
func (b *batch) flush(w file.SerialRowGroupWriter) error {
	for _, c := range b.columns {
		cw, err := w.NextColumn()
		if err == nil {
			err = c.write(cw)
		}
		if err != nil {
			return fmt.Errorf("write column %s: %w", c.leaf.path, err)
		}
	}
	b.reset()
	return w.Close() // arrow's own Close of the file would drop this error
}

func (b *batch) reset() {
	for _, c := range b.columns {
		c.reset()
	}
	b.rows = 0
}
