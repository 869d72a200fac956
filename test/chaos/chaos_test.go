package chaos

import "testing"

// Of the MINUTES that are asked for, guests get a third.
const (
	shareOfPeers  = 2.0 / 3
	shareOfGuests = 1 - shareOfPeers
)

// TestChaos is a run of SEED, with simulated guests.
func TestChaos(t *testing.T) {
	do(t, fromEnv(t, shareOfPeers))
}

// TestChaosOfGuests is a run with real libvirt and QEMU: a guest never runs on two
// hosts, and in the end exactly those run that are wanted.
func TestChaosOfGuests(t *testing.T) {
	o := fromEnv(t, shareOfGuests)
	o.guests = true
	do(t, o)
}
