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
	web := httptest.NewServer(awaited(t, New(Config{}, f, testLog(t)).Handler()))
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
		{"Keys", "key.seal", func() (any, error) { k, err := c.Keys(ctx); return k.Keys[0].Name, err }},
		{"RotateKey", "resealing", func() (any, error) { r, err := c.RotateKey(ctx, api.KeyRotate{Kind: api.KeySeal}); return r.Step, err }},
		{"ExportKeys", "encrypted", func() (any, error) {
			k, err := c.ExportKeys(ctx, api.KeyExport{Recipient: "age1x"})
			return string(k.File), err
		}},
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
		{"ImageView", "[h1]", func() (any, error) { i, err := c.ImageView(ctx, "debian"); return i.Peers, err }},
		{"DeleteImage", "<nil>", func() (any, error) { return nil, c.DeleteImage(ctx, "debian") }},
		{"Accounts", "default", func() (any, error) { a, err := first(c.Accounts(ctx)); return a.Name, err }},
		{"Account", "1", func() (any, error) { a, err := c.Account(ctx, "default"); return a.Used.VMs, err }},
		{"CreateAccount", "a", func() (any, error) {
			a, err := c.CreateAccount(ctx, api.AccountCreate{Name: "a"})
			return a.Name, err
		}},
		{"ReplaceAccount", "7", func() (any, error) {
			a, err := c.ReplaceAccount(ctx, "a", api.AccountUpdate{Quota: api.Quota{VMs: 7}}, api.WithVersion(1))
			return a.Quota.VMs, err
		}},
		{"SuspendAccount", "true unpaid", func() (any, error) {
			a, err := c.SuspendAccount(ctx, "a", "unpaid")
			return fmt.Sprint(a.Suspended, " ", a.Reason), err
		}},
		{"ResumeAccount", "false 7", func() (any, error) {
			a, err := c.ResumeAccount(ctx, "a")
			return fmt.Sprint(a.Suspended, " ", a.Quota.VMs), err
		}},
		{"DeleteAccount", "<nil>", func() (any, error) { return nil, c.DeleteAccount(ctx, "a") }},
		{"Usages", "2026-02", func() (any, error) {
			u, err := first(c.Usages(ctx, api.WithAccount("default"), api.WithQuery("month", "2026-02")))
			return u.Month, err
		}},
		{"Sizes", "f1-s", func() (any, error) { z, err := first(c.Sizes(ctx)); return z.Name, err }},
		{"Size", "10", func() (any, error) { z, err := c.Size(ctx, "f1-s"); return z.DiskGiB, err }},
		{"CreateSize", "f1-m", func() (any, error) {
			z, err := c.CreateSize(ctx, api.SizeCreate{Name: "f1-m", VCPUs: 2, MemoryMiB: 64})
			return z.Name, err
		}},
		{"UpdateSize", "true", func() (any, error) {
			z, err := c.UpdateSize(ctx, "f1-m", api.SizeUpdate{Deprecated: true})
			return z.Deprecated, err
		}},
		{"DeleteSize", "<nil>", func() (any, error) { return nil, c.DeleteSize(ctx, "f1-m") }},
		{"SSHKeys", "bert", func() (any, error) { k, err := first(c.SSHKeys(ctx, api.WithAccount("other"))); return k.Name, err }},
		{"SSHKey", "anna", func() (any, error) { k, err := c.SSHKey(ctx, keyID); return k.Name, err }},
		{"CreateSSHKey", "k", func() (any, error) {
			k, err := c.CreateSSHKey(ctx, api.SSHKeyCreate{Name: "k", PublicKey: "ssh-ed25519 AAAA"})
			return k.Name, err
		}},
		{"DeleteSSHKey", "<nil>", func() (any, error) { return nil, c.DeleteSSHKey(ctx, "bert", api.WithAccount("other")) }},
		{"Networks", "lan", func() (any, error) { n, err := first(c.Networks(ctx)); return n.Name, err }},
		{"Network", "lan", func() (any, error) { n, err := c.Network(ctx, networkID); return n.Name, err }},
		{"CreateNetwork", "wan", func() (any, error) {
			n, err := c.CreateNetwork(ctx, api.NetworkCreate{Name: "wan", NetworkShape: api.NetworkShape{CIDR: "10.9.0.0/16", Bridge: "br0"}})
			return n.Name, err
		}},
		{"DeleteNetwork", "<nil>", func() (any, error) { return nil, c.DeleteNetwork(ctx, "wan") }},
		{"Leases", "10.1.0.2", func() (any, error) { l, err := first(c.Leases(ctx)); return l.IP, err }},
		{"ForeignDomains", "old", func() (any, error) { d, err := first(c.ForeignDomains(ctx, "h1")); return d.Name, err }},
		{"Findings", "host-silent", func() (any, error) { x, err := first(c.Findings(ctx)); return x.Code, err }},
		{"AdoptVM", "old", func() (any, error) {
			vm, err := c.AdoptVM(ctx, api.VMAdopt{Peer: "h1", Domain: "old"})
			return vm.Name, err
		}},
		{"LosePeer", "lost", func() (any, error) { p, err := c.LosePeer(ctx, "h1", api.PeerLost{Name: "h1"}); return p.State, err }},
		{"ActOnVM resize", "resize", func() (any, error) {
			op, err := c.ActOnVM(ctx, "db1", api.VMAct{Verb: api.ActResize, Resize: api.VMResize{VCPUs: 2}})
			return op.Kind, err
		}},
		{"ActOnVM restart", "restart", func() (any, error) {
			op, err := c.ActOnVM(ctx, "db1", api.VMAct{Verb: api.ActRestart, StopSeconds: 90})
			return op.Kind, err
		}},
		{"ActOnVM pause", "pause succeeded", func() (any, error) {
			op, err := c.ActOnVM(ctx, "db1", api.VMAct{Verb: api.ActPause}, api.WithWait(time.Minute))
			return op.Kind + " " + string(op.State), err
		}},
		{"ExportVM", "copy", func() (any, error) { i, err := c.ExportVM(ctx, "db1", api.VMExport{Image: "copy"}); return i.Name, err }},
		{"Why", "h1", func() (any, error) { w, err := c.Why(ctx, "db1"); return w.Owner, err }},
		{"ConsoleLog", "in: ", func() (any, error) { b, err := c.ConsoleLog(ctx, "db1", 4); return string(b), err }},
		{"Screenshot", "PNG", func() (any, error) { b, err := c.Screenshot(ctx, "db1"); return string(b[1:4]), err }},
		{"KnownHosts", "no SSH keys", func() (any, error) {
			_, err := c.KnownHosts(ctx, "db1")
			return err.Error()[:11], nil
		}},
		{"CreateDiskSnapshot", "s ready", func() (any, error) {
			s, err := c.CreateDiskSnapshot(ctx, "db1", api.DiskSnapshotCreate{Name: "s"}, api.WithWait(time.Minute))
			return s.Name + " " + string(s.State), err
		}},
		{"DiskSnapshots", "theirs", func() (any, error) { s, err := first(c.DiskSnapshots(ctx, "db1")); return s.Name, err }},
		{"DiskSnapshot", "ready", func() (any, error) { s, err := c.DiskSnapshot(ctx, "db1", "s"); return s.State, err }},
		{"RestoreDiskSnapshot", "restore-snapshot", func() (any, error) { op, err := c.RestoreDiskSnapshot(ctx, "db1", "s"); return op.Kind, err }},
		{"DeleteDiskSnapshot", "delete-snapshot", func() (any, error) { op, err := c.DeleteDiskSnapshot(ctx, "db1", "s"); return op.Kind, err }},
		{"CancelOperation", "cancelled", func() (any, error) { op, err := c.CancelOperation(ctx, opID); return op.State, err }},
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
