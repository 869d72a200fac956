package snapshot

import (
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWritersLeaveAProcessor: of two, one encodes a part at a time; when nobody else wants the processors, both do.
func TestWritersLeaveAProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	m := openMarks(t, t.TempDir())
	var encoding atomic.Int32
	c := largeState(1, things(manyThings))
	write := c.Tables[0].large.write
	c.Tables[0].large.write = func(w io.Writer, p part, step func()) (int64, error) {
		if n := encoding.Add(1); n > 1 {
			t.Errorf("%d at once", n)
		}
		defer encoding.Add(-1)
		return write(w, p, step)
	}
	mark(t, m, c)

	m.Busy = func() bool { return false }
	c, both := largeState(2, things(manyThings + 1)[1:]), make(chan struct{})
	var begun atomic.Int32
	c.Tables[0].large.write = func(w io.Writer, p part, step func()) (int64, error) {
		if begun.Add(1) == writers {
			close(both)
		}
		<-both // which is never closed if they take turns
		return largeThings("nodes", things(manyThings + 1)[1:]).large.write(w, p, step)
	}
	mark(t, m, c)
}

// TestWritersRest for as long as they have worked, while something is being committed and
// others want the processors.
func TestWritersRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yes, no := func() bool { return true }, func() bool { return false }
		for _, c := range []struct {
			busy, still func() bool
			work, rest  time.Duration
		}{
			{nil, nil, 3 * time.Millisecond, 3 * time.Millisecond},
			{yes, no, 3 * time.Millisecond, 3 * time.Millisecond},
			{yes, no, 400 * time.Microsecond, 0},
			{yes, no, time.Second, longestRest}, // most of it was waiting
			{yes, yes, time.Second, 0},
			{no, no, time.Second, 0},
		} {
			began := time.Now()
			step := newTurns(c.busy, c.still).rests()
			for range 2 {
				time.Sleep(c.work) // stands for work
				step()
			}
			if got, want := time.Since(began), 2*(c.work+c.rest); got != want {
				t.Errorf("twice %s of work took %s, want %s", c.work, got, want)
			}
		}
	})
}

// TestStepsOfAPart: a writer comes to rest every so many rows, wherever its part begins.
func TestStepsOfAPart(t *testing.T) {
	l, steps, rows := largeThings("nodes", things(manyThings)).large, 0, 0
	for p := range l.plan {
		n, err := l.write(io.Discard, p, func() { steps++ })
		if err != nil {
			t.Fatal(err)
		}
		rows += int(n)
	}
	if parts := 6; rows != manyThings || steps < rows/stepRows || steps > rows/stepRows+2*parts {
		t.Errorf("%d steps in %d rows", steps, rows)
	}
}
