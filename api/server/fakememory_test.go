package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/orchd/orchd/api"
)

// fakeMemory is a Memory: events in a list, settings, and the snapshots of
// fakesnapshot_test.go.
type fakeMemory struct {
	fakeSnapshots

	mu       sync.Mutex
	events   []api.Event   // in order
	oldest   uint64        // index before which nothing is kept
	more     chan struct{} // closed when events grow
	settings api.Settings
	streams  int // open ones
	pulled   int // events that streams have given
}

func newFakeMemory(f *fake) *fakeMemory {
	return &fakeMemory{fakeSnapshots: fakeSnapshots{fake: f}, more: make(chan struct{})}
}

// fillMemory puts back what stands there at first.
func (m *fakeMemory) fillMemory() {
	m.fillSnapshots()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events, m.oldest = nil, 0
	m.settings = api.Settings{Voters: 3, Snapshot: api.SnapshotSettings{Interval: "1h", Retain: 24, Daily: 30, Monthly: 12},
		History: api.HistorySettings{RetainFor: "9600h"}, Auth: api.AuthSettings{JWTRole: api.RoleAdmin}}
}

// happen adds events; those without an index come one an entry.
func (m *fakeMemory) happen(events ...api.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range events {
		if e.Index == 0 {
			e.Index, e.N = 1, 1
			if n := len(m.events); n > 0 {
				e.Index = m.events[n-1].Index + 1
			}
		}
		m.events = append(m.events, e)
	}
	close(m.more)
	m.more = make(chan struct{})
}

func (m *fakeMemory) Events(_ context.Context, since api.Position, until uint64, filter api.EventFilter) (EventStream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if since.Index+1 < m.oldest {
		return nil, api.Errorf(api.Gone, "events", "changes behind %s are no longer kept; the oldest index that is kept is %d", since, m.oldest)
	}
	m.streams++
	return &fakeStream{memory: m, at: since, until: until, filter: filter}, nil
}

// openStreams is how many streams are open.
func (m *fakeMemory) openStreams() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.streams
}

type fakeStream struct {
	memory *fakeMemory
	at     api.Position
	until  uint64
	filter api.EventFilter
}

func (s *fakeStream) At() api.Position { return s.at }

func (s *fakeStream) Close() {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.memory.streams--
}

func (s *fakeStream) Next(ctx context.Context) (api.Event, error) {
	for {
		e, more, err := s.look()
		if more == nil {
			return e, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return api.Event{}, ctx.Err()
		}
	}
}

// look gives the next event, or what to wait for.
func (s *fakeStream) look() (api.Event, <-chan struct{}, error) {
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	from, _ := slices.BinarySearchFunc(m.events, s.at, func(e api.Event, at api.Position) int {
		if at.Before(e.Position()) {
			return 1
		}
		return -1
	})
	for _, e := range m.events[from:] {
		if s.until != 0 && e.Index > s.until {
			break
		}
		if s.at = e.Position(); wanted(s.filter, e) {
			m.pulled++
			return e, nil, nil
		}
	}
	if s.until != 0 {
		s.at = api.After(s.until)
		return api.Event{}, nil, io.EOF
	}
	return api.Event{}, m.more, nil
}

func wanted(f api.EventFilter, e api.Event) bool {
	return (f.Account == "" || f.Account == e.Account) && (f.Tables == nil || slices.Contains(f.Tables, e.Table)) && (f.Keys == nil || slices.Contains(f.Keys, e.Key))
}

func (m *fakeMemory) Settings(context.Context) (api.Settings, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings, nil
}

func (m *fakeMemory) PatchSettings(ctx context.Context, patch []byte) (api.Settings, error) {
	if err := m.fake.write(ctx, fmt.Sprintf("settings.patch %s", patch)); err != nil {
		return api.Settings{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings, json.Unmarshal(patch, &m.settings)
}
