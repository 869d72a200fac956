package fsm

import (
	"fmt"
	"io"
	"iter"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// exportable is what downloads need of a table.
type exportable interface {
	export(s *state, w io.Writer) (rows int64, err error)
	exportFolder(f *snapshot.Folder, w io.Writer) (rows int64, err error)
	public(value []byte) ([]byte, error)
	publicRows(s *state) iter.Seq[PublicRow]
	shownRow(s *state, key string) (PublicRow, bool)
	replayable
}

// RecordedTables are the tables of which changes are kept and that downloads and
// queries offer, in the order of snapshots. The others are the machine's own bookkeeping.
func RecordedTables() []string {
	var names []string
	for _, t := range tables {
		if !t.isBookkeeping() {
			names = append(names, t.label())
		}
	}
	return names
}

// offered finds a table that is offered to the outside.
func offered(op, name string) (anyTable, error) {
	if t := tableNamed(name); t != nil && !t.isBookkeeping() {
		return t, nil
	}
	return nil, api.Errorf(api.NotFound, op, "there is no table %q", name)
}

// Rows counts the rows of the tables that are offered.
func (r Reader) Rows() map[string]int64 {
	rows := map[string]int64{}
	for _, t := range tables {
		if !t.isBookkeeping() {
			rows[t.label()] = int64(t.size(r.state))
		}
	}
	return rows
}

// Export writes a table as one parquet file, its secrets null, and tells how many
// rows it has; NotFound when no such table is offered. The same rows give the same bytes.
func (r Reader) Export(table string, w io.Writer) (rows int64, err error) {
	t, err := offered("export", table)
	if err != nil {
		return 0, err
	}
	return t.export(r.state, w)
}

// ExportFolder is Export of the state that a snapshot folder holds. The rows are
// read as they are written, so their number does not matter to memory.
func ExportFolder(f *snapshot.Folder, table string, w io.Writer) (rows int64, err error) {
	t, err := offered("export", table)
	if err != nil {
		return 0, err
	}
	return t.exportFolder(f, w)
}

func (t *table[T]) export(s *state, w io.Writer) (int64, error) {
	return t.codec.Write(w, func(yield func(*T) bool) {
		for row := range t.rowsAfter(s, "") {
			if !yield(snapshot.Redacted(row)) {
				return
			}
		}
	})
}

func (t *table[T]) exportFolder(f *snapshot.Folder, w io.Writer) (int64, error) {
	return writeRows(t.codec, w, func(yield func(*T, error) bool) {
		for row, err := range t.codec.Rows(f, t.name) {
			if err == nil {
				row = snapshot.Redacted(row)
			}
			if !yield(row, err) {
				return
			}
		}
	})
}

// writeRows writes rows that may end in an error.
func writeRows[T any](c *snapshot.Codec[T], w io.Writer, rows iter.Seq2[*T, error]) (int64, error) {
	var broken error
	n, err := c.Write(w, func(yield func(*T) bool) {
		for row, err := range rows {
			if broken = err; err != nil || !yield(row) {
				return
			}
		}
	})
	if broken != nil {
		return n, broken
	}
	return n, err
}

// public is an encoded row without its secrets.
func (t *table[T]) public(value []byte) ([]byte, error) {
	if none := new(T); snapshot.Redacted(none) == none {
		return value, nil // the type has no secrets
	}
	row, err := t.decoded(value)
	if err != nil {
		return nil, err
	}
	return t.encoded(snapshot.Redacted(row)), nil
}

// PublicChange is a change as people and programs see it: without secrets.
func PublicChange(c *snapshot.Change) (api.Event, error) {
	e := api.Event{Index: c.Index, N: c.N, Time: c.Time, Actor: c.Actor, RequestID: c.RequestID,
		Table: c.Table, Key: c.Key, Account: c.Account, Verb: api.ChangeVerb(c.Verb)}
	t, err := offered("event", c.Table)
	if err == nil && c.Value != nil {
		e.Value, err = t.public(c.Value)
	}
	if err != nil {
		return api.Event{}, fmt.Errorf("change %v: %w", c.Position(), err)
	}
	return e, nil
}
