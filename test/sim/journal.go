package sim

import (
	"bytes"
	"sync"
	"time"
)

// entry is an entry of the log as a peer has applied it.
type entry struct {
	index    uint64
	at       time.Time
	commands [][]byte
	answers  []any
	hash     string    // of the state behind it
	now      time.Time // that state's own, which is in no hash
	behind   uint64    // index of the state before it
	by       string    // who applied it first
}

// journal is what was applied, by any peer: the log as it was committed.
type journal struct {
	world *world

	mu      sync.Mutex
	entries map[uint64]*entry
	last    uint64
}

func newJournal(w *world) *journal { return &journal{world: w, entries: map[uint64]*entry{}} }

// applied takes note of an entry, and compares it with what others made of it.
func (j *journal) applied(by *host, e entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.gapLocked(by, e)
	first, known := j.entries[e.index]
	if !known {
		e.by = by.name
		if j.entries[e.index] = &e; e.index < j.last {
			j.world.violation("%s applied entry %d first, when another peer was at %d: that one has left it out", by.name, e.index, j.last)
		}
		j.last = max(j.last, e.index)
		return
	}
	same := len(first.commands) == len(e.commands) && first.at.Equal(e.at)
	for i := 0; same && i < len(e.commands); i++ {
		same = bytes.Equal(first.commands[i], e.commands[i])
	}
	if !same {
		j.world.violation("%s applied another entry %d than a peer before it", by.name, e.index)
	} else if first.hash != e.hash {
		j.world.violation("%s has the state hash %s at index %d, %s had %s", by.name, e.hash, e.index, first.by, first.hash)
	}
	if same && !first.now.Equal(e.now) {
		j.world.violation("%s is at %s in the state of index %d, %s was at %s", by.name, e.now, e.index, first.by, first.now)
	}
}

// gapLocked: nobody leaves an entry out.
func (j *journal) gapLocked(by *host, e entry) {
	for i := e.behind + 1; i < e.index; i++ {
		if missing := j.entries[i]; missing != nil {
			j.world.violation("%s applied entry %d to the state of %d: it has left out %d, which %s applied", by.name, e.index, e.behind, i, missing.by)
		}
	}
}

// ordered are the entries by index.
func (j *journal) ordered() []*entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []*entry
	for i := uint64(0); i <= j.last; i++ {
		if e, ok := j.entries[i]; ok {
			all = append(all, e)
		}
	}
	return all
}

// has tells whether a peer has applied the entry at an index.
func (j *journal) has(index uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[index] != nil
}
