package peer

import (
	"context"
	"strconv"

	"github.com/orchd/orchd/api"
)

// RestoreSnapshot rolls back to a marked snapshot of this peer. What was done for an
// earlier request with the same key is looked for first: after it there may be no
// difference any more, or one that nobody has seen.
func (p *Peer) RestoreSnapshot(ctx context.Context, id string, want api.RestoreCreate) (api.Restore, error) {
	if err := p.node.ReadIndex(ctx); err != nil {
		return api.Restore{}, err
	}
	if index, answered, err := p.machine.Read().Answered(api.CallerOf(ctx).Once); answered {
		of, _ := strconv.ParseUint(id, 10, 64)
		return replayedRestore(id, of, index), err
	}
	folder, err := p.openMarked(ctx, id)
	if err != nil {
		return api.Restore{}, err
	}
	d, err := p.machine.Read().Difference(folder)
	if err != nil {
		return api.Restore{}, err
	}
	r := api.Restore{ID: id, Index: folder.Manifest().Index, DryRun: want.DryRun, Tables: d.Tables, Digest: d.Digest, MissingVMs: d.MissingVMs}
	if r.Tables == nil {
		r.Tables = []api.TableDifference{}
	}
	if r.MissingVMs == nil {
		r.MissingVMs = []api.MissingVM{}
	}
	if want.Digest != "" && want.Digest != d.Digest {
		return api.Restore{}, api.Errorf(api.Conflict, "snapshot.restore", "nothing was rolled back: by now it would change something else than what was shown; look again, with --dry-run, or roll back whatever differs by then, with --yes")
	}
	if want.DryRun || d.Empty() {
		return r, nil
	}
	done, err := p.writer.RestoreState(ctx, d)
	if done.Replayed {
		return replayedRestore(id, r.Index, done.Index), err
	}
	r.Applied = done.Index
	return r, err
}

// replayedRestore is the answer to a rollback that an earlier request has done.
func replayedRestore(id string, of, applied uint64) api.Restore {
	return api.Restore{ID: id, Index: of, Applied: applied, Tables: []api.TableDifference{}, MissingVMs: []api.MissingVM{}, Replayed: true}
}
