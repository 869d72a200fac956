package fsm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// sampleNodes makes n nodes of the size of the sample fleet: two to three
// interfaces each, a BMC of its own in three of eight.
func sampleNodes(from, n int) []inventory.ComputeNode {
	nodes := make([]inventory.ComputeNode, n)
	for k := range nodes {
		i := from + k
		mac := func(kind, at int) string {
			return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", 2+4*kind, at, i>>24&255, i>>16&255, i>>8&255, i&255)
		}
		nodes[k] = inventory.ComputeNode{
			Hostname: fmt.Sprintf("lt-%06d", i), Architecture: "x86_64", Description: "Growth long firm official who against middle office.",
			XName: fmt.Sprintf("x%dc%ds%db%dn0", 1000+i>>18, i>>12&63, i>>6&63, i&63), BootMAC: mac(0, 0),
		}
		for at := range 2 + i&1 {
			nodes[k].NetworkInterfaces = append(nodes[k].NetworkInterfaces, inventory.NetworkInterface{
				InterfaceName: "eth" + string(rune('0'+at)), MACAddress: mac(1, at), IPv4Address: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255),
				IPv6Address: fmt.Sprintf("ee09:659e:2500:ef30:%x:%x:6190:%x", i>>16, i&0xffff, at+1), Description: "Past ago politics level much.",
			})
		}
		if i&7 < 3 {
			password := "admin"
			nodes[k].BMC = &inventory.BMC{Username: "admin", Password: &password, MACAddress: mac(2, 0), IPv4Address: "18.133.137.145"}
		}
	}
	return nodes
}

// unsealed is a Sealer that only marks what it was given.
type unsealed struct{}

func (unsealed) Seal(purpose string, plaintext []byte) ([]byte, error) {
	return append([]byte("sealed "+purpose+" "), plaintext...), nil
}

// direct is a Proposer that applies at once.
type direct struct {
	m    *Machine
	lose int           // the proposal with this number from now on is lost; 0: none
	lost bool          // and so are all behind it
	skip time.Duration // how far the leader's clock has run ahead

	mu    sync.Mutex
	index uint64
	size  int
}

func (d *direct) Propose(_ context.Context, command []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lose > 0 {
		if d.lose--; d.lose == 0 {
			if d.lost {
				d.lose = 1
			}
			return nil, api.Errorf(api.Unavailable, "propose", "lost")
		}
	}
	d.index++
	d.size += len(command)
	return d.m.Apply(d.index, 0, epoch0.Add(d.skip+time.Duration(d.index)*time.Millisecond), command).(Result).MarshalBinary()
}

func asAdmin() context.Context { return api.WithCaller(context.Background(), api.Caller{Actor: admin}) }

// BenchmarkCreateNodes loads nodes in arrays of a thousand; FLEET says how many
// are there before. It also tells what a node takes of memory.
func BenchmarkCreateNodes(b *testing.B) {
	d := &direct{m: New()}
	w := NewWriter(d, nil, unsealed{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	loaded := 0
	load := func(n int) {
		for ; n > 0; n -= 1000 {
			if _, err := w.CreateNodes(asAdmin(), sampleNodes(loaded, 1000), true); err != nil {
				b.Fatal(err)
			}
			loaded += 1000
		}
	}
	var had int
	if fmt.Sscan(os.Getenv("FLEET"), &had); had > 0 {
		load(had)
	}
	b.ResetTimer()
	for b.Loop() {
		load(1000)
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/node")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(loaded), "B/node")
	b.ReportMetric(float64(d.size)/float64(loaded), "log-B/node")
	runtime.KeepAlive(d)
}

// BenchmarkApplyNodes applies what was encoded before: the share of each peer.
func BenchmarkApplyNodes(b *testing.B) {
	m := New()
	w := NewWriter(nil, nil, unsealed{})
	index, loaded := uint64(0), 0
	for b.Loop() {
		b.StopTimer()
		var c nodesCreate
		for _, n := range sampleNodes(loaded, 500) {
			write, err := w.nodeWrite(&n)
			if err != nil {
				b.Fatal(err)
			}
			c.Nodes = append(c.Nodes, write)
		}
		loaded += 500
		command, err := encode(Meta{Type: createNodes, V: 1, ID: uuid.NewString(), Actor: admin}, c)
		if err != nil {
			b.Fatal(err)
		}
		index++
		b.StartTimer()
		if r := m.Apply(index, 0, epoch0, command).(Result); r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/node")
}

// BenchmarkApplyPosts applies entries of twenty nodes that were posted one by one: the
// share of each peer where many clients post.
func BenchmarkApplyPosts(b *testing.B) {
	const posts = 20
	m := New()
	m.KeepChanges(0)
	m.changes.limit = 1 << 40 // nobody takes them
	w := NewWriter(nil, nil, unsealed{})
	index, nodes := uint64(0), sampleNodes(0, 400_000)
	for b.Loop() {
		b.StopTimer()
		commands := make([][]byte, posts)
		for i := range commands {
			write, err := w.nodeWrite(&nodes[int(index)*posts+i])
			if err != nil {
				b.Fatal(err)
			}
			commands[i], err = encode(Meta{Type: createNodes, V: 1, ID: uuid.NewString(), Actor: admin}, nodesCreate{Nodes: []nodeWrite{write}})
			if err != nil {
				b.Fatal(err)
			}
		}
		index++
		b.StartTimer()
		for _, r := range m.ApplyAll(index, epoch0, commands) {
			if err := r.(Result).Err; err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/posts, "ns/node")
}

// BenchmarkShowNodes reads every node as an answer shows it, and encodes it.
func BenchmarkShowNodes(b *testing.B) {
	d := &direct{m: New()}
	w := NewWriter(d, nil, unsealed{})
	for k := range 10 {
		if _, err := w.CreateNodes(asAdmin(), sampleNodes(1000*k, 1000), true); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for n := range d.m.Read().ComputeNodes(inventory.NodeFilter{}, "") {
			if _, err := json.Marshal(n); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/node")
}
