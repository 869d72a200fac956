package fsm

import (
	"errors"
	"sync"
)

// Bounds of what waits to be handed to a sink, in bytes by estimate.
const (
	maxWaiting = 64 << 20 // beyond it apply waits for the sink
	batchBytes = 1 << 20  // handed over at once: more only where one entry has more
)

// changeQueue is what entries changed and nobody has taken yet, in the order of the log.
type changeQueue struct {
	limit int           // bytes
	more  chan struct{} // holds a token while there may be something new
	flush chan struct{} // holds a token while somebody waits for what was handed over to be durable
	ended chan struct{} // closed when nobody takes anything any more

	mu      sync.Mutex
	room    *sync.Cond     // changes get fewer, or it is over
	kept    bool           // changes are kept: KeepChanges was called
	writing bool           // somebody takes changes
	over    bool           // the writer has ended
	after   uint64         // entries up to here are kept already
	last    uint64         // the last entry noted
	n       uint64         // how many changes it had so far
	waiting []changedEntry // not taken
	bytes   int            // not handed over

	durable uint64
	grown   chan struct{} // closed when durable grows

	lost func(to uint64, err error)
}

func newChangeQueue() *changeQueue {
	q := &changeQueue{limit: maxWaiting, more: make(chan struct{}, 1), flush: make(chan struct{}, 1),
		ended: make(chan struct{}), grown: make(chan struct{}), lost: func(uint64, error) {}}
	q.room = sync.NewCond(&q.mu)
	return q
}

// keep begins to take what entries behind after change.
func (q *changeQueue) keep(after uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kept, q.after, q.last, q.durable = true, after, after, after
}

// wants tells whether the entry at index is to be noted. While more waits than
// may, and somebody takes it, it waits too.
func (q *changeQueue) wants(index uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.writing && q.bytes > q.limit {
		q.room.Wait()
	}
	return q.kept && !q.over && index > q.after
}

// add appends what commands of the entry changed; they may come one by one.
func (q *changeQueue) add(e changedEntry) {
	q.mu.Lock()
	if q.over {
		q.mu.Unlock()
		return
	}
	if e.index != q.last {
		q.last, q.n = e.index, 0
	}
	e.before = q.n
	q.n += e.count()
	q.push(e)
	overflow := !q.writing && q.bytes > q.limit
	if overflow {
		clear(q.waiting)
		q.waiting, q.bytes = append(q.waiting[:0], changedEntry{to: e.index, skip: true}), 0
	}
	q.mu.Unlock()
	if overflow {
		q.lost(e.index, errors.New("nobody takes the changes"))
	}
	ring(q.more)
}

// push appends an entry, or makes the last one reach to it where it says no more than that.
func (q *changeQueue) push(e changedEntry) {
	if k := len(q.waiting); k > 0 && len(e.commands) == 0 && q.waiting[k-1].skip == e.skip {
		q.waiting[k-1].to = e.to
		return
	}
	q.waiting = append(q.waiting, e)
	q.bytes += e.bytes
}

// skip notes that the state was replaced by that of index.
func (q *changeQueue) skip(index uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.kept || q.over || index <= q.last {
		return // all of it is kept, or on its way
	}
	q.last, q.n = index, 0
	q.push(changedEntry{to: index, skip: true})
	ring(q.more)
}

// begin and end are the writer's.
func (q *changeQueue) begin() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = !q.over
}

func (q *changeQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return
	}
	q.over, q.writing, q.waiting, q.bytes = true, false, nil, 0
	close(q.ended)
	q.room.Broadcast()
}

// changeBatch is what is handed to the sink at once.
type changeBatch struct {
	to      uint64
	skip    bool
	entries []changedEntry
	bytes   int
}

// take gives what has waited longest; false when nothing waits.
func (q *changeQueue) take() (b changeBatch, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return b, false
	}
	n := 0
	for n < len(q.waiting) && q.waiting[n].skip == q.waiting[0].skip && b.bytes < batchBytes {
		b.bytes += q.waiting[n].bytes
		n++
	}
	b.to, b.skip = q.waiting[n-1].to, q.waiting[0].skip
	b.entries = append(b.entries, q.waiting[:n]...)
	clear(q.waiting[:n]) // the rows in it may be the last of their kind
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	return b, true
}

// done makes room for as much as the batch held.
func (q *changeQueue) done(b changeBatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.over {
		q.bytes -= b.bytes
	}
	q.room.Broadcast()
}

// reached notes that the changes up to index are durable.
func (q *changeQueue) reached(index uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if index > q.durable {
		q.durable = index
		close(q.grown)
		q.grown = make(chan struct{})
	}
}

// awaitDurable returns when the changes up to index are durable, if any are kept.
func (q *changeQueue) awaitDurable(index uint64) error {
	for {
		q.mu.Lock()
		there, grown := !q.kept || q.durable >= index, q.grown
		q.mu.Unlock()
		if there {
			return nil
		}
		ring(q.flush)
		select {
		case <-grown:
		case <-q.ended:
			return errors.New("changes are not written any more: this peer is stopping")
		}
	}
}

// ring puts a token into a channel that holds one.
func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
