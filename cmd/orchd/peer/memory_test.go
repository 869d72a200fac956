package peer

import (
	"runtime"
	"testing"
)

func TestCollectorPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 1000}, {1 << 20, 1000}, {32 << 20, 300}, {96 << 20, 100}, {192 << 20, 55}, {4 << 30, 55},
	} {
		if got := collectorPercent(c.live); got != c.want {
			t.Errorf("with %d MiB alive: %d percent, want %d", c.live>>20, got, c.want)
		}
	}
	runtime.GC()
	if live := liveBytes(); live == 0 || live > 1<<40 {
		t.Errorf("%d bytes are alive", live)
	}
}
