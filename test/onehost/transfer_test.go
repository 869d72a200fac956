package onehost

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// TestTransferUnderWrites: leadership is handed around, through each peer in turn, while
// clients of all peers write: no write is refused, and none is lost.
func TestTransferUnderWrites(t *testing.T) {
	c := Start(t, 3, nil)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	var acked atomic.Int64
	names := make([][]string, len(c.Peers))
	for i, p := range c.Peers {
		writers.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				name := fmt.Sprintf("n%d-%d", i, k)
				a, err := p.Try(t.Context(), "POST", "/v1/sizes", fmt.Sprintf(`{"name":%q,"vcpus":1,"memory_mib":64,"disk_gib":1}`, name))
				if err != nil || a.Status != 201 {
					t.Errorf("a write through %s: %d %s %v", p.Name, a.Status, a.Body, err)
					return
				}
				names[i] = append(names[i], name)
				acked.Add(1)
			}
		})
	}
	for round := range 6 {
		from, before := c.Leader(), acked.Load()
		to := c.Peers[(slices.Index(c.Peers, from)+1+round%2)%3]
		a := c.Peers[round%3].Do("POST", "/v1/raft/transfer-leader", api.LeaderTransfer{Peer: to.Name})
		if a.Status != 200 {
			t.Fatalf("from %s to %s: %d %s", from.Name, to.Name, a.Status, a.Body)
		}
		if now := ask.Decode[api.Leadership](t, a); now.Leader != to.Name || now.Was != from.Name || now.Term == 0 {
			t.Errorf("from %s to %s: %+v", from.Name, to.Name, now)
		}
		lab.Eventually(t, 30*time.Second, func() error {
			if acked.Load() < before+5 {
				return fmt.Errorf("%d writes since leadership went to %s", acked.Load()-before, to.Name)
			}
			return nil
		})
	}
	stop()
	writers.Wait()
	for _, p := range c.Peers {
		var have []string
		for s, err := range p.Client().Sizes(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			have = append(have, s.Name)
		}
		for _, name := range slices.Concat(names...) {
			if !slices.Contains(have, name) {
				t.Errorf("%s was acknowledged, and %s does not have it", name, p.Name)
			}
		}
	}
}

// TestTransferThatCannotBe: the reason is told, by whichever peer is asked.
func TestTransferThatCannotBe(t *testing.T) {
	c := Start(t, 3, nil)
	leader := c.Leader()
	for _, p := range c.Peers {
		a := p.Do("POST", "/v1/raft/transfer-leader", api.LeaderTransfer{Peer: leader.Name})
		if a.Status != 409 || !strings.Contains(a.Problem(t).Detail, leader.Name+" leads already") {
			t.Errorf("to the leader, through %s: %d %s", p.Name, a.Status, a.Body)
		}
		if a := p.Do("POST", "/v1/raft/transfer-leader", api.LeaderTransfer{Peer: "h9"}); a.Status != 404 {
			t.Errorf("to nobody, through %s: %d %s", p.Name, a.Status, a.Body)
		}
	}
	gone := c.Peers[(slices.Index(c.Peers, leader)+1)%3]
	gone.Stop()
	if a := leader.Do("POST", "/v1/raft/transfer-leader", api.LeaderTransfer{Peer: gone.Name}); a.Status != 409 || !strings.Contains(a.Problem(t).Detail, "does not answer") {
		t.Errorf("to one that is off: %d %s", a.Status, a.Body)
	}
	if a := leader.Do("POST", "/v1/raft/transfer-leader", nil); a.Status != 200 {
		t.Errorf("to whoever is left: %d %s", a.Status, a.Body)
	}
}
