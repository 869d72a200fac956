package fsm

import (
	"context"

	"github.com/orchd/orchd/api"
)

// revealed is the record that secrets of an object were shown to somebody.
type revealed struct {
	Kind string `cbor:"1,keyasint"`
	ID   string `cbor:"2,keyasint"`
}

// applyReveal changes nothing: the entry itself, with who asked, is the record.
func applyReveal(tx *Txn, c revealed) (object, error) {
	if err := tx.may(api.Read, c.Kind+".reveal", api.Object{Kind: "secret"}); err != nil {
		return nothing, err
	}
	return nothing, nil
}

// Reveal records that secrets of an object are about to be shown; Forbidden when
// the caller may not see them. It gives the index of the record.
func (w *Writer) Reveal(ctx context.Context, kind, id string) (index uint64, err error) {
	d, err := propose[struct{}](ctx, w, reveal, revealed{kind, id})
	return d.Index, err
}
