package server

import (
	"context"
	"io"
	"time"

	"github.com/orchd/orchd/api"
)

// Memory is what a peer remembers of the past: snapshots, changes, and the
// settings that say how long.
type Memory interface {
	// Events opens the changes behind a position, those of filter, in order, none
	// missing, none twice; it goes on with new ones for ever, or, when until is not 0,
	// ends behind the entry at that index. Gone when no peer has what comes next after
	// since; the message names the oldest index that is kept. Invalid when filter names
	// a table of which no changes are kept.
	Events(ctx context.Context, since api.Position, until uint64, filter api.EventFilter) (EventStream, error)
	// CompleteSince fetches from other peers what this one does not keep of the changes
	// since a time. Unavailable when not all of them could be asked.
	CompleteSince(ctx context.Context, t time.Time) error
	// ChangeRanges lists the files of changes that this peer keeps, oldest first.
	ChangeRanges(ctx context.Context) ([]api.ChangeRange, error)
	// ChangesFile opens one of them by its name, without secrets; "FROM-TO.parquet"
	// need not be one of the list: any stretch that is kept can be asked for.
	ChangesFile(ctx context.Context, name string) (Document, error)

	TakeSnapshot(ctx context.Context) (api.Snapshot, error)
	Snapshots(ctx context.Context) ([]api.Snapshot, error)
	// Snapshot finds a state by the id of a marked snapshot, or by "now": that
	// answers, linearizable, with the id "at-INDEX", which stays readable for some minutes.
	Snapshot(ctx context.Context, id string) (api.Snapshot, error)
	// SnapshotTable opens a table of such a state as one parquet file, without secrets.
	SnapshotTable(ctx context.Context, id, table string) (Document, error)
	// SnapshotArchive opens all tables, and a list of them, as one tar file, without secrets.
	SnapshotArchive(ctx context.Context, id string) (Document, error)
	// VerifySnapshot reads a marked snapshot into a scratch machine. What is wrong with it is in the answer.
	VerifySnapshot(ctx context.Context, id string) (api.SnapshotCheck, error)
	// DeleteSnapshot deletes this peer's files of it; Conflict for the newest whole one.
	DeleteSnapshot(ctx context.Context, id string) error
	// RestoreSnapshot rolls back to a marked snapshot. Conflict when a row that it
	// touches has changed meanwhile, or since the dry run whose digest is given.
	RestoreSnapshot(ctx context.Context, id string, want api.RestoreCreate) (api.Restore, error)

	Settings(ctx context.Context) (api.Settings, error)
	// PatchSettings applies a JSON merge patch (RFC 7396) and gives the settings after it.
	PatchSettings(ctx context.Context, patch []byte) (api.Settings, error)
}

// EventStream is open until it is closed.
type EventStream interface {
	// Next waits for the next event. After the end of ctx, whose error it gives, the
	// stream can be asked again: nothing is lost. io.EOF is the end.
	Next(ctx context.Context) (api.Event, error)
	// At is how far the stream has come: all that is wanted up to there has been given.
	At() api.Position
	Close()
}

// Document is a file on its way out.
type Document struct {
	io.ReadSeekCloser
	ETag     string    // strong, without quotes
	Modified time.Time // zero: not told
	Name     string    // for Content-Disposition
}
