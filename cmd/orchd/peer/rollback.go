package peer

import (
	"context"

	"github.com/orchd/orchd/api"
)

// RestoreSnapshot rolls back to a marked snapshot of this peer.
func (p *Peer) RestoreSnapshot(ctx context.Context, id string, dryRun bool) (api.Restore, error) {
	folder, err := p.openMarked(ctx, id)
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
