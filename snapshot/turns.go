package snapshot

import (
	"runtime"
	"time"
)

// turns leave a processor to others while parts are encoded. Of the two writers on a
// machine with two processors one encodes while the other waits for its disk. If both did,
// whoever waits for the network would wait for them: the runtime asks the network for news
// only when a processor has nothing to do, and at the latest every 10 ms. Answers that took
// 1 ms then took 100 ms, and the snapshot was done no sooner on a machine at work.
type turns struct {
	taken chan struct{} // one for each that may encode
	busy  func() bool   // whether others want the processors; nil: always
	still func() bool   // whether nothing is being committed; nil: never
}

func newTurns(busy, still func() bool) turns {
	return turns{make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)), busy, still}
}

// wanted tells whether others want the processors.
func (t turns) wanted() bool { return t.busy == nil || t.busy() }

// take waits for a turn, if others want the processors, and gives what ends it.
func (t turns) take() (done func()) {
	if !t.wanted() {
		return func() {}
	}
	t.taken <- struct{}{}
	return func() { <-t.taken }
}

// A writer that has worked for restAfter rests for as long, and never longer than longestRest:
// what it counts as work may have been waiting for a processor.
const (
	restAfter   = time.Millisecond
	longestRest = 5 * time.Millisecond
)

// rests gives what a writer calls between two small pieces of its work. While entries are
// being committed it rests for half of the time: a commit wakes threads one after the other,
// on two peers and more, and each of them may have to wait until Linux takes a processor from
// whoever works.
func (t turns) rests() (step func()) {
	began := time.Now()
	return func() {
		worked := time.Since(began)
		if worked < restAfter {
			return
		}
		if t.wanted() && (t.still == nil || !t.still()) {
			time.Sleep(min(worked, longestRest))
		}
		began = time.Now()
	}
}
