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
	catalogue(f)
	for _, command := range []string{
		"vm list", "vm show web1", "peer list", "peer show h1", "image list", "account list", "token list",
		"operation list", "operation show " + opID, "snapshot list",
		"size list", "ssh-key list", "network list", "network show lan", "account show co-op", "account usage", "domain list", "image show d", "vm snapshot list web1",
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
			golden(t, goldenName(command), all.String())
		})
	}
}

// goldenName is the file of a command: its words without what it is about.
func goldenName(command string) string {
	words := strings.Fields(command)
	return strings.Join(words[:2+strings.Count(command, "vm snapshot")], "-") + ".golden"
}

// catalogue answers what virtual machines need.
func catalogue(f *fake) {
	hour := now.Add(-time.Hour)
	f.answer("GET /v1/sizes", page(api.Size{ID: "z1", Name: "f1-s", VCPUs: 1, MemoryMiB: 1024, DiskGiB: 10, CreatedAt: hour},
		api.Size{ID: "z0", Name: "a-old", VCPUs: 1, MemoryMiB: 512, Deprecated: true, CreatedAt: hour}))
	f.answer("GET /v1/ssh-keys", page(api.SSHKey{ID: "k1", Name: "anna", Account: "co-op", Type: "ssh-ed25519", PublicKey: "ssh-ed25519 AAAA", Fingerprint: "SHA256:abc", Comment: "anna@laptop", CreatedAt: hour}))
	lan := api.Network{ID: "n1", Name: "lan", CreatedAt: hour, NetworkShape: api.NetworkShape{CIDR: "10.1.0.0/24", Gateway: "10.1.0.1", First: "10.1.0.10", Last: "10.1.0.99", CIDR6: "fd00:1::/64", Gateway6: "fd00:1::1",
		DNS: []string{"10.1.0.1", "9.9.9.9"}, Bridge: "br0", MTU: 9000, Pools: []api.AddressPool{{Peer: "h1", First: "10.1.0.10", Last: "10.1.0.19", Gateway: "10.1.0.9"}, {Peer: "h2", First: "10.1.0.20", Last: "10.1.0.29"}}}}
	f.answer("GET /v1/networks", page(lan, api.Network{ID: "n2", Name: "nat", CreatedAt: hour, NetworkShape: api.NetworkShape{CIDR: "192.168.122.0/24", Libvirt: "default", Open: true}}))
	f.answer("GET /v1/networks/lan", lan)
	f.answer("GET /v1/accounts/co-op", api.AccountView{Account: api.Account{Name: "co-op", Quota: api.Quota{VMs: 20, MemoryMiB: 65536}, Suspended: true, Reason: "no payment", CreatedAt: hour},
		Used: api.Quota{VMs: 3, VCPUs: 6, MemoryMiB: 12288, DiskGiB: 60, Addresses: 3}})
	f.answer("GET /v1/usage", page(api.Usage{Account: "co-op", Month: "2026-11", VMSeconds: 7200, VCPUSeconds: 14400, MemoryMiBSeconds: 7200 * 4096, DiskGiBSeconds: 7200 * 20, AddressSeconds: 400, CountedUntil: now}))
	f.answer("GET /v1/domains", page(
		api.ForeignDomain{Peer: "h2", UUID: "u1", Name: "mail", State: api.VMRunning, VCPUs: 2, MemoryMiB: 2048, DiskGiB: 30, MACs: []string{"52:54:00:00:00:01"}, Disks: []string{"/srv/mail.img"}, Flags: []string{"disk-not-in-pool", "no-cloud-init"}},
		api.ForeignDomain{Peer: "h1", UUID: "u2", Name: "web1-0b9f2d1e", State: api.VMStopped, VCPUs: 1, MemoryMiB: 512, Cluster: "c9", Record: &api.VM{Name: "web1", Account: "default"}},
		api.ForeignDomain{Peer: "h1", UUID: "u3", Name: "x", State: api.VMPaused, VCPUs: 1, MemoryMiB: 512, Cluster: "c8"}))
	f.answer("GET /v1/images/d", api.ImageView{Peers: []string{"h1", "h3"}, Image: api.Image{ID: "i3", Name: "d", Account: "co-op", Kind: api.ImageDisk, Source: api.SourceURL, URL: "https://x.org/d", Format: "qcow2",
		SHA256: "ab", Bytes: 300 << 20, VirtualBytes: 2 << 30, State: api.ImageAvailable, Operation: opID, CreatedAt: hour}})
	f.answer("GET /v1/vms/web1/snapshots", page(api.DiskSnapshot{ID: "s2", Name: "later", VM: vmID, State: api.DiskSnapshotFailed, Reason: "no space", CreatedAt: now},
		api.DiskSnapshot{ID: "s1", Name: "before", VM: vmID, State: api.DiskSnapshotReady, Operation: opID, CreatedAt: hour}))
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
