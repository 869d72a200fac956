package chaos

import "testing"

// regress holds what a run once found: the seed that found it, the faults that are
// enough to find it again, and a sentence on what it was. What stands here has been
// mended, and has a test of its own beside the code as well; these runs are short.
var regress = []struct {
	seed    uint64
	minutes float64
	only    string
	what    string
}{
	{13, 0.3, "F11 swapped", "A peer whose address had changed, and back, was never found again: the leader dialled the address in its row, " +
		"and without hearing of a leader it could not change that row (cluster TestPeerThatMovedIsFound)."},
	{21, 0.3, "F9", "A peer whose disk was full when it had to store a new term fell over with a stack (cluster TestTermWaitsForRoom)."},
}

// TestRegress runs all of them.
func TestRegress(t *testing.T) {
	for _, r := range regress {
		t.Run(r.only, func(t *testing.T) {
			t.Log(r.what)
			do(t, options{seed: r.seed, minutes: r.minutes, only: r.only, peers: 3})
		})
	}
}
