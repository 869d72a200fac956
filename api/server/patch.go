package server

import (
	"context"
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// member is a member of a merge patch (RFC 7396): not there, null, or a value.
type member[T any] struct {
	there, null bool
	value       T
}

// UnmarshalJSON tells null from nothing.
func (m *member[T]) UnmarshalJSON(b []byte) error {
	m.there, m.null = true, string(b) == "null"
	if m.null {
		return nil
	}
	return json.Unmarshal(b, &m.value)
}

// IsZero tells whether the member is not there.
func (m member[T]) IsZero() bool { return !m.there }

// MarshalJSON gives what was there.
func (m member[T]) MarshalJSON() ([]byte, error) {
	if m.null {
		return []byte("null"), nil
	}
	return json.Marshal(m.value)
}

// Schema is that of the value, or null.
func (m member[T]) Schema(r huma.Registry) *huma.Schema {
	inner := huma.SchemaFromType(r, reflect.TypeFor[T]())
	inner.Nullable = true
	return inner
}

// over is the value that comes of old: null gives the zero value.
func (m member[T]) over(old T) T {
	if m.there {
		return m.value
	}
	return old
}

// patchTries is how often a patch is merged anew because someone was faster.
const patchTries = 10

// retried does a write that was made for the version it read. When someone was faster
// and the caller named no version, it does so again.
func retried[T any](ctx context.Context, op string, version uint64, once func(context.Context) (Done[T], error)) (Done[T], error) {
	for n := range patchTries {
		done, err := once(withTry(ctx, n))
		if err == nil || version != 0 || !api.IsKind(err, api.Precondition) {
			return done, err
		}
	}
	return Done[T]{}, &api.Error{Kind: api.Conflict, Op: op, Msg: "others keep changing it; try again"}
}

// trySeparator stands in no key that a client can send: the key "k 1" must not be the
// second try of the key "k".
const trySeparator = "\n"

// withTry gives each try of one request an Idempotency-Key of its own, for the
// cluster remembers that the one before was too late. A retry of the request
// makes the same tries with the same keys, up to the one that succeeded.
func withTry(ctx context.Context, n int) context.Context {
	caller := api.CallerOf(ctx)
	if n == 0 || caller.Once == nil {
		return ctx
	}
	caller.Once = &api.OnceKey{Key: caller.Once.Key + trySeparator + strconv.Itoa(n), Body: caller.Once.Body}
	return api.WithCaller(ctx, caller)
}
