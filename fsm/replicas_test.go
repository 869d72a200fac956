package fsm

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
	"github.com/orchd/orchd/snapshot"
)

// TestReplicasAgree is the test that guards the house: one log, two machines,
// one of them through a snapshot half way. What they say of changes is the same,
// but for those that the snapshot stands for.
//
//race:out
func TestReplicasAgree(t *testing.T) {
	accepted := map[Type]int{}
	for seed := range uint64(120) {
		if seed >= 40 && len(seldom(accepted)) == 0 {
			break // what comes seldom has come often enough
		}
		s, b := newScribe(seed), New()
		s.m.KeepChanges(0)
		b.KeepChanges(0)
		var ours, before, behind stream
		var jumped uint64
		runs := counters{}
		for i := range 500 {
			e := s.next(t)
			want := s.m.Read()
			got := b.Apply(e.index, 0, e.at, e.command)
			if got.(Result).Err == nil {
				accepted[typeOf(t, e.command)]++
			}
			if i%7 == 0 {
				twice := b.Apply(e.index, 1, e.at, e.command).(Result)
				s.m.Apply(e.index, 1, e.at, e.command)
				if first := got.(Result); first.Err == nil && twice.Key != first.Key {
					t.Fatalf("seed %d, entry %d: sent twice, answered %q and then %q", seed, e.index, first.Key, twice.Key)
				}
				want = s.m.Read()
			}
			if i == 250 {
				before.drain(b)
				jumped = b.Index()
				b = throughSnapshot(t, b)
			}
			if want.Hash() != b.Read().Hash() {
				t.Fatalf("seed %d, entry %d: state hashes are %s and %s", seed, e.index, want.Hash(), b.Read().Hash())
			}
			ledgerHolds(t, seed, want)
			catalogueHolds(t, seed, want)
			guestsHold(t, seed, want)
			keysHold(t, seed, want)
			servicesHold(t, seed, want)
			runs.rise(t, seed, want)
		}
		ours.drain(s.m)
		behind.drain(b)
		sameChanges(t, fmt.Sprintf("seed %d", seed), append(before.changes, behind.changes...), ours.changes)
		if want := fmt.Sprintf("[skip %d to %d]", jumped, b.Index()); fmt.Sprint(behind.calls) != want {
			t.Errorf("seed %d: after the snapshot the sink is told %v, want %s", seed, behind.calls, want)
		}
		fleetHolds(t, seed, b.Read())
		catalogueHolds(t, seed, b.Read())
		servicesHold(t, seed, b.Read())
		compareStates(t, seed, s.m, b)
		if err := b.Verify(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	for _, typ := range seldom(accepted) {
		t.Errorf("of the commands of type %d only %d were accepted: the logs say little about them", typ, accepted[typ])
	}
}

// seldom are the types of command that were hardly ever accepted.
func seldom(accepted map[Type]int) (types []Type) {
	for k := range commands {
		if accepted[k.Type] < 3 && k.Type != commitStaged { // its random ones name chunks that are not there
			types = append(types, k.Type)
		}
	}
	return types
}

// TestEntriesAppliedWhole: the commands of an entry, applied in one step, give
// what they give one by one, those that are refused among them.
//
//race:out
func TestEntriesAppliedWhole(t *testing.T) {
	refused := 0
	for seed := range uint64(10) {
		s, b := newScribe(seed), New()
		s.m.KeepChanges(0)
		b.KeepChanges(0)
		var single, whole stream
		for range 60 {
			e := s.next(t)
			group := [][]byte{e.command}
			for n := 1 + s.rng.IntN(8); n > len(group); {
				command := s.command(t)
				if r := s.m.Apply(e.index, len(group), e.at, command).(Result); r.Err != nil {
					refused++
				}
				group = append(group, command)
			}
			b.ApplyAll(e.index, e.at, group)
			if one, whole := s.m.Read(), b.Read(); one.Hash() != whole.Hash() {
				compareStates(t, seed, s.m, b)
				t.Fatalf("seed %d, entry %d of %d commands: one by one the state hash is %s, as a whole %s", seed, e.index, len(group), one.Hash(), whole.Hash())
			}
			ledgerHolds(t, seed, b.Read())
		}
		single.drain(s.m)
		whole.drain(b)
		sameChanges(t, fmt.Sprintf("seed %d", seed), whole.changes, single.changes)
		fleetHolds(t, seed, b.Read())
		catalogueHolds(t, seed, b.Read())
		servicesHold(t, seed, b.Read())
		compareStates(t, seed, s.m, b)
		if err := b.Verify(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	if refused < 100 {
		t.Errorf("only %d commands were refused: nothing was undone", refused)
	}
}

func typeOf(t *testing.T, command []byte) Type {
	t.Helper()
	e, _, err := decode(command)
	if err != nil {
		t.Fatal(err)
	}
	return e.Type
}

// fleetHolds: a MAC has one holder among nodes and BMCs, an xname one node, a
// node at most one tenant, one partition and one group of an exclusive group, no
// node names a BMC that is not there, and the addresses in use are those of the rows.
func fleetHolds(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	macs, places, boards := map[string]string{}, map[string]string{}, map[string]string{}
	hold := func(what string, holders map[string]string, key, id string) {
		if other, taken := holders[key]; taken && key != "" {
			t.Errorf("seed %d: %s %s is held by %s and by %s", seed, what, key, other, id)
		}
		holders[key] = id
	}
	var used addresses
	for n := range computeNodes.each(r, "") {
		used.enter(n.addresses(), nil)
		hold("xname", places, xname.Canonical(n.XName), n.ID)
		for _, mac := range n.macs() {
			hold("MAC", macs, mac, n.ID)
		}
		if _, there := bmcs.one(r, n.BMC); n.BMC != "" && !there {
			t.Errorf("seed %d: node %s names BMC %s, which is not there", seed, n.ID, n.BMC)
		}
	}
	for b := range bmcs.each(r, "") {
		used.enter(b.addresses(), nil)
		hold("xname of a BMC", boards, xname.Canonical(b.XName), b.ID)
		hold("MAC", macs, inventory.MACKey(b.MAC), b.ID)
	}
	for e := range redfishEndpoints.each(r, "") {
		used.enter(e.addresses(), nil)
	}
	for i := range ethernetInterfaces.each(r, "") {
		used.enter(i.addresses(), nil)
	}
	for l := range leases.each(r, "") {
		if ip, ok := leasedIP(&l); ok {
			used.hold(ip)
		}
	}
	exclusive := map[string]string{}
	for c := range collections.each(r, "") {
		for _, x := range c.Nodes {
			if c.Type == inventory.Partition {
				hold("partition's node", exclusive, "partition "+xname.Canonical(x), c.Name)
			} else if c.ExclusiveGroup != "" {
				hold("exclusive node", exclusive, c.ExclusiveGroup+" "+xname.Canonical(x), c.Name)
			}
		}
	}
	got, want := r.state.sums.addresses, used
	if !slices.Equal(stretches(got), stretches(want)) {
		t.Errorf("seed %d: leased are said to be %v, the rows give %v", seed, stretches(got), stretches(want))
	}
	if !slices.Equal(got.v4.Keys(), want.v4.Keys()) || got.v6 != nil && want.v6 != nil && got.v6.Len() != want.v6.Len() {
		t.Errorf("seed %d: the addresses in use are not those of the rows", seed)
	}
	got.v4.Scan(func(addr uint32, n naming) bool {
		if expected, _ := want.v4.Get(addr); expected.rows != n.rows {
			t.Errorf("seed %d: %d rows are said to name address %x, %d do", seed, n.rows, addr, expected.rows)
		}
		if n.node != nil {
			if it, ok := computeNodes.in(r.state).rows.get(n.node.ID); !ok || &it.row != n.node {
				t.Errorf("seed %d: address %x is said to be of a row that is no more", seed, addr)
			}
		}
		return true
	})
}

// stretches are those of leased addresses.
func stretches(a addresses) []stretch {
	if a.leased == nil {
		return nil
	}
	return a.leased.Items()
}

// ledgerHolds: what is promised is what the VMs take, and no placement exceeds a
// host that has not shrunk below it.
func ledgerHolds(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	for p := range peers.each(r, "") {
		var sum api.Resources
		n := 0
		for vm := range r.VMsOn(p.ID) {
			sum = sum.Plus(vm.Spec.Resources())
			n++
		}
		if reserved, count := r.Reserved(p.ID); reserved != sum || count != n {
			t.Fatalf("seed %d, index %d: ledger of %s says %v in %d VMs, its VMs take %v in %d", seed, r.Index(), p.Name, reserved, count, sum, n)
		}
	}
}

// compareStates compares every row, index and sum of two machines.
func compareStates(t *testing.T, seed uint64, a, b *Machine) {
	t.Helper()
	if x, y := a.Read().Now(), b.Read().Now(); !x.Equal(y) {
		t.Errorf("seed %d: the cluster's time is %v and %v", seed, x, y)
	}
	for _, table := range tables {
		x, y := dump(t, table, a), dump(t, table, b)
		if !bytes.Equal(x, y) {
			t.Errorf("seed %d: table %s differs:\n%s\n%s", seed, table.label(), x, y)
		}
	}
	for _, m := range []*Machine{a, b} {
		for _, table := range tables {
			if err := table.(interface{ indexFault(*state) error }).indexFault(m.published.Load()); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			table.(interface {
				lineageHolds(*testing.T, uint64, *state)
			}).lineageHolds(t, seed, m.published.Load())
		}
	}
	for vm := range a.Read().VMs("") {
		if got, ok := b.Read().VMNamed(vm.Account, vm.Name); !ok || !reflect.DeepEqual(got, vm) {
			t.Errorf("seed %d: VM by name %s/%s: got %v, want %v", seed, vm.Account, vm.Name, got, vm)
		}
	}
}

func dump(t *testing.T, table anyTable, m *Machine) []byte {
	t.Helper()
	var b bytes.Buffer
	if content := table.content(m.published.Load()); content.Write == nil { // a large table: in parts
		return fmt.Appendf(nil, "%d rows of hash %s", table.size(m.published.Load()), table.rehash(m.published.Load()))
	}
	if _, err := table.content(m.published.Load()).Write(&b); err != nil {
		t.Fatalf("write %s: %v", table.label(), err)
	}
	return b.Bytes()
}

// throughSnapshot writes a machine as raft would and restores another from it.
func throughSnapshot(t *testing.T, m *Machine) *Machine {
	t.Helper()
	fresh := New()
	if m.changes.kept {
		fresh.KeepChanges(0)
	}
	restoreFrom(t, m, fresh)
	return fresh
}

// restoreFrom replaces the state of a machine by that of another.
func restoreFrom(t *testing.T, m, into *Machine) {
	t.Helper()
	store, err := snapshot.OpenStore(t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	sink, err := store.Create(1, m.Index(), 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range m.marks { // nobody writes them here
		close(k.written)
	}
	m.marks = nil
	m.ChangesDurable(m.Index())
	frozen, _ := m.Snapshot()
	if err := frozen.Persist(sink); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	_, r, err := store.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := into.Restore(io.NopCloser(r)); err != nil {
		t.Fatal(err)
	}
}

// indexFault compares the indexes of a table, and what is derived from it, with
// what its rows give anew.
func (t *table[T]) indexFault(s *state) error {
	is, want := t.in(s), t.empty().(*tree[T])
	for row := range t.rowsAfter(s, "") {
		t.enter(want, t.key(row), row)
	}
	for i, ix := range is.by {
		if got, expected := ix.keys(), want.by[i].keys(); !slices.Equal(got, expected) {
			return fmt.Errorf("index %s of %s has %q, its rows give %q", t.indexes[i].name, t.name, got, expected)
		}
	}
	return nil
}
