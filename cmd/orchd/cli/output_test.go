package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// TestListings holds every listing in every format against its golden file.
func TestListings(t *testing.T) {
	f := newFake(t)
	f.answer("GET /v1/vms", page(aVM(), api.VM{Name: "db1", Status: api.VMStatus{State: api.VMFailed, Reason: `no space, "at all"`}}))
	f.answer("GET /v1/vms/web1", aVM())
	f.answer("GET /v1/peers", page(aPeer()))
	f.answer("GET /v1/peers/h1", aPeer())
	f.answer("GET /v1/images", page(
		api.Image{ID: "i1", Name: "debian-12", Kind: api.ImageDisk, Path: "/srv/d.qcow2", Format: "qcow2", CreatedAt: now.Add(-72 * time.Hour)},
		api.Image{ID: "i2", Name: "tiny", Kind: api.ImageKernel, Kernel: "/srv/vmlinuz", Initrd: "/srv/initrd", Cmdline: "console=ttyS0", CreatedAt: now}))
	f.answer("GET /v1/accounts", page(api.Account{Name: "default", CreatedAt: now.Add(-time.Hour)}))
	f.answer("GET /v1/tokens", page(api.Token{ID: "t1", Role: api.RolePeer, Uses: 3, UsedBy: []string{"p1"}, CreatedBy: "uid:0", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}))
	f.answer("GET /v1/operations", page(anOperation(api.OpSucceeded)))
	f.answer("GET /v1/operations/"+opID, anOperation(api.OpSucceeded))
	f.answer("GET /v1/snapshots", page(api.Snapshot{ID: "000000000042", Index: 42, Term: 3, Bytes: 70000, Rows: map[string]int64{"vms": 2, "peers": 3}, Path: "/var/lib/orchd/snapshots/index=000000000042", CreatedAt: now.Add(-time.Hour)}))
	f.answer("GET /v1/status", aStatus())
	for _, command := range []string{
		"vm list", "vm show web1", "peer list", "peer show h1", "image list", "account list", "token list",
		"operation list", "operation show " + opID, "snapshot list",
	} {
		t.Run(command, func(t *testing.T) {
			var all strings.Builder
			for _, format := range formats {
				r := f.run(append(strings.Fields(command), "-o", format)...)
				if r.code != exitDone || r.stderr != "" {
					t.Errorf("-o %s: exit %d, stderr %q", format, r.code, r.stderr)
				}
				all.WriteString("# -o " + format + "\n" + r.stdout)
			}
			golden(t, strings.Join(strings.Fields(command)[:2], "-")+".golden", all.String())
		})
	}
}

func TestNoHeaders(t *testing.T) {
	f := newFake(t).answer("GET /v1/accounts", page(api.Account{Name: "default", CreatedAt: now}))
	for _, format := range []string{"table", "csv"} {
		if r := f.run("account", "list", "--no-headers", "-o", format); strings.Contains(strings.ToLower(r.stdout), "name") || !strings.Contains(r.stdout, "default") {
			t.Errorf("-o %s: got %q", format, r.stdout)
		}
	}
}

func TestEmptyList(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms", page[api.VM]())
	for format, want := range map[string]string{"table": "", "json": "[]\n", "yaml": "[]\n", "name": ""} {
		if r := f.run("vm", "list", "-o", format); r.stdout != want || r.code != exitDone {
			t.Errorf("-o %s: got %q, exit %d; want %q", format, r.stdout, r.code, want)
		}
	}
}

func TestOutputFromTheEnvironment(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms", page(aVM()))
	env := []string{"ORCHD_ADDR=unix://" + f.socket, "ORCHD_OUTPUT=name"}
	if r := run(t.Context(), App{Environ: env}, "vm", "list"); r.stdout != "web1\n" {
		t.Errorf("got %q, want the name", r.stdout)
	}
	if r := run(t.Context(), App{Environ: env}, "vm", "list", "-o", "jsno"); r.code != exitUsage || !strings.Contains(r.stderr, "did you mean json?") {
		t.Errorf("misspelt: exit %d, %q", r.code, r.stderr)
	}
}

func TestListsReadAllPages(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms", api.Page[api.VM]{Items: []api.VM{{Name: "a"}}, Next: "c1"}, page(api.VM{Name: "b"}))
	if r := f.run("vm", "list", "-o", "name"); r.stdout != "a\nb\n" || !strings.Contains(f.asked[1], "cursor=c1") {
		t.Errorf("got %q, asked %v", r.stdout, f.asked)
	}
}

func TestAge(t *testing.T) {
	a := App{Now: func() time.Time { return now }}
	for ago, want := range map[time.Duration]string{
		-time.Hour: "0s", 5 * time.Second: "5s", 119 * time.Second: "119s", 5 * time.Minute: "5m", 5 * time.Hour: "5h", 72 * time.Hour: "3d",
	} {
		if got := a.age(now.Add(-ago)); got != want {
			t.Errorf("%s ago: got %s, want %s", ago, got, want)
		}
	}
}
