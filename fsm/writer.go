package fsm

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// Proposer puts a command into the log and gives the answer of its application:
// the bytes of a Result.
type Proposer interface {
	Propose(ctx context.Context, command []byte) (answer []byte, err error)
}

// tabled may be implemented by a Proposer that has the tables: what the level in force
// does not allow is refused before it is sent then.
type tabled interface{ Tables() Reader }

// Ranker has gossip's opinion of the hosts: which to try for a VM of that size,
// those that have its image first, and what is known of those that are no candidates.
type Ranker interface {
	Rank(need api.Resources, image string) (candidates []string, others []api.HostPart)
}

// Writer turns requests into commands. It decides what no peer may decide for
// itself in apply: ids, and the order in which hosts are tried.
type Writer struct {
	proposer Proposer
	ranker   Ranker
	sealer   Sealer
}

// NewWriter makes a Writer.
func NewWriter(p Proposer, r Ranker, s Sealer) *Writer { return &Writer{p, r, s} }

// Done is what a write gives back.
type Done[T any] struct {
	Object   T // as of the write, or, when Replayed, as it is now
	ID       string
	Replayed bool // an earlier request with the same Idempotency-Key did it
	Gone     bool // it was done before, and the object is no longer there: ID is all that is left of it
	Index    uint64
	Command  string // id of the command that did it: the k-th object that it made has the id objectID(Command, k)
	Count    int64  // rows made, changed or removed, where that is told
	Version  uint64 // that Object was given by the write, and may no longer have; 0 where none is counted
}

// propose carries a body through the log. The caller of the request, in the
// context, says who asks.
func propose[T any](ctx context.Context, w *Writer, t Type, body any) (Done[T], error) {
	if err := w.allowed(t); err != nil {
		return Done[T]{}, err
	}
	caller := api.CallerOf(ctx)
	m := Meta{Type: t, V: 1, ID: uuid.NewString(), Request: caller.RequestID, Actor: caller.Actor, Once: caller.Once, Fence: caller.Fence}
	command, b, err := encodeBoth(m, body)
	if err == nil && len(command) > maxCommand {
		command, err = w.stage(ctx, m, b)
		if err != nil {
			return Done[T]{}, err
		}
	}
	if err != nil {
		return Done[T]{}, &api.Error{Kind: api.Invalid, Msg: "the request holds something that cannot be stored, such as text that is not UTF-8", Err: err}
	}
	if planted.Is(planted.EdgeIdempotency) && m.Once != nil { // another peer, and this one after a restart, does it again
		return rememberedHere[T](ctx, w, m, command)
	}
	return proposed[T](w.proposer.Propose(ctx, command))
}

// maxCommand is the size in bytes from which on a command travels in chunks.
const maxCommand = 480 << 10

// proposed reads what the log answered.
func proposed[T any](answer []byte, err error) (Done[T], error) {
	if err != nil {
		return Done[T]{}, err
	}
	return readAnswer[T](answer)
}

func readAnswer[T any](answer []byte) (Done[T], error) {
	var a wireResult
	if err := decoding.Unmarshal(answer, &a); err != nil {
		return Done[T]{}, api.Errorf(api.Internal, "propose", "the leader's answer does not decode: %w", err)
	}
	if a.Err != nil {
		return Done[T]{}, a.Err
	}
	done := Done[T]{ID: a.Key, Replayed: a.Replayed, Index: a.Index, Command: a.Command, Count: a.Count, Version: a.Version, Gone: a.Object == nil && a.Key != ""}
	if a.Object == nil {
		return done, nil
	}
	if err := decoding.Unmarshal(a.Object, &done.Object); err != nil {
		return done, api.Errorf(api.Internal, "propose", "the leader's answer does not decode: %w", err)
	}
	return done, nil
}

// Sweep forgets what is past its time.
func (w *Writer) Sweep(ctx context.Context) error {
	_, err := propose[struct{}](ctx, w, sweep, clusterSweep{})
	return err
}

// Mark makes every peer write its state of one index; it gives that index.
func (w *Writer) Mark(ctx context.Context) (uint64, error) {
	done, err := propose[struct{}](ctx, w, mark, stateMark{})
	return done.Index, err
}

// ordered walks a map by key: no map order may reach the state.
func ordered[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
