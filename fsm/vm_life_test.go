package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// guests is a log with what VMs need: networks, a size, keys and an image.
type guests struct{ *log }

func newGuests(t *testing.T, peers ...string) *guests {
	l := newLog(t, peers...)
	l.must(admin, createNetwork, api.NetworkCreate{Name: "lan", NetworkShape: api.NetworkShape{CIDR: "10.9.0.0/24", Gateway: "10.9.0.1", Bridge: "br0", CIDR6: "fd09::/64", DNS: []string{"10.9.0.2"}}})
	l.must(admin, createSize, api.SizeCreate{Name: "small", VCPUs: 1, MemoryMiB: 512, DiskGiB: 5})
	l.must(operator, createSSHKey, sshKeyCreate{Name: "anna", Type: "ssh-ed25519", Key: testKeys[0], Comment: "anna@laptop"})
	l.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "debian", Path: "/images/debian.qcow2", Format: "qcow2"}})
	return &guests{l}
}

// whole is a VM with everything.
func whole(name string) api.VMCreate {
	return api.VMCreate{Name: name, Spec: api.VMSpec{Size: "small", Image: "debian", Network: "lan", SSHKeys: []string{"anna"}}}
}

func (g *guests) made(c api.VMCreate, candidates ...string) api.VM {
	g.t.Helper()
	return *g.must(operator, createVM, vmCreate{VM: c, Candidates: candidates}).Object.(*api.VM)
}

// running makes a VM and lets its owner start it.
func (g *guests) running(c api.VMCreate, candidates ...string) api.VM {
	g.t.Helper()
	vm := g.made(c, candidates...)
	g.must(ActorOfPeer(vm.Status.OwnerID), beginVM, vmEpoch{vm.ID, vm.Status.Epoch})
	return g.says(vm, api.VMReport{State: api.VMRunning})
}

// says is a report of the owner of a VM.
func (g *guests) says(vm api.VM, r api.VMReport) api.VM {
	g.t.Helper()
	r.VM, r.Epoch = vm.ID, vm.Status.Epoch
	g.must(ActorOfPeer(vm.Status.OwnerID), reportVM, r)
	return g.vm(vm.ID)
}

// asks gives the operation of a verb.
func (g *guests) asks(vm api.VM, verb string) api.Operation {
	g.t.Helper()
	return g.op(g.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: verb}).Key)
}

func (g *guests) wantOp(id string, want api.OpState, why string) {
	g.t.Helper()
	if o := g.op(id); o.State != want || !strings.Contains(o.Error, why) {
		g.t.Errorf("operation %s is %s (%s), want %s (%s)", o.Kind, o.State, o.Error, want, why)
	}
}

func TestCreateFillsIn(t *testing.T) {
	g := newGuests(t, "a")
	vm := g.made(whole("web"), "a")
	want := api.VMSpec{Size: "small", VCPUs: 1, MemoryMiB: 512, DiskGiB: 5, Image: "debian", Network: "lan", SSHKeys: []string{"anna"}, Restart: api.RestartOnFailure}
	if fmt.Sprint(vm.Spec) != fmt.Sprint(want) {
		t.Errorf("specification:\n got %+v\nwant %+v", vm.Spec, want)
	}
	seed, ok := g.m.Read().Seed(vm.ID)
	if key := "ssh-ed25519 " + testKeys[0] + " anna@laptop"; !ok || !slices.Equal(seed.Keys, []string{key}) || vm.Status.HasUserData {
		t.Errorf("seed: %+v, %v; want the key %q alone", seed, ok, key)
	}
	a := vm.Status.Addresses
	if len(a) != 2 || a[0].IP != "10.9.0.3" || a[1].IP != "fd09::1" || a[0].MAC != a[1].MAC || !strings.HasPrefix(a[0].MAC, "52:54:00:") || a[0].Network != "lan" {
		t.Errorf("addresses: %+v; want the first that is neither gateway nor name server, and one of IPv6, under one MAC", a)
	}
	for _, has := range a {
		if l, held := leases.one(g.m.Read(), has.IP); !held || l.VM != vm.ID || l.MAC != has.MAC {
			t.Errorf("lease of %s: %+v, %v", has.IP, l, held)
		}
	}
	g.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete}) // never begun: gone at once
	r := g.m.Read()
	_, seeded := r.Seed(vm.ID)
	_, explained := r.Why(vm.ID)
	if seeded || explained || leases.size(r.state) != 0 || r.used(api.DefaultAccount) != (api.Quota{}) {
		t.Errorf("after the delete: a seed %v, a placement %v, %d leases, the account holds %+v", seeded, explained, leases.size(r.state), r.used(api.DefaultAccount))
	}
	if again := g.made(whole("web"), "a"); again.Status.Addresses[0].IP != a[0].IP {
		t.Errorf("the address is %s, want the one that is free again", again.Status.Addresses[0].IP)
	}
}

func TestCreatePointsAtFields(t *testing.T) {
	g := newGuests(t, "a")
	g.must(admin, createSize, api.SizeCreate{Name: "old", VCPUs: 1, MemoryMiB: 512})
	old, _ := g.m.Read().Size("old")
	g.must(admin, updateSize, sizeUpdate{ID: old.ID, Update: api.SizeUpdate{Deprecated: true}})
	g.must(admin, createAccount, api.AccountCreate{Name: "other"})
	g.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "theirs", Account: "other", Path: "/theirs"}})
	g.must(admin, createSSHKey, sshKeyCreate{Name: "ben", Account: "other", Type: "ssh-ed25519", Key: testKeys[1]})
	g.must(admin, createNetwork, api.NetworkCreate{Name: "nowhere", NetworkShape: api.NetworkShape{CIDR: "10.1.0.0/24"}})
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprint("k", i)] = ""
	}
	for name, c := range map[string]struct {
		edit    func(c *api.VMCreate)
		pointer string
	}{
		"no such size":              {func(c *api.VMCreate) { c.Spec.Size = "huge" }, "/spec/size"},
		"a deprecated size":         {func(c *api.VMCreate) { c.Spec.Size = "old" }, "/spec/size"},
		"vcpus beside a size":       {func(c *api.VMCreate) { c.Spec.VCPUs = 2 }, "/spec/vcpus"},
		"memory beside a size":      {func(c *api.VMCreate) { c.Spec.MemoryMiB = 64 }, "/spec/memory_mib"},
		"a disk less than the size": {func(c *api.VMCreate) { c.Spec.DiskGiB = 4 }, "/spec/disk_gib"},
		"another account's image":   {func(c *api.VMCreate) { c.Spec.Image = "theirs" }, "/spec/image"},
		"another account's key":     {func(c *api.VMCreate) { c.Spec.SSHKeys = []string{"anna", "ben"} }, "/spec/ssh_keys/1"},
		"nobody could log in":       {func(c *api.VMCreate) { c.Spec.SSHKeys = nil }, "/spec/ssh_keys"},
		"no such network":           {func(c *api.VMCreate) { c.Spec.Network = "wan" }, "/spec/network"},
		"a network without a plug":  {func(c *api.VMCreate) { c.Spec.Network = "nowhere" }, "/spec/network"},
		"user-data in the clear":    {func(c *api.VMCreate) { c.Spec.UserData = "#!" }, "/spec/user_data"},
		"an odd restart policy":     {func(c *api.VMCreate) { c.Spec.Restart = "sometimes" }, "/spec/restart"},
		"no such peer":              {func(c *api.VMCreate) { c.Spec.Placement.Peer = "z" }, "/spec/placement/peer"},
		"spread without a group":    {func(c *api.VMCreate) { c.Spec.Placement.Spread = "peer" }, "/spec/placement/group"},
		"spread by no label":        {func(c *api.VMCreate) { c.Spec.Placement = api.Placement{Group: "g", Spread: "label"} }, "/spec/placement/spread_label"},
		"an odd group":              {func(c *api.VMCreate) { c.Spec.Placement.With = "G" }, "/spec/placement/with"},
		"too many labels":           {func(c *api.VMCreate) { c.Labels = many }, "/labels"},
		"an odd label":              {func(c *api.VMCreate) { c.Labels = map[string]string{"a~b": "x"} }, "/labels/a~0b"},
		"a label that beeps":        {func(c *api.VMCreate) { c.Labels = map[string]string{"a/b": "\a"} }, "/labels/a~1b"},
		"a label that is long":      {func(c *api.VMCreate) { c.Labels = map[string]string{"a": strings.Repeat("x", 256)} }, "/labels/a"},
	} {
		t.Run(name, func(t *testing.T) {
			vm := whole("web")
			c.edit(&vm)
			e := g.refused(api.Invalid, operator, createVM, vmCreate{VM: vm, Candidates: []string{"a"}})
			if len(e.Fields) != 1 || e.Fields[0].Pointer != c.pointer {
				t.Errorf("points at %v, want %s", e.Fields, c.pointer)
			}
		})
	}
	long := vmCreate{VM: whole("web"), Candidates: []string{"a"}, UserData: secretWrite{Given: true, Sealed: make([]byte, maxSealed+1)}}
	if e := g.refused(api.Invalid, operator, createVM, long); e.Fields[0].Pointer != "/spec/user_data" {
		t.Errorf("too much user-data: %v", e.Fields)
	}
	g.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "coming", Source: api.SourceUpload}, Via: "a"})
	pending := whole("web")
	pending.Spec.Image = "coming"
	if e := g.refused(api.Conflict, operator, createVM, vmCreate{VM: pending, Candidates: []string{"a"}}); !strings.Contains(e.Msg, "see operation") {
		t.Errorf("an image whose content is not there: %v", e)
	}
	i, _ := g.m.Read().Image("coming")
	g.must(ActorOfPeer("a"), storedImage, api.ImageContent{Image: i.ID, SHA256: testSums[0], Bytes: 5, VirtualBytes: 6<<30 + 1})
	e := g.refused(api.Invalid, operator, createVM, vmCreate{VM: pending, Candidates: []string{"a"}})
	if len(e.Fields) != 1 || e.Fields[0].Pointer != "/spec/disk_gib" {
		t.Errorf("an image larger than the disk: %v", e.Fields)
	}
	pending.Spec.Size, pending.Spec.VCPUs, pending.Spec.MemoryMiB = "", 1, 64
	if vm := g.made(pending, "a"); vm.Spec.DiskGiB != 7 {
		t.Errorf("a disk of the image's own size is promised as %d GiB, want 7", vm.Spec.DiskGiB)
	}
}

// TestVerbs: what each verb wants of a VM, which report ends it, and what it does
// to the operation that was in hand.
func TestVerbs(t *testing.T) {
	g := newGuests(t, "a")
	vm := g.running(whole("web"), "a")
	wantStatus := func(desired api.Desired, state api.VMState, restarting bool) {
		t.Helper()
		if s := g.vm(vm.ID).Status; s.Desired != desired || s.State != state || s.Restarting != restarting {
			t.Errorf("the VM is %s, wanted %s, restarting %v; want %s, %s, %v", s.State, s.Desired, s.Restarting, state, desired, restarting)
		}
	}
	g.wantOp(vm.Status.Operation, api.OpSucceeded, "")

	pause := g.asks(vm, api.ActPause)
	wantStatus(api.WantPaused, api.VMRunning, false)
	g.says(vm, api.VMReport{State: api.VMPaused})
	g.wantOp(pause.ID, api.OpSucceeded, "")
	if again := g.asks(vm, api.ActPause); again.State != api.OpSucceeded {
		t.Errorf("to pause what is paused: %s", again.State)
	}
	resume := g.asks(vm, api.ActResume)
	g.says(vm, api.VMReport{State: api.VMPaused})
	g.wantOp(resume.ID, api.OpRunning, "")
	g.says(vm, api.VMReport{State: api.VMRunning})
	g.wantOp(resume.ID, api.OpSucceeded, "")
	if again := g.asks(vm, api.ActResume); again.State != api.OpSucceeded {
		t.Errorf("to resume what runs: %s", again.State)
	}

	restart := g.op(g.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActRestart, StopSeconds: 90}).Key)
	if s := g.vm(vm.ID).Status.StopSeconds; s != 90 {
		t.Errorf("the guest has %d s, want 90", s)
	}
	g.says(vm, api.VMReport{State: api.VMStopped})
	g.says(vm, api.VMReport{State: api.VMRunning})
	wantStatus(api.WantRunning, api.VMRunning, true) // it runs, and nobody said that it was started anew
	g.wantOp(restart.ID, api.OpRunning, "")
	g.says(vm, api.VMReport{State: api.VMRunning, Restarted: true})
	wantStatus(api.WantRunning, api.VMRunning, false)
	g.wantOp(restart.ID, api.OpSucceeded, "")

	restart = g.asks(vm, api.ActRestart)
	if start := g.asks(vm, api.ActStart); start.State.Done() {
		t.Error("a start during a restart is done before its guest is on again")
	}
	wantStatus(api.WantRunning, api.VMRunning, false)
	g.wantOp(restart.ID, api.OpCancelled, "superseded by start")
	g.says(vm, api.VMReport{State: api.VMRunning})

	stop := g.asks(vm, api.ActStop)
	g.says(vm, api.VMReport{State: api.VMCrashed, Reason: "qemu ended"})
	g.wantOp(stop.ID, api.OpSucceeded, "")
	g.refused(api.Conflict, operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActPause})
	if e := g.refused(api.Conflict, operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActResume}); !strings.Contains(e.Msg, "orchd vm start web") {
		t.Errorf("to resume what is off: %v", e)
	}
	g.refused(api.Invalid, operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActStop, StopSeconds: 3601})
	start := g.asks(vm, api.ActStart)
	g.says(vm, api.VMReport{State: api.VMFailed, Reason: "no such disk"})
	g.wantOp(start.ID, api.OpFailed, "no such disk")
}

func TestResize(t *testing.T) {
	g := newGuests(t, "a") // 4 vcpus, 4096 MiB, 40 GiB
	vm := g.running(whole("web"), "a")
	resize := func(c api.VMResize) Result {
		return g.send(operator, actOnVM, vmAction{ID: vm.ID, Verb: api.ActResize, Resize: c})
	}
	wantErr := func(r Result, kind api.Kind, text string) {
		t.Helper()
		if r.Err == nil || r.Err.Kind != kind || !strings.Contains(r.Err.Error()+fmt.Sprint(r.Err.Fields), text) {
			t.Errorf("got %+v, want %s with %q", r.Err, kind.Code(), text)
		}
	}
	wantErr(resize(api.VMResize{MemoryMiB: 256}), api.Conflict, "orchd vm stop web")
	wantErr(resize(api.VMResize{DiskGiB: 6}), api.Conflict, "orchd vm stop web")
	wantErr(resize(api.VMResize{DiskGiB: 4}), api.Invalid, "disks only grow")
	wantErr(resize(api.VMResize{Size: "small", VCPUs: 2}), api.Invalid, "/vcpus")
	wantErr(resize(api.VMResize{VCPUs: 5}), api.NoCapacity, "needs 4 vcpus, 3 free")
	if r := resize(api.VMResize{}); r.Err != nil || g.op(r.Key).State != api.OpSucceeded {
		t.Errorf("to change nothing: %+v", r)
	}
	g.must(admin, updateAccount, accountUpdate{Name: api.DefaultAccount, Update: api.AccountUpdate{Quota: api.Quota{VCPUs: 2}}})
	wantErr(resize(api.VMResize{VCPUs: 3}), api.Conflict, "2 vcpus at most")

	grown := resize(api.VMResize{VCPUs: 2, MemoryMiB: 1024})
	if s := g.vm(vm.ID).Spec; s.VCPUs != 2 || s.MemoryMiB != 1024 || s.DiskGiB != 5 || s.Size != "" {
		t.Errorf("the specification is %+v", s)
	}
	if reserved, _ := g.m.Read().Reserved("a"); reserved != (api.Resources{VCPUs: 2, MemoryMiB: 1024, DiskGiB: 5}) {
		t.Errorf("promised are %v", reserved)
	}
	g.says(vm, api.VMReport{State: api.VMRunning, Failed: true, Reason: "takes effect at its next start"})
	g.wantOp(grown.Key, api.OpFailed, "next start")
	if vm := g.vm(vm.ID); vm.Spec.VCPUs != 2 || vm.Status.State != api.VMRunning {
		t.Errorf("what could not be done at once stays wanted: %+v", vm)
	}

	stop := g.asks(vm, api.ActStop)
	wantErr(resize(api.VMResize{DiskGiB: 6}), api.Conflict, stop.ID)
	g.says(vm, api.VMReport{State: api.VMStopped})
	shrunk := resize(api.VMResize{Size: "small", DiskGiB: 8})
	if s := g.vm(vm.ID).Spec; s.Size != "small" || s.MemoryMiB != 512 || s.DiskGiB != 8 {
		t.Errorf("the specification is %+v", s)
	}
	g.says(vm, api.VMReport{State: api.VMStopped, Steps: []api.OpStep{{Name: "reshape", TookMs: 4}}})
	g.wantOp(shrunk.Key, api.OpSucceeded, "")
	if used := g.m.Read().used(api.DefaultAccount); used.DiskGiB != 8 || used.VCPUs != 1 {
		t.Errorf("the account holds %+v", used)
	}
}

func TestProtectAndRename(t *testing.T) {
	g := newGuests(t, "a")
	vm, other := g.running(whole("web"), "a"), g.made(small("db"), "a")
	update := func(u api.VMUpdate) Result { return g.send(operator, updateVM, vmUpdate{ID: vm.ID, Update: u}) }
	if r := update(api.VMUpdate{Name: "db"}); r.Err == nil || r.Err.Kind != api.Conflict {
		t.Errorf("a name that is taken: %+v", r.Err)
	}
	if r := update(api.VMUpdate{Name: "Web"}); r.Err == nil || r.Err.Fields[0].Pointer != "/name" {
		t.Errorf("no name: %+v", r.Err)
	}
	if r := update(api.VMUpdate{Restart: "x"}); r.Err == nil || r.Err.Fields[0].Pointer != "/restart" {
		t.Errorf("no policy: %+v", r.Err)
	}
	update(api.VMUpdate{Name: "www", Protected: true, Restart: api.RestartAlways, Labels: map[string]string{"a": "b"}})
	if now, found := g.m.Read().VMNamed(api.DefaultAccount, "www"); !found || now.ID != vm.ID || now.Spec.Restart != api.RestartAlways || now.Labels["a"] != "b" {
		t.Fatalf("after the change: %+v", now)
	}
	if o := g.op(vm.Status.Operation); o.Target.Name != "web" {
		t.Errorf("an older operation is of %q, want the name of then", o.Target.Name)
	}
	if e := g.refused(api.Conflict, operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete}); !strings.Contains(e.Msg, "orchd vm protect --off www") {
		t.Errorf("to delete what is protected: %v", e)
	}
	update(api.VMUpdate{}) // keeps the name
	if vm := g.vm(vm.ID); vm.Name != "www" || vm.Protected || vm.Spec.Restart != api.RestartOnFailure {
		t.Errorf("after an empty change: %+v", vm)
	}
	g.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	g.refused(api.Conflict, operator, updateVM, vmUpdate{ID: vm.ID, Update: api.VMUpdate{Name: "late"}})
	g.must(operator, updateVM, vmUpdate{ID: other.ID, Update: api.VMUpdate{Name: "web"}}) // free again
}

func TestSuspendedVerbs(t *testing.T) {
	g := newGuests(t, "a")
	vm := g.running(whole("web"), "a")
	g.asks(vm, api.ActStop)
	suspended := accountUpdate{Name: api.DefaultAccount, Update: api.AccountUpdate{Suspended: true, Reason: "unpaid"}}
	g.must(admin, updateAccount, suspended)
	for _, verb := range []string{api.ActStart, api.ActRestart, api.ActResume, api.ActResize} {
		if e := g.refused(api.Forbidden, operator, actOnVM, vmAction{ID: vm.ID, Verb: verb}); !strings.Contains(e.Msg, "unpaid") {
			t.Errorf("%s: %v, want the reason in it", verb, e)
		}
	}
	g.refused(api.Forbidden, operator, createVM, vmCreate{VM: whole("db"), Candidates: []string{"a"}})
	g.refused(api.Forbidden, operator, createDiskSnapshot, diskSnapshotCreate{vm.ID, api.DiskSnapshotCreate{Name: "s1"}})
	g.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
}

func TestCancel(t *testing.T) {
	g := newGuests(t, "a")
	cancel := func(id string) Result { return g.send(operator, cancelOperation, operationCancel{id}) }

	vm := g.made(whole("web"), "a")
	if r := cancel(vm.Status.Operation); r.Err != nil || r.Object.(*api.Operation).State != api.OpCancelled {
		t.Fatalf("a create that was not begun: %+v", r)
	}
	if _, there := g.m.Read().VM(vm.ID); there {
		t.Error("the VM of a cancelled create is still there")
	}
	vm = g.made(whole("web"), "a")
	g.must(ActorOfPeer("a"), beginVM, vmEpoch{vm.ID, 1})
	cancel(vm.Status.Operation)
	if s := g.vm(vm.ID).Status; s.Desired != api.WantDeleted || s.State != api.VMDeleting {
		t.Errorf("a create that was begun: the VM is %s, wanted %s", s.State, s.Desired)
	}
	g.wantOp(vm.Status.Operation, api.OpCancelled, "cancelled by "+operator.ID)
	if r := cancel(vm.Status.Operation); r.Err != nil {
		t.Errorf("to cancel twice: %v", r.Err)
	}
	g.must(ActorOfPeer("a"), buryVM, vmEpoch{vm.ID, 1})

	vm = g.running(whole("web"), "a")
	stop := g.asks(vm, api.ActStop)
	cancel(stop.ID)
	g.wantOp(stop.ID, api.OpCancelled, "")
	if s := g.vm(vm.ID).Status; s.Desired != api.WantRunning {
		t.Errorf("after a stop was cancelled the VM is wanted %s", s.Desired)
	}
	snapshot := g.must(operator, createDiskSnapshot, diskSnapshotCreate{vm.ID, api.DiskSnapshotCreate{Name: "s1"}}).Object.(*api.DiskSnapshot)
	for what, id := range map[string]string{"a snapshot": snapshot.Operation, "a create that is over": vm.Status.Operation} {
		if r := cancel(id); r.Err == nil || r.Err.Kind != api.Conflict {
			t.Errorf("to cancel %s: %v, want a conflict", what, r.Err)
		}
	}
	g.refused(api.NotFound, api.Actor{ID: "token:o", Role: api.RoleOperator, Account: "other"}, cancelOperation, operationCancel{snapshot.Operation})
}

func TestFactsAndProgress(t *testing.T) {
	g := newGuests(t, "a", "b")
	vm := g.made(whole("web"), "a")
	a := ActorOfPeer("a")
	at := vm.Status.Addresses[0]
	facts := func(c api.VMFacts) api.VM {
		t.Helper()
		c.VM, c.Epoch = vm.ID, 1
		g.must(a, vmFacts, c)
		return g.vm(vm.ID)
	}
	g.refused(api.Conflict, ActorOfPeer("b"), vmFacts, api.VMFacts{VM: vm.ID, Epoch: 1})
	g.refused(api.Conflict, a, vmFacts, api.VMFacts{VM: vm.ID, Epoch: 2})

	keys := []api.HostKey{{Type: "ssh-dss", Key: "AAAA"}, {Type: "ssh-ed25519", Key: testKeys[0], Fingerprint: "made up"}}
	now := facts(api.VMFacts{HostKeys: keys})
	if k := now.Status.SSHHostKeys; len(k) != 1 || !strings.HasPrefix(k[0].Fingerprint, "SHA256:") {
		t.Errorf("host keys: %+v, want the fingerprint that the key has", k)
	}
	if again := facts(api.VMFacts{HostKeys: keys}); again.Version != now.Version {
		t.Error("what was said before is a change")
	}

	g.at = g.at.Add(time.Hour)
	seen := func(ip, mac string, at time.Time) api.VM {
		return facts(api.VMFacts{Seen: []api.VMAddress{{IP: ip, MAC: mac, SeenAt: at}}})
	}
	sighted := g.at
	first := seen(at.IP, strings.ToUpper(at.MAC), sighted)
	if !first.Status.Addresses[0].SeenAt.Equal(sighted) || !first.Status.Addresses[1].SeenAt.IsZero() {
		t.Errorf("addresses: %+v, want the first as seen", first.Status.Addresses)
	}
	for what, later := range map[string]api.VM{
		"half an hour later":    seen(at.IP, at.MAC, g.at.Add(30*time.Minute)),
		"of another MAC":        seen(at.IP, "52:54:00:00:00:99", g.at.Add(2*time.Hour)),
		"that was not allotted": seen("10.9.0.77", at.MAC, g.at.Add(2*time.Hour)),
	} {
		if later.Version != first.Version {
			t.Errorf("an address %s changes the row", what)
		}
	}
	g.at = g.at.Add(time.Hour)
	if later := seen(at.IP, at.MAC, g.at.Add(time.Minute)); !later.Status.Addresses[0].SeenAt.Equal(later.UpdatedAt) {
		t.Errorf("by a clock that is ahead it was seen at %v, want no later than now, %v", later.Status.Addresses[0].SeenAt, later.UpdatedAt)
	}

	for _, done := range []int64{1, 5} {
		g.must(a, vmProgress, api.VMProgress{VM: vm.ID, Epoch: 1, Step: "image", Done: done, Total: 9})
	}
	if o := g.op(vm.Status.Operation); o.State != api.OpRunning || fmt.Sprint(o.Steps) != fmt.Sprint([]api.OpStep{{Name: "image", Done: 5, Total: 9}}) {
		t.Errorf("the operation is %s, its steps are %+v", o.State, o.Steps)
	}
	g.must(a, beginVM, vmEpoch{vm.ID, 1})
	g.says(vm, api.VMReport{State: api.VMRunning, Steps: []api.OpStep{{Name: "image", TookMs: 70}, {Name: "start", TookMs: 3}}})
	if o := g.op(vm.Status.Operation); fmt.Sprint(o.Steps) != fmt.Sprint([]api.OpStep{{Name: "image", TookMs: 70}, {Name: "start", TookMs: 3}}) {
		t.Errorf("at the end its steps are %+v", o.Steps)
	}
	before := g.op(vm.Status.Operation)
	g.must(a, vmProgress, api.VMProgress{VM: vm.ID, Epoch: 1, Step: "image", Done: 9, Total: 9})
	if after := g.op(vm.Status.Operation); after.Version != before.Version {
		t.Error("progress of what is over changes it")
	}
}

// TestUserDataIsSealed: what the log, the row and the answer have of it.
func TestUserDataIsSealed(t *testing.T) {
	g := newGuests(t, "a")
	w := NewWriter(atOnce{g.log}, fixedRank{"a"}, marking{})
	c := whole("web")
	c.Spec.UserData, c.Spec.SSHKeys = "#cloud-config top secret", nil
	done, err := w.CreateVM(asAdmin(), c)
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := g.m.Read().Seed(done.Object.ID)
	sealed, _ := marking{}.Seal(SealUserData, []byte(c.Spec.UserData))
	if vm := g.vm(done.Object.ID); vm.Spec.UserData != "" || !vm.Status.HasUserData || done.Object.Spec.UserData != "" || string(seed.UserData) != string(sealed) {
		t.Errorf("the row has %q, the answer %q, the seed %q", vm.Spec.UserData, done.Object.Spec.UserData, seed.UserData)
	}
	c.Name, c.Spec.UserData = "db", strings.Repeat("x", maxUserData+1)
	if _, err := w.CreateVM(asAdmin(), c); !api.IsKind(err, api.Invalid) {
		t.Errorf("too much user-data: %v", err)
	}
}

// fixedRank always ranks the same peers.
type fixedRank []string

func (f fixedRank) Rank(api.Resources, string) ([]string, []api.HostPart) { return f, nil }

// TestLateReport: what was seen before a verb was asked for does not end that verb.
func TestLateReport(t *testing.T) {
	g := newGuests(t, "a")
	vm := g.running(whole("web"), "a")
	before := vm.Status.Operation
	stop := g.asks(vm, api.ActStop)
	vm = g.says(vm, api.VMReport{State: api.VMStopped, Operation: stop.ID})
	start := g.asks(vm, api.ActStart)
	for _, knew := range []string{before, stop.ID} {
		vm = g.says(vm, api.VMReport{State: api.VMCrashed, Reason: "seen before", Operation: knew})
		if op := g.op(start.ID); op.State.Done() || vm.Status.State != api.VMCrashed {
			t.Fatalf("start after a crash reported late: got %s, VM %s; want it in hand, and the crash on record", op.State, vm.Status.State)
		}
	}
	g.says(vm, api.VMReport{State: api.VMRunning, Operation: start.ID})
	if op := g.op(start.ID); op.State != api.OpSucceeded {
		t.Errorf("start: got %s, want succeeded", op.State)
	}
	restart := g.asks(vm, api.ActRestart)
	if vm = g.says(vm, api.VMReport{State: api.VMCrashed, Operation: start.ID}); !vm.Status.Restarting {
		t.Error("a crash from before ended the restart")
	}
	if op := g.op(restart.ID); op.State.Done() {
		t.Errorf("restart: got %s, want it in hand", op.State)
	}
}
