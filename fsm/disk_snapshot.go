package fsm

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
)

var diskSnapshots = &table[api.DiskSnapshot]{
	name:    "disk_snapshots",
	key:     func(s *api.DiskSnapshot) string { return s.ID },
	account: func(s *api.DiskSnapshot) string { return s.Account },
	by: map[string]func(*api.DiskSnapshot) string{
		"vm": func(s *api.DiskSnapshot) string { return s.VM },
		"inhand": func(s *api.DiskSnapshot) string {
			if !inHand(s.State) {
				return ""
			}
			return "yes"
		},
	},
	unique: map[string]func(*api.DiskSnapshot) []string{
		"name": func(s *api.DiskSnapshot) []string { return []string{s.VM + "/" + s.Name} },
	},
}

// inHand tells whether the owner has something to do about a snapshot.
func inHand(s api.DiskSnapshotState) bool {
	return s == api.DiskSnapshotCreating || s == api.DiskSnapshotRestoring || s == api.DiskSnapshotDeleting
}

// forgetDiskSnapshots drops the snapshots of a VM, which go with its disk.
func forgetDiskSnapshots(tx *Txn, vm string) {
	for _, s := range slices.Collect(diskSnapshots.all(tx.Reader, "vm", vm)) {
		diskSnapshots.remove(tx, s.ID)
	}
}

// failDiskSnapshots ends what was in hand on the snapshots of a VM whose disk is gone.
func failDiskSnapshots(tx *Txn, vm, why string) {
	for _, s := range slices.Collect(diskSnapshots.all(tx.Reader, "vm", vm)) {
		if inHand(s.State) {
			s.State, s.Reason = api.DiskSnapshotFailed, why
			putDiskSnapshot(tx, s)
		}
	}
}

// DiskSnapshots lists the snapshots of a VM's disk, oldest first.
func (r Reader) DiskSnapshots(vm string) iter.Seq[api.DiskSnapshot] {
	return slices.Values(slices.SortedFunc(diskSnapshots.all(r, "vm", vm), func(a, b api.DiskSnapshot) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	}))
}

// DiskSnapshot finds a snapshot of a VM's disk by id or name.
func (r Reader) DiskSnapshot(vm, ref string) (api.DiskSnapshot, bool) {
	if s, ok := diskSnapshots.one(r, ref); ok && s.VM == vm {
		return s, true
	}
	if s, ok := diskSnapshots.holder(r, "name", vm+"/"+ref); ok {
		return *s, true
	}
	return api.DiskSnapshot{}, false
}

// SnapshotsInHand lists the snapshots of disks that a peer, by id, has something to do about.
func (r Reader) SnapshotsInHand(peer string) iter.Seq[api.DiskSnapshot] {
	return func(yield func(api.DiskSnapshot) bool) {
		for s := range diskSnapshots.all(r, "inhand", "yes") {
			if vm, ok := vms.one(r, s.VM); ok && vm.Status.OwnerID == peer && !yield(s) {
				return
			}
		}
	}
}

// CreateDiskSnapshot keeps the disk of a VM as it is now.
func (w *Writer) CreateDiskSnapshot(ctx context.Context, vm string, c api.DiskSnapshotCreate) (Done[api.DiskSnapshot], error) {
	d, err := propose[api.DiskSnapshot](ctx, w, createDiskSnapshot, diskSnapshotCreate{vm, c})
	if d.Gone {
		d.Object.ID = d.ID
	}
	return d, err
}

// RestoreDiskSnapshot lets the disk of a VM that is off go back to a snapshot.
func (w *Writer) RestoreDiskSnapshot(ctx context.Context, vm, snapshot string) (Done[api.Operation], error) {
	return propose[api.Operation](ctx, w, restoreDiskSnapshot, diskSnapshotWork{vm, snapshot})
}

// DeleteDiskSnapshot forgets a snapshot of a VM's disk.
func (w *Writer) DeleteDiskSnapshot(ctx context.Context, vm, snapshot string) (Done[api.Operation], error) {
	return propose[api.Operation](ctx, w, deleteDiskSnapshot, diskSnapshotWork{vm, snapshot})
}

// ReportDiskSnapshot tells the cluster what became of a snapshot of a VM of the peer that asks.
func (w *Writer) ReportDiskSnapshot(ctx context.Context, r api.DiskSnapshotReport) error {
	_, err := propose[api.DiskSnapshot](ctx, w, reportDiskSnapshot, r)
	return err
}
