package fsm

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/orchd/orchd/api"
)

// Result is what became of a command. It crosses the wire whole, so that a
// Conflict on the leader is a 409 from whichever peer was asked.
type Result struct {
	Index    uint64     // of the entry that did it
	Table    string     // of the object it is about
	Key      string     // of the object it is about
	Object   any        // its row: as of the command, or as it is now when Replayed; nil when there is none
	Command  string     // id of the command that did it
	Count    int64      // rows made, changed or removed, where that is told
	Version  uint64     // that the object had when this was done; 0 where none is counted
	Replayed bool       // an earlier request with the same key did it
	Err      *api.Error // why it was refused
}

// wireResult is a Result between peers.
type wireResult struct {
	Index    uint64          `cbor:"1,keyasint"`
	Table    string          `cbor:"2,keyasint,omitempty"`
	Key      string          `cbor:"3,keyasint,omitempty"`
	Object   cbor.RawMessage `cbor:"4,keyasint,omitempty"`
	Replayed bool            `cbor:"5,keyasint,omitempty"`
	Err      *api.Error      `cbor:"6,keyasint,omitempty"`
	Command  string          `cbor:"7,keyasint,omitempty"`
	Count    int64           `cbor:"8,keyasint,omitempty"`
	Version  uint64          `cbor:"9,keyasint,omitempty"`
}

// MarshalBinary writes the result for the peer that proposed the command.
func (r Result) MarshalBinary() ([]byte, error) {
	w := wireResult{Index: r.Index, Table: r.Table, Key: r.Key, Replayed: r.Replayed, Err: r.Err, Command: r.Command, Count: r.Count, Version: r.Version}
	var err error
	if w.Object, err = r.wireObject(); err != nil {
		return nil, fmt.Errorf("answer about %s %s: %w", r.Table, r.Key, err)
	}
	return encoding.Marshal(w)
}

// wireObject is the row as it is sent; nil when there is none. Of a node only that it
// is there, and of a collection not what is in it, which has no bound: who wrote them
// looks them up in the tables of its own peer.
func (r Result) wireObject() ([]byte, error) {
	switch row := r.Object.(type) {
	case nil:
		return nil, nil
	case *computeNode:
		return emptyRow, nil
	case *collection:
		about := *row
		about.Nodes, about.CloudInit = nil, nil
		return encoding.Marshal(about)
	}
	return encoding.Marshal(r.Object)
}

// emptyRow is a row without any field, in CBOR.
var emptyRow = must(encoding.Marshal(struct{}{}))

// answerOf makes the result of a command that was just applied, or refused.
func answerOf(tx *Txn, about object, err error) Result {
	a := Result{Index: tx.Index(), Command: tx.ID, Count: about.count}
	if err != nil {
		a.Err = refusal(err)
		return a
	}
	if about.table != nil {
		a.Table, a.Key = about.table.label(), about.key
		a.Object, _ = about.table.find(tx.state, about.key)
		a.Version = versionOf(a.Object)
	}
	return a
}

// refusal is the error as it is sent and remembered: every apply function
// refuses with an *api.Error.
func refusal(err error) *api.Error {
	var e *api.Error
	if !errors.As(err, &e) {
		return &api.Error{Kind: api.Internal, Msg: err.Error()}
	}
	return e
}

// tableNamed finds a table by name; nil when there is none.
func tableNamed(name string) anyTable {
	for _, t := range tables {
		if t.label() == name {
			return t
		}
	}
	return nil
}
