package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/onehost"
)

// BenchmarkPosts posts nodes over kept TLS connections to three peers in this
// process, 16 at a time: for profiles, which see client and peers together.
func BenchmarkPosts(b *testing.B) {
	c := onehost.Start(b, 3, nil)
	token := ask.Decode[api.NewToken](b, c.Peers[0].Do("POST", "/v1/tokens", api.TokenCreate{Role: api.RoleAdmin, TTL: "1h"})).Token
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for worker := range 16 {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				body, err := json.Marshal(fleetNode(int(i)))
				if err != nil {
					b.Error(err)
				}
				r, _ := http.NewRequest("POST", "https://"+c.Peers[worker%3].Address()+"/ComputeNode", bytes.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+token)
				answer, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				text, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusCreated {
					b.Errorf("%d %s", answer.StatusCode, text)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkBulk posts arrays of a thousand nodes to three peers in this process,
// PARALLEL of them at a time (default 1).
func BenchmarkBulk(b *testing.B) {
	c := onehost.Start(b, 3, nil)
	token := ask.Decode[api.NewToken](b, c.Peers[0].Do("POST", "/v1/tokens", api.TokenCreate{Role: api.RoleAdmin, TTL: "1h"})).Token
	parallel, _ := strconv.Atoi(os.Getenv("PARALLEL"))
	bodies := make([][]byte, b.N)
	for k := range bodies {
		nodes := make([]inventory.ComputeNode, 1000)
		for i := range nodes {
			nodes[i] = fleetNode(k*1000 + i)
		}
		bodies[k], _ = json.Marshal(nodes)
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range max(parallel, 1) {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			for k := next.Add(1) - 1; k < int64(b.N); k = next.Add(1) - 1 {
				r, _ := http.NewRequest("POST", "https://"+c.Peers[1].Address()+"/ComputeNode", bytes.NewReader(bodies[k]))
				r.Header.Set("Authorization", "Bearer "+token)
				answer, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				text, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusCreated {
					b.Errorf("%d %.300s", answer.StatusCode, text)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "us/node")
}
