package fsm

import "github.com/orchd/orchd/snapshot"

// Layout is how the files of a table look.
type Layout struct {
	Table   string
	Parts   bool // in snapshots it is a folder of parts
	Offered bool // downloads, changes and queries have it; otherwise it is the machine's own bookkeeping
	Columns []snapshot.Column
}

// Layouts describes the tables in the order of snapshots, for documentation and tests.
func Layouts() []Layout {
	var out []Layout
	for _, t := range tables {
		out = append(out, t.layout())
	}
	return out
}

func (t *table[T]) layout() Layout {
	return Layout{t.name, t.large, !t.bookkeeping, t.codec.Columns()}
}
