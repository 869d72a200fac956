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

func (t *table[T]) publicRows(s *state) iter.Seq[PublicRow] {
	return func(yield func(PublicRow) bool) {
		for row := range t.rowsAfter(s, "") {
			shown := PublicRow{Key: t.key(row), JSON: func() json.RawMessage { return t.encoded(snapshot.Redacted(row)) }}
			if t.account != nil {
				shown.Account = t.account(row)
			}
			if !yield(shown) {
				return
			}
		}
	}
}
