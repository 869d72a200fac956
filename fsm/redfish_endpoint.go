package fsm

import (
	"cmp"
	"context"
	"iter"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// redfishEndpoint is a Redfish endpoint that was posted as such, with its password sealed.
type redfishEndpoint struct {
	ID                 string    `json:"ID" cbor:"1,keyasint"` // an xname, as it was given
	Type               string    `json:"Type" cbor:"2,keyasint,omitempty"`
	Name               string    `json:"Name,omitempty" cbor:"3,keyasint,omitempty"`
	Hostname           string    `json:"Hostname,omitempty" cbor:"4,keyasint,omitempty"`
	Domain             string    `json:"Domain,omitempty" cbor:"5,keyasint,omitempty"`
	FQDN               string    `json:"FQDN" cbor:"6,keyasint,omitempty"`
	Enabled            *bool     `json:"Enabled,omitempty" cbor:"7,keyasint,omitempty"`
	UUID               string    `json:"UUID,omitempty" cbor:"8,keyasint,omitempty"`
	URI                string    `json:"URI,omitempty" cbor:"9,keyasint,omitempty"`
	User               string    `json:"User,omitempty" cbor:"10,keyasint,omitempty"`
	Password           []byte    `json:"Password,omitempty" cbor:"11,keyasint,omitempty" secret:"true"`
	UseSSDP            bool      `json:"UseSSDP,omitempty" cbor:"12,keyasint,omitempty"`
	MACRequired        bool      `json:"MACRequired,omitempty" cbor:"13,keyasint,omitempty"`
	MACAddr            string    `json:"MACAddr,omitempty" cbor:"14,keyasint,omitempty"`
	IPAddress          string    `json:"IPAddress,omitempty" cbor:"15,keyasint,omitempty"`
	RediscoverOnUpdate bool      `json:"RediscoverOnUpdate,omitempty" cbor:"16,keyasint,omitempty"`
	TemplateID         string    `json:"TemplateID,omitempty" cbor:"17,keyasint,omitempty"`
	LastAttempt        time.Time `json:"LastAttempt,omitzero" cbor:"18,keyasint,omitzero"`
	LastStatus         string    `json:"LastDiscoveryStatus" cbor:"19,keyasint,omitempty"`
	RedfishVersion     string    `json:"RedfishVersion,omitempty" cbor:"20,keyasint,omitempty"`
}

var redfishEndpoints = &table[redfishEndpoint]{
	name:    "redfish_endpoints",
	secrets: func(row *redfishEndpoint) []secretPart { return []secretPart{{SealEndpointPassword, 0, &row.Password}} },
	key:     func(e *redfishEndpoint) string { return xname.Canonical(e.ID) },
	unique: map[string]func(*redfishEndpoint) []string{
		"fqdn": func(e *redfishEndpoint) []string { return oneOrNone(foldASCII(e.FQDN)) },
	},
	large: true,
	derived: func(s *sums, old, row *redfishEndpoint) {
		s.addresses.leave(old.addresses(), nil)
		s.addresses.enter(row.addresses(), nil)
	},
}

func (e *redfishEndpoint) addresses() []string {
	if e == nil {
		return nil
	}
	return []string{e.IPAddress}
}

// endpointPut is an endpoint with everything that follows from what was posted
// about it: one command, or a crash would leave half of it.
type endpointPut struct {
	Endpoint   redfishEndpoint     `cbor:"1,keyasint"`
	Password   secretWrite         `cbor:"2,keyasint,omitempty"`
	Components []component         `cbor:"3,keyasint,omitempty"`
	Endpoints  []componentEndpoint `cbor:"4,keyasint,omitempty"`
	Interfaces []ethernetInterface `cbor:"5,keyasint,omitempty"`
	Replace    bool                `cbor:"6,keyasint,omitempty"`
}

// applyPutEndpoint stores an endpoint and what is derived from it. A BMC that has
// the xname is left as it is.
func applyPutEndpoint(tx *Txn, c endpointPut) (object, error) {
	const op = "redfish_endpoint.put"
	e, err := c.Endpoint.checked(op)
	if err != nil {
		return nothing, err
	}
	if err := tx.endpointFree(op, e, c.Replace); err != nil {
		return nothing, err
	}
	old, _ := redfishEndpoints.one(tx.Reader, xname.Canonical(e.ID))
	e.Password = c.Password.over(old.Password)
	redfishEndpoints.put(tx, e)
	if err := tx.deriveComponents(op, c.Components); err != nil {
		return nothing, err
	}
	if err := tx.deriveEndpoints(op, e, c.Endpoints); err != nil {
		return nothing, err
	}
	return object{table: redfishEndpoints, key: xname.Canonical(e.ID)}, tx.deriveInterfaces(op, c.Interfaces)
}

// checked is an endpoint as a client sent it with what it left out.
func (e redfishEndpoint) checked(op string) (redfishEndpoint, error) {
	var fields []api.FieldError
	if !xname.ValidComponent(e.ID) {
		fields = append(fields, api.FieldError{Pointer: "/ID", Detail: "expected the xname of a component"})
	}
	if !respell(&e.LastStatus, smd.DiscoveryStatuses) {
		fields = append(fields, api.FieldError{Pointer: "/DiscoveryInfo/LastDiscoveryStatus", Detail: "expected one of " + strings.Join(smd.DiscoveryStatuses, ", ")})
	}
	if len(fields) > 0 {
		return e, &api.Error{Kind: api.Invalid, Op: op, Msg: "the RedfishEndpoint is not valid: see errors", Fields: fields}
	}
	e.Type = string(xname.TypeOf(e.ID))
	e.FQDN, e.LastStatus = cmp.Or(e.FQDN, e.ID), cmp.Or(e.LastStatus, "NotYetQueried")
	if e.Enabled == nil {
		e.Enabled = new(true)
	}
	return e, nil
}

// endpointFree refuses an endpoint that the actor may not write, or of which the
// xname or the FQDN is another's. What exists as a BMC alone is no row yet.
func (tx *Txn) endpointFree(op string, e redfishEndpoint, replace bool) error {
	key, verb := xname.Canonical(e.ID), api.Create
	if replace {
		verb = api.Update
	}
	if err := tx.may(verb, op, api.Object{Kind: "component"}); err != nil {
		return err
	}
	if err := tx.territory(op, e.ID); err != nil {
		return err
	}
	_, there := redfishEndpoints.one(tx.Reader, key)
	if there && !replace {
		return api.Errorf(api.Conflict, op, "a RedfishEndpoint with the xname %s already exists", e.ID)
	}
	if _, board := bmcs.holder(tx.Reader, "xname", key); !there && !board && replace {
		return unknownNames(op, "RedfishEndpoint", []string{e.ID})
	}
	if other, taken := redfishEndpoints.holder(tx.Reader, "fqdn", foldASCII(e.FQDN)); taken && xname.Canonical(other.ID) != key {
		return api.Errorf(api.Conflict, op, "a RedfishEndpoint with the FQDN %s already exists: %s", e.FQDN, other.ID)
	}
	return nil
}

// deriveComponents fills in what is not known yet of the components of an
// endpoint. A locked one stays as it is. The NID of a component is a wish: one that
// it has stays, and one that another has is not taken.
func (tx *Txn) deriveComponents(op string, list []component) error {
	var edits componentEdits
	for _, given := range list {
		c, err := given.checked(op)
		if err != nil {
			return err
		}
		if err := tx.territory(op, c.ID); err != nil {
			return err
		}
		e := tx.edit(&edits, c.ID)
		if e.after.Locked {
			continue
		}
		e.after = c.under(e.after)
		if e.after.NID == nil && c.NID != nil {
			if _, taken := components.holder(tx.Reader, "nid", nidKey(*c.NID)); !taken {
				e.after.NID = c.NID
			}
		}
	}
	return tx.storeComponents(op, &edits)
}

// under is a row with what a derived component adds to it. That a place is empty
// is no knowledge of what was found there.
func (c component) under(row component) component {
	found := cmp.Or(c.State, row.State)
	if row.ID == "" {
		row.ID, row.Type = c.ID, c.Type
	}
	row.Implied = false
	row.Subtype, row.Role, row.SubRole = cmp.Or(row.Subtype, c.Subtype), cmp.Or(row.Role, c.Role), cmp.Or(row.SubRole, c.SubRole)
	row.NetType, row.Arch, row.Class = cmp.Or(row.NetType, c.NetType), cmp.Or(row.Arch, c.Arch), cmp.Or(row.Class, c.Class)
	row.Flag, row.SoftwareStatus = cmp.Or(row.Flag, c.Flag), cmp.Or(row.SoftwareStatus, c.SoftwareStatus)
	if row.State == "" || row.State == stateEmpty {
		row.State = found
	}
	if row.Enabled == nil {
		row.Enabled = c.Enabled
	}
	return row.withDefaults()
}

// stateEmpty is the state of a place with nothing in it.
const stateEmpty = "Empty"

// applyDeleteEndpoints forgets endpoints with their ComponentEndpoints. Their
// components are empty from then on, their interfaces stay.
func applyDeleteEndpoints(tx *Txn, c removal) (object, error) {
	const op = "redfish_endpoint.delete"
	rows, err := picked(tx, op, "RedfishEndpoint", redfishEndpoints, c, xname.Canonical, func(key string) error {
		if b, ok := bmcs.holder(tx.Reader, "xname", key); ok {
			return api.Errorf(api.Conflict, op, "RedfishEndpoint %s is BMC %s: delete that", b.XName, b.ID)
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
		tx.dropEndpoint(xname.Canonical(row.ID))
	}
	return object{count: int64(len(rows))}, nil
}

// dropEndpoint forgets the endpoint with that key.
func (tx *Txn) dropEndpoint(key string) {
	empty := append(tx.nodesBehind(key), key)
	for e := range componentEndpoints.all(tx.Reader, "endpoint", key) {
		empty = append(empty, xname.Canonical(e.ID))
	}
	for _, name := range empty {
		if c, ok := components.one(tx.Reader, name); ok && !c.Locked && c.State != stateEmpty {
			c.State = stateEmpty
			components.put(tx, c)
		}
	}
	tx.dropComponentEndpoints(key)
	redfishEndpoints.remove(tx, key)
}

// nodesBehind are the keys of the rows of nodes behind a controller.
func (tx *Txn) nodesBehind(board string) (keys []string) {
	components.in(tx.state).rows.ascend(board+"n", func(key string, it *item[component]) bool {
		if !strings.HasPrefix(key, board+"n") {
			return false
		}
		if it.row.Type == string(xname.Node) {
			keys = append(keys, key)
		}
		return true
	})
	return keys
}

// shown is an endpoint as an answer shows it: without its password.
func (e *redfishEndpoint) shown() smd.RedfishEndpoint {
	return smd.RedfishEndpoint{ID: e.ID, Type: e.Type, Name: e.Name, Hostname: e.Hostname, Domain: e.Domain, FQDN: e.FQDN, Enabled: e.Enabled, UUID: e.UUID,
		URI: e.URI, User: e.User, UseSSDP: e.UseSSDP, MACRequired: e.MACRequired, MACAddr: e.MACAddr, IPAddress: e.IPAddress,
		RediscoverOnUpdate: e.RediscoverOnUpdate, TemplateID: e.TemplateID,
		DiscoveryInfo: &smd.DiscoveryInfo{LastAttempt: e.LastAttempt, LastStatus: e.LastStatus, RedfishVersion: e.RedfishVersion}}
}

// shownEndpoint is an endpoint of the rows that there are: its own wins over the BMC.
func shownEndpoint(e *redfishEndpoint, b *bmc) smd.RedfishEndpoint {
	if e != nil {
		return e.shown()
	}
	return smd.RedfishEndpoint{ID: b.XName, Type: string(xname.NodeBMC), Hostname: b.XName, FQDN: b.XName, Enabled: new(true), User: b.Username,
		MACAddr: b.MAC, IPAddress: cmp.Or(b.IPv4, b.IPv6), DiscoveryInfo: &smd.DiscoveryInfo{LastStatus: "NotYetQueried"}}
}

// RedfishEndpoint finds an endpoint by its xname.
func (r Reader) RedfishEndpoint(name string) (smd.RedfishEndpoint, bool) {
	key := xname.Canonical(name)
	it, _ := redfishEndpoints.in(r.state).rows.get(key)
	b, _ := bmcs.holder(r, "xname", key)
	if it == nil && b == nil {
		return smd.RedfishEndpoint{}, false
	}
	return shownEndpoint(it.orNil(), b), true
}

// EndpointPassword is the sealed password of an endpoint: that of its own row,
// else that of the BMC with the xname; nil without any. They are sealed for
// purposes of their own, which is given too.
func (r Reader) EndpointPassword(name string) (purpose string, sealed []byte) {
	if e, ok := redfishEndpoints.one(r, xname.Canonical(name)); ok && e.Password != nil {
		return SealEndpointPassword, e.Password
	}
	return SealBMCPassword, r.BMCPassword(name)
}

// RedfishEndpoints lists endpoints in the order of their canonical names, behind
// the one named after: those that were posted, and the BMCs that have an xname.
func (r Reader) RedfishEndpoints(after string) iter.Seq[smd.RedfishEndpoint] {
	return func(yield func(smd.RedfishEndpoint) bool) {
		after := xname.Canonical(after)
		rows := redfishEndpoints.in(r.state).rows.behind(after)
		boards := bmcs.index(r.state, "xname").behind(after)
		for {
			key := boards.before(rows.before(""))
			if key == "" || !yield(shownEndpoint(rows.take(key).orNil(), boards.take(key))) {
				return
			}
		}
	}
}

// endpointPut is a client's record with its password sealed. An answer shows no
// password, so an empty one in a request that may be made of an answer means that it stays.
func (w *Writer) endpointPut(r smd.EndpointRecord, replace bool) (endpointPut, error) {
	e := r.Endpoint
	c := endpointPut{Replace: replace, Endpoint: redfishEndpoint{
		ID: e.ID, Type: e.Type, Name: e.Name, Hostname: e.Hostname, Domain: e.Domain, FQDN: e.FQDN, Enabled: e.Enabled, UUID: e.UUID, URI: e.URI,
		User: e.User, UseSSDP: e.UseSSDP, MACRequired: e.MACRequired, MACAddr: e.MACAddr, IPAddress: e.IPAddress,
		RediscoverOnUpdate: e.RediscoverOnUpdate, TemplateID: e.TemplateID,
	}}
	if d := e.DiscoveryInfo; d != nil {
		c.Endpoint.LastAttempt, c.Endpoint.LastStatus, c.Endpoint.RedfishVersion = d.LastAttempt, d.LastStatus, d.RedfishVersion
	}
	c.Components = mapped(r.Components, componentOf)
	c.Endpoints = mapped(r.Endpoints, componentEndpointOf)
	c.Interfaces = mapped(r.Interfaces, interfaceOf)
	if e.Password == "" {
		return c, nil
	}
	var err error
	c.Password, err = w.sealed(SealEndpointPassword, &e.Password)
	return c, err
}

// PutEndpoint stores an endpoint with what is derived from it. Conflict when it,
// or its FQDN, is there and replace is false; NotFound when it is not and replace is true.
func (w *Writer) PutEndpoint(ctx context.Context, r smd.EndpointRecord, replace bool) (Done[smd.RedfishEndpoint], error) {
	c, err := w.endpointPut(r, replace)
	if err != nil {
		return Done[smd.RedfishEndpoint]{}, err
	}
	d, err := propose[redfishEndpoint](ctx, w, putEndpoint, c)
	if d.Gone {
		d.Object = redfishEndpoint{ID: r.Endpoint.ID}
	}
	return as(d, d.Object.shown()), err
}

// DeleteEndpoints forgets endpoints; nil means all that have a row.
func (w *Writer) DeleteEndpoints(ctx context.Context, xnames []string) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, deleteEndpoints, removal{xnames, xnames == nil})
}

// foldASCII is s with its ASCII letters in lower case. strings.ToLower goes by
// Unicode's tables, which grow: peers of two releases must not differ.
func foldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}
