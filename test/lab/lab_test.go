package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orchd/orchd/test/guest"
)

const guestXML = `<domain type='qemu'>
  <name>g</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>%s</kernel><initrd>%s</initrd><cmdline>console=ttyS0</cmdline></os>
  <features><acpi/><apic/></features>
  <devices>
    <serial type='pty'><log file='/var/log/libvirt/qemu/g.serial'/></serial>
    <video><model type='none'/></video><memballoon model='none'/>
  </devices>
</domain>`

// bootGuest starts a guest by hand and waits until its console says that it is up.
func bootGuest(t *testing.T, h *Host) {
	t.Helper()
	g := guest.Make(t)
	xml := filepath.Join(h.Dir(), "g.xml")
	if err := os.WriteFile(xml, fmt.Appendf(nil, guestXML, g.Kernel, g.Initrd), 0o644); err != nil {
		t.Fatal(err)
	}
	h.Virsh("create", xml)
	Eventually(t, time.Minute, func() error {
		console, _ := os.ReadFile(filepath.Join(h.Dir(), "var/log/libvirt/qemu/g.serial"))
		if !strings.Contains(string(console), guest.Up) {
			return fmt.Errorf("the guest's console has only %q", console)
		}
		return nil
	})
}

func TestGuestIsOnOneHostOnly(t *testing.T) {
	l := Start(t, 2)
	one, two := l.Host(0), l.Host(1)
	bootGuest(t, one)
	if got := one.Virsh("list", "--name"); strings.TrimSpace(got) != "g" {
		t.Errorf("domains on h1: got %q, want g", got)
	}
	if got := two.Virsh("list", "--name", "--all"); strings.TrimSpace(got) != "" {
		t.Errorf("domains on h2: got %q, want none", got)
	}
	if got := len(two.Guests()); got != 0 {
		t.Errorf("guests on h2: got %d, want 0", got)
	}
	uuids := []string{hostUUID(one), hostUUID(two)}
	if uuids[0] == uuids[1] {
		t.Errorf("both hosts have the UUID %s", uuids[0])
	}
	owner := one.Run("ps", "-C", "qemu-system-x86_64", "-o", "user:20=")
	if got := strings.TrimSpace(owner); got != "libvirt-qemu" {
		t.Errorf("the guest runs as %q, want libvirt-qemu", got)
	}
}

func hostUUID(h *Host) string {
	_, uuid, _ := strings.Cut(h.Virsh("capabilities"), "<uuid>")
	uuid, _, _ = strings.Cut(uuid, "</uuid>")
	return uuid
}

func TestGuestOutlivesLibvirtdNotReboot(t *testing.T) {
	l := Start(t, 1)
	h := l.Host(0)
	bootGuest(t, h)
	before := h.Guests()
	h.KillLibvirt()
	h.StartLibvirt()
	if got := h.Guests(); !slices.Equal(got, before) || len(got) != 1 {
		t.Errorf("guests after libvirtd was killed: got %v, want %v", got, before)
	}
	if got := h.Virsh("list", "--name"); strings.TrimSpace(got) != "g" {
		t.Errorf("domains that the new libvirtd found: got %q, want g", got)
	}
	// Where QEMU takes its time to end, libvirt 9 may find the domain gone before its
	// own call is through, and answers that there is none.
	if out, err := h.Output("virsh", "-q", "-c", "qemu:///system", "destroy", "g"); err != nil && !strings.Contains(err.Error(), "Domain not found") {
		t.Errorf("destroy: %v %s", err, out)
	}
	if got := h.Guests(); len(got) != 0 {
		t.Errorf("guests after destroy: got %v, want none", got)
	}
	bootGuest(t, h)
	h.Reboot()
	if got := h.Guests(); len(got) != 0 {
		t.Errorf("guests after a reboot: got %v, want none", got)
	}
	if got := h.Virsh("list", "--name"); strings.TrimSpace(got) != "" {
		t.Errorf("domains after a reboot: got %q, want none", got)
	}
}

func TestCut(t *testing.T) {
	l := Start(t, 3, Sim)
	a, b, c := l.Host(0), l.Host(1), l.Host(2)
	for _, h := range l.Hosts() {
		listen(t, h)
	}
	check := func(when string, reachable map[[2]*Host]bool) {
		t.Helper()
		for pair, want := range reachable {
			limit := 500 * time.Millisecond // what is cut off is not reached later either
			if want {
				limit = time.Minute
			}
			if got := reaches(pair[0], pair[1], limit); got != want {
				t.Errorf("%s: %s reaches %s: got %v, want %v", when, pair[0].Name, pair[1].Name, got, want)
			}
		}
	}
	check("at first", map[[2]*Host]bool{{a, b}: true, {b, c}: true, {c, a}: true})
	l.Cut(a, b)
	check("a and b cut", map[[2]*Host]bool{{a, b}: false, {b, a}: false, {a, c}: true, {b, c}: true, {a, a}: true})
	l.Heal()
	l.Isolate(c)
	check("c alone", map[[2]*Host]bool{{a, b}: true, {c, a}: false, {b, c}: false, {c, c}: true})
	c.Reboot()
	check("c alone, rebooted", map[[2]*Host]bool{{a, c}: false})
	l.Heal()
	check("healed", map[[2]*Host]bool{{c, b}: true, {a, b}: true})
}

// listen runs a listener on port 7700 of the host.
func listen(t *testing.T, h *Host) {
	t.Helper()
	var listener net.Listener
	err := h.space.enter(func() (err error) {
		listener, err = net.Listen("tcp4", ":7700")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
}

func reaches(from, to *Host, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", to.Addr+":7700")
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func TestOutputGivesExitCode(t *testing.T) {
	h := Start(t, 1, Sim).Host(0)
	_, err := h.Output("sh", "-c", "echo sorry >&2; exit 7")
	exit, is := errors.AsType[*exec.ExitError](err)
	if !is || exit.ExitCode() != 7 || !strings.Contains(err.Error(), "sorry") {
		t.Errorf("got %v, want exit status 7 and its words", err)
	}
	if got := strings.TrimSpace(h.Run("hostname")); got != "h1" {
		t.Errorf("hostname: got %q, want h1", got)
	}
}

// TestNothingIsLeft kills a process that has a lab and looks for what it started.
func TestNothingIsLeft(t *testing.T) {
	if dir := os.Getenv("LAB_TEST_VICTIM"); dir != "" {
		l := Start(t, 2, Sim)
		os.WriteFile(dir, fmt.Append(nil, l.Host(1).space.pid(), " ", l.dir), 0o600)
		l.Host(1).Run("sleep", "1000")
	}
	note := filepath.Join(t.TempDir(), "note")
	victim := exec.Command(os.Args[0], "-test.run=^TestNothingIsLeft$")
	victim.Env = append(os.Environ(), "LAB_TEST_VICTIM="+note)
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { victim.Process.Kill() })
	var holder int
	var dir string
	Eventually(t, time.Minute, func() error {
		text, _ := os.ReadFile(note)
		_, err := fmt.Sscan(string(text), &holder, &dir)
		return err
	})
	victim.Process.Kill()
	victim.Wait()
	Eventually(t, 10*time.Second, func() error {
		if err := syscall.Kill(holder, 0); err != syscall.ESRCH {
			return fmt.Errorf("the first process of h2 is still there: %v", err)
		}
		return nil
	})
	sweep()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("folder of the killed lab: got %v, want it gone", err)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		l := &Lab{t: b, driver: "libvirt"}
		if err := l.open(1); err != nil {
			b.Fatal(err)
		}
		l.close()
	}
}
