package lab

import (
	"fmt"
	"net/netip"
)

// The network of guests: all of it is one wire between the hosts, apart from the
// one that peers talk on.
const (
	// GuestBridge is the bridge that [Bridged] gives each host for its guests.
	GuestBridge = "vms0"
	// GuestNet is the range that is free for guests up to GuestLast; hosts stand at its end.
	GuestNet   = "10.88.0.0/16"
	GuestFirst = "10.88.0.10"
	GuestLast  = "10.88.254.254"
	// GuestGateway answers on the wire and leads nowhere.
	GuestGateway = "10.88.255.254"
)

// Bridged gives each host a bridge for guests. Guests on different hosts reach each
// other, and each host reaches them all.
func Bridged(l *Lab) { l.bridged = true }

// GuestAddr is a host's own address on the bridge for guests.
func (h *Host) GuestAddr() string { return fmt.Sprintf("10.88.255.%d", h.number) }

// plugInGuests lays a second wire to the switch, and hangs a bridge on its inner end.
func (h *Host) plugInGuests() error {
	outside := h.Name + "-vms"
	wire := [][]string{
		{"link", "add", outside, "type", "veth", "peer", "name", "eth1", "netns", fmt.Sprint(h.space.pid())},
		{"link", "set", outside, "master", "br1", "up"},
	}
	for _, args := range wire {
		if out, err := h.lab.ip(args...); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	bits := netip.MustParsePrefix(GuestNet).Bits()
	inside := fmt.Sprintf(`ip link add %[1]s type bridge forward_delay 0
ip address add %[2]s/%[3]d dev %[1]s
ip link set eth1 master %[1]s up
ip link set %[1]s up`, GuestBridge, h.GuestAddr(), bits)
	_, err := h.Output("sh", "-ec", inside)
	return err
}

// openGuestSwitch makes the other end of those wires.
func (l *Lab) openGuestSwitch() error {
	bits := netip.MustParsePrefix(GuestNet).Bits()
	for _, args := range [][]string{
		{"link", "add", "br1", "type", "bridge", "forward_delay", "0"},
		{"address", "add", fmt.Sprintf("%s/%d", GuestGateway, bits), "dev", "br1"},
		{"link", "set", "br1", "up"},
	} {
		if out, err := l.ip(args...); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	return nil
}
