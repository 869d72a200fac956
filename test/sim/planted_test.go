//go:build planted

package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/orchd/orchd/api/planted"
)

// mostSeeds is within how many seeds a bug must be found.
const mostSeeds = 50

// plantedLength is how long each of those runs lasts.
const plantedLength = 3 * time.Minute

// TestPlantedBugs plants each bug that a simulated cluster must notice, and
// runs one seed after the other until something does not hold.
func TestPlantedBugs(t *testing.T) {
	first := uint64(1)
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if first, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for _, bug := range []planted.Bug{planted.VerifyLeaderReads, planted.AckBeforeCommit, planted.EdgeIdempotency, planted.OwnerFromGossip,
		planted.EpochUnchecked, planted.ClockInApply, planted.MapOrderHash, planted.EarlyFree, planted.EventTwice, planted.TokenTwice} {
		t.Run(string(bug), func(t *testing.T) {
			planted.Plant(bug)
			defer planted.Plant("")
			began := time.Now()
			for k := range uint64(mostSeeds) {
				var found Report
				t.Run(fmt.Sprint(first+k), func(t *testing.T) {
					found = Run(t, Options{Seed: first + k, Length: plantedLength, MayBeVoid: true})
				})
				if len(found.Violations) > 0 {
					fmt.Printf("result: planted: %s found by seed %d, the %d. of %s, after %s: %.300s\n",
						bug, first+k, k+1, plantedLength, time.Since(began).Round(time.Second/10), found.Violations[0])
					return
				}
			}
			t.Errorf("%s was not found within %d seeds of %s", bug, mostSeeds, plantedLength)
		})
	}
}
