package server

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// collectionView is one of the two views that the State Manager API has of node
// collections: its groups, and its partitions.
type collectionView struct {
	key  string // of queries
	path string // of the list
	has  func(inventory.CollectionType) bool
	show func(inventory.NodeCollection) any
	read func(*http.Request) (inventory.NodeCollection, error)
}

var (
	groups = collectionView{
		key: "group", path: "/groups",
		has:  func(t inventory.CollectionType) bool { return t != inventory.Partition },
		show: func(c inventory.NodeCollection) any { return groupOf(c) },
		read: readGroup,
	}
	partitions = collectionView{
		key: "partition", path: "/partitions",
		has:  func(t inventory.CollectionType) bool { return t == inventory.Partition },
		show: func(c inventory.NodeCollection) any { return partitionOf(c) },
		read: readPartition,
	}
)

// tenantGroup is the exclusiveGroup of those groups that are tenants.
const tenantGroup = "tenant"

func groupOf(c inventory.NodeCollection) smd.Group {
	g := smd.Group{Label: c.Name, Description: c.Description, Tags: c.Tags, ExclusiveGroup: c.ExclusiveGroup, Members: membersOf(c)}
	if c.Type == inventory.Tenant {
		g.ExclusiveGroup = tenantGroup
	}
	return g
}

func partitionOf(c inventory.NodeCollection) smd.PartitionOf {
	return smd.PartitionOf{Name: c.Name, Description: c.Description, Tags: c.Tags, Members: membersOf(c)}
}

func membersOf(c inventory.NodeCollection) smd.Members {
	if c.Nodes == nil {
		return smd.Members{IDs: []string{}}
	}
	return smd.Members{IDs: c.Nodes}
}

func readGroup(r *http.Request) (inventory.NodeCollection, error) {
	var g smd.Group
	if err := bodyInto(r, &g); err != nil {
		return inventory.NodeCollection{}, err
	}
	g, err := g.Checked()
	c := inventory.NodeCollection{Name: g.Label, Type: inventory.AdHoc, Nodes: g.Members.IDs, Description: g.Description, Tags: g.Tags, ExclusiveGroup: g.ExclusiveGroup}
	if g.ExclusiveGroup == tenantGroup {
		c.Type, c.ExclusiveGroup = inventory.Tenant, ""
	}
	return c, err
}

func readPartition(r *http.Request) (inventory.NodeCollection, error) {
	var p smd.PartitionOf
	if err := bodyInto(r, &p); err != nil {
		return inventory.NodeCollection{}, err
	}
	p, err := p.Checked()
	return inventory.NodeCollection{Name: p.Name, Type: inventory.Partition, Nodes: p.Members.IDs, Description: p.Description, Tags: p.Tags}, err
}

// uri is where a collection, and what is below it, is.
func (k collectionView) uri(name, below string) resource {
	return resource{smdBase + k.path + "/" + url.PathEscape(name) + below}
}

// find finds the collection of exactly this name.
func (k collectionView) find(v InventoryView, name string) (inventory.NodeCollection, error) {
	c, err := v.Collection(name)
	if err == nil && (c.Name != name || !k.has(c.Type)) {
		err = api.Errorf(api.NotFound, k.key+".show", "there is no such %s", k.key)
	}
	return c, err
}

// list answers GET groups and GET partitions: ?group= and ?partition= name some, ?tag= asks for one of the tags.
func (k collectionView) list(s *Server, w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	q := smdQuery(r.URL)
	names, tags := q[k.key], q["tag"]
	return writeRows(w, r, `[`, func(yield func(any) bool) {
		for c := range v.Collections("") {
			asked := k.has(c.Type) && (len(names) == 0 || slices.Contains(names, c.Name)) && (len(tags) == 0 || slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(c.Tags, t) }))
			if asked && !yield(k.show(c)) {
				return
			}
		}
	}, `]`)
}

// listNames answers GET groups/labels and GET partitions/names.
func (k collectionView) listNames(s *Server, w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewOn(w, r)
	if err != nil {
		return err
	}
	return writeRows(w, r, `[`, func(yield func(string) bool) {
		for c := range v.Collections("") {
			if k.has(c.Type) && !yield(c.Name) {
				return
			}
		}
	}, `]`)
}

// here is the collection in a request's path, for a read; of a group, ?partition= leaves the members in that partition.
func (k collectionView) here(s *Server, w http.ResponseWriter, r *http.Request) (inventory.NodeCollection, error) {
	v, err := s.viewOn(w, r)
	if err != nil {
		return inventory.NodeCollection{}, err
	}
	c, err := k.find(v, r.PathValue("name"))
	if err != nil || k.key == partitions.key {
		return c, err
	}
	if names := smdQuery(r.URL).Wanted(partitions.key); names != nil {
		c.Nodes = slices.DeleteFunc(slices.Clone(c.Nodes), func(x string) bool { return !slices.Contains(names, membershipOf(v, x).PartitionName) })
	}
	return c, nil
}

// showOne answers GET groups/{label} and GET partitions/{name}.
func (k collectionView) showOne(s *Server, w http.ResponseWriter, r *http.Request) error {
	c, err := k.here(s, w, r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, k.show(c))
}

// showMembers answers GET groups/{label}/members.
func (k collectionView) showMembers(s *Server, w http.ResponseWriter, r *http.Request) error {
	c, err := k.here(s, w, r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, membersOf(c))
}

// create answers POST groups.
func (k collectionView) create(s *Server, w http.ResponseWriter, r *http.Request) error {
	c, err := k.read(r)
	if err == nil {
		err = countErrors("/members/ids", len(c.Nodes))
	}
	if err != nil {
		return err
	}
	done, err := s.backend.CreateCollection(r.Context(), c)
	if err != nil {
		return err
	}
	headOf(done).addTo(w.Header())
	return writeCreated(w, "", []resource{k.uri(c.Name, "")})
}

// patch answers PATCH groups/{label}: what of description and tags is given.
func (k collectionView) patch(s *Server, w http.ResponseWriter, r *http.Request) error {
	var body smd.GroupPatch
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	body, err := body.Checked()
	if err != nil {
		return err
	}
	err = k.change(s, w, r, func(c *inventory.NodeCollection) error {
		if body.Description != nil {
			c.Description = *body.Description
		}
		if body.Tags != nil {
			c.Tags = *body.Tags
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeNothing(w)
}

// change writes the collection in a request's path as edit leaves it. When someone was faster it reads again.
func (k collectionView) change(s *Server, w http.ResponseWriter, r *http.Request, edit func(*inventory.NodeCollection) error) error {
	for n := range patchTries {
		ctx := withTry(r.Context(), n)
		v, err := s.backend.View(ctx, api.Linearizable)
		if err != nil {
			return err
		}
		c, err := k.find(v, r.PathValue("name"))
		if err != nil {
			return err
		}
		if err := edit(&c); err != nil {
			return err
		}
		done, err := s.backend.ReplaceCollection(ctx, c.ID, c.Version, c)
		if err == nil {
			headOf(done).addTo(w.Header())
			return nil
		}
		if !api.IsKind(err, api.Precondition) {
			return err
		}
	}
	return api.Errorf(api.Conflict, k.key+".update", "others keep changing it; try again")
}

// drop answers DELETE groups/{label}.
func (k collectionView) drop(s *Server, w http.ResponseWriter, r *http.Request) error {
	v, err := s.backend.View(r.Context(), api.Linearizable)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	c, err := k.find(v, name)
	if mayBeRetry(r.Context(), err) {
		c, err = inventory.NodeCollection{ID: name}, nil
	}
	if err != nil {
		return err
	}
	if _, err := s.backend.DeleteCollection(r.Context(), c.ID, 0); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, deletedOne)
}

// changeMember changes one member of the collection in a request's path.
func (k collectionView) changeMember(s *Server, w http.ResponseWriter, r *http.Request, x string,
	change func(InventoryWrites, context.Context, string, string) (Done[struct{}], error)) error {
	v, err := s.backend.View(r.Context(), api.Linearizable)
	if err != nil {
		return err
	}
	c, err := k.find(v, r.PathValue("name"))
	if err != nil {
		return err
	}
	done, err := change(s.backend, r.Context(), c.ID, x)
	if err == nil {
		headOf(done).addTo(w.Header())
	}
	return err
}

// addMember answers POST groups/{label}/members.
func (k collectionView) addMember(s *Server, w http.ResponseWriter, r *http.Request) error {
	var body struct{ ID string }
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	if !xname.ValidComponent(body.ID) {
		return smd.BadName("/id")
	}
	if err := k.changeMember(s, w, r, body.ID, InventoryWrites.AddMember); err != nil {
		return err
	}
	return writeCreated(w, "", []resource{k.uri(r.PathValue("name"), "/members/"+body.ID)})
}

// putMembers answers PUT groups/{label}/members: exactly these.
func (k collectionView) putMembers(s *Server, w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Group string
		IDs   *[]string
	}
	if err := bodyInto(r, &body); err != nil {
		return err
	}
	name := r.PathValue("name")
	switch {
	case body.IDs == nil:
		return smd.Bad("/ids", "a list of members is required")
	case body.Group != "" && body.Group != name:
		return smd.Bad("/group", "another name than in the path")
	}
	ids, err := smd.CheckedNames(*body.IDs, "/ids")
	if err == nil {
		err = countErrors("/ids", len(ids))
	}
	if err != nil {
		return err
	}
	err = k.change(s, w, r, func(c *inventory.NodeCollection) error { c.Nodes = ids; return nil })
	if err != nil {
		return err
	}
	uris := make([]resource, 0, len(ids))
	for _, id := range ids {
		uris = append(uris, k.uri(name, "/members/"+id))
	}
	return writeCreated(w, k.uri(name, "/members").URI, uris)
}

// dropMember answers DELETE groups/{label}/members/{xname}.
func (k collectionView) dropMember(s *Server, w http.ResponseWriter, r *http.Request) error {
	x, err := pathName(r)
	if err != nil {
		return err
	}
	if err := k.changeMember(s, w, r, x, InventoryWrites.RemoveMember); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, deletedOne)
}
