package builtin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
	"github.com/orchd/orchd/sysvc/host"
	"github.com/orchd/orchd/sysvc/pack"
	"github.com/orchd/orchd/sysvc/state"
	"github.com/orchd/orchd/sysvc/worker"
)

// TestMain is also the worker that scripts run in.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sysvc-worker" {
		os.Exit(worker.Main())
	}
	os.Exit(m.Run())
}

// world is a cluster of one log in memory with the tables and rules of the real one. Its
// peers a and b run no guests: the test says what became of a VM, as their hosts would.
type world struct {
	t       testing.TB
	machine *fsm.Machine
	writer  *fsm.Writer
	hosts   *host.Hosts
	pool    *worker.Pool
	modules map[string][]byte // by digest
	http    func(ctx context.Context, granted []string, r *http.Request) (*http.Response, error)
	term    uint64 // of the cluster's spells
	own     uint64 // of those of peer a
	runs    int64

	mu    sync.Mutex
	index uint64
	clock time.Time
}

// Who asks.
var (
	root    = api.Actor{ID: "uid:0", Role: api.RoleAdmin}
	anna    = api.Actor{ID: "token:anna", Role: api.RoleOperator, Account: "co-op"}
	bert    = api.Actor{ID: "token:bert", Role: api.RoleOperator, Account: "lab"}
	watcher = api.Actor{ID: "token:watcher", Role: api.RoleViewer}
)

func as(ctx context.Context, a api.Actor) context.Context {
	return api.WithCaller(ctx, api.Caller{Actor: a})
}

// newWorld is a cluster with two hosts of 64 vcpus, the accounts co-op and lab, the
// network lan, and the packages that are given.
func newWorld(t testing.TB, packages ...pack.Package) *world {
	t.Helper()
	w := &world{t: t, machine: fsm.New(), modules: map[string][]byte{}, clock: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	w.writer = fsm.NewWriter(w, w, plain{})
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.hosts = host.New(host.Config{Cluster: w, Log: log, HTTP: func(ctx context.Context, granted []string, r *http.Request) (*http.Response, error) {
		return w.http(ctx, granted, r)
	}})
	w.pool = worker.New(worker.Config{Workers: 2, Source: w.hosts.Source(w), Log: log})
	t.Cleanup(w.pool.Close)
	ctx := as(t.Context(), root)
	w.must(w.writer.InitCluster(as(t.Context(), fsm.ActorOfPeer("a")), peer("a"), nil, nil))
	w.join("b")
	for _, name := range []string{"co-op", "lab"} {
		_, err := w.writer.CreateAccount(ctx, api.AccountCreate{Name: name})
		w.must(err)
	}
	_, err := w.writer.CreateNetwork(ctx, api.NetworkCreate{Name: "lan", NetworkShape: api.NetworkShape{CIDR: "10.9.0.0/24", Gateway: "10.9.0.1", Bridge: "br0"}})
	w.must(err)
	holder, err := w.Claim(t.Context(), api.ScopeCluster, "life")
	w.must(err)
	w.term = holder.Term
	holder, err = w.Claim(t.Context(), "a", "life")
	w.must(err)
	w.own = holder.Term
	for _, p := range packages {
		w.install(p)
	}
	return w
}

func peer(name string) api.Peer {
	return api.Peer{ID: name, Name: name, Driver: api.DriverSim, PublicKey: []byte(name), Schedulable: true,
		Capacity: api.Resources{VCPUs: 64, MemoryMiB: 1 << 16, DiskGiB: 1000}}
}

func (w *world) join(name string) {
	w.t.Helper()
	token, err := w.writer.CreateToken(as(w.t.Context(), root), api.TokenCreate{Role: api.RolePeer, TTL: "1h", Uses: 1}, "hash")
	w.must(err)
	parts := strings.Split(token.Object.Token, ".")
	_, err = w.writer.JoinPeer(as(w.t.Context(), api.Actor{Role: api.RolePeer}), fsm.Admission{TokenID: parts[0], Secret: parts[1], Peer: peer(name)})
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// install makes what a package wants, and initialises it.
func (w *world) install(p pack.Package) {
	w.t.Helper()
	ctx := w.t.Context()
	for digest, content := range p.Files {
		w.modules[digest] = content
	}
	for _, s := range p.Services {
		made, err := w.DeployService(ctx, api.ServiceDeploy{Scope: p.ScopeOn("a"), Alias: s.Alias, Package: p.Name, Account: p.Account,
			Blueprint: s.Blueprint, Modules: s.Modules, Grants: p.Grants, Access: s.Access, CallTTL: s.CallTTL})
		w.must(err)
		_, err = w.MoveAlias(ctx, made.ID)
		w.must(err)
	}
	for _, s := range p.Spells {
		_, err := w.DeploySpell(ctx, api.SpellDeploy{Package: p.Name, SpellCreate: api.SpellCreate{Alias: s.Alias, Scope: p.ScopeOn("a"), Account: p.Account,
			Script: s.Script, KV: s.KV, Trigger: s.Trigger, Grants: p.Grants, CallTTL: s.CallTTL}})
		w.must(err)
	}
	for _, c := range p.Init {
		_, err := w.call(api.Actor{ID: "deployer", Role: api.RoleAdmin}, c.Service, c.Function, string(c.Args))
		w.must(err)
	}
}

// call calls a function of a service, and gives its result as JSON.
func (w *world) call(who api.Actor, service, function, args string) (string, error) {
	w.t.Helper()
	svc, found := w.View().ServiceAt(api.ScopeCluster, service)
	if !found {
		svc, found = w.View().ServiceAt("a", service)
	}
	if !found {
		w.t.Fatalf("there is no service %s", service)
	}
	result, err := w.hosts.Call(w.t.Context(), w.pool, svc, function, json.RawMessage(args), who)
	return string(result), err
}

// answers calls a function that must succeed, and reads its result.
func answers[T any](w *world, who api.Actor, service, function, args string) (v T) {
	w.t.Helper()
	result, err := w.call(who, service, function, args)
	if err == nil {
		err = json.Unmarshal([]byte(result), &v)
	}
	if err != nil {
		w.t.Fatalf("%s.%s(%s): %v", service, function, args, err)
	}
	return v
}

// refuses calls a function that must fail with such words.
func (w *world) refuses(who api.Actor, service, function, args, saying string) {
	w.t.Helper()
	if result, err := w.call(who, service, function, args); err == nil || !strings.Contains(err.Error(), saying) {
		w.t.Errorf("%s.%s(%s): got %s, %v; want a failure that says %q", service, function, args, result, err, saying)
	}
}

// tick runs a spell as its clock would, and gives what it said.
func (w *world) tick(alias string) string {
	w.t.Helper()
	said, err := w.fire(alias, api.Firing{Kind: "clock"})
	w.must(err)
	return said
}

// event runs a spell as a change of a row would.
func (w *world) event(alias, table string, verb api.ChangeVerb, key string, row any) string {
	w.t.Helper()
	e := api.Event{Index: 1, N: 1, Table: table, Verb: verb, Key: key}
	if row != nil {
		value, err := json.Marshal(row)
		w.must(err)
		e.Value = value
	}
	text, err := json.Marshal(e)
	w.must(err)
	said, err := w.fire(alias, api.Firing{Kind: "event", Event: text})
	w.must(err)
	return said
}

// fire runs a spell, and gives the lines of its log and then those of its errors.
func (w *world) fire(alias string, firing api.Firing) (string, error) {
	w.t.Helper()
	spell, found := w.View().SpellAt(api.ScopeCluster, alias)
	term := w.term
	if !found {
		spell, found = w.View().SpellAt("a", alias)
		term = w.own
	}
	if !found {
		w.t.Fatalf("there is no spell %s", alias)
	}
	w.runs++
	lines := &host.Lines{}
	program, context, world, forget := w.hosts.ForRun(spell, api.SpellRun{Number: w.runs, Term: term, Firing: firing}, lines)
	defer forget()
	_, err := w.pool.Call(w.t.Context(), worker.Call{Program: program, Function: "run", Context: context, Host: world})
	var said []string
	for _, line := range lines.Log() {
		said = append(said, line.Text)
	}
	if errs := lines.Errors(); errs != "" {
		said = append(said, errs)
	}
	return strings.Join(said, "\n"), err
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// vm is a VM by its name in an account.
func (w *world) vm(account, name string) api.VM {
	w.t.Helper()
	vm, found := w.machine.Read().VMNamed(account, name)
	if !found {
		w.t.Fatalf("there is no VM %s in account %s", name, account)
	}
	return vm
}

// becomes says what a VM's host has made of it.
func (w *world) becomes(vm api.VM, s api.VMState) api.VM {
	w.t.Helper()
	ctx := as(w.t.Context(), fsm.ActorOfPeer(vm.Status.OwnerID))
	if !vm.Status.Begun {
		w.must(w.writer.BeginVM(ctx, vm.ID, vm.Status.Epoch))
	}
	w.must(w.writer.ReportVM(ctx, api.VMReport{VM: vm.ID, Epoch: vm.Status.Epoch, State: s, Reason: "as the test says"}))
	now, _ := w.machine.Read().VM(vm.ID)
	return now
}

// Beneath, the world is a proposer, a ranker, a sealer, a source of modules, and a state.Cluster.

func (w *world) Propose(_ context.Context, command []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index++
	w.clock = w.clock.Add(time.Millisecond)
	return w.machine.Apply(w.index, 0, w.clock, command).(fsm.Result).MarshalBinary()
}

func (w *world) Rank(api.Resources, string) ([]string, []api.HostPart) {
	return []string{"a", "b"}, nil
}

type plain struct{}

func (plain) Seal(_ string, plaintext []byte) ([]byte, error) { return plaintext, nil }

func (w *world) Module(_ context.Context, digest string) ([]byte, error) {
	content, there := w.modules[digest]
	if !there {
		return nil, fmt.Errorf("no module %s", digest)
	}
	return content, nil
}

var _ state.Cluster = (*world)(nil)

type view struct{ fsm.Reader }

func (v view) Peers() iter.Seq[api.Peer] { return v.Members() }
func (v view) Deals() iter.Seq[api.Deal] { return v.Reader.Deals("") }

func (w *world) Self() string                              { return "a" }
func (w *world) View() state.View                          { return view{w.machine.Read()} }
func (w *world) Fresh(context.Context) (state.View, error) { return w.View(), nil }
func (w *world) Watch() <-chan struct{}                    { return nil }
func (w *world) Alive() []string                           { return []string{"a", "b"} }

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) Events(context.Context, api.Position, []string) (state.Events, error) {
	return nil, api.Errorf(api.Unavailable, "events", "this world tells none: tests make them")
}

// asPeer is ctx with a peer as the one who asks; the fence stays.
func asPeer(ctx context.Context) context.Context {
	caller := api.CallerOf(ctx)
	caller.Actor = fsm.ActorOfPeer("a")
	return api.WithCaller(ctx, caller)
}

func (w *world) DeployService(ctx context.Context, d api.ServiceDeploy) (api.Service, error) {
	done, err := w.writer.DeployService(asPeer(ctx), d)
	return done.Object, err
}

func (w *world) MoveAlias(ctx context.Context, service string) (api.Service, error) {
	done, err := w.writer.MoveAlias(asPeer(ctx), service)
	return done.Object, err
}

func (w *world) RemoveService(ctx context.Context, service, alias, wishes string) error {
	return w.writer.RemoveService(asPeer(ctx), service, alias, wishes)
}

func (w *world) DeploySpell(ctx context.Context, d api.SpellDeploy) (api.Spell, error) {
	done, err := w.writer.DeploySpell(asPeer(ctx), d)
	return done.Object, err
}

func (w *world) RemoveSpell(ctx context.Context, spell, wishes string) error {
	return w.writer.RemoveSpell(asPeer(ctx), spell, wishes)
}

func (w *world) ReportDeployment(ctx context.Context, d api.Deployment) error {
	return w.writer.ReportDeployment(asPeer(ctx), d)
}

func (w *world) Claim(ctx context.Context, scope, life string) (api.Holder, error) {
	done, err := w.writer.Claim(asPeer(ctx), scope, life)
	return done.Object, err
}

func (w *world) Runs(ctx context.Context, b api.RunBatch) error {
	return w.writer.Runs(asPeer(ctx), b)
}

func (w *world) ChangeKV(ctx context.Context, c api.KVChange) (api.KVEntry, error) {
	done, err := w.writer.ChangeKV(asPeer(ctx), c)
	return done.Object, err
}

func (w *world) PushMail(ctx context.Context, spell, text string) error {
	return w.writer.PushMail(ctx, spell, text)
}

func (w *world) PopMail(ctx context.Context, spell string, seq int64) error {
	return w.writer.PopMail(asPeer(ctx), spell, seq)
}

func (w *world) Read(ctx context.Context, table string, filter map[string]string) ([]json.RawMessage, error) {
	rows, err := w.machine.Read().PublicRows(table)
	if err != nil {
		return nil, err
	}
	account, found := api.CallerOf(ctx).Actor.Account, []json.RawMessage{}
	for row := range rows {
		if text := row.JSON(); (account == "" || row.Account == "" || account == row.Account) && has(text, filter) {
			found = append(found, text)
		}
	}
	return found, nil
}

func has(text json.RawMessage, filter map[string]string) bool {
	for path, want := range filter {
		var at any
		if json.Unmarshal(text, &at) != nil {
			return false
		}
		for name := range strings.SplitSeq(path, ".") {
			object, _ := at.(map[string]any)
			at = object[name]
		}
		if fmt.Sprint(at) != want {
			return false
		}
	}
	return true
}

func (w *world) CreateVM(ctx context.Context, c api.VMCreate) (api.VM, error) {
	done, err := w.writer.CreateVM(ctx, c)
	return done.Object, err
}

func (w *world) DeleteVM(ctx context.Context, account, name string) error {
	vm, found := w.machine.Read().VMNamed(account, name)
	if !found {
		return api.Errorf(api.NotFound, "vm.delete", "no VM %s", name)
	}
	_, err := w.writer.DeleteVM(ctx, vm.ID, 0)
	return err
}

func (w *world) ActOnVM(ctx context.Context, account, name, action string) error {
	vm, _ := w.machine.Read().VMNamed(account, name)
	_, err := w.writer.ActOnVM(ctx, vm.ID, 0, api.VMAct{Verb: action})
	return err
}

func (w *world) ReportDeal(ctx context.Context, r api.DealReport) error {
	return w.writer.ReportDeal(asPeer(ctx), r)
}

func (w *world) CreateDeal(ctx context.Context, c api.DealCreate) (api.Deal, error) {
	done, err := w.writer.CreateDeal(ctx, c)
	return done.Object, err
}

func (w *world) UpdateDeal(ctx context.Context, account, name string, u api.DealUpdate) error {
	deal, found := w.machine.Read().Deal(account, name)
	if !found {
		return api.Errorf(api.NotFound, "deal", "no deal %s", name)
	}
	_, err := w.writer.UpdateDeal(ctx, deal.ID, 0, u)
	return err
}

func (w *world) DeleteDeal(ctx context.Context, account, name string) error {
	deal, found := w.machine.Read().Deal(account, name)
	if !found {
		return nil
	}
	_, err := w.writer.DeleteDeal(ctx, deal.ID)
	return err
}

// same compares lists of texts.
func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
