package run

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
	"github.com/orchd/orchd/sysvc/trigger"
)

const (
	// maxWaiting is how many changes of a spell wait to be marked. Then the history is
	// read no further: it is the queue.
	maxWaiting = 64
	// stride is how many log entries without a change that fires pass before the place
	// is marked, so that a restart has less to read again.
	stride = 10_000
)

// follower reads the history for one spell.
type follower struct {
	spell  api.Spell
	events state.Cluster
	out    func(fired)
	slots  chan struct{}
	stop   context.CancelFunc
	marked api.Position
}

// fired is a firing that a follower found.
type fired struct {
	from *follower
	waiting
}

// follow begins to read; readers waits for it after its stop.
func follow(ctx context.Context, c state.Cluster, spell api.Spell, readers *sync.WaitGroup, out func(fired)) *follower {
	ctx, stop := context.WithCancel(ctx)
	f := &follower{spell: spell, events: c, out: out, slots: make(chan struct{}, maxWaiting), stop: stop}
	readers.Go(func() { f.run(ctx) })
	return f
}

// run reads from the newest change that was marked. What was never marked begins now.
func (f *follower) run(ctx context.Context) {
	v := f.events.View()
	from, _ := v.Cursor(f.spell.ID)
	if from == (api.Position{}) {
		from = api.After(v.Index())
		f.mark(ctx, from, "")
	}
	f.marked = from
	matcher := trigger.NewMatcher(f.spell.Trigger.Events)
	for ctx.Err() == nil {
		err := f.read(ctx, matcher, &from)
		if api.IsKind(err, api.Gone) {
			lost := from
			from = api.After(f.events.View().Index())
			f.mark(ctx, from, fmt.Sprintf("changes after %s are not kept any more: this spell missed those up to %s", lost, from))
			continue
		}
		pause(ctx, time.Second)
	}
}

// read reads changes until it fails, and moves from along.
func (f *follower) read(ctx context.Context, m *trigger.Matcher, from *api.Position) error {
	events, err := f.events.Events(ctx, *from, m.Tables())
	if err != nil {
		return err
	}
	defer events.Close()
	for {
		e, err := events.Next(ctx)
		if err != nil {
			return err
		}
		if !from.Before(e.Position()) {
			continue
		}
		*from = e.Position()
		switch {
		case f.maySee(e) && m.Match(e):
			firing, err := trigger.OfEvent(e)
			if err != nil {
				return err
			}
			f.emit(ctx, waiting{firing: firing})
			f.marked = *from
		case from.Index > f.marked.Index+stride:
			f.mark(ctx, *from, "")
			f.marked = *from
		}
	}
}

// maySee: a spell sees its own account's rows, rows of no account in the tables that it
// may read, and everything if it may act for every account.
func (f *follower) maySee(e api.Event) bool {
	g := f.spell.Grants
	switch {
	case g.AnyAccount:
		return true
	case e.Account != "":
		return e.Account == f.spell.Account
	}
	return slices.Contains(g.Read, e.Table) || slices.Contains(g.Read, "*")
}

// mark has a place noted without a run.
func (f *follower) mark(ctx context.Context, at api.Position, note string) {
	f.emit(ctx, waiting{firing: api.Firing{Kind: trigger.Event, At: at.String()}, skip: true, note: note})
}

func (f *follower) emit(ctx context.Context, w waiting) {
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	w.done = func() { <-f.slots }
	f.out(fired{f, w})
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
