package fsm

import (
	"context"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/xname"
)

// collectionMember is a node that comes to a collection, or leaves it. It is a command
// of its own, so that those who add nodes at the same time are not in each other's way,
// and so that a node that comes to ten thousand others is not ten thousand in the log.
type collectionMember struct {
	Collection string `cbor:"1,keyasint"` // its id
	Node       string `cbor:"2,keyasint"` // xname
	Leaves     bool   `cbor:"3,keyasint,omitempty"`
}

func applyCollectionMember(tx *Txn, m collectionMember) (object, error) {
	const op = "collection.member"
	if err := tx.may(api.Update, op, api.Object{Kind: "collection"}); err != nil {
		return nothing, err
	}
	c, err := tx.collectionAt(op, m.Collection, 0)
	if err != nil {
		return nothing, err
	}
	if m.Leaves {
		c.Nodes, err = c.without(op, m.Node)
	} else {
		c.Nodes, err = c.with(tx, op, m.Node)
	}
	if err != nil {
		return nothing, err
	}
	c.Version++
	c.UpdatedAt = tx.Now
	collections.put(tx, c)
	return nothing, nil
}

// with is the nodes of a collection and one more behind them, if it may be in it.
func (c collection) with(tx *Txn, op, node string) ([]string, error) {
	one := c
	one.Nodes = []string{node}
	if err := one.faults(op); err != nil {
		return nil, err
	}
	if err := tx.territory(op, node); err != nil {
		return nil, err
	}
	for other := range collections.all(tx.Reader, "node", xname.Canonical(node)) {
		if other.ID == c.ID {
			return nil, api.Errorf(api.Conflict, op, "the component is a member already")
		}
	}
	if err := tx.unassigned(op, one); err != nil {
		return nil, err
	}
	return slices.Concat(c.Nodes, one.Nodes), nil
}

// without is the nodes of a collection but one.
func (c collection) without(op, node string) ([]string, error) {
	key := xname.Canonical(node)
	at := slices.IndexFunc(c.Nodes, func(x string) bool { return xname.Canonical(x) == key })
	if at < 0 {
		return nil, api.Errorf(api.NotFound, op, "the component is no member")
	}
	return slices.Concat(c.Nodes[:at], c.Nodes[at+1:]), nil
}

// AddMember puts a node, by its xname, into a collection; Conflict when it is in it, or
// in another that holds its nodes for itself.
func (w *Writer) AddMember(ctx context.Context, collection, node string) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, changeMember, collectionMember{Collection: collection, Node: node})
}

// RemoveMember takes a node out of a collection; NotFound when it is not in it.
func (w *Writer) RemoveMember(ctx context.Context, collection, node string) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, changeMember, collectionMember{collection, node, true})
}
