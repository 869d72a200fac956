package fsm

import (
	"bytes"
	"fmt"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// restorable is a table that a rollback covers.
type restorable[T any] struct {
	table *table[T]
	// stamps are the version and the time of the last change of a row, which a
	// rollback gives anew; nil where the type has none.
	stamps func(*T) (version *uint64, updated *time.Time)
	names  func(*T) []string               // IP addresses that a row names; of nil none. nil: no row does
	kept   func(r Reader, row *T) bool     // a row that a rollback neither changes nor brings back; nil: none is
	fits   func(tx *Txn, was, is *T) error // refuses a row that contradicts others, or leaves some behind; nil: none can
	// settles does what follows for tables that a rollback does not cover; nil: nothing does.
	settles func(tx *Txn, was, is *T)
}

// label is the table's name.
func (t *restorable[T]) label() string { return t.table.name }

// anyRestorable is a restorable whose row type does not matter.
type anyRestorable interface {
	label() string
	compareFolder(c *comparison, f *snapshot.Folder) error
	unpack(c tableRestore) (rollback, error)
}

// rollbackTable finds a table that a rollback covers.
func rollbackTable(name string) (anyRestorable, error) {
	for _, t := range rollbackTables {
		if t.label() == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("a rollback of table %q is unknown to this release", name)
}

// rollback is what is put back of one table. Its steps are taken in this order,
// each for all tables before the next.
type rollback interface {
	unchanged(tx *Txn) error
	takeOut(tx *Txn) error
	unnamed(tx *Txn, named map[string]int32) error
	putBack(tx *Txn) error
	fitting(tx *Txn) error
}

type tableRollback[T any] struct {
	table *table[T]
	how   *restorable[T]
	rows  []rowRestore[T]
	was   []*T // what there was in place of each; nil: nothing
}

// keyOf is the key of the k-th row.
func (b *tableRollback[T]) keyOf(k int) string {
	if row := b.rows[k].Row; row != nil {
		return b.table.key(row)
	}
	return b.rows[k].Key
}

// unchanged refuses when a row is not what was compared.
func (b *tableRollback[T]) unchanged(tx *Txn) error {
	b.was = make([]*T, len(b.rows))
	for k := range b.rows {
		key := b.keyOf(k)
		is, there := b.table.in(tx.state).rows.get(key)
		if there != (len(b.rows[k].Was) > 0) || there && !bytes.Equal(is.sum.bytes(), b.rows[k].Was) {
			return refusedRestore(fmt.Sprintf("the row %q of %s is no longer what it was", key, b.table.name))
		}
		b.was[k] = is.orNil()
	}
	return nil
}

func (b *tableRollback[T]) takeOut(tx *Txn) error {
	for k, was := range b.was {
		if was != nil {
			b.table.remove(tx, b.keyOf(k))
		}
	}
	return nil
}

// unnamed refuses to put back a row whose IP address more rows name than when it
// was compared: it may have been allotted meanwhile.
func (b *tableRollback[T]) unnamed(tx *Txn, named map[string]int32) error {
	if b.how.names == nil {
		return nil
	}
	for k := range b.rows {
		for _, addr := range parsedOnce(b.how.names(b.rows[k].Row)) {
			if n := tx.state.sums.addresses.at(addr).rows; n > 0 && n > named[addr.String()] {
				return refusedRestore(fmt.Sprintf("the IP address %s of the row %q of %s has been given to another", addr, b.keyOf(k), b.table.name))
			}
		}
	}
	return nil
}

// putBack puts the rows of the snapshot into their places, under new versions.
func (b *tableRollback[T]) putBack(tx *Txn) error {
	for k := range b.rows {
		row := b.rows[k].Row
		if row == nil {
			continue
		}
		if err := b.free(tx, row); err != nil {
			return err
		}
		b.restamp(tx, row, b.was[k])
		b.table.put(tx, *row)
	}
	return nil
}

// free refuses a row of which something unique is another's, who is not touched:
// all rows that are were taken out.
func (b *tableRollback[T]) free(tx *Txn, row *T) error {
	for name, of := range ordered(b.table.unique) {
		for _, value := range of(row) {
			if other, taken := b.table.holder(tx.Reader, name, value); taken {
				return refusedRestore(fmt.Sprintf("the %s %q of the row %q of %s is that of %q now", name, value, b.table.key(row), b.table.name, b.table.key(other)))
			}
		}
	}
	return nil
}

// restamp gives a row a version that neither it nor the one that it replaces has had. Of
// one that is gone nobody knows how far it was: but each change took an entry of the log.
func (b *tableRollback[T]) restamp(tx *Txn, row, was *T) {
	version, updated := b.how.stamps(row)
	if version != nil && was != nil {
		had, _ := b.how.stamps(was)
		*version = max(*version, *had)
	}
	if version != nil && was == nil && tx.Level() >= LevelVersions {
		*version = max(*version, tx.Index())
	}
	if version != nil {
		*version++
	}
	if updated != nil {
		*updated = tx.Now
	}
}

// fitting refuses when what is there now contradicts itself.
func (b *tableRollback[T]) fitting(tx *Txn) error {
	if b.how.fits == nil {
		return nil
	}
	for k := range b.rows {
		var is *T
		if b.rows[k].Row != nil {
			it, _ := b.table.in(tx.state).rows.get(b.keyOf(k))
			is = it.orNil()
		}
		if err := b.how.fits(tx, b.was[k], is); err != nil {
			return refusedRestore(fmt.Sprintf("the row %q of %s: %s", b.keyOf(k), b.table.name, refusal(err).Msg))
		}
		if b.how.settles != nil {
			b.how.settles(tx, b.was[k], is)
		}
	}
	return nil
}

// contradiction is what a fits function refuses with.
func contradiction(format string, args ...any) error {
	return api.Errorf(api.Conflict, restoreOp, format, args...)
}
