package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/thrift/lib/go/thrift"
)

// What parquet says about itself is thrift, in the compact protocol. Arrow makes
// room for as many elements as a list claims to have before it has seen one, so
// the footer and the page headers are first walked here, where claims cost nothing.

// Limits of a footer: a column of a row group takes about 200 bytes in it, a
// column of the schema one element and some for the groups that it is in.
const (
	maxFooter = 16 << 20
	maxSchema = 10_000
)

var errFooter = errors.New("it does not end as a parquet file does")

// checkFooter walks the footer of a parquet file of size bytes.
func checkFooter(r io.ReaderAt, size int64) error {
	const tail = 8 // the footer's length, and "PAR1"
	var end [tail]byte
	if size < tail {
		return errFooter
	}
	if _, err := r.ReadAt(end[:], size-tail); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(end[:]))
	if string(end[4:]) != "PAR1" || n > maxFooter || n > size-tail {
		return errFooter
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-tail-n); err != nil {
		return err
	}
	_, err := walk(footer, func(p thrift.TProtocol, id int16, kind thrift.TType) (bool, error) {
		const schemaList = 2 // FileMetaData.schema
		if id != schemaList || kind != thrift.LIST {
			return false, nil
		}
		return true, checkSchema(p)
	})
	return err
}

// checkSchema walks the list of schema elements. None may claim more children
// than there are elements, nor may there be so many that they nest too deep.
func checkSchema(p thrift.TProtocol) error {
	kind, n, err := p.ReadListBegin(context.Background())
	if err != nil {
		return err
	}
	if kind != thrift.STRUCT || n > maxSchema {
		return fmt.Errorf("a schema of %d elements", n)
	}
	for range n {
		err := walkStruct(p, func(p thrift.TProtocol, id int16, kind thrift.TType) (bool, error) {
			const children = 5 // SchemaElement.num_children
			if id != children || kind != thrift.I32 {
				return false, nil
			}
			claimed, err := p.ReadI32(context.Background())
			if err == nil && (claimed < 0 || int(claimed) >= n) {
				err = fmt.Errorf("a group of %d columns in a schema of %d elements", claimed, n)
			}
			return true, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pageHeader is what a page says about its length.
type pageHeader struct{ unpacked, packed int }

// readPageHeader reads the header at the start of data, and tells how long it is.
func readPageHeader(data []byte) (h pageHeader, n int, err error) {
	n, err = walk(data[:min(len(data), maxPageHeader)], func(p thrift.TProtocol, id int16, kind thrift.TType) (bool, error) {
		var to *int
		switch {
		case id == 2 && kind == thrift.I32: // PageHeader.uncompressed_page_size
			to = &h.unpacked
		case id == 3 && kind == thrift.I32: // PageHeader.compressed_page_size
			to = &h.packed
		default:
			return false, nil
		}
		v, err := p.ReadI32(context.Background())
		*to = int(v)
		return true, err
	})
	return h, n, err
}

// fieldReader reads the value of a field, or leaves it and says so.
type fieldReader func(p thrift.TProtocol, id int16, kind thrift.TType) (taken bool, err error)

// walk walks the struct at the start of data, and tells how long it is.
func walk(data []byte, field fieldReader) (int, error) {
	in := &thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(data)}
	err := walkStruct(thrift.NewTCompactProtocolConf(in, nil), field)
	if err != nil {
		err = fmt.Errorf("thrift: %w", err)
	}
	return len(data) - in.Len(), err
}

func walkStruct(p thrift.TProtocol, field fieldReader) error {
	ctx := context.Background() // nothing here can wait
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, kind, id, err := p.ReadFieldBegin(ctx)
		if err != nil || kind == thrift.STOP {
			return errors.Join(err, p.ReadStructEnd(ctx))
		}
		taken, err := field(p, id, kind)
		if err == nil && !taken {
			err = thrift.SkipDefaultDepth(ctx, p, kind)
		}
		if err = errors.Join(err, p.ReadFieldEnd(ctx)); err != nil {
			return err
		}
	}
}
