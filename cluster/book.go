package cluster

import (
	"maps"
	"slices"
	"sync"
)

// Roster is what the tables say of the peers that belong to the cluster; the
// channel is closed when that changes. Empty: there are no tables yet.
type Roster interface {
	Members() ([]Member, <-chan struct{})
}

// book knows who belongs to the cluster. The tables decide, with two exceptions.
// A peer that has left is still spoken to while it is in raft's configuration:
// its vote may be needed to finish its removal. And while this peer does not know
// that its tables are current, what its disk and other peers say counts as well:
// the leader may have joined while this peer was away, and only from the leader
// can it learn so through the log.
type book struct {
	mu      sync.Mutex
	rows    map[string]Member    // from the tables
	known   map[string]Member    // all that was ever said, from known.json on; pruned when the tables are current
	told    map[string]string    // by peer: the raft address that it gave itself, where that is not the row's
	current bool                 // the tables are
	inRaft  func(id string) bool // it is in raft's configuration
	changed bell
}

func newBook(members []Member) *book {
	return &book{known: byID(members), told: map[string]string{}, inRaft: func(string) bool { return false }}
}

func byID(members []Member) map[string]Member {
	m := make(map[string]Member, len(members))
	for _, p := range members {
		m[p.ID] = p
	}
	return m
}

// settledLocked: the tables alone say who belongs.
func (b *book) settledLocked() bool { return b.current && len(b.rows) > 0 }

// find is the peer of that id, if it may be spoken to. Unless the tables are
// current, what others know of it is newer.
func (b *book) find(id string) (Member, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m, ok := b.rows[id]; ok && b.settledLocked() {
		return m, true
	}
	if m, ok := b.known[id]; ok && (!b.settledLocked() || b.inRaft(id)) {
		return m, true
	}
	return Member{}, false
}

// tell notes at which address a peer, whose certificate has been checked, says that
// it is reached. One that has moved cannot change its row before the leader has
// reached it: until then it hears of no leader.
func (b *book) tell(id, raftAt string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if row, ok := b.rows[id]; raftAt == "" || ok && row.Addresses.Raft == raftAt {
		delete(b.told, id)
		return
	}
	b.told[id] = raftAt
}

// addresses are where a peer may be reached for raft, the likeliest first: what it
// says itself is newer than its row.
func (b *book) addresses(m Member) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if told := b.told[m.ID]; told != "" && told != m.Addresses.Raft {
		return []string{told, m.Addresses.Raft}
	}
	return []string{m.Addresses.Raft}
}

// belongs tells whether the peer may change anything: being needed by raft is not enough.
func (b *book) belongs(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.known[id]
	_, row := b.rows[id]
	return row || known && !b.settledLocked()
}

// members are all peers that find finds, by id.
func (b *book) members() []Member {
	b.mu.Lock()
	ids := slices.Sorted(maps.Keys(b.known))
	b.mu.Unlock()
	var all []Member
	for _, id := range ids {
		if m, ok := b.find(id); ok {
			all = append(all, m)
		}
	}
	return all
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
	rows := byID(members)
	for id := range b.told {
		if m, ok := rows[id]; !ok || m.Addresses != b.rows[id].Addresses {
			delete(b.told, id) // it has moved again, and its row knows where to
		}
	}
	b.rows = rows
	for id, m := range b.rows {
		if _, have := b.known[id]; !have || b.current {
			b.known[id] = m
		}
	}
	b.mu.Unlock()
	b.changed.ring()
}

// setCurrent says whether the tables are known to be current. Once they are,
// nobody else is remembered but those whom raft still needs.
func (b *book) setCurrent(current bool) {
	b.mu.Lock()
	news := b.current != current
	b.current = current
	if b.settledLocked() {
		maps.DeleteFunc(b.known, func(id string, _ Member) bool { return !b.inRaft(id) })
		maps.Copy(b.known, b.rows)
	}
	b.mu.Unlock()
	if news {
		b.changed.ring()
	}
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

// watchRaft says how to ask for raft's configuration, once there is one.
func (b *book) watchRaft(inRaft func(id string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inRaft = inRaft
}
