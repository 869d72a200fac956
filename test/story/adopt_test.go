package story

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/test/lab"
)

const foreignXML = `<domain type='qemu'>
  <name>%[1]s</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>%[2]s</kernel><initrd>%[3]s</initrd><cmdline>console=ttyS0</cmdline></os>
  <features><acpi/><apic/></features>
  <devices>
    <serial type='pty'><log file='/var/log/libvirt/qemu/%[1]s.serial'/></serial>
    <video><model type='none'/></video><memballoon model='none'/>
  </devices>
</domain>`

// foreign defines and starts a domain by hand, as somebody without orchd has it.
func foreign(t *testing.T, host *lab.Host, name string, g guest.Guest) (uuid string) {
	t.Helper()
	xml := filepath.Join(host.Dir(), name+".xml")
	if err := os.WriteFile(xml, fmt.Appendf(nil, foreignXML, name, g.Kernel, g.Initrd), 0o644); err != nil {
		t.Fatal(err)
	}
	host.Virsh("define", xml)
	host.Virsh("start", name)
	return strings.TrimSpace(host.Virsh("domuuid", name))
}

// TestAdopt: a domain that somebody made by hand becomes a VM without a restart;
// another one, that nobody spoke of, is left alone.
func TestAdopt(t *testing.T) {
	t.Parallel() // it mostly waits
	h := homes(t, 2)
	host, other := h.Host(1), h.Host(0)
	g := guest.Make(t)
	uuid := foreign(t, host, "Mail_Server", g)
	left := foreign(t, host, "private", g)
	before := host.Guests()
	private := host.Virsh("dumpxml", left)

	listed := other.CLI("domain", "list")
	if !strings.Contains(listed, "Mail_Server") || !strings.Contains(listed, "private") {
		t.Errorf("domain list shows:\n%s", listed)
	}
	other.CLI("vm", "adopt", "Mail_Server", "--peer", host.Name, "--name", "mail")
	vm := h.becomes(other, "mail", api.VMRunning, patience)
	if vm.ID != uuid || vm.Status.Owner != host.Name || vm.Spec.MemoryMiB != 96 || vm.Spec.VCPUs != 1 {
		t.Errorf("the VM is %+v", vm)
	}
	if len(vm.Status.Flags) == 0 {
		t.Error("nothing is said of what orchd cannot manage of it")
	}
	if after := host.Guests(); !slices.Equal(before, after) {
		t.Errorf("QEMU was process %v, is %v", before, after)
	}
	h.do(other, http.StatusConflict, "POST", "/v1/vms/adopt", api.VMAdopt{Peer: host.Name, Domain: uuid, Name: "again"})

	h.act(other, "mail", api.VMAct{Verb: api.ActForceStop})
	h.becomes(other, "mail", api.VMStopped, patience)
	h.act(other, "mail", api.VMAct{Verb: api.ActStart})
	h.becomes(other, "mail", api.VMRunning, patience)
	if n := len(host.Guests()); n != 2 {
		t.Errorf("%d guests run, want 2", n)
	}
	for d, err := range h.api(other).ForeignDomains(t.Context(), "") {
		if err != nil || d.UUID != left {
			t.Errorf("still none of ours: %+v, %v", d, err)
		}
	}
	if now := host.Virsh("dumpxml", left); now != private {
		t.Errorf("a domain that nobody spoke of was changed:\n%s\nit was:\n%s", now, private)
	}
	h.delete(other, "mail")
	if has := domains(host); !slices.Equal(has, []string{left}) {
		t.Errorf("after the delete the domains are %v, want %s", has, left)
	}
}

// TestPeerLost: a host that is off for good is declared lost. Its VM is lost, what
// was to be deleted there is gone, addresses are free again, and it is never let in again.
func TestPeerLost(t *testing.T) {
	t.Parallel() // it mostly waits
	h := homes(t, 3)
	dead, rest := h.Host(2), h.Hosts()[:2]
	on := func(name string) api.VMCreate {
		want := ask.VM(name, 1, 16)
		want.Spec.Network, want.Spec.Placement.Peer = "lan", dead.Name
		return want
	}
	kept, going := h.make(rest[0], on("kept")), h.make(rest[0], on("going"))
	c := h.api(rest[0])
	dead.PowerOff()
	h.leader(rest...)
	if _, err := c.DeleteVM(t.Context(), going.ID); err != nil {
		t.Fatal(err)
	}
	h.do(rest[0], http.StatusUnprocessableEntity, "POST", "/v1/peers/"+dead.Name+"/lost", api.PeerLost{Name: "h1"})
	if _, err := c.LosePeer(t.Context(), dead.Name, api.PeerLost{Name: dead.Name, Reason: "it burnt"}); err != nil {
		t.Fatal(err)
	}
	h.becomes(rest[1], "kept", api.VMLost, patience)
	lab.Eventually(t, patience, func() error {
		for lease, err := range c.Leases(t.Context()) {
			if err != nil || lease.VM == going.ID {
				return fmt.Errorf("lease %+v, %v", lease, err)
			}
		}
		return nil
	})
	h.do(rest[1], http.StatusNotFound, "GET", "/v1/vms/"+going.ID, nil)
	h.delete(rest[1], "kept")
	h.make(rest[1], small("kept", 96)) // its name is free, and its address
	dead.StartLibvirt()
	dead.Start()
	lab.Eventually(t, patience, func() error {
		st, err := h.api(dead).Status(t.Context(), api.WithConsistency(api.Local))
		if err == nil && !slices.ContainsFunc(st.Warnings, func(w api.Warning) bool { return w.Code == "refused" }) {
			err = fmt.Errorf("%s does not say that it is refused: %v", dead.Name, st.Warnings)
		}
		return err
	})
	if running := dead.Guests(); len(running) != 0 {
		t.Errorf("the lost host runs %v", running)
	}
	if state := strings.TrimSpace(dead.Virsh("domstate", kept.ID)); state != "shut off" {
		t.Errorf("on the lost host the domain is %s", state)
	}
}

// TestRecoverFromHosts: all of the cluster's state is gone. A new cluster on the same
// hosts learns the VMs from their domains; the guests notice nothing.
func TestRecoverFromHosts(t *testing.T) {
	t.Parallel() // it mostly waits
	h := homes(t, 2)
	g := guest.Make(t)
	var before []api.VM
	for _, host := range h.Hosts() {
		want := small("on-"+host.Name, 96)
		want.Spec.Placement.Peer, want.Labels, want.Spec.Restart = host.Name, map[string]string{"tier": "web"}, api.RestartAlways
		before = append(before, h.make(host, want))
	}
	answers(t, h.console(h.Host(0), "on-h1"), "write note kept", "")
	var guests [][]int
	for _, host := range h.Hosts() {
		guests = append(guests, host.Guests())
		host.Kill()
	}
	for _, host := range h.Hosts() {
		host.Run("find", host.DataDir(), "-mindepth", "1", "-maxdepth", "1", "!", "-name", "disks", "!", "-name", "images", "-exec", "rm", "-rf", "{}", "+")
	}
	clear(h.clients)
	h.Form()
	h.tiny(g)
	h.lan()
	first := h.Host(0)
	if said := first.CLI("recover", "--from-hosts", "--dry-run"); !strings.Contains(said, "on-h1") || !strings.Contains(said, "on-h2") {
		t.Errorf("a dry run shows:\n%s", said)
	}
	first.CLI("recover", "--from-hosts", "--yes")
	for i, was := range before {
		c := h.api(h.Host(i))
		vm, err := c.VM(t.Context(), was.Name)
		if err != nil {
			t.Fatal(err)
		}
		if vm.ID != was.ID || vm.Labels["tier"] != "web" || vm.Spec.Restart != was.Spec.Restart || vm.Spec.DiskGiB != was.Spec.DiskGiB ||
			vm.Status.Owner != was.Status.Owner || address(t, vm) != address(t, was) {
			t.Errorf("%s was %+v, is %+v", was.Name, was, vm)
		}
		if now := h.Host(i).Guests(); !slices.Equal(now, guests[i]) {
			t.Errorf("%s: QEMU was process %v, is %v", was.Name, guests[i], now)
		}
	}
	s := h.console(h.Host(1), "on-h1")
	answers(t, s, "read note", "kept")
	h.delete(first, "on-h2")
	if left := domains(h.Host(1)); len(left) != 0 {
		t.Errorf("domains left: %v", left)
	}
}
