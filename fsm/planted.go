package fsm

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/orchd/orchd/api"
)

// This file is what the planted bugs need (package planted). Nothing calls it where
// none can be in force, so it is in no program that is built without the tag.

// Foretell is what ApplyAll would answer now; nothing is changed. For AckBeforeCommit.
func (m *Machine) Foretell(at time.Time, commands [][]byte) []any {
	tx := newTxn(m.published.Load(), m.Index()+1, at)
	answers := make([]any, len(commands))
	for n, command := range commands {
		answers[n] = tx.run(n, command)
	}
	return answers
}

// atThisPeer is what the writers of this process remember of Idempotency-Keys, for EdgeIdempotency.
var atThisPeer sync.Map // writerKey to writerMemory

type writerKey struct {
	writer *Writer
	key    string
}

type writerMemory struct{ body, answer []byte }

// rememberedHere is the answer that this writer had before to that key, or the log's.
func rememberedHere[T any](ctx context.Context, w *Writer, m Meta, command []byte) (Done[T], error) {
	at := writerKey{w, m.Once.Key}
	if was, again := atThisPeer.Load(at); again {
		was := was.(writerMemory)
		if !bytes.Equal(was.body, m.Once.Body) {
			return Done[T]{}, api.Errorf(api.Mismatch, "idempotency", "this Idempotency-Key was used before with another body; use a new key for a new request")
		}
		done, err := readAnswer[T](was.answer)
		done.Replayed = true
		return done, err
	}
	answer, err := w.proposer.Propose(ctx, command)
	if err == nil {
		atThisPeer.Store(at, writerMemory{m.Once.Body, answer})
	}
	return proposed[T](answer, err)
}

// unorderedEncoding writes maps in the order in which they come, for MapOrderHash.
func unorderedEncoding() cbor.UserBufferEncMode {
	o := encodingOptions()
	o.Sort = cbor.SortNone
	return must(o.UserBufferEncMode())
}
