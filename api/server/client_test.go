package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// startClient gives a client of a server on a backend in memory.
func startClient(t *testing.T) (*fake, *api.Client) {
	t.Helper()
	f := newFake()
	web := httptest.NewServer(New(Config{}, f, testLog(t)).Handler())
	t.Cleanup(web.Close)
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{web.URL}, Token: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return f, c
}

// first is the first item of a list.
func first[T any](items iter.Seq2[T, error]) (T, error) {
	for item, err := range items {
		return item, err
	}
	var none T
	return none, errors.New("an empty list")
}

// TestClientCoversTheAPI calls every method of the client.
func TestClientCoversTheAPI(t *testing.T) {
	f, c := startClient(t)
	ctx := t.Context()
	var join api.JoinRequest
	if err := json.Unmarshal([]byte(joinBody), &join); err != nil {
		t.Fatal(err)
	}
	for _, call := range []struct {
		name, want string
		do         func() (any, error)
	}{
		{"VMs", "web1", func() (any, error) { vm, err := first(c.VMs(ctx, api.VMFilter{Peer: "h1"})); return vm.Name, err }},
		{"VM", "db1", func() (any, error) { vm, err := c.VM(ctx, "db1", api.WithAccount("other")); return vm.Name, err }},
		{"CreateVM", "n running", func() (any, error) {
			vm, err := c.CreateVM(ctx, api.VMCreate{Name: "n", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}}, api.WithWait(time.Minute))
			return vm.Name + " " + string(vm.Status.State), err
		}},
		{"ReplaceVM", "map[x:y]", func() (any, error) {
			vm, err := c.ReplaceVM(ctx, "web1", api.VMUpdate{Labels: map[string]string{"x": "y"}}, api.WithVersion(3))
			return vm.Labels, err
		}},
		{"PatchVM", "map[z:y]", func() (any, error) {
			vm, err := c.PatchVM(ctx, "web1", json.RawMessage(`{"labels":{"x":null,"z":"y"}}`))
			return vm.Labels, err
		}},
		{"StartVM", "start", func() (any, error) { op, err := c.StartVM(ctx, "web1"); return op.Kind, err }},
		{"StopVM", "stop", func() (any, error) { op, err := c.StopVM(ctx, "web1"); return op.Kind, err }},
		{"ForceStopVM", "force-stop", func() (any, error) { op, err := c.ForceStopVM(ctx, "web1"); return op.Kind, err }},
		{"DeleteVM", "delete succeeded", func() (any, error) {
			op, err := c.DeleteVM(ctx, "web1")
			return op.Kind + " " + string(op.State), err
		}},
		{"Capacity", "true", func() (any, error) {
			answer, err := c.Capacity(ctx, api.Resources{VCPUs: 1})
			return answer.Available, err
		}},
		{"Operations", opID, func() (any, error) { op, err := first(c.Operations(ctx)); return op.ID, err }},
		{"Operation", "running", func() (any, error) {
			op, err := c.Operation(ctx, opID, api.WithWait(time.Millisecond), api.WithConsistency(api.Local))
			return op.State, err
		}},
		{"Peers", "h1", func() (any, error) { p, err := first(c.Peers(ctx)); return p.Name, err }},
		{"Peer", "h1", func() (any, error) { p, err := c.Peer(ctx, peerID); return p.Name, err }},
		{"CordonPeer", "false", func() (any, error) { p, err := c.CordonPeer(ctx, "h1"); return p.Schedulable, err }},
		{"UncordonPeer", "true", func() (any, error) { p, err := c.UncordonPeer(ctx, "h1"); return p.Schedulable, err }},
		{"RemovePeer", "<nil>", func() (any, error) { return nil, c.RemovePeer(ctx, "h1") }},
		{"Tokens", "tok1", func() (any, error) { tok, err := first(c.Tokens(ctx)); return tok.ID, err }},
		{"CreateToken", "tok2.secret", func() (any, error) {
			tok, err := c.CreateToken(ctx, api.TokenCreate{Role: api.RoleViewer})
			return tok.Token, err
		}},
		{"DeleteToken", "<nil>", func() (any, error) { return nil, c.DeleteToken(ctx, "tok1") }},
		{"Join", peerID, func() (any, error) { a, err := c.Join(ctx, join); return a.PeerID, err }},
		{"Images", "debian", func() (any, error) { i, err := first(c.Images(ctx)); return i.Name, err }},
		{"Image", imageID, func() (any, error) { i, err := c.Image(ctx, "debian"); return i.ID, err }},
		{"CreateImage", "i", func() (any, error) {
			i, err := c.CreateImage(ctx, api.ImageCreate{Name: "i", Kind: api.ImageKernel, Kernel: "/k"})
			return i.Name, err
		}},
		{"DeleteImage", "<nil>", func() (any, error) { return nil, c.DeleteImage(ctx, "debian") }},
		{"Accounts", "default", func() (any, error) { a, err := first(c.Accounts(ctx)); return a.Name, err }},
		{"Snapshots", "12", func() (any, error) { s, err := first(c.Snapshots(ctx)); return s.Index, err }},
		{"Snapshot", "12", func() (any, error) { s, err := c.Snapshot(ctx, "12"); return s.Index, err }},
		{"TakeSnapshot", "12", func() (any, error) { s, err := c.TakeSnapshot(ctx); return s.Index, err }},
		{"Status", "h1", func() (any, error) { st, err := c.Status(ctx); return st.Peer, err }},
		{"Ready", "<nil>", func() (any, error) { return nil, c.Ready(ctx) }},
	} {
		got, err := call.do()
		if err != nil || fmt.Sprint(got) != call.want {
			t.Errorf("%s: got %v, %v; want %s", call.name, got, err, call.want)
		}
	}
	if f.who.Once == nil || f.who.Once.Key == "" {
		t.Errorf("writes carry no key: %+v", f.who)
	}
}

// The peer that took the write dies before it can say so; another one answers
// the retry, and the machine exists once.
func TestClientSurvivesTheDeathOfAPeer(t *testing.T) {
	f := newFake()
	h := New(Config{}, f, testLog(t)).Handler()
	var asked atomic.Int32
	dying := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		panic(http.ErrAbortHandler)
	}))
	defer dying.Close()
	other := httptest.NewServer(h)
	defer other.Close()
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{dying.URL, other.URL}, Token: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var a api.Answer
	vm, err := c.CreateVM(t.Context(), api.VMCreate{Name: "n", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}}, api.WithAnswer(&a))
	if err != nil || vm.Name != "n" || !a.Replayed {
		t.Errorf("got %+v, %v, replayed %v", vm, err, a.Replayed)
	}
	if made := len(f.vms); made != 3 {
		t.Errorf("virtual machines: got %d, want the two of before and one", made)
	}
}

func TestClientSeesRefusals(t *testing.T) {
	f, c := startClient(t)
	_, err := c.CreateVM(t.Context(), api.VMCreate{Name: "N"})
	var e *api.Error
	if !errors.As(err, &e) || e.Kind != api.Invalid || len(e.Fields) == 0 || !strings.HasPrefix(e.Fields[0].Pointer, "/") {
		t.Errorf("invalid: got %#v", err)
	}
	f.fail = &api.Error{Kind: api.NoCapacity, Msg: "no host fits", Hosts: []api.HostPart{{Peer: "h1", Status: api.NotApplicable, Reason: "4 vcpus free"}}}
	_, err = c.CreateVM(t.Context(), api.VMCreate{Name: "n", Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64}})
	if !errors.As(err, &e) || e.Kind != api.NoCapacity || len(e.Hosts) != 1 || e.Hosts[0].Reason == "" {
		t.Errorf("no capacity: got %#v", err)
	}
}
