package server

import (
	"context"
	"net/http"
	"time"

	"github.com/orchd/orchd/api"
)

func operationLocation(id string) string { return "/v1/operations/" + id }

func (s *Server) listOperations(ctx context.Context, in *ListInput) (*Reply[api.Page[api.Operation]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, v.Operations(in.after), func(o api.Operation) string { return o.ID },
		func(o api.Operation) bool { return maySee(ctx, "operation", o.Account) })
	return &Reply[api.Page[api.Operation]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

type showOperationInput struct {
	ID string `path:"id" doc:"Id of the operation"`
	Freshness
	Waiting
}

func (s *Server) showOperation(ctx context.Context, in *showOperationInput) (*Reply[api.Operation], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	op, err := findOperation(ctx, v, in.ID)
	if err != nil {
		return nil, err
	}
	if wait := in.or(0); wait > 0 && !op.State.Done() {
		if op, v, err = s.settle(ctx, in.ID, wait); err != nil {
			return nil, err
		}
	}
	out := &Reply[api.Operation]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: op}
	out.ETag = etag(op.Version)
	return out, nil
}

type cancelOperationInput struct {
	ID string `path:"id" doc:"Id of the operation"`
	Keyed
	Waiting
}

// cancelOperation ends what has not been done yet: 200 once it is over, 202 while what
// was begun is taken back.
func (s *Server) cancelOperation(ctx context.Context, in *cancelOperationInput) (*Reply[Stored[api.Operation]], error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	op, err := findOperation(ctx, v, in.ID)
	if err == nil {
		err = permit(actorOf(ctx), api.Update, api.Object{Kind: "operation", Account: op.Account})
	}
	if err != nil {
		return nil, err
	}
	done, err := s.backend.CancelOperation(ctx, op.ID)
	if err != nil {
		return nil, err
	}
	return s.underway(ctx, done, in.or(0)), nil
}

// findOperation finds an operation that the caller may see.
func findOperation(ctx context.Context, v View, id string) (api.Operation, error) {
	if !findable(id) {
		return api.Operation{}, notFound("operation")
	}
	op, err := v.Operation(id)
	if err == nil && !maySee(ctx, "operation", op.Account) {
		err = notFound("operation")
	}
	return op, err
}

// underway answers with an operation: 200 when it is done within the time to
// wait, else 202 and where to follow it.
func (s *Server) underway(ctx context.Context, done Done[api.Operation], wait time.Duration) *Reply[Stored[api.Operation]] {
	id := done.Object.ID
	if !done.Gone && !done.Object.State.Done() && wait > 0 {
		if op, v, err := s.settle(ctx, id, wait); err == nil {
			done.Object, done.Index = op, v.Index()
		}
	}
	status := http.StatusAccepted
	if done.Gone || done.Object.State.Done() {
		status = http.StatusOK
	}
	out := written(status, done, id)
	out.OperationLocation = operationLocation(id)
	if !done.Gone {
		out.ETag = etag(done.Object.Version)
	}
	return out
}

// settle looks at an operation until it is done, the time is up or this peer
// stops, and gives it as it was last seen, with the state it was seen in. It
// fails only when it could not look even once.
func (s *Server) settle(ctx context.Context, id string, wait time.Duration) (op api.Operation, v View, err error) {
	if v, op, err = s.look(ctx, id); err != nil {
		return op, v, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for !op.State.Done() {
		select {
		case <-v.Watch():
		case <-ctx.Done():
			return op, v, nil
		case <-s.stopping:
			return op, v, nil
		}
		later, next, err := s.look(ctx, id)
		if err != nil {
			return op, v, nil
		}
		v, op = later, next
	}
	return op, v, nil
}

// afterwards waits for the end of an operation and gives the state that it was last
// seen in; nil when nothing is to be waited for, or nobody could look.
func (s *Server) afterwards(ctx context.Context, id string, wait time.Duration) View {
	if id == "" || wait == 0 {
		return nil
	}
	_, v, err := s.settle(ctx, id, wait)
	if err != nil {
		return nil
	}
	return v
}

// look reads an operation as every acknowledged write has left it.
func (s *Server) look(ctx context.Context, id string) (View, api.Operation, error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return nil, api.Operation{}, err
	}
	op, err := v.Operation(id)
	return v, op, err
}
