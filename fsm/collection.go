package fsm

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// collection is a node collection as it is stored.
type collection struct {
	ID             string                   `json:"id" cbor:"1,keyasint"`
	Name           string                   `json:"name" cbor:"2,keyasint"`
	Type           inventory.CollectionType `json:"type" cbor:"3,keyasint"`
	Nodes          []string                 `json:"nodes" cbor:"4,keyasint"` // xnames as they were given, each once
	Description    string                   `json:"description,omitempty" cbor:"5,keyasint,omitempty"`
	Creator        string                   `json:"creator_subject,omitempty" cbor:"6,keyasint,omitempty"`
	CloudInit      []byte                   `json:"cloud_init_data,omitempty" cbor:"7,keyasint,omitempty" secret:"true"` // sealed JSON
	Tags           []string                 `json:"tags,omitempty" cbor:"8,keyasint,omitempty"`
	ExclusiveGroup string                   `json:"exclusive_group,omitempty" cbor:"9,keyasint,omitempty"`
	Version        uint64                   `json:"version" cbor:"10,keyasint"`
	CreatedAt      time.Time                `json:"created_at" cbor:"11,keyasint"`
	UpdatedAt      time.Time                `json:"updated_at" cbor:"12,keyasint"`
}

var collections = &table[collection]{
	name:    "node_collections",
	secrets: func(row *collection) []secretPart { return []secretPart{{SealCollectionCloudInit, 0, &row.CloudInit}} },
	key:     func(c *collection) string { return c.ID },
	unique: map[string]func(*collection) []string{
		"name": func(c *collection) []string { return []string{c.Name} },
	},
	many: map[string]func(*collection) []string{
		"node": func(c *collection) []string {
			keys := make([]string, len(c.Nodes))
			for k, x := range c.Nodes {
				keys[k] = xname.Canonical(x)
			}
			return keys
		},
	},
}

// collectionWrite is what a client says of a collection.
type collectionWrite struct {
	Name           string                   `cbor:"1,keyasint"`
	Type           inventory.CollectionType `cbor:"2,keyasint"`
	Nodes          []string                 `cbor:"3,keyasint"`
	Description    string                   `cbor:"4,keyasint,omitempty"`
	CloudInit      secretWrite              `cbor:"5,keyasint,omitempty"`
	Tags           []string                 `cbor:"6,keyasint,omitempty"`
	ExclusiveGroup string                   `cbor:"7,keyasint,omitempty"`
}

func (w collectionWrite) over(old collection) collection {
	old.Name, old.Type, old.Nodes, old.Description, old.Tags, old.ExclusiveGroup = w.Name, w.Type, w.Nodes, w.Description, w.Tags, w.ExclusiveGroup
	old.CloudInit = w.CloudInit.over(old.CloudInit)
	return old
}

// TenantGroup is the exclusive group that every tenant is in.
const TenantGroup = "tenant"

func applyCreateCollection(tx *Txn, w collectionWrite) (object, error) {
	const op = "collection.create"
	if err := tx.may(api.Create, op, api.Object{Kind: "collection"}); err != nil {
		return nothing, err
	}
	c := w.over(collection{ID: tx.newID(), Creator: subjectOf(tx.Actor), CreatedAt: tx.Now})
	c, err := c.put(tx, op)
	return object{table: collections, key: c.ID}, err
}

// subjectOf is who made something, in the words of a token's sub claim.
func subjectOf(a api.Actor) string {
	if sub, ok := strings.CutPrefix(a.ID, "jwt:"); ok {
		return sub
	}
	return a.ID
}

// put stores a collection if its name is free and its nodes may be in it.
func (c collection) put(tx *Txn, op string) (collection, error) {
	if err := c.faults(op); err != nil {
		return c, err
	}
	if err := tx.ownCollection(op, c); err != nil {
		return c, err
	}
	if other, taken := collections.holder(tx.Reader, "name", c.Name); taken && other.ID != c.ID {
		return c, api.Errorf(api.Conflict, op, "a NodeCollection with the name %q already exists: %s", c.Name, other.ID)
	}
	switch {
	case c.Type == inventory.Tenant:
		c.ExclusiveGroup = TenantGroup
	case c.ExclusiveGroup == TenantGroup: // it was one, or would pass for one
		c.ExclusiveGroup = ""
	}
	c.Nodes = eachOnce(c.Nodes)
	if err := tx.unassigned(op, c); err != nil {
		return c, err
	}
	c.Version++
	c.UpdatedAt = tx.Now
	return collections.put(tx, c), nil
}

// eachOnce is nodes without those that are there before, in their order.
func eachOnce(nodes []string) []string {
	seen := make(map[string]bool, len(nodes))
	once := make([]string, 0, len(nodes))
	for _, x := range nodes {
		if key := xname.Canonical(x); !seen[key] {
			seen[key] = true
			once = append(once, x)
		}
	}
	return once
}

// maxName bounds the name of a collection in bytes: it stands in URLs, and in what is
// remembered of requests that were refused for it.
const maxName = 1024

// faults says what is missing or malformed in a collection.
func (c collection) faults(op string) error {
	var fields []api.FieldError
	if c.Name == "" {
		fields = append(fields, api.FieldError{Pointer: "/name", Detail: "is required"})
	}
	if len(c.Name) > maxName {
		fields = append(fields, api.FieldError{Pointer: "/name", Detail: fmt.Sprintf("is longer than %d bytes", maxName)})
	}
	if isID(c.Name) {
		fields = append(fields, api.FieldError{Pointer: "/name", Detail: "must not have the form of a UUID: those are ids"})
	}
	if !slices.Contains([]inventory.CollectionType{inventory.AdHoc, inventory.Tenant, inventory.Job, inventory.Partition}, c.Type) {
		fields = append(fields, api.FieldError{Pointer: "/type", Detail: "must be ad-hoc, tenant, job or partition"})
	}
	for k, x := range c.Nodes {
		if !xname.ValidComponent(x) && len(fields) < maxFaults {
			fields = append(fields, api.FieldError{Pointer: "/nodes/" + strconv.Itoa(k), Detail: "XName does not match regex"})
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Op: op, Msg: "the NodeCollection is not valid: see errors", Fields: fields}
}

// unassigned refuses a node that another collection holds for itself: a node is
// in at most one partition, one tenant, and one group of each exclusive group.
func (tx *Txn) unassigned(op string, c collection) error {
	if c.Type != inventory.Partition && c.ExclusiveGroup == "" {
		return nil
	}
	for _, x := range c.Nodes {
		for other := range collections.all(tx.Reader, "node", xname.Canonical(x)) {
			if other.ID != c.ID && c.excludes(other) {
				return api.Errorf(api.Conflict, op, "node %s is already assigned to another collection: %q", x, other.Name)
			}
		}
	}
	return nil
}

// excludes tells whether no node may be in both.
func (c collection) excludes(other collection) bool {
	if c.Type == inventory.Partition || other.Type == inventory.Partition {
		return c.Type == other.Type
	}
	return c.ExclusiveGroup != "" && c.ExclusiveGroup == other.ExclusiveGroup
}

type collectionReplace struct {
	ID         string          `cbor:"1,keyasint"`
	IfVersion  uint64          `cbor:"2,keyasint,omitempty"`
	Collection collectionWrite `cbor:"3,keyasint"`
}

func applyReplaceCollection(tx *Txn, c collectionReplace) (object, error) {
	const op = "collection.replace"
	if err := tx.may(api.Update, op, api.Object{Kind: "collection"}); err != nil {
		return nothing, err
	}
	old, err := tx.collectionAt(op, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	after, err := c.Collection.over(old).put(tx, op)
	return object{table: collections, key: after.ID}, err
}

func applyDeleteCollection(tx *Txn, c versioned) (object, error) {
	const op = "collection.delete"
	if err := tx.may(api.Delete, op, api.Object{Kind: "collection"}); err != nil {
		return nothing, err
	}
	if _, err := tx.collectionAt(op, c.ID, c.IfVersion); err != nil {
		return nothing, err
	}
	collections.remove(tx, c.ID)
	return nothing, nil
}

// collectionAt is the collection with that id, in that version if one is named,
// if the actor may change it.
func (tx *Txn) collectionAt(op, id string, ifVersion uint64) (collection, error) {
	c, ok := collections.one(tx.Reader, id)
	if !ok {
		return c, api.Errorf(api.NotFound, op, "Collection not found")
	}
	if err := tx.ownCollection(op, c); err != nil {
		return c, err
	}
	return c, sameVersion(op, c.Version, ifVersion)
}

// ownCollection refuses to an actor that is bound to a tenant or partition those of
// others, and every collection with a node of others in it: what it says they get at boot.
func (tx *Txn) ownCollection(op string, c collection) error {
	if tx.Actor.Tenant == "" && tx.Actor.Partition == "" {
		return nil
	}
	if foreign(tx.Actor, c) {
		return api.Errorf(api.Forbidden, op, "your token is bound to another %s than %q", c.Type, c.Name)
	}
	for _, x := range c.Nodes {
		if err := tx.territory(op, x); err != nil {
			return err
		}
	}
	return nil
}

// tenancy refuses an xname that another tenant or partition holds than that of
// the actor. What is in none is everybody's.
func (tx *Txn) tenancy(op, name string) error { return tx.Reader.tenancy(tx.Actor, op, name) }

func (r Reader) tenancy(a api.Actor, op, name string) error {
	if name == "" || a.Tenant == "" && a.Partition == "" {
		return nil
	}
	for c := range collections.all(r, "node", xname.Canonical(name)) {
		if foreign(a, c) {
			return api.Errorf(api.Forbidden, op, "%s belongs to %s %q, your token to another", name, c.Type, c.Name)
		}
	}
	return nil
}

// MaySeeNode refuses the secrets of a node to an actor of another tenant or partition.
func (r Reader) MaySeeNode(a api.Actor, op, ref string) error {
	n, ok := r.nodeRow(ref)
	if !ok {
		return nil
	}
	return r.tenancy(a, op, n.XName)
}

// MaySeeBMC refuses the password of a BMC to an actor of another tenant or partition than
// any of the nodes that it serves.
func (r Reader) MaySeeBMC(a api.Actor, op, ref string) error {
	b, ok := r.bmcRow(ref)
	if !ok || a.Tenant == "" && a.Partition == "" {
		return nil
	}
	for n := range computeNodes.all(r, "bmc", b.ID) {
		if err := r.tenancy(a, op, n.XName); err != nil {
			return err
		}
	}
	return r.territory(a, op, b.XName)
}

// foreign tells whether a collection is a tenant or partition to which an actor
// that is bound to one does not belong.
func foreign(a api.Actor, c collection) bool {
	bound := ""
	switch c.Type {
	case inventory.Tenant:
		bound = a.Tenant
	case inventory.Partition:
		bound = a.Partition
	}
	return bound != "" && bound != c.ID && bound != c.Name
}

func (c *collection) shown() inventory.NodeCollection {
	nodes := c.Nodes
	if nodes == nil {
		nodes = []string{}
	}
	return inventory.NodeCollection{ID: c.ID, Name: c.Name, Type: c.Type, Nodes: nodes, Description: c.Description, CreatorSubject: c.Creator,
		Tags: c.Tags, ExclusiveGroup: c.ExclusiveGroup, Version: c.Version, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt}
}

// Collection finds a collection by id or name.
func (r Reader) Collection(ref string) (inventory.NodeCollection, bool) {
	if it, ok := collections.in(r.state).rows.get(ref); ok {
		return it.row.shown(), true
	}
	if c, ok := collections.holder(r, "name", ref); ok {
		return c.shown(), true
	}
	return inventory.NodeCollection{}, false
}

// Collections lists collections by id.
func (r Reader) Collections(after string) iter.Seq[inventory.NodeCollection] {
	return func(yield func(inventory.NodeCollection) bool) {
		for c := range collections.rowsAfter(r.state, after) {
			if !yield(c.shown()) {
				return
			}
		}
	}
}

// CollectionsOf lists the collections that an xname is in, by id.
func (r Reader) CollectionsOf(name string) iter.Seq[inventory.NodeCollection] {
	return func(yield func(inventory.NodeCollection) bool) {
		for c := range collections.all(r, "node", xname.Canonical(name)) {
			if !yield(c.shown()) {
				return
			}
		}
	}
}

// CollectionCloudInit is the sealed cloud-init data of a collection, by id; nil without any.
func (r Reader) CollectionCloudInit(id string) []byte {
	c, _ := collections.one(r, id)
	return c.CloudInit
}

// collectionWrite is a client's collection with its cloud-init data sealed.
func (w *Writer) collectionWrite(c inventory.NodeCollection) (collectionWrite, error) {
	write := collectionWrite{Name: c.Name, Type: c.Type, Nodes: c.Nodes, Description: c.Description, Tags: c.Tags, ExclusiveGroup: c.ExclusiveGroup}
	if c.CloudInit == nil {
		return write, nil
	}
	text := ""
	if len(c.CloudInit) > 0 {
		b, err := json.Marshal(c.CloudInit)
		if err != nil {
			return write, err
		}
		text = string(b)
	}
	var err error
	write.CloudInit, err = w.sealed(SealCollectionCloudInit, &text)
	return write, err
}

// CreateCollection stores a collection. What it gives leaves out nodes and cloud-init data, which
// the tables have once they have come to its index.
func (w *Writer) CreateCollection(ctx context.Context, c inventory.NodeCollection) (Done[inventory.NodeCollection], error) {
	write, err := w.collectionWrite(c)
	if err != nil {
		return Done[inventory.NodeCollection]{}, err
	}
	return shownCollection(propose[collection](ctx, w, createCollection, write))
}

// ReplaceCollection replaces what a user may set of a collection; cloud-init data
// that is not given stays.
func (w *Writer) ReplaceCollection(ctx context.Context, id string, ifVersion uint64, c inventory.NodeCollection) (Done[inventory.NodeCollection], error) {
	write, err := w.collectionWrite(c)
	if err != nil {
		return Done[inventory.NodeCollection]{}, err
	}
	return shownCollection(propose[collection](ctx, w, replaceCollection, collectionReplace{id, ifVersion, write}))
}

// DeleteCollection forgets a collection; its nodes are free.
func (w *Writer) DeleteCollection(ctx context.Context, id string, ifVersion uint64) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, deleteCollection, versioned{id, ifVersion})
}

func shownCollection(d Done[collection], err error) (Done[inventory.NodeCollection], error) {
	if d.Gone {
		d.Object.ID = d.ID
	}
	return as(d, d.Object.shown()), err
}
