package snapshot

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/parquet/file"
	"pgregory.net/rapid"
)

// readLevels reads n levels of width bits as the format describes them (parquet-format, Encodings.md).
func readLevels(t *rapid.T, data []byte, width, n int) (out []uint8) {
	for len(data) > 0 {
		head, used := binary.Uvarint(data)
		data = data[used:]
		if head&1 == 0 {
			out = append(out, slices.Repeat(data[:1], int(head>>1))...)
			data = data[1:]
			continue
		}
		if head>>1 > 63 {
			t.Fatalf("a run of %d groups", head>>1)
		}
		for i := range int(head>>1) * 8 {
			v := uint8(0)
			for b := range width {
				at := i*width + b
				v |= data[at/8] >> (at % 8) & 1 << b
			}
			out = append(out, v)
		}
		data = data[int(head>>1)*width:]
	}
	if len(out) < n || len(out)-n >= levelGroup {
		t.Fatalf("%d levels were written as %d", n, len(out))
	}
	return out[:n]
}

func TestLevels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Uint8Range(1, 20).Draw(t, "most")
		width := bits.Len8(most)
		var levels []uint8
		for range rapid.IntRange(0, 30).Draw(t, "runs") {
			level := rapid.Uint8Range(0, most).Draw(t, "level")
			levels = append(levels, slices.Repeat([]uint8{level}, rapid.SampledFrom([]int{1, 1, 2, 3, 7, 8, 9, 700}).Draw(t, "times"))...)
			if rapid.IntRange(0, 9).Draw(t, "long") == 0 { // and a long stretch without runs
				for i := range 1200 {
					levels = append(levels, uint8(i)%(most+1))
				}
			}
		}
		data := appendLevels(nil, levels, width)
		if got := readLevels(t, data, width, len(levels)); !bytes.Equal(got, levels) {
			t.Fatalf("got %v, want %v", got, levels)
		}
		if got := countLevels(data, width, len(levels)); got < len(levels) {
			t.Fatalf("%d levels are counted as %d", len(levels), got)
		}
	})
}

// TestStatistics: the footer tells of each row group its own least and greatest values and its nulls.
func TestStatistics(t *testing.T) {
	type row struct {
		Text  string `json:"text,omitempty"`
		N     int64  `json:"n"`
		U     uint64 `json:"u"`
		Blank string `json:"blank,omitempty"`
	}
	var rows []*row
	for i := range 2 * groupRows {
		r := &row{N: int64(i%groupRows) - 5, U: uint64(i) << 51} // half of the first group is above the signed ones
		if i%4 > 0 {
			r.Text = nodeKey(i)
		}
		rows = append(rows, r)
	}
	data := write(t, MustCodec[row](), rows)
	f, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for g := range 2 {
		want := slices.MinFunc(rows[g*groupRows+1:][:groupRows-1], func(a, b *row) int {
			if a.Text == "" || b.Text == "" {
				return len(b.Text) - len(a.Text) // nulls do not count
			}
			return bytes.Compare([]byte(a.Text), []byte(b.Text))
		}).Text
		if s := statistics(t, f, g, 0); string(s.EncodeMin()) != want || s.NullCount() != groupRows/4 {
			t.Errorf("group %d, text: got %q and %d nulls, want %q and %d", g, s.EncodeMin(), s.NullCount(), want, groupRows/4)
		}
		if s := statistics(t, f, g, 1); int64(binary.LittleEndian.Uint64(s.EncodeMin())) != -5 || binary.LittleEndian.Uint64(s.EncodeMax()) != groupRows-6 {
			t.Errorf("group %d, signed: got %x to %x", g, s.EncodeMin(), s.EncodeMax())
		}
		if s := statistics(t, f, g, 3); s.HasMinMax() || s.NullCount() != groupRows {
			t.Errorf("group %d, nothing but nulls: got %q, %d", g, s.EncodeMin(), s.NullCount())
		}
	}
	if s := statistics(t, f, 0, 2); binary.LittleEndian.Uint64(s.EncodeMax()) != (groupRows-1)<<51 {
		t.Errorf("unsigned: got %x", s.EncodeMax())
	}
}

type columnStatistics interface {
	EncodeMin() []byte
	EncodeMax() []byte
	NullCount() int64
	HasMinMax() bool
}

func statistics(t *testing.T, f *file.Reader, group, column int) columnStatistics {
	t.Helper()
	chunk, err := f.RowGroup(group).MetaData().ColumnChunk(column)
	if err != nil {
		t.Fatal(err)
	}
	s, err := chunk.Statistics()
	if err != nil || s == nil {
		t.Fatalf("column %d has no statistics: %v", column, err)
	}
	return s
}
