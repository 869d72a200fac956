package fsm

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// ethernetInterface is a MAC address that the State Manager API was told of.
// Those of ComputeNodes are not here: they live in their nodes.
type ethernetInterface struct {
	ID          string        `json:"ID" cbor:"1,keyasint"` // inventory.MACKey of the address; in a body the address as it was given
	Description string        `json:"Description,omitempty" cbor:"2,keyasint,omitempty"`
	LastUpdate  time.Time     `json:"LastUpdate" cbor:"3,keyasint,omitzero"`
	ComponentID string        `json:"ComponentID,omitempty" cbor:"4,keyasint,omitempty"` // an xname, as it was given
	Type        string        `json:"Type,omitempty" cbor:"5,keyasint,omitempty"`
	Addresses   []ipOfNetwork `json:"IPAddresses,omitempty" cbor:"6,keyasint,omitempty"`
}

// ipOfNetwork is smd.IPAddress.
type ipOfNetwork struct {
	IPAddress string `json:"IPAddress" cbor:"1,keyasint"`
	Network   string `json:"Network,omitempty" cbor:"2,keyasint,omitempty"`
}

var ethernetInterfaces = &table[ethernetInterface]{
	name:  "ethernet_interfaces",
	key:   func(i *ethernetInterface) string { return i.ID },
	large: true,
	derived: func(s *sums, old, row *ethernetInterface) {
		s.addresses.leave(old.addresses(), nil)
		s.addresses.enter(row.addresses(), nil)
	},
}

func (i *ethernetInterface) addresses() []string {
	if i == nil {
		return nil
	}
	return mapped(i.Addresses, func(a ipOfNetwork) string { return a.IPAddress })
}

// checked is an interface as a client sent it with its ID and what follows from
// its component.
func (i ethernetInterface) checked(op string) (ethernetInterface, error) {
	var fields []api.FieldError
	if i.ID = inventory.MACKey(i.ID); i.ID == "" {
		fields = append(fields, api.FieldError{Pointer: "/MACAddress", Detail: "expected a MAC address of 12 hexadecimal digits that is not all zero or broadcast"})
	}
	i.Type = ""
	if i.ComponentID != "" {
		if i.Type = string(xname.TypeOf(i.ComponentID)); i.Type == string(xname.Invalid) {
			fields = append(fields, api.FieldError{Pointer: "/ComponentID", Detail: "expected the xname of a component"})
		}
	}
	for k, a := range i.Addresses {
		if _, err := netip.ParseAddr(a.IPAddress); err != nil && len(fields) < maxFaults {
			fields = append(fields, api.FieldError{Pointer: fmt.Sprintf("/IPAddresses/%d/IPAddress", k), Detail: "expected an IPv4 or IPv6 address"})
		}
	}
	if len(fields) == 0 {
		return i, nil
	}
	return i, &api.Error{Kind: api.Invalid, Op: op, Msg: "the EthernetInterface is not valid: see errors", Fields: fields}
}

// sameBoard refuses a component for the MAC address of a BMC at another place.
func (tx *Txn) sameBoard(op string, i ethernetInterface) error {
	b, known := bmcs.holder(tx.Reader, "mac", i.ID)
	if !known || b.XName == "" || i.ComponentID == "" || xname.Canonical(b.XName) == xname.Canonical(i.ComponentID) {
		return nil
	}
	return api.Errorf(api.Conflict, op, "the MAC address %s is that of BMC %s (%s), not of %s", inventory.Colons(i.ID), b.XName, b.ID, i.ComponentID)
}

// freeInterface refuses the MAC address of an interface of another component to
// who stands at place. It is for nodes and BMCs; what names no component is everybody's.
func (tx *Txn) freeInterface(op, place, mac string) error {
	i, ok := ethernetInterfaces.one(tx.Reader, inventory.MACKey(mac))
	if !ok || i.ComponentID == "" || xname.Canonical(i.ComponentID) == xname.Canonical(place) {
		return nil
	}
	return api.Errorf(api.Conflict, op, "an EthernetInterface with the MAC address %s already exists: it belongs to %s", mac, i.ComponentID)
}

// livesInNode is the failure of what can only be done to the ComputeNode that has an interface.
func livesInNode(op, key string, n *computeNode, what string) error {
	return api.Errorf(api.Conflict, op, "the interface %s lives in ComputeNode %s (%s): %s", inventory.Colons(key), n.ID, n.Hostname, what)
}

func applyCreateInterface(tx *Txn, given ethernetInterface) (object, error) {
	const op = "ethernet_interface.create"
	if err := tx.may(api.Create, op, api.Object{Kind: "component"}); err != nil {
		return nothing, err
	}
	i, err := given.checked(op)
	if err != nil {
		return nothing, err
	}
	if err := tx.territory(op, i.ComponentID); err != nil {
		return nothing, err
	}
	if n, taken := computeNodes.holder(tx.Reader, "mac", i.ID); taken {
		return nothing, livesInNode(op, i.ID, n, "it already exists")
	}
	if other, taken := ethernetInterfaces.one(tx.Reader, i.ID); taken {
		return nothing, api.Errorf(api.Conflict, op, "an EthernetInterface with the MAC address %s already exists: %s", inventory.Colons(i.ID), other.ID)
	}
	if err := tx.sameBoard(op, i); err != nil {
		return nothing, err
	}
	i.LastUpdate = tx.Now
	ethernetInterfaces.put(tx, i)
	return object{table: ethernetInterfaces, key: i.ID}, nil
}

// deriveInterfaces stores the interfaces that a Redfish endpoint told of. One
// that lives in a ComputeNode, or in a BMC elsewhere, is left to that.
func (tx *Txn) deriveInterfaces(op string, list []ethernetInterface) error {
	for _, given := range list {
		i, err := given.checked(op)
		if err != nil {
			return err
		}
		if err := tx.territory(op, i.ComponentID); err != nil {
			return err
		}
		if _, ofNode := computeNodes.holder(tx.Reader, "mac", i.ID); ofNode || tx.sameBoard(op, i) != nil {
			continue
		}
		if old, known := ethernetInterfaces.one(tx.Reader, i.ID); known {
			if err := tx.territory(op, old.ComponentID); err != nil {
				return err
			}
			i.Description = cmp.Or(i.Description, old.Description)
			if len(i.Addresses) == 0 {
				i.Addresses = slices.Clone(old.Addresses)
			}
		}
		i.LastUpdate = tx.Now
		ethernetInterfaces.put(tx, i)
	}
	return nil
}

// interfacePatch is a change of an interface; nil leaves a field as it is.
type interfacePatch struct {
	ID          string         `cbor:"1,keyasint"`
	Description *string        `cbor:"2,keyasint,omitempty"`
	ComponentID *string        `cbor:"3,keyasint,omitempty"`
	Addresses   *[]ipOfNetwork `cbor:"4,keyasint,omitempty"`
}

// applyPatchInterface changes an interface where it lives.
func applyPatchInterface(tx *Txn, p interfacePatch) (object, error) {
	const op = "ethernet_interface.patch"
	if err := tx.may(api.Update, op, api.Object{Kind: "component"}); err != nil {
		return nothing, err
	}
	key := inventory.MACKey(p.ID)
	if n, ok := computeNodes.holder(tx.Reader, "mac", key); ok {
		return object{count: 1}, tx.patchPort(op, key, *n, p)
	}
	old, ok := ethernetInterfaces.one(tx.Reader, key)
	if !ok {
		return nothing, unknownNames(op, "EthernetInterface", []string{p.ID})
	}
	i := old
	set(&i.Description, p.Description)
	set(&i.ComponentID, p.ComponentID)
	set(&i.Addresses, p.Addresses)
	i, err := i.checked(op)
	if err != nil {
		return nothing, err
	}
	for _, name := range []string{old.ComponentID, i.ComponentID} {
		if err := tx.territory(op, name); err != nil {
			return nothing, err
		}
	}
	if err := tx.sameBoard(op, i); err != nil {
		return nothing, err
	}
	i.LastUpdate = tx.Now
	ethernetInterfaces.put(tx, i)
	return object{count: 1}, nil
}

// applyDeleteInterfaces forgets interfaces. One that lives in a ComputeNode goes
// with the node, or with a change of it.
func applyDeleteInterfaces(tx *Txn, c removal) (object, error) {
	const op = "ethernet_interface.delete"
	inNode := func(key string) error {
		if n, ok := computeNodes.holder(tx.Reader, "mac", key); ok {
			return livesInNode(op, key, n, "delete it there")
		}
		return nil
	}
	rows, err := picked(tx, op, "EthernetInterface", ethernetInterfaces, c, inventory.MACKey, inNode)
	if err != nil {
		return nothing, err
	}
	for _, row := range rows {
		if err := inNode(row.ID); err != nil && !c.All {
			return nothing, err
		}
		if err := tx.territory(op, row.ComponentID); err != nil {
			return nothing, err
		}
		ethernetInterfaces.remove(tx, row.ID)
	}
	return object{count: int64(len(rows))}, nil
}

func (i *ethernetInterface) shown() smd.EthernetInterface {
	return smd.EthernetInterface{ID: i.ID, Description: i.Description, MACAddress: inventory.Colons(i.ID), LastUpdate: i.LastUpdate, ComponentID: i.ComponentID, Type: i.Type,
		IPAddresses: mapped(i.Addresses, func(a ipOfNetwork) smd.IPAddress { return smd.IPAddress(a) })}
}

// shownInterface is an interface of the rows that there are: the node's wins.
func shownInterface(key string, i *ethernetInterface, n *computeNode) smd.EthernetInterface {
	if n != nil {
		return n.shownPort(key)
	}
	return i.shown()
}

// EthernetInterface finds an interface by its MAC address, in any notation.
func (r Reader) EthernetInterface(id string) (smd.EthernetInterface, bool) {
	key := inventory.MACKey(id)
	it, _ := ethernetInterfaces.in(r.state).rows.get(key)
	n, _ := computeNodes.holder(r, "mac", key)
	if it == nil && n == nil {
		return smd.EthernetInterface{}, false
	}
	return shownInterface(key, it.orNil(), n), true
}

// EthernetInterfaces lists interfaces by ID: those that were posted, and those of
// ComputeNodes.
func (r Reader) EthernetInterfaces(after string) iter.Seq[smd.EthernetInterface] {
	return func(yield func(smd.EthernetInterface) bool) {
		rows := ethernetInterfaces.in(r.state).rows.behind(after)
		nodes := computeNodes.index(r.state, "mac").behind(after)
		for {
			key := nodes.before(rows.before(""))
			if key == "" || !yield(shownInterface(key, rows.take(key).orNil(), nodes.take(key))) {
				return
			}
		}
	}
}

// interfaceOf is a client's interface as the log carries it.
func interfaceOf(i smd.EthernetInterface) ethernetInterface {
	return ethernetInterface{ID: i.MACAddress, Description: i.Description, ComponentID: i.ComponentID, Type: i.Type, Addresses: addressesOf(i.IPAddresses)}
}

func addressesOf(list []smd.IPAddress) []ipOfNetwork {
	return mapped(list, func(a smd.IPAddress) ipOfNetwork { return ipOfNetwork(a) })
}

// CreateInterface stores an interface.
func (w *Writer) CreateInterface(ctx context.Context, i smd.EthernetInterface) (Done[smd.EthernetInterface], error) {
	d, err := propose[ethernetInterface](ctx, w, createInterface, interfaceOf(i))
	if d.Gone {
		d.Object.ID = d.ID
	}
	return as(d, d.Object.shown()), err
}

// PatchInterface changes an interface where it lives: in its own row, or in a ComputeNode.
func (w *Writer) PatchInterface(ctx context.Context, id string, p smd.InterfacePatch) (Done[struct{}], error) {
	c := interfacePatch{ID: id, Description: p.Description, ComponentID: p.ComponentID}
	if p.IPAddresses != nil {
		c.Addresses = new(addressesOf(*p.IPAddresses))
	}
	return propose[struct{}](ctx, w, patchInterface, c)
}

// DeleteInterfaces forgets interfaces; nil means all that have a row.
func (w *Writer) DeleteInterfaces(ctx context.Context, ids []string) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, deleteInterfaces, removal{ids, ids == nil})
}
