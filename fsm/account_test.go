package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

// boundTo is an actor of an account.
func boundTo(account string, role api.Role) api.Actor {
	return api.Actor{ID: "token:of-" + account, Role: role, Account: account}
}

func (l *log) account(name string) api.AccountView {
	l.t.Helper()
	a, ok := l.m.Read().Account(name)
	if !ok {
		l.t.Fatalf("no account %s", name)
	}
	return a
}

func (l *log) makeAccount(name string) { l.must(admin, createAccount, api.AccountCreate{Name: name}) }

func TestAccountsAreAdmins(t *testing.T) {
	l := newLog(t, "a")
	l.must(admin, createAccount, api.AccountCreate{Name: "co-op", Quota: api.Quota{VMs: 2}})
	if a := l.account("co-op"); a.Quota.VMs != 2 || a.Version != 1 || !a.CreatedAt.Equal(l.at) || !a.UpdatedAt.Equal(l.at) {
		t.Errorf("account: %+v", a)
	}
	l.refused(api.Conflict, admin, createAccount, api.AccountCreate{Name: "co-op"})
	if e := l.refused(api.Invalid, admin, createAccount, api.AccountCreate{Name: "Co", Quota: api.Quota{VMs: -1, DiskGiB: -2}}); len(e.Fields) != 3 {
		t.Errorf("faults: %+v", e.Fields)
	}
	for _, who := range []api.Actor{operator, viewer, boundTo("co-op", api.RoleAdmin), boundTo("co-op", api.RoleOperator)} {
		l.refused(api.Forbidden, who, createAccount, api.AccountCreate{Name: "mine"})
		l.refused(api.Forbidden, who, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{}})
		l.refused(api.Forbidden, who, deleteAccount, accountDelete{"co-op"})
	}
	l.refused(api.NotFound, boundTo("default", api.RoleAdmin), updateAccount, accountUpdate{Name: "co-op"})
	l.refused(api.NotFound, admin, updateAccount, accountUpdate{Name: "nobody"})
	l.refused(api.Precondition, admin, updateAccount, accountUpdate{Name: "co-op", IfVersion: 7})
	l.refused(api.Invalid, admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Suspended: true, Reason: strings.Repeat("r", 501)}})
	l.must(admin, updateAccount, accountUpdate{Name: "co-op", IfVersion: 1, Update: api.AccountUpdate{Quota: api.Quota{VCPUs: 5}, Reason: "none"}})
	if a := l.account("co-op"); a.Quota != (api.Quota{VCPUs: 5}) || a.Version != 2 || a.Reason != "" {
		t.Errorf("updated: %+v", a)
	}
	l.must(admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Quota: api.Quota{VCPUs: 5}}})
	if a := l.account("co-op"); a.Version != 2 {
		t.Errorf("nothing changed, and the version is %d", a.Version)
	}
}

// TestAccountThatHoldsSomethingStays: and when it goes, its tokens go.
func TestAccountThatHoldsSomethingStays(t *testing.T) {
	l := newLog(t, "a")
	l.refused(api.Conflict, admin, deleteAccount, accountDelete{api.DefaultAccount})
	l.makeAccount("co-op")
	l.makeAccount("co-op2") // whose name begins alike
	vm := *l.must(admin, createVM, vmCreate{VM: api.VMCreate{Name: "web", Account: "co-op2", Spec: small("web").Spec}, Candidates: []string{"a"}}).Object.(*api.VM)
	l.refused(api.Conflict, admin, deleteAccount, accountDelete{"co-op2"})

	key := l.must(admin, createSSHKey, sshKeyCreate{Name: "k", Account: "co-op", Type: "ssh-ed25519", Key: testKeys[0]}).Key
	if e := l.refused(api.Conflict, admin, deleteAccount, accountDelete{"co-op"}); !strings.Contains(e.Msg, "SSH key k") {
		t.Errorf("refused with %q", e.Msg)
	}
	l.must(admin, deleteSSHKey, sshKeyDelete{key})
	image := l.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "im", Account: "co-op"}, Via: "a"}).Key
	if e := l.refused(api.Conflict, admin, deleteAccount, accountDelete{"co-op"}); !strings.Contains(e.Msg, "image im") {
		t.Errorf("refused with %q", e.Msg)
	}
	l.must(admin, deleteImage, imageDelete{image})
	for _, account := range []string{"co-op", "co-op2"} {
		l.must(admin, createToken, tokenCreate{ID: "t" + account, Hash: hashSecret("s"), Role: api.RoleViewer, Account: account, TTL: time.Hour})
	}
	l.must(admin, deleteAccount, accountDelete{"co-op"})
	if left := slices.Collect(l.m.Read().Tokens("")); len(left) != 1 || left[0].Account != "co-op2" {
		t.Errorf("tokens that are left: %+v", left)
	}
	l.must(admin, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
	l.must(admin, deleteAccount, accountDelete{"co-op2"})
	if n := l.m.Read().state.sums.used.Len(); n != 0 {
		t.Errorf("%d accounts are said to hold something", n)
	}
}

func TestQuota(t *testing.T) {
	l := newLog(t, "a")
	l.makeAccount("co-op")
	create := vmCreate{VM: api.VMCreate{Name: "one", Account: "co-op", Spec: api.VMSpec{VCPUs: 2, MemoryMiB: 1024, DiskGiB: 5}}, Candidates: []string{"a"}}
	l.must(admin, createVM, create)
	if got, want := l.account("co-op").Used, (api.Quota{VMs: 1, VCPUs: 2, MemoryMiB: 1024, DiskGiB: 5}); got != want {
		t.Fatalf("used: %+v, want %+v", got, want)
	}
	more := api.Quota{VMs: 1, VCPUs: 2, MemoryMiB: 1024, DiskGiB: 5, Addresses: 1}
	for _, c := range []struct {
		limit api.Quota
		says  string // empty: it fits
	}{
		{api.Quota{}, ""},
		{api.Quota{VMs: 2, VCPUs: 4, MemoryMiB: 2048, DiskGiB: 10, Addresses: 1}, ""},
		{api.Quota{VMs: 1}, "1 VMs at most, 1 used, 1 more asked for"},
		{api.Quota{VCPUs: 3}, "3 vcpus at most, 2 used, 2 more asked for"},
		{api.Quota{VCPUs: 1}, "1 vcpus at most, 2 used, 2 more asked for"},
		{api.Quota{MemoryMiB: 2047}, "2047 MiB of memory at most"},
		{api.Quota{DiskGiB: 9}, "9 GiB of disk at most"},
		{api.Quota{VMs: 1, DiskGiB: 1}, "1 VMs at most, 1 used, 1 more asked for; 1 GiB of disk at most"},
	} {
		l.must(admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Quota: c.limit}})
		err := overQuota(l.m.Read(), "co-op", more)
		if c.says == "" && err != nil || c.says != "" && (err == nil || err.Kind != api.Conflict || !strings.Contains(err.Msg, c.says)) {
			t.Errorf("%+v: got %v, want it to say %q", c.limit, err, c.says)
		}
	}
	l.must(admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Quota: api.Quota{VMs: 1, VCPUs: 1}}})
	if err := overQuota(l.m.Read(), "co-op", api.Quota{DiskGiB: 1}); err != nil {
		t.Errorf("over its quota of vcpus, and disk is refused: %v", err)
	}
	create.VM.Name = "two"
	l.refused(api.Conflict, boundTo("co-op", api.RoleOperator), createVM, create)
	create.VM.Account = ""
	l.must(operator, createVM, create) // of another account
}

// TestSuspendedAccount: its VMs are kept off and stay wanted as they were, work
// towards running ends, and it makes nothing new.
func TestSuspendedAccount(t *testing.T) {
	l := newLog(t, "a", "b")
	l.makeAccount("co-op")
	l.makeAccount("co-op2")
	vm := func(account, name string) api.VM {
		return *l.must(admin, createVM, vmCreate{VM: api.VMCreate{Name: name, Account: account, Spec: small(name).Spec}, Candidates: []string{"a", "b"}}).Object.(*api.VM)
	}
	one, two, other := vm("co-op", "one"), vm("co-op", "two"), vm("co-op2", "one")
	l.must(admin, actOnVM, vmAction{ID: two.ID, Verb: api.ActStop})
	stop := l.vm(two.ID).Status.Operation
	l.must(admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Suspended: true, Reason: "unpaid"}})
	if a := l.account("co-op"); !a.Suspended || a.Reason != "unpaid" {
		t.Errorf("account: %+v", a)
	}
	if vm := l.vm(one.ID); !vm.Status.Suspended || vm.Status.Desired != api.WantRunning || vm.Version != one.Version+1 {
		t.Errorf("VM of the account: %+v", vm)
	}
	if vm := l.vm(two.ID); !vm.Status.Suspended || vm.Status.Desired != api.WantStopped {
		t.Errorf("stopped VM of the account: %+v", vm)
	}
	if vm := l.vm(other.ID); vm.Status.Suspended {
		t.Errorf("VM of another account: %+v", vm)
	}
	if o := l.op(one.Status.Operation); o.State != api.OpCancelled || !strings.Contains(o.Error, "suspended") {
		t.Errorf("create in hand: %s %q", o.State, o.Error)
	}
	if o := l.op(stop); o.State != api.OpPending {
		t.Errorf("stop in hand: %s %q", o.State, o.Error)
	}
	mine := boundTo("co-op", api.RoleOperator)
	for typ, body := range map[Type]any{
		createVM:     vmCreate{VM: small("three"), Candidates: []string{"b"}},
		createSSHKey: sshKeyCreate{Name: "k", Type: "ssh-ed25519", Key: testKeys[0]},
		createImage:  imageCreate{ImageCreate: api.ImageCreate{Name: "im"}, Via: "a"},
	} {
		if e := l.refused(api.Forbidden, mine, typ, body); !strings.Contains(e.Msg, "unpaid") {
			t.Errorf("command %d is refused with %q, which gives no reason", typ, e.Msg)
		}
	}
	l.must(admin, updateAccount, accountUpdate{Name: "co-op", Update: api.AccountUpdate{Reason: "unpaid"}})
	if a, vm := l.account("co-op"), l.vm(one.ID); a.Suspended || a.Reason != "" || vm.Status.Suspended {
		t.Errorf("resumed: %+v %+v", a, vm)
	}
	l.must(mine, createSSHKey, sshKeyCreate{Name: "k", Type: "ssh-ed25519", Key: testKeys[0]})
}

// TestSuspendMany: an account of thousands of VMs is suspended in one step.
func TestSuspendMany(t *testing.T) {
	const many = 3000
	l := newLog(t, "a")
	tx := newTxn(l.m.published.Load(), l.index+1, l.at)
	tx.begin(Meta{ID: "seed"})
	for k := range many {
		vms.put(tx, api.VM{ID: fmt.Sprintf("v%05d", k), Name: fmt.Sprintf("n%05d", k), Account: api.DefaultAccount, Status: api.VMStatus{OwnerID: "a"}})
	}
	l.m.publish(tx)
	l.index++
	l.must(admin, updateAccount, accountUpdate{Name: api.DefaultAccount, Update: api.AccountUpdate{Suspended: true}})
	n := 0
	for vm := range l.m.Read().VMs("") {
		if vm.Status.Suspended {
			n++
		}
	}
	if n != many {
		t.Errorf("%d of %d VMs are suspended", n, many)
	}
}
