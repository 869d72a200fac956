package fsm

import (
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestLosePeer(t *testing.T) {
	g := newGuests(t, "a", "b")
	b := ActorOfPeer("b")
	kept, going, other := g.running(whole("kept"), "b"), g.running(whole("going"), "b"), g.running(whole("other"), "a")
	s := g.must(operator, createDiskSnapshot, diskSnapshotCreate{kept.ID, api.DiskSnapshotCreate{Name: "s1"}}).Object.(*api.DiskSnapshot)
	stop := g.asks(kept, api.ActStop)
	deleted := g.must(operator, actOnVM, vmAction{ID: going.ID, Verb: kindDelete}).Key
	g.must(b, sawDomain, api.Sighting{VM: other.ID, Epoch: 1})
	image := g.must(admin, createImage, imageCreate{ImageCreate: api.ImageCreate{Name: "up", Source: api.SourceUpload}, Via: "b"}).Key

	g.refused(api.Invalid, admin, losePeer, peerLose{"b", "a", ""})
	g.refused(api.Invalid, admin, losePeer, peerLose{"b", "b", strings.Repeat("x", 501)})
	g.refused(api.Forbidden, operator, losePeer, peerLose{"b", "b", ""})
	if p := g.must(admin, losePeer, peerLose{"b", "b", "the hall burnt down"}).Object.(*api.Peer); p.State != api.PeerGone || p.Schedulable {
		t.Errorf("the peer is %+v", p)
	}
	vm := g.vm(kept.ID)
	if vm.Status.State != api.VMLost || vm.Status.Desired != api.WantStopped || !strings.Contains(vm.Status.Reason, "burnt") || len(vm.Status.Addresses) != 2 {
		t.Errorf("a VM of it: %+v", vm.Status)
	}
	g.wantOp(stop.ID, api.OpFailed, "burnt")
	g.wantOp(s.Operation, api.OpFailed, "burnt")
	if now, _ := g.m.Read().DiskSnapshot(kept.ID, "s1"); now.State != api.DiskSnapshotFailed {
		t.Errorf("a snapshot that was being made: %+v", now)
	}
	if _, there := g.m.Read().VM(going.ID); there {
		t.Error("a VM that was being deleted is still there")
	}
	g.wantOp(deleted, api.OpSucceeded, "")
	if d := g.vm(other.ID).Status.Doubles; len(d) != 0 {
		t.Errorf("a VM elsewhere is still said to be doubled on %v", d)
	}
	if i, _ := g.m.Read().Image(image); i.State != api.ImageFailed {
		t.Errorf("an image that it was to bring in is %s", i.State)
	}
	if _, held := g.m.Read().WrappedKey(KeyCA, "b"); held {
		t.Error("the cluster's keys are still wrapped for it")
	}
	for _, verb := range []string{api.ActStart, api.ActStop, api.ActResize} {
		g.refused(api.Conflict, operator, actOnVM, vmAction{ID: kept.ID, Verb: verb})
	}
	g.refused(api.Conflict, operator, createDiskSnapshot, diskSnapshotCreate{kept.ID, api.DiskSnapshotCreate{Name: "s2"}})
	g.refused(api.Forbidden, b, reportVM, api.VMReport{VM: kept.ID, Epoch: 1, State: api.VMRunning}) // it does come back
	g.refused(api.NotFound, admin, losePeer, peerLose{"b", "b", ""})
	g.refused(api.Conflict, admin, losePeer, peerLose{"a", "a", ""}) // the last one

	g.must(operator, actOnVM, vmAction{ID: kept.ID, Verb: kindDelete})
	if _, there := g.m.Read().VM(kept.ID); there || leases.size(g.m.published.Load()) != 2 {
		t.Errorf("the delete of a lost VM: it is there %v, %d leases are held", there, leases.size(g.m.published.Load()))
	}
	guestsHold(t, 0, g.m.Read())

	// Its name is free, its id is not.
	join := func(id string) Result {
		g.must(admin, createToken, tokenCreate{ID: "t-" + id, Hash: hashSecret("s"), Role: api.RolePeer, TTL: 1e12, Uses: 1})
		p := testPeer("b")
		p.ID, p.PublicKey = id, []byte("new "+id)
		return g.send(api.Actor{Role: api.RolePeer}, joinPeer, peerJoin{Token: "t-" + id, Hash: hashSecret("s"), Peer: p})
	}
	if r := join("b"); r.Err == nil || r.Err.Kind != api.Conflict {
		t.Errorf("its id is admitted again: %v", r.Err)
	}
	if r := join("b2"); r.Err != nil {
		t.Errorf("its name is not free: %v", r.Err)
	}
}
