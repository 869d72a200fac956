package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/test/guest"
)

const bridgedXML = `<domain type='qemu'>
  <name>%[1]s</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>%[2]s</kernel><initrd>%[3]s</initrd><cmdline>console=ttyS0</cmdline></os>
  <features><acpi/><apic/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%[4]s'/><target dev='vda' bus='virtio'/><readonly/></disk>
    <interface type='bridge'><source bridge='%[5]s'/><mac address='%[6]s'/><model type='virtio'/></interface>
    <serial type='unix'><source mode='bind' path='%[7]s'/></serial>
    <video><model type='none'/></video><memballoon model='none'/>
  </devices>
</domain>`

// bootBridged starts a guest by hand on the bridge for guests, without waiting.
func bootBridged(t *testing.T, h *Host, name, mac, address string) (console string) {
	t.Helper()
	g := guest.Make(t)
	seed := guest.Seed(t, name, mac, netip.MustParsePrefix(address), netip.MustParseAddr(GuestGateway))
	console = filepath.Join(h.lab.Folder("consoles"), name)
	if err := os.Chmod(filepath.Dir(console), 0o777); err != nil { // QEMU runs as libvirt's own user
		t.Fatal(err)
	}
	xml := filepath.Join(h.Dir(), name+".xml")
	text := fmt.Appendf(nil, bridgedXML, name, g.Kernel, g.Initrd, seed, GuestBridge, mac, console)
	if err := os.WriteFile(xml, text, 0o644); err != nil {
		t.Fatal(err)
	}
	h.Virsh("create", xml)
	return console
}

// talk waits until the guest behind a console answers.
func talk(t *testing.T, console string) *guest.Shell {
	t.Helper()
	conn, err := net.Dial("unix", console)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := guest.Talk(conn)
	if err := s.AwaitReady(90 * time.Second); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGuestsReachEachOther: two guests on two hosts, and both hosts.
func TestGuestsReachEachOther(t *testing.T) {
	l := Start(t, 2, Bridged)
	one := bootBridged(t, l.Host(0), "one", "52:54:00:00:00:01", "10.88.0.11/16")
	two := bootBridged(t, l.Host(1), "two", "52:54:00:00:00:02", "10.88.0.12/16")
	from := talk(t, one)
	talk(t, two)
	for who, address := range map[string]string{"the other guest": "10.88.0.12", "its host": l.Host(0).GuestAddr(), "the other host": l.Host(1).GuestAddr(), "the gateway": GuestGateway} {
		Eventually(t, 10*time.Second, func() error {
			_, err := from.Ask("ping " + address)
			return err
		})
		t.Logf("the guest reaches %s at %s", who, address)
	}
	for _, h := range l.Hosts() {
		conn, err := h.Dial(context.Background(), "udp", "10.88.0.12:9")
		if err != nil {
			t.Fatal(err)
		}
		if from, _, _ := net.SplitHostPort(conn.LocalAddr().String()); from != h.GuestAddr() {
			t.Errorf("%s goes to guests as %s, want %s", h.Name, from, h.GuestAddr())
		}
		conn.Close()
	}
}

// TestLibvirtNetwork: the network stays when libvirtd is killed, and comes back
// when the host is rebooted.
func TestLibvirtNetwork(t *testing.T) {
	h := Start(t, 1, Bridged).Host(0)
	h.LibvirtNetwork("inner", "192.168.150")
	up := func(when string) {
		t.Helper()
		Eventually(t, 20*time.Second, func() error {
			if out, err := h.Output("ip", "-o", "-4", "address"); err != nil || !strings.Contains(out, "192.168.150.1/24") || !strings.Contains(out, "10.88.255.1/16") {
				return fmt.Errorf("%s: the addresses are %s, %v", when, out, err)
			}
			if out, err := h.Output("virsh", "-q", "-c", "qemu:///system", "net-dhcp-leases", "inner"); err != nil {
				return fmt.Errorf("%s: %s %w", when, out, err)
			}
			return nil
		})
	}
	up("at first")
	h.KillLibvirt()
	h.StartLibvirt()
	up("libvirtd killed and started")
	h.Reboot()
	up("rebooted")
}
