package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/snapshot"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
	"github.com/orchd/orchd/test/lossy"
)

// Ack is something that was acknowledged.
type Ack struct {
	Ops   int    // of the disk, when the answer was there
	Index uint64 // of the log, that the answer named
	Name  string // of the VM or the node
}

// Life is what was recorded of a peer.
type Life struct {
	Trace  lossy.Trace
	Killed int            // operations until it was killed
	Ready  int            // operations until the new cluster was said to be made
	Acks   []Ack          // in order
	Marks  map[string]int // marked snapshots, and operations when they were said to be kept
	hashes map[uint64]string
	oldest uint64 // hashes are known from this index on
	newest uint64
	lines  map[uint64]string // of the changes, by index
}

// settings make a short life eventful: raft's own snapshots and the shortening of the log
// come at each stop, and the third marked snapshot retires the first.
var settings = lab.With(`raft.snapshot_threshold = 30`, `raft.trailing_logs = 25`, `snapshot.interval = "0"`, `snapshot.retain = 2`)

// loopback is where the peers of these tests are.
var loopback = lab.LoopbackAt(7)

// Record lets a peer live.
func Record(t testing.TB, options ...lab.Option) *Life {
	t.Helper()
	l := &Life{Marks: map[string]int{}}
	w := &world{TB: t, life: l, disk: lossy.NewDisk(), lab: lab.Start(t, 1, append(options, loopback, settings)...)}
	w.host = w.lab.Host(0)
	unmount, err := w.disk.Mount(w.host.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.disk.ReleaseAll(); w.host.Kill(); unmount() })
	w.host.Init()
	l.Ready = w.disk.Ops()
	w.connect()
	w.live()
	l.Trace = w.disk.Trace()
	w.host.Kill()
	unmount()
	if err := l.refer(t); err != nil {
		t.Fatalf("what the log led to: %v", err)
	}
	return l
}

// world is a peer that lives.
type world struct {
	testing.TB
	life   *Life
	disk   *lossy.Disk
	lab    *lab.Lab
	host   *lab.Host
	client *http.Client
	count  int
}

func (w *world) connect() {
	w.Helper()
	token := ask.Decode[api.NewToken](w, ask.Answer{Body: []byte(w.host.CLI("token", "create", "--role", "admin", "--ttl", "24h", "-o", "json"))}).Token
	var err error
	if w.client, err = w.host.HTTP(token); err != nil {
		w.Fatal(err)
	}
}

// deleted are the VMs that do not stay.
var deleted = []string{"vm-3", "vm-4"}

// live is the life. It ends with a clean stop.
func (w *world) live() {
	w.Helper()
	w.send("PATCH", "/v1/settings", map[string]any{"snapshot": map[string]any{"daily": 0, "monthly": 0}}, "", "Content-Type: application/merge-patch+json")
	w.creates(12)
	w.snapshot()
	w.nodes(6, 1)
	w.nodes(1, 60)
	w.changesAreKept()
	w.snapshot()
	w.deletes(deleted...)
	w.restart(w.host.Stop)
	w.creates(6)
	w.snapshot() // retires the first
	w.nodes(1, 200)
	w.restart(func() { w.host.Kill(); w.life.Killed = w.disk.Ops() })
	w.creates(6)
	w.nodes(4, 2)
	w.changesAreKept()
	w.snapshot()
	w.restart(w.host.Stop)
	w.creates(3)
	w.host.Stop()
}

// send asks the peer, and notes what was acknowledged.
func (w *world) send(method, path string, body any, name string, headers ...string) ask.Answer {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a, err := ask.Send(ctx, w.client, method, w.host.URL()+path, body, headers...)
	ops := w.disk.Ops()
	if err != nil || a.Status/100 != 2 {
		w.Fatalf("%s %s: %d, %v: %s", method, path, a.Status, err, a.Body)
	}
	index, _ := strconv.ParseUint(a.Header.Get("Orchd-Index"), 10, 64)
	w.life.Acks = append(w.life.Acks, Ack{ops, index, name})
	return a
}

func (w *world) creates(n int) {
	w.Helper()
	for range n {
		w.count++
		name := fmt.Sprint("vm-", w.count)
		w.send("POST", "/v1/vms", ask.VM(name, 1, 16), name)
	}
}

func (w *world) deletes(names ...string) {
	w.Helper()
	for _, name := range names {
		w.send("DELETE", "/v1/vms/"+name, nil, "")
	}
}

// nodes posts compute nodes, some at once.
func (w *world) nodes(posts, each int) {
	w.Helper()
	for range posts {
		var all []map[string]any
		for range each {
			w.count++
			all = append(all, map[string]any{"hostname": fmt.Sprint("node-", w.count), "architecture": "x86_64", "description": strings.Repeat("n", 300)})
		}
		var body any = all
		if each == 1 {
			body = all[0]
		}
		w.send("POST", "/ComputeNode", body, "")
	}
}

func (w *world) snapshot() {
	w.Helper()
	a := w.send("POST", "/v1/snapshots", nil, "")
	w.life.Marks[ask.Decode[api.Snapshot](w, a).ID] = w.disk.Ops()
}

// changesAreKept waits until one more file of changes has its name.
func (w *world) changesAreKept() {
	w.Helper()
	from := w.disk.Ops()
	lab.Eventually(w, 30*time.Second, func() error {
		for _, o := range w.disk.Trace()[from:] {
			if o.Kind == lossy.Rename && strings.HasPrefix(o.Path, "changes/") {
				return nil
			}
		}
		return errors.New("no changes were written")
	})
}

func (w *world) restart(stop func()) {
	w.Helper()
	stop()
	w.host.Start()
	w.host.AwaitReady()
}

// memory makes a folder in memory: an opening syncs a dozen times.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "orchd-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// every is how many operations lie between two looks at the log: fewer than a life
// needs to write more entries than it keeps.
const every = 100

// refer finds out what the state was after each entry of the log, and what each changed.
func (l *Life) refer(t testing.TB) error {
	entries := map[uint64]*logEntry{}
	r, dir := lossy.NewReplay(l.Trace), memory(t)
	for k := l.Ready; ; k = min(k+every, len(l.Trace)) {
		r.Advance(k)
		into := filepath.Join(dir, strconv.Itoa(k))
		if err := os.Mkdir(into, 0o700); err != nil {
			return err
		}
		if err := errors.Join(r.Kept(into), collect(into, entries)); err != nil {
			return fmt.Errorf("operation %d: %w", k, err)
		}
		if k == len(l.Trace) {
			return errors.Join(l.apply(entries), l.readChanges(into))
		}
		os.RemoveAll(into)
	}
}

type logEntry struct {
	at       time.Time
	commands [][]byte
}

func collect(dataDir string, entries map[uint64]*logEntry) error {
	fresh := map[uint64]*logEntry{}
	err := cluster.ReadLog(dataDir, func(index uint64, n int, at time.Time, command []byte) error {
		if fresh[index] == nil {
			fresh[index] = &logEntry{at: at}
		}
		fresh[index].commands = append(fresh[index].commands, command)
		return nil
	})
	maps.Copy(entries, fresh)
	return err
}

// apply fills in the state hash at each index, those without commands included.
func (l *Life) apply(entries map[uint64]*logEntry) error {
	m := fsm.New()
	l.hashes = map[uint64]string{}
	indexes := slices.Sorted(maps.Keys(entries))
	for i, index := range indexes {
		if i > 0 && index > indexes[i-1]+5 {
			return fmt.Errorf("entries %d to %d were not seen", indexes[i-1]+1, index-1)
		}
		m.ApplyAll(index, entries[index].at, entries[index].commands)
		l.hashes[index] = m.Read().Hash()
	}
	l.oldest, l.newest = indexes[0], indexes[len(indexes)-1]
	now := m.Read()
	for _, a := range l.Acks {
		found := false
		for vm := range now.VMsNamed(a.Name) {
			found = found || vm.Name == a.Name
		}
		if a.Name != "" && !found && !slices.Contains(deleted, a.Name) {
			return fmt.Errorf("%s was acknowledged and is not in the log", a.Name)
		}
		if a.Index > l.newest {
			return fmt.Errorf("index %d was acknowledged, and the log ends at %d", a.Index, l.newest)
		}
	}
	return nil
}

// hashAt is the state's hash at an index.
func (l *Life) hashAt(index uint64) string {
	for ; index > 0; index-- {
		if h, known := l.hashes[index]; known {
			return h
		}
	}
	return fsm.New().Read().Hash()
}

func (l *Life) readChanges(dataDir string) error {
	e, err := peer.Examine(dataDir, nil)
	if err != nil {
		return err
	}
	defer e.Changes.Close()
	l.lines, err = changeLines(e.Changes)
	if err == nil && len(l.lines) < 20 {
		err = fmt.Errorf("changes of %d entries only are kept", len(l.lines))
	}
	return err
}

// changeLines is what the files of a history say, by index.
func changeLines(h *snapshot.History) (map[uint64]string, error) {
	lines := map[uint64]string{}
	for _, f := range h.Files() {
		for c, err := range h.Changes(api.After(f.From-1), f.To) {
			if err != nil {
				return nil, err
			}
			lines[c.Index] += fmt.Sprintf("%d %s %s %s %s\n", c.N, c.Verb, c.Table, c.Key, c.Value)
		}
	}
	return lines, nil
}

// acked is the newest index that had been acknowledged before operation k.
func (l *Life) acked(k int) (index uint64) {
	for _, a := range l.Acks {
		if a.Ops <= k {
			index = max(index, a.Index)
		}
	}
	return index
}

// kept are the marked snapshots that must be there after a power loss before operation k:
// said to be kept, and not deleted since.
func (l *Life) kept(k int) (ids []string) {
	for id, since := range l.Marks {
		gone := slices.ContainsFunc(l.Trace[min(since, k):k], func(o lossy.Op) bool {
			return (o.Kind == lossy.Unlink || o.Kind == lossy.Rename || o.Kind == lossy.Rmdir) && strings.HasPrefix(o.Path+"/", fmt.Sprintf("snapshots/index=%015s/", id))
		})
		if since <= k && !gone {
			ids = append(ids, id)
		}
	}
	return ids
}

// Judge opens a data folder that a power loss before operation k has left. The error is
// what is wrong with it.
func (l *Life) Judge(dataDir string, k int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	e, err := peer.Examine(dataDir, nil)
	if k < l.Ready && errors.Is(err, os.ErrNotExist) && strings.Contains(err.Error(), "holds no peer of a cluster") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	defer e.Changes.Close()
	return errors.Join(l.state(e, k), l.snapshots(e, k), l.changes(e))
}

// examineFlip opens a data folder in which something was altered. It is refused with a
// sentence, or what it gives is right. That entries are missing at the end, because the
// last batch looks like one that a crash tore, is told.
func (l *Life) examineFlip(dataDir string) (refused, missing bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	e, err := peer.Examine(dataDir, nil)
	if err != nil {
		if text := err.Error(); strings.Contains(text, "panic") || strings.Contains(text, "goroutine") || len(text) < 20 {
			return true, false, fmt.Errorf("it is refused with: %w", err)
		}
		return true, false, nil
	}
	defer e.Changes.Close()
	if got, want := e.Machine.Read().Hash(), l.hashAt(e.Last); got != want {
		return false, false, fmt.Errorf("the state at index %d hashes to %s, and was %s", e.Last, got, want)
	}
	for _, f := range e.Marked {
		folder, err := snapshot.OpenFolder(f.Path)
		if f.Err != nil || err != nil {
			continue // named
		}
		if c, want := fsm.CheckFolder(folder), l.hashAt(f.Index); c.StateHash != want && len(c.Problems) == 0 {
			return false, false, fmt.Errorf("marked snapshot %s hashes to %s, and was %s", f.ID, c.StateHash, want)
		}
	}
	lines, err := changeLines(e.Changes)
	if err != nil {
		return false, false, nil // named when it was read
	}
	for index, text := range lines {
		if want, known := l.lines[index]; known && text != want {
			return false, false, fmt.Errorf("changes of entry %d are\n%s, and were\n%s", index, text, want)
		}
	}
	return false, e.Last < l.acked(l.Killed), nil
}

// state compares what the log led to.
func (l *Life) state(e peer.Examined, k int) error {
	if acked := l.acked(k); e.Last < acked {
		return fmt.Errorf("entry %d was acknowledged, and the log ends at %d", acked, e.Last)
	}
	if got, want := e.Machine.Read().Hash(), l.hashAt(e.Last); got != want {
		return fmt.Errorf("the state at index %d hashes to %s, and was %s", e.Last, got, want)
	}
	return nil
}

func (l *Life) snapshots(e peer.Examined, k int) error {
	good := map[string]bool{}
	for _, f := range e.Marked {
		if f.Err != nil {
			return fmt.Errorf("marked snapshot %s is damaged: %w", f.ID, f.Err)
		}
		good[f.ID] = true
		if want := l.hashAt(f.Index); f.Manifest.StateHash != want {
			return fmt.Errorf("marked snapshot %s hashes to %s, and was %s", f.ID, f.Manifest.StateHash, want)
		}
	}
	for _, id := range l.kept(k) {
		if !good[id] {
			return fmt.Errorf("marked snapshot %s was acknowledged, and is gone", id)
		}
	}
	for _, s := range e.Skipped {
		return fmt.Errorf("raft's snapshot %s is damaged: %w", s.ID, s.Reason)
	}
	return nil
}

// changes compares the changes that are kept. Those that are not must still be in the log.
func (l *Life) changes(e peer.Examined) error {
	if end := e.Changes.End(); end < e.Base {
		return fmt.Errorf("changes are kept up to %d, and the log before %d is gone", end, e.Base+1)
	}
	if gaps := e.Changes.Gaps(); len(gaps) > 0 {
		return fmt.Errorf("changes are missing: %v", gaps)
	}
	lines, err := changeLines(e.Changes)
	if err != nil {
		return fmt.Errorf("changes cannot be read: %w", err)
	}
	for index, text := range lines {
		if want, known := l.lines[index]; known && text != want {
			return fmt.Errorf("changes of entry %d are\n%s, and were\n%s", index, text, want)
		}
	}
	return nil
}
