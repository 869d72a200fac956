package snapshot

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/orchd/orchd/api"
)

// drawChange draws a change with every mixture of absent, empty and full fields.
func drawChange(t *rapid.T) Change {
	texts := rapid.SampledFrom([]string{"", "a", "läuft", sumMark, "long text that is not the others"})
	return Change{
		Index: rapid.Uint64Range(1, 1000).Draw(t, "index"), N: rapid.Uint64Range(1, 3).Draw(t, "n"),
		Time:  rapid.SampledFrom([]time.Time{{}, timeOf(1), timeOf(2).Add(time.Microsecond)}).Draw(t, "time"),
		Actor: texts.Draw(t, "actor"), RequestID: texts.Draw(t, "request"), Table: texts.Draw(t, "table"),
		Key: texts.Draw(t, "key"), Account: texts.Draw(t, "account"), Verb: texts.Draw(t, "verb"),
		Value: rapid.SampledFrom([][]byte{nil, {}, []byte("null"), []byte(`{"a":[1]}`)}).Draw(t, "value"),
	}
}

// drawChanges draws changes in order.
func drawChanges(t *rapid.T) []Change {
	out := rapid.SliceOfN(rapid.Custom(drawChange), 0, 12).Draw(t, "changes")
	slices.SortFunc(out, func(a, b Change) int {
		if a.Position().Before(b.Position()) {
			return -1
		}
		return 1
	})
	return slices.CompactFunc(out, func(a, b Change) bool { return a.Position() == b.Position() })
}

// writeChanges gives changes as a file.
func writeChanges(t testing.TB, changes []Change) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := WriteChanges(&out, given(changes))
	if err != nil || n != int64(len(changes)) {
		t.Fatalf("write: got %d, %v, want %d", n, err, len(changes))
	}
	return out.Bytes()
}

func readChanges(data []byte) ([]*Change, error) {
	return collect(ReadChanges(bytes.NewReader(data), int64(len(data))))
}

func TestChangesRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := drawChanges(rt)
		data := writeChanges(t, want)
		got, err := readChanges(data)
		if diff := differ(got, want); err != nil || diff != "" {
			rt.Fatalf("%s, %v", diff, err)
		}
		if again := writeChanges(t, want); !bytes.Equal(data, again) {
			rt.Fatal("the same changes gave other bytes")
		}
	})
}

func TestWriteChangesRefuses(t *testing.T) {
	broken := errors.New("broken")
	cs := changesOf(1, 2)
	for want, seq := range map[string]func(func(*Change, error) bool){
		"change 1.1 comes behind change 1.2": given([]Change{cs[1], cs[0]}),
		"change 1.2 comes behind change 1.2": given([]Change{cs[1], cs[1]}),
		"column key":                         given([]Change{{Index: 1, N: 1, Key: "\xff"}}),
		"broken":                             func(yield func(*Change, error) bool) { _ = yield(&cs[0], nil) && yield(nil, broken) },
	} {
		if _, err := WriteChanges(io.Discard, seq); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// TestWriteChangesTellsOfAFullDisk: arrow drops errors of its sink in several places; none may be lost.
//
//race:out
func TestWriteChangesTellsOfAFullDisk(t *testing.T) {
	full := errors.New("no space left")
	changes := truths(Range{1, 5})
	for room := range len(writeChanges(t, changes)) {
		left := room
		w := writerFunc(func(p []byte) (int, error) {
			if left -= len(p); left < 0 {
				return 0, full
			}
			return len(p), nil
		})
		if _, err := WriteChanges(w, given(changes)); !errors.Is(err, full) {
			t.Fatalf("with room for %d bytes: got %v", room, err)
		}
	}
}

// TestReadChangesNoticesEveryFlip: each byte altered, each cut, each byte more.
//
//race:out
func TestReadChangesNoticesEveryFlip(t *testing.T) {
	data := writeChanges(t, truths(Range{1, 5}))
	for i := range data {
		for _, altered := range [][]byte{flip(i)(bytes.Clone(data)), data[:i], append(data[:i:i], data[i+1:]...)} {
			if got, err := readChanges(altered); err == nil || len(got) > 0 {
				t.Fatalf("byte %d: got %d changes, %v", i, len(got), err)
			}
		}
	}
	if _, err := readChanges(append(bytes.Clone(data), 0)); err == nil {
		t.Error("a byte more was not noticed")
	}
	if _, err := readChanges(write(t, changeCodec, []*Change{{}})); err == nil || !strings.Contains(err.Error(), "no sum") {
		t.Errorf("a file without a sum: got %v", err)
	}
}

// TestChangesBehindSkipsRowGroups: what ends before the position is not read.
func TestChangesBehindSkipsRowGroups(t *testing.T) {
	var changes []Change
	for index := uint64(1); len(changes) < 4*groupRows; index++ {
		changes = append(changes, changesOf(index, 10)...)
	}
	in := &readCounter{data: writeChanges(t, changes)}
	read := func(after api.Position) (n int) {
		in.read = 0
		for c, err := range changesBehind(in, int64(len(in.data)), after) {
			if err != nil || !after.Before(c.Position()) {
				t.Fatalf("behind %v: got %v, %v", after, c, err)
			}
			n++
		}
		return n
	}
	if n := read(api.Position{}); n != len(changes) {
		t.Errorf("got %d, want %d", n, len(changes))
	}
	all := in.read
	if n := read(changes[len(changes)-2].Position()); n != 1 || in.read > all/2 {
		t.Errorf("got %d changes, want 1; read %d bytes, all are %d", n, in.read, all)
	}
}

// readCounter counts what is read.
type readCounter struct {
	data []byte
	read int
}

func (r *readCounter) ReadAt(p []byte, at int64) (int, error) {
	n, err := bytes.NewReader(r.data).ReadAt(p, at)
	r.read += n
	return n, err
}

func TestRangeWithout(t *testing.T) {
	r := Range{10, 20}
	for _, c := range []struct{ others, want []Range }{
		{nil, []Range{{10, 20}}},
		{[]Range{{1, 9}, {21, 30}}, []Range{{10, 20}}},
		{[]Range{{1, 10}, {20, 30}}, []Range{{11, 19}}},
		{[]Range{{12, 13}, {15, 15}}, []Range{{10, 11}, {14, 14}, {16, 20}}},
		{[]Range{{1, 14}, {15, 30}}, nil},
		{[]Range{{12, 11}, {10, 20}}, nil},
	} {
		if got := r.without(c.others); !slices.Equal(got, c.want) {
			t.Errorf("without %v: got %v, want %v", c.others, got, c.want)
		}
	}
	if got := (Range{5, 4}).without(nil); got != nil {
		t.Errorf("nothing without nothing: got %v", got)
	}
}
