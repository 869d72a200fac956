package cluster

import (
	"context"
	"reflect"

	"github.com/hashicorp/raft"
)

// await is the outcome of a raft future, or the end of ctx. What raft has in hand when it
// shuts down it may never answer; the node answers it then, with raft.ErrRaftShutdown, so
// that nobody waits any longer than the node lasts. The future is the caller's alone, and
// is awaited once.
func (n *Node) await(ctx context.Context, f raft.Future) error {
	endWith(f, n.over)
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endWith has a future's Error return when over is closed. Raft's futures have a channel
// for that (deferError.ShutdownCh), which raft itself uses for few of them; Error reads
// it, and nothing else does. Of a future of another kind nothing is changed.
func endWith(f raft.Future, over chan struct{}) {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return
	}
	end := v.Elem().FieldByName("ShutdownCh")
	if end.CanSet() && end.Type() == reflect.TypeOf(over) && end.IsNil() {
		end.Set(reflect.ValueOf(over))
	}
}
