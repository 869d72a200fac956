package model

import (
	"github.com/fxamacker/cbor/v2"

	"github.com/orchd/orchd/fsm"
)

// nodeText is what the model reads of a node in a command: its description.
type nodeText struct {
	Node struct {
		Description string `cbor:"10,keyasint"`
	} `cbor:"1,keyasint"`
}

// node is compare-and-set of nodes by version.
func (m *Model) node(c Command, got fsm.Result, is fsm.Reader) {
	if c.Type == createNodes {
		var body struct {
			Nodes []nodeText `cbor:"1,keyasint"`
		}
		if m.decoded(c, &body) && m.expect(c, got, "") && len(body.Nodes) == 1 {
			m.nodes[got.Key], m.texts[got.Key] = 1, body.Nodes[0].Node.Description
			m.compareNode(c, got.Key, is)
		}
		return
	}
	var body struct {
		ID        string   `cbor:"1,keyasint"`
		IfVersion uint64   `cbor:"2,keyasint"`
		Node      nodeText `cbor:"3,keyasint"`
	}
	if !m.decoded(c, &body) {
		return
	}
	version, there := m.nodes[body.ID]
	switch {
	case !there:
		m.expect(c, got, notFound)
	case body.IfVersion != 0 && body.IfVersion != version:
		m.expect(c, got, precondition)
	case m.expect(c, got, "") && c.Type == deleteNode:
		delete(m.nodes, body.ID)
	default:
		m.nodes[body.ID], m.texts[body.ID] = version+1, body.Node.Node.Description
	}
	m.compareNode(c, body.ID, is)
}

func (m *Model) compareNode(c Command, id string, is fsm.Reader) {
	n, there := is.ComputeNode(id)
	if version, should := m.nodes[id]; there != should || n.Version != version || should && n.Description != m.texts[id] {
		m.fault(c, "node %s is at version %d with %q, and should be at %d with %q", id, n.Version, n.Description, version, m.texts[id])
	}
}

// decoded reads a body as far as the model wants it.
func (m *Model) decoded(c Command, into any) bool {
	if err := cbor.Unmarshal(c.Body, into); err != nil {
		m.fault(c, "its body does not decode: %v", err)
		return false
	}
	return true
}
