package model

import (
	"context"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// twoPeers begins a cluster with peer a, and lets b join.
func twoPeers(t *testing.T, w *fsm.Writer) {
	t.Helper()
	if err := w.InitCluster(asAdmin, api.Peer{ID: "a", Name: "a"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	token, err := w.CreateToken(asAdmin, api.TokenCreate{Role: api.RolePeer, Uses: 1}, "hash")
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(token.Object.Token, ".")[1]
	b := fsm.Admission{TokenID: token.Object.ID, Secret: secret, Peer: api.Peer{ID: "b", Name: "b", PublicKey: []byte("key")}}
	if _, err := w.JoinPeer(asAdmin, b); err != nil {
		t.Fatal(err)
	}
}

// A peer that was removed while it led has still asked for something: it is no member any more.
func TestWordOfARemovedPeer(t *testing.T) {
	bench, w := newBench(t)
	twoPeers(t, w)
	asB := api.WithCaller(context.Background(), api.Caller{Actor: fsm.ActorOfPeer("b")})
	if err := w.BeginVM(asB, "none", 1); !api.IsKind(err, api.NotFound) {
		t.Errorf("a member got %v for a VM that is not there", err)
	}
	if err := w.RemovePeer(asAdmin, "b"); err != nil {
		t.Fatal(err)
	}
	if err := w.BeginVM(asB, "none", 1); !api.IsKind(err, api.Forbidden) {
		t.Errorf("a removed peer got %v", err)
	}
	if _, err := w.ReassignVM(asB, api.VM{ID: "none"}); !api.IsKind(err, api.Forbidden) {
		t.Errorf("a removed peer got %v", err)
	}
	if faults := bench.model.Faults(); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
}

func TestTheModelNoticesWhoIsHeardAndNoMember(t *testing.T) {
	bench, w := newBench(t)
	twoPeers(t, w)
	bench.alter = func(r *fsm.Result) { // a refusal of whom nobody knows that passes for another
		r.Err.Kind = api.NotFound
	}
	asStranger := api.WithCaller(context.Background(), api.Caller{Actor: fsm.ActorOfPeer("c")})
	if err := w.BeginVM(asStranger, "none", 1); err == nil {
		t.Error("a stranger began a VM")
	}
	if len(bench.model.Faults()) == 0 {
		t.Error("nothing was noticed")
	}
}
