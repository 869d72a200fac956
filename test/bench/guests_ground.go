package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// ground is a cluster in a lab, to be measured: every host a set of namespaces.
type ground struct {
	*lab.Lab
	token string
}

// onGround makes a cluster of n hosts, lets f measure it, and removes it.
func onGround(n int, options []lab.Option, f func(*ground) error) error {
	t := &keeper{}
	done := make(chan struct{})
	// A lab locks the main goroutine to its thread, and Fatalf ends a goroutine.
	go func() {
		defer close(done)
		defer t.end()
		g := &ground{Lab: lab.Start(t, n, options...)}
		g.Form()
		lab.Eventually(t, time.Minute, g.voting)
		var token api.NewToken
		err := json.Unmarshal([]byte(g.Host(0).CLI("token", "create", "--role", "admin", "--ttl", "24h", "-o", "json")), &token)
		g.token = token.Token
		if err == nil {
			err = f(g)
		}
		t.err = errors.Join(t.err, err)
	}()
	<-done
	return t.err
}

// keeper is what a lab takes for a test: it keeps what is to be undone.
type keeper struct {
	err      error
	cleanups []func()
}

func (t *keeper) Helper() {}

func (t *keeper) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatalf ends the goroutine, as that of a test does.
func (t *keeper) Fatalf(format string, args ...any) {
	t.err = errors.Join(t.err, fmt.Errorf(format, args...))
	runtime.Goexit()
}

func (t *keeper) Skipf(format string, args ...any) { t.Fatalf(format, args...) }

func (t *keeper) Failed() bool { return t.err != nil }

func (t *keeper) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *keeper) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

// voting is nil once every host has a vote.
func (g *ground) voting() error {
	st, err := g.status(context.Background(), g.Host(0))
	if err == nil && st.Voters != min(len(g.Hosts()), st.VotersWanted) {
		err = fmt.Errorf("%d of %d hosts vote", st.Voters, len(g.Hosts()))
	}
	return err
}

func (g *ground) status(ctx context.Context, at *lab.Host) (api.Status, error) {
	c, err := g.admin(at)
	if err != nil {
		return api.Status{}, err
	}
	defer c.Close()
	return c.Status(ctx)
}

// leader is the host that leads, as those hosts see it.
func (g *ground) leader(ctx context.Context, among ...*lab.Host) (*lab.Host, error) {
	for range 600 {
		for _, at := range among {
			st, err := g.status(ctx, at)
			i := slices.IndexFunc(among, func(h *lab.Host) bool { return h.Name == st.Leader })
			if err == nil && i >= 0 {
				return among[i], nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.New("none of the hosts leads")
}

// others are all hosts but one.
func (g *ground) others(than *lab.Host) []*lab.Host {
	return slices.DeleteFunc(slices.Clone(g.Hosts()), func(h *lab.Host) bool { return h == than })
}

// admin is a client for what is not measured.
func (g *ground) admin(at *lab.Host) (*api.Client, error) {
	return api.NewClient(api.ClientConfig{Addrs: []string{"unix://" + filepath.Join(at.DataDir(), "orchd.sock")}, Timeout: time.Minute})
}

// user is a client of one host, with one TLS connection that it keeps.
type user struct {
	at    *lab.Host
	http  *http.Client
	token string
}

// user connects to a host, so that no handshake is measured.
func (g *ground) user(ctx context.Context, at *lab.Host) (*user, error) {
	ca, err := os.ReadFile(filepath.Join(at.DataDir(), "tls", "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	// HTTP/1.1, as orchd's own client.
	transport := &http.Transport{DialContext: at.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 1}
	u := &user{at: at, http: &http.Client{Transport: transport}, token: g.token}
	_, err = u.do(ctx, http.MethodGet, "/healthz", nil, http.StatusOK)
	return u, err
}

// do sends one request and reads its answer whole.
func (u *user) do(ctx context.Context, method, path string, body any, want int, headers ...string) (ask.Answer, error) {
	a, err := ask.Send(ctx, u.http, method, u.at.URL()+path, body, append(headers, "Authorization: Bearer "+u.token)...)
	if err == nil && a.Status != want {
		err = fmt.Errorf("%s %s at %s: %d %.300s", method, path, u.at.Name, a.Status, a.Body)
	}
	return a, err
}

// users gives a client of each host in turn, from the k-th on.
func (g *ground) users(ctx context.Context, n, k int) ([]*user, error) {
	all := make([]*user, n)
	for i := range all {
		var err error
		if all[i], err = g.user(ctx, g.Host((i+k)%len(g.Hosts()))); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func closeUsers(all []*user) {
	for _, u := range all {
		u.http.CloseIdleConnections()
	}
}

// settled waits until every VM runs, so that nothing is left to be done.
func (g *ground) settled(ctx context.Context) error {
	c, err := g.admin(g.Host(0))
	if err != nil {
		return err
	}
	defer c.Close()
	last := ""
	for deadline := time.Now().Add(30 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		states := map[api.VMState]int{}
		for vm, err := range c.VMs(ctx, api.VMFilter{}) {
			if err != nil {
				return err
			}
			states[vm.Status.State]++
		}
		if last = fmt.Sprint(states); len(states) == 0 || len(states) == 1 && states[api.VMRunning] > 0 {
			return nil
		}
	}
	return fmt.Errorf("VMs are still %s", last)
}

// times are measured ones, from any goroutine.
type times struct {
	mu   sync.Mutex
	took []time.Duration
}

func (t *times) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = append(t.took, d)
}

// at is the time that this share of all took at most, in milliseconds.
func (t *times) at(share float64) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.took) == 0 {
		return 0
	}
	slices.Sort(t.took)
	i := min(int(share*float64(len(t.took))), len(t.took)-1)
	return float64(t.took[i].Microseconds()) / 1000
}

// max is the longest, in milliseconds.
func (t *times) max() float64 { return t.at(1) }

// table prints a table in Markdown; the first column is words, the others are numbers.
func table(head []string, rows [][]string) {
	line := func(cells []string) { fmt.Printf("| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	marks := slices.Repeat([]string{"---:"}, len(head))
	marks[0] = "---"
	line(marks)
	for _, r := range rows {
		line(r)
	}
	fmt.Println()
}

// ms is a number of milliseconds for a table.
func ms(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
