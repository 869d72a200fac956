package chaos

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
)

// fault breaks something and mends it again. do gives what shows that it took
// effect; an empty text says that it did not, an error that something went wrong
// that no fault may bring about.
type fault struct {
	name string
	do   func(r *run, rng *rand.Rand) (effect string, err error)
}

// step is one fault of a plan, with its own source of chance: what one fault draws
// moves no other.
type step struct {
	fault
	seed uint64
}

// plan is n faults out of all: all kinds once in a random order, then again in another.
func plan(all []fault, seed uint64, n int, only string) ([]step, error) {
	want, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("ONLY: %w", err)
	}
	var deck []fault
	for _, f := range all {
		if want.MatchString(f.name) {
			deck = append(deck, f)
		}
	}
	if len(deck) == 0 {
		return nil, fmt.Errorf("ONLY=%s matches no fault", only)
	}
	rng := rand.New(rand.NewPCG(seed, 'p'))
	var steps []step
	for len(steps) < n {
		for _, k := range rng.Perm(len(deck)) {
			steps = append(steps, step{deck[k], rng.Uint64()})
		}
	}
	return steps[:n], nil
}

// tell is the plan for people.
func tell(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "%d. %s (%x)\n", i+1, s.name, s.seed)
	}
	return b.String()
}

// faults are all that is done to a cluster.
var faults = []fault{
	{"F1 kill the leader", killLeader},
	{"F1 kill a follower", killFollower},
	{"F1 kill a majority", killMajority},
	{"F1 kill all", killAll},
	{"F1 kill in a row", killInARow},
	{"F2 pause the leader", pauseLeader},
	{"F2 pause and cut the leader", pauseCutLeader},
	{"F2 pause a follower", pauseFollower},
	{"F2 pause all", pauseAll},
	{"F3 isolate the leader", isolateLeader},
	{"F3 isolate a follower", isolateFollower},
	{"F3 deaf leader", deafLeader},
	{"F3 mute leader", muteLeader},
	{"F3 ring or bridge", ring},
	{"F3 all alone", splitAll},
	{"F4 loss", loss},
	{"F4 resets", resets},
	{"F4 narrow", narrow},
	{"F4 delay", delay},
	{"F4 half open", halfOpen},
	{"F4 forgotten", forgotten},
	{"F5 gossip cut", gossipCut},
	{"F8 fsync fails", syncFails},
	{"F8 disk hangs", diskHangs},
	{"F8 disk slow", diskSlow},
	{"F9 disk full", diskFull},
	{"F10 flipped bytes", flipped},
	{"F11 wiped", wiped},
	{"F11 swapped", swapped},
	{"F11 old backup", oldBackup},
	{"F13 join race", joinRace},
	{"F13 one voter and back", oneVoterAndBack},
	{"F13 left behind", leftBehind},
	{"F14 transfers", transferStorm},
	{"F19 flood", flood},
	{"F19 slow clients", slowClients},
	{"F19 large body", largeBody},
	{"F22 one core", starve},
	{"F22 few files", fewFiles},
}
