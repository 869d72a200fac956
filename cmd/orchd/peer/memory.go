package peer

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
)

// How much garbage may pile up before it is collected: Go's own rule, as much as
// is alive, collects a small peer all the time and lets a large one double. A peer
// may have a part of the host's memory without a look at what is garbage in it: of a
// busy one that holds little, collecting took up to a quarter of the processor time.
const (
	leastGarbage  = 96 << 20               // bytes, however little is alive
	garbageShare  = 55                     // percent of what is alive, where that is more
	freeHeapPart  = 64                     // of the host's memory, one part in so many ...
	mostFreeHeap  = 512 << 20              // ... but no more bytes, may the heap have before it is collected
	collectorLook = 200 * time.Millisecond // how often the rule is compared with what is alive
	startShare    = 50                     // percent of what is alive, until a peer has read its state
)

// collectAtStart puts a rule in force for a peer that reads its state: most of what it
// makes then stays.
func collectAtStart() { debug.SetGCPercent(startShare) }

// collect keeps the garbage collector to that rule until ctx ends.
func collect(ctx context.Context) error {
	memory := hostMemory()
	tick := time.NewTicker(collectorLook)
	defer tick.Stop()
	percent := collectorPercent(liveBytes(), memory)
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if now := collectorPercent(liveBytes(), memory); now != percent {
			percent = now
			debug.SetGCPercent(now)
		}
	}
}

// collectorPercent is the rule in the terms of debug.SetGCPercent, for a host with so
// many bytes of memory.
func collectorPercent(live, memory uint64) int {
	const most = 1000
	if live == 0 {
		return most
	}
	garbage := uint64(leastGarbage)
	if free := min(memory/freeHeapPart, mostFreeHeap); free > live {
		garbage = max(garbage, free-live)
	}
	return int(min(max(garbage*100/live, garbageShare), most))
}

// hostMemory is the memory of this host in bytes; 0 where the kernel does not say.
func hostMemory() uint64 {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}

// liveBytes is what the last collection found alive.
func liveBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
