package cluster

import "sync"

// bell wakes whoever waits. Take the channel first, look at what you wait for
// then: a ring in between is not lost.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait is the channel that the next ring closes.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// ring wakes everyone who waits now.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
