// Package ledger looks back at what a stopped peer's log has promised.
package ledger

import (
	"testing"
	"time"

	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/fsm"
)

// Holds applies a stopped peer's log again, from its beginning, and looks at
// every state on the way: no host promises more than its vcpus, and no VM has two
// owners in one epoch. It gives how many entries it saw.
func Holds(t testing.TB, dataDir string, vcpus int64) (entries int) {
	t.Helper()
	type claim struct {
		vm    string
		epoch uint64
	}
	m, owner := fsm.New(), map[claim]string{}
	err := cluster.ReadLog(dataDir, func(index uint64, n int, at time.Time, command []byte) error {
		m.Apply(index, n, at, command)
		entries++
		now := m.Read()
		for host := range now.Members() {
			if reserved, _ := now.Reserved(host.ID); reserved.VCPUs > vcpus {
				t.Errorf("at index %d %s promises %d vcpus and has %d", index, host.Name, reserved.VCPUs, vcpus)
			}
		}
		for vm := range now.VMs("") {
			c := claim{vm.ID, vm.Status.Epoch}
			if before, claimed := owner[c]; claimed && before != vm.Status.OwnerID {
				t.Errorf("at index %d VM %s is owned by %s, and was by %s in the same epoch %d", index, vm.ID, vm.Status.OwnerID, before, vm.Status.Epoch)
			}
			owner[c] = vm.Status.OwnerID
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}
