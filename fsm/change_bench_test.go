package fsm

import (
	"testing"

	"github.com/google/uuid"
)

// BenchmarkKeepChanges applies commands that make 500 nodes each: without changes,
// with changes noted, and what it takes beside apply to encode them.
func BenchmarkKeepChanges(b *testing.B) {
	const nodes = 500
	w := NewWriter(nil, nil, unsealed{})
	command := func(b *testing.B, from int) []byte {
		var c nodesCreate
		for _, n := range sampleNodes(from, nodes) {
			write, err := w.nodeWrite(&n)
			if err != nil {
				b.Fatal(err)
			}
			c.Nodes = append(c.Nodes, write)
		}
		encoded, err := encode(Meta{Type: createNodes, V: 1, ID: uuid.NewString(), Actor: admin}, c)
		if err != nil {
			b.Fatal(err)
		}
		return encoded
	}
	run := func(b *testing.B, timed string) {
		m, index := New(), uint64(0)
		if timed != "off" {
			m.KeepChanges(0)
		}
		rows := 0
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			next := command(b, int(index)*nodes)
			index++
			if timed != "encode" {
				b.StartTimer()
			}
			if r := m.ApplyAll(index, epoch0, [][]byte{next})[0].(Result); r.Err != nil {
				b.Fatal(r.Err)
			}
			b.StopTimer()
			for batch, ok := m.changes.take(); ok; batch, ok = m.changes.take() {
				m.changes.done(batch)
				if timed == "encode" {
					b.StartTimer()
					rows += len(batch.changes())
					b.StopTimer()
				}
			}
			b.StartTimer()
		}
		if timed == "encode" {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/change")
			return
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/nodes, "ns/node")
	}
	for _, timed := range []string{"off", "noted", "encode"} {
		b.Run(timed, func(b *testing.B) { run(b, timed) })
	}
}
