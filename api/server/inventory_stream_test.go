package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchd/orchd/api/inventory"
)

// longFleet is a fleet of any length that is made while it is walked.
type longFleet struct {
	InventoryView
	length int
	walked atomic.Int64
	ended  chan struct{} // closed when the walk ends; nil when there will be several
}

func newLongFleet(length int) *longFleet {
	return &longFleet{length: length, ended: make(chan struct{})}
}

// ComputeNodes lists nodes of about 700 bytes each.
func (f *longFleet) ComputeNodes(inventory.NodeFilter, string) iter.Seq[inventory.ComputeNode] {
	n := typicalNode()
	return func(yield func(inventory.ComputeNode) bool) {
		if f.ended != nil {
			defer close(f.ended)
		}
		for range f.length {
			if f.walked.Add(1); !yield(n) {
				return
			}
		}
	}
}

// typicalNode is of the size of the nodes in the sample data.
func typicalNode() inventory.ComputeNode {
	made := time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)
	nic := func(name, mac, ip string) inventory.NetworkInterface {
		return inventory.NetworkInterface{InterfaceName: name, MACAddress: mac, IPv4Address: ip, Description: "Movie page establish."}
	}
	return inventory.ComputeNode{ID: nodeID, Hostname: "db-52", Architecture: "arm64", XName: "x5216c40s4b1n2", BootMAC: "68:da:e6:4b:b0:9a",
		NetworkInterfaces: []inventory.NetworkInterface{nic("eth1", "ec:91:25:da:c5:f7", "164.203.227.87"), nic("ib1", "e2:85:eb:4d:ac:4e", "217.233.9.120")},
		BMC:               &inventory.BMC{ID: bmcID, XName: "x5216c40s4b1", Version: 1},
		Description:       "Manager different director.", Version: 1, CreatedAt: made, UpdatedAt: made}
}

// serveFleet answers over TCP for a fleet, and gives the address.
func serveFleet(t testing.TB, fleet InventoryView) string {
	t.Helper()
	f := newFake()
	f.inventory = fleet
	web := httptest.NewServer(New(Config{}, f, slog.New(slog.DiscardHandler)).Handler())
	t.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

// getFrom asks over TCP.
func getFrom(t testing.TB, addr, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer viewer")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestListIsStreamed(t *testing.T) {
	for _, length := range []int{0, 1, 50, 20000} {
		res := getFrom(t, serveFleet(t, newLongFleet(length)), "/ComputeNode")
		if length == 0 {
			if body := read(t, res); body != "[]\n" {
				t.Errorf("an empty list: got %q, want []", body)
			}
			continue
		}
		if length == 20000 && res.ContentLength >= 0 {
			t.Errorf("content length: got %d, want none: the list is to be sent while it is walked", res.ContentLength)
		}
		d := json.NewDecoder(res.Body)
		if first, err := d.Token(); err != nil || first != json.Delim('[') {
			t.Fatalf("got %v, %v, want an array", first, err)
		}
		n := 0
		for d.More() {
			var node inventory.ComputeNode
			if err := d.Decode(&node); err != nil {
				t.Fatal(err)
			}
			if n++; node.ID != nodeID || node.LocationString != node.XName || node.BMC.LocationString != "x5216c40s4b1" {
				t.Fatalf("item %d: got %+v", n, node)
			}
		}
		if last, err := d.Token(); err != nil || last != json.Delim(']') || n != length {
			t.Errorf("got %d items and %v (%v), want %d and the end of the array", n, last, err, length)
		}
	}
}

// TestListOfAClientThatLeaves: the walk ends with the connection.
func TestListOfAClientThatLeaves(t *testing.T) {
	fleet := newLongFleet(1 << 40)
	conn := half(t, serveFleet(t, fleet))
	if _, err := io.CopyN(io.Discard, conn, 1<<20); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case <-fleet.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the walk goes on for nobody")
	}
}

// TestListOfAStreamThatIsReset is the same over HTTP/2, where the connection stays.
func TestListOfAStreamThatIsReset(t *testing.T) {
	fleet := newLongFleet(1 << 40)
	f := newFake()
	f.inventory = fleet
	web := httptest.NewUnstartedServer(New(Config{}, f, slog.New(slog.DiscardHandler)).Handler())
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", web.URL+"/ComputeNode", nil)
	r.RequestURI = ""
	r.Header.Set("Authorization", "Bearer viewer")
	res, err := web.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, 1<<20); err != nil || res.ProtoMajor != 2 {
		t.Fatalf("got %v over %s, want the first MiB over HTTP/2", err, res.Proto)
	}
	cancel()
	select {
	case <-fleet.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the walk goes on for nobody")
	}
}

// TestListOfAClientThatStopsReading: the walk waits for the client, with what is
// under way in memory and no more, and not for ever.
func TestListOfAClientThatStopsReading(t *testing.T) {
	fleet := newLongFleet(1 << 40)
	f := newFake()
	f.inventory = fleet
	h := New(Config{}, f, slog.New(slog.DiscardHandler)).Handler()
	w := &slowWriter{header: http.Header{}}
	r := httptest.NewRequest("GET", "/ComputeNode", nil)
	r.Header.Set("Authorization", "Bearer viewer")
	begun := time.Now()
	h.ServeHTTP(w, r)
	<-fleet.ended
	if len(w.times) < 4 {
		t.Fatalf("write deadlines: got %d, want one for each piece", len(w.times))
	}
	for i, at := range w.times {
		if d := at.Sub(begun); d < sendTimeout/2 || d > 2*sendTimeout || i > 0 && at.Before(w.times[i-1]) {
			t.Errorf("deadline %d: %v after the request, want about %v, later each time", i, d, sendTimeout)
		}
	}
	if w.most > 2*sendAt {
		t.Errorf("largest piece: got %d bytes, want about %d", w.most, sendAt)
	}
}

// slowWriter is a connection whose client takes three pieces and then nothing:
// the fourth runs into its deadline.
type slowWriter struct {
	header http.Header
	times  []time.Time // the deadlines that were set
	pieces int
	most   int // bytes of the largest
}

func (w *slowWriter) Header() http.Header { return w.header }
func (w *slowWriter) WriteHeader(int)     {}
func (w *slowWriter) Write(b []byte) (int, error) {
	w.most = max(w.most, len(b))
	if w.pieces++; w.pieces > 3 {
		return 0, fmt.Errorf("write: %w", context.DeadlineExceeded)
	}
	return len(b), nil
}

// SetWriteDeadline is what http.ResponseController asks for.
func (w *slowWriter) SetWriteDeadline(at time.Time) error {
	w.times = append(w.times, at)
	return nil
}

// half asks for the whole list and leaves the answer to be read.
func half(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /ComputeNode HTTP/1.1\r\nHost: h1\r\nAuthorization: Bearer viewer\r\n\r\n")
	return conn
}

func TestHeadWalksNothing(t *testing.T) {
	f, _, ask := startFake(t)
	fleet := newLongFleet(1 << 40)
	f.inventory = fleet
	for _, path := range []string{"/ComputeNode", "/nodes?limit=10", "/inventory/ComputeNode?arch=arm64"} {
		res := ask("HEAD", path, "")
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Orchd-Index") == "" || read(t, res) != "" {
			t.Errorf("%s: got %d %v", path, res.StatusCode, res.Header)
		}
	}
	if n := fleet.walked.Load(); n > 0 {
		t.Errorf("%d rows were walked for HEAD, want none", n)
	}
	f.inventory = f.fleet
	addr := serveFleet(t, f.fleet)
	for _, path := range []string{"/ComputeNode", "/ComputeNode/" + nodeID, "/NodeCollection/Partition%201"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "HEAD %s HTTP/1.1\r\nHost: h1\r\nConnection: close\r\nAuthorization: Bearer viewer\r\n\r\n", path)
		answer, err := io.ReadAll(bufio.NewReader(conn))
		if conn.Close(); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") || !strings.HasSuffix(string(answer), "\r\n\r\n") {
			t.Errorf("HEAD %s: got %q, want a head and nothing after it", path, answer)
		}
	}
}

// BenchmarkListNodes lists 10,000 nodes over a TCP connection; a client reads
// them on the same machine and throws them away.
func BenchmarkListNodes(b *testing.B) {
	const length = 10000
	addr := serveFleet(b, &longFleet{length: length})
	b.ReportAllocs()
	var sum runtime.MemStats
	for b.Loop() {
		n, err := io.Copy(io.Discard, getFrom(b, addr, "/ComputeNode").Body)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
	runtime.ReadMemStats(&sum)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/length, "ns/node")
	b.ReportMetric(float64(sum.HeapSys)/(1<<20), "MiB-heap")
}
