package snapshot

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// benchNode is about what the inventory remembers of a compute node.
type benchNode struct {
	ID           string      `json:"id"`
	Xname        string      `json:"xname"`
	Hostname     string      `json:"hostname"`
	Architecture string      `json:"architecture"`
	BootMAC      string      `json:"boot_mac,omitempty"`
	IPv4         string      `json:"boot_ipv4_address,omitempty"`
	IPv6         string      `json:"boot_ipv6_address,omitempty"`
	Description  string      `json:"description,omitempty"`
	BMC          string      `json:"bmc,omitempty"`
	Serial       string      `json:"serial,omitempty"`
	Interfaces   []benchNIC  `json:"network_interfaces"`
	Spec         *benchSpec  `json:"spec,omitempty"`
	Status       *benchState `json:"status,omitempty"`
	NID          *int64      `json:"nid,omitempty"`
	Version      uint64      `json:"version"`
	CreatedAt    time.Time   `json:"created_at"`
	UpdatedAt    time.Time   `json:"updated_at"`
}

type benchNIC struct {
	Name         string `json:"interface_name"`
	MAC          string `json:"mac_address"`
	IPv4         string `json:"ipv4_address,omitempty"`
	IPv6         string `json:"ipv6_address,omitempty"`
	Description  string `json:"description,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Model        string `json:"model,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Firmware     string `json:"firmware_version,omitempty"`
	Extended     string `json:"extended_data,omitempty"`
}

type benchSpec struct {
	Hostname string            `json:"hostname,omitempty"`
	Endpoint string            `json:"bmc_endpoint,omitempty"`
	Kernel   string            `json:"kernel_url,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

type benchState struct {
	Power   string    `json:"power,omitempty"`
	Updated time.Time `json:"last_updated"`
}

const (
	benchRows  = 16_000
	benchLarge = 250_000
)

func benchNodes(n int) []*benchNode {
	var out []*benchNode
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	for i := range n {
		hash := uint32(i) * 2654435761
		mac := func(k int) string {
			return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", k, hash>>24, i>>16&255, i>>8&255, i&255)
		}
		row := &benchNode{
			ID: fmt.Sprintf("%08x-1111-4222-8333-%012x", hash, i), Xname: fmt.Sprintf("x%dc%ds%db%dn%d", 1000+i/4096, i/512%8, i/8%64, i/2%2, i%2),
			Hostname: fmt.Sprintf("nid%06d", i), Architecture: []string{"x86_64", "arm64"}[i%2], BootMAC: mac(0),
			IPv4: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), IPv6: fmt.Sprintf("fd00:%x:%x::%x", i>>16, hash>>16, i&0xffff),
			Description: "Movie page establish international significant " + fmt.Sprint(i%100), BMC: fmt.Sprintf("%08x-2222-4222-8333-%012x", hash, i), Serial: fmt.Sprintf("SN%010d", hash),
			Version: uint64(i % 7), CreatedAt: at, UpdatedAt: at.Add(time.Duration(i) * time.Second),
		}
		for k := range 2 + i%2 {
			row.Interfaces = append(row.Interfaces, benchNIC{fmt.Sprintf("hsn%d", k), mac(k), fmt.Sprintf("10.%d.%d.%d", 64+i>>16, i>>8&255, i&255), fmt.Sprintf("fd01:%x:%x::%x", i>>16, hash>>16, i&0xffff),
				"Class environmental catch kind approach", fmt.Sprintf("N%d-%010d", k, hash), "ConnectX-6", "Mellanox", "20.31.1014", `{"port":1}`})
		}
		if i%2 == 0 {
			row.Spec = &benchSpec{row.Hostname, "https://" + row.Hostname + "-bmc/redfish/v1", "http://boot/kernel", map[string]string{"rack": fmt.Sprint(i / 512), "zone": "a"}}
		}
		if i%3 > 0 {
			row.Status = &benchState{[]string{"on", "off"}[i%2], at.Add(time.Duration(i) * time.Minute)}
			row.NID = ptr(int64(i))
		}
		out = append(out, row)
	}
	return out
}

var nodeCodec = MustCodec[benchNode]()

// largeNodes is a large table's worth of rows, made once. Rows of an inventory lie in order of their keys.
var largeNodes = sync.OnceValue(func() []*benchNode { return benchNodes(benchLarge) })

// cpuTime is what this process has spent on all cores, the collector included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportRows reports time and processor time per row of a benchmark that began at a cpuTime.
func reportRows(b *testing.B, rows int, began time.Duration) {
	each := float64(b.N) * float64(rows)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/each, "ns/row")
	b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/each, "cpu-ns/row")
}

// peakHeap watches how much the heap grows over what it was; stop gives the most, in MiB.
func peakHeap() (stop func() float64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapInuse
	var done atomic.Bool
	peak := make(chan uint64)
	go func() {
		var most uint64
		for !done.Load() {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			time.Sleep(2 * time.Millisecond)
		}
		peak <- most
	}()
	return func() float64 {
		done.Store(true)
		return (float64(<-peak) - float64(before)) / (1 << 20)
	}
}

func BenchmarkWrite(b *testing.B) {
	rows := benchNodes(benchRows)
	var size int64
	b.ReportAllocs()
	began := cpuTime()
	for b.Loop() {
		var out countingWriter
		if _, err := nodeCodec.Write(&out, slices.Values(rows)); err != nil {
			b.Fatal(err)
		}
		size = int64(out)
	}
	reportRows(b, benchRows, began)
	b.ReportMetric(float64(size)/benchRows, "bytes/row")
}

func BenchmarkRead(b *testing.B) {
	data := write(b, nodeCodec, benchNodes(benchRows))
	b.ReportAllocs()
	began := cpuTime()
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
	reportRows(b, benchRows, began)
}

// BenchmarkWriteLarge writes 250,000 nodes as one file: the cost of a row must not grow with the file.
func BenchmarkWriteLarge(b *testing.B) {
	rows := benchNodes(benchRows)
	many := iter.Seq[*benchNode](func(yield func(*benchNode) bool) {
		for i := range benchLarge {
			if !yield(rows[i%len(rows)]) {
				return
			}
		}
	})
	b.ReportAllocs()
	began := cpuTime()
	for b.Loop() {
		if _, err := nodeCodec.Write(io.Discard, many); err != nil {
			b.Fatal(err)
		}
	}
	reportRows(b, benchLarge, began)
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}
