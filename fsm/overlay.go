package fsm

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// replayable is what it needs of a table to make an earlier state out of changes.
type replayable interface {
	overlay(base io.ReaderAt, size int64, changes changeSeq, w io.Writer) (rows int64, err error)
	versions(from baseRows, changes changeSeq, w io.Writer) (rows int64, err error)
}

// changeSeq is changes in order; an error ends it.
type changeSeq = iter.Seq2[*snapshot.Change, error]

// Overlay writes a table as it was after changes, without its secrets, and tells how
// many rows it has: the rows of base, a parquet file of size bytes as Export writes
// it (nil: no rows), with the changes laid over them in their order. The file is
// the one that Export would have written then, byte for byte. Changes of other
// tables are passed over. In memory is what the changes leave of the rows they name.
func Overlay(table string, base io.ReaderAt, size int64, changes iter.Seq2[*snapshot.Change, error], w io.Writer) (rows int64, err error) {
	t, err := offered("overlay", table)
	if err != nil {
		return 0, err
	}
	return t.overlay(base, size, of(table, changes), w)
}

// of are the changes of one table.
func of(table string, changes changeSeq) changeSeq {
	return func(yield func(*snapshot.Change, error) bool) {
		for c, err := range changes {
			if (err != nil || c.Table == table) && !yield(c, err) {
				return
			}
		}
	}
}

func (t *table[T]) overlay(base io.ReaderAt, size int64, changes changeSeq, w io.Writer) (int64, error) {
	last := map[string]json.RawMessage{} // the newest value of each row that changed; nil where it is gone
	for c, err := range changes {
		if err != nil {
			return 0, err
		}
		last[c.Key] = c.Value
	}
	return writeRows(t.codec, w, t.merged(t.baseRows(base, size), last))
}

// baseRows are the rows of a file that Export wrote; none if base is nil.
func (t *table[T]) baseRows(base io.ReaderAt, size int64) iter.Seq2[*T, error] {
	if base == nil {
		return func(func(*T, error) bool) {}
	}
	return t.codec.Read(base, size)
}

// merged lays the newest values over the rows of base; all in the order of keys.
func (t *table[T]) merged(base iter.Seq2[*T, error], last map[string]json.RawMessage) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		keys := slices.Sorted(maps.Keys(last))
		// laid yields the changed rows before the key, or all that are left.
		laid := func(before string, all bool) bool {
			for ; len(keys) > 0 && (all || keys[0] < before); keys = keys[1:] {
				if last[keys[0]] == nil {
					continue
				}
				if row, err := t.publicRow(keys[0], last[keys[0]]); !yield(row, err) || err != nil {
					return false
				}
			}
			return true
		}
		at := ""
		for row, err := range base {
			if err == nil {
				err = t.follows(at, row)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			at = t.key(row)
			if !laid(at, false) {
				return
			}
			if _, changed := last[at]; !changed && !yield(row, nil) {
				return
			}
		}
		laid("", true)
	}
}

// follows fails on a row of a file that does not come behind the key before it.
func (t *table[T]) follows(key string, row *T) error {
	if at := t.key(row); at <= key {
		return fmt.Errorf("table %s: the row %q comes behind %q", t.name, at, key)
	}
	return nil
}

// publicRow is the row of a change, without its secrets.
func (t *table[T]) publicRow(key string, value []byte) (*T, error) {
	row, err := t.decoded(value)
	if err != nil {
		return nil, err
	}
	if got := t.key(row); got != key {
		return nil, fmt.Errorf("table %s: the change of row %q has the row %q", t.name, key, got)
	}
	return snapshot.Redacted(row), nil
}

// version is a row as it was from a moment on.
type version[T any] struct {
	Key   string    `json:"key"`
	Index uint64    `json:"index"` // the log index that made it so; of a base row the base's
	N     uint64    `json:"n"`     // which change of that entry; 0: a base row
	Time  time.Time `json:"time"`
	Verb  string    `json:"verb,omitempty"` // create, update, delete; null: a base row
	Row   *T        `json:"row,omitempty"`  // null after a delete
}

// baseRows is a file that Export wrote, of the state at an index.
type baseRows struct {
	file  io.ReaderAt
	size  int64
	index uint64
	time  time.Time
}

// Versions writes every version of the rows of a table, without secrets, and tells
// how many they are. The columns are key, index, n, time, verb and row, a group of
// the table's columns that is null after a delete. First come the rows of base, as
// for Overlay, with the index and time of the base, n 0 and no verb; then the changes
// in their order. In memory is one row group.
func Versions(table string, base io.ReaderAt, size int64, baseIndex uint64, baseTime time.Time, changes iter.Seq2[*snapshot.Change, error], w io.Writer) (rows int64, err error) {
	t, err := offered("versions", table)
	if err != nil {
		return 0, err
	}
	return t.versions(baseRows{base, size, baseIndex, baseTime}, of(table, changes), w)
}

func (t *table[T]) versions(from baseRows, changes changeSeq, w io.Writer) (int64, error) {
	codec, err := snapshot.NewCodec[version[T]]()
	if err != nil {
		return 0, err
	}
	return writeRows(codec, w, func(yield func(*version[T], error) bool) {
		for row, err := range t.baseRows(from.file, from.size) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&version[T]{Key: t.key(row), Index: from.index, Time: from.time, Row: row}, nil) {
				return
			}
		}
		for c, err := range changes {
			v := &version[T]{}
			if err == nil {
				v, err = t.versionOf(c)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	})
}

// versionOf is the version that a change made.
func (t *table[T]) versionOf(c *snapshot.Change) (*version[T], error) {
	v := &version[T]{Key: c.Key, Index: c.Index, N: c.N, Time: c.Time, Verb: c.Verb}
	if c.Verb == string(api.Deleted) {
		return v, nil
	}
	row, err := t.publicRow(c.Key, c.Value)
	v.Row = row
	return v, err
}
