package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"iter"
	"net/netip"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// comparison collects what differs between a state and a snapshot.
type comparison struct {
	Reader
	found Difference
	sum   hash.Hash // of the rows that differ, and how they are now
	// What touched rows name now, and what they will name.
	before, after addresses
}

func newComparison(r Reader, index uint64) *comparison {
	return &comparison{Reader: r, sum: sha256.New(), found: Difference{Index: index, Base: r.Index(), command: stateRestore{Snapshot: index, Base: r.Index()}}}
}

// difference is what was found.
func (c *comparison) difference(missing []api.MissingVM) (*Difference, error) {
	d := c.found
	d.Digest = hex.EncodeToString(c.sum.Sum(nil))
	d.MissingVMs, d.command.Named = missing, c.namedElsewhere()
	if len(d.command.Named) > maxNamed {
		return nil, api.Errorf(api.TooLarge, restoreOp, "more than %d IP addresses of the rows to put back are also named by rows that stay: it is too much for one step", maxNamed)
	}
	return &d, nil
}

// maxNamed is the greatest map that apply reads.
const maxNamed = 1 << 20

// namedElsewhere counts, for each address of the rows to put back, the rows that
// name it and are not touched.
func (c *comparison) namedElsewhere() map[string]int32 {
	named := map[string]int32{}
	for _, family := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		for addr := range c.after.from(family) {
			if n := c.state.sums.addresses.at(addr).rows - c.before.at(addr).rows; n > 0 {
				named[addr.String()] = n
			}
		}
	}
	return named
}

// compareFolder finds what differs in one table.
func (t *restorable[T]) compareFolder(c *comparison, f *snapshot.Folder) error {
	return t.compare(c, snapshot.Prepared(t.table.codec, f, t.table.name, func(row *T) *item[T] {
		canonicalize(row)
		t.table.presentSecrets(c.Reader, row)
		return &item[T]{*row, rowSum(t.table.name, row)}
	}))
}

// compare walks the rows of then, which come in the order of their keys, beside
// those of now.
func (t *restorable[T]) compare(c *comparison, then iter.Seq2[*item[T], error]) error {
	now, last := t.table.in(c.state).rows.behind(""), ""
	p := packing[T]{to: tableRestore{Name: t.table.name}, counts: api.TableDifference{Table: t.table.name}}
	for is, err := range then {
		if err != nil {
			return err
		}
		key := t.table.key(&is.row)
		if key <= last {
			return fmt.Errorf("table %s: the row %q comes behind %q", t.table.name, key, last)
		}
		last = key
		for at := now.before(key); at != key; at = now.before(key) {
			if err := t.touch(c, &p, at, now.take(at), nil); err != nil {
				return err
			}
		}
		if err := t.touch(c, &p, key, now.take(key), is); err != nil {
			return err
		}
	}
	for at := now.before(""); at != ""; at = now.before("") {
		if err := t.touch(c, &p, at, now.take(at), nil); err != nil {
			return err
		}
	}
	return p.finish(&c.found)
}

// touch notes what is to become of a row, if anything: from was, as it is now, to
// is. Either may be none.
func (t *restorable[T]) touch(c *comparison, p *packing[T], key string, was, is *item[T]) error {
	if t.alike(was, is) || t.stays(c.Reader, was.orNil()) || t.stays(c.Reader, is.orNil()) {
		return nil
	}
	change := rowRestore[T]{Row: is.orNil()}
	if is == nil {
		change.Key = key
	}
	if was != nil {
		change.Was = was.sum.bytes()
	}
	if err := encoding.NewEncoder(c.sum).Encode([]any{t.table.name, key, change.Was, is == nil}); err != nil {
		return err
	}
	if t.names != nil {
		c.before.enter(t.names(was.orNil()), nil)
		c.after.enter(t.names(is.orNil()), nil)
	}
	return p.add(change)
}

// alike tells whether two rows mean the same.
func (t *restorable[T]) alike(a, b *item[T]) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.sum == b.sum || t.unstamped(&a.row) == t.unstamped(&b.row)
}

// unstamped is the hash of a row but for its version and the time of its last change.
func (t *restorable[T]) unstamped(row *T) sum {
	plain := *row
	version, updated := t.stamps(&plain)
	if version != nil {
		*version = 0
	}
	if updated != nil {
		*updated = time.Time{}
	}
	return rowSum(t.table.name, &plain)
}

// stays tells whether a rollback leaves a row as it is, or does not bring it back.
func (t *restorable[T]) stays(r Reader, row *T) bool {
	return row != nil && t.kept != nil && t.kept(r, row)
}

// bytes is a sum as a command carries it.
func (s sum) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.hi), s.lo)
}
