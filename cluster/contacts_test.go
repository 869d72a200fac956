package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func after(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }

func TestLeadershipIsAsOldAsItsMajority(t *testing.T) {
	c := newContacts(time.Now)
	c.sent = map[string]sighting{"b": {after(1), 7}, "c": {after(5), 7}, "d": {after(8), 6}}
	for name, s := range map[string]struct {
		voters []string
		want   time.Time
	}{
		"alone":             {[]string{"a"}, after(9)},
		"the other of two":  {[]string{"a", "b"}, after(1)},
		"the better of two": {[]string{"a", "b", "c"}, after(5)},
		"two of four":       {[]string{"a", "b", "c", "x"}, after(1)},
		"another term":      {[]string{"a", "d", "x"}, time.Time{}},
		"nobody votes":      {nil, time.Time{}},
	} {
		if got := c.led(s.voters, "a", 7, after(9)); !got.Equal(s.want) {
			t.Errorf("%s: led until %v, want %v", name, got, s.want)
		}
	}
}

func TestStateIsCurrentOnceItHasWhatTheLeaderSaid(t *testing.T) {
	c := newContacts(time.Now)
	c.promised(after(1), 10, 9)
	if got := c.freshness(9); !got.IsZero() {
		t.Errorf("behind the leader it is current as of %v", got)
	}
	if got := c.freshness(10); !got.Equal(after(1)) {
		t.Errorf("with the leader's entries it is current as of %v, want %v", got, after(1))
	}
	c.promised(after(2), 12, 11)
	if got := c.freshness(11); !got.Equal(after(1)) {
		t.Errorf("behind again it is current as of %v, want %v", got, after(1))
	}
	c.confirmed(after(4))
	c.confirmed(after(3))
	if got := c.freshness(12); !got.Equal(after(4)) {
		t.Errorf("after a read it is current as of %v, want %v", got, after(4))
	}
}

func TestClockErrorIsFromTheMedian(t *testing.T) {
	c := newContacts(time.Now)
	offset := func(id string, seconds int, reachable bool) {
		c.peers[id] = Contact{Offset: time.Duration(seconds) * time.Second, Reachable: reachable}
	}
	offset("b", -70, true)
	offset("c", -71, true)
	offset("d", 500, false)
	if got, ok := c.clockError([]string{"a", "b", "c", "d"}, "a"); !ok || got != 70*time.Second {
		t.Errorf("ahead by %v, %v; want 70s", got, ok)
	}
	if got, ok := c.clockError([]string{"a", "b", "d"}, "a"); ok {
		t.Errorf("of two clocks one was called right: %v", got)
	}
}

func TestPingsTellOfEachOther(t *testing.T) {
	h := newHouse(t, 3, func(c *Config) {
		id := c.Identity.PeerID
		c.Report = func() json.RawMessage { return json.RawMessage(fmt.Sprintf("%q", id)) }
	})
	leader, others := h.leader(), h.followers()
	h.eventually(func() error {
		for _, o := range others {
			c := leader.Contacts()[o.id]
			if !c.Reachable || string(c.Report) != fmt.Sprintf("%q", o.id) || c.Applied != leader.machine.Index() || c.Term != leader.raft.CurrentTerm() {
				return fmt.Errorf("the leader knows %+v of %s", c, o.identity.Name)
			}
			if c.Offset.Abs() > time.Second {
				return fmt.Errorf("%s, on the same clock, is off by %s", o.identity.Name, c.Offset)
			}
			if age := o.Age(); age > 3*time.Second {
				return fmt.Errorf("%s is %s old", o.identity.Name, age)
			}
		}
		return leader.Quorum()
	})
	others[0].kill()
	h.eventually(func() error {
		if c := leader.Contacts()[others[1].id]; len(c.Unreachable) != 1 || c.Unreachable[0] != others[0].id {
			return fmt.Errorf("%s cannot reach %v", others[1].identity.Name, c.Unreachable)
		}
		if leader.Contacts()[others[0].id].Reachable {
			return errors.New("a dead peer is reachable")
		}
		return nil
	})
}

func TestStuckPeerIsTold(t *testing.T) {
	h := newHouse(t, 3)
	leader, stuck := h.leader(), h.followers()[0]
	stuck.machine.hold.Lock()
	if _, err := leader.Propose(t.Context(), set("a", "1")); err != nil {
		t.Fatal(err)
	}
	var since time.Time
	h.eventually(func() error {
		c := leader.Contacts()[stuck.id]
		if since = c.StuckSince; since.IsZero() || !c.HeardAt.After(since.Add(time.Second)) {
			return fmt.Errorf("%s applies nothing, which is not told: %+v", stuck.identity.Name, c)
		}
		return nil
	})
	if c := leader.Contacts()[h.followers()[1].id]; !c.StuckSince.IsZero() {
		t.Errorf("a peer that lacks nothing is stuck since %v", c.StuckSince)
	}
	stuck.machine.hold.Unlock()
	h.eventually(func() error {
		if c := leader.Contacts()[stuck.id]; !c.StuckSince.IsZero() || c.Applied < leader.machine.Index() {
			return fmt.Errorf("%s has applied what it lacked, and is said to be stuck: %+v", stuck.identity.Name, c)
		}
		return nil
	})
}

func TestStuckIsWhoAnswersAndLacksSomething(t *testing.T) {
	now := after(0)
	c := newContacts(func() time.Time { return now })
	for i, s := range []struct {
		what          string
		applied, have uint64 // 0 and 0: no answer
		stuck         bool
	}{
		{"lacks one", 9, 10, true}, {"the same", 9, 11, true}, {"progress", 10, 12, true}, {"nothing lacks", 12, 12, false},
		{"lacks something again", 12, 13, true}, {"no answer", 0, 0, false}, {"an answer again", 12, 13, true},
	} {
		now = after(i)
		if s.have == 0 {
			c.missed("b", false)
		} else {
			c.heard("b", now, pingAnswer{Applied: s.applied}, s.have)
		}
		if got := c.all()["b"].StuckSince; got.IsZero() == s.stuck {
			t.Errorf("%s: stuck since %v", s.what, got)
		}
	}
	if got := c.all()["b"].StuckSince; !got.Equal(after(6)) {
		t.Errorf("stuck since %v, want since the last answer, %v", got, after(6))
	}
	c.heard("b", after(7), pingAnswer{Applied: 12}, 14)
	if got := c.all()["b"].StuckSince; !got.Equal(after(6)) {
		t.Errorf("without progress stuck since %v, want still %v", got, after(6))
	}
}

func TestLeaderWithAWrongClockHandsOver(t *testing.T) {
	ahead := map[string]bool{} // by name; read when a peer's configuration is made
	ahead["h1"] = true
	h := newHouse(t, 3, func(c *Config) {
		if ahead[c.Identity.Name] {
			c.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
		}
	})
	h.eventually(func() error {
		leader := h.leader()
		if leader == h.peers[0] {
			return errors.New("the peer whose clock is two minutes ahead still leads")
		}
		if skew, known := h.peers[0].ClockError(); !known || (skew-2*time.Minute).Abs() > 5*time.Second {
			return fmt.Errorf("it is said to be ahead by %s, %v", skew, known)
		}
		return nil
	})
}
