package fsm

import (
	"iter"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// This file is what a command changed, as apply notes it: which rows, and the rows
// themselves, which never change and so need no copying. What is noted is encoded
// and kept elsewhere, by whoever calls WriteChanges.

// recordable is what noting needs of a table.
type recordable interface {
	isBookkeeping() bool
	current(s *state, key string) (row any, hash sum) // nil when there is none
	accountOf(row any) string
	encoded(row any) []byte // the row as JSON, from which decoded makes it again
}

// commandChanges is what one command changed.
type commandChanges struct {
	actor   string
	request string // the client's request id
	rows    []rowChange
}

// rowChange is what became of one row.
type rowChange struct {
	table   anyTable
	key     string
	account string
	verb    api.ChangeVerb
	row     any // nil after a delete
}

// changedRowBytes is what one change takes beside the row itself, roughly.
const changedRowBytes = 256

// note adds what the command in hand has changed to what the entry has. The order
// is that in which the command touched the rows first: the same on all peers.
// What a command did to a row in several steps is one change, or none where
// the row came out of it as it went in.
func (tx *Txn) note() {
	if !tx.noting || tx.Type == resealValues {
		return // no change shows what is sealed, so to seal it anew is none
	}
	c := commandChanges{actor: tx.Actor.ID, request: tx.Request}
	for was := range tx.touched() {
		if change, real := tx.changeOf(was); real {
			if c.rows == nil {
				c.rows = make([]rowChange, 0, len(tx.changes))
			}
			c.rows = append(c.rows, change)
			tx.notedBytes += was.size + changedRowBytes
		}
	}
	if len(c.rows) > 0 {
		tx.noted = append(tx.noted, c)
	}
}

// touched gives, for each row that the command touched, how it was before it. Rows
// of bookkeeping are left out.
func (tx *Txn) touched() iter.Seq[rowBefore] {
	const few = 16 // so many are compared with each other sooner than a map is made
	type name struct {
		table anyTable
		key   string
	}
	return func(yield func(rowBefore) bool) {
		var seen map[name]bool
		if len(tx.changes) > few {
			seen = make(map[name]bool, len(tx.changes))
		}
		again := func(i int) bool {
			c := tx.changes[i]
			if seen == nil {
				return slices.ContainsFunc(tx.changes[:i], func(o rowBefore) bool { return o.table == c.table && o.key == c.key })
			}
			before := len(seen)
			seen[name{c.table, c.key}] = true
			return len(seen) == before
		}
		for i, c := range tx.changes {
			if !c.table.isBookkeeping() && !again(i) && !yield(c) {
				return
			}
		}
	}
}

// changeOf is what became of a row since it was like that.
func (tx *Txn) changeOf(was rowBefore) (c rowChange, real bool) {
	row, hash := was.table.current(tx.state, was.key)
	c = rowChange{table: was.table, key: was.key, row: row}
	switch {
	case row == nil && was.row == nil, row != nil && was.row != nil && hash == was.sum:
		return c, false
	case row == nil:
		c.verb, c.account = api.Deleted, was.table.accountOf(was.row)
		return c, true
	case was.row == nil:
		c.verb = api.Created
	default:
		c.verb = api.Updated
	}
	c.account = was.table.accountOf(row)
	return c, true
}

// changedEntry is what an entry of the log changed, on its way to the sink.
type changedEntry struct {
	to   uint64 // the entries behind this one up to index to changed nothing
	skip bool   // nothing is known of what lies before to and was not handed over: a gap

	index    uint64
	at       time.Time
	before   uint64 // how many changes the entry had before these
	commands []commandChanges
	bytes    int
}

// count is how many rows the entry changed.
func (e *changedEntry) count() (n uint64) {
	for _, c := range e.commands {
		n += uint64(len(c.rows))
	}
	return n
}

func (t *table[T]) isBookkeeping() bool { return t.bookkeeping }

func (t *table[T]) current(s *state, key string) (any, sum) {
	it, ok := t.in(s).rows.get(key)
	if !ok {
		return nil, sum{}
	}
	return &it.row, it.sum
}

func (t *table[T]) accountOf(row any) string {
	if t.account == nil {
		return ""
	}
	return t.account(row.(*T))
}
