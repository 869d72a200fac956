//go:build planted

package planted

import (
	"fmt"
	"os"
	"sync/atomic"
)

// planted is the bug in force; empty for none.
var planted atomic.Pointer[Bug]

func init() { Plant(Bug(os.Getenv(Variable))) }

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
