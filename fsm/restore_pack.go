package fsm

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"

	"github.com/orchd/orchd/api"
)

// tableRestore is what a rollback does to one table. A fleet's rows are much
// alike: packed, 250,000 nodes with their BMCs and sealed passwords take 16 MB of the
// 160 MB that maxChunks chunks carry (BenchmarkRollback).
type tableRestore struct {
	Name   string `cbor:"1,keyasint"`
	Rows   int64  `cbor:"2,keyasint"`
	Bytes  int64  `cbor:"3,keyasint"` // of Packed when it is unpacked
	Packed []byte `cbor:"4,keyasint"` // a rowRestore each, in the order of their keys: a CBOR sequence (RFC 8742), deflated (RFC 1951)
}

// maxUnpacked bounds Bytes: what unpacks to more is no fleet.
const maxUnpacked = 4 << 30

// rowRestore is what a rollback does to one row.
type rowRestore[T any] struct {
	Key string `cbor:"1,keyasint,omitempty"` // of a row that goes; one that is put back tells its own
	Was []byte `cbor:"2,keyasint,omitempty"` // hash of the row that there must be; empty: there must be none
	Row *T     `cbor:"3,keyasint,omitempty"` // what there is to be, as it was stored, what is sealed in it too; nil: nothing
}

// packing packs the rows of a table that differ. Nothing is allotted before the first.
type packing[T any] struct {
	to      tableRestore
	counts  api.TableDifference
	packed  bytes.Buffer
	deflate *flate.Writer
	encoder *cbor.Encoder
}

// Write takes what is to be packed.
func (p *packing[T]) Write(b []byte) (int, error) {
	p.to.Bytes += int64(len(b))
	return p.deflate.Write(b)
}

func (p *packing[T]) add(row rowRestore[T]) error {
	if p.deflate == nil {
		deflate, err := flate.NewWriter(&p.packed, flate.BestSpeed)
		if err != nil {
			return err
		}
		p.deflate, p.encoder = deflate, encoding.NewEncoder(p)
	}
	switch {
	case row.Row == nil:
		p.counts.Delete++
	case row.Was == nil:
		p.counts.Create++
	default:
		p.counts.Update++
	}
	p.to.Rows++
	return p.encoder.Encode(row)
}

// finish adds the table to a difference, if there is one.
func (p *packing[T]) finish(d *Difference) error {
	if p.deflate == nil {
		return nil
	}
	if err := p.deflate.Close(); err != nil {
		return err
	}
	p.to.Packed = p.packed.Bytes()
	d.Tables = append(d.Tables, p.counts)
	d.command.Tables = append(d.command.Tables, p.to)
	return nil
}

// unpacked reads the rows of all tables.
func (c stateRestore) unpacked() ([]rollback, error) {
	all := make([]rollback, 0, len(c.Tables))
	for _, packed := range c.Tables {
		t, err := rollbackTable(packed.Name)
		if err != nil {
			return nil, err
		}
		rows, err := t.unpack(packed)
		if err != nil {
			return nil, fmt.Errorf("rollback of table %s: %w", packed.Name, err)
		}
		all = append(all, rows)
	}
	return all, nil
}

// unpack reads the rows of a table.
func (t *restorable[T]) unpack(c tableRestore) (rollback, error) {
	if c.Bytes > maxUnpacked {
		return nil, fmt.Errorf("its rows take %d bytes, more than %d", c.Bytes, int64(maxUnpacked))
	}
	inflate := flate.NewReader(bytes.NewReader(c.Packed))
	defer inflate.Close()
	decoder := decoding.NewDecoder(io.LimitReader(inflate, c.Bytes))
	b := &tableRollback[T]{table: t.table, how: t}
	for {
		var row rowRestore[T]
		err := decoder.Decode(&row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		b.rows = append(b.rows, row)
	}
	if int64(len(b.rows)) != c.Rows {
		return nil, fmt.Errorf("it has %d rows, not %d", len(b.rows), c.Rows)
	}
	return b, nil
}
