//go:build planted

package fsm

import (
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// hook runs what a bug changes without it and with it: how must tell the two apart.
func hook(t *testing.T, bug planted.Bug, how func(t *testing.T) (wrong bool)) {
	t.Helper()
	t.Cleanup(func() { planted.Plant("") })
	if how(t) {
		t.Errorf("%s shows where it is not planted", bug)
	}
	planted.Plant(bug)
	if !how(t) {
		t.Errorf("%s is planted and changes nothing", bug)
	}
}

func TestPlantedHookOwnerFromGossip(t *testing.T) {
	hook(t, planted.OwnerFromGossip, func(t *testing.T) bool {
		l := newLog(t, "a", "b")
		large := small("large")
		large.Spec.VCPUs = 4
		l.must(operator, createVM, vmCreate{VM: large, Candidates: []string{"a", "b"}})
		return l.create("more", "a", "b").Status.OwnerID == "a"
	})
}

func TestPlantedHookEpochUnchecked(t *testing.T) {
	hook(t, planted.EpochUnchecked, func(t *testing.T) bool {
		l := newLog(t, "a", "b")
		vm := l.create("web", "a")
		l.must(ActorOfPeer("b"), reassignVM, vmReassign{VM: vm.ID, Epoch: 1, Candidates: []string{"b"}})
		return l.send(ActorOfPeer("a"), beginVM, vmEpoch{vm.ID, 1}).Err == nil
	})
}

func TestPlantedHookEarlyFree(t *testing.T) {
	hook(t, planted.EarlyFree, func(t *testing.T) bool {
		g := newGuests(t, "a")
		vm := g.running(whole("web"), "a")
		g.must(operator, actOnVM, vmAction{ID: vm.ID, Verb: kindDelete})
		reserved, _ := g.m.Read().Reserved("a")
		noPlace, noAddress := reserved == (api.Resources{}), leases.size(g.m.published.Load()) == 0
		if noPlace != noAddress {
			t.Errorf("what is reserved is free: %v; the addresses are: %v", noPlace, noAddress)
		}
		g.must(ActorOfPeer("a"), buryVM, vmEpoch{vm.ID, 1})
		if reserved, n := g.m.Read().Reserved("a"); reserved != (api.Resources{}) || n != 0 {
			t.Errorf("once it is buried %d VMs hold %+v", n, reserved)
		}
		return noPlace
	})
}

func TestPlantedHookTokenTwice(t *testing.T) {
	hook(t, planted.TokenTwice, func(t *testing.T) bool {
		l := newLog(t, "a", "b") // b has joined with the token tb
		return l.send(api.Actor{Role: api.RolePeer}, joinPeer, peerJoin{Token: "tb", Hash: hashSecret("s"), Peer: testPeer("c")}).Err == nil
	})
}

func TestPlantedHookClockInApply(t *testing.T) {
	hook(t, planted.ClockInApply, func(t *testing.T) bool {
		l := newLog(t, "a")
		return time.Since(l.m.Time()) < time.Hour // the log's own time is years ago
	})
}

func TestPlantedHookMapOrderHash(t *testing.T) {
	hook(t, planted.MapOrderHash, func(t *testing.T) bool {
		row := api.Peer{ID: "a", Labels: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}}
		seen := map[sum]bool{}
		for range 100 {
			seen[rowSum("peers", &row)] = true
		}
		return len(seen) > 1
	})
}

func TestPlantedHookEdgeIdempotency(t *testing.T) {
	hook(t, planted.EdgeIdempotency, func(t *testing.T) bool {
		l := newLog(t, "a")
		ctx := api.WithCaller(t.Context(), api.Caller{Actor: admin, Once: &api.OnceKey{Key: "admin POST /v1/accounts k", Body: []byte{1}}})
		create := func(w *Writer) Done[api.Account] {
			done, err := w.CreateAccount(ctx, api.AccountCreate{Name: "ops"})
			if err != nil {
				return Done[api.Account]{}
			}
			return done
		}
		here, elsewhere := NewWriter(atOnce{l}, nil, marking{}), NewWriter(atOnce{l}, nil, marking{})
		if done := create(here); done.Object.Name != "ops" || done.Replayed {
			t.Fatalf("the first request: %+v", done)
		}
		if done := create(here); done.Object.Name != "ops" || !done.Replayed {
			t.Errorf("the same peer, asked again: %+v; want the same answer", done)
		}
		return !create(elsewhere).Replayed
	})
}

// AckBeforeCommit is cluster's; what it answers with is found here.
func TestPlantedHookForetold(t *testing.T) {
	l := newLog(t, "a")
	command, err := encode(Meta{Type: createAccount, V: 1, ID: "x", Actor: admin}, api.AccountCreate{Name: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	before := l.m.Read().Hash()
	foretold := l.m.Foretell(l.at, [][]byte{command})[0].(Result)
	if l.m.Read().Hash() != before {
		t.Fatal("to foretell has changed the state")
	}
	l.index++
	answer := l.m.Apply(l.index, 0, l.at, command).(Result)
	if foretold.Err != nil || foretold.Key != answer.Key || foretold.Index != answer.Index {
		t.Errorf("foretold: %+v, then it was %+v", foretold, answer)
	}
}
