package server

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/orchd/orchd/api"
)

func (s *Server) listSnapshots(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Snapshot]], error) {
	all, err := s.backend.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	before := uint64(math.MaxUint64)
	if in.after != "" {
		if before, err = strconv.ParseUint(in.after, 10, 64); err != nil {
			return nil, &api.Error{Kind: api.Malformed, Op: "snapshot.list", Msg: "the cursor is not one of this list"}
		}
	}
	page := pageOf(in.Paging, slices.Values(all), func(sn api.Snapshot) string { return sn.ID },
		func(sn api.Snapshot) bool { return sn.Index < before }) // newest first
	return &Reply[api.Page[api.Snapshot]]{Status: http.StatusOK, Body: page}, nil
}

type showSnapshotInput struct {
	ID string `path:"id" doc:"Id of the snapshot: its log index"`
	Freshness
}

func (s *Server) showSnapshot(ctx context.Context, in *showSnapshotInput) (*Reply[api.Snapshot], error) {
	if !findable(in.ID) {
		return nil, notFound("snapshot")
	}
	snapshot, err := s.backend.Snapshot(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Reply[api.Snapshot]{Status: http.StatusOK, Body: snapshot}, nil
}

type takeSnapshotInput struct {
	Keyed
}

func (s *Server) takeSnapshot(ctx context.Context, _ *takeSnapshotInput) (*Reply[api.Snapshot], error) {
	snapshot, err := s.backend.TakeSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	out := &Reply[api.Snapshot]{Status: http.StatusCreated, Head: Head{Index: new(snapshot.Index)}, Body: snapshot}
	out.Location = "/v1/snapshots/" + snapshot.ID
	return out, nil
}
