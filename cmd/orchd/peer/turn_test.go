package peer

import (
	"fmt"
	"testing"

	"github.com/orchd/orchd/cluster"
)

// TestMayWrite plays one marked state to its end, for clusters of several sizes: each peer
// comes to its turn, and those who write at once leave a majority of the voters alone.
func TestMayWrite(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for index := uint64(100); index < 107; index++ {
			var voters []string
			loads := map[string]cluster.Load{"newcomer": {Marked: 1}}
			for i := range n {
				voters = append(voters, fmt.Sprint("h", i))
				loads[voters[i]] = cluster.Load{Marked: 1}
			}
			most, rounds := max(1, (n-1)/2), 0
			for left := n; left > 0; rounds++ {
				var turn []string
				for _, v := range voters {
					if loads[v].Marked < index && mayWrite(index, v, voters, loads) {
						turn = append(turn, v)
					}
				}
				if len(turn) == 0 || len(turn) > most {
					t.Fatalf("of %d voters %v write at once, at index %d; at most %d may", n, turn, index, most)
				}
				for _, v := range turn {
					loads[v] = cluster.Load{Marked: index}
				}
				left -= len(turn)
			}
			if want := (n + most - 1) / most; rounds != want {
				t.Errorf("%d voters took %d turns, want %d", n, rounds, want)
			}
		}
	}
}

func TestMayWriteBeside(t *testing.T) {
	voters := []string{"h0", "h1", "h2"} // at index 99 h0 begins
	for name, c := range map[string]struct {
		self  string
		loads map[string]cluster.Load
		want  bool
	}{
		"the first":                             {"h0", map[string]cluster.Load{"h1": {Marked: 1}, "h2": {Marked: 1}}, true},
		"the first while another has to hurry":  {"h0", map[string]cluster.Load{"h1": {Marked: 1}, "h2": {Marking: 99, Marked: 1}}, false},
		"another that is at an older one":       {"h0", map[string]cluster.Load{"h2": {Marking: 98, Marked: 1}}, true},
		"the second while the first is at it":   {"h1", map[string]cluster.Load{"h0": {Marking: 99, Marked: 50}}, false},
		"the second once the first is through":  {"h1", map[string]cluster.Load{"h0": {Marked: 99}}, true},
		"the second when the first is past it":  {"h1", map[string]cluster.Load{"h0": {Marking: 120, Marked: 110}}, true},
		"the second when the first is not seen": {"h1", map[string]cluster.Load{"h2": {Marked: 1}}, true},
		"the second beside an older version":    {"h1", map[string]cluster.Load{"h0": {}}, true},
		"who does not vote":                     {"h7", map[string]cluster.Load{"h0": {Marking: 99, Marked: 1}}, true},
	} {
		if got := mayWrite(99, c.self, voters, c.loads); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestMarksThatAreWaitedFor: a mark is wanted once somebody waits for it or for a later one.
func TestMarksThatAreWaitedFor(t *testing.T) {
	m := newMarks(nil)
	wanted := func(index uint64, want bool) {
		t.Helper()
		if got, _ := m.wanted(index); got != want {
			t.Errorf("mark %d is wanted: %v", index, got)
		}
	}
	wanted(7, false)
	_, change := m.wanted(7)
	m.ask(8)
	select {
	case <-change:
	default:
		t.Error("nobody was told")
	}
	wanted(7, true)
	wanted(8, true)
	wanted(9, false)
	m.begin(8)
	if writing, through, _ := m.progress(); writing != 8 || through != 1 {
		t.Errorf("it writes %d and is through with %d", writing, through)
	}
	m.finish(8, nil)
	wanted(7, false)
	if writing, through, _ := m.progress(); writing != 0 || through != 8 {
		t.Errorf("it writes %d and is through with %d", writing, through)
	}
}
