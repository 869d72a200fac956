package peer

import (
	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// foundRow is a row that a read found, or the failure of not finding it.
func foundRow[T any](row T, ok bool, op, missing string) (T, error) {
	if !ok {
		return row, api.Errorf(api.NotFound, op, "%s", missing)
	}
	return row, nil
}

func (v view) ComputeNode(ref string) (inventory.ComputeNode, error) {
	n, ok := v.Reader.ComputeNode(ref)
	return foundRow(n, ok, "node", "node not found")
}

func (v view) BMC(ref string) (inventory.BMC, error) {
	b, ok := v.Reader.BMC(ref)
	return foundRow(b, ok, "bmc", "BMC not found")
}

func (v view) Collection(ref string) (inventory.NodeCollection, error) {
	c, ok := v.Reader.Collection(ref)
	return foundRow(c, ok, "collection", "Collection not found")
}

func (v view) Network(ref string) (api.Network, error) {
	n, ok := v.Reader.Network(ref)
	return foundRow(n, ok, "network", "no such network")
}
