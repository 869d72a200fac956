package snapshot

import (
	"io"
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

// Table is one table of a Content.
type Table struct {
	Name   string // a-z, 0-9 and _, beginning with a letter, at most 63
	Parted bool   // a folder NAME/part-0000.parquet, because it will grow large; else NAME.parquet

	// Write writes the rows as a parquet file and tells how many they were;
	// Codec.Write does that.
	Write func(w io.Writer) (rows int64, err error)
}

// path is where the table's file lies below a folder.
func (t Table) path() string {
	if t.Parted {
		return t.Name + "/part-0000.parquet"
	}
	return t.Name + ".parquet"
}
