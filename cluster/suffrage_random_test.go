package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// world is a cluster as nextChange sees it: who is a member, who votes, who is there.
type world struct {
	rng     *rand.Rand
	servers []Server
	members map[string]Member
	there   map[string]bool // it answers; else it is away
	fit     map[string]bool // it has caught up
	wanted  int
}

func (w *world) scene() scene {
	place := map[byte]string{'a': "x1/c0", 'b': "x1/c0", 'c': "x1/c1", 'd': "x2/c0", 'e': "x3/c0"}
	return scene{
		servers: w.servers, members: w.members, wanted: w.wanted, self: "a",
		caughtUp: func(id string) bool { return w.there[id] && w.fit[id] },
		stable:   func(id string) bool { return w.there[id] && w.fit[id] },
		alive:    func(id string) bool { return w.there[id] },
		away:     func(id string) bool { return !w.there[id] },
		place:    func(id string) string { return place[id[0]] },
	}
}

// aliveVoters are how many voters answer, of how many.
func (w *world) aliveVoters() (alive, of int) {
	all := voters(w.servers)
	for _, id := range all {
		if w.there[id] {
			alive++
		}
	}
	return alive, len(all)
}

// happen lets something happen that nobody asked for: one comes, goes, leaves, or the setting changes.
func (w *world) happen() {
	id := string(rune('b' + w.rng.IntN(8)))
	switch w.rng.IntN(8) {
	case 0:
		w.members[id], w.there[id] = Member{ID: id}, true
	case 1:
		if w.rng.IntN(3) == 0 {
			delete(w.members, id)
		}
	case 2:
		w.wanted = []int{1, 3, 3, 5}[w.rng.IntN(4)]
	case 3, 4:
		was := w.there[id]
		w.there[id] = w.rng.IntN(3) > 0
		if alive, of := w.aliveVoters(); alive <= of/2 {
			w.there[id] = was // without a majority nobody leads, and nothing is changed
		}
	default:
		w.fit[id] = w.rng.IntN(4) > 0
	}
}

// act makes a change, as raft would.
func (w *world) act(c change) {
	at := slices.IndexFunc(w.servers, func(o Server) bool { return o.ID == c.ID })
	w.servers = slices.Clone(w.servers)
	switch c.Verb {
	case admit:
		w.servers = append(w.servers, Server{c.ID, false})
	case promote:
		w.servers[at].Voter = true
	case demote:
		w.servers[at].Voter = false
	case remove:
		w.servers = slices.Delete(w.servers, at, at+1)
	}
}

// TestNextChangeOnRandomScenes: whatever happens, no act of ours leaves fewer voters
// that answer than before, but where a person asked for fewer; none takes the majority
// away; none removes who has not left; and when nothing happens any more it comes to rest
// with as many voters as are wanted and can be had.
func TestNextChangeOnRandomScenes(t *testing.T) {
	done := map[verb]int{}
	for seed := range uint64(3000) {
		w := &world{rng: rand.New(rand.NewPCG(seed, 0)), servers: []Server{{"a", true}}, members: map[string]Member{"a": {ID: "a"}},
			there: map[string]bool{"a": true}, fit: map[string]bool{"a": true}, wanted: 3}
		step := func() verb {
			c := w.scene().nextChange()
			before, of := w.aliveVoters()
			many := len(w.scene().staying()) > w.wanted
			_, member := w.members[c.ID]
			w.act(c)
			after, ofNow := w.aliveVoters()
			done[c.Verb]++
			switch {
			case after < before && !(c.Verb == demote && many) && !(c.Verb == remove && !member):
				t.Fatalf("seed %d: %v: %d voters answered before it, %d after", seed, c, before, after)
			case before > of/2 && after <= ofNow/2:
				t.Fatalf("seed %d: %v: %d of %d voters answer after it, no majority", seed, c, after, ofNow)
			case c.Verb == remove && member:
				t.Fatalf("seed %d: %v: it has not left", seed, c)
			case c.Verb == demote && c.ID == "a":
				t.Fatalf("seed %d: the leader lost its vote", seed)
			case after-(ofNow/2+1) < before-(of/2+1) && c.Verb == demote && !many:
				t.Fatalf("seed %d: %v: %d voters could be spared before it, %d after", seed, c, before-(of/2+1), after-(ofNow/2+1))
			}
			return c.Verb
		}
		for range 60 {
			w.happen()
			if w.rng.IntN(2) == 0 {
				step()
			}
		}
		rest := 0
		for ; rest < 60 && step() != leave; rest++ {
		}
		if rest == 60 {
			t.Fatalf("seed %d: it does not come to rest: %v", seed, w.servers)
		}
		s := w.scene()
		spare := s.candidate(s.caughtUp)
		if n := len(s.staying()); n < w.wanted && spare != "" {
			t.Errorf("seed %d: at rest %d of %d voters, and %s could be one", seed, n, w.wanted, spare)
		}
		for _, id := range s.staying() {
			if s.away(id) && spare != "" && len(s.staying()) <= w.wanted && s.removable(id) {
				t.Errorf("seed %d: at rest %s is away and votes, and %s does not", seed, id, spare)
			}
		}
	}
	for _, v := range []verb{admit, promote, demote, remove} {
		if done[v] < 500 {
			t.Errorf("%s came %d times: the test says little", v, done[v])
		}
	}
}

// TestVoterThatIsAwayIsSwapped: with real nodes and a clock that is set, a voter that has
// been silent for ten minutes gives its vote to the one in reserve, and gets the log when
// it comes back.
func TestVoterThatIsAwayIsSwapped(t *testing.T) {
	var ahead atomic.Int64
	var wanted atomic.Int64
	wanted.Store(3)
	h := newHouse(t, 4, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.VotersWanted = func() int { return int(wanted.Load()) }
	})
	leader := h.leader()
	votes := func(id string) bool { return slices.Contains(voters(leader.Servers()), id) }
	var gone, spare *peer
	for _, p := range h.followers() {
		if votes(p.id) {
			gone = p
		} else {
			spare = p
		}
	}
	gone.close()
	h.eventually(func() error {
		if c := leader.Contacts()[gone.id]; c.missed < proofOfSilence {
			return fmt.Errorf("%d pings are missed", c.missed)
		}
		if c := leader.Contacts()[spare.id]; c.near < stablePings {
			return fmt.Errorf("the one in reserve has answered %d times", c.near)
		}
		return nil
	})
	if !votes(gone.id) || votes(spare.id) {
		t.Fatal("the vote has changed hands before its time")
	}
	ahead.Store(int64(awayTime + time.Minute))
	h.eventually(func() error {
		if votes(gone.id) || !votes(spare.id) {
			return errors.New("the vote has not changed hands")
		}
		return nil
	})
	leader.propose(set("swapped", "yes"))
	gone.open()
	h.eventually(func() error { return gone.ReadIndex(within(t, time.Second)) })
	if votes(gone.id) || len(leader.Servers()) != 4 {
		t.Errorf("the configuration is %v; want four, and no vote for the one that came back", leader.Servers())
	}
	wanted.Store(1)
	h.eventually(func() error {
		if got := voters(leader.Servers()); len(got) != 1 || got[0] != leader.id {
			return fmt.Errorf("the voters are %v, want the leader alone", got)
		}
		return nil
	})
	leader.propose(set("alone", "yes"))
}
