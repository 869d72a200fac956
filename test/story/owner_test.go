package story

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/test/lab"
)

// guests makes a cluster that can boot the small guest.
func guests(t *testing.T, n int) *house {
	t.Helper()
	g := guest.Make(t)
	h := form(t, n)
	h.allVoters()
	h.do(h.Host(0), http.StatusCreated, "POST", "/v1/images", api.ImageCreate{
		Name: "tiny", Kind: api.ImageKernel, Kernel: g.Kernel, Initrd: g.Initrd, Cmdline: "console=ttyS0",
	})
	return h
}

// boot makes a VM that boots the small guest, and waits until it runs.
func (h *house) boot(at *lab.Host, name string) api.VM {
	h.t.Helper()
	h.do(at, http.StatusCreated, "POST", "/v1/vms", bootable(name))
	return h.becomes(at, name, api.VMRunning, 2*time.Minute)
}

func bootable(name string) api.VMCreate {
	c := ask.VM(name, 1, 128)
	c.Spec.Image = "tiny"
	return c
}

// owner is the host that a VM says it is on.
func (h *house) owner(vm api.VM) *lab.Host {
	h.t.Helper()
	for _, host := range h.Hosts() {
		if host.Name == vm.Status.Owner {
			return host
		}
	}
	h.t.Fatalf("VM %s is owned by %q, which is no host", vm.Name, vm.Status.Owner)
	return nil
}

// domains are the UUIDs that a host's libvirt knows.
func domains(host *lab.Host) []string {
	return strings.Fields(host.Virsh("list", "--all", "--uuid"))
}

// TestGuests: a real guest is on its owner and nowhere else, outlives orchd and
// libvirtd, and leaves nothing behind.
func TestGuests(t *testing.T) {
	h := guests(t, 3)
	vm := h.boot(h.Host(1), "one")
	owner := h.owner(vm)
	for _, host := range h.Hosts() {
		if has := slices.Contains(domains(host), vm.ID); has != (host == owner) {
			t.Errorf("%s has the domain: %v; the owner is %s", host.Name, has, owner.Name)
		}
	}
	lab.Eventually(t, 2*time.Minute, func() error {
		if said := owner.Run("sh", "-c", "cat "+owner.DataDir()+"/disks/*"+vm.ID+"*console* 2>/dev/null || true"); !strings.Contains(said, "orchd guest up") {
			return fmt.Errorf("the guest has not said that it is up: %q", said)
		}
		return nil
	})
	before := owner.Guests()
	if len(before) != 1 {
		t.Fatalf("QEMU processes on %s: %v, want one", owner.Name, before)
	}
	if user := owner.Run("ps", "-o", "user:32=", "-C", "qemu-system-x86_64"); !strings.Contains(user, "libvirt-qemu") {
		t.Errorf("the guest runs as %q, want libvirt-qemu", strings.TrimSpace(user))
	}

	t.Run("orchd is killed and started again", func(t *testing.T) {
		owner.Kill()
		owner.Start()
		owner.AwaitReady()
		h.becomes(owner, "one", api.VMRunning, patience)
		if after := owner.Guests(); !slices.Equal(after, before) {
			t.Errorf("QEMU was process %v, is %v", before, after)
		}
	})
	t.Run("libvirtd is killed and started again", func(t *testing.T) {
		owner.KillLibvirt()
		lab.Eventually(t, patience, func() error {
			for _, p := range h.status(h.Host(0)).Peers {
				if p.Name == owner.Name && p.Problem == "" {
					return fmt.Errorf("%s is not said to be in trouble", owner.Name)
				}
			}
			return nil
		})
		owner.StartLibvirt()
		lab.Eventually(t, patience, func() error {
			for _, p := range h.status(h.Host(0)).Peers {
				if p.Problem != "" {
					return fmt.Errorf("%s: %s", p.Name, p.Problem)
				}
			}
			return nil
		})
		h.becomes(owner, "one", api.VMRunning, patience)
		if after := owner.Guests(); !slices.Equal(after, before) {
			t.Errorf("QEMU was process %v, is %v", before, after)
		}
	})
	t.Run("stop and start", func(t *testing.T) {
		h.do(h.Host(0), http.StatusOK, "POST", "/v1/vms/one/force-stop?wait=25s", nil)
		if running := owner.Guests(); len(running) != 0 {
			t.Errorf("after the stop QEMU runs: %v", running)
		}
		h.do(h.Host(0), http.StatusOK, "POST", "/v1/vms/one/start?wait=25s", nil)
		if running := owner.Guests(); len(running) != 1 {
			t.Errorf("after the start QEMU runs: %v", running)
		}
	})
	t.Run("delete leaves nothing", func(t *testing.T) {
		h.do(h.Host(2), http.StatusOK, "DELETE", "/v1/vms/one?wait=25s", nil)
		for _, host := range h.Hosts() {
			if left := domains(host); len(left) != 0 {
				t.Errorf("%s: domains left: %v", host.Name, left)
			}
			if files := host.Run("find", host.DataDir()+"/disks", "-type", "f"); files != "" {
				t.Errorf("%s: files left:\n%s", host.Name, files)
			}
		}
		h.do(h.Host(0), http.StatusNotFound, "GET", "/v1/vms/one", nil)
	})
}

// TestOwnerStoppedBeforeItBegins: the owner of a new VM is stopped for 60 s
// before it could claim it. The VM runs elsewhere; the old owner makes nothing.
func TestOwnerStoppedBeforeItBegins(t *testing.T) {
	t.Parallel() // it mostly waits
	h := guests(t, 3)
	leader := h.leader(h.Hosts()...)
	slow := h.but(leader)[0]
	for _, host := range h.but(slow) {
		h.do(leader, http.StatusOK, "POST", "/v1/peers/"+host.Name+"/cordon", nil)
	}
	slow.Pause()
	stopped := time.Now()
	vm := ask.Decode[api.VM](t, h.do(leader, http.StatusCreated, "POST", "/v1/vms", bootable("one")))
	if vm.Status.Owner != slow.Name {
		t.Fatalf("the VM went to %s, want %s", vm.Status.Owner, slow.Name)
	}
	for _, host := range h.but(slow) {
		h.do(leader, http.StatusOK, "POST", "/v1/peers/"+host.Name+"/uncordon", nil)
	}
	lab.Eventually(t, 90*time.Second, func() error {
		moved, err := h.vm(leader, "one")
		if err == nil && (moved.Status.Owner == slow.Name || moved.Status.State != api.VMRunning) {
			err = fmt.Errorf("it is %s on %s", moved.Status.State, moved.Status.Owner)
		}
		return err
	})
	lab.Eventually(t, 90*time.Second, func() error { // the 60 s of the story
		if since := time.Since(stopped); since < time.Minute {
			return fmt.Errorf("the owner was stopped for %s only", since)
		}
		return nil
	})
	slow.Resume()
	slow.AwaitReady()
	lab.Eventually(t, patience, func() error {
		if seen := h.vms(slow, "consistency=local")["one"]; seen.Status.Epoch != 2 {
			return fmt.Errorf("%s still sees epoch %d", slow.Name, seen.Status.Epoch)
		}
		return nil
	})
	moved := h.becomes(slow, "one", api.VMRunning, patience)
	if moved.Status.Owner == slow.Name || moved.Status.Epoch != 2 {
		t.Errorf("it is on %s at epoch %d", moved.Status.Owner, moved.Status.Epoch)
	}
	if made := domains(slow); len(made) != 0 {
		t.Errorf("the old owner made %v", made)
	}
	if log := slow.Run("sh", "-c", "ls /var/log/libvirt/qemu/"); log != "" {
		t.Errorf("the old owner once ran a guest: %s", log)
	}
}

// TestPlantedDouble: a second domain of a VM is planted by hand on another host:
// it is reported within 5 s, and neither is touched.
func TestPlantedDouble(t *testing.T) {
	h := guests(t, 3)
	vm := h.boot(h.Host(0), "one")
	owner := h.owner(vm)
	other := h.but(owner)[0]
	before := owner.Guests()
	xml := owner.Dir() + "/planted.xml"
	owner.Run("sh", "-c", "virsh -q -c qemu:///system dumpxml --inactive "+vm.ID+" > "+xml)
	// The console's log lies in the owner's folder; there its copy has none.
	other.Run("sed", "-i", "/<serial /,/<\\/serial>/d; /<console /,/<\\/console>/d", xml)
	other.Virsh("define", xml)
	other.Virsh("start", vm.ID)
	lab.Eventually(t, 5*time.Second, func() error {
		seen, err := h.vm(h.Host(0), "one")
		if err == nil && !slices.Contains(seen.Status.Doubles, other.Name) {
			err = fmt.Errorf("the doubles are %v", seen.Status.Doubles)
		}
		return err
	})
	warned := false
	for _, w := range h.status(h.Host(0)).Warnings {
		warned = warned || w.Code == "double-vm" && w.VM == vm.ID
	}
	if !warned {
		t.Error("status does not warn of it")
	}
	h.do(h.Host(0), http.StatusAccepted, "POST", "/v1/vms/one/force-stop", nil)
	lab.Eventually(t, patience, func() error { // long enough for both to have looked again
		if a := h.do(h.Host(0), http.StatusOK, "GET", "/v1/vms/one", nil); ask.Decode[api.VM](t, a).Status.Desired != api.WantStopped {
			return fmt.Errorf("the stop is not recorded")
		}
		return nil
	})
	if after := owner.Guests(); !slices.Equal(after, before) {
		t.Errorf("the owner's QEMU was %v, is %v", before, after)
	}
	if state := strings.TrimSpace(other.Virsh("domstate", vm.ID)); state != "running" {
		t.Errorf("the planted domain is %s", state)
	}
	other.Virsh("destroy", vm.ID)
	other.Virsh("undefine", vm.ID)
	h.becomes(h.Host(0), "one", api.VMStopped, patience) // with the double gone the owner goes on
}

// TestRebootWhileCutOff: a host that is rebooted while it is cut off starts
// nothing; when it is back, its guest runs again.
func TestRebootWhileCutOff(t *testing.T) {
	h := guests(t, 3)
	vm := h.boot(h.Host(0), "one")
	owner := h.owner(vm)
	h.Isolate(owner)
	owner.Reboot()
	lab.Eventually(t, patience, func() error {
		a, err := h.try(t.Context(), owner, "GET", "/v1/vms/one?consistency=local", nil)
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("the rebooted peer answers %d", a.Status)
		}
		return err
	})
	// It has asked for its VMs and been refused at least once by then.
	h.do(owner, http.StatusServiceUnavailable, "GET", "/v1/vms", nil)
	h.do(owner, http.StatusServiceUnavailable, "GET", "/v1/vms", nil)
	if started := owner.Guests(); len(started) != 0 {
		t.Errorf("cut off, it started %v", started)
	}
	if state := strings.TrimSpace(owner.Virsh("domstate", vm.ID)); state != "shut off" {
		t.Errorf("cut off, the domain is %s", state)
	}
	h.Heal()
	lab.Eventually(t, 2*time.Minute, func() error {
		if n := len(owner.Guests()); n != 1 {
			return fmt.Errorf("%d guests run", n)
		}
		return nil
	})
}
