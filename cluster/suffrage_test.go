package cluster

import (
	"errors"
	"fmt"
	"slices"
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
	}{
		"all is well":                       {vote("a", "b", "c"), tables("a", "b", "c"), "bc", 3, change{leave, ""}},
		"no tables yet":                     {vote("a"), nil, "", 3, change{leave, ""}},
		"a newcomer":                        {vote("a"), tables("a", "b"), "", 3, change{admit, "b"}},
		"it lags":                           {append(vote("a"), Server{"b", false}), tables("a", "b"), "", 3, change{leave, ""}},
		"it has caught up":                  {append(vote("a"), Server{"b", false}), tables("a", "b"), "b", 3, change{promote, "b"}},
		"one at a time":                     {append(vote("a"), Server{"b", false}, Server{"c", false}), tables("a", "b", "c"), "bc", 3, change{promote, "b"}},
		"the other one is ready":            {append(vote("a"), Server{"b", false}, Server{"c", false}), tables("a", "b", "c"), "c", 3, change{promote, "c"}},
		"enough voters":                     {append(vote("a", "b", "c"), Server{"d", false}), tables("a", "b", "c", "d"), "d", 3, change{leave, ""}},
		"a silent voter stays":              {vote("a", "b", "c"), tables("a", "b", "c"), "", 3, change{leave, ""}},
		"one has left":                      {vote("a", "b", "c"), tables("a", "b"), "b", 3, change{remove, "c"}},
		"one of two has left":               {vote("a", "b"), tables("a"), "b", 3, change{remove, "b"}},
		"one has left, another has come":    {vote("a", "b"), tables("a", "c"), "", 3, change{admit, "c"}},
		"its place is taken first":          {append(vote("a", "b", "c"), Server{"d", false}), tables("a", "b", "d"), "bd", 3, change{promote, "d"}},
		"then it goes":                      {vote("a", "b", "c", "d"), tables("a", "b", "d"), "d", 3, change{remove, "c"}},
		"one has left, another is silent":   {vote("a", "b", "c"), tables("a", "b"), "", 3, change{leave, ""}},
		"this peer has left":                {vote("a", "b"), tables("b"), "b", 3, change{handOver, "a"}},
		"this peer has left, and one other": {vote("a", "b", "c"), tables("b"), "b", 3, change{remove, "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			caughtUp := func(id string) bool { return slices.Contains([]byte(c.caughtUp), id[0]) }
			s := scene{c.servers, c.members, caughtUp, caughtUp, c.wanted, "a"}
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
