package fsm

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// This file is the way back to a snapshot. One peer compares the snapshot with
// its tables and proposes what differs; apply puts that back, all of it or nothing.
//
// It is refused when a row that it touches is no longer what was compared, and
// when a row that it does not touch would contradict one that it puts back: has
// what is unique in it, is named by it and gone, or names what goes. Any other
// change meanwhile stays: a fleet changes all the time, and could never be rolled
// back if each new status of a node stood in the way.

// Difference is what must change so that the tables which a rollback covers are as
// they were in a snapshot. It holds what differs, packed, and none of the rest.
type Difference struct {
	Index      uint64                // log index of the snapshot
	Base       uint64                // log index of the state that it was compared with
	Tables     []api.TableDifference // only those with a difference
	MissingVMs []api.MissingVM
	Digest     string // of the rows that it touches and how they are now: SHA-256, hexadecimal

	command stateRestore
}

// Empty tells whether there is nothing to roll back.
func (d *Difference) Empty() bool { return len(d.Tables) == 0 }

// stateRestore is a Difference on its way through the log.
type stateRestore struct {
	Snapshot uint64         `cbor:"1,keyasint"` // log index of the snapshot, for the record
	Base     uint64         `cbor:"2,keyasint"` // log index of the state that was compared, for the record
	Tables   []tableRestore `cbor:"3,keyasint"`
	// Named is, by IP address, how many rows that are not touched name one that a
	// row which is put back names too; where none does it is not there.
	Named map[string]int32 `cbor:"4,keyasint,omitempty"`
}

const restoreOp = "snapshot.restore"

// applyRestoreState is for admins of everything. Rows are all taken out before
// any is put back, so that what is unique may have changed hands among them.
func applyRestoreState(tx *Txn, c stateRestore) (object, error) {
	if err := tx.may(api.Update, restoreOp, api.Object{Kind: "snapshot"}); err != nil {
		return nothing, err
	}
	if tx.Actor.Tenant != "" || tx.Actor.Partition != "" {
		return nothing, api.Errorf(api.Forbidden, restoreOp, "your token is bound to a tenant or partition; a rollback changes all of them")
	}
	all, err := c.unpacked()
	if err != nil {
		panic(undecodable{err})
	}
	for _, step := range []func(rollback) error{
		func(t rollback) error { return t.unchanged(tx) },
		func(t rollback) error { return t.takeOut(tx) },
		func(t rollback) error { return t.unnamed(tx, c.Named) },
		func(t rollback) error { return t.putBack(tx) },
		func(t rollback) error { return t.fitting(tx) },
	} {
		for _, t := range all {
			if err := step(t); err != nil {
				return nothing, err
			}
		}
	}
	return object{count: c.rows()}, nil
}

// rows is how many rows it touches.
func (c stateRestore) rows() (n int64) {
	for _, t := range c.Tables {
		n += t.Rows
	}
	return n
}

// refusedRestore is the refusal of a rollback, and what to do about it.
func refusedRestore(why string) error {
	return api.Errorf(api.Conflict, restoreOp, "nothing was rolled back: %s; something has changed since the snapshot was compared with the present, so look at the difference again", why)
}

// Difference compares a snapshot with this state: two walks in the order of keys,
// beside each other. Rows that differ in nothing but their version and the time of
// their last change do not differ. Tables that the snapshot has not, because it
// is older than they are, are left as they are, and so are images whose name a VM
// has in its spec: guests are safe. The state must be one that is current, as after
// a linearizable read, or RestoreState is refused.
func (r Reader) Difference(f *snapshot.Folder) (*Difference, error) {
	manifest := f.Manifest()
	if err := knownTables(manifest); err != nil {
		return nil, api.Errorf(api.Conflict, restoreOp, "%w", err)
	}
	c, there := newComparison(r, manifest.Index), manifest.Tables()
	for _, t := range rollbackTables {
		if !slices.Contains(there, t.label()) {
			continue
		}
		if err := t.compareFolder(c, f); err != nil {
			return nil, api.Errorf(api.Internal, restoreOp, "compare the snapshot at index %d: %w", manifest.Index, err)
		}
	}
	missing, err := r.missingVMs(f)
	if err != nil {
		return nil, api.Errorf(api.Internal, restoreOp, "read the VMs of the snapshot at index %d: %w", manifest.Index, err)
	}
	return c.difference(missing)
}

// RestoreState puts back what differs, in one entry, and tells its index, or that of an
// earlier request with the same key; without a difference no command is written, and it
// tells the index of the state that was compared. Conflict, naming the first row, when a
// row that it touches has changed since, or contradicts one that has; then nothing is
// changed. TooLarge when it takes more than maxChunks chunks.
//
// While it is applied a peer holds the packed rows twice (in chunks, and put
// together) and, beside the rows that it puts back, those that they replace.
func (w *Writer) RestoreState(ctx context.Context, d *Difference) (Done[struct{}], error) {
	if d.Empty() {
		return Done[struct{}]{Index: d.Base}, nil
	}
	if _, err := d.command.unpacked(); err != nil { // as every peer will
		return Done[struct{}]{}, api.Errorf(api.Internal, restoreOp, "the difference does not read back: %w", err)
	}
	return propose[struct{}](ctx, w, restoreState, d.command)
}
