package server

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

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
	ID string `path:"id" doc:"Id of the snapshot: its log index; now: the state of this moment; at-INDEX: one that now has given"`
	Freshness
}

func (s *Server) showSnapshot(ctx context.Context, in *showSnapshotInput) (*Reply[api.Snapshot], error) {
	if !isState(in.ID) {
		return nil, s.unknownSnapshot(ctx)
	}
	snapshot, err := s.backend.Snapshot(ctx, in.ID)
	if err != nil {
		return nil, s.orUnknown(ctx, in.ID, err)
	}
	return &Reply[api.Snapshot]{Status: http.StatusOK, Head: Head{Index: new(snapshot.Index)}, Body: snapshot}, nil
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

// MarkedRef names a marked snapshot.
type MarkedRef struct {
	ID string `path:"id" doc:"Id of a marked snapshot: its log index"`
}

type deleteSnapshotInput struct {
	MarkedRef
	Peer string `query:"peer" maxLength:"128" doc:"Name of the peer whose files are meant: another one refuses"`
}

func (s *Server) deleteSnapshot(ctx context.Context, in *deleteSnapshotInput) (*Nothing, error) {
	if !isMark(in.ID) {
		return nil, s.unknownSnapshot(ctx)
	}
	if me := s.backend.PeerName(); in.Peer != "" && in.Peer != me {
		return nil, api.Errorf(api.Conflict, "snapshot.delete", "the files of %s were meant, and this is %s: nothing is deleted here; ask %s itself, with --addr", in.Peer, me, in.Peer)
	}
	return &Nothing{}, s.orUnknown(ctx, in.ID, s.backend.DeleteSnapshot(ctx, in.ID))
}

func (s *Server) verifySnapshot(ctx context.Context, in *MarkedRef) (*Reply[api.SnapshotCheck], error) {
	if !isMark(in.ID) {
		return nil, s.unknownSnapshot(ctx)
	}
	check, err := s.backend.VerifySnapshot(ctx, in.ID)
	if err != nil {
		return nil, s.orUnknown(ctx, in.ID, err)
	}
	return &Reply[api.SnapshotCheck]{Status: http.StatusOK, Body: check}, nil
}

type restoreSnapshotInput struct {
	MarkedRef
	Keyed
	Body *api.RestoreCreate
}

func (s *Server) restoreSnapshot(ctx context.Context, in *restoreSnapshotInput) (*Reply[api.Restore], error) {
	if !isMark(in.ID) {
		return nil, s.unknownSnapshot(ctx)
	}
	var want api.RestoreCreate
	if in.Body != nil {
		want = *in.Body
	}
	done, err := s.backend.RestoreSnapshot(ctx, in.ID, want)
	if err != nil {
		return nil, s.orUnknown(ctx, in.ID, err)
	}
	out := &Reply[api.Restore]{Status: http.StatusOK, Body: done}
	if done.Applied != 0 {
		out.Index = new(done.Applied)
	}
	if done.Replayed {
		out.Replayed = "true"
	}
	return out, nil
}

// The state of this moment, and what it is called from then on: at-INDEX.
const (
	stateNow = "now"
	stateAt  = "at-"
)

// isMark tells whether id could be that of a marked snapshot.
func isMark(id string) bool {
	_, err := strconv.ParseUint(id, 10, 64)
	return err == nil
}

// isState tells whether id could name a state that can be read.
func isState(id string) bool {
	at, passing := strings.CutPrefix(id, stateAt)
	return id == stateNow || isMark(id) || passing && isMark(at)
}

// orUnknown is err, or, where the snapshot is not there, a failure that says what there is.
func (s *Server) orUnknown(ctx context.Context, id string, err error) error {
	if !api.IsKind(err, api.NotFound) {
		return err
	}
	if strings.HasPrefix(id, stateAt) {
		return &api.Error{Kind: api.NotFound, Op: "snapshot.show", Err: err,
			Msg: "this peer does not have the state of that index, or not any longer; GET /v1/snapshots/now gives a new one"}
	}
	if _, unknown := s.backend.Snapshot(ctx, id); api.IsKind(unknown, api.NotFound) {
		return s.unknownSnapshot(ctx)
	}
	return err // it is there, and something else is not
}

// namedSnapshots is how many ids a failure names.
const namedSnapshots = 5

// unknownSnapshot is the failure of who asks for a snapshot that is not there.
func (s *Server) unknownSnapshot(ctx context.Context) error {
	all, err := s.backend.Snapshots(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, sn := range all[:min(len(all), namedSnapshots)] {
		ids = append(ids, sn.ID)
	}
	msg := "this peer has no marked snapshot yet; POST /v1/snapshots takes one"
	if len(ids) > 0 {
		msg = "this peer has no such snapshot; it has " + strings.Join(ids, ", ")
	}
	if more := len(all) - len(ids); more > 0 {
		msg += fmt.Sprintf(" and %d older ones: GET /v1/snapshots lists them", more)
	}
	return &api.Error{Kind: api.NotFound, Op: "snapshot.show", Msg: msg}
}
