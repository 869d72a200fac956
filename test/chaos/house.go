package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/history"
	"github.com/orchd/orchd/test/lab"
)

// house is what is broken: hosts, their clients, and what was seen of them.
type house struct {
	*lab.Lab
	t        *testing.T
	token    string
	recorder *history.Recorder

	mu      sync.Mutex
	clients map[*lab.Host]*http.Client
	strange []string // answers that no fault explains

	image     string       // that VMs boot; empty: none
	snapshots atomic.Int64 // looked at
}

// form makes a cluster of n peers that keep their whole log; before they begin, hosts
// are made ready.
func form(t *testing.T, n int, ready func(*lab.Lab) error, options ...lab.Option) *house {
	t.Helper()
	options = append(options, lab.With("raft.trailing_logs = 100000000", `snapshot.interval = "0"`, "system_services.enable = []"))
	c := &house{Lab: lab.Start(t, n, options...), t: t, recorder: history.NewRecorder(),
		clients: map[*lab.Host]*http.Client{}}
	if err := ready(c.Lab); err != nil {
		t.Fatal(err)
	}
	c.Form()
	text := c.Host(0).CLI("token", "create", "--role", "admin", "--ttl", "24h", "-o", "json")
	c.token = ask.Decode[api.NewToken](t, ask.Answer{Body: []byte(text)}).Token
	lab.Eventually(t, patience, func() error {
		st, err := c.status(c.Host(0))
		if err == nil && st.Voters != min(n, st.VotersWanted) {
			err = fmt.Errorf("%d voters", st.Voters)
		}
		return err
	})
	return c
}

// guestImage is the image of real guests.
const guestImage = "tiny"

// patience is how long what must come may take where nothing else is said.
const patience = 60 * time.Second

// client is a host's client for its own peer: what is cut between hosts does not cut it.
func (c *house) client(at *lab.Host) (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[at] == nil {
		client, err := at.HTTP(c.token)
		if err != nil {
			return nil, err
		}
		c.clients[at] = client
	}
	return c.clients[at], nil
}

// forget drops the connections to a host whose peer is another one now.
func (c *house) forget(at *lab.Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[at] != nil {
		c.clients[at].CloseIdleConnections()
		delete(c.clients, at)
	}
}

// send asks the peer of a host once.
func (c *house) send(ctx context.Context, at *lab.Host, method, path string, body any, headers ...string) (ask.Answer, error) {
	client, err := c.client(at)
	if err != nil {
		return ask.Answer{}, err
	}
	return ask.Send(ctx, client, method, at.URL()+path, body, headers...)
}

// within is send that takes limit at most.
func (c *house) within(limit time.Duration, at *lab.Host, method, path string, body any, headers ...string) (ask.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return c.send(ctx, at, method, path, body, headers...)
}

// must is send for the time when nothing is broken: it tries all peers until one
// answers with that status.
func (c *house) must(want int, method, path string, body any, headers ...string) (a ask.Answer) {
	c.t.Helper()
	lab.Eventually(c.t, patience, func() (err error) {
		for _, h := range c.members() {
			if a, err = c.within(15*time.Second, h, method, path, body, headers...); err == nil && a.Status == want {
				return nil
			}
			if err == nil {
				err = fmt.Errorf("%s %s on %s: %d %s", method, path, h.Name, a.Status, a.Body)
			}
		}
		return err
	})
	return a
}

// neverSent tells whether an error says that the request reached nobody.
func neverSent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// status is what a peer says of the cluster.
func (c *house) status(at *lab.Host) (st api.Status, err error) {
	a, err := c.within(time.Second, at, "GET", "/v1/status", nil)
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("status of %s: %d %s", at.Name, a.Status, a.Body)
	}
	if err == nil {
		err = json.Unmarshal(a.Body, &st)
	}
	return st, err
}

// leader is the host that leads in the newest term that anybody knows of; nil: none does.
func (c *house) leader() (leader *lab.Host, term uint64) { return c.leaderAmong(c.members()) }

// leaderAmong is the leader as these know it.
func (c *house) leaderAmong(hosts []*lab.Host) (leader *lab.Host, term uint64) {
	for _, h := range hosts {
		if !h.Running() {
			continue
		}
		st, err := c.status(h)
		if err != nil || st.Term < term {
			continue
		}
		if st.Term > term {
			leader, term = nil, st.Term
		}
		for _, o := range c.Hosts() {
			if o.Name == st.Leader {
				leader = o
			}
		}
	}
	return leader, term
}

// members are the hosts that are peers, whether they run or not, in an order of their own.
func (c *house) members() []*lab.Host { return slices.Clone(c.Hosts()) }

// but is the members without some.
func (c *house) but(gone ...*lab.Host) []*lab.Host {
	return slices.DeleteFunc(c.members(), func(h *lab.Host) bool { return slices.Contains(gone, h) })
}

// wonder notes an answer that no fault explains.
func (c *house) wonder(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.strange) < 50 {
		c.strange = append(c.strange, fmt.Sprintf(format, args...))
	}
}

// firstWrite asks peers side by side for a write until one acknowledges, and gives
// how long that took.
func (c *house) firstWrite(limit time.Duration, among []*lab.Host) (time.Duration, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	acknowledged, last := make(chan struct{}, len(among)), make(chan error, len(among))
	for _, h := range among {
		go func() {
			for {
				a, err := c.send(ctx, h, "PATCH", "/ComputeNode/"+probeNode, `{"architecture":"x86_64"}`)
				switch {
				case err == nil && a.Status == http.StatusOK:
					acknowledged <- struct{}{}
					return
				case ctx.Err() != nil:
					last <- fmt.Errorf("%s: %w", h.Name, err)
					return
				}
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}()
	}
	var err error
	for range among {
		select {
		case <-acknowledged:
			return time.Since(began), nil
		case err = <-last:
		}
	}
	return time.Since(began), fmt.Errorf("no write was acknowledged within %v: %w", limit, err)
}

// probeNode is the node that firstWrite writes, and no workload.
const probeNode = "x9999c7s63b0n0"
