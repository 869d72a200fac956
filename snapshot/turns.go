package snapshot

import "runtime"

// turns leave a processor to others while parts are encoded. Of the two writers on a
// machine with two processors one encodes while the other waits for its disk. If both did,
// whoever waits for the network would wait for them: the runtime asks the network for news
// only when a processor has nothing to do, and at the latest every 10 ms. Answers that took
// 1 ms then took 100 ms, and the snapshot was done no sooner on a machine at work.
type turns struct {
	taken chan struct{} // one for each that may encode
	busy  func() bool   // whether others want the processors; nil: always
}

func newTurns(busy func() bool) turns {
	return turns{make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)), busy}
}

// take waits for a turn, if others want the processors, and gives what ends it.
func (t turns) take() (done func()) {
	if t.busy != nil && !t.busy() {
		return func() {}
	}
	t.taken <- struct{}{}
	return func() { <-t.taken }
}
