package cluster

import (
	"testing"

	"github.com/hashicorp/raft"
)

// TestLeadershipIsOfferedOnceAtATime: to a peer that has not answered, in one term, not
// again before it has certainly been sent the question.
func TestLeadershipIsOfferedOnceAtATime(t *testing.T) {
	var a audience
	sent := func(id raft.ServerID, messages int) {
		for range messages {
			a.got(a.of(id), true)
		}
	}
	claims := func(id raft.ServerID, term uint64, want bool) {
		t.Helper()
		if got := a.waits(id, term); got == want {
			t.Errorf("%s in term %d: an offer waits for its answer: %t", id, term, got)
		}
		if got := a.claim(id, term); got != want {
			t.Errorf("%s in term %d may be offered leadership: %t, want %t", id, term, got, want)
		}
	}
	sent("b", 7)
	claims("b", 3, true)
	claims("b", 3, false) // it has not answered
	claims("c", 3, true)  // another has nothing to do with it
	claims("b", 4, true)  // raft asks anew in each term
	sent("b", answered-1)
	a.got(a.of("b"), false) // a heartbeat goes another way
	claims("b", 4, false)
	sent("b", 1)
	claims("b", 4, true)
	a.given("b") // it has been asked to lead
	claims("b", 4, true)
	claims("b", 4, false)
}
