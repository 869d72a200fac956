package peer

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestCollectorPercent(t *testing.T) {
	const small, large = 2 << 30, 24 << 30
	for _, c := range []struct {
		live, memory uint64
		want         int
	}{
		{0, small, 1000}, {1 << 20, small, 1000}, {32 << 20, small, 300}, {96 << 20, small, 100}, {192 << 20, small, 55}, {4 << 30, small, 55},
		{32 << 20, large, 1000}, {96 << 20, large, 300}, {192 << 20, large, 100}, {1 << 30, large, 55}, {256 << 20, 1 << 40, 100}, {32 << 20, 0, 300},
	} {
		if got := collectorPercent(c.live, c.memory); got != c.want {
			t.Errorf("with %d MiB alive of %d: %d percent, want %d", c.live>>20, c.memory>>20, got, c.want)
		}
	}
	if m := hostMemory(); m < 64<<20 || m > 1<<50 {
		t.Errorf("this host has %d bytes of memory", m)
	}
	runtime.GC()
	if live := liveBytes(); live == 0 || live > 1<<40 {
		t.Errorf("%d bytes are alive", live)
	}
}

// TestCollectFollowsWhatIsAlive: the rule is in force for what the last collection found,
// and what was in force before comes back in the end.
func TestCollectFollowsWhatIsAlive(t *testing.T) {
	before := inForce()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- collect(ctx) }()
	for _, bytes := range []int{1 << 20, 192 << 20, 1 << 20} {
		alive := make([]byte, bytes)
		runtime.GC()
		want := collectorPercent(liveBytes(), hostMemory())
		for until := time.Now().Add(20 * time.Second); inForce() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("with %d bytes alive %d percent are in force, want %d", liveBytes(), inForce(), want)
			}
			want = collectorPercent(liveBytes(), hostMemory()) // it may have been collected again
		}
		runtime.KeepAlive(alive)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := inForce(); got != before {
		t.Errorf("%d percent were in force before, and %d are afterwards", before, got)
	}
}

// inForce is the collector's percentage.
func inForce() int {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}
