package chaos

import "testing"

// Of the MINUTES that are asked for, peers in a network get a half and guests a third.
const (
	shareOfPeers  = 1.0 / 2
	shareOfGuests = 1.0 / 3
	shareOfPower  = 1 - shareOfPeers - shareOfGuests
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

// TestChaosOfPower is a run with disks that forget what was not synced when power goes,
// of one peer or of all at once.
func TestChaosOfPower(t *testing.T) {
	o := fromEnv(t, shareOfPower)
	o.power = true
	do(t, o)
}
