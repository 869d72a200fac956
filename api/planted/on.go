//go:build planted

package planted

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
)

// planted is the bug in force; empty for none.
var planted atomic.Pointer[Bug]

// level is the highest behaviour level to know; 0: all that the program has.
var level uint64

func init() {
	Plant(Bug(os.Getenv(Variable)))
	if text := os.Getenv(LevelVariable); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 {
			panic(fmt.Sprintf("%s: %q is no behaviour level", LevelVariable, text))
		}
		level = n
	}
}

// Level is the highest behaviour level that this program knows: highest, or less where
// it plays an older release.
func Level(highest uint64) uint64 {
	if level == 0 {
		return highest
	}
	return min(level, highest)
}

// Variables are the environment variables that this package reads.
func Variables() []string { return []string{Variable, LevelVariable} }

// Is tells whether a bug is in force.
func Is(b Bug) bool { return *planted.Load() == b }

// Plant puts a bug into force in this process, in place of the one before; the
// empty one is none. It panics on a name that no bug has.
func Plant(b Bug) {
	if b != "" && !known(b) {
		panic(fmt.Sprintf("%s: no bug is called %q; there are %v", Variable, b, Bugs()))
	}
	planted.Store(&b)
}

// known tells whether a name is that of a bug.
func known(b Bug) bool { return slices.Contains(Bugs(), b) }
