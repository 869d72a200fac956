package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestNextChange(t *testing.T) {
	vote := func(ids ...string) (all []Server) {
		for _, id := range ids {
			all = append(all, Server{id, true})
		}
		return all
	}
	tables := func(ids ...string) map[string]Member {
		m := map[string]Member{}
		for _, id := range ids {
			m[id] = Member{ID: id}
		}
		return m
	}
	for name, c := range map[string]struct {
		servers  []Server
		members  map[string]Member
		caughtUp string // ids, one letter each
		wanted   int
		want     change
		away     string            // ids, one letter each
		places   map[string]string // by id
	}{
		"one is away, nobody can stand in":      {servers: vote("a", "b", "c"), members: tables("a", "b", "c"), caughtUp: "b", wanted: 3, want: change{leave, ""}, away: "c"},
		"one is away, another lags":             {servers: append(vote("a", "b", "c"), Server{"d", false}), members: tables("a", "b", "c", "d"), caughtUp: "b", wanted: 3, want: change{leave, ""}, away: "c"},
		"one is away, another is ready":         {servers: append(vote("a", "b", "c"), Server{"d", false}), members: tables("a", "b", "c", "d"), caughtUp: "bd", wanted: 3, want: change{demote, "c"}, away: "c"},
		"then the other votes":                  {servers: append(vote("a", "b"), Server{"c", false}, Server{"d", false}), members: tables("a", "b", "c", "d"), caughtUp: "bd", wanted: 3, want: change{promote, "d"}, away: "c"},
		"one is silent, but not for long":       {servers: append(vote("a", "b", "c"), Server{"d", false}), members: tables("a", "b", "c", "d"), caughtUp: "bd", wanted: 3, want: change{leave, ""}},
		"a silent one without a vote stays":     {servers: append(vote("a", "b", "c"), Server{"d", false}), members: tables("a", "b", "c", "d"), caughtUp: "bc", wanted: 3, want: change{leave, ""}, away: "d"},
		"two are away, the rest is no majority": {servers: append(vote("a", "b", "c", "d"), Server{"e", false}), members: tables("a", "b", "c", "d", "e"), caughtUp: "e", wanted: 3, want: change{leave, ""}, away: "bcd"},
		"three instead of five":                 {servers: vote("a", "b", "c", "d", "e"), members: tables("a", "b", "c", "d", "e"), caughtUp: "bcde", wanted: 3, want: change{demote, "e"}},
		"the silent one first":                  {servers: vote("a", "b", "c", "d", "e"), members: tables("a", "b", "c", "d", "e"), caughtUp: "cde", wanted: 3, want: change{demote, "b"}},
		"then the neighbour of another":         {servers: vote("a", "b", "c", "d"), members: tables("a", "b", "c", "d"), caughtUp: "bcd", wanted: 3, want: change{demote, "b"}, places: map[string]string{"a": "x1", "b": "x1", "c": "x2", "d": "x3"}},
		"one instead of three":                  {servers: vote("a", "b", "c"), members: tables("a", "b", "c"), caughtUp: "bc", wanted: 1, want: change{demote, "c"}},
		"the leader stays":                      {servers: vote("b", "a"), members: tables("a", "b"), caughtUp: "b", wanted: 1, want: change{demote, "b"}},
		"whom too few would do without stays":   {servers: vote("a", "b", "c", "d", "e"), members: tables("a", "b", "c", "d", "e"), caughtUp: "b", wanted: 3, want: change{leave, ""}},
		"the one from another rack":             {servers: append(vote("a", "b"), Server{"c", false}, Server{"d", false}), members: tables("a", "b", "c", "d"), caughtUp: "bcd", wanted: 3, want: change{promote, "d"}, places: map[string]string{"a": "x1/c0", "b": "x2/c0", "c": "x1/c1", "d": "x3/c0"}},
		"the one from another chassis":          {servers: append(vote("a"), Server{"c", false}, Server{"d", false}), members: tables("a", "c", "d"), caughtUp: "cd", wanted: 3, want: change{promote, "d"}, places: map[string]string{"a": "x1/c0", "c": "x1/c0", "d": "x1/c1"}},
		"all is well":                           {vote("a", "b", "c"), tables("a", "b", "c"), "bc", 3, change{leave, ""}, "", nil},
		"no tables yet":                         {vote("a"), nil, "", 3, change{leave, ""}, "", nil},
		"a newcomer":                            {vote("a"), tables("a", "b"), "", 3, change{admit, "b"}, "", nil},
		"it lags":                               {append(vote("a"), Server{"b", false}), tables("a", "b"), "", 3, change{leave, ""}, "", nil},
		"it has caught up":                      {append(vote("a"), Server{"b", false}), tables("a", "b"), "b", 3, change{promote, "b"}, "", nil},
		"one at a time":                         {append(vote("a"), Server{"b", false}, Server{"c", false}), tables("a", "b", "c"), "bc", 3, change{promote, "b"}, "", nil},
		"the other one is ready":                {append(vote("a"), Server{"b", false}, Server{"c", false}), tables("a", "b", "c"), "c", 3, change{promote, "c"}, "", nil},
		"enough voters":                         {append(vote("a", "b", "c"), Server{"d", false}), tables("a", "b", "c", "d"), "d", 3, change{leave, ""}, "", nil},
		"a silent voter stays":                  {vote("a", "b", "c"), tables("a", "b", "c"), "", 3, change{leave, ""}, "", nil},
		"one has left":                          {vote("a", "b", "c"), tables("a", "b"), "b", 3, change{remove, "c"}, "", nil},
		"one of two has left":                   {vote("a", "b"), tables("a"), "b", 3, change{remove, "b"}, "", nil},
		"one has left, another has come":        {vote("a", "b"), tables("a", "c"), "", 3, change{admit, "c"}, "", nil},
		"its place is taken first":              {append(vote("a", "b", "c"), Server{"d", false}), tables("a", "b", "d"), "bd", 3, change{promote, "d"}, "", nil},
		"then it goes":                          {vote("a", "b", "c", "d"), tables("a", "b", "d"), "d", 3, change{remove, "c"}, "", nil},
		"one has left, another is silent":       {vote("a", "b", "c"), tables("a", "b"), "", 3, change{leave, ""}, "", nil},
		"this peer has left":                    {vote("a", "b"), tables("b"), "b", 3, change{handOver, "a"}, "", nil},
		"this peer has left, and one other":     {vote("a", "b", "c"), tables("b"), "b", 3, change{remove, "c"}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			caughtUp := func(id string) bool { return slices.Contains([]byte(c.caughtUp), id[0]) }
			s := scene{servers: c.servers, members: c.members, caughtUp: caughtUp, stable: caughtUp, alive: caughtUp, wanted: c.wanted, self: "a",
				away: func(id string) bool { return strings.Contains(c.away, id) }, place: func(id string) string { return c.places[id] }}
			if got := s.nextChange(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestVotersGrowToThreeAndNoFurther(t *testing.T) {
	h := newHouse(t, 3)
	began := time.Now()
	fourth := h.join()
	h.eventually(func() error {
		if len(h.leader().Servers()) != 4 {
			return errors.New("the fourth peer is not in raft's configuration")
		}
		return fourth.ReadIndex(t.Context())
	})
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the fourth peer took %s to take part", took)
	}
	if got := len(voters(h.leader().Servers())); got != 3 {
		t.Errorf("%d voters, want 3", got)
	}

	// A voter leaves: the row goes first, the leader takes it out of raft and
	// the peer that waited votes instead.
	leaves := h.followers()[0]
	if leaves == fourth {
		leaves = h.followers()[1]
	}
	h.leader().propose(command{ID: uuid.NewString(), Leaves: leaves.id}.bytes())
	h.eventually(func() error {
		servers := h.leader().Servers()
		if slices.Contains(voters(servers), leaves.id) || !slices.Contains(voters(servers), fourth.id) {
			return fmt.Errorf("the voters are %v; want %s in the place of %s", voters(servers), fourth.id, leaves.id)
		}
		return nil
	})
	h.eventually(func() error {
		if _, err := leaves.Propose(within(t, time.Second), set("x", "1")); err == nil {
			return errors.New("a peer that left can still propose")
		}
		return nil
	})
}

func TestLeaderThatLeavesHandsOverFirst(t *testing.T) {
	h := newHouse(t, 3)
	old := h.leader()
	old.propose(command{ID: uuid.NewString(), Leaves: old.id}.bytes())
	h.eventually(func() error {
		for _, p := range h.peers {
			if p != old && p.IsLeader() && len(p.Servers()) == 2 {
				return nil
			}
		}
		return errors.New("no other peer leads a cluster of two")
	})
}
