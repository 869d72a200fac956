package server

import (
	"context"
	"iter"
	"net/http"

	"github.com/orchd/orchd/api"
)

// What the handlers of ordinary objects have in common.

// listing answers with one page of the rows that keep wants.
func listing[T any](ctx context.Context, s *Server, in ListInput, rows func(v View, after string) iter.Seq[T], key func(T) string, keep func(T) bool) (*Reply[api.Page[T]], error) {
	v, err := s.backend.View(ctx, in.Consistency)
	if err != nil {
		return nil, err
	}
	page := pageOf(in.Paging, rows(v, in.after), key, keep)
	return &Reply[api.Page[T]]{Status: http.StatusOK, Head: seen(v, in.Consistency), Body: page}, nil
}

// showing answers with one object and its version.
func showing[T any](ctx context.Context, s *Server, c api.Consistency, find func(View) (T, error), version func(T) uint64) (*Reply[T], error) {
	v, err := s.backend.View(ctx, c)
	if err != nil {
		return nil, err
	}
	object, err := find(v)
	if err != nil {
		return nil, err
	}
	out := &Reply[T]{Status: http.StatusOK, Head: seen(v, c), Body: object}
	if version != nil {
		out.ETag = etag(version(object))
	}
	return out, nil
}

// target finds the id of what a write is about. With an Idempotency-Key a thing that
// is gone is still asked for, by what it was called: this may be the retry of the very
// request that removed it.
func target[T any](ctx context.Context, s *Server, ref string, find func(View) (T, error), id func(T) string) (string, error) {
	v, err := s.backend.View(ctx, api.Linearizable)
	if err != nil {
		return "", err
	}
	object, err := find(v)
	if mayBeRetry(ctx, err) && findable(ref) {
		return ref, nil
	}
	return id(object), err
}

// made answers a create: what there is now, and where.
func made[T any](done Done[T], collection, id string, version uint64) *Reply[Stored[T]] {
	out := changed(http.StatusCreated, done, id, version)
	out.Location = collection + "/" + id
	return out
}

// changed answers a write of an object that has a version.
func changed[T any](status int, done Done[T], id string, version uint64) *Reply[Stored[T]] {
	out := written(status, done, id)
	if !done.Gone {
		out.ETag = etagAfter(done, version)
	}
	return out
}

// all keeps every row of a list.
func all[T any](T) bool { return true }
