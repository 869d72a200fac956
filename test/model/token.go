package model

import (
	"time"

	"github.com/orchd/orchd/fsm"
)

// token is who may join: a token makes as many peers as it was made for.
func (m *Model) token(c Command, got fsm.Result) {
	var body struct {
		ID   string        `cbor:"1,keyasint"`
		TTL  time.Duration `cbor:"5,keyasint"`
		Uses int64         `cbor:"6,keyasint"`
	}
	if m.decoded(c, &body) && m.expect(c, got, "") {
		m.tokens[body.ID] = &token{uses: body.Uses, used: map[string]string{}, until: m.now.Add(body.TTL)}
	}
}

// join is a host that becomes a peer with a token.
func (m *Model) join(c Command, got fsm.Result) {
	var body struct {
		Token string `cbor:"1,keyasint"`
		Peer  struct {
			ID        string `cbor:"id"`
			PublicKey []byte `cbor:"public_key"`
		} `cbor:"3,keyasint"`
	}
	if !m.decoded(c, &body) {
		return
	}
	t := m.tokens[body.Token]
	switch key := string(body.Peer.PublicKey); {
	case t == nil, m.now.After(t.until):
		m.expect(c, got, unknownToken)
	case m.members[t.used[key]]: // the same newcomer
		if m.expect(c, got, "") && got.Key != t.used[key] {
			m.fault(c, "token %s has made peer %s of a host, and now %s", body.Token, t.used[key], got.Key)
		}
	case int64(len(t.used)) >= t.uses:
		m.expect(c, got, unknownToken)
	case m.expect(c, got, "", conflict):
		t.used[key], m.members[got.Key] = got.Key, true
	}
}
