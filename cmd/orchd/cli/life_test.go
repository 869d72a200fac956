package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// words of a test's command line: split at spaces, but for '...'.
func split(line string) []string {
	var args []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			args = append(args, part)
			continue
		}
		args = append(args, strings.Fields(part)...)
	}
	return args
}

// TestVerbsAsk holds what each verb sends: line -> the one request that changes something.
func TestVerbsAsk(t *testing.T) {
	done := anOperation(api.OpSucceeded)
	snapshot := api.DiskSnapshot{ID: "s1", Name: "before", VM: vmID, State: api.DiskSnapshotReady, CreatedAt: now}
	for _, c := range []struct {
		line   string
		answer any
		want   string
	}{
		{"vm start web1", done, "POST /v1/vms/web1/start"},
		{"vm stop web1", done, "POST /v1/vms/web1/stop"},
		{"vm stop web1 --timeout 2m", done, `POST /v1/vms/web1/stop {"timeout":"2m0s"}`},
		{"vm restart team/web1 --timeout 10s", done, `POST /v1/vms/web1/restart?account=team {"timeout":"10s"}`},
		{"vm restart web1", done, "POST /v1/vms/web1/restart"},
		{"vm pause web1", done, "POST /v1/vms/web1/pause"},
		{"vm resume web1", done, "POST /v1/vms/web1/resume"},
		{"vm resize web1 --size f1-m", done, `POST /v1/vms/web1/resize {"size":"f1-m"}`},
		{"vm resize web1 --cpu 4 --memory 8GiB --disk 40GiB", done, `POST /v1/vms/web1/resize {"vcpus":4,"memory_mib":8192,"disk_gib":40}`},
		{"vm resize web1 --size f1-m --disk 40GiB", done, `POST /v1/vms/web1/resize {"size":"f1-m","disk_gib":40}`},
		{"vm rename web1 www1", aVM(), `PATCH /v1/vms/web1 {"name":"www1"}`},
		{"vm protect web1", aVM(), `PATCH /v1/vms/web1 {"protected":true}`},
		{"vm protect web1 --off", aVM(), `PATCH /v1/vms/web1 {"protected":false}`},
		{"vm set web1 --restart always", aVM(), `PATCH /v1/vms/web1 {"restart":"always"}`},
		{"vm adopt mail --peer h2", aVM(), `POST /v1/vms/adopt {"peer":"h2","domain":"mail"}`},
		{"vm adopt mail --peer h2 --name mail1 --account co-op --label a=b", aVM(), `POST /v1/vms/adopt {"peer":"h2","domain":"mail","name":"mail1","account":"co-op","labels":{"a":"b"}}`},
		{"vm adopt web1-0b9f2d1e --peer h2 --recover", aVM(), `POST /v1/vms/adopt {"peer":"h2","domain":"web1-0b9f2d1e","recover":true}`},
		{"vm snapshot create web1 before --no-wait", snapshot, `POST /v1/vms/web1/snapshots {"name":"before"}`},
		{"vm snapshot create team/web1 before --no-wait", snapshot, `POST /v1/vms/web1/snapshots?account=team {"name":"before"}`},
		{"vm snapshot delete web1 before", done, "DELETE /v1/vms/web1/snapshots/before"},
		{"size create f1-s --cpu 1 --memory 1GiB --disk 10GiB", api.Size{Name: "f1-s"}, `POST /v1/sizes {"name":"f1-s","vcpus":1,"memory_mib":1024,"disk_gib":10}`},
		{"size deprecate f1-s", api.Size{Name: "f1-s"}, `PATCH /v1/sizes/f1-s {"deprecated":true}`},
		{"size deprecate f1-s --off", api.Size{Name: "f1-s"}, `PATCH /v1/sizes/f1-s {"deprecated":false}`},
		{"size delete f1-s", struct{}{}, "DELETE /v1/sizes/f1-s"},
		{"ssh-key delete anna --account co-op", struct{}{}, "DELETE /v1/ssh-keys/anna?account=co-op"},
		{"network create lan --bridge br0 --cidr 10.1.0.0/24 --gateway 10.1.0.1 --first 10.1.0.10 --last 10.1.0.99 --dns 10.1.0.1,9.9.9.9 --mtu 9000 --open", api.Network{Name: "lan"},
			`POST /v1/networks {"name":"lan","cidr":"10.1.0.0/24","gateway":"10.1.0.1","first":"10.1.0.10","last":"10.1.0.99","dns":["10.1.0.1","9.9.9.9"],"bridge":"br0","mtu":9000,"open":true}`},
		{"network create six --libvirt default --cidr 192.0.2.0/24 --cidr6 fd00:1::/64 --gateway6 fd00:1::1 --pool h1=192.0.2.2-192.0.2.9,192.0.2.1 --pool h2=fd00:1::10-fd00:1::20", api.Network{Name: "six"},
			`POST /v1/networks {"name":"six","cidr":"192.0.2.0/24","cidr6":"fd00:1::/64","gateway6":"fd00:1::1","libvirt":"default","pools":[{"peer":"h1","first":"192.0.2.2","last":"192.0.2.9","gateway":"192.0.2.1"},{"peer":"h2","first":"fd00:1::10","last":"fd00:1::20"}]}`},
		{"network delete lan", struct{}{}, "DELETE /v1/networks/lan"},
		{"account create co-op", api.Account{Name: "co-op"}, `POST /v1/accounts {"name":"co-op"}`},
		{"account create co-op --vms 20 --cpu 40 --memory 64GiB --disk 1TiB --addresses 20", api.Account{Name: "co-op"},
			`POST /v1/accounts {"name":"co-op","quota":{"vms":20,"vcpus":40,"memory_mib":65536,"disk_gib":1024,"addresses":20}}`},
		{"account set co-op --vms 30 --memory 0", api.Account{Name: "co-op"}, `PATCH /v1/accounts/co-op {"quota":{"memory_mib":0,"vms":30}}`},
		{"account suspend co-op --reason 'no payment'", api.Account{Name: "co-op"}, `POST /v1/accounts/co-op/suspend {"reason":"no payment"}`},
		{"account resume co-op", api.Account{Name: "co-op"}, "POST /v1/accounts/co-op/resume"},
		{"account delete co-op", struct{}{}, "DELETE /v1/accounts/co-op"},
		{"operation cancel " + opID, anOperation(api.OpCancelled), "DELETE /v1/operations/" + opID},
		{"image create d --url https://x.org/d --sha256 ab --format qcow2", api.Image{Name: "d"}, `POST /v1/images {"name":"d","kind":"disk","source":"url","url":"https://x.org/d","format":"qcow2","sha256":"ab"}`},
		{"image create d --peer h1 --path /srv/d.img --account co-op", api.Image{Name: "d"}, `POST /v1/images {"name":"d","account":"co-op","kind":"disk","source":"peer","path":"/srv/d.img","peer":"h1"}`},
		{"vm export web1 --image img --no-wait", api.Image{Name: "img"}, "POST /v1/vms/" + vmID + `/export {"image":"img"}`},
	} {
		f := newFake(t).answer("/", c.answer).answer("GET /v1/vms/web1", aVM())
		r := f.run(split(c.line)...)
		writes := slices.DeleteFunc(slices.Clone(f.asked), func(s string) bool { return strings.HasPrefix(s, "GET ") })
		if r.code != 0 || len(writes) != 1 || writes[0] != c.want {
			t.Errorf("orchd %s: exit %d %s\nasked %v\nwant  %s", c.line, r.code, r.stderr, f.asked, c.want)
		}
		if strings.HasPrefix(c.want, "POST") && f.keys[0] == "" {
			t.Errorf("orchd %s: no Idempotency-Key", c.line)
		}
	}
}

// TestWrongUsageOfVerbs: nobody is asked anything.
func TestWrongUsageOfVerbs(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"vm stop a --timeout -1s", `invalid argument "-1s" for "--timeout" flag: want a time above 0, as 90s or 5m`},
		{"vm wait a --timeout -1s", "want a time above 0"},
		{"vm start a --timeout 0s", "want a time above 0"},
		{"operation wait x --timeout -5m", "want a time above 0"},
		{"vm create a --timeout soon", "want a time above 0"},
		{"vm create a --size s --cpu 2", "[cpu size] were all set"},
		{"vm create a --size s --memory 1GiB", "[memory size] were all set"},
		{"vm create a --restart sometimes", "want always, on-failure or never"},
		{"vm create a --spread rack", "want peer, chassis, cabinet or label:KEY"},
		{"vm create a --spread label", "want label:KEY, such as label:rack"},
		{"vm create a --spread peer:x", "want peer, chassis, cabinet or label:KEY"},
		{"vm create a --require-label x", "want KEY=VALUE"},
		{"vm create a --cloud-init file.yaml", `--cloud-init: want @FILE, got "file.yaml"`},
		{"vm create a --cloud-init @/nowhere.yaml", "--cloud-init: read @FILE: open /nowhere.yaml"},
		{"vm create a --ssh-key @/nowhere.pub", "read @FILE: open /nowhere.pub"},
		{"vm resize a", "at least one of the flags"},
		{"vm resize a --size s --cpu 1", "[cpu size] were all set"},
		{"vm set a", `required flag(s) "restart" not set`},
		{"vm rename a", "want: orchd vm rename OLD NEW"},
		{"vm adopt a", `required flag(s) "peer" not set`},
		{"vm adopt a --peer h --recover --name b", "[name recover] were all set"},
		{"vm export a", `required flag(s) "image" not set`},
		{"vm export a --image i --file f --no-wait", "--file cannot come with --no-wait"},
		{"vm snapshot create a", "want: orchd vm snapshot create VM NAME"},
		{"image create a --url https://x.org/y", "--url needs --sha256"},
		{"image create a --file f --path /p", "[file path] were all set"},
		{"image create a --file /nowhere.img", "--file: open /nowhere.img"},
		{"image download a", `required flag(s) "file" not set`},
		{"network create a --pool h1=10.0.0.1", "want PEER=FIRST-LAST or PEER=FIRST-LAST,GATEWAY"},
		{"network create a --pool h1=10.0.0.1-10.0.0", `"10.0.0" is no address`},
		{"network create a --bridge b --libvirt l", "[bridge libvirt] were all set"},
		{"account set a", "at least one of the flags"},
		{"size create s --cpu 1", `required flag(s) "memory" not set`},
		{"recover", `required flag(s) "from-hosts" not set`},
		{"join h1 --token t --adopt --no-serve", "[adopt no-serve] were all set"},
		{"ssh-key create a key.pub", `want @FILE, got "key.pub"`},
	} {
		f := newFake(t)
		r := f.run(split(c.line)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || r.stdout != "" || len(f.asked) > 0 {
			t.Errorf("orchd %s: exit %d, %q, asked %v; want 2 and %q", c.line, r.code, r.stderr, f.asked, c.want)
		}
		if lines := strings.Count(r.stderr, "\n"); lines > 3 {
			t.Errorf("orchd %s: %d lines of error:\n%s", c.line, lines, r.stderr)
		}
	}
}

// TestPatienceWithTheGuestIsNotThatOfTheCaller: a stop is waited for beyond its timeout.
func TestPatienceWithTheGuestIsNotThatOfTheCaller(t *testing.T) {
	f := newFake(t).answer("POST /v1/vms/web1/stop", anOperation(api.OpRunning)).
		answer("GET /v1/operations/"+opID, anOperation(api.OpRunning), anOperation(api.OpSucceeded))
	if r := f.run("vm", "stop", "web1", "--timeout", "1ms"); r.code != 0 || len(f.asked) < 3 {
		t.Errorf("exit %d, %q, asked %v", r.code, r.stderr, f.asked)
	}
}

// TestSeveralNames: one name that fails stops none of the others, and the exit code
// is that of the worst.
func TestSeveralNames(t *testing.T) {
	gone := &api.Error{Kind: api.NotFound, Msg: "there is no such vm"}
	stopped := aVM()
	stopped.Status.State = api.VMStopped
	done := anOperation(api.OpSucceeded)
	f := newFake(t).
		answer("GET /v1/vms", page(aVM())).
		answer("GET /v1/vms/wbe1", gone).
		answer("GET /v1/vms/db1", aVM()).
		answer("GET /v1/vms/web1", stopped).
		answer("DELETE /v1/vms/"+vmID, done)
	r := f.run("vm", "delete", "wbe1", "db1", "web1", "-o", "name")
	if r.code != exitConflict || r.stdout != opID+"\n" {
		t.Errorf("exit %d, stdout %q", r.code, r.stdout)
	}
	for _, want := range []string{
		"orchd vm delete: wbe1: there is no such vm\ndid you mean web1?\n",
		"orchd vm delete: db1: web1 is running on h2\nstop it first (orchd vm stop db1)",
		"deleting default/web1 (",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("stderr %q: no %q", r.stderr, want)
		}
	}
}

func TestSeveralOfEachKind(t *testing.T) {
	for _, c := range []struct{ line, path string }{
		{"image delete a b", "/v1/images/b"},
		{"token revoke a b", "/v1/tokens/b"},
		{"size delete a b", "/v1/sizes/b"},
		{"network delete a b", "/v1/networks/b"},
		{"account delete a b", "/v1/accounts/b"},
		{"ssh-key delete a b", "/v1/ssh-keys/b"},
		{"vm start a b", "/v1/vms/b/start"},
		{"vm pause a b", "/v1/vms/b/pause"},
		{"vm protect a b", "/v1/vms/b"},
		{"account resume a b", "/v1/accounts/b/resume"},
		{"vm snapshot delete web1 a b", "/v1/vms/web1/snapshots/b"},
		{"operation cancel a b", "/v1/operations/b"},
	} {
		f := newFake(t).answer("/", &api.Error{Kind: api.NotFound, Msg: "there is no such thing"}).answer(c.path, anOperation(api.OpCancelled))
		r := f.run(strings.Fields(c.line)...)
		reached := slices.ContainsFunc(f.asked, func(s string) bool { return strings.Contains(s, " "+c.path) })
		if r.code != exitNotFound || !reached || !strings.Contains(r.stderr, ": a: there is no such thing") {
			t.Errorf("orchd %s: exit %d, %q, asked %v", c.line, r.code, r.stderr, f.asked)
		}
	}
}

// TestSeveralNamesWithoutACluster says once that nobody is there.
func TestSeveralNamesWithoutACluster(t *testing.T) {
	r := run(t.Context(), App{Environ: []string{"ORCHD_ADDR=127.0.0.1:1"}}, "vm", "start", "a", "b", "c")
	if r.code != exitUnreachable || strings.Count(r.stderr, "no peer could be reached") != 1 {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestProtectedIsNotDeleted(t *testing.T) {
	vm := aVM()
	vm.Protected, vm.Status.State = true, api.VMStopped
	for _, force := range [][]string{nil, {"--force"}} {
		f := newFake(t).answer("GET /v1/vms/web1", vm)
		r := f.run(append([]string{"vm", "delete", "web1"}, force...)...)
		if want := "orchd vm delete: web1 is protected\nif it is to go: orchd vm protect web1 --off\n"; r.code != exitConflict || r.stderr != want || len(f.asked) != 1 {
			t.Errorf("%v: exit %d, %q, asked %v", force, r.code, r.stderr, f.asked)
		}
	}
}

// TestFieldsAsSentences: what a schema says is not how people talk.
func TestFieldsAsSentences(t *testing.T) {
	for _, c := range []struct{ pointer, detail, want string }{
		{"/spec/vcpus", "expected number <= 1024", "--cpu must be at most 1024"},
		{"/vcpus", "expected number >= 1", "--cpu must be at least 1"},
		{"/query/vcpus", "expected number >= 0", "--cpu must be at least 0"},
		{"/spec/memory_mib", "expected number <= 6.7108864e+07", "--memory must be at most 64TiB"},
		{"/spec/memory_mib", "expected number >= 16", "--memory must be at least 16MiB"},
		{"/spec/disk_gib", "expected number <= 1048576", "--disk must be at most 1PiB"},
		{"/quota/vms", "expected number >= 0", "--vms must be at least 0"},
		{"/mtu", "expected number >= 576", "--mtu must be at least 576"},
		{"/name", "expected string to match pattern ^[a-z0-9][a-z0-9-]{0,62}$", "name must be 1 to 63 of a-z, 0-9 and -, and not begin with -"},
		{"/sha256", "expected string to match pattern ^[0-9a-f]{64}$", "--sha256 must be 64 of 0-9 and a-f"},
		{"/x", "expected string to match pattern ^y$", "x is not in the form that it must have (^y$)"},
		{"/spec/restart", `expected value to be one of "always, on-failure, never"`, "--restart must be always, on-failure or never"},
		{"/spec/image", "expected length <= 63", "--image must have at most 63 characters"},
		{"/spec/ssh_keys", "expected array length <= 64", "--ssh-key may be given at most 64 times"},
		{"/labels", "expected object with at most 64 properties", "--label may be given at most 64 times"},
		{"/spec/placement/group", "expected string to match pattern ^[a-z0-9][a-z0-9-]{0,62}$", "--group must be 1 to 63 of a-z, 0-9 and -, and not begin with -"},
		{"/version", "expected integer", "version must be a whole number"},
		{"/spec/new", "unexpected property", "spec/new is not known to this peer: it may run another version of orchd"},
		{"/name", "expected a name", "name: expected a name"},
		{"/spec/ssh_keys/0", "the account has no such SSH key", "--ssh-key: the account has no such SSH key"},
		{"/pools/1/peer", "no such peer", "--pool: no such peer"},
		{"/spec/size", "this size is deprecated", "--size: this size is deprecated"},
		{"", "nothing is to change", "nothing is to change"},
	} {
		every := flagSet(func(string) bool { return true })
		if got := every.fieldLine(api.FieldError{Pointer: c.pointer, Detail: c.detail}); got != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.pointer, c.detail, got, c.want)
		}
	}
}

// TestFieldsOfOtherCommands: a field that no flag sets keeps its name.
func TestFieldsOfOtherCommands(t *testing.T) {
	e := &api.Error{Kind: api.Invalid, Msg: "see errors", Fields: []api.FieldError{{Pointer: "/labels", Detail: "expected object with at most 64 properties"}}}
	r := newFake(t).answer("POST /v1/vms", e).run("api", "POST", "/v1/vms", "-d", "{}")
	if want := "orchd api: labels may be given at most 64 times\n"; r.stderr != want {
		t.Errorf("got %q, want %q", r.stderr, want)
	}
}

// TestLimitReadsAsASentence on the command line too.
func TestLimitReadsAsASentence(t *testing.T) {
	e := &api.Error{Kind: api.Invalid, Msg: "the request is not valid: see errors", Fields: []api.FieldError{{Pointer: "/spec/vcpus", Detail: "expected number <= 1024"}}}
	r := newFake(t).answer("POST /v1/vms", e).run("vm", "create", "a", "--cpu", "5000")
	if want := "orchd vm create: --cpu must be at most 1024\n"; r.code != exitUsage || r.stderr != want {
		t.Errorf("exit %d, %q, want %q", r.code, r.stderr, want)
	}
}

func TestDiskSnapshotRestoreAsks(t *testing.T) {
	s := api.DiskSnapshot{ID: "s1", Name: "before", CreatedAt: now.Add(-time.Hour)}
	peer := func() *fake {
		return newFake(t).answer("GET /v1/vms/web1/snapshots/before", s).answer("POST /v1/vms/web1/snapshots/s1/restore", anOperation(api.OpSucceeded))
	}
	what := "the disk of web1 goes back to before of 2026-11-01T11:00:00Z; all that was written since is lost"
	f := peer()
	if r := f.run("vm", "snapshot", "restore", "web1", "before"); r.code != exitUsage || !strings.Contains(r.stderr, what) || !strings.Contains(r.stderr, "--yes") || len(f.asked) != 1 {
		t.Errorf("nobody to ask: exit %d, %q, asked %v", r.code, r.stderr, f.asked)
	}
	f = peer()
	if r := f.run("vm", "snapshot", "restore", "web1", "before", "--yes"); r.code != 0 || !strings.Contains(r.stderr, what) || len(f.asked) != 2 {
		t.Errorf("--yes: exit %d, %q, asked %v", r.code, r.stderr, f.asked)
	}
	f = peer()
	if r := f.screen("no\n", "vm", "snapshot", "restore", "web1", "before"); r.code != exitFailed || len(f.asked) != 1 {
		t.Errorf("no: exit %d, %q, asked %v", r.code, r.stderr, f.asked)
	}
	f = peer()
	if r := f.screen("yes\n", "vm", "snapshot", "restore", "web1", "before"); r.code != 0 || len(f.asked) != 2 {
		t.Errorf("yes: exit %d, %q, asked %v", r.code, r.stderr, f.asked)
	}
}

func TestSnapshotCreateWaits(t *testing.T) {
	made := api.DiskSnapshot{ID: "s1", Name: "before", VM: vmID, State: api.DiskSnapshotCreating, Operation: opID}
	ready := made
	ready.State = api.DiskSnapshotReady
	f := newFake(t).answer("POST /v1/vms/web1/snapshots", made).
		answer("GET /v1/operations/"+opID, anOperation(api.OpSucceeded)).
		answer("GET /v1/vms/web1/snapshots/s1", ready)
	if r := f.run("vm", "snapshot", "create", "web1", "before"); r.code != 0 || !strings.Contains(r.stdout, "ready") {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

func TestCancelThatCameTooLate(t *testing.T) {
	f := newFake(t).answer("DELETE /v1/operations/"+opID, anOperation(api.OpRunning)).answer("GET /v1/operations/"+opID, anOperation(api.OpSucceeded))
	r := f.run("operation", "cancel", opID)
	if r.code != exitConflict || !strings.Contains(r.stderr, "create of web1 was done before it could be cancelled") {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestCancelWaitsForTheEnd(t *testing.T) {
	f := newFake(t).answer("DELETE /v1/operations/"+opID, anOperation(api.OpRunning)).answer("GET /v1/operations/"+opID, anOperation(api.OpRunning), anOperation(api.OpCancelled))
	r := f.run("operation", "cancel", opID)
	if r.code != 0 || !strings.Contains(r.stdout, "cancelled") {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

// TestStepsAreShownAtATerminal, and nowhere else.
func TestStepsAreShownAtATerminal(t *testing.T) {
	on := anOperation(api.OpRunning)
	on.Steps = []api.OpStep{{Name: "place", TookMs: 3}, {Name: "image", Done: 1 << 20, Total: 4 << 20}}
	peer := func() *fake { return newFake(t).answer("GET /v1/operations/"+opID, on, anOperation(api.OpSucceeded)) }
	r := peer().screen("", "operation", "wait", opID)
	for _, want := range []string{"create of web1: running\n", "  place 3ms\n", "\r\x1b[K  image: 1MiB of 4MiB, 25% [======                  ]", "create of web1: succeeded\n"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("saw %q: no %q", r.stderr, want)
		}
	}
	if r := peer().run("operation", "wait", opID); r.stderr != "create of web1: running\ncreate of web1: succeeded\n" {
		t.Errorf("no terminal: %q", r.stderr)
	}
	if r := peer().screen("", "operation", "wait", opID, "-q"); r.stderr != "" {
		t.Errorf("--quiet: saw %q", r.stderr)
	}
}

func TestAdoptSaysWhatItCannotManage(t *testing.T) {
	vm := aVM()
	vm.Status.Flags = []string{"disk-not-in-pool", "new-flag"}
	r := newFake(t).answer("POST /v1/vms/adopt", vm).run("vm", "adopt", "mail", "--peer", "h2")
	if r.code != 0 || !strings.Contains(r.stderr, "web1: its disk is not in orchd's own folder") || !strings.Contains(r.stderr, "web1: new-flag") {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestScreenshot(t *testing.T) {
	png := "\x89PNG\r\n\x1a\n..."
	peer := func() *fake {
		f := newFake(t)
		f.text("GET /v1/vms/web1/screenshot", png)
		return f
	}
	if r := peer().run("vm", "screenshot", "web1"); r.code != 0 || r.stdout != png {
		t.Errorf("exit %d, %q, %s", r.code, r.stdout, r.stderr)
	}
	file := filepath.Join(t.TempDir(), "web1.png")
	r := peer().run("vm", "screenshot", "web1", "-O", file)
	if got, err := os.ReadFile(file); err != nil || string(got) != png || r.stdout != "" || r.code != 0 {
		t.Errorf("exit %d, file %q (%v), stdout %q", r.code, got, err, r.stdout)
	}
	f := peer()
	r = f.atTerminal("", "vm", "screenshot", "web1")
	if r.code != exitUsage || len(f.asked) > 0 || !strings.Contains(r.stderr, "a picture does not go to a terminal") {
		t.Errorf("at a terminal: exit %d, saw %q, asked %v", r.code, r.stderr, f.asked)
	}
}

func TestConsoleLog(t *testing.T) {
	f := newFake(t)
	f.text("GET /v1/vms/web1/console-log", "login: ")
	if r := f.run("vm", "console-log", "team/web1", "--tail", "4KiB"); r.code != 0 || r.stdout != "login: " || f.asked[0] != "GET /v1/vms/web1/console-log?account=team&tail=4096" {
		t.Errorf("exit %d, %q, asked %v", r.code, r.stdout, f.asked)
	}
}
