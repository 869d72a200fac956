package lab

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
)

// libvirtDirs are the folders that each host has for itself, beside /run.
var libvirtDirs = []string{"etc/libvirt", "var/lib/libvirt", "var/cache/libvirt", "var/log/libvirt"}

// writeLibvirtConfig makes those folders and the three files that matter in them.
func (h *Host) writeLibvirtConfig() error {
	for _, dir := range append([]string{"var/log/libvirt/qemu", "var/lib/libvirt/images"}, libvirtDirs...) {
		if err := os.MkdirAll(filepath.Join(h.dir, dir), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		// Without it every libvirtd here has the number of this one machine.
		"libvirtd.conf": fmt.Sprintf("host_uuid = %q\nlog_outputs = \"2:stderr\"\n", uuid.NewString()),
		"virtlogd.conf": "log_outputs = \"2:stderr\"\n",
		// Guests run as libvirt's own user, as anywhere on Debian; what is left out is
		// what a machine without systemd and AppArmor cannot give.
		"qemu.conf": "user = \"libvirt-qemu\"\ngroup = \"libvirt-qemu\"\nsecurity_driver = \"none\"\ncgroup_controllers = []\nnamespaces = []\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(h.dir, "etc/libvirt", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return h.copyFilters()
}

// copyFilters gives the host the filters of traffic that libvirt's package brings.
func (h *Host) copyFilters() error {
	from := os.DirFS("/etc/libvirt")
	filters, err := fs.Glob(from, "nwfilter/*.xml")
	if err != nil || len(filters) == 0 {
		return err
	}
	sub, err := fs.Sub(from, "nwfilter")
	if err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(h.dir, "etc/libvirt/nwfilter"), sub)
}

// LibvirtNetwork gives the host's libvirt an isolated network of that name, where
// its dnsmasq hands out addresses of prefix, such as 192.168.150: .1 is the host.
func (h *Host) LibvirtNetwork(name, prefix string) {
	h.t.Helper()
	text := fmt.Sprintf(`<network><name>%[1]s</name><ip address='%[2]s.1' netmask='255.255.255.0'>
  <dhcp><range start='%[2]s.100' end='%[2]s.200'/></dhcp></ip></network>`, name, prefix)
	file := filepath.Join(h.dir, "network-"+name+".xml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		h.t.Fatalf("%s: %v", h.Name, err)
	}
	h.Virsh("net-define", file)
	h.Virsh("net-autostart", name)
	h.Virsh("net-start", name)
}

// startLibvirt starts the two daemons; awaitLibvirt waits for them.
func (h *Host) startLibvirt() (err error) {
	ctx := context.Background()
	if h.virtlogd, err = h.spawn(filepath.Join(h.dir, "virtlogd.log"), h.command(ctx, "virtlogd")); err != nil {
		return fmt.Errorf("start virtlogd: %w", err)
	}
	if h.libvirtd, err = h.spawn(filepath.Join(h.dir, "libvirtd.log"), h.command(ctx, "libvirtd")); err != nil {
		return fmt.Errorf("start libvirtd: %w", err)
	}
	return nil
}

func (h *Host) awaitLibvirt() error {
	var err error
	for start := time.Now(); time.Since(start) < startLimit && h.libvirtd.running(); time.Sleep(20 * time.Millisecond) {
		if _, err = h.Output("virsh", "-q", "-c", "qemu:///system", "list"); err == nil {
			return nil
		}
	}
	return fmt.Errorf("libvirtd does not answer: %w\n%s", err, tail(h.libvirtd.log, 20))
}

// KillLibvirt ends libvirtd with SIGKILL. Guests and orchd go on.
func (h *Host) KillLibvirt() { h.libvirtd.kill() }

// StartLibvirt starts libvirtd again after KillLibvirt and waits until it answers.
func (h *Host) StartLibvirt() {
	h.t.Helper()
	h.virtlogd.kill()
	err := h.startLibvirt()
	if err == nil {
		err = h.awaitLibvirt()
	}
	if err != nil {
		h.t.Fatalf("%s: %v", h.Name, err)
	}
}

// Reboot takes the power away and gives it back: libvirt starts again, and orchd, if
// the host was enrolled. A cut stays. It does not wait until orchd is ready.
func (h *Host) Reboot() {
	h.t.Helper()
	enrolled := h.orchd != nil
	h.PowerOff()
	if h.lab.driver == "libvirt" {
		h.StartLibvirt()
	}
	if enrolled {
		h.Start()
	}
}

// PowerOff takes the power away: orchd, libvirt and every guest are gone at once, and
// so is what was in /run.
func (h *Host) PowerOff() {
	h.t.Helper()
	h.Run("bash", "-c", "kill -KILL -1; find /run -mindepth 1 -delete") // -1: all of the host but its first process
	for _, p := range []*process{h.orchd, h.libvirtd, h.virtlogd} {
		if p != nil {
			<-p.done
		}
	}
	Eventually(h.t, patience, func() error {
		if guests := h.Guests(); len(guests) > 0 {
			return fmt.Errorf("%s: processes %v are still ending", h.Name, guests)
		}
		return nil
	})
}

// Guests gives the QEMU processes of the host, by the machine's numbers.
func (h *Host) Guests() []int {
	h.t.Helper()
	inside, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", h.space.pid()))
	if err != nil {
		h.t.Fatalf("%s: %v", h.Name, err)
	}
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		h.t.Fatalf("%s: %v", h.Name, err)
	}
	var pids []int
	for _, comm := range names {
		name, _ := os.ReadFile(comm) // gone in the meantime: no guest
		where, _ := os.Readlink(filepath.Join(filepath.Dir(comm), "ns/pid"))
		if strings.HasPrefix(string(name), "qemu-system") && where == inside {
			var pid int
			fmt.Sscanf(comm, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}
