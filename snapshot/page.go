package snapshot

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/golang/snappy"
)

// pageBuffer is where pages are put together. Its room is used again for the next.
type pageBuffer struct{ raw, packed []byte }

// dataPage gives the entries of c between two page ends as a page of version 1
// (parquet-format, README.md, "Data Pages"): levels, each kind behind its length,
// then the values, packed together. It is good until the next one.
func (p *pageBuffer) dataPage(c *column, from, to pageEnd) (*file.DataPageV1, error) {
	p.raw = p.raw[:0]
	if c.leaf.rep > 0 {
		p.levels(c.reps[from.entries:to.entries], c.leaf.rep)
	}
	if c.leaf.def > 0 {
		p.levels(c.defs[from.entries:to.entries], c.leaf.def)
	}
	if values := c.plain[from.bytes:to.bytes]; c.leaf.kind == boolean {
		p.raw = appendBits(p.raw, values, 1)
	} else {
		p.raw = append(p.raw, values...)
	}
	if len(p.raw) > maxPage {
		return nil, fmt.Errorf("a page of %d bytes, more than %d, which nobody would read", len(p.raw), maxPage)
	}
	if most := snappy.MaxEncodedLen(len(p.raw)); most > len(p.packed) {
		p.packed = make([]byte, most+most/4)
	}
	packed := snappy.Encode(p.packed, p.raw)
	return file.NewDataPageV1(memory.NewBufferBytes(packed), int32(to.entries-from.entries),
		parquet.Encodings.Plain, parquet.Encodings.RLE, parquet.Encodings.RLE, int32(len(p.raw))), nil
}

// levels appends levels up to most, and before them how many bytes they take.
func (p *pageBuffer) levels(levels []uint8, most uint8) {
	at := len(p.raw)
	p.raw = append(p.raw, 0, 0, 0, 0)
	p.raw = appendLevels(p.raw, levels, bits.Len8(most))
	binary.LittleEndian.PutUint32(p.raw[at:], uint32(len(p.raw)-at-4))
}

// Runs of the RLE and bit-packing hybrid (parquet-format, Encodings.md). Packed
// levels come in groups of 8. No run of packed ones has more than 63 groups,
// because there are readers that leave one byte for its head.
const (
	levelGroup = 8
	maxPacked  = 63 * levelGroup
)

// appendLevels appends levels of width bits, at most 8, in runs.
func appendLevels(out []byte, levels []uint8, width int) []byte {
	packed := 0 // levels before i that wait to be packed
	for i := 0; i < len(levels); {
		n := runLength(levels[i:])
		if n < levelGroup {
			n = min(levelGroup, len(levels)-i)
			i, packed = i+n, packed+n
			if packed == maxPacked {
				out, packed = appendPacked(out, levels[i-packed:i], width), 0
			}
			continue
		}
		out, packed = appendPacked(out, levels[i-packed:i], width), 0
		out = append(binary.AppendUvarint(out, uint64(n)<<1), levels[i])
		i += n
	}
	return appendPacked(out, levels[len(levels)-packed:], width)
}

// runLength is how many levels are like the first.
func runLength(levels []uint8) int {
	for i, l := range levels {
		if l != levels[0] {
			return i
		}
	}
	return len(levels)
}

// appendPacked appends a run of packed levels, if there are any.
func appendPacked(out []byte, levels []uint8, width int) []byte {
	if len(levels) == 0 {
		return out
	}
	groups := (len(levels) + levelGroup - 1) / levelGroup
	out = binary.AppendUvarint(out, uint64(groups)<<1|1)
	end := len(out) + groups*width
	for out = appendBits(out, levels, width); len(out) < end; {
		out = append(out, 0)
	}
	return out
}

// appendBits appends values of width bits, the first in the lowest bits.
func appendBits(out, values []byte, width int) []byte {
	held, n := uint(0), 0
	for _, v := range values {
		held |= uint(v) << n
		for n += width; n >= 8; n -= 8 {
			out = append(out, byte(held))
			held >>= 8
		}
	}
	if n > 0 {
		out = append(out, byte(held))
	}
	return out
}
