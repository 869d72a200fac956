package chaos

import (
	"hash/fnv"
	"os/exec"
	"testing"
)

// seedOfCommit is a number that changes with the commit.
func seedOfCommit(t *testing.T) uint64 {
	t.Helper()
	out, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		t.Logf("no commit to take a seed from (%v): seed 1", err)
		return 1
	}
	h := fnv.New64a()
	h.Write(out)
	return h.Sum64() % 1_000_000
}
