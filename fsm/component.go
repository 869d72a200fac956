package fsm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// component is what the State Manager API was told of an xname. As the body of a
// write it holds what the client said; what it left out is empty.
type component struct {
	ID                  string `json:"ID" cbor:"1,keyasint"` // as it was given
	Type                string `json:"Type" cbor:"2,keyasint,omitempty"`
	Subtype             string `json:"Subtype,omitempty" cbor:"3,keyasint,omitempty"`
	Role                string `json:"Role,omitempty" cbor:"4,keyasint,omitempty"`
	SubRole             string `json:"SubRole,omitempty" cbor:"5,keyasint,omitempty"`
	NetType             string `json:"NetType,omitempty" cbor:"6,keyasint,omitempty"`
	Arch                string `json:"Arch,omitempty" cbor:"7,keyasint,omitempty"`
	Class               string `json:"Class,omitempty" cbor:"8,keyasint,omitempty"`
	State               string `json:"State,omitempty" cbor:"9,keyasint,omitempty"`
	Flag                string `json:"Flag,omitempty" cbor:"10,keyasint,omitempty"`
	Enabled             *bool  `json:"Enabled,omitempty" cbor:"11,keyasint,omitempty"`
	SoftwareStatus      string `json:"SoftwareStatus,omitempty" cbor:"12,keyasint,omitempty"`
	NID                 *int64 `json:"NID,omitempty" cbor:"13,keyasint,omitempty"`
	ReservationDisabled bool   `json:"ReservationDisabled,omitempty" cbor:"14,keyasint,omitempty"`
	Locked              bool   `json:"Locked,omitempty" cbor:"15,keyasint,omitempty"`
	// Implied: a change of what a ComputeNode or BMC is as a component made this
	// row. Nobody posted it, and it goes when that goes.
	Implied bool `json:"Implied,omitempty" cbor:"16,keyasint,omitempty"`
}

var components = &table[component]{
	name: "components",
	key:  func(c *component) string { return xname.Canonical(c.ID) },
	unique: map[string]func(*component) []string{
		"nid": func(c *component) []string {
			if c.NID == nil {
				return nil
			}
			return []string{nidKey(*c.NID)}
		},
	},
	large: true,
}

// maxNID is the greatest NID: the greatest whole number that every reader of JSON
// reads as it is (RFC 8259, section 6).
const maxNID = 1<<53 - 1

// nidKey is a NID as text of which the order is that of the numbers.
func nidKey(nid int64) string { return fmt.Sprintf("%016d", nid) }

// isNode tells whether a component is one of those that have a NID and a role by default.
func (c *component) isNode() bool {
	return c.Type == string(xname.Node) || c.Type == string(xname.VirtualNode)
}

// checked is a component as a client sent it with its type, which its name tells,
// and its words as the API spells them.
func (c component) checked(op string) (component, error) {
	var fields []api.FieldError
	if !xname.ValidComponent(c.ID) {
		fields = append(fields, api.FieldError{Pointer: "/ID", Detail: "expected the xname of a component"})
	}
	c.Type, c.Implied = string(xname.TypeOf(c.ID)), false
	for _, w := range []struct {
		word *string
		list []string
		at   string
	}{
		{&c.State, smd.States, "/State"}, {&c.Flag, smd.Flags, "/Flag"}, {&c.Role, smd.Roles, "/Role"}, {&c.SubRole, smd.SubRoles, "/SubRole"},
		{&c.NetType, smd.NetTypes, "/NetType"}, {&c.Arch, smd.Archs, "/Arch"}, {&c.Class, smd.Classes, "/Class"},
	} {
		if !respell(w.word, w.list) {
			fields = append(fields, api.FieldError{Pointer: w.at, Detail: "expected one of " + strings.Join(w.list, ", ")})
		}
	}
	if c.NID != nil && (*c.NID < 1 || *c.NID > maxNID) {
		fields = append(fields, api.FieldError{Pointer: "/NID", Detail: "expected a whole number from 1 to 9007199254740991"})
	}
	if len(fields) == 0 {
		return c, nil
	}
	return c, &api.Error{Kind: api.Invalid, Op: op, Msg: "the component is not valid: see errors", Fields: fields}
}

// respell puts a word into the spelling of a list, in which it is looked for
// whatever its case; false when it is not there. No word is fine.
func respell(word *string, list []string) bool {
	spelled, ok := smd.Spelled(*word, list)
	if ok {
		*word = spelled
	}
	return ok || *word == ""
}

// over lays what a client sent over a row. Flags that are either on or off are
// taken as they are; of the rest stays what it left out.
func (c component) over(old component) component {
	c.Subtype, c.Role, c.SubRole = cmp.Or(c.Subtype, old.Subtype), cmp.Or(c.Role, old.Role), cmp.Or(c.SubRole, old.SubRole)
	c.NetType, c.Arch, c.Class = cmp.Or(c.NetType, old.NetType), cmp.Or(c.Arch, old.Arch), cmp.Or(c.Class, old.Class)
	c.State, c.Flag, c.SoftwareStatus = cmp.Or(c.State, old.State), cmp.Or(c.Flag, old.Flag), cmp.Or(c.SoftwareStatus, old.SoftwareStatus)
	if c.Enabled == nil {
		c.Enabled = old.Enabled
	}
	if c.NID == nil {
		c.NID = old.NID
	}
	return c.withDefaults()
}

// withDefaults is a component with what a posted one has anyway, but for its NID.
func (c component) withDefaults() component {
	if c.Enabled == nil {
		c.Enabled = new(true)
	}
	if c.Role == "" && c.isNode() {
		c.Role = "Compute"
	}
	return c
}

// componentEdit is a component on its way to being changed.
type componentEdit struct {
	stored bool      // there is a row of it
	before component // that row, or what would be one; empty when there is neither
	after  component
}

// componentEdits are the components that one command changes, in the order in
// which it names them, each once.
type componentEdits struct {
	list []componentEdit
	at   map[string]int
}

// edit finds a component among the edits, and puts it there when it is not.
func (tx *Txn) edit(e *componentEdits, id string) *componentEdit {
	key := xname.Canonical(id)
	if k, begun := e.at[key]; begun {
		return &e.list[k]
	}
	if e.at == nil {
		e.at = map[string]int{}
	}
	e.at[key] = len(e.list)
	row, stored := components.one(tx.Reader, key)
	e.list = append(e.list, componentEdit{stored, row, row})
	return &e.list[len(e.list)-1]
}

// storeComponents stores all edits or none. NIDs are let go of before they are
// taken, so that two components may swap theirs, and taken before new ones are
// made, so that none is made which the command itself gives to another.
func (tx *Txn) storeComponents(op string, e *componentEdits) error {
	for k := range e.list {
		if old := e.list[k].before; e.list[k].stored && old.NID != nil && !sameNID(old.NID, e.list[k].after.NID) {
			old.NID = nil
			components.put(tx, old)
		}
	}
	for k := range e.list {
		c := e.list[k].after
		if c.NID == nil {
			continue
		}
		if other, taken := components.holder(tx.Reader, "nid", nidKey(*c.NID)); taken && xname.Canonical(other.ID) != xname.Canonical(c.ID) {
			return api.Errorf(api.Conflict, op, "component %s cannot have NID %d: %s has it", c.ID, *c.NID, other.ID)
		}
		components.put(tx, c)
	}
	for k := range e.list {
		c := e.list[k].after
		if c.NID != nil {
			continue
		}
		if c.isNode() && !c.Implied {
			var err error
			if c.NID, err = tx.newNID(op); err != nil {
				return err
			}
		}
		components.put(tx, c)
	}
	return nil
}

func sameNID(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

// newNID is the NID after the highest in use.
func (tx *Txn) newNID(op string) (*int64, error) {
	highest, any := components.index(tx.state, "nid").last()
	switch {
	case !any:
		return new(int64(1)), nil
	case *highest.NID == maxNID:
		return nil, api.Errorf(api.Conflict, op, "there is no NID above %d, which %s has: say which NID is meant, or give that component a lower one", maxNID, highest.ID)
	}
	return new(*highest.NID + 1), nil
}

// mayEdit refuses an edit that the actor may not make, or that a lock forbids.
// Who only observes components may change what is observed.
func (tx *Txn) mayEdit(op string, e *componentEdit, force bool) error {
	if err := tx.territory(op, e.after.ID); err != nil {
		return err
	}
	verb := api.Update
	if e.before.ID == "" {
		verb = api.Create
	}
	if err := tx.may(verb, op, api.Object{Kind: "component"}); err != nil {
		if !e.stateOnly() {
			return err
		}
		if err := tx.may(api.Update, op, api.Object{Kind: "component-state"}); err != nil {
			return err
		}
	}
	return tx.unlocked(op, &e.before, force)
}

// unlocked refuses to change a locked component without force.
func (tx *Txn) unlocked(op string, c *component, force bool) error {
	if c.Locked && !force {
		return api.Errorf(api.Conflict, op, "component %s is locked: unlock it, or change it with force", c.ID)
	}
	return nil
}

// stateOnly tells whether an edit leaves all as it is but what was observed.
func (e *componentEdit) stateOnly() bool {
	c := e.after
	c.State, c.Flag, c.Enabled, c.SoftwareStatus = e.before.State, e.before.Flag, e.before.Enabled, e.before.SoftwareStatus
	return sameRow(&c, &e.before)
}

// territory refuses an xname that belongs to another tenant or partition than
// the actor: of a node, of what is in a node, of the controller of nodes.
func (tx *Txn) territory(op, name string) error { return tx.Reader.territory(tx.Actor, op, name) }

func (r Reader) territory(a api.Actor, op, name string) error {
	if a.Tenant == "" && a.Partition == "" {
		return nil
	}
	node := xname.Canonical(name)
	for up := node; up != ""; up = xname.Parent(up) {
		if xname.TypeOf(up) == xname.Node {
			node = up
		}
	}
	if err := r.tenancy(a, op, node); err != nil || xname.TypeOf(node) != xname.NodeBMC {
		return err
	}
	var err error
	collections.index(r.state, "node").ascend(node+"n", func(at string, c *collection) bool {
		if !strings.HasPrefix(at, node+"n") {
			return false
		}
		if foreign(a, *c) {
			err = api.Errorf(api.Forbidden, op, "a node of %s belongs to %s %q, your token to another", name, c.Type, c.Name)
		}
		return err == nil
	})
	return err
}

type componentsPut struct {
	Components []component `cbor:"1,keyasint"`
	Force      bool        `cbor:"2,keyasint,omitempty"`
}

// applyPutComponents makes components, or lays what was sent over those that are
// there, all or none.
func applyPutComponents(tx *Txn, c componentsPut) (object, error) {
	const op = "component.put"
	edits := componentEdits{list: make([]componentEdit, 0, len(c.Components)), at: make(map[string]int, len(c.Components))}
	var faults batchFaults
	for k, given := range c.Components {
		sent, err := given.checked(op)
		if err != nil {
			if !faults.add(k, err) {
				break
			}
			continue
		}
		e := tx.edit(&edits, sent.ID)
		e.after = sent.over(e.after)
	}
	if err := faults.asError(op, true); err != nil {
		return nothing, err
	}
	return tx.finishEdits(op, &edits, c.Force)
}

// finishEdits stores edits that the actor may make.
func (tx *Txn) finishEdits(op string, edits *componentEdits, force bool) (object, error) {
	for k := range edits.list {
		if err := tx.mayEdit(op, &edits.list[k], force); err != nil {
			return nothing, err
		}
	}
	return object{count: int64(len(edits.list))}, tx.storeComponents(op, edits)
}

// componentPatch is a change of a component; nil leaves a field as it is.
type componentPatch struct {
	ID                  string  `cbor:"1,keyasint"`
	Type                *string `cbor:"2,keyasint,omitempty"`
	Subtype             *string `cbor:"3,keyasint,omitempty"`
	Role                *string `cbor:"4,keyasint,omitempty"`
	SubRole             *string `cbor:"5,keyasint,omitempty"`
	NetType             *string `cbor:"6,keyasint,omitempty"`
	Arch                *string `cbor:"7,keyasint,omitempty"`
	Class               *string `cbor:"8,keyasint,omitempty"`
	State               *string `cbor:"9,keyasint,omitempty"`
	Flag                *string `cbor:"10,keyasint,omitempty"`
	Enabled             *bool   `cbor:"11,keyasint,omitempty"`
	SoftwareStatus      *string `cbor:"12,keyasint,omitempty"`
	NID                 *int64  `cbor:"13,keyasint,omitempty"`
	ReservationDisabled *bool   `cbor:"14,keyasint,omitempty"`
	Locked              *bool   `cbor:"15,keyasint,omitempty"`
}

// onto is a component with the change in it.
func (p componentPatch) onto(op string, c component) (component, error) {
	set(&c.Subtype, p.Subtype)
	set(&c.Role, p.Role)
	set(&c.SubRole, p.SubRole)
	set(&c.NetType, p.NetType)
	set(&c.Arch, p.Arch)
	set(&c.Class, p.Class)
	set(&c.State, p.State)
	set(&c.Flag, p.Flag)
	set(&c.SoftwareStatus, p.SoftwareStatus)
	set(&c.ReservationDisabled, p.ReservationDisabled)
	set(&c.Locked, p.Locked)
	if p.Enabled != nil {
		c.Enabled = p.Enabled
	}
	if p.NID != nil {
		c.NID = p.NID
	}
	if p.Type != nil && *p.Type != "" && !strings.EqualFold(*p.Type, c.Type) {
		return c, &api.Error{Kind: api.Invalid, Op: op, Msg: "the type of a component follows from its name",
			Fields: []api.FieldError{{Pointer: "/Type", Detail: "must be " + c.Type + ", as the name says, or be left out"}}}
	}
	implied := c.Implied
	c, err := c.checked(op)
	c.Implied = implied
	return c, err
}

// set gives a field its new value, if there is one.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

type componentsPatch struct {
	Changes []componentPatch `cbor:"1,keyasint"`
	Force   bool             `cbor:"2,keyasint,omitempty"`
}

// applyPatchComponents changes components, all or none. One that only a
// ComputeNode or BMC tells of gets a row.
func applyPatchComponents(tx *Txn, c componentsPatch) (object, error) {
	const op = "component.patch"
	edits := componentEdits{list: make([]componentEdit, 0, len(c.Changes)), at: make(map[string]int, len(c.Changes))}
	var faults batchFaults
	var absent []string
	for k, p := range c.Changes {
		e := tx.edit(&edits, p.ID)
		if e.before.ID == "" {
			row, implied := tx.impliedComponent(p.ID)
			if !implied {
				absent = append(absent, p.ID)
				continue
			}
			e.before, e.after = row, row
		}
		after, err := p.onto(op, e.after)
		if err != nil && !faults.add(k, err) {
			break
		}
		e.after = after
	}
	if len(absent) > 0 {
		return nothing, unknownNames(op, "component", absent)
	}
	if err := faults.asError(op, true); err != nil {
		return nothing, err
	}
	return tx.finishEdits(op, &edits, c.Force)
}

// unknownNames says what is not there, by the first few names.
func unknownNames(op, what string, names []string) error {
	const told = 10
	if len(names) > told {
		return api.Errorf(api.NotFound, op, "no such %s: %s and %d more", what, strings.Join(names[:told], ", "), len(names)-told)
	}
	return api.Errorf(api.NotFound, op, "no such %s: %s", what, strings.Join(names, ", "))
}

// removal names the rows of a table that are to be forgotten.
type removal struct {
	IDs []string `cbor:"1,keyasint"`
	All bool     `cbor:"2,keyasint,omitempty"`
}

// picked are the rows that a removal names, each once. To name all of them is for
// the admin of the fleet. absent says what to answer about a key that has no row,
// nil that it is unknown.
func picked[T any](tx *Txn, op, what string, t *table[T], c removal, keyOf func(string) string, absent func(key string) error) ([]*T, error) {
	if c.All {
		if err := tx.may(api.Delete, op, api.Object{Kind: "fleet"}); err != nil {
			return nil, err
		}
		rows := slices.Collect(t.rowsAfter(tx.state, ""))
		if len(rows) == 0 {
			return nil, api.Errorf(api.NotFound, op, "there is no %s to delete", what)
		}
		return rows, nil
	}
	if err := tx.may(api.Delete, op, api.Object{Kind: "component"}); err != nil {
		return nil, err
	}
	var rows []*T
	var unknown []string
	seen := make(map[string]bool, len(c.IDs))
	for _, id := range c.IDs {
		key := keyOf(id)
		if seen[key] {
			continue
		}
		seen[key] = true
		if it, ok := t.in(tx.state).rows.get(key); ok {
			rows = append(rows, &it.row)
		} else if err := absent(key); err != nil {
			return nil, err
		} else {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		return nil, unknownNames(op, what, unknown)
	}
	return rows, nil
}

// applyDeleteComponents forgets rows. What a ComputeNode or BMC tells of stays to be seen.
func applyDeleteComponents(tx *Txn, c removal) (object, error) {
	const op = "component.delete"
	rows, err := picked(tx, op, "component", components, c, xname.Canonical, func(key string) error {
		if n, ok := computeNodes.holder(tx.Reader, "xname", key); ok {
			return api.Errorf(api.Conflict, op, "component %s is ComputeNode %s: delete that", n.XName, n.ID)
		}
		if b, ok := bmcs.holder(tx.Reader, "xname", key); ok {
			return api.Errorf(api.Conflict, op, "component %s is BMC %s: delete that", b.XName, b.ID)
		}
		return nil
	})
	if err != nil {
		return nothing, err
	}
	for _, row := range rows {
		if err := tx.territory(op, row.ID); err != nil {
			return nothing, err
		}
		if err := tx.unlocked(op, row, false); err != nil {
			return nothing, err
		}
		components.remove(tx, xname.Canonical(row.ID))
	}
	return object{count: int64(len(rows))}, nil
}

// dropImplied forgets the component row that a change of a derived component
// made, once neither a ComputeNode nor a BMC has the xname.
func (tx *Txn) dropImplied(name string) {
	key := xname.Canonical(name)
	c, ok := components.one(tx.Reader, key)
	if !ok || !c.Implied {
		return
	}
	if _, still := tx.impliedComponent(key); !still {
		components.remove(tx, key)
	}
}

// componentOf is a client's component as the log carries it.
func componentOf(c smd.Component) component {
	return component{ID: c.ID, Type: c.Type, Subtype: c.Subtype, Role: c.Role, SubRole: c.SubRole, NetType: c.NetType, Arch: c.Arch, Class: c.Class,
		State: c.State, Flag: c.Flag, Enabled: c.Enabled, SoftwareStatus: c.SoftwareStatus, NID: c.NID,
		ReservationDisabled: c.ReservationDisabled, Locked: c.Locked}
}

// mapped is each of a list as another type.
func mapped[T, U any](list []T, f func(T) U) []U {
	all := make([]U, len(list))
	for k := range list {
		all[k] = f(list[k])
	}
	return all
}

// PutComponents makes components, or lays what is given over those that are
// there. The count is that of components.
func (w *Writer) PutComponents(ctx context.Context, list []smd.Component, force bool) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, putComponents, componentsPut{mapped(list, componentOf), force})
}

// PatchComponents changes components, all or none; NotFound names those that are unknown.
func (w *Writer) PatchComponents(ctx context.Context, list []smd.ComponentChange, force bool) (Done[struct{}], error) {
	changes := mapped(list, func(c smd.ComponentChange) componentPatch {
		return componentPatch{ID: c.ID, Type: c.Type, Subtype: c.Subtype, Role: c.Role, SubRole: c.SubRole, NetType: c.NetType, Arch: c.Arch, Class: c.Class,
			State: c.State, Flag: c.Flag, Enabled: c.Enabled, SoftwareStatus: c.SoftwareStatus, NID: c.NID,
			ReservationDisabled: c.ReservationDisabled, Locked: c.Locked}
	})
	return propose[struct{}](ctx, w, patchComponents, componentsPatch{changes, force})
}

// DeleteComponents forgets components; nil means all that have a row.
func (w *Writer) DeleteComponents(ctx context.Context, xnames []string) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, deleteComponents, removal{xnames, xnames == nil})
}
