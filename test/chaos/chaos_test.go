package chaos

import "testing"

// TestChaos is one run: of SEED for MINUTES.
func TestChaos(t *testing.T) {
	do(t, fromEnv(t))
}

// TestChaosOfGuests is a run with real libvirt and QEMU: a guest never runs on two
// hosts, and in the end exactly those run that are wanted.
func TestChaosOfGuests(t *testing.T) {
	o := fromEnv(t)
	o.guests = true
	o.minutes /= 2
	do(t, o)
}
