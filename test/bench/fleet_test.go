package main

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/onehost"
)

// house is three peers in this process, for profiles, which see client and peers together.
type house struct {
	b     *testing.B
	peers []*onehost.Peer
	token string
}

func newHouse(b *testing.B) (*house, *onehost.Cluster) {
	c := onehost.Start(b, 3, nil)
	token := ask.Decode[api.NewToken](b, c.Peers[0].Do("POST", "/v1/tokens", api.TokenCreate{Role: api.RoleAdmin, TTL: "1h"})).Token
	return &house{b, c.Peers, token}, c
}

// client keeps one TLS connection.
func (h *house) client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 1}}
}

// send asks a peer and expects that status; false when there was no answer.
func (h *house) send(c *http.Client, at *onehost.Peer, method, path string, body []byte, want int) bool {
	answer, err := ask.Send(h.b.Context(), c, method, "https://"+at.Address()+path, body, "Authorization: Bearer "+h.token)
	if err != nil {
		h.b.Error(err)
		return false
	}
	if answer.Status != want {
		h.b.Errorf("%d %.300s", answer.Status, answer.Body)
	}
	return true
}

// each calls do for every number below b.N, from that many goroutines with a client each.
func (h *house) each(workers int, do func(c *http.Client, worker, k int) bool) {
	var next atomic.Int64
	var all sync.WaitGroup
	h.b.ResetTimer()
	for worker := range workers {
		all.Go(func() {
			c := h.client()
			defer c.CloseIdleConnections()
			for k := next.Add(1) - 1; k < int64(h.b.N) && do(c, worker, int(k)); k = next.Add(1) - 1 {
			}
		})
	}
	all.Wait()
}

// jsonOf is a request body.
func jsonOf(b *testing.B, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// BenchmarkPosts posts nodes one by one through all three peers, CLIENTS at a time (default 16).
func BenchmarkPosts(b *testing.B) {
	h, _ := newHouse(b)
	clients, err := strconv.Atoi(cmp.Or(os.Getenv("CLIENTS"), "16"))
	if err != nil {
		b.Fatal(err)
	}
	h.each(clients, func(c *http.Client, worker, k int) bool {
		return h.send(c, h.peers[worker%3], "POST", "/ComputeNode", jsonOf(b, fleetNode(k)), http.StatusCreated)
	})
}

// BenchmarkBulk posts arrays of a thousand nodes to one peer, PARALLEL of them at
// a time (default 1).
func BenchmarkBulk(b *testing.B) {
	h, _ := newHouse(b)
	parallel, _ := strconv.Atoi(os.Getenv("PARALLEL"))
	bodies := make([][]byte, b.N)
	for k := range bodies {
		nodes := make([]inventory.ComputeNode, 1000)
		for i := range nodes {
			nodes[i] = fleetNode(k*1000 + i)
		}
		bodies[k] = jsonOf(b, nodes)
	}
	h.each(max(parallel, 1), func(c *http.Client, _, k int) bool {
		return h.send(c, h.peers[1], "POST", "/ComputeNode", bodies[k], http.StatusCreated)
	})
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "us/node")
}

// BenchmarkOnePost asks one peer after the other, with one client: what a post and
// a read take at the leader and at a follower.
func BenchmarkOnePost(b *testing.B) {
	h, cluster := newHouse(b)
	leader, n := cluster.Leader(), 0
	for _, at := range h.peers {
		name := map[bool]string{true: "leader", false: "follower"}[at == leader]
		c := h.client()
		defer c.CloseIdleConnections()
		measured(b, name+"/POST", func() {
			n++
			h.send(c, at, "POST", "/ComputeNode", jsonOf(b, fleetNode(n)), http.StatusCreated)
		})
		measured(b, name+"/GET", func() { h.send(c, at, "GET", "/ComputeNode/"+fleetXName(1), nil, http.StatusOK) })
		measured(b, name+"/GET-local", func() { h.send(c, at, "GET", "/ComputeNode/"+fleetXName(1)+"?consistency=local", nil, http.StatusOK) })
	}
}

// measured reports the middle and the slow end of how long do takes.
func measured(b *testing.B, name string, do func()) {
	b.Run(name, func(b *testing.B) {
		var took []time.Duration
		for b.Loop() {
			began := time.Now()
			do()
			took = append(took, time.Since(began))
		}
		f := summary(took, time.Second)
		b.ReportMetric(f.P50, "ms-p50")
		b.ReportMetric(f.P99, "ms-p99")
	})
}
