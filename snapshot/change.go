package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
)

// Change is one row of the files of changes: what became of a row of a table.
type Change struct {
	Index     uint64          `json:"index"` // log index
	N         uint64          `json:"n"`     // which change of that entry, from 1, over all its commands
	Time      time.Time       `json:"time"`  // the cluster's time at that entry, in whole microseconds
	Actor     string          `json:"actor"` // api.Actor.ID
	RequestID string          `json:"request_id,omitempty"`
	Table     string          `json:"table"`
	Key       string          `json:"key"`
	Account   string          `json:"account,omitempty"` // of the row; of the old one when it was deleted
	Verb      string          `json:"verb"`              // create, update, delete
	Value     json.RawMessage `json:"value,omitempty"`   // the new row with the columns' names, sealed bytes included; nil after a delete
}

// Position is the place right behind the change.
func (c *Change) Position() api.Position { return api.Position{Index: c.Index, N: c.N} }

// maxChange bounds the bytes of one change, so that a page that holds it can be read again.
const maxChange = maxPage / 4

// changeOverhead is about what a Change takes beside its texts.
const changeOverhead = 192

// size is about what the change takes in memory.
func (c *Change) size() int {
	return changeOverhead + len(c.Actor) + len(c.RequestID) + len(c.Table) + len(c.Key) + len(c.Account) + len(c.Verb) + len(c.Value)
}

// check tells what would keep the change out of a file.
func (c *Change) check() error {
	for _, s := range []string{c.Actor, c.RequestID, c.Table, c.Key, c.Account, c.Verb} {
		if !utf8.ValidString(s) {
			return fmt.Errorf("change %v: %q is not UTF-8", c.Position(), s)
		}
	}
	if year := c.Time.Year(); year < 1 || year > 9999 {
		return fmt.Errorf("change %v: the year %d", c.Position(), year)
	}
	if n := c.size(); n > maxChange {
		return fmt.Errorf("change %v: %d bytes, more than %d", c.Position(), n, maxChange)
	}
	return nil
}

// Range is a stretch of the log, both ends included; it is empty when To is before From.
type Range struct{ From, To uint64 }

// String is FROM-TO.
func (r Range) String() string {
	return strconv.FormatUint(r.From, 10) + "-" + strconv.FormatUint(r.To, 10)
}

func (r Range) empty() bool           { return r.To < r.From }
func (r Range) has(index uint64) bool { return r.From <= index && index <= r.To }
func (r Range) holds(o Range) bool    { return r.From <= o.From && o.To <= r.To }
func (r Range) meets(o Range) bool    { return r.From <= o.To && o.From <= r.To }

// without gives what of r lies in none of others, which are in order.
func (r Range) without(others []Range) []Range {
	var out []Range
	for _, o := range others {
		if o.empty() || !r.meets(o) {
			continue
		}
		if r.From < o.From {
			out = append(out, Range{r.From, o.From - 1})
		}
		if o.To >= r.To {
			return out
		}
		r.From = o.To + 1
	}
	if r.empty() {
		return out
	}
	return append(out, r)
}

// changeCodec is how files hold changes.
var changeCodec = MustCodec[Change]()

// inOrder passes changes on as long as each lies behind the one before it.
func inOrder(changes iter.Seq2[*Change, error]) iter.Seq2[*Change, error] {
	return func(yield func(*Change, error) bool) {
		var last api.Position
		for c, err := range changes {
			if err == nil && !last.Before(c.Position()) {
				err = fmt.Errorf("change %v comes behind change %v", c.Position(), last)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if last = c.Position(); !yield(c, nil) {
				return
			}
		}
	}
}

// WriteChanges writes changes, which must be in order, as one parquet file that
// carries a sum of itself, and tells how many they were. In memory is one row group, as with Codec.Write.
func WriteChanges(w io.Writer, changes iter.Seq2[*Change, error]) (rows int64, err error) {
	out, err := newChangeWriter(w)
	if err != nil {
		return 0, err
	}
	defer out.release()
	for c, err := range inOrder(changes) {
		if err == nil {
			err = out.write(c)
		}
		if err != nil {
			return out.rows, err
		}
	}
	return out.rows, out.finish(nil)
}

// ReadChanges gives the changes of a file that WriteChanges wrote, or that a
// History keeps. The file is read whole and compared with its sum before the first is given.
func ReadChanges(r io.ReaderAt, size int64) iter.Seq2[*Change, error] {
	return func(yield func(*Change, error) bool) {
		if err := verifyChanges(r, size); err != nil {
			yield(nil, err)
			return
		}
		for c, err := range changesBehind(r, size, api.Position{}) {
			if !yield(c, err) {
				return
			}
		}
	}
}

var errNotWhole = errors.New("it does not match the sum that it carries")
