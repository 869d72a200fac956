package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestTransferToAPeer: each voter in turn is asked to lead, and each time another peer is
// asked for it, while commands go through every peer. None fails, and none is lost.
func TestTransferToAPeer(t *testing.T) {
	h := newHouse(t, 3)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	acked := make([][]string, len(h.peers))
	for i, p := range h.peers {
		writers.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				key := fmt.Sprintf("%d-%d", i, k)
				if _, err := p.Propose(t.Context(), set(key, "v")); err != nil {
					t.Errorf("a command through %s is refused: %v", p.identity.Name, err)
					return
				}
				acked[i] = append(acked[i], key)
			}
		})
	}
	for round := range 3 * len(h.peers) {
		to, via := h.peers[round%len(h.peers)], h.peers[(round/len(h.peers)+round)%len(h.peers)]
		if h.leader() == to {
			continue
		}
		must(t, via.TransferLeadership(t.Context(), to.id))
		if leader, _ := via.Leader(); leader != to.id {
			t.Fatalf("%s was to lead, and %s sees %s", to.identity.Name, via.identity.Name, via.nameOf(leader))
		}
	}
	stop()
	writers.Wait()
	for i, keys := range acked {
		if len(keys) == 0 {
			t.Errorf("no command went through %s", h.peers[i].identity.Name)
		}
	}
	h.eventually(func() error {
		for _, p := range h.peers {
			for _, keys := range acked {
				for _, key := range keys {
					if p.machine.get(key) == "" {
						return fmt.Errorf("%s lacks %s, which was acknowledged", p.identity.Name, key)
					}
				}
			}
		}
		return nil
	})
}

// TestTransferThatCannotBe: each reason has its sentence, at once, and who leads goes on.
func TestTransferThatCannotBe(t *testing.T) {
	h := newHouse(t, 4)
	leader := h.leader()
	var voter, other *peer
	for _, p := range h.followers() {
		for _, s := range leader.Servers() {
			switch {
			case s.ID == p.id && s.Voter:
				voter = p
			case s.ID == p.id:
				other = p
			}
		}
	}
	refused := func(to, sentence string) {
		t.Helper()
		for _, via := range []*peer{leader, voter} {
			if !via.running {
				continue
			}
			err := via.TransferLeadership(t.Context(), to)
			wantKind(t, err, api.Conflict)
			if err != nil && !strings.Contains(err.Error(), sentence) {
				t.Errorf("through %s: %v, want it to say %q", via.identity.Name, err, sentence)
			}
		}
		if h.leader() != leader {
			t.Errorf("after that %s leads", h.leader().identity.Name)
		}
	}
	refused(leader.id, "leads already")
	refused(other.id, "is no voter")
	refused("nobody", "is no voter")
	voter.close()
	refused(voter.id, "does not answer")
	must(t, leader.TransferLeadership(t.Context(), "")) // to the one that is left
	if now := h.leader(); now == leader || now == other {
		t.Errorf("%s leads now", now.identity.Name)
	}
}

// TestTransferAskedOfWhoIsBehind: a peer that still sees the wanted one lead, which does so no
// more, does not refuse for that. It looks who does.
func TestTransferAskedOfWhoIsBehind(t *testing.T) {
	h := newHouse(t, 3)
	var was, behind *peer
	for sees := ""; was == nil || sees != was.id; { // it gives up who led a second after the cut
		if behind != nil {
			h.heal(behind)
		}
		was, behind = h.leader(), h.followers()[1]
		h.cutOff(behind)
		must(t, was.TransferLeadership(t.Context(), h.followers()[0].id))
		sees, _ = behind.Leader()
	}
	done := make(chan error)
	go func() { done <- behind.TransferLeadership(t.Context(), was.id) }()
	h.heal(behind)
	must(t, <-done)
	h.eventually(func() error {
		if now := h.leader(); now != was {
			return fmt.Errorf("%s leads", now.identity.Name)
		}
		return nil
	})
}

// TestTransferPassesOverTheSilent: raft itself would choose a voter by its log alone, also
// one that is gone, and refuse commands meanwhile.
func TestTransferPassesOverTheSilent(t *testing.T) {
	h := newHouse(t, 3)
	leader := h.leader()
	silent, heir := h.followers()[0], h.followers()[1]
	h.cutOff(silent)
	if got, err := leader.heir(t.Context(), ""); err != nil || got != heir.id {
		t.Errorf("the heir is %q, %v; want %s", got, err, heir.id)
	}
	h.cutOff(heir)
	if _, err := leader.heir(t.Context(), ""); err == nil || !api.IsKind(err, api.Conflict) {
		t.Errorf("with nobody there: %v", err)
	}
	h.heal(silent)
	h.heal(heir)
	h.eventually(func() error {
		if _, err := h.leader().heir(t.Context(), ""); err != nil {
			return errors.Join(errors.New("nobody is there again"), err)
		}
		return nil
	})
}

// TestHinderedPeersDoNotLead: who leads hands over when something hinders it, does not
// campaign while others can, and leads when all are hindered alike.
func TestHinderedPeersDoNotLead(t *testing.T) {
	var mu sync.Mutex
	hindered := map[string]bool{}
	h := newHouse(t, 3, func(c *Config) {
		c.Hindered = func(id string) string {
			mu.Lock()
			defer mu.Unlock()
			if hindered[id] {
				return "its disk is nearly full"
			}
			return ""
		}
	})
	hinder := func(p *peer, is bool) {
		mu.Lock()
		defer mu.Unlock()
		hindered[p.id] = is
	}
	first := h.leader()
	hinder(first, true)
	h.eventually(func() error {
		if first.IsLeader() {
			return errors.New("it leads on")
		}
		return nil
	})
	second := h.leader()
	if second == first {
		t.Fatal("it leads again")
	}
	err := second.TransferLeadership(t.Context(), first.id)
	if wantKind(t, err, api.Conflict); err != nil && !strings.Contains(err.Error(), "its disk is nearly full") {
		t.Errorf("asked to lead all the same: %v", err)
	}
	if !first.standsBack() {
		t.Error("it would campaign while others can lead")
	}
	// Of two that are left, the one that is hindered does not campaign.
	third := h.peers[slices.IndexFunc(h.peers, func(p *peer) bool { return p != first && p != second })]
	second.close()
	if now := h.leader(); now != third {
		t.Errorf("%s leads now, want %s", now.identity.Name, third.identity.Name)
	}
	// When nobody else can, the cluster is not left without a leader.
	hinder(third, true)
	h.eventually(func() error {
		if first.standsBack() || third.standsBack() {
			return errors.New("all stand back, and nobody leads")
		}
		return nil
	})
	third.propose(set("a", "1"))
}

// The only voter keeps the lead, and says at once that there is nobody else.
func TestTransferFromTheOnlyVoter(t *testing.T) {
	h := newHouse(t, 1)
	err := h.leader().TransferLeadership(t.Context(), "")
	wantKind(t, err, api.Conflict)
	if err != nil && !strings.Contains(err.Error(), "there is no other voter") {
		t.Errorf("got %v", err)
	}
}
