package cluster

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

// Contact is what this peer knows of another from pinging it.
type Contact struct {
	HeardAt     time.Time       // when it last answered, by this peer's clock; zero: never
	Reachable   bool            // it answered the last ping
	Refused     bool            // it is there, and did not let this peer in
	Applied     uint64          // log index that its machine had applied then
	Term        uint64          // raft's term there
	Offset      time.Duration   // its clock minus ours
	Unreachable []string        // ids of the peers that it cannot reach
	Report      json.RawMessage // what its Config.Report said
	// StuckSince is since when it has applied nothing more, though it answers and lacks
	// what is applied here; zero: it makes progress, lacks nothing, or does not answer.
	StuckSince time.Time

	near   int // answers in a row with almost all of the log applied
	missed int // pings in a row without an answer
}

// contacts remembers the other peers' last words, and when this peer's own
// state was last known to be current.
type contacts struct {
	now func() time.Time

	mu     sync.Mutex
	peers  map[string]Contact
	sent   map[string]sighting // by peer: when the last ping that it answered was sent, and its term then
	fresh  time.Time           // the state here was current then; zero: not known
	behind goal                // it is as of goal.at, once the machine has goal.index
}

// isAway tells whether a peer has been silent for so long that another may have its
// vote. Several pings must say so: a clock that jumps is no silence.
func (c Contact) isAway(now time.Time) bool {
	return !c.Reachable && c.missed >= proofOfSilence && now.Sub(c.HeardAt) >= awayTime
}

// sighting is an answered ping: the peer had that term at some time after at.
type sighting struct {
	at   time.Time
	term uint64
}

// goal is what a leader said: at that time its machine had that index.
type goal struct {
	at    time.Time
	index uint64
}

func newContacts(now func() time.Time) *contacts {
	return &contacts{now: now, peers: map[string]Contact{}, sent: map[string]sighting{}}
}

// all is a copy of what is known.
func (c *contacts) all() map[string]Contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.peers)
}

// keep forgets everyone who is not among members.
func (c *contacts) keep(members []Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := func(id string) bool {
		return !slices.ContainsFunc(members, func(m Member) bool { return m.ID == id })
	}
	maps.DeleteFunc(c.peers, func(id string, _ Contact) bool { return gone(id) })
	maps.DeleteFunc(c.sent, func(id string, _ sighting) bool { return gone(id) })
}

// heard records an answer to a ping that was sent at sent, when the machine here had
// applied have.
func (c *contacts) heard(id string, sent time.Time, a pingAnswer, have uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, before := c.now(), c.peers[id]
	contact := Contact{
		HeardAt: now, Reachable: true, Applied: a.Applied, Term: a.Term,
		Offset:      time.UnixMicro(a.Clock).Sub(sent.Add(now.Sub(sent) / 2)),
		Unreachable: a.Unreachable, Report: a.Report,
	}
	if a.Applied+nearEntries >= have {
		contact.near = before.near + 1
	}
	if a.Applied < have {
		contact.StuckSince = now
		if a.Applied == before.Applied && !before.StuckSince.IsZero() {
			contact.StuckSince = before.StuckSince
		}
	}
	c.peers[id] = contact
	c.sent[id] = sighting{sent, a.Term}
}

// missed records that a ping was not answered; refused, that the peer is there
// and did not let this one in.
func (c *contacts) missed(id string, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	contact := c.peers[id]
	contact.Reachable, contact.Refused, contact.near, contact.StuckSince = false, refused, 0, time.Time{}
	contact.missed++
	c.peers[id] = contact
}

// takeOver counts everyone as heard now: a new leader may not have listened so
// far, and must not hold its own silence against others. Where it has listened,
// and its pings were not answered, what it heard last stays.
func (c *contacts) takeOver(members []Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range members {
		contact := c.peers[m.ID]
		contact.near = 0
		if contact.missed < proofOfSilence || contact.HeardAt.IsZero() {
			contact.HeardAt = c.now()
		}
		c.peers[m.ID] = contact
	}
}

// proofOfSilence is how many pings in a row must go unanswered before a new
// leader believes its own ears.
const proofOfSilence = 3

// unreachable are the peers that did not answer the last ping.
func (c *contacts) unreachable() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id, contact := range c.peers {
		if contact.missed > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// confirmed notes that the state here was current at that time.
func (c *contacts) confirmed(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.fresh) {
		c.fresh = at
	}
}

// promised notes that the leader's machine had index at that time; have is what
// the machine here has.
func (c *contacts) promised(at time.Time, index, have uint64) {
	c.freshness(have)
	c.mu.Lock()
	c.behind = goal{at, index}
	c.mu.Unlock()
	c.freshness(have)
}

// freshness is when the state here, with the machine at index have, was last
// known to be current; zero when that is not known.
func (c *contacts) freshness(have uint64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.behind.at.IsZero() && have >= c.behind.index && c.behind.at.After(c.fresh) {
		c.fresh = c.behind.at
	}
	return c.fresh
}

// led is the last time at which a majority of the voters is known to have been
// in this term: those who lead it led then. self counts as of now.
func (c *contacts) led(voters []string, self string, term uint64, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	times := make([]time.Time, 0, len(voters))
	for _, id := range voters {
		switch s := c.sent[id]; {
		case id == self:
			times = append(times, now)
		case s.term == term:
			times = append(times, s.at)
		default:
			times = append(times, time.Time{})
		}
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	if len(times) == 0 {
		return time.Time{}
	}
	return times[len(times)/2]
}

// clockError is how far the clock here is from the median of the voters', this
// peer's included: positive when it is ahead. With fewer than three there is no
// telling who is wrong.
func (c *contacts) clockError(voters []string, self string) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var offsets []time.Duration
	for _, id := range voters {
		if contact := c.peers[id]; id == self || contact.Reachable {
			offsets = append(offsets, contact.Offset)
		}
	}
	if len(offsets) < 3 {
		return 0, false
	}
	slices.Sort(offsets)
	return -offsets[len(offsets)/2], true
}
