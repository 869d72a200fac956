package peer

import (
	"context"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
)

// notThere answers for what of a peer's memory is not there yet.
func notThere(op string) error { return api.Errorf(api.Unavailable, op, "this is not there yet") }

// Events is not there yet.
func (p *Peer) Events(context.Context, api.Position, uint64, api.EventFilter) (server.EventStream, error) {
	return nil, notThere("events")
}

// ChangeRanges is not there yet.
func (p *Peer) ChangeRanges(context.Context) ([]api.ChangeRange, error) {
	return nil, notThere("changes.list")
}

// ChangesFile is not there yet.
func (p *Peer) ChangesFile(context.Context, string) (server.Document, error) {
	return server.Document{}, notThere("changes.show")
}

// SnapshotTable is not there yet.
func (p *Peer) SnapshotTable(context.Context, string, string) (server.Document, error) {
	return server.Document{}, notThere("snapshot.download")
}

// SnapshotArchive is not there yet.
func (p *Peer) SnapshotArchive(context.Context, string) (server.Document, error) {
	return server.Document{}, notThere("snapshot.download")
}

// VerifySnapshot is not there yet.
func (p *Peer) VerifySnapshot(context.Context, string) (api.SnapshotCheck, error) {
	return api.SnapshotCheck{}, notThere("snapshot.verify")
}

// DeleteSnapshot is not there yet.
func (p *Peer) DeleteSnapshot(context.Context, string) error { return notThere("snapshot.delete") }

// RestoreSnapshot is not there yet.
func (p *Peer) RestoreSnapshot(context.Context, string, bool) (api.Restore, error) {
	return api.Restore{}, notThere("snapshot.restore")
}

// Settings is not there yet.
func (p *Peer) Settings(context.Context) (api.Settings, error) {
	return api.Settings{}, notThere("settings.show")
}

// PatchSettings is not there yet.
func (p *Peer) PatchSettings(context.Context, []byte) (api.Settings, error) {
	return api.Settings{}, notThere("settings.patch")
}
