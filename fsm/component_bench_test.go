package fsm

import (
	"testing"

	"github.com/orchd/orchd/api/smd"
)

// BenchmarkComponents lists the components of 250,000 nodes and their BMCs, one
// in ten nodes with a row of its own.
func BenchmarkComponents(b *testing.B) {
	const fleet = 250_000
	w := NewWriter(&direct{m: New()}, nil, unsealed{})
	m := w.proposer.(*direct).m
	for n := 0; n < fleet; n += 1000 {
		nodes := sampleNodes(n, 1000)
		if _, err := w.CreateNodes(asAdmin(), nodes, true); err != nil {
			b.Fatal(err)
		}
		var rows []smd.Component
		for k := 0; k < len(nodes); k += 10 {
			rows = append(rows, smd.Component{ID: nodes[k].XName, State: "On"})
		}
		if _, err := w.PutComponents(asAdmin(), rows, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	rows := 0
	for b.Loop() {
		for range m.Read().Components("") {
			rows++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
	b.ReportMetric(float64(rows)/float64(b.N), "rows")
}

// BenchmarkEthernetInterfaces lists the interfaces of 50,000 nodes.
func BenchmarkEthernetInterfaces(b *testing.B) {
	w := NewWriter(&direct{m: New()}, nil, unsealed{})
	for n := 0; n < 50_000; n += 1000 {
		if _, err := w.CreateNodes(asAdmin(), sampleNodes(n, 1000), true); err != nil {
			b.Fatal(err)
		}
	}
	m := w.proposer.(*direct).m
	b.ReportAllocs()
	rows := 0
	for b.Loop() {
		for range m.Read().EthernetInterfaces("") {
			rows++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
}

// BenchmarkPutComponents posts 10,000 components, which are there from the second
// time on, to 250,000 that are there.
func BenchmarkPutComponents(b *testing.B) {
	w := NewWriter(&direct{m: New()}, nil, unsealed{})
	list := manyComponents(250_000)
	if _, err := w.PutComponents(asAdmin(), list, false); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	at := 0
	for b.Loop() {
		if _, err := w.PutComponents(asAdmin(), list[at:at+10_000], false); err != nil {
			b.Fatal(err)
		}
		at = (at + 10_000) % len(list)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/row")
}
