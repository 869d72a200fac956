package fsm

import (
	"encoding/json"
	"iter"

	"github.com/orchd/orchd/snapshot"
)

// PublicRow is a row as people and programs see it: JSON without secrets.
type PublicRow struct {
	Key     string
	Account string // the account that it belongs to; empty: none
	JSON    func() json.RawMessage
}

// PublicRows lists the rows of a table in the order of their keys; NotFound when no
// such table is offered.
func (r Reader) PublicRows(table string) (iter.Seq[PublicRow], error) {
	t, err := offered("read", table)
	if err != nil {
		return nil, err
	}
	return t.publicRows(r.state), nil
}

// PublicRow finds a row of a table by its key.
func (r Reader) PublicRow(table, key string) (PublicRow, bool, error) {
	t, err := offered("read", table)
	if err != nil {
		return PublicRow{}, false, err
	}
	row, ok := t.shownRow(r.state, key)
	return row, ok, nil
}

func (t *table[T]) shownRow(s *state, key string) (PublicRow, bool) {
	it, ok := t.in(s).rows.get(key)
	if !ok {
		return PublicRow{}, false
	}
	return t.shown(&it.row), true
}

func (t *table[T]) publicRows(s *state) iter.Seq[PublicRow] {
	return func(yield func(PublicRow) bool) {
		for row := range t.rowsAfter(s, "") {
			if !yield(t.shown(row)) {
				return
			}
		}
	}
}

func (t *table[T]) shown(row *T) PublicRow {
	p := PublicRow{Key: t.key(row), JSON: func() json.RawMessage { return t.encoded(snapshot.Redacted(row)) }}
	if t.account != nil {
		p.Account = t.account(row)
	}
	return p
}
