package lab

import (
	"fmt"
	"os/exec"
)

// plugIn lays a wire from the host to the switch: eth0 inside, the host's name outside.
func (h *Host) plugIn() error {
	pid := fmt.Sprint(h.space.pid())
	wire := [][]string{
		{"link", "add", h.Name, "type", "veth", "peer", "name", "eth0", "netns", pid},
		{"link", "set", h.Name, "master", "br0", "up"},
	}
	for _, args := range wire {
		if out, err := h.lab.ip(args...); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	inside := fmt.Sprintf("ip address add %s/24 dev eth0 && ip link set eth0 up && ip route add default via 10.77.0.254", h.Addr)
	_, err := h.Output("sh", "-ec", inside)
	return err
}

// ip runs ip in the network of the switch.
func (l *Lab) ip(args ...string) (string, error) {
	var out []byte
	err := l.wires.enter(func() (err error) {
		out, err = exec.Command("ip", args...).CombinedOutput()
		return err
	})
	return string(out), err
}

// Cut makes that nothing gets from a to b, nor from b to a, until Heal. Connections
// are not closed: what is sent just does not arrive.
func (l *Lab) Cut(a, b *Host) {
	l.t.Helper()
	a.deafTo(b)
	b.deafTo(a)
}

// CutOneWay makes that nothing gets from a to b; the other way stays open.
func (l *Lab) CutOneWay(a, b *Host) {
	l.t.Helper()
	b.deafTo(a)
}

// Isolate cuts a host from all others.
func (l *Lab) Isolate(a *Host) {
	l.t.Helper()
	for _, b := range l.hosts {
		if a != b {
			l.Cut(a, b)
		}
	}
}

// Heal undoes every cut.
func (l *Lab) Heal() {
	l.t.Helper()
	if l.bare {
		return // nothing can be cut
	}
	for _, h := range l.hosts {
		h.Run("iptables", "--wait", "--flush", "INPUT")
	}
}

// deafTo makes the host drop what arrives from another.
func (h *Host) deafTo(other *Host) {
	h.t.Helper()
	if h.space == nil {
		h.t.Fatalf("a lab without namespaces cannot be cut")
	}
	h.Run("iptables", "--wait", "--append", "INPUT", "--source", other.Addr, "--jump", "DROP")
}
