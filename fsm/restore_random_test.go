package fsm

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/snapshot"
)

// tablesOf is a marked snapshot of those tables of a state; none named means all.
func tablesOf(t *testing.T, s *state, only ...string) *snapshot.Folder {
	t.Helper()
	c := content(s)
	if len(only) > 0 {
		c.Tables = slices.DeleteFunc(c.Tables, func(t snapshot.Table) bool { return !slices.Contains(only, t.Name) })
	}
	return folderFrom(t, c)
}

// folderWith is one with a table more.
func folderWith(t *testing.T, s *state, more snapshot.Table) *snapshot.Folder {
	t.Helper()
	c := content(s)
	c.Tables = append(c.Tables, more)
	return folderFrom(t, c)
}

func folderFrom(t testing.TB, c snapshot.Content) *snapshot.Folder {
	t.Helper()
	marks, err := snapshot.OpenMarks(t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := marks.Write(c); err != nil {
		t.Fatal(err)
	}
	found, err := marks.List()
	if err != nil || len(found) != 1 {
		t.Fatalf("snapshots: %v, %v", found, err)
	}
	folder, err := marks.Open(found[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// checkedTable is what a test asks of a table that a rollback covers.
type checkedTable interface {
	apart(a, b *state) api.TableDifference
	strangers(now Reader, a, b *state) []string
	outdated(t *testing.T, before, then, now *state)
}

// apart counts what makes b of a, by the rows themselves.
func (t *restorable[T]) apart(a, b *state) api.TableDifference {
	d := api.TableDifference{Table: t.table.name}
	t.table.in(a).rows.ascend("", func(key string, it *item[T]) bool {
		if is, there := t.table.in(b).rows.get(key); !there {
			d.Delete++
		} else if is.sum != it.sum {
			d.Update++
		}
		return true
	})
	t.table.in(b).rows.ascend("", func(key string, _ *item[T]) bool {
		if _, there := t.table.in(a).rows.get(key); !there {
			d.Create++
		}
		return true
	})
	return d
}

// strangers are the keys of rows that are not in both, or are not alike, and should be.
func (t *restorable[T]) strangers(now Reader, a, b *state) (keys []string) {
	for _, pair := range [][2]*state{{a, b}, {b, a}} {
		t.table.in(pair[0]).rows.ascend("", func(key string, it *item[T]) bool {
			is, there := t.table.in(pair[1]).rows.get(key)
			if !t.stays(now, &it.row) && (!there || t.unstamped(&is.row) != t.unstamped(&it.row)) {
				keys = append(keys, key)
			}
			return true
		})
	}
	return keys
}

// outdated complains of rows that changed and whose stamps do not show it.
func (t *restorable[T]) outdated(test *testing.T, before, then, now *state) {
	t.table.in(now).rows.ascend("", func(key string, it *item[T]) bool {
		version, updated := t.stamps(&it.row)
		was, there := t.table.in(before).rows.get(key)
		if there && was.sum == it.sum {
			return true
		}
		for _, s := range []*state{before, then} {
			old, there := t.table.in(s).rows.get(key)
			if !there || version == nil {
				continue
			}
			if had, _ := t.stamps(&old.row); *version <= *had {
				test.Errorf("%s %q was put back under version %d, and had version %d", t.table.name, key, *version, *had)
			}
		}
		if updated != nil && !updated.Equal(now.now) {
			test.Errorf("%s %q was put back at %v and says %v", t.table.name, key, now.now, *updated)
		}
		return true
	})
}

// writer proposes to a machine that has an index and a time of its own.
func (s *scribe) writer(t *testing.T) (*Writer, *log) {
	l := &log{t: t, m: s.m, index: s.index, at: s.at}
	return NewWriter(atOnce{l}, nil, marking{}), l
}

// rolledBack rolls a machine back and checks that it has become what the folder
// says, and nothing else.
func rolledBack(t *testing.T, s *scribe, f *snapshot.Folder) (touched int64) {
	t.Helper()
	then, err := load(f)
	if err != nil {
		t.Fatal(err)
	}
	before := s.m.published.Load()
	d, err := s.m.Read().Difference(f)
	if err != nil {
		t.Fatal(err)
	}
	w, l := s.writer(t)
	done, err := w.RestoreState(asAdmin(), d)
	if err != nil {
		t.Fatalf("rollback to index %d: %v", then.index, err)
	}
	index := done.Index
	s.index, s.at = l.index, l.at
	now := s.m.published.Load()
	if d.Empty() && (now != before || index != before.index) || !d.Empty() && index != now.index {
		t.Errorf("the difference %v took effect at index %d, the machine went from %d to %d", d.Tables, index, before.index, now.index)
	}
	told := map[string]api.TableDifference{}
	for _, table := range d.Tables {
		told[table.Table] = table
		touched += table.Create + table.Update + table.Delete
	}
	for _, table := range rollbackTables {
		c := table.(checkedTable)
		if got := c.apart(before, now); got != told[table.label()] && got != (api.TableDifference{Table: table.label()}) {
			t.Errorf("told was %+v, done was %+v", told[table.label()], got)
		}
		if keys := c.strangers(Reader{now}, then, now); len(keys) > 0 {
			t.Errorf("table %s is not what it was: %q", table.label(), keys)
		}
		c.outdated(t, before, then, now)
	}
	restHolds(t, before, now)
	wholeHolds(t, s)
	if again, err := s.m.Read().Difference(f); err != nil || !again.Empty() {
		t.Errorf("rolled back, there is still a difference: %v, %v", again.Tables, err)
	}
	return touched
}

// goWithSpells are what is known of the runs of spells: it goes with a spell that goes,
// and begins anew with one that comes back.
var goWithSpells = []anyTable{spellRuns, spellLines, spellMail}

// restHolds: no table that a rollback does not cover has changed, but for the note of it.
func restHolds(t *testing.T, before, now *state) {
	t.Helper()
	for _, table := range tables {
		if _, err := rollbackTable(table.label()); err == nil || table == anyTable(requests) || slices.Contains(goWithSpells, table) {
			continue
		}
		if table.rehash(before) != table.rehash(now) {
			t.Errorf("table %s changed in a rollback", table.label())
		}
	}
}

// wholeHolds: every promise about the rows of a machine.
func wholeHolds(t *testing.T, s *scribe) {
	t.Helper()
	r := s.m.Read()
	fleetHolds(t, r.Index(), r)
	stateManagerHolds(t, r)
	ledgerHolds(t, r.Index(), r)
	catalogueHolds(t, r.Index(), r)
	guestsHold(t, r.Index(), r)
	servicesHold(t, r.Index(), r)
	for vm := range r.VMs("") {
		if _, there := r.Image(vm.Spec.Image); vm.Spec.Image != "" && !there {
			t.Errorf("VM %s boots from image %s, which is not there", vm.Name, vm.Spec.Image)
		}
	}
	if err := s.m.Verify(); err != nil {
		t.Error(err)
	}
	for _, table := range tables {
		if err := table.(interface{ indexFault(*state) error }).indexFault(r.state); err != nil {
			t.Error(err)
		}
	}
}

// TestRollback: after any history a machine goes back to what it was, and from
// there to what it had become.
func TestRollback(t *testing.T) {
	touched := int64(0)
	for seed := range uint64(8) {
		s := newScribe(seed)
		for range 150 + s.rng.IntN(250) {
			s.next(t)
		}
		first := tablesOf(t, s.m.published.Load())
		for range 40 + s.rng.IntN(250) {
			s.next(t)
		}
		second := tablesOf(t, s.m.published.Load())
		touched += rolledBack(t, s, first)
		rolledBack(t, s, first) // which changes nothing
		rolledBack(t, s, second)
		for range 30 {
			s.next(t)
		}
		rolledBack(t, s, first)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if touched < 50 {
		t.Errorf("only %d rows were put back", touched)
	}
}

// TestRollbackMeetsChanges: what changes between the comparison and the rollback
// either has nothing to do with it, and stays, or nothing is rolled back.
//
//race:out
func TestRollbackMeetsChanges(t *testing.T) {
	accepted, refused := 0, map[string]int{}
	for seed := range uint64(15) {
		s := newScribe(seed)
		var kept []*state
		for len(kept) < 4 {
			for range 50 {
				s.change(t)
			}
			kept = append(kept, s.m.published.Load())
		}
		for range 15 {
			seen := s.m.Read()
			d := differenceOf(t, seen, pick(s, kept))
			for range 1 + s.rng.IntN(12) {
				s.change(t)
			}
			before := s.m.published.Load()
			w, l := s.writer(t)
			_, err := w.RestoreState(asAdmin(), d)
			s.index, s.at = l.index, l.at
			restHolds(t, before, s.m.published.Load())
			wholeHolds(t, s)
			switch {
			case err == nil && !d.Empty():
				accepted++
				changesStay(t, seen.state, before, s.m.published.Load())
			case api.IsKind(err, api.Conflict):
				refused[why(err)]++
				for _, table := range rollbackTables {
					if got := table.(checkedTable).apart(before, s.m.published.Load()); got != (api.TableDifference{Table: table.label()}) {
						t.Errorf("it was refused, and done was %+v", got)
					}
				}
			case err != nil:
				t.Error(err)
			}
			if t.Failed() {
				t.Fatalf("seed %d, index %d", seed, s.index)
			}
		}
	}
	if accepted < 50 || len(refused) < 8 {
		t.Errorf("%d were accepted, refused were %v: the changes say little", accepted, refused)
	}
}

// change applies a random command, mostly about what a rollback covers.
func (s *scribe) change(t *testing.T) {
	t.Helper()
	if s.index < 3 || s.rng.IntN(4) == 0 {
		s.next(t)
		return
	}
	s.index, s.at = s.index+1, s.at.Add(time.Second)
	s.m.Apply(s.index, 0, s.at, pick(s, []func(*testing.T) []byte{s.fleet, s.smdCommand, s.catalogue})(t))
}

// why is the reason of a refusal, without names.
func why(err error) string {
	_, text, _ := strings.Cut(err.Error(), "rolled back: ")
	text, _, _ = strings.Cut(text, ";")
	return names.ReplaceAllString(text, "*")
}

var names = regexp.MustCompile(`"[^"]*"|[^ ]*\d[^ ]*|\([^ ]*\)`)

// changesStay: what changed between seen and before, and was not put back, is there still.
func changesStay(t *testing.T, seen, before, now *state) {
	t.Helper()
	for _, table := range rollbackTables {
		table.(interface {
			changesStay(*testing.T, *state, *state, *state)
		}).changesStay(t, seen, before, now)
	}
}

func (t *restorable[T]) changesStay(test *testing.T, seen, before, now *state) {
	changed := map[string]*item[T]{}
	t.table.in(before).rows.ascend("", func(key string, it *item[T]) bool {
		if was, there := t.table.in(seen).rows.get(key); !there || was.sum != it.sum {
			changed[key] = it
		}
		return true
	})
	for _, key := range slices.Sorted(maps.Keys(changed)) {
		if is, there := t.table.in(now).rows.get(key); !there || is.sum != changed[key].sum {
			test.Errorf("%s %q changed after the comparison, and the rollback overwrote it", t.table.name, key)
		}
	}
}

// TestRollbackOnReplicas: two machines roll back alike, one of them from chunks
// and through a snapshot.
func TestRollbackOnReplicas(t *testing.T) {
	a, b := newLog(t, "a"), New()
	var mu sync.Mutex // chunks are on their way side by side
	sent := []entry{}
	wire := proposerFunc(func(_ context.Context, command []byte) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		a.index++
		sent = append(sent, entry{a.index, a.at, command})
		return a.m.Apply(a.index, 0, a.at, command).(Result).MarshalBinary()
	})
	a.m, a.index = New(), 0
	w := NewWriter(wire, nil, marking{})
	ctx := asAdmin()
	if err := w.InitCluster(api.WithCaller(t.Context(), api.Caller{Actor: ActorOfPeer("a")}), testPeer("a"), map[string]string{SettingCluster: "c"}, nil); err != nil {
		t.Fatal(err)
	}
	seedLarge(t, ctx, w, 700)
	folder := tablesOf(t, a.m.published.Load())
	for n := range computeNodes.each(a.m.Read(), "") {
		if _, err := w.DeleteNode(ctx, n.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
	d, err := a.m.Read().Difference(folder)
	if err != nil {
		t.Fatal(err)
	}
	chunks := len(sent)
	if _, err := w.RestoreState(ctx, d); err != nil {
		t.Fatal(err)
	}
	if chunks = len(sent) - chunks; chunks < 3 {
		t.Fatalf("the rollback of %d bytes took %d entries: it did not travel in chunks", len(d.command.Tables[0].Packed), chunks)
	}
	if n := staged.size(a.m.published.Load()); n != 0 {
		t.Errorf("%d chunks are left", n)
	}
	for k, e := range sent {
		b.Apply(e.index, 0, e.at, e.command)
		if k == len(sent)-2 { // all chunks are there, the commit is to come
			b = throughSnapshot(t, b)
		}
	}
	compareStates(t, 0, a.m, b)
	if a.m.Read().Hash() != b.Read().Hash() || computeNodes.size(b.published.Load()) != 700 {
		t.Errorf("the state hashes are %s and %s, nodes are %d", a.m.Read().Hash(), b.Read().Hash(), computeNodes.size(b.published.Load()))
	}
}

type proposerFunc func(context.Context, []byte) ([]byte, error)

func (f proposerFunc) Propose(ctx context.Context, command []byte) ([]byte, error) {
	return f(ctx, command)
}

// seedLarge makes nodes whose rows do not pack well.
func seedLarge(t *testing.T, ctx context.Context, w *Writer, count int) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	nodes := make([]inventory.ComputeNode, count)
	for k := range nodes {
		noise := make([]byte, 1000)
		rng.Read(noise)
		nodes[k] = inventory.ComputeNode{Hostname: fmt.Sprint("n", k), Architecture: "x86_64", XName: fmt.Sprintf("x%dc0s0b0n0", 1000+k),
			CloudInit: &inventory.CloudInit{UserData: inventory.Object(fmt.Sprintf(`{"noise":"%x"}`, noise))}}
	}
	if _, err := w.CreateNodes(ctx, nodes, true); err != nil {
		t.Fatal(err)
	}
}
