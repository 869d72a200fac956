package fsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/snapshot"
)

// stream is what a sink was told.
type stream struct {
	changes []snapshot.Change
	calls   []string // "to 7", "skip 9": in their order, those that follow each other joined
	end     uint64
}

func (s *stream) Append(to uint64, changes []snapshot.Change) error {
	s.told("to", to)
	s.changes = append(s.changes, changes...)
	return nil
}

func (s *stream) Skip(to uint64) error {
	s.told("skip", to)
	return nil
}

func (s *stream) told(what string, to uint64) {
	if k := len(s.calls); k > 0 && s.calls[k-1] == fmt.Sprint(what, " ", s.end) {
		s.calls = s.calls[:k-1]
	}
	s.calls = append(s.calls, fmt.Sprint(what, " ", to))
	s.end = to
}

// drain hands what waits in the machine to the stream.
func (s *stream) drain(m *Machine) {
	w := changeWriter{sink: s, lost: m.changes.lost}
	for b, ok := m.changes.take(); ok; b, ok = m.changes.take() {
		w.write(b)
		m.changes.done(b)
	}
}

// sameChanges compares two streams change by change.
func sameChanges(t *testing.T, what string, got, want []snapshot.Change) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("%s: of %d and %d changes the %dth differ:\n%s\n%s", what, len(got), len(want), i, nth(got, i), nth(want, i))
		}
	}
}

func nth(changes []snapshot.Change, i int) string {
	if i >= len(changes) {
		return "none"
	}
	c := changes[i]
	return fmt.Sprintf("%v %s %s %s %s %s", c.Position(), c.Time, c.Verb, c.Table, c.Key, c.Value)
}

// TestChangesMakeTheState: the rows that the changes of a log leave are those of
// the state, secrets included, and every change is one.
//
//race:out
func TestChangesMakeTheState(t *testing.T) {
	verbs := map[string]int{}
	for seed := range uint64(12) {
		s, out := newScribe(seed), &stream{}
		s.m.KeepChanges(0)
		for range 300 {
			s.next(t)
		}
		out.drain(s.m)
		rows := map[string]map[string][]byte{}
		var last api.Position
		for _, c := range out.changes {
			if at := c.Position(); !last.Before(at) || at.Index == last.Index && at.N != last.N+1 || at.Index != last.Index && at.N != 1 {
				t.Fatalf("seed %d: change %v comes behind %v", seed, at, last)
			}
			last = c.Position()
			verbs[c.Table+" "+c.Verb]++
			applyChange(t, rows, c)
		}
		for _, table := range tables {
			if table.isBookkeeping() {
				continue
			}
			var total sum
			for _, value := range rows[table.label()] {
				total = total.plus(table.(interface{ sumOf(*testing.T, []byte) sum }).sumOf(t, value))
			}
			if got, want := len(rows[table.label()]), table.size(s.m.published.Load()); got != want || total != table.rehash(s.m.published.Load()) {
				t.Errorf("seed %d: the changes of %s leave %d rows of sum %s, the state has %d of %s",
					seed, table.label(), got, total, want, table.rehash(s.m.published.Load()))
			}
		}
	}
	for _, name := range RecordedTables() {
		if verbs[name+" create"] == 0 {
			t.Errorf("no row of %s was made: the logs say nothing of it (%v)", name, verbs)
		}
	}
	for _, want := range []string{"vms update", "vms delete", "compute_nodes update", "compute_nodes delete", "tokens delete", "settings update"} {
		if verbs[want] == 0 {
			t.Errorf("no %s in the logs (%v)", want, verbs)
		}
	}
}

// applyChange does to rows what a change says, and fails where it is none.
func applyChange(t *testing.T, rows map[string]map[string][]byte, c snapshot.Change) {
	t.Helper()
	if rows[c.Table] == nil {
		rows[c.Table] = map[string][]byte{}
	}
	was, there := rows[c.Table][c.Key]
	switch api.ChangeVerb(c.Verb) {
	case api.Created:
		if there || c.Value == nil {
			t.Fatalf("change %s: the row is there: %v", nth([]snapshot.Change{c}, 0), there)
		}
	case api.Updated:
		if !there || c.Value == nil || string(was) == string(c.Value) {
			t.Fatalf("change %s: the row was %s", nth([]snapshot.Change{c}, 0), was)
		}
	case api.Deleted:
		if !there || c.Value != nil {
			t.Fatalf("change %s: the row was %s", nth([]snapshot.Change{c}, 0), was)
		}
		delete(rows[c.Table], c.Key)
		return
	default:
		t.Fatalf("change %v: verb %q", c.Position(), c.Verb)
	}
	rows[c.Table][c.Key] = c.Value
}

// sumOf is the hash of an encoded row.
func (t *table[T]) sumOf(test *testing.T, value []byte) sum {
	row, err := t.decoded(value)
	if err != nil {
		test.Fatalf("%s: %v", value, err)
	}
	return rowSum(t.name, row)
}

// roundTrip encodes random rows and reads them back.
func (t *table[T]) roundTrip(test *testing.T, rng *rand.Rand) {
	for range 200 {
		row := new(T)
		fill(rng, reflect.ValueOf(row).Elem())
		canonicalize(row)
		value := t.encoded(row)
		if t.sumOf(test, value) != rowSum(t.name, row) {
			test.Fatalf("%s: the row\n%+v\ncame back from\n%s\nas another", t.name, row, value)
		}
	}
}

// TestRowsRoundTrip: whatever a row holds, the JSON of it gives the same row.
//
//race:out
func TestRowsRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, table := range tables {
		table.(interface {
			roundTrip(*testing.T, *rand.Rand)
		}).roundTrip(t, rng)
	}
}

// fill sets v to something random: what clients send, and what they should not.
func fill(rng *rand.Rand, v reflect.Value) {
	texts := []string{"", "a", "<b>&amp;", "\u2028\x00\"\\", "é\xff", "null", "9007199254740993"}
	objects := []string{"", "null", `{"a":"<&>\u003c\u2028"}`, `[1.0,1e3,{}]`, `{ "a": 1 }`, `{"a":`, `"text"`, `12`, "no JSON", "{}\n", `{"$row":"AA=="}`}
	switch v.Interface().(type) {
	case inventory.Object:
		v.SetString(objects[rng.IntN(len(objects))])
		return
	case json.RawMessage:
		v.SetBytes([]byte(objects[rng.IntN(len(objects))]))
		return
	case time.Time:
		v.Set(reflect.ValueOf([]time.Time{{}, epoch0, time.Unix(rng.Int64N(1<<34), rng.Int64N(1e9))}[rng.IntN(3)]))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(rng.Uint64()) >> rng.IntN(64))
	case reflect.Uint64:
		v.SetUint(rng.Uint64() >> rng.IntN(64))
	case reflect.Uint32:
		v.SetUint(uint64(rng.Uint32() >> rng.IntN(32)))
	case reflect.String:
		v.SetString(texts[rng.IntN(len(texts))])
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rng, v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rng.IntN(3), 3))
		for i := range v.Len() {
			fill(rng, v.Index(i))
		}
	case reflect.Uint8:
		v.SetUint(rng.Uint64() & 0xff)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rng.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(rng, key)
			fill(rng, value)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(rng, v.Field(i))
		}
	default:
		panic("fill: a row has a field of type " + v.Type().String())
	}
}

// TestOneChangeOfARow: what a command does to a row in several steps is one
// change, and none where nothing is left of it.
func TestOneChangeOfARow(t *testing.T) {
	m := New()
	put := func(name, value string) func(tx *Txn) {
		return func(tx *Txn) { settings.put(tx, setting{Name: name, Value: value}) }
	}
	remove := func(name string) func(tx *Txn) { return func(tx *Txn) { settings.remove(tx, name) } }
	for _, c := range []struct {
		name string
		do   []func(*Txn)
		want string
	}{
		{"made", []func(*Txn){put("a", "1")}, "[create a]"},
		{"as it was", []func(*Txn){put("a", "1")}, "[]"},
		{"there and back", []func(*Txn){put("a", "2"), put("a", "1")}, "[]"},
		{"twice", []func(*Txn){put("a", "2"), put("a", "3")}, "[update a]"},
		{"made and removed", []func(*Txn){put("b", "1"), remove("b")}, "[]"},
		{"removed and made as it was", []func(*Txn){remove("a"), put("a", "3")}, "[]"},
		{"removed and made", []func(*Txn){remove("a"), put("a", "4")}, "[update a]"},
		{"made, removed, made", []func(*Txn){put("c", "1"), remove("c"), put("c", "2")}, "[create c]"},
		{"changed and removed", []func(*Txn){put("a", "5"), remove("a")}, "[delete a]"},
		{"by first touch", []func(*Txn){put("z", "1"), put("d", "1"), put("c", "3"), put("d", "2")}, "[create z create d update c]"},
		{"bookkeeping", []func(*Txn){func(tx *Txn) { requests.put(tx, request{ID: "c/1"}) }}, "[]"},
		{"many", slices.Repeat([]func(*Txn){put("y", "1"), put("x", "1"), put("y", "2")}, 20), "[create y create x]"},
	} {
		tx := newTxn(m.published.Load(), m.Index()+1, epoch0)
		tx.noting = true
		for _, step := range c.do {
			step(tx)
		}
		tx.note()
		got := []string{}
		for _, command := range tx.noted {
			for _, row := range command.rows {
				got = append(got, string(row.verb)+" "+row.key)
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: changes %v, want %s", c.name, got, c.want)
		}
		m.publish(tx)
	}
}

// TestChangesTellWho: who asked, in which request, and whose row it is.
func TestChangesTellWho(t *testing.T) {
	l, out := newLog(t, "a"), &stream{}
	out.drain(l.m) // nothing: it was not asked to keep any
	l.m.KeepChanges(l.index)
	command, err := encode(Meta{Type: createVM, V: 1, ID: "c1", Request: "req-1", Actor: operator}, vmCreate{VM: small("one"), Candidates: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	l.index++
	answers, at := l.m.ApplyAll(l.index, l.at, [][]byte{command, command}), l.m.Time()
	vm := answers[0].(Result).Key
	l.must(operator, actOnVM, vmAction{ID: vm, Verb: kindDelete})
	out.drain(l.m)
	made := 0
	for _, c := range out.changes {
		if c.Index != answers[0].(Result).Index {
			continue
		}
		made++
		if c.Actor != operator.ID || c.RequestID != "req-1" || c.Account != api.DefaultAccount || c.Verb != string(api.Created) || !c.Time.Equal(at) {
			t.Errorf("a change of the create: %s by %s in %q, of account %q", nth(out.changes, made-1), c.Actor, c.RequestID, c.Account)
		}
	}
	if made != 4 {
		t.Errorf("to create a VM, twice under one id, made %d changes, want the VM, its operation, its placement and its account's usage", made)
	}
	if !slices.ContainsFunc(out.changes, func(c snapshot.Change) bool {
		return c.Table == "vms" && c.Verb == string(api.Deleted) && c.Account == api.DefaultAccount && c.Key == vm && c.Actor == operator.ID
	}) {
		t.Errorf("no change tells that the VM of account default is gone")
	}
}

// anyRows is a table as tests of all tables see it.
type anyRows interface {
	anyTable
	rowType() reflect.Type
	tellsAccount() bool
}

func (t *table[T]) rowType() reflect.Type { return reflect.TypeFor[T]() }
func (t *table[T]) tellsAccount() bool    { return t.account != nil }

// TestAccountsAreTold: a table whose rows belong to accounts says to which.
func TestAccountsAreTold(t *testing.T) {
	for _, table := range tables {
		rows := table.(anyRows)
		if _, has := rows.rowType().FieldByName("Account"); has != rows.tellsAccount() {
			t.Errorf("table %s: its rows have an account: %v; it tells which: %v", table.label(), has, rows.tellsAccount())
		}
	}
}

func applyAll(m *Machine, log []entry) {
	for _, e := range log {
		m.ApplyAll(e.index, e.at, [][]byte{e.command})
	}
}

// TestSinkHearsEachEntryOnce: over a restart that applies the log anew, and over
// a snapshot that takes the place of a part of it.
func TestSinkHearsEachEntryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out, whole := newScribe(3), &stream{}, &stream{}
		var log []entry
		for range 200 {
			log = append(log, s.next(t))
		}
		m := New()
		m.KeepChanges(0)
		applyAll(m, log[:150])
		whole.drain(m)
		serve := func(work func(m *Machine)) {
			t.Helper()
			m := New()
			m.KeepChanges(out.end)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- m.WriteChanges(ctx, out) }()
			work(m)
			synctest.Wait()
			if out.end != m.Index() {
				t.Errorf("after entry %d the sink was told up to %d", m.Index(), out.end)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		serve(func(m *Machine) { applyAll(m, log[:80]) })
		serve(func(m *Machine) { applyAll(m, log[:120]) }) // all of it again, and more
		serve(func(installed *Machine) {
			restoreFrom(t, m, installed)
			applyAll(installed, log[150:])
		})
		if want := fmt.Sprintf("[to %d skip %d to %d]", log[119].index, log[149].index, log[199].index); fmt.Sprint(out.calls) != want {
			t.Errorf("the sink was told %v, want %s", out.calls, want)
		}
		applyAll(m, log[150:])
		whole.drain(m)
		gap := snapshot.Range{From: log[119].index + 1, To: log[149].index}
		want := slices.DeleteFunc(whole.changes, func(c snapshot.Change) bool { return gap.From <= c.Index && c.Index <= gap.To })
		sameChanges(t, "over restarts", out.changes, want)
	})
}

// TestOlderSnapshotIsNoStepBack: what a leader sends that is older than the state changes nothing.
func TestOlderSnapshotIsNoStepBack(t *testing.T) {
	s, older, m, out := newScribe(4), New(), New(), &stream{}
	var log []entry
	for range 60 {
		log = append(log, s.next(t))
	}
	m.KeepChanges(0)
	applyAll(older, log[:40])
	applyAll(m, log)
	index, hash := m.Index(), m.Read().Hash()
	restoreFrom(t, older, m)
	if m.Index() != index || m.Read().Hash() != hash {
		t.Errorf("after a snapshot of entry %d the state is of entry %d, and was of %d", older.Index(), m.Index(), index)
	}
	out.drain(m)
	for k := 1; k < len(out.changes); k++ {
		if a, b := out.changes[k-1], out.changes[k]; b.Index < a.Index || b.Index == a.Index && b.N <= a.N {
			t.Fatalf("change %d of entry %d follows %d of %d", b.N, b.Index, a.N, a.Index)
		}
	}
}

// TestPersistWaitsForChanges: raft must not drop the entries of changes that are not durable.
func TestPersistWaitsForChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, "a", "b")
		l.m.KeepChanges(0)
		l.create("one", "a")
		frozen, err := l.m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sink := &flushed{}
		ctx, cancel := context.WithCancel(t.Context())
		go l.m.WriteChanges(ctx, sink)
		persisted := make(chan error, 2)
		persist := func() { persisted <- frozen.Persist(nowhere{}) }
		waits := func(why string) {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-persisted:
				t.Fatalf("%s: Persist returned %v", why, err)
			default:
			}
		}
		go persist()
		waits("nothing is durable")
		if sink.end != l.m.Index() || sink.at != sink.end {
			t.Errorf("the sink has heard of entry %d and was asked to flush at %d, want both to be %d", sink.end, sink.at, l.m.Index())
		}
		l.m.ChangesDurable(l.m.Index() - 1)
		waits("the last entry is not durable")
		l.m.ChangesDurable(l.m.Index())
		if err := <-persisted; err != nil {
			t.Errorf("all is durable: %v", err)
		}
		go persist()
		if err := <-persisted; err != nil {
			t.Errorf("all was durable: %v", err)
		}

		l.create("two", "a")
		frozen, _ = l.m.Snapshot()
		go persist()
		waits("the second is not durable")
		cancel()
		if err := <-persisted; err == nil {
			t.Error("nobody writes any more, and Persist succeeded")
		}
	})
}

// flushed is a stream that was flushed up to an index.
type flushed struct {
	stream
	at uint64
}

func (f *flushed) Flush() error {
	f.at = f.end
	return nil
}

// nowhere takes a snapshot and forgets it.
type nowhere struct{ raft.SnapshotSink }

func (nowhere) Fill(snapshot.Content) error { return nil }

// TestApplyWaitsForTheSink: what waits has a bound, and when nobody takes it any
// more apply goes on.
func TestApplyWaitsForTheSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, "a")
		l.m.KeepChanges(l.index)
		l.m.changes.limit = 20 * changedRowBytes
		sink := &gated{open: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		go l.m.WriteChanges(ctx, sink)
		synctest.Wait() // before it has begun nobody takes changes, and apply waits for nobody
		applied := 0
		go func() {
			for range 100 {
				l.must(ActorOfPeer("a"), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Level: uint64(l.index)})
				applied++
			}
		}()
		synctest.Wait()
		first := applied
		if first == 0 || first > 20 {
			t.Fatalf("%d entries were applied before the sink took one", first)
		}
		sink.open <- struct{}{}
		synctest.Wait()
		if applied <= first || applied > first+20 {
			t.Errorf("after the sink took what it was given %d entries were applied, before it %d", applied, first)
		}
		cancel()
		synctest.Wait()
		if applied != 100 {
			t.Errorf("nobody takes changes any more, and apply stands at %d of 100", applied)
		}
		close(sink.open)
	})
}

// gated is a sink that takes something whenever somebody lets it.
type gated struct {
	stream
	open chan struct{}
}

func (g *gated) Append(to uint64, changes []snapshot.Change) error {
	<-g.open
	return g.stream.Append(to, changes)
}

// TestFailingSinkLeavesGaps: what the sink does not take is lost, said once, and
// the changes behind it are there again.
func TestFailingSinkLeavesGaps(t *testing.T) {
	l := newLog(t, "a")
	l.m.KeepChanges(l.index)
	var lost []uint64
	l.m.OnLostChanges(func(to uint64, err error) {
		if !errors.Is(err, errFull) {
			t.Errorf("lost because of %v", err)
		}
		lost = append(lost, to)
	})
	sink := &failing{}
	w := changeWriter{sink: sink, lost: l.m.changes.lost}
	update := func(appends, skips bool) uint64 {
		sink.appends, sink.skips = appends, skips
		l.must(ActorOfPeer("a"), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Level: uint64(l.index)})
		b, _ := l.m.changes.take()
		w.write(b)
		l.m.changes.done(b)
		return l.index
	}
	first := update(true, true)
	second := update(false, true)
	update(false, true)
	fourth := update(false, false) // it cannot even skip
	fifth := update(true, false)
	sixth := update(true, true)
	last := update(false, true)
	if want := fmt.Sprintf("[to %d skip %d to %d skip %d]", first, fifth, sixth, last); fmt.Sprint(sink.calls) != want {
		t.Errorf("the sink was told %v, want %s (entry %d was the one that could not be skipped)", sink.calls, want, fourth)
	}
	if !slices.Equal(lost, []uint64{second, last}) {
		t.Errorf("lost changes were reported at %v, want at %d and %d", lost, second, last)
	}
	if l.m.changes.bytes != 0 {
		t.Errorf("%d bytes are said to wait, and nothing does", l.m.changes.bytes)
	}
}

var errFull = errors.New("the disk is full")

// failing is a sink that takes only what it is set to.
type failing struct {
	stream
	appends, skips bool
}

func (f *failing) Append(to uint64, changes []snapshot.Change) error {
	if !f.appends {
		return errFull
	}
	return f.stream.Append(to, changes)
}

func (f *failing) Skip(to uint64) error {
	if !f.skips {
		return errFull
	}
	return f.stream.Skip(to)
}

// TestNobodyTakesChanges: a machine whose changes nobody writes goes on, within bounds.
func TestNobodyTakesChanges(t *testing.T) {
	l, out, lost := newLog(t, "a"), &stream{}, 0
	from := l.index
	l.m.OnLostChanges(func(uint64, error) { lost++ })
	l.m.KeepChanges(from)
	l.m.changes.limit = 20 * changedRowBytes
	for range 95 {
		l.must(ActorOfPeer("a"), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Level: uint64(l.index)})
		if l.m.changes.bytes > l.m.changes.limit || len(l.m.changes.waiting) > 20 {
			t.Fatalf("%d bytes in %d entries wait", l.m.changes.bytes, len(l.m.changes.waiting))
		}
	}
	out.drain(l.m)
	if lost == 0 || len(out.calls) != 2 || out.end != l.index || len(out.changes) == 0 {
		t.Errorf("%d times changes were given up; then the sink was told %v with %d changes", lost, out.calls, len(out.changes))
	}
	k := slices.IndexFunc(out.changes, func(c snapshot.Change) bool { return c.Index <= from })
	if k >= 0 {
		t.Errorf("entry %d was kept before", out.changes[k].Index)
	}
}
