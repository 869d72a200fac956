package snapshot

import (
	"io"
	"iter"
	"sync"
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

// Plan keeps how a table that never changes is cut into parts, once somebody had to
// know. The zero Plan knows nothing.
type Plan struct {
	mu    sync.Mutex
	parts []part
}

// get is the plan; nil where it is not known, or nobody keeps it.
func (p *Plan) get() []part {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts
}

// set keeps a plan, unless nobody wants that.
func (p *Plan) set(parts []part) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts = parts
}

// Planned is a large table of which p is the plan: who writes it again need not walk
// its rows, unless there is more to write than before. p must be of these rows alone.
func (t Table) Planned(p *Plan) Table {
	known := *t.large
	known.known = p
	t.large = &known
	return t
}

// firstRows are the rows of a part.
func firstRows[T any](source Source[T], p part) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		left := p.rows
		if left == 0 {
			return
		}
		source(p.first, func(_ string, row *T, _ Hash) bool {
			left--
			return yield(row) && left > 0
		})
	}
}

// large is a large table whose row type does not matter.
type large struct {
	layout string // the columns: rows in another layout are another part
	keys   iter.Seq2[string, Hash]
	write  func(w io.Writer, p part) (rows int64, err error)
	known  *Plan // nil: it is planned each time
}
