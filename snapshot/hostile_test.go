package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// shapes is a few columns of every form.
type shapes struct {
	ID   string            `json:"id"`
	On   bool              `json:"on,omitempty"`
	N    uint16            `json:"n"`
	At   time.Time         `json:"at"`
	List []small           `json:"list"`
	Map  map[string]*int64 `json:"map"`
	Deep [][]string        `json:"deep"`
}

var shapesCodec = MustCodec[shapes]()

var shapesRows = []*shapes{
	{},
	{"a", true, 7, time.Unix(1, 0).UTC(), []small{{true, 0}, {false, 2}}, map[string]*int64{"x": nil, "y": ptr(int64(3))}, [][]string{nil, {}, {"p", "q"}}},
	{"a", false, 300, time.Time{}, []small{}, map[string]*int64{}, [][]string{}},
}

// readsOrFails reads a file that may be anything. It must come to an end, which
// the test's own time limit watches, without a panic.
func readsOrFails(data []byte) {
	n := 0
	for range shapesCodec.Read(bytes.NewReader(data), int64(len(data))) {
		if n++; n > 10_000 {
			return // levels can claim any number of empty rows
		}
	}
}

// TestReadHostile alters every byte of a file in several ways, and cuts it everywhere.
//
//race:out
func TestReadHostile(t *testing.T) {
	data := write(t, shapesCodec, shapesRows)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		for _, b := range []byte{0, 0xff, data[i] ^ 0x80, data[i] + 1, byte(rng.Uint32())} {
			altered := bytes.Clone(data)
			altered[i] = b
			readsOrFails(altered)
		}
		if i%7 == 0 {
			readsOrFails(data[:i])
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(write(f, shapesCodec, shapesRows))
	f.Add([]byte("PAR1"))
	f.Fuzz(func(_ *testing.T, data []byte) { readsOrFails(data) })
}

func TestReadOtherSchema(t *testing.T) {
	type old struct {
		ID string `json:"id"`
	}
	type newer struct {
		ID    string            `json:"id"`
		Note  string            `json:"note,omitempty"`
		Tags  []string          `json:"tags"`
		Marks map[string]string `json:"marks"`
		Inner *small            `json:"inner"`
		Group small             `json:"group,omitzero"`
		At    time.Time         `json:"at"`
	}
	type needs struct {
		ID   string `json:"id"`
		Note string `json:"note"`
	}
	type needsGroup struct {
		ID    string `json:"id"`
		Group small  `json:"group"`
	}
	type number struct {
		ID int64 `json:"id"`
	}
	type maybe struct {
		ID string `json:"id,omitempty"`
	}
	data := write(t, MustCodec[old](), []*old{{"a"}})
	got, err := read(MustCodec[newer](), data)
	if err != nil || len(got) != 1 || show(got[0]) != show(&newer{ID: "a"}) {
		t.Errorf("columns added: got %s, %v", show(got), err)
	}
	for name, c := range map[string]struct {
		read func() error
		want string
	}{
		"required column":    {func() error { _, err := read(MustCodec[needs](), data); return err }, "column note"},
		"required group":     {func() error { _, err := read(MustCodec[needsGroup](), data); return err }, "column group.on"},
		"other type":         {func() error { _, err := read(MustCodec[number](), data); return err }, "column id"},
		"optional since":     {func() error { _, err := read(MustCodec[maybe](), data); return err }, "column id"},
		"column not known":   {func() error { _, err := read(MustCodec[old](), write(t, MustCodec[newer](), []*newer{{}})); return err }, "column note is not known"},
		"not parquet at all": {func() error { _, err := read(MustCodec[old](), []byte("no parquet, no magic")); return err }, "parquet"},
		"nothing":            {func() error { _, err := read(MustCodec[old](), nil); return err }, "does not end as"},
	} {
		if err := c.read(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestReadOverflow(t *testing.T) {
	type big struct {
		N int64 `json:"n"`
	}
	type little struct {
		N int8 `json:"n"`
	}
	data := write(t, MustCodec[big](), []*big{{127}, {128}})
	rows, err := read(MustCodec[little](), data)
	if len(rows) != 1 || rows[0].N != 127 || err == nil || !strings.Contains(err.Error(), "128 does not fit int8") {
		t.Errorf("got %s, %v", show(rows), err)
	}
}

func TestCodecRefuses(t *testing.T) {
	type loop struct {
		Next []loop `json:"next"`
	}
	for want, make := range map[string]func() error{
		"no struct":                  codecError[int],
		"Ratio: columns cannot hold": codecError[struct{ Ratio float64 }],
		"In.F: columns cannot":       codecError[struct{ In struct{ F float32 } }],
		"A: columns cannot hold [4]": codecError[struct{ A [4]byte }],
		"Any: columns cannot hold":   codecError[struct{ Any any }],
		"M: columns cannot hold map": codecError[struct{ M map[int]string }],
		"contains itself":            codecError[loop],
		"has no columns":             codecError[struct{ Empty struct{} }],
		"two ways to be null":        codecError[struct{ P *[]string }],
		"id: two columns":            codecError[struct{ ID, Id, id string }],
		"cannot hold a dot": codecError[struct {
			A string `json:"a.b"`
		}],
		"embedded pointer": codecError[struct{ *Manifest }],
	} {
		if err := make(); err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func codecError[T any]() error {
	_, err := NewCodec[T]()
	return err
}

func TestWriteRefuses(t *testing.T) {
	type row struct {
		Text string    `json:"text"`
		At   time.Time `json:"at"`
	}
	c := MustCodec[row]()
	for want, bad := range map[string]*row{
		"row 1: column text": {Text: "\xff"},
		"row 1: column at":   {At: time.Unix(math.MaxInt64/2, 0)},
	} {
		n, err := c.Write(io.Discard, slices.Values([]*row{{}, bad, {}}))
		if n != 1 || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %d, %v, want 1 and an error with %q", n, err, want)
		}
	}
	if data := write(t, c, []*row{{Text: "still fine"}}); len(data) == 0 {
		t.Error("a failed write spoiled the codec")
	}
}

// TestWriteTellsOfAFullDisk: arrow drops errors of its sink in several places; none may be lost.
func TestWriteTellsOfAFullDisk(t *testing.T) {
	full := errors.New("no space left")
	whole := len(write(t, shapesCodec, shapesRows))
	for room := range whole {
		left := room
		w := writerFunc(func(p []byte) (int, error) {
			if left -= len(p); left < 0 {
				return 0, full
			}
			return len(p), nil
		})
		if _, err := shapesCodec.Write(w, slices.Values(shapesRows)); !errors.Is(err, full) {
			t.Fatalf("with room for %d of %d bytes: got %v", room, whole, err)
		}
	}
}

// TestWriteManyGroups: rows and bytes both end a row group, and reading goes over all of them.
func TestWriteManyGroups(t *testing.T) {
	type row struct {
		N    int64           `json:"n"`
		Data json.RawMessage `json:"data"`
		List []int64         `json:"list"`
	}
	large := append([]byte{'"'}, append(bytes.Repeat([]byte{'x'}, groupBytes/3), '"')...)
	c := MustCodec[row]()
	var rows []*row
	for i := range int64(2*groupRows + 10) {
		r := &row{N: i}
		if i%20_000 < 5 {
			r.Data = large
		}
		if i == 100 { // more elements than a batch of levels
			r.List = make([]int64, 3*batchLevels+1)
		}
		rows = append(rows, r)
	}
	data := write(t, c, rows)
	g, err := c.rows.open(bytes.NewReader(data), int64(len(data)))
	if err != nil || g.count() < 4 {
		t.Fatalf("got %v row groups, %v, want more than 3", g.count(), err)
	}
	got, err := read(c, data)
	if err != nil || len(got) != len(rows) {
		t.Fatalf("got %d rows, %v, want %d", len(got), err, len(rows))
	}
	for i := range rows {
		if got[i].N != rows[i].N || !bytes.Equal(got[i].Data, rows[i].Data) || !slices.Equal(got[i].List, rows[i].List) {
			t.Fatalf("row %d differs", i)
		}
	}
}

// TestReadSharesEqualStrings: a column that says the same in each row costs one string.
func TestReadSharesEqualStrings(t *testing.T) {
	got, err := read(thingCodec, write(t, thingCodec, []*thing{{ID: "same"}, {ID: "same"}}))
	if err != nil || unsafe.StringData(got[0].ID) != unsafe.StringData(got[1].ID) {
		t.Errorf("got %v, %v: two copies", got, err)
	}
}

func TestReadStopsWhenAsked(t *testing.T) {
	data := write(t, thingCodec, things(5))
	n := 0
	for range thingCodec.Read(bytes.NewReader(data), int64(len(data))) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("got %d rows", n)
	}
}
