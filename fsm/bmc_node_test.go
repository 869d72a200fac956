package fsm

import (
	"testing"

	"github.com/orchd/orchd/api/inventory"
)

// TestBMCFollowsItsNode: what a replacement says, or leaves out, of a node's BMC.
func TestBMCFollowsItsNode(t *testing.T) {
	f := newFleet(t)
	replace := func(n inventory.ComputeNode) inventory.ComputeNode {
		t.Helper()
		if _, err := f.ReplaceNode(asAdmin(), n.ID, 0, n); err != nil {
			t.Fatal(err)
		}
		return f.shown(n.ID)
	}
	nameless := f.node(inventory.ComputeNode{XName: "x1000c0s0b0n0", BMC: &inventory.BMC{Username: "root", Password: text("pw"), MACAddress: "02:00:00:00:00:10"}})
	without := nameless
	without.BMC = nil
	if got := replace(without); got.BMC == nil || got.BMC.ID != nameless.BMC.ID {
		t.Errorf("a replacement that says nothing of a BMC that only this node names: %+v", got.BMC)
	}

	inferred := f.node(inventory.ComputeNode{XName: "x1000c0s1b0n0"})
	moved := inferred // as an answer shows it, but for its place: what a merge patch makes
	moved.XName = "x1000c0s2b0n0"
	if got := replace(moved); got.BMC == nil || got.BMC.XName != "x1000c0s2b0" {
		t.Errorf("a node that moved to another board has the BMC %+v", got.BMC)
	}
	if _, there := f.read().BMC("x1000c0s1b0"); there {
		t.Error("the inferred BMC of the old board is left behind")
	}

	// An object of another cluster: its BMC's id is not known here.
	foreign := inventory.BMC{ID: "8a1c3b1e-5b1f-4f3a-9d9e-000000000001", Username: "root", Password: text("pw"), MACAddress: "02:00:00:00:00:20"}
	if got := f.node(inventory.ComputeNode{XName: "x1000c0s3b0n0", BMC: &foreign}); got.BMC == nil || got.BMC.ID == foreign.ID || got.BMC.MACAddress != foreign.MACAddress {
		t.Errorf("a BMC with an id from elsewhere became %+v", got.BMC)
	}
}
