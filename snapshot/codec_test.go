package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type word string

type base struct {
	ID      string `json:"id"`
	Version uint64 `json:"version"`
}

type leafy struct {
	Name  string    `json:"name"`
	Size  int64     `json:"size,omitempty"`
	Seen  time.Time `json:"seen"`
	Tags  []string  `json:"tags"`
	Inner *small    `json:"inner"`
}

type level uint8

// board has lists of structs in lists of structs.
type board struct {
	Slot  level   `json:"slot,omitempty"`
	Label *word   `json:"label,omitempty"`
	Nodes []leafy `json:"nodes,omitempty"`
	Next  *leafy  `json:"next,omitempty"`
}

type small struct {
	On bool  `json:"on"`
	N  uint8 `json:"n,omitempty"`
}

// wide has a field of every shape that a codec takes.
type wide struct {
	base
	Flag    bool                `json:"flag"`
	Maybe   bool                `json:"maybe,omitempty"`
	Int     int                 `json:"int"`
	I8      int8                `json:"i8"`
	I16     int16               `json:"i16,omitempty"`
	I32     int32               `json:"i32"`
	I64     int64               `json:"i64,omitzero"`
	U8      uint8               `json:"u8"`
	U16     uint16              `json:"u16"`
	U32     uint32              `json:"u32,omitempty"`
	U64     uint64              `json:"u64"`
	Text    string              `json:"text"`
	Word    word                `json:"word,omitempty"`
	Blob    []byte              `json:"blob"`
	Raw     json.RawMessage     `json:"raw,omitempty"`
	At      time.Time           `json:"at"`
	PtrAt   *time.Time          `json:"ptr_at"`
	PtrInt  *int64              `json:"ptr_int,omitempty"`
	PtrText *string             `json:"ptr_text"`
	Ptr     *leafy              `json:"ptr"`
	Group   leafy               `json:"group"`
	Zero    leafy               `json:"zero,omitzero"`
	Words   []word              `json:"words"`
	Ints    []int64             `json:"ints,omitempty"`
	Times   []time.Time         `json:"times"`
	Blobs   [][]byte            `json:"blobs"`
	Ptrs    []*small            `json:"ptrs"`
	List    []leafy             `json:"list"`
	Deep    [][][]string        `json:"deep"`
	Labels  map[string]string   `json:"labels,omitempty"`
	Named   map[word]leafy      `json:"named"`
	Lists   map[string][]int64  `json:"lists"`
	Maps    []map[string]*int64 `json:"maps"`
	PtrWord *word               `json:"ptr_word,omitempty"`
	PtrU8   *uint8              `json:"ptr_u8,omitempty"`
	Level   level               `json:"level"`
	Boards  []board             `json:"boards,omitempty"`
	Racks   map[word][]board    `json:"racks"`
	Untaged string
	Skipped string `json:"-"`
}

var wideCodec = MustCodec[wide]()

// write gives rows as a parquet file.
func write[T any](t testing.TB, c *Codec[T], rows []*T) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := c.Write(&out, slices.Values(rows))
	if err != nil || n != int64(len(rows)) {
		t.Fatalf("write: got %d rows, %v, want %d", n, err, len(rows))
	}
	return out.Bytes()
}

// collect gives the rows of an iterator up to its first error.
func collect[T any](seq iter.Seq2[*T, error]) (out []*T, err error) {
	for row, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, row)
	}
	return out, nil
}

func read[T any](c *Codec[T], data []byte) ([]*T, error) {
	return collect(c.Read(bytes.NewReader(data), int64(len(data))))
}

func ptr[T any](v T) *T { return &v }

// drawWide draws a wide with every mixture of absent, empty and full parts.
func drawWide(t *rapid.T) *wide {
	texts := rapid.SampledFrom([]string{"", "a", "b", "läuft", "long text that is not the others"})
	times := rapid.Custom(func(t *rapid.T) time.Time {
		return rapid.SampledFrom([]time.Time{
			{}, time.UnixMicro(0).UTC(), time.UnixMicro(-1).UTC(), time.UnixMicro(1_700_000_000_123_456).UTC(),
			time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
		}).Draw(t, "time")
	})
	smalls := rapid.Custom(func(t *rapid.T) small {
		return small{rapid.Bool().Draw(t, "on"), rapid.Uint8().Draw(t, "n")}
	})
	leafies := rapid.Custom(func(t *rapid.T) leafy {
		return leafy{texts.Draw(t, "name"), rapid.Int64Range(0, 2).Draw(t, "size"), times.Draw(t, "seen"),
			slice(texts).Draw(t, "tags"), rapid.Ptr(smalls, true).Draw(t, "inner")}
	})
	words := rapid.Map(texts, func(s string) word { return word(s) })
	boards := rapid.Custom(func(t *rapid.T) board {
		return board{level(rapid.IntRange(0, 2).Draw(t, "slot")), rapid.Ptr(words, true).Draw(t, "label"),
			slice(leafies).Draw(t, "nodes"), rapid.Ptr(leafies, true).Draw(t, "next")}
	})
	return &wide{
		base:    base{texts.Draw(t, "id"), rapid.Uint64().Draw(t, "version")},
		Flag:    rapid.Bool().Draw(t, "flag"),
		Maybe:   rapid.Bool().Draw(t, "maybe"),
		Int:     rapid.Int().Draw(t, "int"),
		I8:      rapid.Int8().Draw(t, "i8"),
		I16:     rapid.Int16().Draw(t, "i16"),
		I32:     rapid.Int32().Draw(t, "i32"),
		I64:     rapid.Int64().Draw(t, "i64"),
		U8:      rapid.Uint8().Draw(t, "u8"),
		U16:     rapid.Uint16().Draw(t, "u16"),
		U32:     rapid.Uint32().Draw(t, "u32"),
		U64:     rapid.Uint64().Draw(t, "u64"),
		Text:    rapid.String().Draw(t, "text"),
		Word:    word(texts.Draw(t, "word")),
		Blob:    slice(rapid.Byte()).Draw(t, "blob"),
		Raw:     rapid.SampledFrom([]json.RawMessage{nil, []byte(`{"a":[1]}`), []byte(`null`)}).Draw(t, "raw"),
		At:      times.Draw(t, "at"),
		PtrAt:   rapid.Ptr(times, true).Draw(t, "ptr_at"),
		PtrInt:  rapid.Ptr(rapid.Int64(), true).Draw(t, "ptr_int"),
		PtrText: rapid.Ptr(texts, true).Draw(t, "ptr_text"),
		Ptr:     rapid.Ptr(leafies, true).Draw(t, "ptr"),
		Group:   leafies.Draw(t, "group"),
		Zero:    rapid.OneOf(rapid.Just(leafy{}), leafies).Draw(t, "zero"),
		Words:   slice(words).Draw(t, "words"),
		Ints:    slice(rapid.Int64()).Draw(t, "ints"),
		Times:   slice(times).Draw(t, "times"),
		Blobs:   slice(slice(rapid.Byte())).Draw(t, "blobs"),
		Ptrs:    slice(rapid.Ptr(smalls, true)).Draw(t, "ptrs"),
		List:    slice(leafies).Draw(t, "list"),
		Deep:    slice(slice(slice(texts))).Draw(t, "deep"),
		Labels:  mapOf(texts, texts).Draw(t, "labels"),
		Named:   mapOf(words, leafies).Draw(t, "named"),
		Lists:   mapOf(texts, slice(rapid.Int64())).Draw(t, "lists"),
		Maps:    slice(mapOf(texts, rapid.Ptr(rapid.Int64(), true))).Draw(t, "maps"),
		PtrWord: rapid.Ptr(words, true).Draw(t, "ptr_word"),
		PtrU8:   rapid.Ptr(rapid.Uint8(), true).Draw(t, "ptr_u8"),
		Level:   rapid.Map(rapid.Uint8(), func(n uint8) level { return level(n) }).Draw(t, "level"),
		Boards:  slice(boards).Draw(t, "boards"),
		Racks:   mapOf(words, slice(boards)).Draw(t, "racks"),
		Untaged: texts.Draw(t, "untagged"),
	}
}

func slice[T any](of *rapid.Generator[T]) *rapid.Generator[[]T] {
	return rapid.OneOf(rapid.Just([]T(nil)), rapid.SliceOfN(of, 0, 4))
}

func mapOf[K comparable, V any](k *rapid.Generator[K], v *rapid.Generator[V]) *rapid.Generator[map[K]V] {
	return rapid.OneOf(rapid.Just(map[K]V(nil)), rapid.MapOfN(k, v, 0, 4))
}

//race:out
func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := rapid.SliceOfN(rapid.Custom(drawWide), 0, 12).Draw(rt, "rows")
		data := write(t, wideCodec, rows)
		got, err := read(wideCodec, data)
		if err != nil {
			rt.Fatalf("read: %v", err)
		}
		if len(got) != len(rows) {
			rt.Fatalf("got %d rows, want %d", len(got), len(rows))
		}
		for i := range rows {
			if !reflect.DeepEqual(got[i], rows[i]) {
				rt.Fatalf("row %d:\ngot  %s\nwant %s", i, show(got[i]), show(rows[i]))
			}
		}
		if again := write(t, wideCodec, rows); !bytes.Equal(data, again) {
			rt.Fatalf("the same rows gave other bytes")
		}
	})
}

func show(v any) string {
	b, err := json.Marshal(v)
	return fmt.Sprintf("%s %v\n%#v", b, err, v)
}
