package onehost

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// TestLeave: each peer in turn leaves, the leader too; the others go on, and who
// has left cannot be started again.
func TestLeave(t *testing.T) {
	c := Start(t, 4, nil)
	for _, p := range c.Peers[:2] {
		if a := p.Do("DELETE", "/v1/peers/"+p.Name, nil); a.Status != 204 {
			t.Fatalf("%s leaves: %d %s", p.Name, a.Status, a.Body)
		}
		select {
		case <-p.Ended():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s has left and goes on", p.Name)
		}
		p.Stop()
		if err := p.TryStart(); err == nil || !strings.Contains(err.Error(), "has left") {
			t.Errorf("%s is started again: %v", p.Name, err)
		}
		for _, rest := range c.Peers {
			if rest.Running == nil {
				continue
			}
			lab.Eventually(t, 20*time.Second, func() error {
				for _, s := range rest.Running.Node().Servers() {
					if _, member := rest.Running.Machine().Read().Peer(s.ID); !member {
						return fmt.Errorf("%s still counts %s", rest.Name, s.ID)
					}
				}
				return nil
			})
		}
	}
	last := c.Peers[3]
	if a := last.Do("POST", "/v1/vms", ask.VM("one", 1, 64)); a.Status != 201 {
		t.Errorf("a create among those who are left: %d %s", a.Status, a.Body)
	}
	owner := last.VMs()[0].Status.Owner
	if a := last.Do("DELETE", "/v1/peers/"+owner, nil); a.Status != 409 {
		t.Errorf("an owner of VMs leaves: %d %s", a.Status, a.Body)
	}
}

// TestLeaveThatWouldLoseTheQuorum: with one of three voters away, another may
// not leave; nothing changes.
//
//race:out
func TestLeaveThatWouldLoseTheQuorum(t *testing.T) {
	c := Start(t, 3, nil)
	away := c.Peers[2]
	gone, _ := away.Running.Machine().Read().Peer(away.Name)
	away.Stop()
	leaver := c.Peers[1]
	lab.Eventually(t, 20*time.Second, func() error {
		if leaver.Running.Node().Contacts()[gone.ID].Reachable {
			return fmt.Errorf("%s still counts %s as reachable", leaver.Name, away.Name)
		}
		return nil
	})
	if a := leaver.Do("DELETE", "/v1/peers/"+leaver.Name, nil); a.Status != 409 || !strings.Contains(a.Problem(t).Detail, "majority") {
		t.Fatalf("it leaves: %d %s", a.Status, a.Body)
	}
	if a := c.Peers[0].Do("POST", "/v1/vms", ask.VM("one", 1, 64)); a.Status != 201 {
		t.Errorf("afterwards a create: %d %s", a.Status, a.Body)
	}
}

// TestLastPeerMayNotLeave: that would be the end of the cluster.
//
//race:out
func TestLastPeerMayNotLeave(t *testing.T) {
	c := Start(t, 1, nil)
	if a := c.Peers[0].Do("DELETE", "/v1/peers/h1", nil); a.Status != 409 {
		t.Errorf("the last peer leaves: %d %s", a.Status, a.Body)
	}
}

// TestSnapshotAskedForAgain: a replayed request gives the snapshot that is there,
// also after a restart.
func TestSnapshotAskedForAgain(t *testing.T) {
	c := Start(t, 1, nil)
	h := c.Peers[0]
	first := h.Do("POST", "/v1/snapshots", nil, "Idempotency-Key: k")
	h.Stop()
	h.Start()
	h.WaitReady()
	again := h.Do("POST", "/v1/snapshots", nil, "Idempotency-Key: k")
	if first.Status != 201 || again.Status != 201 || ask.Decode[api.Snapshot](t, first).ID != ask.Decode[api.Snapshot](t, again).ID {
		t.Errorf("first %d %s, again %d %s", first.Status, first.Body, again.Status, again.Body)
	}
}

// TestRemovedWhileAway: a peer that was removed while it was down, and is
// started again, says what is the matter.
//
//race:out
func TestRemovedWhileAway(t *testing.T) {
	c := Start(t, 4, nil)
	away := c.Peers[3]
	away.Stop()
	if a := c.Peers[0].Do("DELETE", "/v1/peers/"+away.Name, nil); a.Status != 204 {
		t.Fatalf("remove: %d %s", a.Status, a.Body)
	}
	away.Start()
	lab.Eventually(t, 20*time.Second, func() error {
		var said []string
		for _, w := range ask.Decode[api.Status](t, away.Do("GET", "/v1/status", nil)).Warnings {
			said = append(said, w.Code)
		}
		if !slices.Contains(said, "refused") {
			return fmt.Errorf("it warns of %v only", said)
		}
		return nil
	})
}
