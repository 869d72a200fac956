package fsm

import (
	"fmt"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// CheckFolder restores a snapshot table by table into a scratch state, each table
// with its indexes, and compares counts and the state hash with the manifest. What
// is wrong is in the answer. Memory: the largest table at a time.
func CheckFolder(f *snapshot.Folder) api.SnapshotCheck {
	m := f.Manifest()
	c := api.SnapshotCheck{Index: m.Index, Rows: map[string]int64{}, Problems: []string{}}
	wrong := func(format string, args ...any) { c.Problems = append(c.Problems, fmt.Sprintf(format, args...)) }
	if err := knownTables(m); err != nil {
		wrong("%v", err)
	}
	var total sum
	for _, t := range tables {
		s := emptyState()
		if err := loadTables(s, f, t); err != nil {
			wrong("table %s: %v", t.label(), err)
			continue
		}
		total = total.plus(s.sum)
		c.Rows[t.label()] = int64(t.size(s))
		if rows := m.Rows(t.label()); rows != c.Rows[t.label()] {
			wrong("table %s: %d rows, the manifest says %d", t.label(), c.Rows[t.label()], rows)
		}
	}
	if c.StateHash = total.String(); c.StateHash != m.StateHash {
		wrong("the rows hash to %s, the manifest says %s", c.StateHash, m.StateHash)
	}
	c.OK = len(c.Problems) == 0
	return c
}

// Content is the state as the snapshot package writes it; the caller adds the term.
func (r Reader) Content() snapshot.Content { return content(r.state) }
