package schema

import (
	"os"
	"testing"
)

// sample is a file of the samples that node-orchestrator's users have.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSampleFiles(t *testing.T) {
	nodes, array, err := DecodeNodes(sample(t, "computenode.json"))
	if err != nil || !array || len(nodes) != 11 {
		t.Fatalf("computenode.json: got %d nodes, array %t, %v; want 11", len(nodes), array, err)
	}
	n := nodes[1]
	if n.Hostname != "node1" || n.XName != "x2000c8s8b2n2" || n.LocationString != "" || n.BMC == nil || *n.BMC.Password != "admin" || n.BMC.IPv4Address != "192.168.0.2" {
		t.Errorf("got %+v", n)
	}
	if nodes, _, err = DecodeNodes(sample(t, "fake_compute_nodes.json")); err != nil || len(nodes) == 0 {
		t.Fatalf("fake_compute_nodes.json: got %d nodes, %v", len(nodes), err)
	}
}

func BenchmarkDecodeNodes(b *testing.B) {
	body := sample(b, "fake_compute_nodes.json")
	nodes, _, err := DecodeNodes(body)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeNodes(body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(nodes)), "ns/node")
}
