package server

import (
	"sync"

	"github.com/orchd/orchd/api"
)

// places bounds how many of one thing are open at once.
type places struct {
	op, crowded, full string // of the failures: what the credential does so many times, what this peer has so many of
	each, total       int

	mu  sync.Mutex
	all int
	of  map[string]int // by the actor's id
}

// How many may be open at once: of one credential, and on this peer.
const (
	maxFollowersEach = 64 // streams of events: each holds a connection, and up to two files of changes while it catches up
	maxFollowers     = 256
	maxConsolesEach  = 16 // consoles: each holds a connection here and one to the guest's host
	maxConsoles      = 256
	maxUploadsEach   = 4 // contents of images on their way in: each keeps a disk busy
	maxUploads       = 16
	maxDownloadsEach = 8 // files of snapshots and changes on their way out: each is written whole to this peer's disk first
	maxDownloads     = 32
)

func newFollowers() *places {
	return &places{op: "events", crowded: "follows events", full: "streams of events", each: maxFollowersEach, total: maxFollowers, of: map[string]int{}}
}

func newConsoles() *places {
	return &places{op: "vm.console", crowded: "has consoles open", full: "consoles", each: maxConsolesEach, total: maxConsoles, of: map[string]int{}}
}

func newUploads() *places {
	return &places{op: "image.upload", crowded: "uploads", full: "uploads", each: maxUploadsEach, total: maxUploads, of: map[string]int{}}
}

func newDownloads() *places {
	return &places{op: "download", crowded: "downloads", full: "downloads", each: maxDownloadsEach, total: maxDownloads, of: map[string]int{}}
}

// enter takes a place for an actor; leave gives it back.
func (p *places) enter(actor string) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.of[actor] >= p.each:
		return nil, api.Errorf(api.TooMany, p.op, "this credential %s %d times already; end one of those", p.crowded, p.of[actor])
	case p.all >= p.total:
		return nil, api.Errorf(api.Unavailable, p.op, "this peer has %d %s open and takes no more; ask another peer", p.all, p.full)
	}
	p.all++
	p.of[actor]++
	return func() { p.leave(actor) }, nil
}

func (p *places) leave(actor string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.of[actor]--; p.of[actor] == 0 {
		delete(p.of, actor)
	}
}
