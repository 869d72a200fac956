package peer

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much garbage may pile up before it is collected: Go's own rule, as much as
// is alive, collects a small peer all the time and lets a large one double.
const (
	leastGarbage  = 96 << 20        // bytes, however little is alive
	garbageShare  = 55              // percent of what is alive, where that is more
	collectorLook = 2 * time.Second // how often the rule is put in force
)

// collect keeps the garbage collector to that rule until ctx ends.
func collect(ctx context.Context) error {
	tick := time.NewTicker(collectorLook)
	defer tick.Stop()
	defer debug.SetGCPercent(debug.SetGCPercent(collectorPercent(0)))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			debug.SetGCPercent(collectorPercent(liveBytes()))
		}
	}
}

// collectorPercent is the rule in the terms of debug.SetGCPercent.
func collectorPercent(live uint64) int {
	const most = 1000
	if live == 0 {
		return most
	}
	return int(min(max(leastGarbage*100/live, garbageShare), most))
}

// liveBytes is what the last collection found alive.
func liveBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
