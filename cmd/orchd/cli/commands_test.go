package cli

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestCreateWaitsForTheOperation(t *testing.T) {
	assigned := aVM()
	assigned.Status.State = api.VMAssigned
	f := newFake(t).
		answer("POST /v1/vms", assigned).
		answer("GET /v1/operations/"+opID, anOperation(api.OpRunning), anOperation(api.OpSucceeded)).
		answer("GET /v1/vms/"+vmID, aVM())
	r := f.run("vm", "create", "web1", "--image", "debian-12", "--cpu", "2", "--memory", "4GiB", "--disk", "20GiB", "--label", "tier=web", "--label", "owner=anna")
	want := `POST /v1/vms {"name":"web1","labels":{"owner":"anna","tier":"web"},"spec":{"vcpus":2,"memory_mib":4096,"disk_gib":20,"image":"debian-12"}}`
	if f.asked[0] != want {
		t.Errorf("asked %s\nwant  %s", f.asked[0], want)
	}
	if r.code != 0 || !strings.Contains(r.stdout, "running") {
		t.Errorf("exit %d, stdout %q", r.code, r.stdout)
	}
	if want := "web1 is recorded and owned by h2\ncreate of web1: running\ncreate of web1: succeeded\n"; r.stderr != want {
		t.Errorf("stderr %q, want %q", r.stderr, want)
	}
}

func TestCreateWithoutWaiting(t *testing.T) {
	for _, flag := range []string{"--no-wait", "--wait=false"} {
		f := newFake(t).answer("POST /v1/vms", aVM())
		r := f.run("vm", "create", "web1", flag, "-o", "name", "-q")
		if r.code != 0 || r.stdout != "web1\n" || r.stderr != "" || len(f.asked) != 1 {
			t.Errorf("%s: exit %d, %q, %q, asked %v", flag, r.code, r.stdout, r.stderr, f.asked)
		}
		if f.header.Get("Idempotency-Key") == "" {
			t.Error("a create without an Idempotency-Key cannot be sent again")
		}
	}
}

func TestFailedOperation(t *testing.T) {
	failed := anOperation(api.OpFailed)
	failed.Error = "no space on h2"
	r := newFake(t).answer("POST /v1/vms", aVM()).answer("GET /v1/operations/"+opID, failed).run("vm", "create", "web1", "-q")
	want := "orchd vm create: create of web1 failed: no space on h2\nall of it: orchd operation show " + opID + "\n"
	if r.code != exitFailed || r.stderr != want || r.stdout != "" {
		t.Errorf("exit %d, %q; want 1, %q", r.code, r.stderr, want)
	}
}

func TestWaitingTimesOut(t *testing.T) {
	r := newFake(t).answer("GET /v1/operations/"+opID, anOperation(api.OpRunning)).run("operation", "wait", opID, "--timeout", "30ms")
	if r.code != exitUnreachable || !strings.Contains(r.stderr, "not done after 30ms\nthe operation goes on; follow it with: orchd operation wait "+opID) {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestInterruptedWhileWaiting(t *testing.T) {
	f := newFake(t)
	ctx, interrupt := context.WithCancel(t.Context())
	f.mux.HandleFunc("GET /v1/operations/"+opID, func(_ http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done()
	})
	r := run(ctx, App{Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}, "operation", "wait", opID)
	if r.code != exitInterrupted || !strings.Contains(r.stderr, "follow it with: orchd operation wait "+opID) {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestStopTakesSeveral(t *testing.T) {
	f := newFake(t).
		answer("POST /v1/vms/{id}/stop", anOperation(api.OpSucceeded))
	r := f.run("vm", "stop", "web1", "team/web2", "-o", "name")
	if r.code != 0 || r.stdout != opID+"\n"+opID+"\n" {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if want := []string{"POST /v1/vms/web1/stop", "POST /v1/vms/web2/stop?account=team"}; !slices.Equal(f.asked, want) {
		t.Errorf("asked %v, want %v", f.asked, want)
	}
}

func TestDeleteRefusesWhatRuns(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms/web1", aVM())
	r := f.run("vm", "delete", "web1")
	if r.code != exitConflict || !strings.Contains(r.stderr, "web1 is running on h2\nstop it first") || len(f.asked) != 1 {
		t.Errorf("exit %d, %q, asked %v", r.code, r.stderr, f.asked)
	}
}

func TestDeleteNamesWhatItDestroys(t *testing.T) {
	done := anOperation(api.OpSucceeded)
	done.Kind = "delete"
	f := newFake(t).answer("GET /v1/vms/web1", aVM()).answer("DELETE /v1/vms/"+vmID, done)
	r := f.run("vm", "delete", "web1", "--force")
	if r.code != 0 || r.stderr != "deleting default/web1 ("+vmID+"): its guest on h2 and its disk of 20GiB\n" {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
	if f.header.Get("If-Match") != "" {
		t.Error("--force asked for a version")
	}
}

func TestDeleteLooksAgainWhenSomebodyWasFaster(t *testing.T) {
	stopped := aVM()
	stopped.Status.State = api.VMStopped
	f := newFake(t).
		answer("GET /v1/vms/web1", stopped, aVM()).
		answer("DELETE /v1/vms/"+vmID, &api.Error{Kind: api.Precondition, Msg: "version"})
	r := f.run("vm", "delete", "web1")
	if r.code != exitConflict || !strings.Contains(r.stderr, "web1 is running") || len(f.asked) != 3 {
		t.Errorf("exit %d, %q, asked %v", r.code, r.stderr, f.asked)
	}
}

func TestVMWait(t *testing.T) {
	creating, failed := aVM(), aVM()
	creating.Status.State, failed.Status.State, failed.Status.Reason = api.VMCreating, api.VMFailed, "no kernel"
	gone := &api.Error{Kind: api.NotFound, Msg: "there is no such vm"}
	for _, c := range []struct {
		goal    string
		answers []any
		code    int
		stderr  string
	}{
		{"running", []any{creating, aVM()}, 0, "web1 is creating"},
		{"running", []any{creating, failed}, 1, "web1 failed: no kernel"},
		{"failed", []any{failed}, 0, ""},
		{"deleted", []any{aVM(), gone}, 0, ""},
		{"running", []any{gone}, 3, "no such vm"},
		{"stopped", []any{aVM()}, 6, "web1 is not stopped after 700ms but running"},
	} {
		f := newFake(t).answer("GET /v1/vms/web1", c.answers...).answer("GET /v1/vms", page[api.VM]())
		if r := f.run("vm", "wait", "web1", "--for", c.goal, "--timeout", "700ms"); r.code != c.code || !strings.Contains(r.stderr, c.stderr) {
			t.Errorf("--for %s: exit %d, %q; want %d, %q", c.goal, r.code, r.stderr, c.code, c.stderr)
		}
	}
}

func TestLabel(t *testing.T) {
	f := newFake(t).answer("PATCH /v1/vms/web1", aVM())
	r := f.run("vm", "label", "web1", "tier=db", "owner-")
	if want := `PATCH /v1/vms/web1 {"labels":{"owner":null,"tier":"db"}}`; r.code != 0 || f.asked[0] != want {
		t.Errorf("exit %d %s, asked %v, want %s", r.code, r.stderr, f.asked, want)
	}
}

func TestListFilters(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms", page(aVM()))
	f.run("vm", "list", "--peer", "h2", "--state", "running", "-l", "tier=web", "-l", "owner=anna", "--local")
	q := f.asked[0]
	for _, want := range []string{"peer=h2", "state=running", "label=tier%3Dweb", "label=owner%3Danna", "consistency=local"} {
		if !strings.Contains(q, want) {
			t.Errorf("asked %s: no %s", q, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms/wbe1", &api.Error{Kind: api.NotFound, Msg: "there is no such vm"}).answer("GET /v1/vms", page(aVM()))
	r := f.run("vm", "show", "wbe1")
	if want := "orchd vm show: there is no such vm\ndid you mean web1?\n"; r.code != exitNotFound || r.stderr != want {
		t.Errorf("exit %d, %q; want 3, %q", r.code, r.stderr, want)
	}
}

func TestTokenCreate(t *testing.T) {
	f := newFake(t).answer("POST /v1/tokens",
		api.NewToken{ID: "t1", Token: "t1.s", Role: api.RoleViewer, ExpiresAt: now},
		api.NewToken{ID: "t2", Token: "t2.s.ca", Role: api.RolePeer, Join: "orchd join h1:7700 --token t2.s.ca", ExpiresAt: now})
	if r := f.run("token", "create", "--role", "viewer", "--ttl", "2h"); r.stdout != "t1.s\n" || r.code != 0 {
		t.Errorf("viewer: exit %d, %q", r.code, r.stdout)
	}
	if want := `POST /v1/tokens {"role":"viewer","ttl":"2h0m0s"}`; f.asked[0] != want {
		t.Errorf("asked %s, want %s", f.asked[0], want)
	}
	if r := f.run("token", "create", "--role", "peer"); r.stdout != "orchd join h1:7700 --token t2.s.ca\n" {
		t.Errorf("peer: %q", r.stdout)
	}
	before := len(f.asked)
	if r := f.run("token", "create", "--role", "viewer", "-o", "name"); r.code != exitUsage || len(f.asked) != before {
		t.Errorf("in a form in which its secret cannot be shown: exit %d, %q, and %d requests were made", r.code, r.stderr, len(f.asked)-before)
	}
}

func TestPlainWrites(t *testing.T) {
	for _, c := range []struct{ line, route, want string }{
		{"token revoke t1", "DELETE /v1/tokens/t1", "DELETE /v1/tokens/t1"},
		{"image delete a", "DELETE /v1/images/a", "DELETE /v1/images/a"},
		{"peer cordon h2", "POST /v1/peers/h2/cordon", "POST /v1/peers/h2/cordon"},
		{"peer uncordon h2", "POST /v1/peers/h2/uncordon", "POST /v1/peers/h2/uncordon"},
		{"snapshot take", "POST /v1/snapshots", "POST /v1/snapshots"},
		{"vm force-stop a --no-wait", "POST /v1/vms/a/force-stop", "POST /v1/vms/a/force-stop"},
		{"image create d --path /d.img --format raw", "POST /v1/images", `POST /v1/images {"name":"d","kind":"disk","path":"/d.img","format":"raw"}`},
		{"image create k --kernel /k --initrd /i", "POST /v1/images", `POST /v1/images {"name":"k","kind":"kernel","kernel":"/k","initrd":"/i"}`},
		{"api post /v1/x?a=b -d {\"a\":1}", "POST /v1/x", `POST /v1/x?a=b {"a":1}`},
	} {
		f := newFake(t).answer(c.route, struct{}{})
		if r := f.run(strings.Fields(c.line)...); r.code != 0 || f.asked[0] != c.want {
			t.Errorf("%s: exit %d %s, asked %v, want %s", c.line, r.code, r.stderr, f.asked, c.want)
		}
	}
}

func TestRawBodyFromStdin(t *testing.T) {
	f := newFake(t).answer("PUT /v1/x", map[string]int{"b": 2})
	r := run(t.Context(), App{Stdin: strings.NewReader(`{"a":1}`), Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}, "api", "PUT", "/v1/x", "--data", "-")
	if f.asked[0] != `PUT /v1/x {"a":1}` || r.stdout != "{\n  \"b\": 2\n}\n" {
		t.Errorf("asked %v, got %q %q", f.asked, r.stdout, r.stderr)
	}
}

func TestCapacity(t *testing.T) {
	full := api.Capacity{Hosts: []api.HostCapacity{
		{Peer: "h1", Status: api.NotApplicable, Reason: "memory: 4096 MiB wanted, 100 free", Free: &api.Resources{VCPUs: 3, MemoryMiB: 100, DiskGiB: 10}},
		{Peer: "h2", Status: api.NoResponseFromHost, Reason: "silent"}}}
	f := newFake(t).answer("GET /v1/capacity", full)
	r := f.run("capacity", "--cpu", "2", "--memory", "4GiB")
	if r.code != exitNoHost || f.asked[0] != "GET /v1/capacity?disk_gib=0&memory_mib=4096&vcpus=2" {
		t.Errorf("exit %d, asked %v", r.code, f.asked)
	}
	golden(t, "capacity.golden", r.stdout+r.stderr)
}

func TestStatus(t *testing.T) {
	warning := api.Warning{Code: "peer-silent", Peer: "h3", Detail: "not heard for 40s", Action: "look at h3: is it on, is orchd running there?"}
	well := newFake(t).answer("GET /v1/status", aStatus()).run("status")
	ill := newFake(t).answer("GET /v1/status", aStatus(warning)).run("status")
	golden(t, "status.golden", well.stdout)
	golden(t, "status-warning.golden", ill.stdout)
	if well.code != 0 || ill.code != 1 || ill.stderr != "" {
		t.Errorf("exit %d when well, %d with a warning, stderr %q", well.code, ill.code, ill.stderr)
	}
	if r := newFake(t).answer("GET /v1/status", aStatus(warning)).run("status", "-o", "json"); r.code != 1 || !strings.Contains(r.stdout, `"peer-silent"`) {
		t.Errorf("json: exit %d, %s", r.code, r.stdout)
	}
}

func TestPeerRemove(t *testing.T) {
	p := aPeer()
	f := newFake(t).answer("GET /v1/peers/h1", p).answer("DELETE /v1/peers/"+p.ID, struct{}{})
	if r := f.run("peer", "remove", "h1"); r.code != 0 || r.stderr != "removing h1 ("+p.ID+"): this id is never admitted again\n" {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

// TestLeaveAsksThisHost: an address in the environment must not make another host leave.
func TestLeaveAsksThisHost(t *testing.T) {
	other := newFake(t)
	f := newFake(t).answer("GET /v1/status", aStatus()).answer("DELETE /v1/peers/h1", struct{}{})
	r := run(t.Context(), App{Environ: []string{"ORCHD_ADDR=unix://" + other.socket}}, "leave", "--data-dir", filepath.Dir(f.socket))
	if r.code != 0 || len(f.asked) != 2 || len(other.asked) != 0 {
		t.Errorf("exit %d %s, asked %v here and %v there", r.code, r.stderr, f.asked, other.asked)
	}
}

func TestConfigShow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "o.toml")
	if err := os.WriteFile(file, []byte("name = \"h1\"\nadvertise = \"10.0.0.1\"\nlabels = {rack = \"r1\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"ORCHD_API__LISTEN=:9000"}
	r := run(t.Context(), App{Environ: env}, "config", "show", "--origin", "--config", file, "--data-dir", "/srv/o")
	golden(t, "config-show.golden", strings.ReplaceAll(r.stdout, file, "FILE"))
	again := filepath.Join(t.TempDir(), "again.toml")
	if err := os.WriteFile(again, []byte(r.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t.Context(), App{}, "config", "check", "--config", again); r.code != 0 {
		t.Errorf("what show prints is no configuration: %s", r.stderr)
	}
	if r := run(t.Context(), App{Environ: env}, "config", "check", "--config", file); r.code != 0 {
		t.Errorf("check of a good file: exit %d, %s", r.code, r.stderr)
	}
	if r := run(t.Context(), App{Environ: []string{"ORCHD_NMAE=x"}}, "config", "check", "--config", file); r.code != exitUsage || !strings.Contains(r.stderr, "did you mean ORCHD_NAME?") {
		t.Errorf("check of a bad environment: exit %d, %s", r.code, r.stderr)
	}
}

func TestVersion(t *testing.T) {
	if r := run(t.Context(), App{}, "version"); r.code != 0 || !strings.HasPrefix(r.stdout, "orchd dev (go") {
		t.Errorf("exit %d, %q", r.code, r.stdout)
	}
	if r := run(t.Context(), App{}, "version", "-o", "json"); !strings.Contains(r.stdout, `"version": "dev"`) {
		t.Errorf("json: %q", r.stdout)
	}
}
