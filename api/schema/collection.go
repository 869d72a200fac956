package schema

import (
	"time"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// collectionTypeNames are the values of NodeCollection.type.
var collectionTypeNames = []string{
	string(inventory.AdHoc), string(inventory.Tenant), string(inventory.Job), string(inventory.Partition),
}

var nodeCollection = fields[inventory.NodeCollection]{
	{"id", readOnly | isUUID, "Given by the server", text(func(c *inventory.NodeCollection) *string { return &c.ID })},
	{"name", required | notEmpty, "Unique; any characters", text(func(c *inventory.NodeCollection) *string { return &c.Name })},
	{"type", required | notEmpty | isCollectionType, "A node is in at most one tenant and at most one partition; job and ad-hoc overlap freely",
		text(func(c *inventory.NodeCollection) *inventory.CollectionType { return &c.Type })},
	{"nodes", required, "Their xnames; they need not exist yet",
		texts(func(c *inventory.NodeCollection) *[]string { return &c.Nodes }, xname.ValidComponent)},
	{"description", 0, "For people", text(func(c *inventory.NodeCollection) *string { return &c.Description })},
	{"creator_subject", readOnly, "The subject of the token that made it", text(func(c *inventory.NodeCollection) *string { return &c.CreatorSubject })},
	{"cloud_init_data", writeOnly, "Part of what its nodes get at boot, as group_{name}; left out it stays as it is, empty takes it away",
		textMap(func(c *inventory.NodeCollection) *map[string]string { return &c.CloudInit })},
	{"tags", 0, "Of the group that it is in the State Manager API",
		texts(func(c *inventory.NodeCollection) *[]string { return &c.Tags }, func(string) bool { return true })},
	{"exclusive_group", 0, "The same: a node is in one group of this name", text(func(c *inventory.NodeCollection) *string { return &c.ExclusiveGroup })},
	{"version", readOnly, "Counts the changes of this object", count(func(c *inventory.NodeCollection) *uint64 { return &c.Version })},
	{"created_at", readOnly, "When it was made", moment(func(c *inventory.NodeCollection) *time.Time { return &c.CreatedAt })},
	{"updated_at", readOnly, "When it was changed last", moment(func(c *inventory.NodeCollection) *time.Time { return &c.UpdatedAt })},
}

// readCollection reads a whole collection. Its nodes are a list also when there are none.
func readCollection(s *scanner, c *inventory.NodeCollection) bool {
	ok := nodeCollection.into(s, c)
	if c.Nodes == nil {
		c.Nodes = []string{}
	}
	return ok
}
