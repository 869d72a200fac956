package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// hostAnswerTime is how long a host has to say that its driver is up.
const hostAnswerTime = 2 * time.Second

// Capacity asks every host at once whether its driver is up, and fits need to
// the committed ledger of those that are. Without quorum it answers from this
// peer's own tables, and says their age.
func (p *Peer) Capacity(ctx context.Context, need api.Resources) (api.Capacity, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, hostAnswerTime)
	defer cancel()
	var current error
	var words map[string]hostWord
	var asking sync.WaitGroup
	asking.Go(func() { current = p.node.ReadIndex(ctx) })
	asking.Go(func() { words = p.askHosts(ctx) })
	asking.Wait()
	r := p.machine.Read()
	c := api.Capacity{Hosts: []api.HostCapacity{}}
	answered := false
	for host := range r.Members() {
		word := words[host.ID]
		answered = answered || word.answered
		c.Hosts = append(c.Hosts, fitted(r, host, word, need))
	}
	if !answered {
		return c, 0, api.Errorf(api.Unavailable, "capacity", "no host answered within %s", hostAnswerTime)
	}
	choose(&c)
	if current != nil {
		return c, max(p.node.Age().Milliseconds(), 1), nil
	}
	return c, 0, nil
}

// hostWord is a host's answer, or why there is none.
type hostWord struct {
	answered bool
	status   api.HostStatus // empty: it is up
	reason   string
}

// fitted is one host's part in the answer.
func fitted(r fsm.Reader, host api.Peer, word hostWord, need api.Resources) api.HostCapacity {
	free := fsm.Free(r, host)
	h := api.HostCapacity{Peer: host.Name, Status: word.status, Reason: word.reason, Free: &free}
	if word.status == "" {
		part := fsm.Fit(r, host, need)
		h.Status, h.Reason = part.Status, part.Reason
	}
	h.Fits = h.Status == api.AssignedToOther
	return h
}

// choose marks where a create would go: the fitting host with the most free memory.
func choose(c *api.Capacity) {
	slices.SortFunc(c.Hosts, func(a, b api.HostCapacity) int { return strings.Compare(a.Peer, b.Peer) })
	best := -1
	for i, h := range c.Hosts {
		if h.Fits && (best < 0 || h.Free.MemoryMiB > c.Hosts[best].Free.MemoryMiB) {
			best = i
		}
	}
	if best >= 0 {
		c.Available = true
		c.Hosts[best].Status = api.Assigned
	}
}

// askHosts asks all members side by side; who is not in the answer said nothing in time.
func (p *Peer) askHosts(ctx context.Context) map[string]hostWord {
	var mu sync.Mutex
	var asking sync.WaitGroup
	words := map[string]hostWord{}
	for host := range p.machine.Read().Members() {
		asking.Go(func() {
			word := p.askHost(ctx, host)
			mu.Lock()
			defer mu.Unlock()
			words[host.ID] = word
		})
	}
	asking.Wait()
	return words
}

func (p *Peer) askHost(ctx context.Context, host api.Peer) hostWord {
	if host.ID == p.identity.PeerID {
		status, reason := judge(p.hostReport())
		return hostWord{true, status, reason}
	}
	report, err := p.fetchReport(ctx, host.ID)
	switch {
	case api.IsKind(err, api.Internal):
		return hostWord{true, api.InvalidFromHost, "its answer makes no sense: " + err.Error()}
	case err != nil:
		return hostWord{false, api.NoResponseFromHost, "it did not answer within " + hostAnswerTime.String()}
	}
	status, reason := judge(report)
	return hostWord{true, status, reason}
}

// fetchReport asks a peer for its driver's word. An error of kind Internal means
// that it answered, but not with a report.
func (p *Peer) fetchReport(ctx context.Context, peer string) (api.HostReport, error) {
	var report api.HostReport
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+peer+"/peer/host", nil)
	if err != nil {
		return report, err
	}
	answer, err := p.node.Client().Do(r)
	if err != nil {
		return report, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err != nil {
		return report, err
	}
	if answer.StatusCode != http.StatusOK {
		return report, &api.Error{Kind: api.Internal, Msg: fmt.Sprintf("status %d", answer.StatusCode)}
	}
	if err := json.Unmarshal(body, &report); err != nil {
		return report, &api.Error{Kind: api.Internal, Msg: err.Error()}
	}
	return report, nil
}

// hostReport is this host's word about its driver.
func (p *Peer) hostReport() api.HostReport {
	if p.loop == nil {
		return api.HostReport{Driver: api.DriverNone}
	}
	return p.loop.Report()
}
