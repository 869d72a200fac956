package peer

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestStill: a peer is still once no entry has come for a while, and no more with the next.
func TestStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		index := uint64(7)
		s := still{index: func() uint64 { return index }}
		want := func(still bool) {
			t.Helper()
			if got := s.now(); got != still {
				t.Errorf("still is %v", got)
			}
		}
		want(false)
		time.Sleep(stillAfter - time.Nanosecond)
		want(false)
		time.Sleep(time.Nanosecond)
		want(true)
		index++
		want(false)
		time.Sleep(stillAfter)
		want(true)
	})
}
