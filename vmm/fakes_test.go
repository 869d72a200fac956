package vmm_test

import (
	"context"
	"slices"
	"sync"

	"github.com/orchd/orchd/api"
)

// shelf brings images; it may be made to take long, or to have none.
type shelf struct {
	mu    sync.Mutex
	err   error
	words bool          // err is said in other words each time
	hold  chan struct{} // until it is closed nothing comes
	asked int
	steps int // of progress that it tells
}

func (s *shelf) Ensure(ctx context.Context, image api.Image, progress func(done, total int64)) (string, error) {
	s.mu.Lock()
	s.asked++
	err, hold, steps := s.err, s.hold, s.steps
	if s.words && err != nil {
		err = api.Errorf(api.Unavailable, "image", "asked %d times: %w", s.asked, err)
	}
	s.mu.Unlock()
	for i := range steps {
		progress(int64(i), int64(steps))
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return "/images/" + image.ID, err
}

func (s *shelf) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// nursery makes seeds for some VMs.
type nursery struct {
	mu     sync.Mutex
	seeded []string // ids of VMs
	err    error
	made   int
}

func (n *nursery) Seeded(vm api.VM) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.seeded, vm.ID)
}

func (n *nursery) Seed(_ context.Context, vm api.VM, network api.Network) ([]byte, bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made++
	return []byte("seed of " + vm.ID + " on " + network.Name), slices.Contains(n.seeded, vm.ID), n.err
}

func (n *nursery) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}
