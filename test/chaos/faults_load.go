package chaos

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// flood is F19: many more clients than before, as fast as they can.
func flood(r *run, rng *rand.Rand) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), between(rng, 2*time.Second, 4*time.Second))
	defer cancel()
	var answered, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 64 {
		at := r.members()[i%len(r.members())]
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				method, path, body := "GET", "/v1/vms", any(nil)
				if n%2 == 0 {
					method, path, body = "PATCH", "/ComputeNode/"+probeNode, `{"architecture":"x86_64"}`
				}
				switch a, err := r.send(ctx, at, method, path, body); {
				case err == nil && a.Status/100 == 2:
					answered.Add(1)
				case err == nil:
					refused.Add(1)
				}
			}
		})
	}
	all.Wait()
	if answered.Load() == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d requests answered, %d refused", answered.Load(), refused.Load()), nil
}

// slowClients is F19: hundreds of connections that never finish their request. Others
// must be answered all the same.
func slowClients(r *run, rng *rand.Rand) (string, error) {
	at := r.members()[rng.IntN(len(r.members()))]
	address := net.JoinHostPort(at.Addr, "7700")
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for i := range 400 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		c, err := at.Dial(ctx, "tcp", address)
		cancel()
		if err != nil {
			break
		}
		open = append(open, c)
		if i%4 != 0 {
			continue // says nothing at all
		}
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // it has no secret to lose
		t.SetDeadline(time.Now().Add(time.Second))
		if t.Handshake() == nil {
			io.WriteString(t, "GET /v1/vms HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		}
	}
	took, err := r.firstWrite(healLimit, r.members()[:1])
	if err != nil {
		return "", fmt.Errorf("with %d connections to %s that say nothing: %w (%v)", len(open), at.Name, err, took)
	}
	if len(open) < 50 {
		return "", nil
	}
	return fmt.Sprintf("%d connections to %s that say nothing", len(open), at.Name), nil
}

// largeBody is F19: a body of 1 GiB. It must be refused long before it is there.
func largeBody(r *run, rng *rand.Rand) (string, error) {
	at := r.members()[rng.IntN(len(r.members()))]
	client, err := r.client(at)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	sent := &counted{r: io.LimitReader(spaces{}, 1<<30)}
	q, err := http.NewRequestWithContext(ctx, "POST", at.URL()+"/ComputeNode", sent)
	if err != nil {
		return "", err
	}
	q.Header.Set("Content-Type", "application/json")
	status := "the connection was closed"
	a, err := client.Do(q)
	if err == nil {
		a.Body.Close()
		status = a.Status
		if a.StatusCode < 400 {
			return "", fmt.Errorf("1 GiB of spaces sent to %s: %s", at.Name, a.Status)
		}
	}
	if n := sent.n.Load(); n > 200<<20 {
		return "", fmt.Errorf("%s read %d bytes of a body of 1 GiB: %s", at.Name, n, status)
	}
	return fmt.Sprintf("%s read %d bytes: %s", at.Name, sent.n.Load(), status), nil
}

// spaces never end.
type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

type counted struct {
	r io.Reader
	n atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// fewFiles is F22: a peer may open no more files than a few, for a while.
func fewFiles(r *run, rng *rand.Rand) (string, error) {
	h := r.someone(rng)
	if h == nil {
		return "", nil
	}
	was, err := exec.Command("prlimit", "--pid", strconv.Itoa(h.PID()), "--nofile", "--output", "SOFT", "--noheadings", "--raw").Output()
	if err != nil {
		return "", fmt.Errorf("prlimit of %s: %w", h.Name, err)
	}
	limit := func(soft string) error {
		out, err := exec.Command("prlimit", "--pid", strconv.Itoa(h.PID()), "--nofile="+soft+":").CombinedOutput()
		if err != nil {
			return fmt.Errorf("prlimit of %s: %w: %s", h.Name, err, out)
		}
		return nil
	}
	if err := limit("64"); err != nil {
		return "", err
	}
	var open []net.Conn
	refused := 0
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		c, err := h.Dial(ctx, "tcp", net.JoinHostPort(h.Addr, "7700"))
		cancel()
		if err != nil {
			refused++
			continue
		}
		open = append(open, c)
	}
	time.Sleep(between(rng, time.Second, 3*time.Second))
	a, err := r.within(time.Second, h, "GET", "/v1/status", nil)
	for _, c := range open {
		c.Close()
	}
	if !h.Running() {
		return "", fmt.Errorf("%s ended when it could open no more files", h.Name)
	}
	return fmt.Sprintf("%s with 64 files and %d connections: status %d, %v", h.Name, len(open), a.Status, err), limit(strings.TrimSpace(string(was)))
}
