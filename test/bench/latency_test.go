package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/onehost"
)

// BenchmarkOnePost asks one peer after the other, with one client: what a post and
// a read take at the leader and at a follower, in one process.
func BenchmarkOnePost(b *testing.B) {
	c := onehost.Start(b, 3, nil)
	leader := c.Leader()
	token := ask.Decode[api.NewToken](b, c.Peers[0].Do("POST", "/v1/tokens", api.TokenCreate{Role: api.RoleAdmin, TTL: "1h"})).Token
	n := 0
	for _, at := range c.Peers {
		name := "follower"
		if at == leader {
			name = "leader"
		}
		for _, verb := range []string{"POST", "GET local", "GET"} {
			b.Run(name+"/"+verb, func(b *testing.B) {
				client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 1}}
				defer client.CloseIdleConnections()
				var all []time.Duration
				for b.Loop() {
					n++
					body, _ := json.Marshal(fleetNode(n))
					began := time.Now()
					var r *http.Request
					switch verb {
					case "POST":
						r, _ = http.NewRequest("POST", "https://"+at.Address()+"/ComputeNode", bytes.NewReader(body))
					case "GET":
						r, _ = http.NewRequest("GET", "https://"+at.Address()+"/ComputeNode/"+fleetXName(1), nil)
					default:
						r, _ = http.NewRequest("GET", "https://"+at.Address()+"/ComputeNode/"+fleetXName(1)+"?consistency=local", nil)
					}
					r.Header.Set("Authorization", "Bearer "+token)
					answer, err := client.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
					all = append(all, time.Since(began))
				}
				f := summary(all, time.Second)
				b.ReportMetric(f.P50, "ms-p50")
				b.ReportMetric(f.P99, "ms-p99")
			})
		}
	}
}
