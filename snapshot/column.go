package snapshot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v15/parquet/metadata"
)

// pageBytes is what a page holds before the next begins: it ends behind the value that reaches it.
const pageBytes = 1 << 20

// column holds the levels and values of one leaf of a row group. Values are
// encoded as they come, so that neither rows nor pointers into them are held.
type column struct {
	leaf       *leaf
	defs, reps []uint8
	plain      []byte // the values in PLAIN encoding; booleans a byte each
	values     int
	pages      []pageEnd
	extremes   extremes
}

// pageEnd says how much of a column lies before the end of a page.
type pageEnd struct{ entries, values, bytes int }

// level appends an entry.
func (c *column) level(rep, def uint8) {
	if c.leaf.rep > 0 {
		c.reps = append(c.reps, rep)
	}
	if c.leaf.def > 0 {
		c.defs = append(c.defs, def)
	}
}

func (c *column) putBool(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	c.plain = append(c.plain, b)
	c.values++
}

func (c *column) putInt(v int64) {
	c.plain = binary.LittleEndian.AppendUint64(c.plain, uint64(v))
	c.values++
	c.extremes.number(v, c.leaf.kind == unsigned)
}

func (c *column) putText(s string) {
	if n := 4 + len(s); cap(c.plain)-len(c.plain) < n {
		c.plain = slices.Grow(c.plain, max(n, len(c.plain))) // append would grow by a quarter: more garbage on the way
	}
	c.plain = append(binary.LittleEndian.AppendUint32(c.plain, uint32(len(s))), s...)
	c.values++
	c.extremes.text(c.plain, len(s))
}

// end is where the column ends now.
func (c *column) end() pageEnd {
	return pageEnd{max(len(c.defs), c.values), c.values, len(c.plain)}
}

// lastPage is where the pages that are full end.
func (c *column) lastPage() (last pageEnd) {
	if n := len(c.pages); n > 0 {
		last = c.pages[n-1]
	}
	return last
}

// turn ends the page behind the last value if it is full.
func (c *column) turn() {
	if len(c.plain)-c.lastPage().bytes >= pageBytes {
		c.pages = append(c.pages, c.end())
	}
}

// reset forgets the entries and keeps the room they took.
func (c *column) reset() {
	*c = column{leaf: c.leaf, defs: c.defs[:0], reps: c.reps[:0], plain: c.plain[:0], pages: c.pages[:0]}
}

// extremes are the least and the greatest value of a column chunk, for readers
// that skip what cannot hold what they look for.
type extremes struct {
	seen   bool
	lo, hi int64  // of numbers
	at     [4]int // of texts: where the least and the greatest begin and end
}

func (e *extremes) number(v int64, unsigned bool) {
	switch {
	case !e.seen:
		e.lo, e.hi, e.seen = v, v, true
	case unsigned:
		e.lo, e.hi = int64(min(uint64(e.lo), uint64(v))), int64(max(uint64(e.hi), uint64(v)))
	default:
		e.lo, e.hi = min(e.lo, v), max(e.hi, v)
	}
}

// text takes the last n bytes of plain into account.
func (e *extremes) text(plain []byte, n int) {
	from, to := len(plain)-n, len(plain)
	switch v := plain[from:]; {
	case !e.seen:
		e.at, e.seen = [4]int{from, to, from, to}, true
	case bytes.Compare(v, plain[e.at[0]:e.at[1]]) < 0:
		e.at[0], e.at[1] = from, to
	case bytes.Compare(v, plain[e.at[2]:e.at[3]]) > 0:
		e.at[2], e.at[3] = from, to
	}
}

// maxStatistic bounds a value in the footer; a longer one is left out, as the format asks.
const maxStatistic = 4 << 10

// statistics are the extremes and the number of nulls as the footer has them.
func (c *column) statistics() metadata.EncodedStatistics {
	s := metadata.EncodedStatistics{HasNullCount: true, NullCount: int64(c.end().entries - c.values)}
	e := &c.extremes
	switch {
	case !e.seen:
		return s
	case c.leaf.kind.text: // copies, because the footer is written when plain holds another row group
		s.SetMin(bytes.Clone(c.plain[e.at[0]:e.at[1]])).SetMax(bytes.Clone(c.plain[e.at[2]:e.at[3]]))
	default:
		s.SetMin(binary.LittleEndian.AppendUint64(nil, uint64(e.lo))).SetMax(binary.LittleEndian.AppendUint64(nil, uint64(e.hi)))
		s.Signed = c.leaf.kind != unsigned
	}
	s.ApplyStatSizeLimits(maxStatistic)
	return s
}

// batch is a row group on its way to a file.
type batch struct {
	columns []*column
	rows    int
	page    pageBuffer
}

func newBatch(leaves []*leaf) *batch {
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
		held += len(c.plain)
	}
	return held >= groupBytes
}

// flush writes the row group and makes room for the next.
func (b *batch) flush(w *fileWriter) error {
	group := w.group()
	for _, c := range b.columns {
		if err := group.column(c, &b.page); err != nil {
			return fmt.Errorf("write column %s: %w", c.leaf.path, err)
		}
	}
	rows := b.rows
	b.reset()
	return group.finish(rows)
}

func (b *batch) reset() {
	for _, c := range b.columns {
		c.reset()
	}
	b.rows = 0
}
