package peer

import (
	"runtime"
	"testing"
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
