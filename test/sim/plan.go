package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// fault is one thing that goes wrong, from one moment to another.
type fault struct {
	at   time.Duration // after the clients have begun
	kind string
	last time.Duration
	salt uint64 // decides among the hosts that are there then
}

// kinds are the faults and how often each comes, relative to the others.
var kinds = []struct {
	name   string
	weight int
	least  time.Duration
	most   time.Duration
}{
	{"kill leader", 9, 300 * time.Millisecond, 6 * time.Second},
	{"kill follower", 7, 300 * time.Millisecond, 10 * time.Second},
	{"kill majority", 2, time.Second, 5 * time.Second},
	{"kill all", 2, time.Second, 4 * time.Second},
	{"freeze leader", 9, 200 * time.Millisecond, 8 * time.Second},
	{"freeze follower", 4, 500 * time.Millisecond, 12 * time.Second},
	{"trap", 12, 2 * time.Second, 4 * time.Second},
	{"cut off leader", 7, time.Second, 8 * time.Second},
	{"cut off follower", 5, time.Second, 15 * time.Second},
	{"split", 4, time.Second, 8 * time.Second},
	{"ring", 3, time.Second, 8 * time.Second},
	{"bridge", 3, time.Second, 8 * time.Second},
	{"one way from leader", 4, time.Second, 6 * time.Second},
	{"one way to leader", 4, time.Second, 6 * time.Second},
	{"leader in minority", 4, time.Second, 8 * time.Second},
	{"delay", 4, 2 * time.Second, 8 * time.Second},
	{"loss", 4, 2 * time.Second, 8 * time.Second},
	{"disk error", 3, time.Second, 4 * time.Second},
	{"disk hangs", 4, time.Second, 9 * time.Second},
	{"disk full", 3, time.Second, 6 * time.Second},
	{"disk slow", 2, 2 * time.Second, 8 * time.Second},
	{"transfer", 10, 100 * time.Millisecond, time.Second},
	{"clock jumps", 2, 5 * time.Second, 30 * time.Second},
	{"hypervisor down", 3, 2 * time.Second, 20 * time.Second},
	{"hypervisor slow", 2, 2 * time.Second, 15 * time.Second},
	{"host reboots", 2, time.Second, 10 * time.Second},
	{"guest ends", 3, 100 * time.Millisecond, time.Second},
	{"owner away", 2, 32 * time.Second, 45 * time.Second},
	{"late claim", 6, 32 * time.Second, 42 * time.Second},
	{"join", 3, 2 * time.Second, 5 * time.Second},
	{"leave", 2, 2 * time.Second, 5 * time.Second},
	{"voters", 1, time.Second, 2 * time.Second},
}

// quiet is how long nothing new happens in each stretch, so that the cluster comes to itself.
const (
	stretch = 2 * time.Minute
	quiet   = 15 * time.Second
)

// planned draws what goes wrong in a run of that length.
func planned(rng *rand.Rand, length time.Duration) (plan []fault) {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for at := 5 * time.Second; at < length-10*time.Second; {
		n := rng.IntN(total)
		for _, k := range kinds {
			if n -= k.weight; n < 0 {
				plan = append(plan, fault{at, k.name, k.least + time.Duration(rng.Int64N(int64(k.most-k.least))), rng.Uint64()})
				break
			}
		}
		at += time.Duration(rng.Int64N(int64(8 * time.Second)))
		if at%stretch > stretch-quiet {
			at += quiet
		}
	}
	return plan
}

func (f fault) String() string {
	return fmt.Sprintf("%s for %s", f.kind, f.last.Round(time.Millisecond))
}
