package snapshot

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"iter"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/metadata"
	"github.com/apache/arrow/go/v15/parquet/schema"

	"github.com/orchd/orchd/api"
)

// What a file of changes says about itself stands in the key-value metadata of its footer.
const (
	labelKey = "orchd.changes" // a changeLabel as JSON; only in the files of a History
	sumKey   = "orchd.sha256"  // of the file in which these 64 digits are 0
)

// sumMark stands in a footer right before the sum: the key, and how thrift's
// compact protocol begins a second field that is a text of 64 bytes.
const sumMark = sumKey + "\x18\x40"

var noSum = bytes.Repeat([]byte{'0'}, hex.EncodedLen(sha256.Size))

// changeLabel is what a file of a History is about.
type changeLabel struct {
	From  uint64    `json:"from"`
	To    uint64    `json:"to"`
	Since time.Time `json:"since,omitzero"` // of the first change
	Until time.Time `json:"until,omitzero"` // of the last
}

// changeWriter writes changes as one parquet file.
type changeWriter struct {
	to           io.Writer
	hash         hash.Hash
	file         *fileWriter
	batch        *batch
	rows         int64
	since, until time.Time
}

// newChangeWriter begins a file. It is released when it is done with, finished or not.
func newChangeWriter(w io.Writer) (*changeWriter, error) {
	h := sha256.New()
	f, err := newFileWriter(io.MultiWriter(w, h), changeCodec.rows.schema)
	if err != nil {
		return nil, err
	}
	f.footer = metadata.NewFileMetadataBuilder(schema.NewSchema(changeCodec.rows.schema), writerProperties, metadata.NewKeyValueMetadata())
	return &changeWriter{to: w, hash: h, file: f, batch: changeCodec.rows.batches.Get().(*batch)}, nil
}

func (w *changeWriter) release() {
	w.batch.reset()
	changeCodec.rows.batches.Put(w.batch)
	w.batch = nil
}

// bytes is about how long the file is so far.
func (w *changeWriter) bytes() int64 { return w.file.out.at }

func (w *changeWriter) write(c *Change) error {
	if err := changeCodec.rows.root.shred(w.batch.columns, unsafe.Pointer(c), 0); err != nil {
		return fmt.Errorf("change %v: %w", c.Position(), err)
	}
	if w.rows == 0 {
		w.since = c.Time
	}
	w.until = c.Time
	w.rows++
	if w.batch.rows++; w.batch.full() {
		return w.flush()
	}
	return nil
}

// flush ends a row group. Nobody looks for values by their order, and the
// least and the greatest of them would make most of a long file's footer.
func (w *changeWriter) flush() (err error) {
	defer func() { err = cmp.Or(w.file.out.err, err) }()
	defer recovered(&err)
	w.batch.columns[len(w.batch.columns)-1].extremes = extremes{}
	return w.batch.flush(w.file)
}

// finish writes the last row group and the footer, with a label unless it is nil.
func (w *changeWriter) finish(label *changeLabel) (err error) {
	if w.batch.rows > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if label != nil {
		text, err := json.Marshal(label)
		if err != nil {
			return err
		}
		if err := w.file.footer.AppendKeyValueMetadata(labelKey, string(text)); err != nil {
			return err
		}
	}
	if err := w.file.footer.AppendKeyValueMetadata(sumKey, string(noSum)); err != nil {
		return err
	}
	return w.seal()
}

// seal writes the footer with the sum of everything in it.
func (w *changeWriter) seal() (err error) {
	defer recovered(&err)
	meta, err := w.file.footer.Finish()
	if err != nil {
		return err
	}
	var tail bytes.Buffer
	n, err := meta.WriteTo(&tail, nil)
	if err != nil {
		return err
	}
	tail.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(n)), magic...))
	sum, err := sumIn(tail.Bytes())
	if err != nil {
		return err
	}
	w.hash.Write(tail.Bytes())
	hex.Encode(sum, w.hash.Sum(nil))
	w.file.out.w = w.to
	_, err = w.file.out.Write(tail.Bytes())
	return err
}

// sumIn finds the digits of the sum in a footer. Behind them come only constants,
// so the last mark is the right one, whatever keys of rows stand in statistics.
func sumIn(footer []byte) ([]byte, error) {
	at := bytes.LastIndex(footer, []byte(sumMark))
	if at < 0 || len(footer)-at-len(sumMark) < len(noSum) {
		return nil, fmt.Errorf("parquet: it carries no sum of itself")
	}
	at += len(sumMark)
	return footer[at : at+len(noSum)], nil
}

// verifyChanges reads a file of changes whole and compares it with its sum.
func verifyChanges(r io.ReaderAt, size int64) error {
	tail, err := readTail(r, size)
	if err != nil {
		return err
	}
	sum, err := sumIn(tail)
	if err != nil {
		return err
	}
	said := string(sum)
	copy(sum, noSum)
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, size-int64(len(tail)))); err != nil {
		return err
	}
	h.Write(tail)
	if hex.EncodeToString(h.Sum(nil)) != said {
		return errNotWhole
	}
	return nil
}

// readTail reads the footer of a parquet file and what stands behind it.
func readTail(r io.ReaderAt, size int64) ([]byte, error) {
	var end [8]byte // the footer's length, and "PAR1"
	if size < int64(len(end)) {
		return nil, errFooter
	}
	if _, err := r.ReadAt(end[:], size-int64(len(end))); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(end[:])) + int64(len(end))
	if string(end[4:]) != magic || n > maxFooter || n > size {
		return nil, errFooter
	}
	tail := make([]byte, n)
	_, err := r.ReadAt(tail, size-n)
	return tail, err
}

// readLabel tells what a file of a History is about, and how many rows it has.
func readLabel(r io.ReaderAt, size int64) (label changeLabel, rows int64, err error) {
	defer recovered(&err)
	g, err := changeCodec.rows.open(r, size)
	if err != nil {
		return label, 0, err
	}
	text := g.file.MetaData().KeyValueMetadata().FindValue(labelKey)
	if text == nil {
		return label, 0, fmt.Errorf("parquet: it does not say which range it covers")
	}
	if err := json.Unmarshal([]byte(*text), &label); err != nil {
		return label, 0, fmt.Errorf("%s: %w", labelKey, err)
	}
	return label, g.file.NumRows(), nil
}

// changesBehind gives the changes of a file that lie behind a position. Row
// groups that end before it are not read.
func changesBehind(r io.ReaderAt, size int64, after api.Position) iter.Seq2[*Change, error] {
	return func(yield func(*Change, error) bool) {
		groups, err := changeCodec.rows.open(r, size)
		if err != nil {
			yield(nil, err)
			return
		}
		for g := range groups.count() {
			if last, known := lastIndex(groups.file, g); known && last < after.Index {
				continue
			}
			for c, err := range groups.changes(g) {
				if err != nil {
					yield(nil, fmt.Errorf("row group %d: %w", g, err))
					return
				}
				if after.Before(c.Position()) && !yield(c, nil) {
					return
				}
			}
		}
	}
}

// changes gives those of a row group.
func (g *groups) changes(group int) iter.Seq2[*Change, error] {
	return func(yield func(*Change, error) bool) {
		rows, err := g.open(group)
		for err == nil && rows.left > 0 {
			c := new(Change)
			if err = rows.next(unsafe.Pointer(c)); err == nil && !yield(c, nil) {
				return
			}
		}
		if err == nil {
			err = rows.end()
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// lastIndex is the index of the last change of a row group, if the file tells.
func lastIndex(f *file.Reader, group int) (last uint64, known bool) {
	var err error
	defer func() { known = known && err == nil }()
	defer recovered(&err)
	chunk, err := f.RowGroup(group).MetaData().ColumnChunk(0) // of Change.Index
	if err != nil {
		return 0, false
	}
	stats, err := chunk.Statistics()
	if err != nil || stats == nil || !stats.HasMinMax() {
		return 0, false
	}
	max := stats.EncodeMax()
	if len(max) != 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(max), true
}
