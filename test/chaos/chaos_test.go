package chaos

import (
	"testing"
)

// TestChaos is one run: of SEED for MINUTES.
func TestChaos(t *testing.T) {
	do(t, fromEnv(t))
}
