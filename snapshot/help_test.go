package snapshot

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// testLog gives a logger that writes into the test's output, and what it has written.
func testLog(t testing.TB) (*slog.Logger, func() string) {
	var mu sync.Mutex
	var said strings.Builder
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		said.Write(p)
		return t.Output().Write(p)
	})
	return slog.New(slog.NewTextHandler(w, nil)), func() string {
		mu.Lock()
		defer mu.Unlock()
		return said.String()
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type thing struct {
	ID   string   `json:"id"`
	Tags []string `json:"tags"`
}

var thingCodec = MustCodec[thing]()

func things(n int) []*thing {
	var out []*thing
	for i := range n {
		out = append(out, &thing{ID: fmt.Sprintf("thing-%07d", i), Tags: []string{"a", "b"}[:i%3]})
	}
	return out
}

// content is a state of two tables, with n rows in each.
func content(index uint64, n int) Content {
	rows := func(w io.Writer) (int64, error) { return thingCodec.Write(w, slices.Values(things(n))) }
	return Content{
		Index: index, Term: 3, Time: time.UnixMicro(1_700_000_000_000_001), Level: 2, StateHash: "abc",
		Tables: []Table{{Name: "things", Write: rows}, largeThings("nodes", things(n))},
	}
}

// largeThings is a large table of rows that are in the order of their keys.
func largeThings(name string, rows []*thing) Table {
	return thingCodec.Large(name, func(from string, yield func(string, *thing, Hash) bool) {
		at, _ := slices.BinarySearchFunc(rows, from, func(row *thing, key string) int { return strings.Compare(row.ID, key) })
		for _, row := range rows[at:] {
			if !yield(row.ID, row, hashOf(row)) {
				return
			}
		}
	})
}

// hashOf hashes a row as the state machine would.
func hashOf(row *thing) Hash {
	h := fnv.New128a()
	fmt.Fprintf(h, "%q %q", row.ID, row.Tags)
	d := h.Sum(nil)
	return Hash{binary.BigEndian.Uint64(d), binary.BigEndian.Uint64(d[8:])}
}

// mark writes a state and gives its folder's path.
func mark(t testing.TB, m *Marks, c Content) string {
	t.Helper()
	if _, err := m.Write(c); err != nil {
		t.Fatalf("write snapshot %d: %v", c.Index, err)
	}
	return m.Path(fmt.Sprint(c.Index))
}

func openMarks(t testing.TB, dir string) *Marks {
	t.Helper()
	log, _ := testLog(t)
	m, err := OpenMarks(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	log, _ := testLog(t)
	s, err := OpenStore(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var testConfiguration = raft.Configuration{Servers: []raft.Server{
	{Suffrage: raft.Voter, ID: "one", Address: "127.0.0.1:1"},
	{Suffrage: raft.Nonvoter, ID: "two", Address: "127.0.0.1:2"},
}}

// create begins a snapshot of a store.
func create(t testing.TB, s *Store, term, index uint64) *Sink {
	t.Helper()
	sink, err := s.Create(1, index, term, testConfiguration, index-1, nil)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	return sink.(*Sink)
}

// persist makes a whole snapshot of a store and gives its id.
func persist(t testing.TB, s *Store, term, index uint64, c Content) string {
	t.Helper()
	sink := create(t, s, term, index)
	if err := sink.Fill(c); err != nil {
		t.Fatalf("fill: %v", err)
	}
	if err := sink.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return sink.ID()
}

// ids lists a store.
func ids(t testing.TB, s *Store) []string {
	t.Helper()
	metas, err := s.List()
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	out := []string{}
	for _, m := range metas {
		out = append(out, m.ID)
	}
	return out
}

// names lists a folder.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// filesBelow lists the regular files below a folder, by path.
func filesBelow(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// alter changes a file in place.
func alter(t testing.TB, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}
