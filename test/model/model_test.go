package model

import (
	"context"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/fsm"
)

// bench applies what is written to a machine and to a model.
type bench struct {
	t     *testing.T
	m     *fsm.Machine
	model *Model
	index uint64
	alter func(*fsm.Result) // what the model hears instead
}

// Propose makes bench a fsm.Proposer.
func (b *bench) Propose(_ context.Context, command []byte) ([]byte, error) {
	b.index++
	at := time.Unix(1e9+int64(b.index), 0)
	got := b.m.Apply(b.index, 0, at, command).(fsm.Result)
	c, err := Decode(command)
	if err != nil {
		b.t.Fatal(err)
	}
	heard := got
	if b.alter != nil {
		b.alter(&heard)
	}
	b.model.Apply(at, c, heard, b.m.Read())
	return got.MarshalBinary()
}

// Rank makes bench a fsm.Ranker that knows of no host.
func (b *bench) Rank(api.Resources, string) ([]string, []api.HostPart) { return nil, nil }

func newBench(t *testing.T) (*bench, *fsm.Writer) {
	b := &bench{t: t, m: fsm.New(), model: New()}
	return b, fsm.NewWriter(b, b, nil)
}

var asAdmin = api.WithCaller(context.Background(), api.Caller{Actor: api.Actor{ID: "uid:0", Role: api.RoleAdmin}})

// work makes a node, changes it, is refused once, and makes a token.
func work(t *testing.T, w *fsm.Writer) {
	t.Helper()
	node := func(text string) inventory.ComputeNode {
		return inventory.ComputeNode{Hostname: "n", Architecture: "x86_64", Description: text}
	}
	made, err := w.CreateNodes(asAdmin, []inventory.ComputeNode{node("a")}, false)
	if err != nil {
		t.Fatal(err)
	}
	id := made.Object[0]
	if _, err := w.ReplaceNode(asAdmin, id, 1, node("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ReplaceNode(asAdmin, id, 1, node("c")); !api.IsKind(err, api.Precondition) {
		t.Fatalf("got %v, want a refusal for the version", err)
	}
	if _, err := w.CreateToken(asAdmin, api.TokenCreate{Role: api.RolePeer, Uses: 1}, "hash"); err != nil {
		t.Fatal(err)
	}
}

func TestTheModelAgreesWithTheMachine(t *testing.T) {
	b, w := newBench(t)
	work(t, w)
	if faults := b.model.Faults(); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
}

func TestTheModelNoticesAnotherOutcome(t *testing.T) {
	b, w := newBench(t)
	b.alter = func(r *fsm.Result) { // a refusal that passes for a success
		r.Err = nil
	}
	work(t, w)
	if len(b.model.Faults()) == 0 {
		t.Error("nothing was noticed")
	}
}

func TestDecode(t *testing.T) {
	b, err := cbor.Marshal(map[int]any{1: 5, 2: 1, 3: "id"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Decode(b); err != nil || c.Type != BeginVM || c.ID != "id" {
		t.Errorf("got %+v, %v", c, err)
	}
}
