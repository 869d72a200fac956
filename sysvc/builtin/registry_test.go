package builtin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/nameserver"
)

type record struct {
	Name, Endpoint, Address, Account string
	ExpiresAt                        int64 `json:"expires_at"`
}

func (w *world) lookup(name string) []record {
	w.t.Helper()
	return answers[[]record](w, watcher, "registry", "lookup", `{"name": "`+name+`"}`)
}

func (w *world) listed(args string) (names []string) {
	w.t.Helper()
	for _, r := range answers[[]record](w, watcher, "registry", "list", args) {
		names = append(names, r.Name)
	}
	return names
}

func TestRegistryNames(t *testing.T) {
	w := newWorld(t, folder(t, "registry", nil))
	if got := w.lookup("db.prod"); len(got) != 0 {
		t.Fatalf("an empty registry knows %v", got)
	}
	for _, args := range []string{
		`{"name": "db.prod", "endpoint": "10.0.0.5:5432", "ttl": 60}`,
		`{"name": "web", "endpoint": ["https://[2001:db8::1]:8443/x", "web.example.org:80", "10.0.0.6"]}`,
	} {
		if _, err := w.call(anna, "registry", "register", args); err != nil {
			t.Fatal(err)
		}
	}
	now := w.Now().Unix()
	got := w.lookup("db.prod")
	if len(got) != 1 || got[0].Endpoint != "10.0.0.5:5432" || got[0].Address != "10.0.0.5" || got[0].Account != "co-op" || got[0].ExpiresAt-now > 60 {
		t.Errorf("got %+v", got)
	}
	var endpoints, addresses []string
	for _, r := range w.lookup("web") {
		endpoints, addresses = append(endpoints, r.Endpoint), append(addresses, r.Address)
	}
	same(t, "endpoints", endpoints, []string{"https://[2001:db8::1]:8443/x", "web.example.org:80", "10.0.0.6"})
	same(t, "addresses", addresses, []string{"2001:db8::1", "", "10.0.0.6"})
	same(t, "all", w.listed("{}"), []string{"db.prod", "web", "web", "web"})
	same(t, "with a prefix", w.listed(`{"prefix": "db"}`), []string{"db.prod"})
	same(t, "behind a name", w.listed(`{"after": "db.prod"}`), []string{"web", "web", "web"})
}

func TestRegistryOwners(t *testing.T) {
	w := newWorld(t, folder(t, "registry", nil))
	register := func(who api.Actor, endpoint string) (string, error) {
		return w.call(who, "registry", "register", `{"name": "db", "endpoint": "`+endpoint+`", "ttl": 60}`)
	}
	if _, err := register(anna, "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	w.refuses(bert, "registry", "register", `{"name": "db", "endpoint": "10.0.0.2"}`, "belongs to account co-op")
	w.refuses(bert, "registry", "remove", `{"name": "db"}`, "belongs to account co-op")
	w.refuses(api.Actor{ID: "x", Role: api.RoleAdmin, Account: "lab"}, "registry", "remove", `{"name": "db"}`, "belongs to account co-op")
	w.refuses(watcher, "registry", "register", `{"name": "db2", "endpoint": "10.0.0.2"}`, "is for operators")
	for _, who := range []api.Actor{anna, root} {
		if _, err := register(who, "10.0.0.3"); err != nil {
			t.Errorf("%s: %v", who.ID, err)
		}
		if got := w.lookup("db"); len(got) != 1 || got[0].Endpoint != "10.0.0.3" || got[0].Account != "co-op" {
			t.Errorf("after %s: got %+v, want it to be co-op's still", who.ID, got)
		}
	}
	w.pass(2 * time.Minute) // nobody renewed it: whoever comes first has it
	if _, err := register(bert, "10.0.0.4"); err != nil {
		t.Fatal(err)
	}
	if got := w.lookup("db"); len(got) != 1 || got[0].Account != "lab" {
		t.Errorf("got %+v, want it to be lab's", got)
	}
	if _, err := w.call(bert, "registry", "remove", `{"name": "db"}`); err != nil || len(w.lookup("db")) != 0 {
		t.Errorf("removed: %v, and it still leads to %+v", err, w.lookup("db"))
	}
}

func TestRegistryRefuses(t *testing.T) {
	w := newWorld(t, folder(t, "registry", nil))
	for name, c := range map[string]struct{ args, saying string }{
		"a VM's name":          {`{"name": "web.co-op.vm", "endpoint": "10.0.0.1"}`, "are those of VMs"},
		"the name of all VMs":  {`{"name": "vm", "endpoint": "10.0.0.1"}`, "are those of VMs"},
		"capitals":             {`{"name": "Web", "endpoint": "10.0.0.1"}`, "is no name"},
		"an empty part":        {`{"name": "a..b", "endpoint": "10.0.0.1"}`, "is no name"},
		"nothing":              {`{"name": "", "endpoint": "10.0.0.1"}`, "1 to 200 characters"},
		"too much":             {`{"name": "` + strings.Repeat("a.", 120) + `", "endpoint": "10.0.0.1"}`, "1 to 200 characters"},
		"a number":             {`{"name": 5, "endpoint": "10.0.0.1"}`, "1 to 200 characters"},
		"no endpoint":          {`{"name": "a", "endpoint": []}`, "1 to 16 endpoints"},
		"an endpoint of none":  {`{"name": "a", "endpoint": ""}`, "1 to 255 characters"},
		"a ttl of the past":    {`{"name": "a", "endpoint": "10.0.0.1", "ttl": -1}`, "ttl is 0, or up to"},
		"a ttl that is no ttl": {`{"name": "a", "endpoint": "10.0.0.1", "ttl": "long"}`, "ttl is 0, or up to"},
	} {
		t.Run(name, func(t *testing.T) { w.refuses(anna, "registry", "register", c.args, c.saying) })
	}
}

func TestRegistryExpiresAndRenews(t *testing.T) {
	w := newWorld(t, folder(t, "registry", nil))
	for _, args := range []string{`["short", "10.0.0.1", 60]`, `["kept", "10.0.0.2"]`} {
		if _, err := w.call(anna, "registry", "register", args); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.call(bert, "registry", "register", `["orphan", "10.0.0.3"]`); err != nil {
		t.Fatal(err)
	}
	w.pass(2 * time.Minute)
	if got := w.lookup("short"); len(got) != 0 {
		t.Errorf("a name whose time is over leads to %+v", got)
	}
	if said := w.tick("registry-expire"); said != "expired names removed: 1" {
		t.Errorf("expire said %q", said)
	}
	w.must(w.writer.DeleteAccount(as(t.Context(), root), "lab"))
	w.pass(12 * time.Hour)
	if said := w.tick("registry-renew"); said != "names renewed: 1 - left to expire, their account is gone: 1" {
		t.Errorf("renew said %q", said)
	}
	w.pass(13 * time.Hour)
	same(t, "after a day", w.listed("{}"), []string{"kept"})
	if said := w.tick("registry-list"); said != "names: 1 - of VMs: 0" {
		t.Errorf("list said %q", said)
	}
}

// guest makes a VM in account co-op that has an address.
func (w *world) guest(name string) api.VM {
	w.t.Helper()
	done, err := w.writer.CreateVM(as(w.t.Context(), anna), api.VMCreate{Name: name, Spec: api.VMSpec{VCPUs: 1, MemoryMiB: 64, Network: "lan"}})
	w.must(err)
	return done.Object
}

func TestRegistryEntersVMs(t *testing.T) {
	w := newWorld(t, folder(t, "registry", nil))
	vm := w.guest("web")
	changed := func(vm api.VM) string {
		t.Helper()
		return w.event("registry-vms", "vms", api.Updated, vm.ID, vm)
	}
	if said := changed(vm); said != "" || len(w.lookup("web.co-op.vm")) != 0 {
		t.Errorf("a VM that does not run yet: %q, %+v", said, w.lookup("web.co-op.vm"))
	}
	running := w.becomes(vm, api.VMRunning)
	if said := changed(running); said != "entered: web.co-op.vm" {
		t.Errorf("a VM that runs: %q", said)
	}
	if got := w.lookup("web.co-op.vm"); len(got) != 1 || got[0].Address != running.Status.Addresses[0].IP || got[0].Account != "co-op" {
		t.Errorf("got %+v, want %v", got, running.Status.Addresses)
	}
	if said := changed(vm); said != "" {
		t.Errorf("an old event does something: %q", said)
	}
	w.refuses(root, "registry", "remove", `{"name": "web.co-op.vm"}`, "are those of VMs")

	stopped := w.becomes(running, api.VMStopped)
	if said := changed(stopped); said != "left: web.co-op.vm" || len(w.lookup("web.co-op.vm")) != 0 {
		t.Errorf("a VM that stops: %q, %+v", said, w.lookup("web.co-op.vm"))
	}
}

func TestRegistryComparesVMs(t *testing.T) {
	w := newWorld(t, folder(t, "registry", nil))
	var vms []api.VM
	for n := range 3 {
		vms = append(vms, w.becomes(w.guest(fmt.Sprint("w", n)), api.VMRunning))
	}
	if said := w.tick("registry-vms"); strings.Count(said, "entered") != 3 {
		t.Errorf("the first look said %q", said)
	}
	if said := w.tick("registry-vms"); said != "" {
		t.Errorf("the second look found something to do: %q", said)
	}
	same(t, "VMs", w.listed(`{"prefix": "w"}`), []string{"w0.co-op.vm", "w1.co-op.vm", "w2.co-op.vm"})
	w.becomes(vms[1], api.VMCrashed)
	_, err := w.writer.UpdateVM(as(t.Context(), anna), vms[2].ID, 0, api.VMUpdate{Name: "renamed"})
	w.must(err)
	w.tick("registry-vms")
	same(t, "VMs", w.listed("{}"), []string{"renamed.co-op.vm", "w0.co-op.vm"})
}

// TestNameserverReadsTheRegistry: the keys and values of the package are what the
// nameserver looks for.
func TestNameserverReadsTheRegistry(t *testing.T) {
	w := newWorld(t)
	names := nameserver.Registry{Cluster: w}
	if _, there, err := names.Lookup(t.Context(), "db.prod"); there || err != nil || names.Beneath("vm") {
		t.Errorf("without the package: %v, %v", there, err)
	}
	w.install(folder(t, "registry", nil))
	vm := w.becomes(w.guest("web"), api.VMRunning)
	w.tick("registry-vms")
	if _, err := w.call(anna, "registry", "register", `["db.prod", ["10.0.0.5:5432", "db.example.org"], 60]`); err != nil {
		t.Fatal(err)
	}
	look := func(name string) string {
		t.Helper()
		found, there, err := names.Lookup(t.Context(), name)
		w.must(err)
		return fmt.Sprint(found, there, names.Beneath(name))
	}
	for name, want := range map[string]string{
		"db.prod":      "[10.0.0.5] true false",
		"prod":         "[] false true",
		"web.co-op.vm": "[" + vm.Status.Addresses[0].IP + "] true false",
		"co-op.vm":     "[] false true",
		"vm":           "[] false true",
		"rod":          "[] false false",
		"no.co-op.vm":  "[] false false",
	} {
		if got := look(name); got != want {
			t.Errorf("%s: got addresses, there, beneath %s, want %s", name, got, want)
		}
	}
	w.pass(2 * time.Minute)
	if got := look("db.prod"); got != "[] false false" && got != "[] false true" {
		t.Errorf("after its time: got %s", got)
	}
}
