package onehost

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/ledger"
)

// TestOnePeer: a cluster of one makes a VM, is restarted, and still has it; so
// it does when raft's own snapshot is all that it can start from.
func TestOnePeer(t *testing.T) {
	c := Start(t, 1, func(_ int, cfg *peer.Config) { cfg.SnapshotThreshold, cfg.TrailingLogs = 4, 1 })
	h := c.Peers[0]
	a := h.Do("POST", "/v1/vms?wait=20s", ask.VM("one", 1, 256))
	if a.Status != http.StatusCreated {
		t.Fatalf("create: %d %s", a.Status, a.Body)
	}
	made := ask.Decode[api.VM](t, a)
	if made.Status.State != api.VMRunning || made.Status.Owner != "h1" {
		t.Fatalf("created: %+v", made.Status)
	}
	h.Stop()
	h.Start()
	h.WaitReady()
	got := ask.Decode[api.VM](t, h.Do("GET", "/v1/vms/one", nil))
	if got.ID != made.ID {
		t.Errorf("after the restart the VM is %s, was %s", got.ID, made.ID)
	}
	taken := ask.Decode[api.Snapshot](t, h.Do("POST", "/v1/snapshots", nil))
	if taken.Rows["vms"] != 1 || taken.Rows["peers"] != 1 {
		t.Errorf("rows of the snapshot: %v", taken.Rows)
	}
	if err := h.Running.Node().Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Stop()
	h.Start()
	h.WaitReady()
	if got := ask.Decode[api.VM](t, h.Do("GET", "/v1/vms/one", nil)); got.ID != made.ID {
		t.Errorf("after a start from the snapshot the VM is %s, was %s", got.ID, made.ID)
	}
	if a := h.Do("DELETE", "/v1/vms/one?wait=20s", nil); a.Status != http.StatusOK {
		t.Errorf("delete: %d %s", a.Status, a.Body)
	}
	if a := h.Do("GET", "/v1/vms/one", nil); a.Status != http.StatusNotFound {
		t.Errorf("after the delete: %d", a.Status)
	}
	if left := h.Domains(); len(left) != 0 {
		t.Errorf("domains left behind: %v", left)
	}
}

// TestManyCreatesAtOnce: 200 creates at once, to all three peers, more than fit.
func TestManyCreatesAtOnce(t *testing.T) {
	const creates, perHost = 200, 40
	c := Start(t, 3, func(_ int, cfg *peer.Config) {
		cfg.Capacity = api.Resources{VCPUs: perHost, MemoryMiB: 64 << 10, DiskGiB: 100}
	})
	answers := make([]ask.Answer, creates)
	var all sync.WaitGroup
	for i := range creates {
		all.Go(func() {
			answers[i], _ = c.Peers[i%3].Try(t.Context(), "POST", "/v1/vms", ask.VM(fmt.Sprintf("vm-%d", i), 1, 16), fmt.Sprintf("Idempotency-Key: create-%d", i))
		})
	}
	all.Wait()
	made := 0
	for i, a := range answers {
		switch a.Status {
		case http.StatusCreated:
			made++
		case http.StatusInsufficientStorage:
			p := a.Problem(t)
			if p.Code != "no-capacity" || len(p.Hosts) != 3 || p.Hosts[0].Reason == "" {
				t.Errorf("create %d: a 507 that does not say why, host by host: %s", i, a.Body)
			}
		default:
			t.Errorf("create %d: %d %s", i, a.Status, a.Body)
		}
	}
	if made != 3*perHost {
		t.Errorf("%d of %d were made, %d fit", made, creates, 3*perHost)
	}
	for _, p := range c.Peers {
		vms, owners := p.VMs(), map[string]int{}
		if len(vms) != made {
			t.Errorf("%s lists %d VMs, want %d", p.Name, len(vms), made)
		}
		for _, vm := range vms {
			owners[vm.Status.Owner]++
		}
		for owner, n := range owners {
			if n > perHost {
				t.Errorf("%s: %s owns %d VMs and has room for %d", p.Name, owner, n, perHost)
			}
		}
	}
	lab.Eventually(t, 60*time.Second, func() error { return everyDomainOnce(c) })
	c.Peers[0].Stop()
	if entries := ledger.Holds(t, c.Peers[0].Config.DataDir, perHost); entries < creates {
		t.Errorf("only %d entries were looked at", entries)
	}
}

// everyDomainOnce: each VM has one domain, on its owner, and there are no others.
func everyDomainOnce(c *Cluster) error {
	owner := map[string]string{}
	for _, vm := range c.Peers[0].VMs() {
		owner[vm.ID] = vm.Status.Owner
	}
	seen := 0
	for _, p := range c.Peers {
		for _, d := range p.Domains() {
			if owner[d.Mark.VM] != p.Name {
				return fmt.Errorf("%s has a domain of VM %s, which %q owns", p.Name, d.Mark.VM, owner[d.Mark.VM])
			}
			seen++
		}
	}
	if seen != len(owner) {
		return fmt.Errorf("%d domains for %d VMs", seen, len(owner))
	}
	return nil
}

// TestLeaderStopsHalfWay: clients retry with their keys while the leader goes:
// no VM twice, no acknowledged VM lost.
func TestLeaderStopsHalfWay(t *testing.T) {
	const creates = 60
	c := Start(t, 3, nil)
	leader := c.Leader()
	acknowledged := make([]string, creates)
	var third, all sync.WaitGroup
	third.Add(creates / 3)
	for i := range creates {
		all.Go(func() {
			acknowledged[i] = createThrough(t, c, i)
			if i < creates/3 {
				third.Done()
			}
			third.Wait() // the others are under way when the leader goes
		})
	}
	third.Wait()
	leader.Stop()
	all.Wait()
	for _, p := range c.Peers {
		if p != leader {
			hasExactly(t, p, acknowledged)
		}
	}
}

// createThrough asks one peer after the other, with one key, until one acknowledges.
func createThrough(t *testing.T, c *Cluster, i int) (id string) {
	body, key := ask.VM(fmt.Sprintf("vm-%d", i), 1, 16), fmt.Sprintf("Idempotency-Key: create-%d", i)
	for try := i; t.Context().Err() == nil; try++ {
		a, err := c.Peers[try%len(c.Peers)].Try(t.Context(), "POST", "/v1/vms", body, key)
		switch {
		case err == nil && a.Status == http.StatusCreated:
			return ask.Decode[api.VM](t, a).ID
		case err == nil && a.Status < 500:
			t.Errorf("create %d: %d %s", i, a.Status, a.Body)
			return ""
		}
	}
	return ""
}

func hasExactly(t *testing.T, p *Peer, ids []string) {
	t.Helper()
	listed := map[string]bool{}
	for _, vm := range p.VMs() {
		listed[vm.ID] = true
	}
	if len(listed) != len(ids) {
		t.Errorf("%s lists %d VMs, want %d", p.Name, len(listed), len(ids))
	}
	for i, id := range ids {
		if !listed[id] {
			t.Errorf("%s has lost VM %d, %q, which was acknowledged", p.Name, i, id)
		}
	}
}
