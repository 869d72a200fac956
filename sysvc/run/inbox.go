package run

import "sync"

// inbox is what others tell a scope: finished, *asking, fired.
type inbox struct {
	mu    sync.Mutex
	all   []any
	woken chan struct{} // holds one when there is something
}

func newInbox() inbox { return inbox{woken: make(chan struct{}, 1)} }

func (i *inbox) add(v any) {
	i.mu.Lock()
	i.all = append(i.all, v)
	i.mu.Unlock()
	select {
	case i.woken <- struct{}{}:
	default:
	}
}

func (i *inbox) take() []any {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.all
	i.all = nil
	return all
}
