package cluster

import (
	"bytes"
	"maps"
	"slices"
	"sync"
)

// Roster is what the tables say of the peers that belong to the cluster; the
// channel is closed when that changes. Empty: there are no tables yet.
type Roster interface {
	Members() ([]Member, <-chan struct{})
}

// book knows who belongs to the cluster. The tables decide; but while this peer
// does not know that its tables are current, what its disk and other peers say
// counts as well: the leader may have joined while this peer was away, and only
// from the leader can it learn so through the log.
type book struct {
	mu      sync.Mutex
	rows    map[string]Member // from the tables
	known   map[string]Member // from known.json, then from peers that were asked
	current bool
	changed bell
}

func newBook(members []Member) *book {
	return &book{known: byID(members)}
}

func byID(members []Member) map[string]Member {
	m := make(map[string]Member, len(members))
	for _, p := range members {
		m[p.ID] = p
	}
	return m
}

// find is the peer of that id, if it belongs to the cluster. While the tables
// are not current, what others know of it is newer.
func (b *book) find(id string) (Member, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m, ok := b.known[id]; ok && !b.settledLocked() {
		return m, true
	}
	m, ok := b.rows[id]
	return m, ok
}

// settledLocked: the tables alone decide.
func (b *book) settledLocked() bool { return b.current && len(b.rows) > 0 }

// members are all peers that find finds, by id.
func (b *book) members() []Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[string]Member{}
	maps.Copy(all, b.rows)
	if !b.settledLocked() {
		maps.Copy(all, b.known)
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Member) int {
		return bytes.Compare([]byte(a.ID), []byte(b.ID))
	})
}

// inTables are the peers that the tables hold.
func (b *book) inTables() map[string]Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.rows)
}

// setRows takes what the tables say now.
func (b *book) setRows(members []Member) {
	b.mu.Lock()
	b.rows = byID(members)
	b.mu.Unlock()
	b.changed.ring()
}

// setCurrent says whether the tables are known to be current, and tells
// whether that is news. Once they are, nothing but them is remembered.
func (b *book) setCurrent(current bool) (news bool) {
	b.mu.Lock()
	news = b.current != current
	b.current = current
	if b.settledLocked() {
		b.known = b.rows
	}
	b.mu.Unlock()
	if news {
		b.changed.ring()
	}
	return news
}

// isCurrent is what setCurrent last said.
func (b *book) isCurrent() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current
}

// hear takes what another peer knows of the peers. It counts until the tables
// are current.
func (b *book) hear(members []Member) {
	b.mu.Lock()
	b.known = maps.Clone(b.known)
	news := false
	for _, m := range members {
		_, have := b.known[m.ID]
		news = news || !have
		b.known[m.ID] = m
	}
	b.mu.Unlock()
	if news { // not for another address: two peers may disagree about one for a while
		b.changed.ring()
	}
}
