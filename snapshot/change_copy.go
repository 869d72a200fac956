package snapshot

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/metadata"
)

// A row group with that many rows, or bytes as they lie on disk, goes into a merged file as
// it is: nothing is won by decoding its values and encoding them again. With these a file of
// mergedBytes has some 70 row groups at most, and its footer a hundredth of its bytes.
const (
	copiedRows  = groupRows / 2
	copiedBytes = 256 << 10
)

// take puts the changes of a file that matches its sum behind those of w: large row groups as
// they are, the others change by change, so that they become large ones.
func (w *changeWriter) take(from *wholeFile) error {
	groups, err := changeCodec.rows.open(bytes.NewReader(from.bytes), int64(len(from.bytes)))
	if err != nil {
		return err
	}
	for g := range groups.count() {
		group := groups.file.RowGroup(g)
		if groups.sameColumns() && isLarge(group) {
			err = w.takeGroup(group, from)
		} else {
			err = w.takeChanges(groups.changes(g))
		}
		if err != nil {
			return fmt.Errorf("row group %d: %w", g, err)
		}
	}
	return nil
}

// sameColumns tells whether the file has all columns of the codec in their order. One of an
// older program may have fewer.
func (g *groups) sameColumns() bool {
	for leaf, c := range g.at {
		if c == nil || g.index[leaf] != leaf {
			return false
		}
	}
	return true
}

func isLarge(group *file.RowGroupReader) bool {
	packed := int64(0)
	for i := range group.NumColumns() {
		chunk, err := group.MetaData().ColumnChunk(i)
		if err != nil {
			return false // who reads it will say so
		}
		packed += chunk.TotalCompressedSize()
	}
	return group.NumRows() >= copiedRows || packed >= copiedBytes
}

func (w *changeWriter) takeChanges(all iter.Seq2[*Change, error]) error {
	for c, err := range all {
		if err == nil {
			err = w.write(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeGroup copies a row group, behind what waits to be one.
func (w *changeWriter) takeGroup(group *file.RowGroupReader, from *wholeFile) (err error) {
	defer recovered(&err)
	if w.batch.rows > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.rows == 0 {
		w.since = from.since
	}
	w.until = from.until // so it is at the end of the file, which alone matters
	w.rows += group.NumRows()
	return w.file.copyGroup(group, changeCodec.rows.leaves, from.bytes)
}

// copyGroup puts a row group of a file with these columns into this one.
func (f *fileWriter) copyGroup(group *file.RowGroupReader, columns []*leaf, in []byte) error {
	to := f.group()
	for i, l := range columns {
		chunk, err := group.MetaData().ColumnChunk(i)
		if err == nil {
			err = to.copyColumn(chunk, l, in)
		}
		if err != nil {
			return fmt.Errorf("copy column %s: %w", l.path, err)
		}
	}
	to.bytes = group.ByteSize()
	return to.finish(int(group.NumRows()))
}

// copyColumn copies the pages of the next column, and what the footer says of them but where they lie.
func (g *groupWriter) copyColumn(chunk *metadata.ColumnChunkMetaData, l *leaf, in []byte) error {
	pages, err := pagesOf(bytes.NewReader(in), int64(len(in)), chunk)
	if err != nil {
		return err
	}
	count, err := checkPages(pages)
	if err != nil {
		return err
	}
	stats, err := statisticsOf(chunk, l)
	if err != nil {
		return err
	}
	meta, at := g.meta.NextColumnChunk(), g.out.Tell()
	if _, err := g.out.Write(pages); err != nil {
		return err
	}
	meta.SetStats(stats)
	err = meta.Finish(metadata.ChunkMetaInfo{NumValues: chunk.NumValues(), IndexPageOffset: -1, DataPageOffset: at,
		CompressedSize: chunk.TotalCompressedSize(), UncompressedSize: chunk.TotalUncompressedSize()}, false, false,
		metadata.EncodingStats{DataEncodingStats: map[parquet.Encoding]int32{parquet.Encodings.Plain: int32(count)}}, nil)
	if err != nil {
		return err
	}
	_, err = meta.WriteTo(g.out)
	return err
}

// statisticsOf are a column's as its footer has them; see column.statistics.
func statisticsOf(chunk *metadata.ColumnChunkMetaData, l *leaf) (s metadata.EncodedStatistics, err error) {
	typed, err := chunk.Statistics()
	if err != nil || typed == nil {
		return s, err
	}
	s, err = typed.Encode()
	s.Signed = !l.kind.text && l.kind != unsigned
	return s, err
}
