package peer

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// Events opens the changes behind a position.
func (p *Peer) Events(ctx context.Context, since api.Position, until uint64, filter api.EventFilter) (server.EventStream, error) {
	for _, table := range filter.Tables {
		if !slices.Contains(fsm.RecordedTables(), table) {
			return nil, api.Errorf(api.Invalid, "events", "no changes are kept of a table %q; there are: %v", table, fsm.RecordedTables())
		}
	}
	if err := p.reachable(ctx, since); err != nil {
		return nil, err
	}
	return &eventStream{files: p.chronicle.files, at: since, until: until, filter: filter, hidden: hidden(ctx)}, nil
}

// guarded are the tables of which a reader must be allowed more than to read
// snapshots, and what: they tell who may do what, or who is where.
var guarded = map[string]string{"tokens": "token", "settings": "setting", "leases": "lease"}

// hidden tells of a table whether who asks may not see it.
func hidden(ctx context.Context) func(table string) bool {
	actor := api.CallerOf(ctx).Actor
	return func(table string) bool {
		kind, is := guarded[table]
		return is && !api.Allowed(actor, api.Read, api.Object{Kind: kind, Account: actor.Account})
	}
}

// reachable is nil when what comes next after a position is kept here; what is not
// is fetched first from a peer that has it.
func (p *Peer) reachable(ctx context.Context, since api.Position) error {
	files := p.chronicle.files
	if since.Index > p.machine.Index() && p.node.ReadIndex(ctx) == nil && since.Index > p.machine.Index() {
		return api.Errorf(api.Invalid, "events", "position %s lies in the future: the newest index is %d", since, p.machine.Index())
	}
	if next(since) >= files.Oldest() {
		return nil
	}
	err := p.backfill(ctx)
	if oldest := files.Oldest(); next(since) < oldest {
		if err != nil && !p.nothingOlder() {
			return api.Errorf(api.Unavailable, "events", "the changes behind %s are not kept on this peer, and not every other peer could be asked: try again, or ask another peer: %w", since, err)
		}
		return api.Errorf(api.Gone, "events", "the changes behind %s are not kept any more; the oldest that are kept are those of index %d: read the present state, and go on from its index", since, oldest)
	}
	return nil
}

// next is the first entry that may have changes behind a position.
func next(since api.Position) uint64 {
	if since == api.After(since.Index) {
		return since.Index + 1
	}
	return max(since.Index, 1)
}

// eventStream walks through the change files, and on through what is appended.
type eventStream struct {
	files  *snapshot.History
	at     api.Position // all that is wanted up to here has been given
	until  uint64       // the last entry; 0: for ever
	filter api.EventFilter
	hidden func(table string) bool

	target uint64 // the walk in hand goes up to there
	next   func() (*snapshot.Change, error, bool)
	stop   func()
}

// Next waits for the next event.
func (s *eventStream) Next(ctx context.Context) (api.Event, error) {
	for {
		c, err := s.step(ctx)
		switch {
		case err != nil:
			return api.Event{}, err
		case c != nil && s.wants(c):
			return fsm.PublicChange(c)
		}
	}
}

// step is the next change, wanted or not; nil at the end of a walk.
func (s *eventStream) step(ctx context.Context) (*snapshot.Change, error) {
	if s.next == nil {
		if err := s.await(ctx); err != nil {
			return nil, err
		}
		s.next, s.stop = iter.Pull2(s.files.Changes(s.at, s.target))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err, more := s.next()
	if err != nil {
		s.Close()
		return nil, api.Errorf(api.Unavailable, "events", "the stream ends behind %s: go on from there, here or at another peer: %w", s.at, err)
	}
	if !more {
		s.Close()
		s.at = api.After(s.target)
		return nil, nil
	}
	s.at = c.Position()
	return c, nil
}

// await returns when there is more, and sets how far the next walk goes.
func (s *eventStream) await(ctx context.Context) error {
	for {
		moved := s.files.Watch()
		end := s.files.End()
		if s.until > 0 {
			end = min(end, s.until)
		}
		if s.at.Before(api.After(end)) {
			s.target = end
			return nil
		}
		if s.until > 0 && !s.at.Before(api.After(s.until)) {
			return io.EOF
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *eventStream) wants(c *snapshot.Change) bool {
	f := s.filter
	return !s.hidden(c.Table) && (len(f.Tables) == 0 || slices.Contains(f.Tables, c.Table)) &&
		(len(f.Keys) == 0 || slices.Contains(f.Keys, c.Key)) &&
		(f.Account == "" || f.Account == c.Account)
}

// At is how far the stream has come.
func (s *eventStream) At() api.Position { return s.at }

// Close ends the walk in hand; Next begins another.
func (s *eventStream) Close() {
	if s.stop != nil {
		s.stop()
	}
	s.next, s.stop = nil, nil
}

// ChangeRanges lists this peer's files of changes, up to what was applied just now.
func (p *Peer) ChangeRanges(context.Context) ([]api.ChangeRange, error) {
	if err := p.chronicle.files.Flush(); err != nil {
		return nil, api.Errorf(api.Unavailable, "changes.list", "the newest changes cannot be written: %w", err)
	}
	list := []api.ChangeRange{}
	for _, f := range p.chronicle.files.Files() {
		list = append(list, api.ChangeRange{From: f.From, To: f.To, Since: f.Since, Until: f.Until, Rows: f.Rows, Bytes: f.Bytes,
			File: fmt.Sprintf("%d-%d.parquet", f.From, f.To)})
	}
	return list, nil
}
