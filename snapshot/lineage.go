package snapshot

import (
	"slices"
	"sync"
)

// Lineage is what all states of a large table have in common, one made of the other: how
// the table was cut into parts last, and which rows were touched since. So the next
// plan reads those parts again in which something was touched, and not the whole table. The
// zero Lineage knows nothing.
type Lineage struct {
	mu      sync.Mutex
	parts   []part  // the newest plan; nil: none is known
	at      uint64  // the moment that it is of
	touched []touch // the last ones
	now     uint64  // how many there were
}

// touch is that something became of a row. Of a state that nobody went on from, touches
// may be among the others: they make a plan dearer and not wrong.
type touch struct {
	key   string
	moved bool // it came or is gone: where parts end may have moved with it
}

// Moment is a state of a large table, and what its rows add up to.
type Moment struct {
	At   uint64 // what Touch gave last on the way to it
	Rows int
	Sum  Hash // of the hashes of all rows, modulo 2^64 in each half
}

// maxTouched is how many touches are kept. Where more rows were touched since a plan, as
// in a bulk load, most parts have to be read again anyway.
const maxTouched = 1 << 16

// Touch notes that the row of a key is another, or that it came or is gone, which is to
// have moved. It gives the moment behind that.
func (l *Lineage) Touch(key string, moved bool) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.touched) == maxTouched {
		l.touched = slices.Delete(l.touched, 0, maxTouched/2)
		if l.at < l.now-maxTouched/2 {
			l.parts = nil // what became of it is not known any more
		}
	}
	l.touched = append(l.touched, touch{key, moved})
	l.now++
	return l.now
}

// since is the newest plan from before a moment, and what was touched between the two; nil
// where there is none.
func (l *Lineage) since(moment uint64) (parts []part, touched []touch) {
	if l == nil {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts == nil || moment < l.at {
		return nil, nil
	}
	oldest := l.now - uint64(len(l.touched))
	return l.parts, slices.Clone(l.touched[l.at-oldest : moment-oldest])
}

// learn keeps the plan of a moment.
func (l *Lineage) learn(moment uint64, parts []part) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.now - uint64(len(l.touched))
	if moment < oldest || l.parts != nil && moment < l.at {
		return
	}
	l.parts, l.at = parts, moment
	l.touched = slices.Delete(l.touched, 0, int(moment-oldest))
}

// matches tells whether parts hold what a table held at a moment.
func (m Moment) matches(parts []part) bool {
	rows, sum := 0, Hash{}
	for _, p := range parts {
		rows += p.rows
		sum = sum.plus(p.sum)
	}
	return rows == m.Rows && sum == m.Sum
}

func (h Hash) plus(o Hash) Hash { return Hash{h.Hi + o.Hi, h.Lo + o.Lo} }
