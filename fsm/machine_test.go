package fsm

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// log is a machine with a log of its own, for stories told command by command.
type log struct {
	t     testing.TB
	m     *Machine
	index uint64
	at    time.Time
}

// newLog is a cluster of peers a, b, ... with 4 vcpus, 4096 MiB and 40 GiB each.
func newLog(t testing.TB, names ...string) *log {
	t.Helper()
	l := &log{t: t, m: New(), at: epoch0}
	l.must(ActorOfPeer(names[0]), initCluster, clusterInit{
		Peer: testPeer(names[0]), Settings: map[string]string{SettingCluster: "c"}, Keys: map[string]map[string][]byte{KeyCA: {names[0]: {1}}},
	})
	for _, name := range names[1:] {
		l.must(admin, createToken, tokenCreate{ID: "t" + name, Hash: hashSecret("s"), Role: api.RolePeer, TTL: time.Hour, Uses: 1})
		l.must(api.Actor{Role: api.RolePeer}, joinPeer, peerJoin{Token: "t" + name, Hash: hashSecret("s"), Peer: testPeer(name), Wrapped: map[string][]byte{KeyCA: {2}}})
	}
	return l
}

func testPeer(name string) api.Peer {
	return api.Peer{ID: name, Name: name, Driver: api.DriverSim, PublicKey: []byte(name), Capacity: api.Resources{VCPUs: 4, MemoryMiB: 4096, DiskGiB: 40}}
}

func (l *log) send(actor api.Actor, typ Type, body any, once ...*api.OnceKey) Result {
	l.t.Helper()
	m := Meta{Type: typ, V: 1, ID: uuid.NewString(), Actor: actor}
	if len(once) > 0 {
		m.Once = once[0]
	}
	command, err := encode(m, body)
	if err != nil {
		l.t.Fatalf("encode: %v", err)
	}
	l.index++
	l.at = l.at.Add(time.Millisecond)
	return l.m.Apply(l.index, 0, l.at, command).(Result)
}

func (l *log) must(actor api.Actor, typ Type, body any) Result {
	l.t.Helper()
	r := l.send(actor, typ, body)
	if r.Err != nil {
		l.t.Fatalf("command %d: %v", typ, r.Err)
	}
	return r
}

// refused expects an error of that kind, and nothing changed but the note of it.
func (l *log) refused(want api.Kind, actor api.Actor, typ Type, body any) *api.Error {
	l.t.Helper()
	before := l.counts()
	r := l.send(actor, typ, body)
	if r.Err == nil || r.Err.Kind != want {
		l.t.Fatalf("command %d: got %v, want %s", typ, r.Err, want.Code())
	}
	if after := l.counts(); after != before {
		l.t.Errorf("command %d was refused and yet the tables went from %s to %s", typ, before, after)
	}
	return r.Err
}

func (l *log) counts() string {
	var b strings.Builder
	for _, t := range tables {
		if t != anyTable(requests) {
			fmt.Fprintf(&b, "%s=%d ", t.label(), t.size(l.m.published.Load()))
		}
	}
	return b.String()
}

func (l *log) create(name string, candidates ...string) api.VM {
	l.t.Helper()
	r := l.must(operator, createVM, vmCreate{VM: small(name), Candidates: candidates})
	return *r.Object.(*api.VM)
}

func small(name string) api.VMCreate {
	return api.VMCreate{Name: name, Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 1024}}
}

func (l *log) vm(id string) api.VM {
	l.t.Helper()
	vm, ok := l.m.Read().VM(id)
	if !ok {
		l.t.Fatalf("no VM %s", id)
	}
	return vm
}

func (l *log) op(id string) api.Operation {
	l.t.Helper()
	op, ok := l.m.Read().Operation(id)
	if !ok {
		l.t.Fatalf("no operation %q", id)
	}
	return op
}

func TestCreatePicksTheFirstCandidateThatFits(t *testing.T) {
	l := newLog(t, "a", "b", "c")
	for i := range 4 {
		if vm := l.create(fmt.Sprintf("vm%d", i), "b", "a"); vm.Status.Owner != "b" || vm.Status.Epoch != 1 {
			t.Fatalf("VM %d went to %s at epoch %d, want b at 1", i, vm.Status.Owner, vm.Status.Epoch)
		}
	}
	vm := l.create("vm4", "b", "a")
	if vm.Status.Owner != "a" {
		t.Fatalf("with b full the VM went to %s, want a", vm.Status.Owner)
	}
	want := []api.HostPart{
		{Peer: "a", Status: api.Assigned},
		{Peer: "b", Status: api.NotApplicable, Reason: "needs 1 vcpus, 0 free; needs 1024 MiB of memory, 0 free"},
		{Peer: "c", Status: api.NotApplicable, Reason: "it was no candidate when the request was made"},
	}
	if got := l.op(vm.Status.Operation).Hosts; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("hosts of the operation:\n got %v\nwant %v", got, want)
	}
}

func TestNoCapacityStoresNothing(t *testing.T) {
	l := newLog(t, "a")
	l.must(ActorOfPeer("a"), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Capacity: api.Resources{VCPUs: 1, MemoryMiB: 4096}})
	first := l.create("one", "a")
	e := l.refused(api.NoCapacity, operator, createVM, vmCreate{VM: small("two"), Candidates: []string{"a"}})
	if len(e.Hosts) != 1 || e.Hosts[0].Status != api.NotApplicable || !strings.Contains(e.Hosts[0].Reason, "vcpus") {
		t.Errorf("reasons host by host: %v", e.Hosts)
	}
	l.must(ActorOfPeer("a"), updatePeer, api.PeerUpdate{Driver: api.DriverSim, Capacity: api.Resources{VCPUs: 9, MemoryMiB: 512}})
	e = l.refused(api.NoCapacity, operator, createVM, vmCreate{VM: small("two"), Candidates: []string{"a"}})
	if !strings.Contains(e.Hosts[0].Reason, "overcommitted by 512 MiB") {
		t.Errorf("a host that shrank: %v", e.Hosts)
	}
	l.must(operator, actOnVM, vmAction{ID: first.ID, Verb: kindDelete})
	if reserved, n := l.m.Read().Reserved("a"); n != 0 || reserved != (api.Resources{}) {
		t.Errorf("after the delete %v is reserved by %d VMs", reserved, n)
	}
}

func TestCreateRefuses(t *testing.T) {
	l := newLog(t, "a")
	l.create("taken", "a")
	spec := small("x").Spec
	for _, c := range []struct {
		name    string
		kind    api.Kind
		pointer string
		actor   api.Actor
		vm      api.VMCreate
	}{
		{"name taken", api.Conflict, "", operator, small("taken")},
		{"viewer", api.Forbidden, "", viewer, small("x")},
		{"upper case", api.Invalid, "/name", operator, small("X")},
		{"a UUID", api.Invalid, "/name", operator, small("01234567-0123-4123-8123-0123456789ab")},
		{"no such account", api.Invalid, "/account", admin, api.VMCreate{Name: "x", Account: "nobody", Spec: spec}},
		{"another's account", api.Forbidden, "", api.Actor{ID: "token:o", Role: api.RoleOperator, Account: "other"}, api.VMCreate{Name: "x", Account: "default", Spec: spec}},
		{"no vcpus", api.Invalid, "/spec/vcpus", operator, api.VMCreate{Name: "x", Spec: api.VMSpec{MemoryMiB: 64}}},
		{"negative disk", api.Invalid, "/spec/disk_gib", operator, api.VMCreate{Name: "x", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64, DiskGiB: -1}}},
		{"huge memory", api.Invalid, "/spec/memory_mib", operator, api.VMCreate{Name: "x", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 1<<63 - 1}}},
		{"no such image", api.Invalid, "/spec/image", operator, api.VMCreate{Name: "x", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64, Image: "none"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := l.refused(c.kind, c.actor, createVM, vmCreate{VM: c.vm, Candidates: []string{"a"}})
			if c.pointer != "" && (len(e.Fields) != 1 || e.Fields[0].Pointer != c.pointer) {
				t.Errorf("points at %v, want %s", e.Fields, c.pointer)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	l := newLog(t, "a")
	key := &api.OnceKey{Key: "token:op POST /v1/vms k1", Body: []byte{1}}
	create := func(name string, once *api.OnceKey) Result {
		return l.send(operator, createVM, vmCreate{VM: small(name), Candidates: []string{"a"}}, once)
	}
	first := create("one", key)
	again := create("one", key)
	if first.Err != nil || again.Err != nil || !again.Replayed || again.Key != first.Key {
		t.Fatalf("the same key twice: %+v, then %+v", first, again)
	}
	if other := create("one", &api.OnceKey{Key: key.Key, Body: []byte{2}}); other.Err == nil || other.Err.Kind != api.Mismatch {
		t.Errorf("the same key with another body: %+v", other)
	}
	taken := &api.OnceKey{Key: "token:op POST /v1/vms k2", Body: []byte{1}}
	create("one", taken)
	l.must(operator, actOnVM, vmAction{ID: first.Key, Verb: kindDelete})
	if r := create("one", taken); r.Err == nil || r.Err.Kind != api.Conflict {
		t.Errorf("a refusal is remembered like an answer: got %+v", r)
	}
	if gone := create("one", key); !gone.Replayed || gone.Object != nil || gone.Key != first.Key {
		t.Errorf("a replay after the delete: %+v, want the id alone", gone)
	}
	l.at = l.at.Add(keyLife + time.Second)
	if fresh := create("one", key); fresh.Err != nil || fresh.Replayed {
		t.Errorf("after 24 h the key is new: %+v", fresh)
	}
	full := &api.OnceKey{Key: "token:op POST /v1/vms k3", Body: []byte{3}}
	create("a1", nil)
	create("a2", nil)
	create("a3", nil)
	if r := create("five", full); r.Err == nil || r.Err.Kind != api.NoCapacity {
		t.Fatalf("full: %+v", r)
	}
	vm, _ := l.m.Read().VMNamed("default", "a1")
	l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	if r := create("five", full); r.Err != nil || r.Replayed {
		t.Errorf("507 is not remembered: %+v", r)
	}
}

func TestBeginThenReportThenBury(t *testing.T) {
	l := newLog(t, "a", "b")
	vm := l.create("one", "a")
	a, b := ActorOfPeer("a"), ActorOfPeer("b")
	l.refused(api.Conflict, a, reportVM, api.VMReport{VM: vm.ID, Epoch: 1, State: api.VMRunning})
	l.refused(api.Conflict, b, beginVM, vmEpoch{vm.ID, 1})
	l.refused(api.Conflict, a, beginVM, vmEpoch{vm.ID, 2})
	l.refused(api.Forbidden, operator, beginVM, vmEpoch{vm.ID, 1})
	l.must(a, beginVM, vmEpoch{vm.ID, 1})
	l.must(a, beginVM, vmEpoch{vm.ID, 1})
	l.must(a, reportVM, api.VMReport{VM: vm.ID, Epoch: 1, State: api.VMRunning, Steps: []api.OpStep{{Name: "define", TookMs: 7}}})
	if op := l.op(vm.Status.Operation); op.State != api.OpSucceeded || len(op.Steps) != 1 || op.FinishedAt.IsZero() {
		t.Errorf("the create's operation: %+v", op)
	}
	l.refused(api.Conflict, b, reassignVM, vmReassign{VM: vm.ID, Epoch: 1, Candidates: []string{"b"}})

	del := l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	again := l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	if del.Key != again.Key {
		t.Errorf("a second delete gives operation %s, want %s", again.Key, del.Key)
	}
	if _, n := l.m.Read().Reserved("a"); n != 1 {
		t.Error("the reservation was freed before the owner confirmed")
	}
	l.refused(api.Conflict, operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActStart})
	l.must(a, buryVM, vmEpoch{vm.ID, 1})
	l.must(a, buryVM, vmEpoch{vm.ID, 1})
	if op := l.op(del.Key); op.State != api.OpSucceeded {
		t.Errorf("the delete's operation: %+v", op)
	}
	if epoch, gone := l.m.Read().Buried(vm.ID); !gone || epoch != 1 {
		t.Errorf("tombstone: epoch %d, %v", epoch, gone)
	}
	l.refused(api.NotFound, operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	l.create("one", "a")
}

func TestReassignUntilBegun(t *testing.T) {
	l := newLog(t, "a", "b")
	vm := l.create("one", "a")
	l.must(ActorOfPeer("b"), reassignVM, vmReassign{VM: vm.ID, Epoch: 1, Candidates: []string{"a", "b"}})
	if got := l.vm(vm.ID); got.Status.Owner != "b" || got.Status.Epoch != 2 {
		t.Fatalf("reassigned to %s at epoch %d, want b at 2", got.Status.Owner, got.Status.Epoch)
	}
	l.refused(api.Conflict, ActorOfPeer("a"), beginVM, vmEpoch{vm.ID, 1})
	if _, n := l.m.Read().Reserved("a"); n != 0 {
		t.Error("the old owner keeps a reservation")
	}
	l.refused(api.Conflict, ActorOfPeer("b"), reassignVM, vmReassign{VM: vm.ID, Epoch: 1, Candidates: []string{"a"}})
}

func TestDoubles(t *testing.T) {
	l := newLog(t, "a", "b")
	vm := l.create("one", "a")
	b := ActorOfPeer("b")
	l.must(b, sawDomain, api.Sighting{VM: vm.ID, Epoch: 1})
	if got := l.vm(vm.ID).Status.Doubles; len(got) != 1 || got[0] != "b" {
		t.Fatalf("doubles: %v, want [b]", got)
	}
	l.must(b, sawDomain, api.Sighting{VM: vm.ID, Epoch: 1, Gone: true})
	l.must(ActorOfPeer("b"), reassignVM, vmReassign{VM: vm.ID, Epoch: 1, Candidates: []string{"b"}})
	l.must(ActorOfPeer("a"), sawDomain, api.Sighting{VM: vm.ID, Epoch: 1})
	if got := l.vm(vm.ID).Status.Doubles; len(got) != 0 {
		t.Errorf("a domain of an older epoch is no double: %v", got)
	}
	l.must(b, sawDomain, api.Sighting{VM: "nobody", Epoch: 3})
	strays := 0
	for host, s := range l.m.Read().Sightings() {
		if host == "b" && s.VM == "nobody" {
			strays++
		}
	}
	if strays != 1 {
		t.Errorf("the stray is listed %d times", strays)
	}
}

func TestJoinTokens(t *testing.T) {
	l := newLog(t, "a", "b")
	newcomer := api.Actor{Role: api.RolePeer}
	join := func(token, secret, name string) Result {
		return l.send(newcomer, joinPeer, peerJoin{Token: token, Hash: hashSecret(secret), Peer: testPeer(name), Wrapped: map[string][]byte{KeyCA: {9}}})
	}
	expect := func(what string, r Result, kind api.Kind) {
		t.Helper()
		if r.Err == nil || r.Err.Kind != kind {
			t.Errorf("%s: got %v, want %s", what, r.Err, kind.Code())
		}
	}
	if again := join("tb", "s", "b"); again.Err != nil || again.Key != "b" {
		t.Errorf("the same newcomer asks again: %+v", again)
	}
	expect("another with a used token", join("tb", "s", "c"), api.Unauthenticated)
	expect("unknown token", join("tx", "s", "c"), api.Unauthenticated)
	l.must(admin, createToken, tokenCreate{ID: "tc", Hash: hashSecret("s"), Role: api.RolePeer, TTL: time.Hour, Uses: 1})
	expect("wrong secret", join("tc", "S", "c"), api.Unauthenticated)
	expect("name taken", l.send(newcomer, joinPeer, peerJoin{Token: "tc", Hash: hashSecret("s"), Peer: api.Peer{ID: "new", Name: "b", PublicKey: []byte("new")}}), api.Conflict)
	l.must(admin, createToken, tokenCreate{ID: "tv", Hash: hashSecret("s"), Role: api.RoleViewer, TTL: time.Hour})
	expect("role viewer", join("tv", "s", "c"), api.Forbidden)
	l.at = l.at.Add(2 * time.Hour)
	expect("expired", join("tc", "s", "c"), api.Unauthenticated)
	if w, ok := l.m.Read().WrappedKey(KeyCA, "b"); !ok || w[0] != 2 {
		t.Errorf("b's wrapped key: %v", w)
	}
	vm := l.create("one", "b")
	l.refused(api.Conflict, admin, removePeer, peerRemove{"b"})
	l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	l.must(admin, removePeer, peerRemove{"b"})
	if _, ok := l.m.Read().WrappedKey(KeyCA, "b"); ok {
		t.Error("who left still has a wrapped key")
	}
	l.must(admin, createToken, tokenCreate{ID: "td", Hash: hashSecret("s"), Role: api.RolePeer, TTL: time.Hour, Uses: 2})
	expect("an id that left", join("td", "s", "b"), api.Conflict)
}

func TestTokenActor(t *testing.T) {
	l := newLog(t, "a")
	l.must(admin, createToken, tokenCreate{ID: "abc", Hash: hashSecret("xyz"), Role: api.RoleOperator, TTL: time.Hour})
	r := l.m.Read()
	if a, ok := r.TokenActor("orchd_abc_xyz", l.at); !ok || a.Role != api.RoleOperator || a.ID != "token:abc" {
		t.Errorf("got %v, %v", a, ok)
	}
	for _, bad := range []string{"", "orchd_", "orchd_abc", "orchd_abc_", "orchd_abc_xyZ", "abc_xyz", "orchd__xyz", "orchd_other_xyz"} {
		if _, ok := r.TokenActor(bad, l.at); ok {
			t.Errorf("%q was let in", bad)
		}
	}
	if _, ok := r.TokenActor("orchd_abc_xyz", l.at.Add(2*time.Hour)); ok {
		t.Error("an expired token was let in")
	}
}

func TestApplyStopsAtWhatItCannotRead(t *testing.T) {
	good, err := encode(Meta{Type: mark, V: 1, ID: "m", Actor: admin}, stateMark{})
	if err != nil {
		t.Fatal(err)
	}
	unknown, _ := encoding.Marshal(envelope{Meta{Type: 999, V: 1, ID: "m"}, []byte{0xa0}})
	newer, _ := encoding.Marshal(envelope{Meta{Type: createVM, V: 9, ID: "m"}, []byte{0xa0}})
	body, _ := encoding.Marshal(envelope{Meta{Type: createVM, V: 1, ID: "m"}, []byte{0x01}})
	for name, command := range map[string][]byte{"empty": {}, "cut": good[:len(good)-1], "unknown type": unknown, "newer version": newer, "wrong body": body} {
		m := New()
		stopped := func() (stopped bool) {
			defer func() { stopped = recover() != nil }()
			m.Apply(1, 0, epoch0, command)
			return
		}()
		if !stopped {
			t.Errorf("%s: applied", name)
		}
		if m.Index() != 0 {
			t.Errorf("%s: the index moved to %d", name, m.Index())
		}
	}
	if _, err := encode(Meta{Type: createVM, V: 1, ID: "m"}, vmCreate{VM: api.VMCreate{Name: "\xff"}}); err == nil {
		t.Error("a command with invalid UTF-8 was encoded")
	}
}

func TestSweep(t *testing.T) {
	l := newLog(t, "a")
	vm := l.create("one", "a")
	l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	l.send(admin, createToken, tokenCreate{ID: "t", Hash: hashSecret("s"), Role: api.RoleViewer, TTL: time.Hour}, &api.OnceKey{Key: "uid:0 POST /v1/tokens k", Body: []byte{1}})
	if l.m.Read().SweepDue() {
		t.Error("a sweep is due already")
	}
	l.at = l.at.Add(8 * 24 * time.Hour)
	l.must(admin, createToken, tokenCreate{ID: "u", Hash: hashSecret("s"), Role: api.RoleViewer, TTL: time.Hour}) // time goes on with entries
	if !l.m.Read().SweepDue() {
		t.Fatal("no sweep is due after 8 days")
	}
	l.must(ActorOfPeer("a"), sweep, clusterSweep{})
	r := l.m.Read()
	if r.SweepDue() {
		t.Error("a sweep is due right after one")
	}
	if _, ok := r.Operation(vm.Status.Operation); ok {
		t.Error("an operation of 8 days ago is still there")
	}
	if _, gone := r.Buried(vm.ID); gone {
		t.Error("a tombstone of 8 days ago is still there")
	}
	l.refused(api.Forbidden, admin, sweep, clusterSweep{})
}

func TestCommandsAreForgottenOldestFirst(t *testing.T) {
	l := newLog(t, "a")
	for range 20 {
		l.must(admin, mark, stateMark{})
	}
	tx := newTxn(l.m.published.Load(), l.index, l.at)
	before, _ := tx.state.sums.keys.Get("")
	tx.state.sums.keys.Set("", keptCommands+5)
	forgetOldCommands(tx)
	tx.state.sums.keys.Set("", before-5)
	if got := requests.index(tx.state, "command").len(); got != before-5 {
		t.Errorf("%d commands are remembered, want %d", got, before-5)
	}
	requests.index(tx.state, "command").ascend("", func(_ string, q *request) bool {
		if q.Index != 6 {
			t.Errorf("the oldest command remembered is of index %d, want 6", q.Index)
		}
		return false
	})
}

// TestRaftSnapshotWaitsForMarks: raft drops a mark's entry once its own snapshot
// is there, so the mark must be on disk first.
func TestRaftSnapshotWaitsForMarks(t *testing.T) {
	l := newLog(t, "a")
	l.must(admin, mark, stateMark{})
	frozen, err := l.m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink := &order{}
	persisted := make(chan error, 1)
	go func() { persisted <- frozen.Persist(sink) }()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		l.m.WriteMarks(ctx, func(k *Mark) {
			if k.Index != l.index || k.Content().StateHash != l.m.Read().Hash() {
				t.Errorf("the mark is of index %d, want %d", k.Index, l.index)
			}
			<-k.Hurry() // it would wait for its turn otherwise
			sink.note("mark")
		})
	}()
	if err := <-persisted; err != nil {
		t.Fatal(err)
	}
	stop()
	if got := sink.String(); got != "mark snapshot" {
		t.Errorf("written: %q", got)
	}
}

// order is a sink that notes what was written when.
type order struct {
	raft.SnapshotSink
	mu    sync.Mutex
	words []string
}

func (o *order) note(word string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.words = append(o.words, word)
}

func (o *order) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.words, " ")
}

func (o *order) Fill(snapshot.Content) error {
	o.note("snapshot")
	return nil
}

// TestRemovedPeerTakesItsSightingsAlong: it could never withdraw them.
func TestRemovedPeerTakesItsSightingsAlong(t *testing.T) {
	l := newLog(t, "a", "b")
	vm := l.create("one", "a")
	l.must(ActorOfPeer("b"), sawDomain, api.Sighting{VM: vm.ID, Epoch: 1})
	l.must(admin, removePeer, peerRemove{"b"})
	if got := l.vm(vm.ID).Status.Doubles; len(got) != 0 {
		t.Errorf("doubles: %v, want none", got)
	}
	l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	l.refused(api.Conflict, admin, removePeer, peerRemove{"a"}) // the last one
}

// TestResendIsNoReplay: a command that a peer sends again after an election is
// answered as the first time.
func TestResendIsNoReplay(t *testing.T) {
	l := newLog(t, "a")
	m := Meta{Type: createToken, V: 1, ID: uuid.NewString(), Actor: admin}
	command, err := encode(m, tokenCreate{ID: "t", Hash: hashSecret("s"), Role: api.RoleViewer, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	first := l.m.Apply(100, 0, l.at, command).(Result)
	again := l.m.Apply(101, 0, l.at, command).(Result)
	if again.Replayed || again.Err != nil || again.Key != first.Key || again.Object == nil {
		t.Errorf("sent again: %+v, the first time %+v", again, first)
	}
}

// TestLateReportLeavesADeleteAlone: only the burial ends it.
func TestLateReportLeavesADeleteAlone(t *testing.T) {
	l := newLog(t, "a")
	vm := l.create("one", "a")
	a := ActorOfPeer("a")
	l.must(a, beginVM, vmEpoch{vm.ID, 1})
	del := l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	l.must(a, reportVM, api.VMReport{VM: vm.ID, Epoch: 1, State: api.VMFailed, Reason: "no disk"})
	if op := l.op(del.Key); op.State.Done() {
		t.Errorf("a late report ended the delete as %s: %s", op.State, op.Error)
	}
	l.must(a, buryVM, vmEpoch{vm.ID, 1})
	if op := l.op(del.Key); op.State != api.OpSucceeded {
		t.Errorf("the delete ended as %s", op.State)
	}
}

// TestStartDuringAStop: the state is still running, but on its way elsewhere.
func TestStartDuringAStop(t *testing.T) {
	l := newLog(t, "a")
	vm := l.create("one", "a")
	a := ActorOfPeer("a")
	l.must(a, beginVM, vmEpoch{vm.ID, 1})
	l.must(a, reportVM, api.VMReport{VM: vm.ID, Epoch: 1, State: api.VMRunning})
	stop := l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActStop})
	start := l.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActStart})
	if op := l.op(stop.Key); op.State != api.OpCancelled {
		t.Errorf("the stop is %s, want it superseded", op.State)
	}
	if op := l.op(start.Key); op.State.Done() {
		t.Errorf("the start ended as %s while the guest may still stop", op.State)
	}
	l.must(a, reportVM, api.VMReport{VM: vm.ID, Epoch: 1, State: api.VMRunning})
	if op := l.op(start.Key); op.State != api.OpSucceeded {
		t.Errorf("after the owner's word the start is %s", op.State)
	}
}

func TestClipped(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"short ü":                       "short ü",
		strings.Repeat("a", 2048):       strings.Repeat("a", 2048),
		strings.Repeat("a", 2047) + "ü": strings.Repeat("a", 2047) + "...",
	} {
		if got := clipped(text); got != want {
			t.Errorf("%.20s: got %d bytes, want %d", text, len(got), len(want))
		}
	}
}

// What a write made of an object is told again with its version of then: by its client's
// key, and to the peer that sends its command again.
func TestAnswersKeepTheVersionThatTheyMade(t *testing.T) {
	l := &log{t: t, m: New(), at: epoch0}
	l.must(ActorOfPeer("a"), initCluster, clusterInit{Peer: testPeer("a"),
		Settings: map[string]string{SettingCluster: "c", SettingLevel: strconv.FormatUint(LevelVersions, 10)}, Keys: map[string]map[string][]byte{KeyCA: {"a": {1}}}})
	id := l.must(admin, createSize, api.SizeCreate{Name: "s", VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}).Key
	old := sizeUpdate{ID: id, Update: api.SizeUpdate{Deprecated: true}}
	key := &api.OnceKey{Key: "token:op PATCH /v1/sizes/s k1", Body: []byte{1}}
	command, err := encode(Meta{Type: updateSize, V: 1, ID: uuid.NewString(), Actor: admin, Once: key}, old)
	if err != nil {
		t.Fatal(err)
	}
	send := func() Result {
		l.index++
		return l.m.Apply(l.index, 0, l.at, command).(Result)
	}
	if first := send(); first.Err != nil || first.Version != 2 {
		t.Fatalf("the first change: %+v, want version 2", first)
	}
	if second := l.must(admin, updateSize, sizeUpdate{ID: id}); second.Version != 3 {
		t.Errorf("the second change made version %d", second.Version)
	}
	for what, again := range map[string]Result{"the same command": send(), "the same key": l.send(admin, updateSize, old, key)} {
		if size, _ := again.Object.(*api.Size); again.Err != nil || again.Version != 2 || size == nil || size.Version != 3 {
			t.Errorf("%s again: version %d with %+v, %v; want version 2 and the object as it is", what, again.Version, again.Object, again.Err)
		}
	}
}
