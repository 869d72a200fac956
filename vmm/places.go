package vmm

import "sync"

// places are the VMs that somebody works on just now: never two of them on one.
type places struct {
	mu    sync.Mutex
	taken map[string]bool
}

func newPlaces() *places { return &places{taken: map[string]bool{}} }

// take gives the caller a VM to itself, unless somebody has it.
func (p *places) take(vm string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[vm] {
		return false
	}
	p.taken[vm] = true
	return true
}

// give lets go of it.
func (p *places) give(vm string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, vm)
}

func (p *places) has(vm string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken[vm]
}
