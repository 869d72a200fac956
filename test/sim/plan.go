package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// fault is one thing that goes wrong, from one moment to another.
type fault struct {
	at   time.Duration // after the clients have begun
	kind kind
	last time.Duration
	salt uint64 // decides among the hosts that are there then
}

// quiet is how long nothing new happens in each stretch, so that the cluster comes to itself.
const (
	stretch = 2 * time.Minute
	quiet   = 15 * time.Second
)

// pause is the longest between the beginnings of two faults; half of it on average.
const pause = 11 * time.Second

// planned draws what goes wrong in a run of that length.
func planned(rng *rand.Rand, length time.Duration) (plan []fault) {
	for at := 5 * time.Second; at < length-10*time.Second; {
		plan = append(plan, drawn(rng, at))
		at += time.Duration(rng.Int64N(int64(pause)))
		if at%stretch > stretch-quiet {
			at += quiet
		}
	}
	return plan
}

// drawn is any fault, for then.
func drawn(rng *rand.Rand, at time.Duration) fault {
	k := kindAt(rng.IntN(allWeights()))
	return fault{at, k, k.least + time.Duration(rng.Int64N(int64(k.most-k.least))), rng.Uint64()}
}

func (f fault) String() string {
	return fmt.Sprintf("%s for %s", f.kind.name, f.last.Round(time.Millisecond))
}
