package cluster

import (
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// demoted is a configuration in which the test's leader has no vote.
var demoted = raft.Configuration{Servers: []raft.Server{{ID: "me", Address: "me"}, {Suffrage: raft.Nonvoter, ID: "leader", Address: "leader"}}}

// elects tells whether a follower would vote for the other peer, and does.
func (f *follower) elects(term, lastTerm, last uint64) (would, does bool) {
	f.t.Helper()
	var first raft.RequestPreVoteResponse
	must(f.t, f.leader.RequestPreVote("me", "me", &raft.RequestPreVoteRequest{RPCHeader: f.header(), Term: term, LastLogTerm: lastTerm, LastLogIndex: last}, &first))
	var then raft.RequestVoteResponse
	must(f.t, f.leader.RequestVote("me", "me", &raft.RequestVoteRequest{RPCHeader: f.header(), Term: term, LastLogTerm: lastTerm, LastLogIndex: last}, &then))
	return first.Granted, then.Granted
}

// TestVoteForAVoterThatThisPeerDoesNotKnow: where the last change of voters has not come here,
// the log decides. Raft by itself refuses, and with a log that is no newer so does this peer.
func TestVoteForAVoterThatThisPeerDoesNotKnow(t *testing.T) {
	for _, ours := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFollower(t, ours)
			change := &raft.Log{Index: 2, Term: 2, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(demoted)}
			if !f.hears(2, 0, 0, 2, append([]*raft.Log{change}, ofTerm(3, 5, 2)...)...) {
				t.Fatal("the entries were refused")
			}
			for _, c := range []struct {
				what                 string
				term, lastTerm, last uint64
				newer                bool
			}{
				{"an older log", 4, 2, 4, false},
				{"the same log", 5, 2, 5, false},
				{"a longer log", 6, 2, 6, true},
				{"a log of a later term", 7, 3, 3, true},
			} {
				would, does := f.elects(c.term, c.lastTerm, c.last)
				if want := c.newer && ours; does != want {
					t.Errorf("ours %t, %s: the vote is given: %t, want %t", ours, c.what, does, want)
				}
				if want := c.lastTerm > 2 || c.last > 5; would != (want && ours) {
					t.Errorf("ours %t, %s: the vote would be given: %t, want %t", ours, c.what, would, want && ours)
				}
			}
		})
	}
}
