package sim

import (
	"sync"
	"sync/atomic"
)

// history is what clients did and were told.
type history struct {
	clock atomic.Int64  // orders calls and returns
	acked atomic.Uint64 // the newest index of an acknowledged write

	mu     sync.Mutex
	writes []write
	reads  []read
}

// write is one request to change something, with all of its sendings.
type write struct {
	client    string
	what      string
	request   string // its id
	twin      bool   // it is the duplicate of another, sent at the same time
	key       string // the Idempotency-Key; empty for none
	object    string // the node that it is about, for registers
	ifVersion uint64
	value     string
	call, ret int64  // by the history's clock; ret 0: never
	floor     uint64 // the newest index that was acknowledged before the call
	outcome   outcome
	refusal   string // kind, where it was refused
	index     uint64
	command   string
	id        string // of the object that the answer is about
}

// read is one look at a node, or at all VMs.
type read struct {
	client    string
	object    string
	linear    bool
	call, ret int64
	floor     uint64
	index     uint64
	version   uint64 // 0: there is none
	value     string
	hash      string
}

// outcome is what a client knows of a write.
type outcome int

const (
	done    outcome = iota // acknowledged
	refused                // answered with an error that will not pass
	unknown                // it may have happened
	unsent                 // it was never sent
)

func (h *history) tick() int64 { return h.clock.Add(1) }

func (h *history) wrote(w write) {
	if w.outcome == done {
		for {
			now := h.acked.Load()
			if w.index <= now || h.acked.CompareAndSwap(now, w.index) {
				break
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = append(h.writes, w)
}

func (h *history) saw(r read) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, r)
}
