package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
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
			ID: fmt.Sprintf("%08x-1111-4222-8333-%012x", hash, i), Xname: fmt.Sprintf("x%dc%ds%db%dn%d", 1000+i/2048, i/256%8, i/4%64, i/2%2, i%2),
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

// largeNodes is a large table's worth of rows in the order of their keys, made once.
var largeNodes = sync.OnceValue(func() []*benchNode {
	rows := benchNodes(benchLarge)
	slices.SortFunc(rows, func(a, b *benchNode) int { return strings.Compare(a.Xname, b.Xname) })
	return rows
})

// cpuTime is what this process has spent on all cores, the collector included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportRows reports time and processor time per row.
func reportRows(b *testing.B, rows int, spent time.Duration) {
	each := float64(b.N) * float64(rows)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/each, "ns/row")
	b.ReportMetric(float64(spent.Nanoseconds())/each, "cpu-ns/row")
}

// heapWatch watches how much more memory an iteration of a benchmark takes at most, garbage that
// was not collected yet included.
type heapWatch struct {
	before uint64
	stop   chan struct{}
	peak   chan uint64
	most   float64 // MiB
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

func (h *heapWatch) begin() {
	runtime.GC()
	h.before, h.stop, h.peak = heapInUse(), make(chan struct{}), make(chan uint64)
	go func(stop <-chan struct{}, peak chan<- uint64) {
		most := uint64(0)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				peak <- most
				return
			case <-tick.C:
				most = max(most, heapInUse())
			}
		}
	}(h.stop, h.peak)
}

func (h *heapWatch) end() {
	close(h.stop)
	if peak := <-h.peak; peak > h.before {
		h.most = max(h.most, float64(peak-h.before)/(1<<20))
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
	reportRows(b, benchRows, cpuTime()-began)
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
	reportRows(b, benchRows, cpuTime()-began)
}

// largeContent is a state with one large table, of nodes in the order of their xnames.
func largeContent(index uint64, rows []*benchNode) Content {
	return Content{Index: index, Time: time.UnixMicro(1_700_000_000_000_000), Tables: []Table{nodeCodec.Large("compute_nodes",
		func(from string, yield func(string, *benchNode, Hash) bool) {
			at, _ := slices.BinarySearchFunc(rows, from, func(row *benchNode, key string) int { return strings.Compare(row.Xname, key) })
			for _, row := range rows[at:] {
				if !yield(row.Xname, row, Hash{Hi: rank(row.Xname), Lo: row.Version}) {
					return
				}
			}
		})}}
}

// BenchmarkMark writes 250,000 nodes as a marked snapshot: parts, their fsyncs, and reading all of it again.
func BenchmarkMark(b *testing.B) {
	rows := largeNodes()
	b.ReportAllocs()
	var heap heapWatch
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		m := openMarks(b, b.TempDir())
		heap.begin()
		began := cpuTime()
		b.StartTimer()
		if _, err := m.Write(largeContent(1, rows)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		spent += cpuTime() - began
		heap.end()
		b.StartTimer()
	}
	reportRows(b, benchLarge, spent)
	b.ReportMetric(heap.most, "peak-MiB")
}

// BenchmarkMarkAgain writes a snapshot of the same 250,000 nodes when one is there in which 250 neighbours were other.
func BenchmarkMarkAgain(b *testing.B) {
	rows := largeNodes()
	before := slices.Clone(rows)
	for i := range 250 {
		row := *rows[100_000+i]
		row.Version++
		before[100_000+i] = &row
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		m := openMarks(b, b.TempDir())
		mark(b, m, largeContent(1, before))
		b.StartTimer()
		if _, err := m.Write(largeContent(2, rows)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRows reads 250,000 nodes from the parts of a snapshot and keeps them.
func BenchmarkRows(b *testing.B) {
	m := openMarks(b, b.TempDir())
	f, err := OpenFolder(mark(b, m, largeContent(1, largeNodes())))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	began := cpuTime()
	for b.Loop() {
		rows := make([]*benchNode, 0, benchLarge)
		for row, err := range nodeCodec.Rows(f, "compute_nodes") {
			if err != nil {
				b.Fatal(err)
			}
			rows = append(rows, row)
		}
		if len(rows) != benchLarge {
			b.Fatalf("got %d rows", len(rows))
		}
	}
	reportRows(b, benchLarge, cpuTime()-began)
}

// BenchmarkInstall takes the stream of another peer's snapshot of 250,000 nodes.
func BenchmarkInstall(b *testing.B) {
	from := openStore(b, b.TempDir())
	id := persist(b, from, 1, 10, largeContent(1, largeNodes()))
	b.ReportAllocs()
	var heap heapWatch
	for b.Loop() {
		b.StopTimer()
		to := openStore(b, b.TempDir())
		heap.begin()
		b.StartTimer()
		_, r, err := from.Open(id)
		if err != nil {
			b.Fatal(err)
		}
		sink := create(b, to, 1, 10)
		if _, err := io.Copy(sink, r); err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(r.Close(), sink.Close()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		heap.end()
		b.StartTimer()
	}
	b.ReportMetric(heap.most, "peak-MiB")
}

func BenchmarkPlan(b *testing.B) {
	large := largeContent(1, largeNodes()).Tables[0].large
	b.ReportAllocs()
	for b.Loop() {
		for range large.plan {
		}
	}
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}

// BenchmarkBesideMark asks a server in this process over loopback every 2 ms while 250,000 nodes are
// written, and reports how long the answers took, against those when nothing is written.
func BenchmarkBesideMark(b *testing.B) {
	rows := largeNodes()
	conn := echo(b)
	var alone, beside []time.Duration
	for b.Loop() {
		quiet := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(quiet) })
		alone = append(alone, answers(b, conn, quiet)...)
		m, written := openMarks(b, b.TempDir()), make(chan struct{})
		go func() {
			defer close(written)
			if _, err := m.Write(largeContent(1, rows)); err != nil {
				b.Error(err)
			}
		}()
		beside = append(beside, answers(b, conn, written)...)
	}
	for name, took := range map[string][]time.Duration{"alone": alone, "beside": beside} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), name+"-p50-us")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), name+"-p99-us")
	}
}

// echo is a connection to what answers with what it is told.
func echo(b *testing.B) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	other, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		defer other.Close()
		io.Copy(other, other)
	}()
	return conn
}

// answers asks for an echo every 2 ms until done, and tells how long each took from when it was due.
func answers(b *testing.B, conn net.Conn, done <-chan struct{}) (out []time.Duration) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	buf := make([]byte, 1)
	for {
		select {
		case <-done:
			return out
		case due := <-tick.C:
			if _, err := conn.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(conn, buf); err != nil {
				b.Fatal(err)
			}
			out = append(out, time.Since(due))
		}
	}
}
