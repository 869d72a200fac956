package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

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
	m.oldest = 0
	m.events = []api.Event{
		{Index: 4, N: 1, Time: day(1), Actor: "token:admin", Table: "images", Key: imageID, Verb: api.Created, Value: json.RawMessage(`{"id":"` + imageID + `"}`)},
		{Index: 7, N: 1, Time: day(2), Actor: "token:admin", RequestID: "r7", Table: "vms", Key: vmID, Account: "default", Verb: api.Created, Value: json.RawMessage(`{"name":"web1"}`)},
		{Index: 7, N: 2, Time: day(2), Actor: "token:admin", RequestID: "r7", Table: "operations", Key: opID, Account: "default", Verb: api.Created, Value: json.RawMessage(`{}`)},
		{Index: 7, N: 3, Time: day(2), Actor: "token:admin", RequestID: "r7", Table: "leases", Key: "10.0.0.1", Account: "default", Verb: api.Created, Value: json.RawMessage(`{}`)},
		{Index: 9, N: 1, Time: day(3), Actor: "token:other", Table: "vms", Key: otherID, Account: "other", Verb: api.Deleted},
	}
	m.settings = api.Settings{Voters: 3, Snapshot: api.SnapshotSettings{Interval: "1h", Retain: 24, Daily: 30, Monthly: 12},
		History: api.HistorySettings{RetainFor: "9600h"}, Auth: api.AuthSettings{JWTRole: api.RoleAdmin}}
}

// day is a moment of a day in January 2026.
func day(n int) time.Time { return time.Date(2026, 1, n, 3, 4, 5, 0, time.UTC) }

// happen adds events; those without an index come one an entry.
func (m *fakeMemory) happen(events ...api.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range events {
		if e.Index == 0 {
			e.Index, e.N = m.events[len(m.events)-1].Index+1, 1
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

// fillMany makes one entry of so many changes.
func (m *fakeMemory) fillMany(index uint64, changes int) {
	many := make([]api.Event, changes)
	for i := range many {
		many[i] = api.Event{Index: index, N: uint64(i + 1), Time: day(4), Actor: "token:admin", Table: "compute_nodes", Key: nodeID, Verb: api.Updated,
			Value: json.RawMessage(`{"description":"Movie page establish. Different director."}`)}
	}
	m.happen(many...)
}

// given is how many events streams have given.
func (m *fakeMemory) given() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pulled
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
