package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// Reader reads one unchanging state. It cannot write. Slices and maps inside
// the values it gives are shared: clone before you change them.
type Reader struct{ state *state }

// Index is the log index of the state.
func (r Reader) Index() uint64 { return r.state.index }

// Now is the cluster's time in that state.
func (r Reader) Now() time.Time { return r.state.now }

// Hash is the state hash: equal on all peers at equal indexes.
func (r Reader) Hash() string { return r.state.sum.String() }

// Txn is a Reader that may also write: the application of the commands of one
// entry, one after the other. Who has no command cannot write.
type Txn struct {
	Reader
	Meta                // of the command in hand
	Now     time.Time   // the cluster's time at this entry
	mine    []bool      // which trees are this Txn's own copies
	next    int         // number of the next object that the command makes
	mark    bool        // a command wants the state after the entry to be kept as a snapshot
	changes []rowBefore // what the command has changed, to be undone if it is refused
	noting  bool        // what commands change is to be recorded
	noted   []commandChanges

	notedBytes int // what holding on to them takes, by estimate
}

// rowBefore is a row as it was before a command changed it; row is nil when there was none.
type rowBefore struct {
	table anyTable
	key   string
	row   any
	sum   sum
	size  int // bytes of what the command put there, as it is hashed
}

func newTxn(from *state, index uint64, at time.Time) *Txn {
	s := from.successor()
	s.index = index
	if planted.Is(planted.ClockInApply) { // each peer stores another time
		at = time.Now()
	}
	if at = canonicalTime(at); at.After(s.now) {
		s.now = at
	}
	return &Txn{Reader: Reader{s}, Now: s.now, mine: make([]bool, len(s.trees))}
}

// begin turns to the next command.
func (tx *Txn) begin(m Meta) {
	tx.Meta, tx.next = m, 0
	clear(tx.changes)
	tx.changes = tx.changes[:0]
}

// undo takes back what the command has changed.
func (tx *Txn) undo() {
	for _, c := range slices.Backward(tx.changes) {
		c.table.restore(tx, c)
	}
	tx.next, tx.changes = 0, tx.changes[:0]
}

// changing is the tree at pos as this Txn's own.
func (tx *Txn) changing(pos int) anyTree {
	if !tx.mine[pos] {
		tx.mine[pos] = true
		tx.state.trees[pos] = tx.state.trees[pos].copied()
	}
	return tx.state.trees[pos]
}

// newID is the id of the next object that this command makes.
func (tx *Txn) newID() string {
	tx.next++
	return objectID(tx.ID, tx.next-1)
}

// operationID is the id of this command's operation.
func (tx *Txn) operationID() string { return objectID(tx.ID, -1) }

// objectID is the id of the k-th object of a command, so that a command sent
// twice makes nothing new: a UUID of version 8 (RFC 9562, 5.8) that begins with 48
// bits of the SHA-256 of the command's id, then has k in 24 bits, then 50 more bits
// of the hash. The objects of a command are neighbours, in their order: ids that lie
// anywhere would make each of a thousand new rows copy another leaf of every tree.
// k = -1 is the command's operation, and has a UUIDv5 under the command's id.
func objectID(command string, k int) string {
	if k < 0 {
		space, err := uuid.Parse(command)
		if err != nil {
			space = uuid.NewSHA1(uuid.Nil, []byte(command))
		}
		return uuid.NewSHA1(space, []byte(strconv.Itoa(k))).String()
	}
	h := sha256.Sum256([]byte(command))
	var id uuid.UUID
	copy(id[:6], h[:6])
	binary.BigEndian.PutUint16(id[6:], 0x8000|uint16(k>>12&0xfff))
	binary.BigEndian.PutUint64(id[8:], 0x8000<<48|uint64(k&0xfff)<<50|binary.BigEndian.Uint64(h[6:])>>14)
	return id.String()
}

// may refuses what the actor is not allowed to do.
func (tx *Txn) may(v api.Verb, op string, o api.Object) error {
	if api.Allowed(tx.Actor, v, o) {
		return nil
	}
	return api.Errorf(api.Forbidden, op, "role %q may not %s a %s here", tx.Actor.Role, v, o.Kind)
}

// asPeer is the id of the peer that asks; an error when it is no member.
func (tx *Txn) asPeer(op string) (api.Peer, error) {
	id, isPeer := peerOf(tx.Actor)
	p, known := peers.one(tx.Reader, id)
	if !isPeer || !known || p.State != api.PeerMember {
		return p, api.Errorf(api.Forbidden, op, "only a peer of this cluster may do this")
	}
	return p, nil
}

// object is what a command is about: where its row stands, so that a replay
// finds it again, and how many rows it made, changed or removed where that is told.
type object struct {
	table anyTable
	key   string
	count int64
}

var nothing = object{}
