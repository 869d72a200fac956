package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/metadata"
	"github.com/golang/snappy"
)

const (
	// maxPage bounds what one page may unpack to. Those we write end soon after
	// 1 MiB, or after one value if that is larger.
	maxPage = 256 << 20
	// maxPageHeader bounds the header of a page: two statistics of at most 4 KiB
	// each, twice, and a few numbers.
	maxPageHeader = 64 << 10
)

// openPages reads a column of a row group from r, which has size bytes, and gives
// its pages. Arrow would believe what they claim about their own length.
func openPages(r io.ReaderAt, size int64, chunk *metadata.ColumnChunkMetaData, l *leaf) (file.PageReader, error) {
	data, err := pagesOf(r, size, chunk)
	if err != nil {
		return nil, err
	}
	if _, err := checkPages(data); err != nil {
		return nil, err
	}
	pages, err := file.NewPageReader(&memoryReader{data}, chunk.NumValues(), compress.Codecs.Snappy, memory.DefaultAllocator, nil)
	if err != nil {
		return nil, err
	}
	return &checkedPages{PageReader: pages, leaf: l}, nil
}

// pagesOf reads the pages of a column of a row group, as they lie in the file.
func pagesOf(r io.ReaderAt, size int64, chunk *metadata.ColumnChunkMetaData) ([]byte, error) {
	start, n := chunk.DataPageOffset(), chunk.TotalCompressedSize()
	if chunk.HasDictionaryPage() && chunk.DictionaryPageOffset() > 0 {
		start = min(start, chunk.DictionaryPageOffset())
	}
	if start < 0 || n < 0 || start > size || n > size-start {
		return nil, fmt.Errorf("claims %d bytes at %d of a file of %d", n, start, size)
	}
	if c := chunk.Compression(); c != compress.Codecs.Snappy {
		return nil, fmt.Errorf("is compressed with %v", c)
	}
	data := make([]byte, n)
	_, err := r.ReadAt(data, start)
	return data, err
}

// memoryReader reads what is in memory. Arrow peeks for headers, and bufio would copy.
type memoryReader struct{ left []byte }

// Peek gives the next n bytes, or as many as there are and io.EOF.
func (m *memoryReader) Peek(n int) ([]byte, error) {
	if n > len(m.left) {
		return m.left, io.EOF
	}
	return m.left[:n], nil
}

// Discard leaves out the next n bytes.
func (m *memoryReader) Discard(n int) (int, error) {
	skipped, err := m.Peek(n)
	m.left = m.left[len(skipped):]
	return len(skipped), err
}

func (m *memoryReader) Read(p []byte) (int, error) {
	if len(m.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.left)
	m.left = m.left[n:]
	return n, nil
}

// checkPages counts the pages that data is made of. Each unpacks to what its header claims.
func checkPages(data []byte) (n int, err error) {
	for ; len(data) > 0; n++ {
		head, length, err := readPageHeader(data)
		if err != nil {
			return n, err
		}
		data = data[length:]
		if head.packed < 0 || head.packed > len(data) {
			return n, fmt.Errorf("a page claims %d bytes where %d are left", head.packed, len(data))
		}
		size, err := snappy.DecodedLen(data[:head.packed])
		if err != nil || size != head.unpacked || size > maxPage {
			return n, fmt.Errorf("a page claims to unpack to %d bytes, and would to %d", head.unpacked, size)
		}
		data = data[head.packed:]
	}
	return n, nil
}

// checkedPages passes on only pages that hold as many levels as they claim
// values: arrow's column reader goes round for ever on one that does not.
type checkedPages struct {
	file.PageReader
	leaf *leaf
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
func checkLevels(data []byte, n int, maxima ...uint8) error {
	for _, most := range maxima {
		if most == 0 {
			continue
		}
		if len(data) < 4 {
			return errLevels
		}
		size := binary.LittleEndian.Uint32(data)
		data = data[4:]
		if uint64(size) > uint64(len(data)) || countLevels(data[:size], bits.Len8(most), n) < n {
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
