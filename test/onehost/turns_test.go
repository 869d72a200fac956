package onehost

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// TestSnapshotsAreWrittenInTurn: the peer that was asked writes at once, the others one after
// the other when it is through, and one that is asked for it meanwhile need not be asked again.
func TestSnapshotsAreWrittenInTurn(t *testing.T) {
	t.Parallel()
	c := Start(t, 3, nil)
	asked := c.Peers[0]
	asked.post(plainNodes(0, 10))
	id := func(p *Peer) string { return p.Running.Node().Identity().PeerID }
	all := slices.SortedFunc(slices.Values(c.Peers), func(a, b *Peer) int { return strings.Compare(id(a), id(b)) })
	for range 3 {
		taken := ask.Decode[api.Snapshot](t, asked.Do("POST", "/v1/snapshots", nil))
		at := written(t, asked, taken.ID)
		first := int(taken.Index % 3)
		for _, p := range slices.Concat(all[first:], all[:first]) {
			if p == asked {
				continue
			}
			if next := written(t, p, taken.ID); next.Before(at) {
				t.Errorf("%s wrote snapshot %s %s before the one whose turn it was", p.Name, taken.ID, at.Sub(next))
			} else {
				at = next
			}
		}
	}
	taken := ask.Decode[api.Snapshot](t, asked.Do("POST", "/v1/snapshots", nil))
	for _, p := range c.Peers[1:] {
		lab.Eventually(t, 10*time.Second, func() error {
			if s := ask.Decode[api.Status](t, p.Do("GET", "/v1/status", nil)); s.AppliedIndex < taken.Index {
				return fmt.Errorf("%s has not heard of it yet: %d", p.Name, s.AppliedIndex)
			}
			return nil
		})
		if a := p.Do("GET", "/v1/snapshots/"+taken.ID, nil); a.Status != http.StatusOK || ask.Decode[api.Snapshot](t, a).StateHash != taken.StateHash {
			t.Errorf("%s, asked once: %d %s", p.Name, a.Status, a.Body)
		}
	}
}

// written is when a peer had written a snapshot, for which nobody asks it.
func written(t *testing.T, p *Peer, id string) (at time.Time) {
	t.Helper()
	lab.Eventually(t, 20*time.Second, func() error {
		for _, s := range ask.Decode[api.Page[api.Snapshot]](t, p.Do("GET", "/v1/snapshots", nil)).Items {
			if s.ID != id {
				continue
			}
			info, err := os.Stat(s.Path)
			if err == nil {
				at = info.ModTime()
			}
			return err
		}
		return fmt.Errorf("%s has not written snapshot %s", p.Name, id)
	})
	return at
}
