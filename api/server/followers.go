package server

import (
	"sync"

	"github.com/orchd/orchd/api"
)

// How many streams of events may be open at once. Each holds a connection, and
// up to two files of changes while it catches up.
const (
	maxFollowers     = 256 // on this peer
	maxFollowersEach = 64  // of one credential
)

// followers counts the open streams of events.
type followers struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by the actor's id
}

func newFollowers() *followers { return &followers{of: map[string]int{}} }

// enter takes a place for an actor; leave gives it back.
func (f *followers) enter(actor string) (leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.of[actor] >= maxFollowersEach:
		return nil, api.Errorf(api.TooMany, "events", "this credential follows events %d times already; end one of those", f.of[actor])
	case f.all >= maxFollowers:
		return nil, api.Errorf(api.Unavailable, "events", "this peer has %d streams of events open and takes no more; ask another peer", f.all)
	}
	f.all++
	f.of[actor]++
	return func() { f.leave(actor) }, nil
}

func (f *followers) leave(actor string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.of[actor]--; f.of[actor] == 0 {
		delete(f.of, actor)
	}
}
