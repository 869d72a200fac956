package fsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/orchd/orchd/fsm/wire"
)

// TestWireCodeOfRows: the generated code of rows does what is done by their types,
// whatever is in them.
//
//race:out
func TestWireCodeOfRows(t *testing.T) {
	coded := 0
	for _, table := range tables {
		if c, can := table.(interface{ compareCoded(*testing.T) bool }); can && c.compareCoded(t) {
			coded++
		}
	}
	if coded != len(wireRows) {
		t.Errorf("%d tables were compared, want %d", coded, len(wireRows))
	}
}

func (t *table[T]) compareCoded(test *testing.T) bool {
	if _, coded := any(new(T)).(canonicalCoded); !coded {
		return false
	}
	plain := 0
	for seed := range uint64(2000) {
		row, other := new(T), new(T)
		fill(rand.New(rand.NewPCG(seed, 1)), reflect.ValueOf(row).Elem())
		fill(rand.New(rand.NewPCG(seed, 1)), reflect.ValueOf(other).Elem())
		sameCBOR(test, row)
		canonicalize(row)
		canonicalValue(reflect.ValueOf(other).Elem())
		if !reflect.DeepEqual(row, other) {
			test.Fatalf("%s, seed %d: canonical\n got %+v\nwant %+v", t.name, seed, row, other)
		}
		sameCBOR(test, row)
		if got, want := t.encoded(row), t.encodedByType(row); !bytes.Equal(got, want) {
			test.Fatalf("%s, seed %d: JSON\n got %s\nwant %s", t.name, seed, got, want)
		}
		if _, ok := codedJSON(any(row).(jsonCoded)); ok {
			plain++
		}
	}
	if plain < 100 {
		test.Errorf("%s: %d of 2000 rows went through the code, want some hundred at least", t.name, plain)
	}
	return true
}

func sameCBOR(t *testing.T, v any) []byte {
	t.Helper()
	want, err := encoding.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := marshal(v)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%T: CBOR of\n%+v\n got %x, %v\nwant %x", v, v, got, err, want)
	}
	var b bytes.Buffer
	b.WriteString("before")
	if err := marshalTo(&b, v); err != nil || b.String() != "before"+string(want) {
		t.Fatalf("%T: CBOR behind something else of\n%+v\n got %x, %v\nwant %x", v, v, b.Bytes(), err, want)
	}
	return got
}

// TestWireCodeOfCommands: the same of commands, which are also read.
func TestWireCodeOfCommands(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	read := 0
	for range 3000 {
		var c nodesCreate
		fill(rng, reflect.ValueOf(&c).Elem())
		if sameReading(t, sameCBOR(t, c)) {
			read++
		}
	}
	if read < 300 {
		t.Errorf("%d of 3000 commands were read by the code, want some hundred at least", read)
	}
	w := NewWriter(nil, nil, unsealed{})
	for _, n := range sampleNodes(0, 200) {
		write, err := w.nodeWrite(&n)
		if err != nil {
			t.Fatal(err)
		}
		if !sameReading(t, sameCBOR(t, nodesCreate{Nodes: []nodeWrite{write}, Array: true})) {
			t.Fatalf("the code cannot read %+v", write)
		}
	}
}

// sameReading tells whether the code can read b: then it reads what is read by the types.
func sameReading(t *testing.T, b []byte) bool {
	t.Helper()
	var got, want nodesCreate
	r := wire.NewReader(b)
	if got.readCBOR(r); !r.Done() {
		return false
	}
	if err := decoding.Unmarshal(b, &want); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%x\n got %+v\nwant %+v, %v", b, got, want, err)
	}
	return true
}

// FuzzReadNodes: what the generated code reads is what is read by the types.
func FuzzReadNodes(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		var c nodesCreate
		fill(rng, reflect.ValueOf(&c).Elem())
		b, err := marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { sameReading(t, b) })
}

// BenchmarkWireCode compares the two ways: an array of 100 nodes read, and one of its nodes written.
func BenchmarkWireCode(b *testing.B) {
	w := NewWriter(nil, nil, unsealed{})
	var c nodesCreate
	for _, n := range sampleNodes(0, 100) {
		write, err := w.nodeWrite(&n)
		if err != nil {
			b.Fatal(err)
		}
		c.Nodes = append(c.Nodes, write)
	}
	body, err := marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	row := &c.Nodes[0].Node
	canonicalize(row)
	var buffer bytes.Buffer
	for name, f := range map[string]func() error{
		"read/code":       func() error { return unmarshal(body, new(nodesCreate)) },
		"read/types":      func() error { return decoding.Unmarshal(body, new(nodesCreate)) },
		"cbor/code":       func() error { buffer.Reset(); return marshalTo(&buffer, row) },
		"cbor/types":      func() error { buffer.Reset(); return encodingTo.MarshalToBuffer(row, &buffer) },
		"json/code":       func() error { computeNodes.encoded(row); return nil },
		"json/types":      func() error { computeNodes.encodedByType(row); return nil },
		"canonical/code":  func() error { canonicalize(row); return nil },
		"canonical/types": func() error { canonicalValue(reflect.ValueOf(row).Elem()); return nil },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(fmt.Errorf("%s: %w", name, err))
				}
			}
		})
	}
}
