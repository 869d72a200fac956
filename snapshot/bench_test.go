package snapshot

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"
	"time"
)

// benchNode is about what the inventory remembers of a compute node.
type benchNode struct {
	ID         string            `json:"id"`
	Xname      string            `json:"xname"`
	Name       string            `json:"name,omitempty"`
	State      string            `json:"state"`
	Role       string            `json:"role"`
	Arch       string            `json:"arch"`
	Class      string            `json:"class"`
	NID        int64             `json:"nid"`
	Enabled    bool              `json:"enabled"`
	Labels     map[string]string `json:"labels,omitempty"`
	Interfaces []iface           `json:"interfaces"`
	BootMAC    string            `json:"boot_mac"`
	Spec       nodeSpec          `json:"spec"`
	Version    uint64            `json:"version"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

type iface struct {
	Name string   `json:"name"`
	MAC  string   `json:"mac"`
	IPs  []string `json:"ips"`
}

type nodeSpec struct {
	Sockets   int64  `json:"sockets"`
	Cores     int64  `json:"cores"`
	MemoryMiB int64  `json:"memory_mib"`
	Model     string `json:"model"`
}

const benchRows = 16_000

func benchNodes(n int) []*benchNode {
	var out []*benchNode
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	for i := range n {
		mac := func(k int) string { return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", k, i>>16&255, i>>8&255, i&255) }
		out = append(out, &benchNode{
			ID: fmt.Sprintf("%08x-1111-4222-8333-%012x", i*2654435761, i), Xname: fmt.Sprintf("x%dc%ds%db%dn%d", i/4096, i/512%8, i/8%64, i/2%2, i%2),
			State: []string{"Ready", "On", "Off"}[i%3], Role: "Compute", Arch: "X86", Class: "Mountain", NID: int64(i), Enabled: i%50 > 0,
			Labels:     map[string]string{"rack": fmt.Sprint(i / 512), "zone": "a"},
			Interfaces: []iface{{"eth0", mac(0), []string{fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)}}, {"hsn0", mac(1), nil}},
			BootMAC:    mac(0), Spec: nodeSpec{2, 128, 524288, "EX425"}, Version: uint64(i % 7), CreatedAt: at, UpdatedAt: at.Add(time.Duration(i) * time.Second),
		})
	}
	return out
}

var nodeCodec = MustCodec[benchNode]()

func BenchmarkWrite(b *testing.B) {
	rows := benchNodes(benchRows)
	var size int64
	b.ReportAllocs()
	for b.Loop() {
		var out countingWriter
		if _, err := nodeCodec.Write(&out, slices.Values(rows)); err != nil {
			b.Fatal(err)
		}
		size = int64(out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
	b.ReportMetric(float64(size)/benchRows, "bytes/row")
}

func BenchmarkRead(b *testing.B) {
	data := write(b, nodeCodec, benchNodes(benchRows))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range nodeCodec.Read(bytes.NewReader(data), int64(len(data))) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != benchRows {
			b.Fatalf("got %d rows", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

// BenchmarkWriteLarge writes 250,000 nodes as one file: the cost of a row must not grow with the file.
func BenchmarkWriteLarge(b *testing.B) {
	rows := benchNodes(benchRows)
	many := iter.Seq[*benchNode](func(yield func(*benchNode) bool) {
		for i := range 250_000 {
			if !yield(rows[i%len(rows)]) {
				return
			}
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nodeCodec.Write(io.Discard, many); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/250_000, "ns/row")
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}
