package fsm

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
)

type peerLose struct {
	ID     string `cbor:"1,keyasint"`
	Name   string `cbor:"2,keyasint"` // typed once more by who states it
	Reason string `cbor:"3,keyasint,omitempty"`
}

// applyLosePeer takes a person's word that a host is off for good. Its VMs are lost
// and keep their addresses until they are deleted; those that were on their way out
// are gone, for no host is left that could bring them back.
func applyLosePeer(tx *Txn, c peerLose) (object, error) {
	const op = "peer.lost"
	p, err := member(tx, op, c.ID)
	if err != nil {
		return nothing, err
	}
	var bad faults
	bad.wrong(c.Name != p.Name, "/name", "type the name of the peer, "+p.Name+": you state that it is off for good")
	bad.wrong(len(c.Reason) > maxReason, "/reason", "must be at most 500 bytes")
	if err := bad.refusal(op, "the statement is not valid"); err != nil {
		return nothing, err
	}
	if alone(tx.Reader, p.ID) {
		return nothing, api.Errorf(api.Conflict, op, "peer %q is the last one: there is nobody left to lose it", p.Name)
	}
	why := "its host " + p.Name + " was declared off for good"
	if c.Reason != "" {
		why += ": " + c.Reason
	}
	for _, vm := range slices.Collect(tx.VMsOn(p.ID)) {
		loseVM(tx, vm, why)
	}
	p.State, p.Schedulable = api.PeerGone, false
	forgetCopies(tx, p)
	unwrapKeys(tx, p.ID)
	forgetSightings(tx, p.ID)
	forgetScope(tx, p.ID)
	releaseHolder(tx, p.ID)
	return putPeer(tx, p)
}

// loseVM marks a VM whose host is off for good. What is wanted of it stays.
func loseVM(tx *Txn, vm api.VM, why string) {
	if vm.Status.Desired == api.WantDeleted {
		bury(tx, vm)
		return
	}
	failExport(tx, vm.ID, why)
	failDiskSnapshots(tx, vm.ID, why)
	endOperations(tx, vm.ID, api.OpFailed, why)
	vm.Status.State, vm.Status.Reason, vm.Status.Restarting = api.VMLost, why, false
	putVM(tx, vm)
}

// LosePeer takes a person's word that a host is off for good and will never come
// back. Its id is never admitted again; its name is free. Whoever calls it sees to
// it that raft counts the peer no more.
func (w *Writer) LosePeer(ctx context.Context, id string, l api.PeerLost) (Done[api.Peer], error) {
	return propose[api.Peer](ctx, w, losePeer, peerLose{id, l.Name, l.Reason})
}
