package server

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// DiskSnapshotRef names a snapshot of a virtual machine's disk.
type DiskSnapshotRef struct {
	VMRef
	Snapshot string `path:"snapshot" doc:"Name or id of the snapshot"`
}

// finder looks for the snapshot with the eyes of the caller.
func (r DiskSnapshotRef) finder(ctx context.Context) func(View) (api.DiskSnapshot, error) {
	return func(v View) (api.DiskSnapshot, error) {
		vm, err := findVM(ctx, v, r.VMRef)
		if err != nil {
			return api.DiskSnapshot{}, err
		}
		if !findable(r.Snapshot) {
			return api.DiskSnapshot{}, notFound("disk-snapshot")
		}
		return v.DiskSnapshot(vm.ID, r.Snapshot)
	}
}

type listDiskSnapshotsInput struct {
	VMRef
	ListInput
}

// listDiskSnapshots lists them by creation; the cursor is the last one's time and id.
func (s *Server) listDiskSnapshots(ctx context.Context, in *listDiskSnapshotsInput) (*Reply[api.Page[api.DiskSnapshot]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	vm, err := findVM(ctx, v, in.VMRef)
	if err != nil {
		return nil, err
	}
	rows, err := behind(v.DiskSnapshots(vm.ID), in.after)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, rows, placeOfDiskSnapshot, all[api.DiskSnapshot])
	return &Reply[api.Page[api.DiskSnapshot]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

// behind are the rows that come after a place, which need not be there any more; all of
// them when it is empty.
func behind(rows iter.Seq[api.DiskSnapshot], place string) (iter.Seq[api.DiskSnapshot], error) {
	if place == "" {
		return rows, nil
	}
	micros, id, _ := strings.Cut(place, "/")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil {
		return nil, badParameter("/query/cursor", "expected the next of the page before")
	}
	last := api.DiskSnapshot{ID: id, CreatedAt: time.UnixMicro(n)}
	return func(yield func(api.DiskSnapshot) bool) {
		for row := range rows {
			if inOrder(last, row) < 0 && !yield(row) {
				return
			}
		}
	}, nil
}

// inOrder compares two snapshots as they are listed.
func inOrder(a, b api.DiskSnapshot) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// placeOfDiskSnapshot is what behind takes.
func placeOfDiskSnapshot(d api.DiskSnapshot) string {
	return strconv.FormatInt(d.CreatedAt.UnixMicro(), 10) + "/" + d.ID
}

func keyOfDiskSnapshot(d api.DiskSnapshot) string { return d.ID }

type showDiskSnapshotInput struct {
	DiskSnapshotRef
	Freshness
}

func (s *Server) showDiskSnapshot(ctx context.Context, in *showDiskSnapshotInput) (*Reply[api.DiskSnapshot], error) {
	return showing(ctx, s, in.Consistency, in.finder(ctx), func(d api.DiskSnapshot) uint64 { return d.Version })
}

type createDiskSnapshotInput struct {
	VMRef
	Keyed
	Waiting
	Body api.DiskSnapshotCreate
}

func (s *Server) createDiskSnapshot(ctx context.Context, in *createDiskSnapshotInput) (*Reply[Stored[api.DiskSnapshot]], error) {
	if err := invalid("disk-snapshot.create", nameErrors("/name", in.Body.Name)); err != nil {
		return nil, err
	}
	vm, err := s.targetVM(ctx, in.VMRef)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.CreateDiskSnapshot(ctx, vm.ID, in.Body)
	if err != nil {
		return nil, err
	}
	op := done.Object.Operation
	if v := s.afterwards(ctx, op, in.or(0)); v != nil && !done.Gone {
		if now, err := v.DiskSnapshot(done.Object.VM, done.Object.ID); err == nil {
			done.Object, done.Index = now, v.Index()
		}
	}
	out := made(done, "/v1/vms/"+vm.ID+"/snapshots", done.Object.ID, done.Object.Version)
	if op != "" {
		out.OperationLocation = operationLocation(op)
	}
	return out, nil
}

type changeDiskSnapshotInput struct {
	DiskSnapshotRef
	Keyed
	Waiting
}

func (s *Server) restoreDiskSnapshot(ctx context.Context, in *changeDiskSnapshotInput) (*Reply[Stored[api.Operation]], error) {
	return s.onDiskSnapshot(ctx, in, s.backend.RestoreDiskSnapshot)
}

func (s *Server) deleteDiskSnapshot(ctx context.Context, in *changeDiskSnapshotInput) (*Reply[Stored[api.Operation]], error) {
	return s.onDiskSnapshot(ctx, in, s.backend.DeleteDiskSnapshot)
}

// onDiskSnapshot does something to a snapshot of a disk. Neither it nor the virtual
// machine need be there any longer for who comes again with a key.
func (s *Server) onDiskSnapshot(ctx context.Context, in *changeDiskSnapshotInput, do func(ctx context.Context, vm, snapshot string) (Done[api.Operation], error)) (*Reply[Stored[api.Operation]], error) {
	vm, err := s.targetVM(ctx, in.VMRef)
	if err != nil {
		return nil, err
	}
	id, err := target(ctx, s, in.Snapshot, in.finder(ctx), keyOfDiskSnapshot)
	if err != nil {
		return nil, err
	}
	done, err := do(ctx, vm.ID, id)
	if err != nil {
		return nil, err
	}
	return s.underway(ctx, done, in.or(0)), nil
}
