package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/orchd/orchd/api"
)

// suffrageTick is how often the leader compares raft's configuration with the tables.
const suffrageTick = 250 * time.Millisecond

// How many answers in a row must show that a peer has caught up before it gets a
// vote, and before somebody else loses one for it.
const (
	nearPings   = 2
	stablePings = 10
)

// awayTime is how long a voter is silent before a peer that is there may have its vote.
const awayTime = 10 * time.Minute

// verb is what to do about raft's configuration.
type verb string

const (
	leave    verb = "leave"     // nothing to do
	admit    verb = "admit"     // a member gets the log, without a vote
	promote  verb = "promote"   // a member that has caught up gets a vote
	demote   verb = "demote"    // a voter becomes one who only gets the log
	remove   verb = "remove"    // a peer that has left gets nothing more
	handOver verb = "hand over" // this peer has left: another must lead
)

// change is one step; raft takes one at a time.
type change struct {
	Verb verb   `json:"verb"`
	ID   string `json:"id"`
}

// scene is what the leader looks at.
type scene struct {
	servers  []Server             // raft's configuration
	members  map[string]Member    // the tables
	caughtUp func(id string) bool // it is there and has almost all of the log
	stable   func(id string) bool // it has for a while
	alive    func(id string) bool // it answers
	away     func(id string) bool // it has not answered for awayTime
	place    func(id string) string
	wanted   int // voters
	self     string
}

// nextChange compares raft's configuration with the tables. It removes only whom
// the tables say has left: silence is no reason, and gossip is not asked. A voter
// that leaves is replaced first where it can be.
//
// A voter that is away loses its vote only when another peer is ready to take it, and
// loses it first: with {a, b, c away} and d in reserve, {a, b} and then {a, b, d} can do
// without d at every step, {a, b, c, d} could not. To take a vote from one who is away
// never leaves fewer voters to spare than there were.
//
// This is all that raft-autopilot would do here. With its own rules off (they make
// everybody a voter, and remove who is silent) what is left of it is a loop around a
// promoter that we write anyway; a pure function can be tried on any scene there is.
func (s scene) nextChange() change {
	if len(s.members) == 0 {
		return change{Verb: leave} // the first peer has not been written down yet
	}
	for _, id := range slices.Sorted(maps.Keys(s.members)) {
		if !slices.ContainsFunc(s.servers, func(o Server) bool { return o.ID == id }) {
			return change{admit, id}
		}
	}
	if len(s.staying()) < s.wanted {
		if id := s.candidate(s.caughtUp); id != "" {
			return change{promote, id}
		}
	}
	for _, o := range s.servers {
		if s.left(o.ID) && o.ID != s.self && s.removable(o.ID) {
			return change{remove, o.ID}
		}
	}
	if s.left(s.self) {
		return change{handOver, s.self}
	}
	if id := s.dispensable(); id != "" {
		return change{demote, id}
	}
	return change{Verb: leave}
}

// staying are the voters that belong to the cluster.
func (s scene) staying() []string { return slices.DeleteFunc(voters(s.servers), s.left) }

// candidate is who of those that are fit should vote next: one that stands apart from
// the other voters. Empty: nobody is fit.
func (s scene) candidate(fit func(id string) bool) (best string) {
	least := math.MaxInt
	for _, o := range s.servers {
		if o.Voter || s.left(o.ID) || !fit(o.ID) {
			continue
		}
		if n := s.crowd(o.ID); n < least {
			best, least = o.ID, n
		}
	}
	return best
}

// crowd is how close a peer stands to the voters: one for each part of its place that
// it shares with one that is not away.
func (s scene) crowd(id string) (n int) {
	own := strings.Split(s.place(id), "/")
	for _, v := range s.staying() {
		if v == id || s.away(v) || own[0] == "" {
			continue
		}
		for k, part := range strings.Split(s.place(v), "/") {
			if k == len(own) || own[k] != part {
				break
			}
			n++
		}
	}
	return n
}

// dispensable is the voter that is to lose its vote: because there are too many, or it
// is away and another is ready. Never this peer, which leads, and nobody without
// whom too few would answer. Empty: none.
func (s scene) dispensable() (worst string) {
	staying := s.staying()
	many := len(staying) > s.wanted
	if len(staying) < s.wanted || !many && s.candidate(s.stable) == "" {
		return ""
	}
	most := -1
	for _, id := range staying {
		if id == s.self || !many && !s.away(id) || !s.removable(id) {
			continue
		}
		n := s.crowd(id)
		switch { // who is silent is missed least
		case s.away(id):
			n += 2 << 20
		case !s.alive(id):
			n += 1 << 20
		}
		if n >= most { // of equals the one that comes last in raft's configuration
			worst, most = id, n
		}
	}
	return worst
}

func (s scene) stays(id string) bool {
	_, ok := s.members[id]
	return ok
}

func (s scene) left(id string) bool { return !s.stays(id) }

// removable tells whether a majority of the voters that remain is alive.
// Without one raft could not even finish the removal, nor anything after it.
func (s scene) removable(id string) bool {
	remain := slices.DeleteFunc(voters(s.servers), func(v string) bool { return v == id })
	alive := 0
	for _, v := range remain {
		if v == s.self || s.alive(v) {
			alive++
		}
	}
	return alive > len(remain)/2
}

// scene is how things stand now.
func (n *Node) scene() scene {
	seen, now := n.contacts.all(), n.cfg.Now()
	return scene{
		servers: n.Servers(), members: n.book.inTables(), wanted: n.cfg.VotersWanted(), self: n.id,
		caughtUp: func(id string) bool { return seen[id].Reachable && seen[id].near >= nearPings },
		stable:   func(id string) bool { return seen[id].Reachable && seen[id].near >= stablePings },
		alive:    func(id string) bool { return seen[id].Reachable },
		away:     func(id string) bool { return id != n.id && seen[id].isAway(now) },
		place:    n.cfg.Place,
	}
}

// suffrageLoop keeps raft's configuration as the tables want it, while this peer leads.
func (n *Node) suffrageLoop() {
	n.WhileLeader(n.ctx, func(ctx context.Context) error {
		tick := time.NewTicker(suffrageTick)
		defer tick.Stop()
		for {
			changed := n.book.changed.wait()
			c := n.scene().nextChange()
			if err := n.apply(ctx, c); err != nil && ctx.Err() == nil {
				n.log.Warn("raft's configuration was not changed; tried again", "verb", string(c.Verb), "peer", c.ID, "err", err)
			}
			select {
			case <-tick.C:
			case <-changed:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// apply makes one change as the leader.
func (n *Node) apply(ctx context.Context, c change) error {
	id, address := raft.ServerID(c.ID), raft.ServerAddress(c.ID)
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ProposeTimeout)
	defer cancel()
	var f raft.Future
	switch c.Verb {
	case leave:
		return nil
	case handOver:
		return n.stepAside(ctx, "")
	case admit:
		n.shortenLog(ctx)
		f = n.raft.AddNonvoter(id, address, 0, n.cfg.ProposeTimeout)
	case promote:
		f = n.raft.AddVoter(id, address, 0, n.cfg.ProposeTimeout)
	case remove, demote:
		if !n.scene().removable(c.ID) {
			return api.Errorf(api.Conflict, "cluster.suffrage", "without peer %s no majority of the remaining voters would answer: bring one of the silent ones back, or add a peer, first", c.ID)
		}
		out := n.raft.RemoveServer
		if c.Verb == demote {
			out = n.raft.DemoteVoter
		}
		f = out(id, 0, n.cfg.ProposeTimeout)
	default:
		return api.Errorf(api.Invalid, "cluster.suffrage", "there is no change %q", c.Verb)
	}
	if err := n.await(ctx, f); err != nil {
		return fmt.Errorf("%s peer %s: %w", c.Verb, c.ID, err)
	}
	n.log.Info("raft's configuration changed", "verb", string(c.Verb), "peer", c.ID)
	return nil
}

// AddPeer lets a peer receive the log, without a vote; the leader gives it one
// when it has caught up and voters are wanted. Any peer may be asked. The leader
// does the same by itself for every peer in the tables.
func (n *Node) AddPeer(ctx context.Context, id string) error {
	return n.changeSuffrage(ctx, change{admit, id})
}

// RemovePeer takes a peer out of raft. Its row must say that it left, or the
// leader adds it again. A leader that is to be removed hands leadership over first.
func (n *Node) RemovePeer(ctx context.Context, id string) error {
	return n.changeSuffrage(ctx, change{remove, id})
}

// changeSuffrage brings a change to the leader and waits out an election.
func (n *Node) changeSuffrage(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ProposeTimeout)
	defer cancel()
	for {
		turned := n.turn.wait()
		err := n.offerChange(ctx, c)
		if err == nil || !retryable(err) {
			return err
		}
		select {
		case <-turned:
		case <-time.After(retryPause):
		case <-ctx.Done():
			return api.Errorf(api.Unavailable, "cluster.suffrage", "no leader could %s peer %s: %w", c.Verb, c.ID, err)
		}
	}
}

func (n *Node) offerChange(ctx context.Context, c change) error {
	leader, _ := n.Leader()
	switch {
	case leader == "":
		return errors.New("no leader is in sight")
	case leader == n.id && c.Verb == remove && c.ID == n.id:
		if err := n.stepAside(ctx, ""); err != nil {
			return err
		}
		return errNotLeader // the next one removes us
	case leader == n.id:
		return n.apply(ctx, c)
	}
	_, err := exchange[change](ctx, n, leader, "/peer/suffrage", c)
	return err
}

// serveSuffrage makes a change that another peer passes on.
func (n *Node) serveSuffrage(r *http.Request) (any, error) {
	var c change
	if err := read(r, &c); err != nil {
		return nil, err
	}
	if c.Verb != admit && c.Verb != remove {
		return nil, api.Errorf(api.Invalid, "cluster.suffrage", "peers may ask to admit or to remove, not to %q", c.Verb)
	}
	leader, _ := n.Leader()
	if leader != n.id {
		return nil, errNotLeader
	}
	if err := n.offerChange(r.Context(), c); err != nil && !retryable(err) {
		return nil, err
	} else if err != nil {
		return nil, api.Errorf(api.Unavailable, "cluster.suffrage", "the leader could not %s peer %s: %w", c.Verb, c.ID, err)
	}
	return c, nil
}
