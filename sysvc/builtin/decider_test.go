package builtin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// worker is what each worker of the tests' deals is.
func workerSpec(count int64) api.DealSpec {
	return api.DealSpec{Count: count, VCPUs: 1, MemoryMiB: 64, Network: "lan", Spread: "peer"}
}

func newDecider(t testing.TB, settings map[string]any) *world {
	return newWorld(t, folder(t, "decider", settings))
}

// deal makes a deal of account co-op.
func (w *world) deal(name string, count int64) api.Deal {
	w.t.Helper()
	d, err := w.CreateDeal(as(w.t.Context(), anna), api.DealCreate{Name: name, Spec: workerSpec(count)})
	w.must(err)
	return d
}

// asks changes a deal of account co-op.
func (w *world) asks(name string, count int64, s api.DealState) {
	w.t.Helper()
	w.must(w.UpdateDeal(as(w.t.Context(), anna), "co-op", name, api.DealUpdate{Spec: workerSpec(count), State: s}))
}

func (w *world) dealNow(name string) api.Deal {
	w.t.Helper()
	d, found := w.machine.Read().Deal("co-op", name)
	if !found {
		w.t.Fatalf("there is no deal %s", name)
	}
	return d
}

// workers are a deal's VMs by name, also those on their way out.
func (w *world) workers(deal string) (names []string) {
	for vm := range w.machine.Read().VMs("") {
		if strings.HasPrefix(vm.Name, deal+"-") {
			names = append(names, vm.Name)
		}
	}
	slices.Sort(names)
	return names
}

// settle lets the hosts do what is wanted of them: what is to run runs, what is to go is gone.
func (w *world) settle() {
	w.t.Helper()
	for vm := range w.machine.Read().VMs("") {
		switch {
		case vm.Status.Desired == api.WantDeleted && vm.Status.State != api.VMLost:
			w.must(w.writer.BuryVM(as(w.t.Context(), fsm.ActorOfPeer(vm.Status.OwnerID)), vm.ID, vm.Status.Epoch))
		case vm.Status.State == api.VMAssigned:
			w.becomes(vm, api.VMRunning)
		}
	}
}

func TestDealBecomesWorkers(t *testing.T) {
	w := newDecider(t, nil)
	d := w.deal("web", 3)
	said := w.event("decider-deals", "deals", api.Created, d.ID, d)
	same(t, "workers", w.workers("web"), []string{"web-1", "web-2", "web-3"})
	if strings.Count(said, "is made") != 3 {
		t.Errorf("it said %q", said)
	}
	vm := w.vm("co-op", "web-2")
	if p := vm.Spec.Placement; p.Group != "web" || p.Spread != api.SpreadPeer || vm.Labels["orchd-deal"] != d.ID || vm.Spec.VCPUs != 1 {
		t.Errorf("a worker is %+v with %v", vm.Spec, vm.Labels)
	}
	got := w.dealNow("web")
	if len(got.Workers) != 3 || got.Workers[1].VM != vm.ID || got.Reason != "" {
		t.Errorf("the deal says %+v", got)
	}
	w.settle()
	w.tick("decider-deals") // they run now: that is news
	before := w.machine.Index()
	if said := w.tick("decider-deals"); said != "" || w.machine.Index() != before {
		t.Errorf("with nothing to do it said %q, and the log went from %d to %d", said, before, w.machine.Index())
	}
}

func TestDealShrinksNewestFirst(t *testing.T) {
	w := newDecider(t, nil)
	w.deal("web", 3)
	w.tick("decider-deals")
	w.settle()
	w.must(w.DeleteVM(as(t.Context(), anna), "co-op", "web-1"))
	w.settle()
	w.tick("decider-deals") // web-1 is made anew: now it is the newest
	w.settle()
	w.asks("web", 2, "")
	w.tick("decider-deals")
	w.settle()
	same(t, "workers", w.workers("web"), []string{"web-2", "web-3"})
	w.asks("web", 4, "")
	w.tick("decider-deals")
	same(t, "workers", w.workers("web"), []string{"web-1", "web-2", "web-3", "web-4"})
}

func TestDealReplacesWhatFailed(t *testing.T) {
	w := newDecider(t, nil)
	w.deal("web", 2)
	w.tick("decider-deals")
	w.settle()
	failed := w.becomes(w.vm("co-op", "web-1"), api.VMFailed)
	w.event("decider-deals", "vms", api.Updated, failed.ID, failed)
	same(t, "while web-1 is torn down", w.workers("web"), []string{"web-1", "web-2"})
	if vm := w.vm("co-op", "web-1"); vm.ID != failed.ID || vm.Status.Desired != api.WantDeleted {
		t.Errorf("the failed one is %+v", vm.Status)
	}
	w.settle()
	w.event("decider-deals", "vms", api.Deleted, failed.ID, nil)
	if vm := w.vm("co-op", "web-1"); vm.ID == failed.ID {
		t.Error("the failed one was not replaced")
	}

	// A host is lost with what it has: that is forgotten and made elsewhere at once.
	lost := w.vm("co-op", "web-2")
	_, err := w.writer.LosePeer(as(t.Context(), root), lost.Status.OwnerID, api.PeerLost{Name: lost.Status.Owner, Reason: "it burnt"})
	w.must(err)
	lost = w.vm("co-op", "web-2")
	w.event("decider-deals", "vms", api.Updated, lost.ID, lost)
	if vm := w.vm("co-op", "web-2"); vm.ID == lost.ID || vm.Status.OwnerID == lost.Status.OwnerID {
		t.Errorf("the lost one is still there: %+v", vm.Status)
	}
	same(t, "workers", w.workers("web"), []string{"web-1", "web-2"})
}

func TestDealRests(t *testing.T) {
	w := newDecider(t, nil)
	w.deal("web", 2)
	w.tick("decider-deals")
	w.settle()
	w.refuses(bert, "decider", "deactivate", `{"name": "web"}`, "no deal web in account lab")
	w.refuses(bert, "decider", "deactivate", `{"name": "web", "account": "co-op"}`, "bound to account lab")
	if _, err := w.call(anna, "decider", "deactivate", `{"name": "web"}`); err != nil {
		t.Fatal(err)
	}
	w.tick("decider-deals")
	w.settle()
	same(t, "workers of a deal that rests", w.workers("web"), nil)
	if _, err := w.call(root, "decider", "activate", `{"name": "web", "account": "co-op"}`); err != nil {
		t.Fatal(err)
	}
	w.tick("decider-deals")
	w.settle()
	w.tick("decider-deals")
	type status []struct {
		Name, State    string
		Count, Running int
	}
	got := answers[status](w, watcher, "decider", "status", "{}")
	if len(got) != 1 || got[0].State != "active" || got[0].Count != 2 || got[0].Running != 2 {
		t.Errorf("status is %+v", got)
	}
	if others := answers[status](w, bert, "decider", "status", `{"account": "co-op"}`); len(others) != 0 {
		t.Errorf("another account sees %+v", others)
	}
}

func TestDealEnds(t *testing.T) {
	w := newDecider(t, nil)
	w.deal("web", 2)
	w.tick("decider-deals")
	w.settle()
	w.must(w.DeleteDeal(as(t.Context(), anna), "co-op", "web"))
	w.tick("decider-deals")
	if d := w.dealNow("web"); d.State != api.DealEnding || len(d.Workers) != 2 {
		t.Errorf("while its workers go it is %+v", d)
	}
	w.settle()
	w.tick("decider-deals")
	if d, there := w.machine.Read().Deal("co-op", "web"); there || len(w.workers("web")) != 0 {
		t.Errorf("it is still there: %+v, with %v", d, w.workers("web"))
	}
}

func TestDealKeepsToTheQuota(t *testing.T) {
	w := newDecider(t, nil)
	quota := func(vms int64) {
		t.Helper()
		_, err := w.writer.UpdateAccount(as(t.Context(), root), "co-op", 0, api.AccountUpdate{Quota: api.Quota{VMs: vms}})
		w.must(err)
	}
	quota(2)
	w.deal("web", 5)
	w.tick("decider-deals")
	same(t, "workers", w.workers("web"), []string{"web-1", "web-2"})
	if reason := w.dealNow("web").Reason; !strings.Contains(reason, "web-3 cannot be made") || !strings.Contains(reason, "quota") {
		t.Errorf("the deal says %q", reason)
	}
	quota(0)
	w.tick("decider-deals")
	if d := w.dealNow("web"); d.Reason != "" || len(d.Workers) != 5 {
		t.Errorf("with room for all it is %+v", d)
	}
}

func TestDealLeavesOthersAlone(t *testing.T) {
	w := newDecider(t, nil)
	own := w.guest("web-1") // somebody's own, with the name of a worker
	d := w.deal("web", 2)
	_, err := w.writer.CreateVM(as(t.Context(), bert), api.VMCreate{Name: "theirs", Labels: map[string]string{"orchd-deal": d.ID}, Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}})
	w.must(err)
	w.tick("decider-deals")
	same(t, "workers", w.workers("web"), []string{"web-1", "web-2", "web-3"})
	w.asks("web", 0, "")
	w.tick("decider-deals")
	w.settle()
	same(t, "workers", w.workers("web"), []string{"web-1"})
	if vm := w.vm("co-op", "web-1"); vm.ID != own.ID {
		t.Errorf("it is %s, want %s", vm.ID, own.ID)
	}
	w.vm("lab", "theirs")
}

// TestDealNeverHasMore: whatever happens to workers, hosts and the deal, there are never
// more VMs than asked for, counted with those on their way out, once the number rises or
// stays; and in the end there are as many.
func TestDealNeverHasMore(t *testing.T) {
	w := newDecider(t, nil)
	w.deal("web", 4)
	dice := rand.New(rand.NewPCG(6, 0))
	most := 4
	for range 60 {
		switch dice.IntN(6) {
		case 0:
			count := int64(dice.IntN(7))
			w.asks("web", count, "")
			most = max(int(count), len(w.workers("web")))
		case 1:
			if names := w.workers("web"); len(names) > 0 {
				if vm := w.vm("co-op", names[dice.IntN(len(names))]); vm.Status.Desired != api.WantDeleted {
					w.becomes(vm, api.VMFailed)
				}
			}
		case 2:
			w.settle()
		default:
			w.tick("decider-deals")
		}
		if got := len(w.workers("web")); got > most {
			t.Fatalf("there are %d workers, and there may be %d", got, most)
		}
	}
	w.asks("web", 3, "")
	for range 4 {
		w.tick("decider-deals")
		w.settle()
	}
	if got := w.workers("web"); len(got) != 3 {
		t.Errorf("in the end there are %v, want 3", got)
	}
}

// TestDealOfAnOlderTerm: a run that goes on after another peer has taken over makes nothing.
func TestDealOfAnOlderTerm(t *testing.T) {
	w := newDecider(t, nil)
	w.deal("web", 2)
	old := w.term
	holder, err := w.Claim(t.Context(), api.ScopeCluster, "another life")
	w.must(err)
	if holder.Term == old {
		t.Fatal("the term did not change")
	}
	if said, err := w.fire("decider-deals", api.Firing{Kind: "clock"}); err == nil || len(w.workers("web")) != 0 {
		t.Errorf("it said %q, %v, and made %v", said, err, w.workers("web"))
	}
	w.term = holder.Term
	w.tick("decider-deals")
	same(t, "workers", w.workers("web"), []string{"web-1", "web-2"})
}

func TestWorkersAreWatched(t *testing.T) {
	w := newDecider(t, nil)
	w.deal("web", 2)
	w.tick("decider-deals")
	w.settle()
	vm := w.becomes(w.vm("co-op", "web-2"), api.VMStopped)
	said := w.tick("decider-workers")
	for _, want := range []string{"web-1 is running on ", "web-2 is stopped on ", vm.Status.Addresses[0].IP} {
		if !strings.Contains(said, want) {
			t.Errorf("it said %q, want %q in it", said, want)
		}
	}
	d := w.dealNow("web")
	if len(d.Workers) != 2 || d.Workers[1].State != "stopped" || d.Workers[1].SeenAt.Unix() != w.Now().Unix() {
		t.Errorf("the deal says %+v at %v", d.Workers, w.Now())
	}
	before := w.machine.Index()
	w.tick("decider-deals")
	if w.machine.Index() != before {
		t.Error("when workers were seen is forgotten")
	}
}

func TestDealsArePolled(t *testing.T) {
	var offered string
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if offered == "" {
			w.WriteHeader(http.StatusBadGateway)
		}
		io.WriteString(w, offered)
	}))
	t.Cleanup(endpoint.Close)
	w := newDecider(t, map[string]any{"network_api_endpoint": endpoint.URL + "/deals"})
	w.http = plainly
	spec := func(count int64) string {
		text, err := json.Marshal(workerSpec(count))
		w.must(err)
		return string(text)
	}
	mine := w.deal("mine", 1)

	offered = fmt.Sprintf(`[{"name": "web", "account": "co-op", "spec": %s}, {"name": "mine", "account": "co-op", "spec": %s}, {"name": "BAD", "spec": %s}]`, spec(2), spec(9), spec(1))
	said := w.tick("decider-deals")
	for _, want := range []string{"deal web is new", "deal mine of account co-op is there already", "deal BAD: "} {
		if !strings.Contains(said, want) {
			t.Errorf("it said %q, want %q in it", said, want)
		}
	}
	if d := w.dealNow("web"); d.Source != endpoint.URL+"/deals" || d.Spec.Count != 2 {
		t.Errorf("the polled deal is %+v", d)
	}
	if d := w.dealNow("mine"); d.Spec.Count != mine.Spec.Count {
		t.Errorf("somebody's own deal is %+v", d)
	}
	same(t, "workers", w.workers("web"), []string{"web-1", "web-2"})
	w.settle()
	type polled struct{ Deals []struct{ Name string } }
	if all, own := answers[polled](w, root, "connector", "deals", "{}"), answers[polled](w, bert, "connector", "deals", "{}"); len(all.Deals) != 3 || len(own.Deals) != 0 {
		t.Errorf("an admin is shown %v, another account %v", all, own)
	}
	w.refuses(watcher, "connector", "deals", "{}", "is for operators")

	offered = fmt.Sprintf(`[{"name": "web", "account": "co-op", "spec": %s, "state": "inactive"}]`, spec(2))
	w.tick("decider-deals")
	w.settle()
	same(t, "workers of a deal that rests", w.workers("web"), nil)

	for _, bad := range []string{"", "{}", "no JSON", `[{"name": 5}]`} { // what is known stays
		offered = bad
		if said := w.tick("decider-deals"); !strings.Contains(said, "deals are not polled") {
			t.Errorf("an answer of %q: it said %q", bad, said)
		}
		w.dealNow("web")
	}
	offered = "[]"
	w.tick("decider-deals")
	if _, there := w.machine.Read().Deal("co-op", "web"); there {
		t.Error("a deal that is no longer offered is still there")
	}
	w.dealNow("mine")
}

// TestWorkersAreTold: a guest with an image finds out who it is.
func TestWorkersAreTold(t *testing.T) {
	w := newDecider(t, nil)
	_, err := w.writer.CreateImage(as(t.Context(), root), "", api.ImageCreate{Name: "debian", Path: "/images/debian.qcow2", Format: "qcow2"})
	w.must(err)
	spec := workerSpec(1)
	spec.Image = "debian"
	_, err = w.CreateDeal(as(t.Context(), anna), api.DealCreate{Name: "web", Spec: spec})
	w.must(err)
	w.tick("decider-deals")
	if vm := w.vm("co-op", "web-1"); !vm.Status.HasUserData || vm.Spec.Image != "debian" {
		t.Errorf("the worker is %+v, %+v", vm.Spec, vm.Status)
	}
	if reason := w.dealNow("web").Reason; reason != "" {
		t.Error(reason)
	}
}
