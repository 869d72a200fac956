package cluster

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
)

// TestDialsOfRequestsThatWereGivenUpEnd: a peer that is cut off is pinged for minutes, and
// finds a few dials when the way is open again, not one for each ping.
func TestDialsOfRequestsThatWereGivenUpEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials, most atomic.Int32
		away := Member{ID: "x", Name: "x", Addresses: api.PeerAddresses{Raft: "x:7701"}}
		n := &Node{hall: &hall{door: &door{book: newBook([]Member{away})}, dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			most.Store(max(most.Load(), dials.Add(1)))
			defer dials.Add(-1)
			<-ctx.Done() // nothing comes back
			return nil, ctx.Err()
		}}}
		client := n.newClient()
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), pingTime)
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://x/peer/ping", nil)
			must(t, err)
			if _, err := client.Do(r); err == nil {
				t.Fatal("a peer answered to which nothing gets through")
			}
			cancel()
		}
		if n := most.Load(); n > 2+int32(peerDialTime/pingTime) {
			t.Errorf("%d dials were under way at once", n)
		}
		time.Sleep(2 * peerDialTime)
		synctest.Wait()
		if n := dials.Load(); n != 0 {
			t.Errorf("%d dials are under way after all requests were given up", n)
		}
	})
}
