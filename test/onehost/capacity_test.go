package onehost

import (
	"fmt"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// capacityOf asks a peer, and gives the statuses by host.
func capacityOf(t *testing.T, p *Peer, query string) (api.Capacity, map[string]api.HostStatus, string) {
	t.Helper()
	a := p.Do("GET", "/v1/capacity?"+query, nil)
	if a.Status != 200 {
		t.Fatalf("capacity on %s: %d %s", p.Name, a.Status, a.Body)
	}
	c, by := ask.Decode[api.Capacity](t, a), map[string]api.HostStatus{}
	for _, h := range c.Hosts {
		by[h.Peer] = h.Status
		if h.Status != api.Assigned && h.Status != api.AssignedToOther && h.Reason == "" {
			t.Errorf("%s has status %s and no reason", h.Peer, h.Status)
		}
		if h.Fits != (h.Status == api.Assigned || h.Status == api.AssignedToOther) {
			t.Errorf("%s: fits=%v with status %s", h.Peer, h.Fits, h.Status)
		}
	}
	return c, by, a.Header.Get("Orchd-Age-Ms")
}

func wantStatuses(got, want map[string]api.HostStatus) error {
	for host, status := range want {
		if got[host] != status {
			return fmt.Errorf("%s has status %q, want %q (all: %v)", host, got[host], status, got)
		}
	}
	return nil
}

// TestCapacityHostByHost: five peers, of which one is stopped, one answers
// rubbish, one is full and one in trouble; and again without quorum.
//
//race:out
func TestCapacityHostByHost(t *testing.T) {
	c := Start(t, 6, func(i int, cfg *peer.Config) {
		cfg.Capacity = api.Resources{VCPUs: 8, MemoryMiB: 8192, DiskGiB: 100}
		if i == 1 || i == 3 {
			cfg.Capacity = api.Resources{} // these two are set through their hypervisors
		}
		if i == 2 {
			cfg.Capacity = api.Resources{VCPUs: 1, MemoryMiB: 1024, DiskGiB: 100}
		}
		if i == 5 {
			cfg.Capacity.MemoryMiB = 4096
		}
	})
	asked := c.Peers[0]
	c.Peers[1].Sim.Nonsense()
	c.Peers[3].Sim.Fail("Host", &api.Error{Kind: api.Unavailable, Msg: "libvirt: unreachable"})
	c.Peers[4].Stop()
	want := map[string]api.HostStatus{
		"h1": api.Assigned, "h2": api.InvalidFromHost, "h3": api.NotApplicable,
		"h4": api.ErrorFromHost, "h5": api.NoResponseFromHost, "h6": api.AssignedToOther,
	}
	lab.Eventually(t, 30*time.Second, func() error {
		capacity, got, age := capacityOf(t, asked, "vcpus=2&memory_mib=2048")
		if !capacity.Available || age != "" {
			return fmt.Errorf("available=%v, age %q", capacity.Available, age)
		}
		return wantStatuses(got, want)
	})
	// A create says the same of each host, and goes where capacity said.
	a := asked.Do("POST", "/v1/vms", ask.VM("one", 2, 2048))
	if a.Status != 201 {
		t.Fatalf("create: %d %s", a.Status, a.Body)
	}
	vm := ask.Decode[api.VM](t, a)
	if vm.Status.Owner != "h1" && vm.Status.Owner != "h6" {
		t.Errorf("the VM went to %s", vm.Status.Owner)
	}
	// Without quorum it is answered from what this peer has applied.
	for _, p := range c.Peers[1:4] {
		p.Stop()
	}
	lab.Eventually(t, 30*time.Second, func() error {
		capacity, got, age := capacityOf(t, asked, "vcpus=2&memory_mib=2048")
		if !capacity.Available || age == "" {
			return fmt.Errorf("available=%v, age %q", capacity.Available, age)
		}
		return wantStatuses(got, map[string]api.HostStatus{"h2": api.NoResponseFromHost, "h3": api.NoResponseFromHost, "h5": api.NoResponseFromHost})
	})
	if a := asked.Do("GET", "/v1/vms", nil); a.Status != 503 {
		t.Errorf("a linearizable list without quorum: %d", a.Status)
	}
	if a := asked.Do("GET", "/v1/vms?consistency=local", nil); a.Status != 200 || a.Header.Get("Orchd-Age-Ms") == "" {
		t.Errorf("a local list without quorum: %d, age %q", a.Status, a.Header.Get("Orchd-Age-Ms"))
	}
}
