package fsm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// request is the remembered answer to a command: what became of it, never its
// body. Without a client key it is known by the command's id, and the newest
// keptCommands stay; with one by the key, for keyLife.
type request struct {
	ID      string    `json:"id"`             // "c/<command id>" or "k/<principal> <method> <path> <key>"
	Body    []byte    `json:"body,omitempty"` // k: SHA-256 of the request's body
	Refuse  string    `json:"refuse,omitempty"`
	Msg     string    `json:"msg,omitempty"`
	Table   string    `json:"table,omitempty"`
	Key     string    `json:"key,omitempty"`
	Made    string    `json:"made,omitempty"` // k: id of the command that did it, from which the ids of its objects follow
	Count   int64     `json:"count,omitempty"`
	Version uint64    `json:"version,omitempty"` // of the object when it was done; from LevelVersions on
	Index   uint64    `json:"index"`
	N       int64     `json:"n"`
	At      time.Time `json:"at"`
}

const (
	keptCommands    = 100_000
	keysOfPrincipal = 100_000
	keyLife         = 24 * time.Hour
)

var requests = &table[request]{
	name:        "requests",
	bookkeeping: true,
	key:         func(q *request) string { return q.ID },
	by: map[string]func(*request) string{
		"command": func(q *request) string { return orderIf(q, "c/") },
		"key":     func(q *request) string { return orderIf(q, "k/") },
	},
	derived: func(s *sums, old, row *request) {
		s.countRequest(old, -1)
		s.countRequest(row, +1)
	},
}

// countRequest counts remembered requests: those with a key by principal, the others under "".
func (s *sums) countRequest(q *request, n int) {
	if q == nil {
		return
	}
	principal := ""
	if key, keyed := strings.CutPrefix(q.ID, "k/"); keyed {
		principal = principalOf(key)
	}
	addTo(&s.keys, principal, n)
}

// orderIf sorts the requests of one sort from oldest to newest.
func orderIf(q *request, prefix string) string {
	if !strings.HasPrefix(q.ID, prefix) {
		return ""
	}
	var order [8 + 4]byte
	binary.BigEndian.PutUint64(order[:], q.Index)
	binary.BigEndian.PutUint32(order[8:], uint32(q.N))
	return string(order[:])
}

// principalOf is the first word of an idempotency key: who sent it.
func principalOf(key string) string {
	principal, _, _ := strings.Cut(key, " ")
	return principal
}

// remembered finds the answer to a command that was applied before, or whose
// client sent the same key before.
func remembered(tx *Txn) (Result, bool) {
	if q, again := requests.one(tx.Reader, "c/"+tx.ID); again { // sent again by a peer, not by its client
		a := q.replay(tx.Reader)
		a.Replayed = false
		return a, true
	}
	if tx.Once == nil || planted.Is(planted.EdgeIdempotency) {
		return Result{}, false
	}
	return tx.Reader.rememberedFor(tx.Once, tx.Now)
}

// rememberedFor finds the answer to a request with that key.
func (r Reader) rememberedFor(once *api.OnceKey, now time.Time) (Result, bool) {
	q, again := requests.one(r, "k/"+once.Key)
	if !again || now.Sub(q.At) > keyLife {
		return Result{}, false
	}
	if !bytes.Equal(q.Body, once.Body) {
		return Result{Index: r.Index(), Err: &api.Error{Kind: api.Mismatch, Op: "idempotency",
			Msg: "this Idempotency-Key was used before with another body; use a new key for a new request"}}, true
	}
	return q.replay(r), true
}

// Answered is the outcome of an earlier request with an Idempotency-Key, for those whose
// command depends on the state, so that sent again it would be another one: at which
// index it was applied, or with what it was refused. Mismatch when that was another
// request.
func (r Reader) Answered(once *api.OnceKey) (index uint64, answered bool, err error) {
	if once == nil {
		return 0, false, nil
	}
	a, answered := r.rememberedFor(once, r.Now())
	if a.Err != nil {
		return 0, true, a.Err
	}
	return a.Index, answered, nil
}

// replay is the stored status with the object as it is now, and the version that
// the object was given then: with that in If-Match, a client overwrites nothing that
// others have made of it since.
func (q request) replay(r Reader) Result {
	a := Result{Index: q.Index, Table: q.Table, Key: q.Key, Command: q.command(), Count: q.Count, Version: q.Version, Replayed: true}
	if q.Refuse != "" {
		a.Err = &api.Error{Kind: api.KindOf(q.Refuse), Msg: q.Msg}
		return a
	}
	if t := tableNamed(q.Table); t != nil {
		a.Object, _ = t.find(r.state, q.Key)
	}
	return a
}

// command is the id of the command that did it.
func (q request) command() string {
	if id, plain := strings.CutPrefix(q.ID, "c/"); plain {
		return id
	}
	return q.Made
}

// remember notes what became of a command. "No leader" and "no room" are not
// answers to keep: the same request may succeed a moment later.
func remember(tx *Txn, a Result, n int) {
	if a.Err != nil && (a.Err.Kind == api.Unavailable || a.Err.Kind == api.NoCapacity || a.Err.Kind == api.TooMany) {
		return
	}
	q := request{ID: "c/" + tx.ID, Table: a.Table, Key: a.Key, Count: a.Count, Index: tx.Index(), N: int64(n), At: tx.Now}
	if tx.Level() >= LevelVersions {
		q.Version = a.Version
	}
	if a.Err != nil {
		q.Refuse, q.Msg = a.Err.Kind.Code(), clipped(a.Err.Msg)
	}
	requests.put(tx, q)
	if tx.Once != nil {
		q.ID, q.Body, q.Made = "k/"+tx.Once.Key, tx.Once.Body, tx.ID
		requests.put(tx, q)
	}
	forgetOldCommands(tx)
}

// clipped is the beginning of a text that quotes what a client sent: a hundred
// thousand of them are kept.
func clipped(msg string) string {
	const most = 2 << 10
	if len(msg) <= most {
		return msg
	}
	return strings.ToValidUTF8(msg[:most], "") + "..."
}

func forgetOldCommands(tx *Txn) {
	for count, _ := tx.state.sums.keys.Get(""); count > keptCommands; count-- {
		var oldest string
		requests.index(tx.state, "command").ascend("", func(_ string, q *request) bool { oldest = q.ID; return false })
		requests.remove(tx, oldest)
	}
}

// keyRoom refuses a new idempotency key from a principal that has too many.
func keyRoom(tx *Txn) error {
	if tx.Once == nil {
		return nil
	}
	if held, _ := tx.state.sums.keys.Get(principalOf(tx.Once.Key)); held >= keysOfPrincipal {
		return api.Errorf(api.TooMany, "idempotency", "%d idempotency keys of yours are remembered; they expire after 24 h", held)
	}
	return nil
}

// expiredKeys are up to limit idempotency keys that are past their time, oldest first.
func expiredKeys(r Reader, now time.Time, limit int) (ids []string) {
	requests.index(r.state, "key").ascend("", func(_ string, q *request) bool {
		if len(ids) == limit || now.Sub(q.At) <= keyLife {
			return false
		}
		ids = append(ids, q.ID)
		return true
	})
	return ids
}
