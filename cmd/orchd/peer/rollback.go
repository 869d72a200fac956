package peer

import (
	"context"
	"errors"
	"io/fs"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
)

// VerifySnapshot reads a marked snapshot into a scratch machine.
func (p *Peer) VerifySnapshot(_ context.Context, id string) (api.SnapshotCheck, error) {
	folder, err := p.marks.files.Open(id)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = p.openMarked(id)
		return api.SnapshotCheck{}, err
	}
	if err != nil {
		return api.SnapshotCheck{ID: id, Rows: map[string]int64{}, Problems: []string{err.Error()}}, nil
	}
	check := fsm.CheckFolder(folder)
	check.ID = id
	return check, nil
}

// DeleteSnapshot deletes this peer's files of a snapshot.
func (p *Peer) DeleteSnapshot(ctx context.Context, id string) error {
	switch err := p.marks.files.Delete(id); {
	case errors.Is(err, fs.ErrNotExist):
		return api.Errorf(api.NotFound, "snapshot.delete", "no snapshot %q on this peer; list them with: orchd snapshot list", id)
	case errors.Is(err, snapshot.ErrNewest):
		return api.Errorf(api.Conflict, "snapshot.delete", "snapshot %s is the newest whole one of this peer, and that is never deleted: take another first, with: orchd snapshot take", id)
	case err != nil:
		return api.Errorf(api.Internal, "snapshot.delete", "delete snapshot %s: %w", id, err)
	}
	p.log.Info("snapshot deleted", "id", id, "actor", api.CallerOf(ctx).Actor.ID)
	return nil
}

// RestoreSnapshot rolls back to a marked snapshot of this peer.
func (p *Peer) RestoreSnapshot(ctx context.Context, id string, dryRun bool) (api.Restore, error) {
	folder, err := p.openMarked(id)
	if err != nil {
		return api.Restore{}, err
	}
	if err := p.node.ReadIndex(ctx); err != nil {
		return api.Restore{}, err
	}
	d, err := p.machine.Read().Difference(folder)
	if err != nil {
		return api.Restore{}, err
	}
	r := api.Restore{ID: id, Index: folder.Manifest().Index, DryRun: dryRun, Tables: d.Tables, MissingVMs: d.MissingVMs}
	if r.Tables == nil {
		r.Tables = []api.TableDifference{}
	}
	if r.MissingVMs == nil {
		r.MissingVMs = []api.MissingVM{}
	}
	if dryRun || d.Empty() {
		return r, nil
	}
	r.Applied, err = p.writer.RestoreState(ctx, d)
	return r, err
}

// Settings are those in force.
func (p *Peer) Settings(ctx context.Context) (api.Settings, error) {
	if err := p.node.ReadIndex(ctx); err != nil {
		return api.Settings{}, err
	}
	return p.machine.Read().Settings(), nil
}

// PatchSettings changes some of them.
func (p *Peer) PatchSettings(ctx context.Context, patch []byte) (api.Settings, error) {
	return p.writer.PatchSettings(ctx, patch)
}
