package snapshot

import (
	"io"
	"iter"
	"time"
)

// Content is a state on its way into a folder. It must not change until it is there.
type Content struct {
	Index     uint64 // log index of the last entry that the state includes
	Term      uint64
	Time      time.Time // the state's own clock
	Level     uint64    // behaviour level in force
	StateHash string    // hash over all rows
	Tables    []Table   // in the order in which they are written
}

// Table is one table of a Content. Codec.Large makes one of many rows.
type Table struct {
	Name string // a-z, 0-9 and _, beginning with a letter, at most 63

	// Write writes the rows as a parquet file and tells how many they were;
	// Codec.Write does that.
	Write func(w io.Writer) (rows int64, err error)

	large *large // instead of Write
}

// Hash is a hash of one row and its key. Rows with the same hash are taken to
// be the same, so it must be one under which nobody finds two that are not.
type Hash struct{ Hi, Lo uint64 }

// Source calls yield for the rows of a large table in ascending order of their
// keys, each key once, beginning with the first that is not less than from,
// until yield returns false. Several goroutines call it at once.
type Source[T any] func(from string, yield func(key string, row *T, hash Hash) bool)

// Planned is a large table of a lineage, as it is at a moment: who writes it need not walk
// its rows, but for those of parts in which something was touched since it was last written.
func (t Table) Planned(l *Lineage, m Moment) Table {
	planned := *t.large
	planned.lineage, planned.moment = l, m
	t.large = &planned
	return t
}

// stepRows is how many rows lie between two calls of a writer's step: some 0.3 ms.
const stepRows = 64

// firstRows are the rows of a part. Between some of them it calls step.
func firstRows[T any](source Source[T], p part, step func()) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		left := p.rows
		if left == 0 {
			return
		}
		source(p.first, func(_ string, row *T, _ Hash) bool {
			if left--; left%stepRows == 0 {
				step()
			}
			return yield(row) && left > 0
		})
	}
}

// large is a large table whose row type does not matter.
type large struct {
	layout  string // the columns: rows in another layout are another part
	keys    func(from string, yield func(string, Hash) bool)
	write   func(w io.Writer, p part, step func()) (rows int64, err error) // step is called between rows
	lineage *Lineage                                                       // nil: it is planned from its beginning each time
	moment  Moment
}
