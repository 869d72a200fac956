package server

import (
	"bytes"
	"context"

	"github.com/orchd/orchd/api"
)

// fakeSnapshots is the part of a Memory that concerns files.
type fakeSnapshots struct {
	fake  *fake
	files map[string][]byte // content by "ID/TABLE", "ID/all" and the name of a file of changes
}

func (m *fakeSnapshots) fillSnapshots() {
	m.files = map[string][]byte{"12/vms": []byte("PAR1 vms PAR1"), "12/all": []byte("tar"), "1-9.parquet": []byte("PAR1 changes PAR1")}
}

func (m *fakeSnapshots) TakeSnapshot(ctx context.Context) (api.Snapshot, error) {
	return api.Snapshot{ID: "12", Index: 12, Rows: map[string]int64{}}, m.fake.write(ctx, "snapshot.create")
}

func (m *fakeSnapshots) Snapshots(context.Context) ([]api.Snapshot, error) {
	return []api.Snapshot{{ID: "12", Index: 12, Rows: map[string]int64{}}, {ID: "9", Index: 9, Rows: map[string]int64{}}}, nil
}

func (m *fakeSnapshots) Snapshot(_ context.Context, id string) (api.Snapshot, error) {
	if id != "12" {
		return api.Snapshot{}, notFound("snapshot")
	}
	return api.Snapshot{ID: id, Index: 12, Rows: map[string]int64{}}, nil
}

// open opens one of files.
func (m *fakeSnapshots) open(key, name string) (Document, error) {
	content, ok := m.files[key]
	if !ok {
		return Document{}, notFound("snapshot")
	}
	return Document{ReadSeekCloser: nopCloser{bytes.NewReader(content)}, ETag: key, Name: name}, nil
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func (m *fakeSnapshots) SnapshotTable(_ context.Context, id, table string) (Document, error) {
	return m.open(id+"/"+table, table+".parquet")
}

func (m *fakeSnapshots) SnapshotArchive(_ context.Context, id string) (Document, error) {
	return m.open(id+"/all", "all.tar")
}

func (m *fakeSnapshots) VerifySnapshot(_ context.Context, id string) (api.SnapshotCheck, error) {
	return api.SnapshotCheck{ID: id, Index: 12, OK: true, Rows: map[string]int64{}, Problems: []string{}}, nil
}

func (m *fakeSnapshots) DeleteSnapshot(ctx context.Context, id string) error {
	return m.fake.write(ctx, "snapshot.delete "+id)
}

func (m *fakeSnapshots) RestoreSnapshot(ctx context.Context, id string, dryRun bool) (api.Restore, error) {
	done := api.Restore{ID: id, Index: 12, DryRun: dryRun, Tables: []api.TableDifference{}, MissingVMs: []api.MissingVM{}}
	if dryRun {
		return done, nil
	}
	return done, m.fake.write(ctx, "snapshot.restore "+id)
}

func (m *fakeSnapshots) ChangeRanges(context.Context) ([]api.ChangeRange, error) {
	return []api.ChangeRange{{From: 1, To: 9, Rows: 3, Bytes: 17, File: "1-9.parquet"}}, nil
}

func (m *fakeSnapshots) ChangesFile(_ context.Context, name string) (Document, error) {
	return m.open(name, name)
}
