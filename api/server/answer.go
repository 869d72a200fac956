package server

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// Stored is the object that a write made or changed. When the write is a replay
// and the object is no longer there, it is its id alone.
type Stored[T any] struct {
	object T
	goneID string
}

// MarshalJSON gives the object, or what is left of it.
func (b Stored[T]) MarshalJSON() ([]byte, error) {
	if b.goneID != "" {
		return json.Marshal(map[string]string{"id": b.goneID})
	}
	return json.Marshal(b.object)
}

// Schema is that of the object.
func (b Stored[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// written is the answer to a write.
func written[T any](status int, d Done[T], id string) *Reply[Stored[T]] {
	out := &Reply[Stored[T]]{Status: status, Head: Head{Index: new(d.Index)}, Body: Stored[T]{object: d.Object}}
	if d.Replayed {
		out.Replayed = "true"
	}
	if d.Gone {
		out.Body.goneID = id
	}
	return out
}
