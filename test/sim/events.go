package sim

import (
	"slices"
	"sort"
	"sync"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// event is a change as a follower sees it.
type event struct {
	index, n   uint64
	table, key string
}

func (e event) position() api.Position { return api.Position{Index: e.index, N: e.n} }

// eventLog is what a host keeps of changes: synced ones outlive the process.
type eventLog struct {
	mu     sync.Mutex
	synced []event
	from   uint64 // events behind this index are there
	to     uint64 // up to and including this one
	life   *life
}

// keep gives the sink of one life.
func (e *eventLog) keep(l *life) *eventSink {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.life = l
	return &eventSink{log: e, life: l, at: e.to}
}

func (e *eventLog) crash() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.life = nil
}

// reaches is the index up to which events are here.
func (e *eventLog) reaches() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.to
}

// between gives the events behind a position, up to an index; ok is false when some of
// them are not kept here.
func (e *eventLog) between(since api.Position, until uint64) (list []event, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if since.Index < e.from || until > e.to {
		return nil, false
	}
	first := sort.Search(len(e.synced), func(i int) bool { return since.Before(e.synced[i].position()) })
	last := sort.Search(len(e.synced), func(i int) bool { return e.synced[i].index > until })
	return slices.Clone(e.synced[first:max(first, last)]), true
}

// eventSink is fsm's way into it.
type eventSink struct {
	log  *eventLog
	life *life
	at   uint64
	wait []event // not synced yet
	skip bool    // changes up to at are missing
}

func (s *eventSink) end() uint64 { return s.at }

// Append takes the changes up to an index.
func (s *eventSink) Append(to uint64, changes []snapshot.Change) error {
	for _, c := range changes {
		s.wait = append(s.wait, event{c.Index, c.N, c.Table, c.Key})
	}
	s.at = to
	if len(s.wait) > 40 {
		return s.Flush()
	}
	return nil
}

// Skip is told of a gap.
func (s *eventSink) Skip(to uint64) error {
	s.at, s.wait, s.skip = to, nil, true
	return s.Flush()
}

// Flush syncs what it has.
func (s *eventSink) Flush() error {
	s.log.mu.Lock()
	if s.log.life != s.life {
		s.log.mu.Unlock()
		return errKilled
	}
	if s.skip {
		s.log.synced, s.log.from = nil, s.at
	}
	s.log.synced = append(s.log.synced, s.wait...)
	s.log.to, s.wait, s.skip = s.at, nil, false
	to := s.log.to
	s.log.mu.Unlock()
	s.life.machine.ChangesDurable(to)
	return nil
}
