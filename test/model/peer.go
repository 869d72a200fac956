package model

import (
	"strings"

	"github.com/orchd/orchd/fsm"
)

// peer is who belongs to the cluster: whoever began it or joined, until it is removed.
func (m *Model) peer(c Command, got fsm.Result) {
	switch c.Type {
	case initCluster:
		if m.expect(c, got, "", conflict) {
			m.members[got.Key] = true
		}
	case joinPeer:
		m.join(c, got)
	case updatePeer:
		if !m.byMember(c) {
			m.expect(c, got, forbidden)
		}
	case removePeer:
		m.remove(c, got)
	}
}

func (m *Model) remove(c Command, got fsm.Result) {
	var body struct {
		ID string `cbor:"1,keyasint"`
	}
	switch {
	case !m.decoded(c, &body):
	case !m.members[body.ID]:
		m.expect(c, got, notFound)
	case m.expect(c, got, "", conflict):
		delete(m.members, body.ID)
	}
}

// byMember tells whether a command is a peer's that belongs to the cluster: one that was
// removed while it led may still have asked for something.
func (m *Model) byMember(c Command) bool { return m.members[peerOf(c)] }

// peerOf is the id of the peer that a command is by; empty for anybody else.
func peerOf(c Command) string {
	if id, is := strings.CutPrefix(c.Actor.ID, "peer:"); is {
		return id
	}
	return ""
}
