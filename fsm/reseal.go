package fsm

import (
	"context"
	"crypto/sha256"
	"iter"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/seal"
)

// This file is how sealed values come from one key to the next. Who leads opens the
// values that name the old key, seals them with the new one and sends them in batches;
// apply puts each in place of the very value that was opened, so what a client wrote
// meanwhile stays. The old key goes when apply itself finds no value that names it, and
// from then on apply refuses what is sealed with it.

// secretPart is a sealed value in a row, and what it is sealed for.
type secretPart struct {
	purpose string
	part    int // which of several with one purpose
	value   *[]byte
}

// secretTable is a table whose rows hold sealed values.
type secretTable interface {
	label() string
	sealedValues(s *state, after string) iter.Seq[SealedValue]
	reseal(tx *Txn, v Resealed)
}

// secretTables are all of them, in order.
var secretTables []secretTable

// Tables say of themselves that they have sealed values.
func init() {
	for _, t := range tables {
		if s, able := t.(secretTable); able && t.hasSecrets() {
			secretTables = append(secretTables, s)
		}
	}
}

func (t *table[T]) hasSecrets() bool { return t.secrets != nil }

// SealedValue is a value in a row that is sealed.
type SealedValue struct {
	Table, Row string
	Purpose    string // what it is sealed for
	Sealed     []byte
}

// Resealed is the same value under another key.
type Resealed struct {
	Table  string `cbor:"1,keyasint"`
	Row    string `cbor:"2,keyasint"`
	Was    []byte `cbor:"3,keyasint"` // SHA-256 of the sealed value that it replaces
	Sealed []byte `cbor:"4,keyasint"`
}

// Replacing is a value sealed anew.
func (v SealedValue) Replacing(sealed []byte) Resealed {
	return Resealed{v.Table, v.Row, digest(v.Sealed), sealed}
}

// SealedBy lists the values that are sealed with a key, from the row after.Row of
// after.Table on, which is in it.
func (r Reader) SealedBy(key string, after SealedValue) iter.Seq[SealedValue] {
	from := max(0, slices.IndexFunc(secretTables, func(t secretTable) bool { return t.label() == after.Table }))
	return func(yield func(SealedValue) bool) {
		for k, t := range secretTables[from:] {
			row := ""
			if k == 0 {
				row = after.Row
			}
			for v := range t.sealedValues(r.state, row) {
				if id, err := seal.KeyID(v.Sealed); err == nil && id == key && !yield(v) {
					return
				}
			}
		}
	}
}

// sealedValues are those of the rows from that key on.
func (t *table[T]) sealedValues(s *state, from string) iter.Seq[SealedValue] {
	return func(yield func(SealedValue) bool) {
		t.in(s).rows.ascend(from, func(key string, it *item[T]) bool {
			row := it.row
			for _, part := range t.secrets(&row) {
				if len(*part.value) > 0 && !yield(SealedValue{t.name, key, part.purpose, *part.value}) {
					return false
				}
			}
			return true
		})
	}
}

// reseal puts a value in place of the one that it replaces, if that is still there.
func (t *table[T]) reseal(tx *Txn, v Resealed) {
	row, there := t.one(tx.Reader, v.Row)
	if !there {
		return
	}
	for _, part := range t.secrets(&row) {
		if string(digest(*part.value)) == string(v.Was) {
			*part.value = v.Sealed
			t.put(tx, row)
			return
		}
	}
}

// valuesReseal is a batch of them.
type valuesReseal struct {
	Key    string     `cbor:"1,keyasint"` // with which they are sealed now
	Values []Resealed `cbor:"2,keyasint"`
}

func applyResealValues(tx *Txn, c valuesReseal) (object, error) {
	const op = "keys.reseal"
	if _, err := tx.asPeer(op); err != nil {
		return nothing, err
	}
	if rot, _ := rotations.one(tx.Reader, api.KeySeal); rot.Key != c.Key || !rot.Running() {
		return nothing, api.Errorf(api.Conflict, op, "nothing is being sealed with %s", c.Key)
	}
	for _, v := range c.Values {
		if id, err := seal.KeyID(v.Sealed); err != nil || id != c.Key {
			return nothing, api.Errorf(api.Invalid, op, "a value for the row %q of %s is not sealed with %s", v.Row, v.Table, c.Key)
		}
		for _, t := range secretTables {
			if t.label() == v.Table {
				t.reseal(tx, v)
			}
		}
	}
	return object{count: int64(len(c.Values))}, nil
}

// Reseal puts values that were sealed anew with a key in place of what they replace.
func (w *Writer) Reseal(ctx context.Context, key string, values []Resealed) error {
	_, err := propose[struct{}](ctx, w, resealValues, valuesReseal{key, values})
	return err
}

// noteStale remembers a key that a row names and that is gone: run refuses the command
// then, for nobody could open the value. A client whose value was sealed with the old
// key, and came late, sends it again.
func (t *table[T]) noteStale(tx *Txn, row *T) {
	if t.secrets == nil {
		return
	}
	if _, rotated := rotations.one(tx.Reader, api.KeySeal); !rotated {
		return
	}
	for _, part := range t.secrets(row) {
		if id, err := seal.KeyID(*part.value); err == nil && tx.isGone(id) {
			tx.stale = id
		}
	}
}

// isGone tells whether a name is that of a sealing key which was there once.
func (r Reader) isGone(key string) bool {
	if key != KeySeal && !strings.HasPrefix(key, KeySeal+".") {
		return false
	}
	_, there := settings.one(r, key)
	return !there
}

// openable refuses a command that has put a value which nobody can open.
func (tx *Txn) openable() error {
	if tx.stale == "" {
		return nil
	}
	return api.Errorf(api.Unavailable, "keys", "a secret in it was sealed with %s, which was replaced meanwhile; send the request again", tx.stale)
}

// presentSecrets is a row of a snapshot with the secrets that can be opened. One that
// is sealed with a key that is gone is that of the row as it is now, else it is lost: a
// rollback brings no secret back from before the rotation of the key.
func (t *table[T]) presentSecrets(r Reader, row *T) (changed bool) {
	if t.secrets == nil {
		return false
	}
	if _, rotated := rotations.one(r, api.KeySeal); !rotated {
		return false
	}
	var now []secretPart
	if is, there := t.one(r, t.key(row)); there {
		now = t.secrets(&is)
	}
	for _, part := range t.secrets(row) {
		if id, err := seal.KeyID(*part.value); err != nil || !r.isGone(id) {
			continue
		}
		*part.value, changed = nil, true
		for _, other := range now {
			if other.purpose == part.purpose && other.part == part.part {
				*part.value = *other.value
			}
		}
	}
	return changed
}

func digest(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
