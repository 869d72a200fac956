package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet/file"
)

// maxPage bounds what one page may claim to unpack to. Those we write end soon
// after 1 MiB, or after one value if that is larger.
const maxPage = 256 << 20

// boundedAllocator refuses what no page of ours needs.
type boundedAllocator struct{ memory.Allocator }

func (a boundedAllocator) Allocate(size int) []byte {
	if size > maxPage {
		panic(fmt.Errorf("a page claims %d bytes", size))
	}
	return a.Allocator.Allocate(size)
}

func (a boundedAllocator) Reallocate(size int, b []byte) []byte {
	if size > maxPage {
		panic(fmt.Errorf("a page claims %d bytes", size))
	}
	return a.Allocator.Reallocate(size, b)
}

// checkedPages passes on only pages that hold as many levels as they claim
// values: arrow's column reader goes round for ever on one that does not.
type checkedPages struct {
	file.PageReader
	leaf leaf
	err  error
}

// Next moves to the next page, if that is sound.
func (p *checkedPages) Next() bool {
	if p.err != nil || !p.PageReader.Next() {
		return false
	}
	switch page := p.Page().(type) {
	case *file.DictionaryPage:
	case *file.DataPageV1:
		p.err = checkLevels(page.Data(), int(page.NumValues()), p.leaf.rep, p.leaf.def)
	default:
		p.err = fmt.Errorf("a page of type %v", page.Type())
	}
	return p.err == nil
}

// Err is what ended the pages.
func (p *checkedPages) Err() error { return errors.Join(p.err, p.PageReader.Err()) }

var errLevels = errors.New("a page has fewer levels than values")

// checkLevels tells whether a page begins with n levels for each maximum that is
// not 0, each kind of level behind its length (parquet-format, Encodings.md).
func checkLevels(data []byte, n int, maxima ...int16) error {
	for _, most := range maxima {
		if most == 0 {
			continue
		}
		if len(data) < 4 {
			return errLevels
		}
		size := binary.LittleEndian.Uint32(data)
		data = data[4:]
		if uint64(size) > uint64(len(data)) || countLevels(data[:size], bits.Len16(uint16(most)), n) < n {
			return errLevels
		}
		data = data[size:]
	}
	return nil
}

// countLevels counts the levels, at least until want, in runs of the RLE and
// bit-packing hybrid.
func countLevels(data []byte, width, want int) int {
	have := 0
	for have < want {
		head, n := binary.Uvarint(data)
		if n <= 0 || head>>1 == 0 || head>>1 > 1<<28 {
			break
		}
		data = data[n:]
		count, size := int(head>>1), (width+7)/8
		if head&1 == 1 {
			count, size = count*8, count*width
		}
		if size > len(data) {
			break
		}
		data = data[size:]
		have += count
	}
	return have
}
