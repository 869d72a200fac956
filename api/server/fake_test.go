package server

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// fake is a Backend in memory. It does what it is asked at once, remembers
// Idempotency-Keys, and counts the calls that were to change something.
type fake struct {
	mu         sync.Mutex
	index      uint64
	vms        map[string]api.VM
	operations map[string]api.Operation
	images     map[string]api.Image
	tokens     map[string]api.Token
	peers      map[string]api.PeerView
	once       map[string]string // key to id of the object
	changed    chan struct{}

	writes []string   // calls that were to change something, in order
	who    api.Caller // of the last of them
	hold   bool       // operations do not finish by themselves
	age    int64      // of local reads and capacity
	fail   error      // what the next calls answer
	down   error      // what Ready says

	interfere int // so many updates come a moment after somebody else's

	fleet *fakeFleet // the inventory, where the parts below come from at first

	// The parts of the fleet; a test may bring others, and brings those of the
	// State Manager API.
	InventoryAccess
	InventoryWrites
	StateManagerWrites
	*fakeMemory
	*fakeGuests
	*fakeServices
	inventory InventoryView
	smd       StateManagerView
}

const (
	vmID    = "11111111-1111-4111-8111-111111111111"
	otherID = "22222222-2222-4222-8222-222222222222"
	peerID  = "33333333-3333-4333-8333-333333333333"
	imageID = "44444444-4444-4444-8444-444444444444"
	opID    = "55555555-5555-4555-8555-555555555555"
)

func newFake() *fake {
	f := &fake{index: 10, changed: make(chan struct{})}
	newFakeFleet(f)
	f.fakeMemory = newFakeMemory(f)
	f.fakeGuests = &fakeGuests{fake: f}
	f.fakeServices = &fakeServices{fake: f}
	f.fill()
	return f
}

// fill puts back what stands there at first.
func (f *fake) fill() {
	spec := api.VMSpec{VCPUs: 1, MemoryMiB: 64}
	f.once = map[string]string{}
	f.vms = map[string]api.VM{
		vmID:    {ID: vmID, Name: "web1", Account: "default", Spec: spec, Version: 3, Labels: map[string]string{"a": "1"}, Status: running()},
		otherID: {ID: otherID, Name: "db1", Account: "other", Spec: spec, Version: 1, Status: running()},
	}
	web := f.vms[vmID]
	web.Status.Addresses = []api.VMAddress{{IP: "10.1.0.2", MAC: "52:54:00:00:00:01", Network: "lan"}}
	web.Status.SSHHostKeys = []api.HostKey{{Type: "ssh-ed25519", Key: "AAAAC3", Fingerprint: "SHA256:z"}}
	f.vms[vmID] = web
	f.operations = map[string]api.Operation{opID: {ID: opID, Kind: "create", Mode: api.Asynchronous, Account: "default", State: api.OpRunning, Version: 1,
		Target: api.OpTarget{Kind: "vm", ID: vmID}}}
	f.images = imagesAtFirst()
	f.tokens = map[string]api.Token{"tok1": {ID: "tok1", Role: api.RoleViewer, Version: 1}}
	f.peers = map[string]api.PeerView{peerID: {Peer: api.Peer{ID: peerID, Name: "h1", Driver: api.DriverSim, State: api.PeerMember, PublicKey: []byte{1}, WrapKey: []byte{1},
		Ratios: api.Ratios{VCPUs: 100, Memory: 100, Disk: 100}, Version: 1}, Health: "alive"}}
	f.fleet.fillFleet()
	f.fillMemory()
	f.fillGuests()
	f.fillServices()
}

func running() api.VMStatus {
	return api.VMStatus{Owner: "h1", OwnerID: peerID, Epoch: 1, State: api.VMRunning, Desired: api.WantRunning}
}

// write notes a call that is to change something.
func (f *fake) write(ctx context.Context, what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.who = api.CallerOf(ctx)
	f.writes = append(f.writes, what)
	f.index++
	return f.fail
}

func (f *fake) wroteSince(n int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.writes[n:])
}

// replayed is the id that an earlier call with the same key made.
func (f *fake) replayed(ctx context.Context) (string, bool) {
	if k := api.CallerOf(ctx).Once; k != nil {
		id, ok := f.once[k.Key]
		return id, ok
	}
	return "", false
}

func (f *fake) remember(ctx context.Context, id string) {
	if k := api.CallerOf(ctx).Once; k != nil {
		f.once[k.Key] = id
	}
}

func (f *fake) finish(id string, state api.OpState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finishLocked(id, state)
}

func (f *fake) finishLocked(id string, state api.OpState) {
	op := f.operations[id]
	op.State = state
	op.Version++
	f.operations[id] = op
	f.index++
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) newOperation(kind, vm string) api.Operation {
	op := api.Operation{ID: fmt.Sprintf("66666666-6666-4666-8666-%012d", len(f.operations)), Kind: kind, Mode: api.Asynchronous, Account: "default",
		State: api.OpPending, Version: 1, Target: api.OpTarget{Kind: "vm", ID: vm}}
	f.operations[op.ID] = op
	if !f.hold {
		f.finishLocked(op.ID, api.OpSucceeded)
	}
	return op
}

// Authenticate takes "role" or "role@account" as a credential.
func (f *fake) Authenticate(_ context.Context, bearer string) (api.Actor, error) {
	role, account, _ := strings.Cut(bearer, "@")
	if !slices.Contains([]api.Role{api.RoleViewer, api.RoleController, api.RoleOperator, api.RoleAdmin, api.RolePeer}, api.Role(role)) {
		return api.Actor{}, &api.Error{Kind: api.Unauthenticated, Msg: "the token is not known"}
	}
	return api.Actor{ID: "token:" + bearer, Role: api.Role(role), Account: account}, nil
}

func (f *fake) View(_ context.Context, c api.Consistency) (View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil && c == api.Linearizable {
		return nil, f.fail
	}
	return &fakeView{InventoryView: f.inventory, StateManagerView: f.smd, tables: f.tables.clone(), serviceTables: f.serviceTables.clone(),
		index: f.index, age: f.age, vms: maps.Clone(f.vms), operations: maps.Clone(f.operations), images: maps.Clone(f.images),
		tokens: maps.Clone(f.tokens), peers: maps.Clone(f.peers), changed: f.changed,
	}, nil
}

type fakeView struct {
	InventoryView
	StateManagerView
	tables
	serviceTables

	index      uint64
	age        int64
	vms        map[string]api.VM
	operations map[string]api.Operation
	images     map[string]api.Image
	tokens     map[string]api.Token
	peers      map[string]api.PeerView
	changed    chan struct{}
}

func (v *fakeView) Index() uint64          { return v.index }
func (v *fakeView) AgeMs() int64           { return v.age }
func (v *fakeView) Watch() <-chan struct{} { return v.changed }

func (v *fakeView) VM(account, ref string) (api.VM, error) {
	for vm := range v.VMs("") {
		if vm.ID == ref || vm.Name == ref && (account == "" || account == vm.Account) {
			return vm, nil
		}
	}
	return api.VM{}, notFound("vm")
}

func (v *fakeView) VMs(after string) iter.Seq[api.VM] { return rows(v.vms, after) }

func (v *fakeView) Operation(id string) (api.Operation, error) {
	if op, ok := v.operations[id]; ok {
		return op, nil
	}
	return api.Operation{}, notFound("operation")
}

func (v *fakeView) Operations(after string) iter.Seq[api.Operation] { return rows(v.operations, after) }

func (v *fakeView) Peer(ref string) (api.PeerView, error) {
	for p := range v.Peers("") {
		if p.ID == ref || p.Name == ref {
			return p, nil
		}
	}
	return api.PeerView{}, notFound("peer")
}

func (v *fakeView) Peers(after string) iter.Seq[api.PeerView] { return rows(v.peers, after) }

func (v *fakeView) Image(ref string) (api.Image, error) {
	for i := range v.Images("") {
		if i.ID == ref || i.Name == ref {
			return i, nil
		}
	}
	return api.Image{}, notFound("image")
}

func (v *fakeView) Images(after string) iter.Seq[api.Image] { return rows(v.images, after) }
func (v *fakeView) Tokens(after string) iter.Seq[api.Token] { return rows(v.tokens, after) }

// ImageView says who has a copy too.
func (v *fakeView) ImageView(ref string) (api.ImageView, error) {
	i, err := v.Image(ref)
	return api.ImageView{Image: i, Peers: v.copies[i.ID]}, err
}

// rows lists a table in key order, after a key.
func rows[T any](m map[string]T, after string) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if k > after && !yield(m[k]) {
				return
			}
		}
	}
}

func (f *fake) CreateVM(ctx context.Context, c api.VMCreate) (Done[api.VM], error) {
	if err := f.write(ctx, "vm.create "+c.Account+"/"+c.Name); err != nil {
		return Done[api.VM]{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if id, again := f.replayed(ctx); again {
		vm, there := f.vms[id]
		vm.ID = id
		return Done[api.VM]{Object: vm, Replayed: true, Gone: !there, Index: f.index}, nil
	}
	vm := api.VM{ID: fmt.Sprintf("77777777-7777-4777-8777-%012d", len(f.vms)), Name: c.Name, Account: c.Account, Labels: c.Labels, Spec: c.Spec, Version: 1, Status: running()}
	vm.Status.State = api.VMAssigned
	vm.Status.Operation = f.newOperation("create", vm.ID).ID
	after := vm
	if !f.hold {
		after.Status.State = api.VMRunning
	}
	f.vms[vm.ID] = after
	f.remember(ctx, vm.ID)
	return Done[api.VM]{Object: vm, Index: f.index}, nil
}

func (f *fake) UpdateVM(ctx context.Context, id string, ifVersion uint64, u api.VMUpdate) (Done[api.VM], error) {
	what := fmt.Sprintf("vm.update %s %d %v", id, ifVersion, u.Labels)
	for _, word := range []string{u.Name, string(u.Restart), map[bool]string{true: "protected"}[u.Protected]} {
		if word != "" {
			what += " " + word
		}
	}
	if err := f.write(ctx, what); err != nil {
		return Done[api.VM]{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	vm := f.vms[id]
	if f.interfere > 0 {
		f.interfere--
		vm.Labels, vm.Version = map[string]string{"a": "1", "late": "1"}, vm.Version+1
		f.vms[id] = vm
	}
	if ifVersion != 0 && ifVersion != vm.Version {
		return Done[api.VM]{}, &api.Error{Kind: api.Precondition, Msg: "it has another version"}
	}
	vm.Labels, vm.Protected, vm.Spec.Restart, vm.Version = u.Labels, u.Protected, u.Restart, vm.Version+1
	if u.Name != "" {
		vm.Name = u.Name
	}
	f.vms[id] = vm
	return Done[api.VM]{Object: vm, Index: f.index}, nil
}

func (f *fake) DeleteVM(ctx context.Context, id string, _ uint64) (Done[api.Operation], error) {
	if err := f.write(ctx, "vm.delete "+id); err != nil {
		return Done[api.Operation]{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if opID, again := f.replayed(ctx); again {
		return Done[api.Operation]{Object: f.operations[opID], Replayed: true, Index: f.index}, nil
	}
	if _, ok := f.vms[id]; !ok {
		return Done[api.Operation]{}, notFound("vm")
	}
	delete(f.vms, id)
	op := f.newOperation("delete", id)
	f.remember(ctx, op.ID)
	return Done[api.Operation]{Object: op, Index: f.index}, nil
}

func (f *fake) CreateToken(ctx context.Context, c api.TokenCreate) (Done[api.NewToken], error) {
	if err := f.write(ctx, "token.create "+string(c.Role)); err != nil {
		return Done[api.NewToken]{}, err
	}
	return Done[api.NewToken]{Object: api.NewToken{ID: "tok2", Token: "tok2.secret", Role: c.Role, Account: c.Account}, Index: f.index}, nil
}

func (f *fake) DeleteToken(ctx context.Context, id string) error {
	return f.write(ctx, "token.delete "+id)
}

func (f *fake) SetSchedulable(ctx context.Context, id string, on bool) (Done[api.PeerView], error) {
	if err := f.write(ctx, fmt.Sprintf("peer.schedulable %s %v", id, on)); err != nil {
		return Done[api.PeerView]{}, err
	}
	p := f.peers[id]
	p.Schedulable = on
	return Done[api.PeerView]{Object: p, Index: f.index}, nil
}

func (f *fake) RemovePeer(ctx context.Context, id string) error {
	return f.write(ctx, "peer.remove "+id)
}

func (f *fake) Status(context.Context) (api.Status, error) {
	return api.Status{ClusterID: peerID, Peer: "h1", AppliedIndex: f.index, VMs: map[string]int{"running": len(f.vms)}, Warnings: []api.Warning{
		{Code: "no-spare-voter"}, {Code: "double-vm", VM: vmID, Detail: "default/web1"}, {Code: "double-vm", VM: otherID, Detail: "other/db1"}, {Code: "stray-domain", VM: peerID},
	}}, nil
}

func (f *fake) Capacity(_ context.Context, need api.Resources) (api.Capacity, int64, error) {
	if f.fail != nil {
		return api.Capacity{}, 0, f.fail
	}
	return api.Capacity{Available: need.VCPUs < 100}, f.age, nil
}

func (f *fake) Join(ctx context.Context, r api.JoinRequest) (api.JoinAnswer, error) {
	if err := f.write(ctx, "join "+r.Name); err != nil {
		return api.JoinAnswer{}, err
	}
	return api.JoinAnswer{ClusterID: peerID, PeerID: peerID, Keys: map[string][]byte{}, Peers: []api.KnownPeer{}}, nil
}

func (f *fake) Ready() error     { return f.down }
func (f *fake) PeerName() string { return "h1" }
func (f *fake) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "orchd_build_info 1") })
}

// startFake gives a backend, a server on it, and a way to ask it.
func startFake(t *testing.T) (*fake, *Server, func(method, path, body string, headers ...string) *http.Response) {
	t.Helper()
	f := newFake()
	s := New(Config{Version: "test"}, f, testLog(t))
	return f, s, askOf(s.Handler())
}

// askOf is a way to ask h as an admin, or with other headers: name, value, and so on.
func askOf(h http.Handler) func(method, path, body string, headers ...string) *http.Response {
	return func(method, path, body string, headers ...string) *http.Response {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer admin")
		for i := 0; i < len(headers); i += 2 {
			if r.Header.Del(headers[i]); headers[i+1] != "" {
				r.Header.Set(headers[i], headers[i+1])
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// awaited is a handler whose requests have all ended when the test has: one whose client is
// gone, or whose connection was taken over, outlives the httptest.Server and would go on logging.
// It is made before the server's Close is put off.
func awaited(t *testing.T, h http.Handler) http.Handler {
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		defer all.Done()
		h.ServeHTTP(w, r)
	})
}

// eventually waits until check says nothing more is missing.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still missing: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}
