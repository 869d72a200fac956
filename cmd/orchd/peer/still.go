package peer

import (
	"sync"
	"time"
)

// stillAfter is how long nothing must have been applied before a peer is still.
const stillAfter = 100 * time.Millisecond

// still tells whether entries have stopped coming. It looks only when it is asked.
type still struct {
	index func() uint64 // of the newest entry applied

	mu    sync.Mutex
	last  uint64
	since time.Time // when last was first seen
}

// now tells whether the newest entry has been the newest for a while.
func (s *still) now() bool {
	index := s.index()
	s.mu.Lock()
	defer s.mu.Unlock()
	if index != s.last || s.since.IsZero() {
		s.last, s.since = index, time.Now()
	}
	return time.Since(s.since) >= stillAfter
}
