package fsm

import (
	"context"

	"github.com/orchd/orchd/snapshot"
)

// ChangeSink is where changes go; snapshot.History is one. Where it has a method
// Flush() error, that is called when somebody waits for what it took to be durable.
type ChangeSink interface {
	// Append takes the changes of the entries behind the last index it was told, up
	// to and including to, in order.
	Append(to uint64, changes []snapshot.Change) error
	// Skip is told where changes are missing: those behind the last index it was
	// told, up to and including to.
	Skip(to uint64) error
}

// KeepChanges makes the machine note what entries behind after change; call it
// before the first entry is applied. Without it nothing is noted.
func (m *Machine) KeepChanges(after uint64) { m.changes.keep(after) }

// ChangesDurable is to be told whenever the changes up to index have come to be
// on stable storage: raft's snapshots wait for it.
func (m *Machine) ChangesDurable(index uint64) { m.changes.reached(index) }

// OnLostChanges sets who is told that changes up to index are missing from the
// sink, and why: once, until it takes changes again. Set it before KeepChanges.
func (m *Machine) OnLostChanges(f func(to uint64, err error)) { m.changes.lost = f }

// WriteChanges hands over to sink what entries changed, in order, each once, until
// ctx ends. Where sink fails, the changes in hand are given up and it is told to
// skip them: apply must go on. When apply is far ahead of the sink it waits for it.
// After WriteChanges nothing is noted any more, and raft's snapshots fail instead of
// waiting: what was not durable is met again when the log is applied anew.
func (m *Machine) WriteChanges(ctx context.Context, sink ChangeSink) error {
	q := m.changes
	q.begin()
	defer q.end()
	defer context.AfterFunc(ctx, q.end)() // apply must not wait for a sink that hangs
	w := changeWriter{sink: sink, lost: q.lost}
	awaited := false
	for {
		for b, ok := q.take(); ok; b, ok = q.take() {
			w.write(b)
			q.done(b)
		}
		if awaited {
			w.flush()
		}
		awaited = false
		select {
		case <-ctx.Done():
			return nil
		case <-q.more:
		case <-q.flush:
			awaited = true
		}
	}
}

// changeWriter hands batches to a sink.
type changeWriter struct {
	sink    ChangeSink
	lost    func(to uint64, err error)
	failing bool   // it has failed since the last changes that it took
	gap     uint64 // it could not even be told to skip up to here; 0: nothing of the sort
}

// write hands over a batch. What the sink does not take is a gap.
func (w *changeWriter) write(b changeBatch) {
	if w.gap > 0 && w.sink.Skip(w.gap) != nil {
		w.gap = b.to
		return
	}
	w.gap = 0
	var err error
	if b.skip {
		err = w.sink.Skip(b.to)
	} else if err = w.sink.Append(b.to, b.changes()); err == nil {
		w.failing = false
	}
	if err == nil {
		return
	}
	if !w.failing {
		w.failing = true
		w.lost(b.to, err)
	}
	if w.sink.Skip(b.to) != nil {
		w.gap = b.to
	}
}

// flush asks for what was handed over to be made durable. When that fails, who
// waits for it goes on waiting: the sink tries again by itself.
func (w *changeWriter) flush() {
	if f, can := w.sink.(interface{ Flush() error }); can {
		_ = f.Flush()
	}
}

// changes are those of the batch as they are kept.
func (b *changeBatch) changes() []snapshot.Change {
	rows := uint64(0)
	for i := range b.entries {
		rows += b.entries[i].count()
	}
	out := make([]snapshot.Change, 0, rows)
	for _, e := range b.entries {
		n := e.before
		for _, c := range e.commands {
			for _, row := range c.rows {
				n++
				out = append(out, row.encoded(e, c, n))
			}
		}
	}
	return out
}

// encoded is the n-th change of an entry.
func (r rowChange) encoded(e changedEntry, c commandChanges, n uint64) snapshot.Change {
	change := snapshot.Change{Index: e.index, N: n, Time: e.at, Actor: c.actor, RequestID: c.request,
		Table: r.table.label(), Key: r.key, Account: r.account, Verb: string(r.verb)}
	if r.row != nil {
		change.Value = r.table.encoded(r.row)
	}
	return change
}
