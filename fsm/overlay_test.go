package fsm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// between are the changes of a stretch of the log, both ends included.
func between(changes []snapshot.Change, r snapshot.Range) iter.Seq2[*snapshot.Change, error] {
	return func(yield func(*snapshot.Change, error) bool) {
		for i := range changes {
			if c := &changes[i]; r.From <= c.Index && c.Index <= r.To && !yield(c, nil) {
				return
			}
		}
	}
}

// recordedRead is what Export gave at an index.
type recordedRead struct {
	index uint64
	files map[string][]byte
}

func recordRead(t *testing.T, r Reader) recordedRead {
	t.Helper()
	read := recordedRead{r.Index(), map[string][]byte{}}
	counts := r.Rows()
	for _, table := range RecordedTables() {
		var b bytes.Buffer
		rows, err := r.Export(table, &b)
		if err != nil {
			t.Fatal(err)
		}
		if rows != counts[table] {
			t.Errorf("index %d: %d rows of %s were exported, there are %d", r.Index(), rows, table, counts[table])
		}
		read.files[table] = b.Bytes()
	}
	return read
}

// TestOverlayGivesRecordedReads: any earlier state, with the changes since, gives
// to the byte what a read of that moment gave; so does nothing, with all changes.
//
//race:out
func TestOverlayGivesRecordedReads(t *testing.T) {
	differ := map[string]int{}
	for seed := range uint64(16) {
		s, out := newScribe(seed), &stream{}
		s.m.KeepChanges(0)
		reads := []recordedRead{{0, map[string][]byte{}}}
		for range 550 {
			if s.next(t); s.rng.IntN(60) == 0 {
				reads = append(reads, recordRead(t, s.m.Read()))
			}
		}
		reads = append(reads, recordRead(t, s.m.Read()))
		out.drain(s.m)
		for i, then := range reads[1:] {
			for _, base := range []recordedRead{reads[0], reads[s.rng.IntN(i+1)], then} {
				for _, table := range RecordedTables() {
					if base.files[table] != nil && !bytes.Equal(base.files[table], then.files[table]) {
						differ[table]++
					}
					got := overlaid(t, table, base, between(out.changes, snapshot.Range{From: base.index + 1, To: then.index}))
					if !bytes.Equal(got, then.files[table]) {
						t.Fatalf("seed %d: %s of index %d, made of that of index %d, is\n%s\nit was\n%s",
							seed, table, then.index, base.index, rowsIn(t, table, got), rowsIn(t, table, then.files[table]))
					}
				}
			}
		}
	}
	for _, table := range RecordedTables() {
		if differ[table] == 0 && table != "accounts" {
			t.Errorf("%s was the same in all bases: nothing was laid over them", table)
		}
	}
}

func overlaid(t *testing.T, table string, base recordedRead, changes iter.Seq2[*snapshot.Change, error]) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	if file := base.files[table]; file == nil {
		_, err = Overlay(table, nil, 0, changes, &b)
	} else {
		_, err = Overlay(table, bytes.NewReader(file), int64(len(file)), changes, &b)
	}
	if err != nil {
		t.Fatalf("%s over that of index %d: %v", table, base.index, err)
	}
	return b.Bytes()
}

// rowsIn spells the rows of a file, a line each.
func rowsIn(t *testing.T, table string, file []byte) string {
	t.Helper()
	return tableNamed(table).(interface {
		spell(*testing.T, []byte) string
	}).spell(t, file)
}

func (t *table[T]) spell(test *testing.T, file []byte) string {
	var b strings.Builder
	for row, err := range t.codec.Read(bytes.NewReader(file), int64(len(file))) {
		if err != nil {
			test.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", t.encoded(row))
	}
	return b.String()
}

// TestHistoryTakesChanges: what a machine hands to a snapshot.History is on disk
// when a snapshot of raft's is, and gives the state again.
func TestHistoryTakesChanges(t *testing.T) {
	history, err := snapshot.OpenHistory(t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	s := newScribe(21)
	s.m.KeepChanges(history.End())
	history.OnDurable(s.m.ChangesDurable)
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error)
	go func() { written <- s.m.WriteChanges(ctx, history) }()
	go func() { written <- s.m.WriteMarks(ctx, func(*Mark) {}) }()
	for range 200 {
		s.next(t)
	}
	frozen, err := s.m.Snapshot()
	if err == nil {
		err = frozen.Persist(nowhere{})
	}
	if err != nil || history.Durable() != s.m.Index() {
		t.Errorf("raft's snapshot of entry %d: %v; the changes up to %d are durable", s.m.Index(), err, history.Durable())
	}
	then := recordRead(t, s.m.Read())
	for _, table := range RecordedTables() {
		got := overlaid(t, table, recordedRead{}, history.Changes(api.Position{}, then.index))
		if !bytes.Equal(got, then.files[table]) {
			t.Errorf("%s is\n%s\nit was\n%s", table, rowsIn(t, table, got), rowsIn(t, table, then.files[table]))
		}
	}
	cancel()
	if err := errors.Join(<-written, <-written, history.Close()); err != nil {
		t.Error(err)
	}
}

// TestVersions: the versions of a table's rows are those of the base and then one for each change.
func TestVersions(t *testing.T) {
	s, out := newScribe(6), &stream{}
	s.m.KeepChanges(0)
	for i := 0; i < 150 || vms.size(s.m.published.Load()) < 2; i++ {
		s.next(t)
	}
	base, from := recordRead(t, s.m.Read()), s.m.Time()
	for range 150 {
		s.next(t)
	}
	out.drain(s.m)
	since := snapshot.Range{From: base.index + 1, To: s.m.Index()}

	want := []version[api.VM]{}
	for row, err := range vms.codec.Read(bytes.NewReader(base.files["vms"]), int64(len(base.files["vms"]))) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, version[api.VM]{Key: row.ID, Index: base.index, Time: from, Row: row})
	}
	atFirst := len(want)
	for c := range between(out.changes, since) {
		if c.Table != "vms" {
			continue
		}
		v := version[api.VM]{Key: c.Key, Index: c.Index, N: c.N, Time: c.Time, Verb: c.Verb}
		if c.Verb != "delete" {
			v.Row, _ = vms.decoded(c.Value)
		}
		want = append(want, v)
	}
	if atFirst == 0 || len(want) == atFirst {
		t.Fatalf("%d VMs in the base, %d versions behind it: the log says little", atFirst, len(want)-atFirst)
	}

	var b bytes.Buffer
	n, err := Versions("vms", bytes.NewReader(base.files["vms"]), int64(len(base.files["vms"])), base.index, from, between(out.changes, since), &b)
	if err != nil || n != int64(len(want)) {
		t.Fatalf("%d versions, %v; want %d", n, err, len(want))
	}
	var got []version[api.VM]
	for v, err := range snapshot.MustCodec[version[api.VM]]().Read(bytes.NewReader(b.Bytes()), int64(b.Len())) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, *v)
	}
	for i := range want {
		if a, b := spellVersion(got[i]), spellVersion(want[i]); a != b {
			t.Fatalf("version %d is\n%s\nwant\n%s", i, a, b)
		}
	}
}

func spellVersion(v version[api.VM]) string {
	row := "null"
	if v.Row != nil {
		canonicalize(v.Row)
		row = string(vms.encoded(v.Row))
	}
	return fmt.Sprint(v.Key, " ", v.Index, ".", v.N, " ", v.Time, " ", cmp.Or(v.Verb, "base"), " ", row)
}

// TestOverlayRefuses: what cannot be, is an error and not other rows.
func TestOverlayRefuses(t *testing.T) {
	var image bytes.Buffer
	if _, err := images.codec.Write(&image, slices.Values([]*api.Image{{ID: "b"}, {ID: "a"}})); err != nil {
		t.Fatal(err)
	}
	file := bytes.NewReader(image.Bytes())
	torn := func(yield func(*snapshot.Change, error) bool) { yield(nil, errors.New("torn")) }
	one := func(c snapshot.Change) iter.Seq2[*snapshot.Change, error] {
		return between([]snapshot.Change{c}, snapshot.Range{To: 9})
	}
	for _, c := range []struct {
		name, table string
		base        *bytes.Reader
		changes     iter.Seq2[*snapshot.Change, error]
		want        string
	}{
		{"no such table", "nothing", nil, one(snapshot.Change{}), `no table "nothing"`},
		{"bookkeeping", "requests", nil, one(snapshot.Change{}), `no table "requests"`},
		{"changes that end", "images", nil, torn, "torn"},
		{"no JSON", "images", nil, one(snapshot.Change{Table: "images", Key: "a", Verb: "create", Value: []byte("{")}), "does not decode"},
		{"an unknown column", "images", nil, one(snapshot.Change{Table: "images", Key: "a", Verb: "create", Value: []byte(`{"id":"a","size":1}`)}), "size"},
		{"two rows", "images", nil, one(snapshot.Change{Table: "images", Key: "a", Verb: "create", Value: []byte(`{"id":"a"}{"id":"a"}`)}), "behind the row"},
		{"another row", "images", nil, one(snapshot.Change{Table: "images", Key: "a", Verb: "create", Value: []byte(`{"id":"b"}`)}), `has the row "b"`},
		{"no CBOR", "images", nil, one(snapshot.Change{Table: "images", Key: "a", Verb: "create", Value: []byte(`{"$row":"AA=="}`)}), "does not decode"},
		{"a base out of order", "images", file, one(snapshot.Change{}), `"a" comes behind "b"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			if c.base == nil {
				_, err = Overlay(c.table, nil, 0, c.changes, &bytes.Buffer{})
			} else {
				_, err = Overlay(c.table, c.base, c.base.Size(), c.changes, &bytes.Buffer{})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that says %s", err, c.want)
			}
		})
	}
}
