package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/orchd/orchd/api/inventory"
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
	if nodes, _, err = DecodeNodes(sample(t, "fake_compute_nodes.json")); err != nil || len(nodes) != 512 {
		t.Fatalf("fake_compute_nodes.json: got %d nodes, %v; want 512", len(nodes), err)
	}
}

// Each object of the samples holds for the schema by itself, as a client checks it before it sends it.
func TestSampleObjects(t *testing.T) {
	for name, kind := range map[string]string{"computenode.json": "ComputeNode", "fake_compute_nodes.json": "ComputeNode", "nodecollection.json": "NodeCollection"} {
		var objects []json.RawMessage
		if err := json.Unmarshal(sample(t, name), &objects); err != nil || len(objects) == 0 {
			t.Fatalf("%s: %d objects, %v", name, len(objects), err)
		}
		for i, o := range objects {
			if err := Validate(kind, o); err != nil {
				t.Errorf("%s: object %d: %s", name, i, faultsIn(err))
			}
		}
	}
	c, err := DecodeCollection(bytes.Trim(sample(t, "nodecollection.json"), "[] \n"))
	if err != nil || c.Name != "Partition 1" || c.Type != inventory.Partition || !slices.Equal(c.Nodes, []string{"x3000c12s12b3n3"}) {
		t.Errorf("got %+v, %v", c, faultsIn(err))
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
