package fsm

import (
	"log/slog"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/snapshot"
)

// lineageHolds compares what snapshots go by with the rows.
func (t *table[T]) lineageHolds(test *testing.T, seed uint64, s *state) {
	test.Helper()
	if !t.large {
		return
	}
	if said, want := t.in(s).sum, t.rehash(s); said != want {
		test.Errorf("seed %d: the rows of %s are said to add up to %s, and give %s", seed, t.name, said, want)
	}
}

// TestSnapshotsOfALineage: a snapshot that was planned from the one before has the parts
// that one has which was planned from all rows, on a peer that knows of none before.
//
//race:out
func TestSnapshotsOfALineage(t *testing.T) {
	const nodes = 30_000
	d := &direct{m: New()}
	w := NewWriter(d, nil, unsealed{})
	marks := marksAt(t)
	for at := 0; at < nodes; at += 5000 {
		if _, err := w.CreateNodes(asAdmin(), sampleNodes(at, 5000), true); err != nil {
			t.Fatal(err)
		}
	}
	before := parts(t, marks, d.m)
	all := make([]inventory.ComputeNode, 0, nodes)
	for n := range d.m.Read().ComputeNodes(inventory.NodeFilter{}, "") {
		all = append(all, n)
	}
	for round, change := range []func(){
		func() {}, // nothing
		func() {
			for _, n := range all[12_000:12_100] {
				n.Description = "changed"
				if _, err := w.ReplaceNode(asAdmin(), n.ID, 0, n); err != nil {
					t.Fatal(err)
				}
			}
		},
		func() {
			for k := 0; k < nodes; k += 3000 {
				if _, err := w.DeleteNode(asAdmin(), all[k].ID, 0); err != nil {
					t.Fatal(err)
				}
			}
		},
		func() {
			if _, err := w.CreateNodes(asAdmin(), sampleNodes(nodes, 20), true); err != nil {
				t.Fatal(err)
			}
		},
		func() { // refused: the state that it made is dropped
			if _, err := w.CreateNodes(asAdmin(), sampleNodes(nodes-10, 20), true); err == nil {
				t.Error("nodes that are there are made again")
			}
		},
	} {
		change()
		if _, err := w.CreateToken(asAdmin(), api.TokenCreate{Role: api.RoleViewer, TTL: "1h"}, "pin"); err != nil { // so that there is something new to mark
			t.Fatal(err)
		}
		after := parts(t, marks, d.m)
		fresh := parts(t, marksAt(t), throughSnapshot(t, d.m))
		same := 0
		for path, content := range after {
			if fresh[path] != content {
				t.Errorf("round %d: %s is %s, planned from all rows %s", round, path, content, fresh[path])
			}
			if before[path] == content {
				same++
			}
		}
		if len(after) != len(fresh) || len(after) < 4 {
			t.Errorf("round %d: %d parts, planned from all rows %d; want a few", round, len(after), len(fresh))
		}
		if round < 2 && same < len(after)-2*round {
			t.Errorf("round %d: %d of %d parts are those from before", round, same, len(after))
		}
		before = after
		for _, table := range tables {
			table.(interface {
				lineageHolds(*testing.T, uint64, *state)
			}).lineageHolds(t, 0, d.m.published.Load())
		}
	}
}

func marksAt(t *testing.T) *snapshot.Marks {
	t.Helper()
	marks, err := snapshot.OpenMarks(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	marks.Busy = func() bool { return false }
	return marks
}

// parts are the contents of the parts of a snapshot that is taken now, by their paths.
func parts(t *testing.T, marks *snapshot.Marks, m *Machine) map[string]string {
	t.Helper()
	manifest, err := marks.Write(m.Read().Content())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range manifest.Files {
		if f.Content != "" {
			out[f.Path] = f.Content
		}
	}
	return out
}
