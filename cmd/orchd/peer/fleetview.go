package peer

import (
	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// found is a row that a read found, or the failure of not finding it.
func found[T any](row T, ok bool, op, missing string) (T, error) {
	if !ok {
		return row, api.Errorf(api.NotFound, op, "%s", missing)
	}
	return row, nil
}

func (v view) ComputeNode(ref string) (inventory.ComputeNode, error) {
	n, ok := v.Reader.ComputeNode(ref)
	return found(n, ok, "node", "node not found")
}

func (v view) BMC(ref string) (inventory.BMC, error) {
	b, ok := v.Reader.BMC(ref)
	return found(b, ok, "bmc", "BMC not found")
}

func (v view) Collection(ref string) (inventory.NodeCollection, error) {
	c, ok := v.Reader.Collection(ref)
	return found(c, ok, "collection", "Collection not found")
}

func (v view) Network(ref string) (api.Network, error) {
	n, ok := v.Reader.Network(ref)
	return found(n, ok, "network", "no such network")
}
