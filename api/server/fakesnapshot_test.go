package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/orchd/orchd/api"
)

// fakeSnapshots is the part of a Memory that concerns files. There are marked
// snapshots 12 and 9, the state of now is at-13, and changes are kept from 1 to 30.
type fakeSnapshots struct {
	fake   *fake
	files  map[string][]byte // content by "ID/TABLE", "ID/all" and the name of a file of changes
	marked []api.Snapshot
	broken []string     // what is wrong with every snapshot
	unread error        // what reading a file ends with, after a half of it
	open   atomic.Int64 // files that were opened and not closed
}

var fileTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (m *fakeSnapshots) fillSnapshots() {
	m.files = map[string][]byte{"1-9.parquet": []byte("PAR1 changes PAR1"), "10-20.parquet": []byte("PAR1 more PAR1")}
	for _, id := range []string{"12", "9", "at-13"} {
		m.files[id+"/vms"] = []byte("PAR1 vms of " + id + " PAR1")
		m.files[id+"/peers"] = []byte("PAR1 peers of " + id + " PAR1")
		m.files[id+"/all"] = []byte("tar of " + id)
	}
	m.marked = []api.Snapshot{snapshotOf("12", 12), snapshotOf("9", 9)}
	m.broken, m.unread = nil, nil
}

func snapshotOf(id string, index uint64) api.Snapshot {
	return api.Snapshot{ID: id, Index: index, CreatedAt: fileTime, Rows: map[string]int64{"vms": 2, "peers": 1}}
}

func (m *fakeSnapshots) TakeSnapshot(ctx context.Context) (api.Snapshot, error) {
	return snapshotOf("12", 12), m.fake.write(ctx, "snapshot.create")
}

func (m *fakeSnapshots) Snapshots(context.Context) ([]api.Snapshot, error) { return m.marked, nil }

func (m *fakeSnapshots) Snapshot(_ context.Context, id string) (api.Snapshot, error) {
	if id == "now" || id == "at-13" {
		return snapshotOf("at-13", 13), nil
	}
	for _, s := range m.marked {
		if s.ID == id {
			return s, nil
		}
	}
	return api.Snapshot{}, notFound("snapshot")
}

// openFile opens one of files.
func (m *fakeSnapshots) openFile(key, name string) (Document, error) {
	content, ok := m.files[key]
	if !ok {
		return Document{}, &api.Error{Kind: api.NotFound, Msg: "there is no such file; there are " + strings.Join(slices.Sorted(maps.Keys(m.files)), ", ")}
	}
	m.open.Add(1)
	return Document{ReadSeekCloser: &fakeFile{bytes.NewReader(content), m}, ETag: fmt.Sprintf("of-%s-%d", key, len(content)), Modified: fileTime, Name: name}, nil
}

// fakeFile breaks in its middle when its memory says so.
type fakeFile struct {
	*bytes.Reader
	memory *fakeSnapshots
}

func (f *fakeFile) Read(b []byte) (int, error) {
	if f.memory.unread == nil {
		return f.Reader.Read(b)
	}
	half := f.Size() / 2
	if at := f.Size() - int64(f.Len()); at >= half {
		return 0, f.memory.unread
	}
	return f.Reader.Read(b[:min(int64(len(b)), half)])
}

func (f *fakeFile) Close() error {
	f.memory.open.Add(-1)
	return nil
}

func (m *fakeSnapshots) SnapshotTable(_ context.Context, id, table string) (Document, error) {
	return m.openFile(id+"/"+table, table+"-"+id+".parquet")
}

func (m *fakeSnapshots) SnapshotArchive(_ context.Context, id string) (Document, error) {
	return m.openFile(id+"/all", "snapshot-"+id+".tar")
}

func (m *fakeSnapshots) VerifySnapshot(_ context.Context, id string) (api.SnapshotCheck, error) {
	s, err := m.Snapshot(context.Background(), id)
	return api.SnapshotCheck{ID: id, Index: s.Index, OK: m.broken == nil, Rows: map[string]int64{}, Problems: append([]string{}, m.broken...)}, err
}

func (m *fakeSnapshots) DeleteSnapshot(ctx context.Context, id string) error {
	if id == "12" {
		return &api.Error{Kind: api.Conflict, Op: "snapshot.delete", Msg: "it is the newest one that is whole"}
	}
	if _, err := m.Snapshot(ctx, id); err != nil {
		return err
	}
	return m.fake.write(ctx, "snapshot.delete "+id)
}

func (m *fakeSnapshots) RestoreSnapshot(ctx context.Context, id string, want api.RestoreCreate) (api.Restore, error) {
	s, err := m.Snapshot(ctx, id)
	if err != nil {
		return api.Restore{}, err
	}
	done := api.Restore{ID: id, Index: s.Index, DryRun: want.DryRun, Tables: []api.TableDifference{{Table: "bmcs", Create: 1}},
		MissingVMs: []api.MissingVM{{Account: "default", Name: "web9", Command: "orchd vm create web9"}}}
	if want.DryRun {
		return done, nil
	}
	err = m.fake.write(ctx, "snapshot.restore "+id)
	done.Applied = m.fake.index
	return done, err
}

func (m *fakeSnapshots) CompleteSince(context.Context, time.Time) error { return nil }

func (m *fakeSnapshots) ChangeRanges(context.Context) ([]api.ChangeRange, error) {
	return []api.ChangeRange{{From: 1, To: 9, Since: day(1), Until: day(3), Rows: 3, Bytes: 17, File: "1-9.parquet"}, {From: 10, To: 20, Rows: 1, Bytes: 14, File: "10-20.parquet"}}, nil
}

func (m *fakeSnapshots) ChangesFile(_ context.Context, name string) (Document, error) {
	return m.openFile(name, name)
}
