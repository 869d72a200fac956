package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// counter is the smallest machine that has a table: it remembers what was applied.
type counter struct {
	mu       sync.Mutex
	index    uint64
	rows     []*applied
	restored int
}

type applied struct {
	Index uint64 `json:"index"`
	Value uint64 `json:"value"`
}

var appliedCodec = MustCodec[applied]()

func (c *counter) Apply(l *raft.Log) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index = l.Index
	c.rows = append(c.rows, &applied{l.Index, binary.BigEndian.Uint64(l.Data)})
	return nil
}

func (c *counter) Snapshot() (raft.FSMSnapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &counterSnapshot{c.index, slices.Clone(c.rows)}, nil
}

func (c *counter) Restore(r io.ReadCloser) error {
	f, done, err := FolderOf(r)
	if err != nil {
		return err
	}
	defer done()
	rows, err := collect(appliedCodec.Rows(f, "applied"))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index, c.rows = f.Manifest().Index, rows
	c.restored++
	return nil
}

// values gives what was applied.
func (c *counter) values() (out []uint64, restored int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rows {
		out = append(out, r.Value)
	}
	return out, c.restored
}

type counterSnapshot struct {
	index uint64
	rows  []*applied
}

func (s *counterSnapshot) Persist(sink raft.SnapshotSink) error {
	return sink.(interface{ Fill(Content) error }).Fill(Content{Index: s.index, Time: time.Unix(1, 0), Tables: []Table{{
		Name: "applied",
		Write: func(w io.Writer) (int64, error) {
			return appliedCodec.Write(w, iter.Seq[*applied](slices.Values(s.rows)))
		},
	}}})
}

func (*counterSnapshot) Release() {}

// peer is one raft server in this process.
type peer struct {
	*raft.Raft
	machine   *counter
	store     *Store
	logs      *raft.InmemStore
	address   raft.ServerAddress
	transport *raft.InmemTransport
}

// startPeer starts a server on the logs and the snapshots that are there.
func startPeer(t *testing.T, name, dir string, logs *raft.InmemStore) *peer {
	t.Helper()
	p := &peer{machine: &counter{}, store: openStore(t, dir), logs: logs}
	p.address, p.transport = raft.NewInmemTransport(raft.ServerAddress(name))
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(name)
	config.HeartbeatTimeout, config.ElectionTimeout = 50*time.Millisecond, 50*time.Millisecond
	config.LeaderLeaseTimeout, config.CommitTimeout = 50*time.Millisecond, 5*time.Millisecond
	config.TrailingLogs = 1
	config.SnapshotInterval, config.SnapshotThreshold = time.Hour, 1<<40
	config.Logger = hclog.New(&hclog.LoggerOptions{Output: t.Output(), Name: name})
	var err error
	if p.Raft, err = raft.NewRaft(config, p.machine, logs, logs, p.store, p.transport); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() { p.stop(t) })
	return p
}

func (p *peer) stop(t *testing.T) {
	if err := p.Shutdown().Error(); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// apply applies a value through the leader.
func (p *peer) apply(t *testing.T, value uint64) {
	t.Helper()
	if err := p.Apply(binary.BigEndian.AppendUint64(nil, value), 5*time.Second).Error(); err != nil {
		t.Fatalf("apply %d: %v", value, err)
	}
}

// eventually waits until f is satisfied; what f last missed is said if it never is.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(err)
		}
	}
}

func leads(p *peer) func() error {
	return func() error {
		if p.State() != raft.Leader {
			return errors.New("no leader yet")
		}
		return nil
	}
}

// has tells whether the machine of p holds 1 to n, and how often it was restored.
func (p *peer) has(n uint64, restored int) func() error {
	return func() error {
		var want []uint64
		for v := uint64(1); v <= n; v++ {
			want = append(want, v)
		}
		if got, times := p.machine.values(); !slices.Equal(got, want) || times != restored {
			return fmt.Errorf("got %v, restored %d times, want %v, %d times", got, times, want, restored)
		}
		return nil
	}
}

// TestRaft runs raft itself on the store: it takes snapshots, starts from one,
// starts from the one before when the newest is altered, and installs one on a
// follower whose log begins too late.
func TestRaft(t *testing.T) {
	dir := t.TempDir()
	logs := raft.NewInmemStore()
	one := startPeer(t, "one", filepath.Join(dir, "one"), logs)
	if err := one.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{ID: "one", Address: one.address}}}).Error(); err != nil {
		t.Fatal(err)
	}
	eventually(t, leads(one))
	for v := range uint64(20) {
		one.apply(t, v+1)
		if v == 9 || v == 14 {
			if err := one.Snapshot().Error(); err != nil {
				t.Fatalf("snapshot: %v", err)
			}
		}
	}
	eventually(t, one.has(20, 0))
	if got := ids(t, one.store); len(got) != 2 {
		t.Fatalf("snapshots: got %v, want two", got)
	}
	one.stop(t)

	one = startPeer(t, "one", filepath.Join(dir, "one"), logs)
	eventually(t, leads(one))
	eventually(t, one.has(20, 1))
	if first, err := one.logs.FirstIndex(); err != nil || first < 2 {
		t.Fatalf("the log begins at %d, %v: a newcomer would need no snapshot", first, err)
	}

	two := startPeer(t, "two", filepath.Join(dir, "two"), raft.NewInmemStore())
	one.transport.Connect(two.address, two.transport)
	two.transport.Connect(one.address, one.transport)
	if err := one.AddVoter("two", two.address, 0, 5*time.Second).Error(); err != nil {
		t.Fatalf("add: %v", err)
	}
	eventually(t, two.has(20, 1))
	metas, err := two.store.List()
	if err != nil || len(metas) != 1 {
		t.Fatalf("the follower's snapshots: got %v, %v, want one", metas, err)
	}
	_, folder, err := two.store.open(metas[0].ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := collect(appliedCodec.Rows(folder, "applied")); err != nil || len(rows) != 15 {
		t.Errorf("the installed snapshot: got %d rows, %v, want 15", len(rows), err)
	}
	one.apply(t, 21)
	eventually(t, two.has(21, 1))
}

// TestRaftStartsFromTheOneBefore alters the newest snapshot of a stopped server whose log still reaches back.
func TestRaftStartsFromTheOneBefore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one")
	logs := raft.NewInmemStore()
	one := startPeer(t, "one", dir, logs)
	if err := one.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{ID: "one", Address: one.address}}}).Error(); err != nil {
		t.Fatal(err)
	}
	eventually(t, leads(one))
	if err := one.ReloadConfig(raft.ReloadableConfig{TrailingLogs: 1000, SnapshotInterval: time.Hour, SnapshotThreshold: 1 << 40,
		HeartbeatTimeout: 50 * time.Millisecond, ElectionTimeout: 50 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for v := range uint64(6) {
		one.apply(t, v+1)
		if v == 2 || v == 4 {
			if err := one.Snapshot().Error(); err != nil {
				t.Fatalf("snapshot: %v", err)
			}
		}
	}
	list := ids(t, one.store)
	one.stop(t)
	alter(t, filepath.Join(dir, list[0], "applied.parquet"), flip(30))

	one = startPeer(t, "one", dir, logs)
	newest, skipped, err := one.store.Usable()
	if err != nil || newest.ID != list[1] || len(skipped) != 1 || skipped[0].ID != list[0] {
		t.Fatalf("usable: got %+v, %+v, %v", newest, skipped, err)
	}
	eventually(t, leads(one))
	eventually(t, one.has(6, 1))
}
