package snapshot

import (
	"io"
	"runtime"
	"sync/atomic"
	"testing"
)

// TestWritersLeaveAProcessor: of two, one encodes a part at a time; when nobody else wants the processors, both do.
func TestWritersLeaveAProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	m := openMarks(t, t.TempDir())
	var encoding atomic.Int32
	c := largeState(1, things(manyThings))
	write := c.Tables[0].large.write
	c.Tables[0].large.write = func(w io.Writer, p part) (int64, error) {
		if n := encoding.Add(1); n > 1 {
			t.Errorf("%d at once", n)
		}
		defer encoding.Add(-1)
		return write(w, p)
	}
	mark(t, m, c)

	m.Busy = func() bool { return false }
	c, both := largeState(2, things(manyThings + 1)[1:]), make(chan struct{})
	var begun atomic.Int32
	c.Tables[0].large.write = func(w io.Writer, p part) (int64, error) {
		if begun.Add(1) == writers {
			close(both)
		}
		<-both // which is never closed if they take turns
		return largeThings("nodes", things(manyThings + 1)[1:]).large.write(w, p)
	}
	mark(t, m, c)
}
