package server

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/schema"
)

var collectionKind = inventoryKind[inventory.NodeCollection]{
	kind: "collection", noun: "Collection",
	named:   func(string) bool { return true }, // a name may be any text
	made:    http.StatusCreated,
	taken:   http.StatusBadRequest,
	decode:  schema.DecodeCollection,
	find:    InventoryView.Collection,
	rows:    collectionsWanted,
	create:  InventoryWrites.CreateCollection,
	replace: InventoryWrites.ReplaceCollection,
	remove: func(w InventoryWrites, ctx context.Context, id string, ifVersion uint64) (Done[inventory.DeletedNode], error) {
		return deletedPlain(w.DeleteCollection(ctx, id, ifVersion))
	},
	shown: shownCollection,
	head:  func(c *inventory.NodeCollection) (*string, uint64) { return &c.ID, c.Version },
}

// collectionsWanted are all collections, or those that list the xname ?node=.
func collectionsWanted(v InventoryView, q url.Values, after string) (iter.Seq[inventory.NodeCollection], error) {
	if !q.Has("node") {
		return v.Collections(after), nil
	}
	if len(q["node"]) > 1 {
		return nil, badParameter("/query/node", "expected once")
	}
	of := slices.SortedFunc(v.CollectionsOf(q.Get("node")), func(a, b inventory.NodeCollection) int { return strings.Compare(a.ID, b.ID) })
	first, _ := slices.BinarySearchFunc(of, after+"\x00", func(c inventory.NodeCollection, id string) int { return strings.Compare(c.ID, id) })
	return slices.Values(of[first:]), nil
}

// shownCollection is a collection as answers have it: without its secrets, and
// with a list of nodes even when that is empty.
func shownCollection(c inventory.NodeCollection) inventory.NodeCollection {
	c.CloudInit = nil
	if c.Nodes == nil {
		c.Nodes = []string{}
	}
	return c
}
