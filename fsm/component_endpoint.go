package fsm

import (
	"context"
	"iter"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// componentEndpoint is what a Redfish endpoint said of one component. What
// follows from the FQDN of the endpoint is not in it.
type componentEndpoint struct {
	ID             string      `json:"ID" cbor:"1,keyasint"` // an xname, as it was given
	Type           string      `json:"Type" cbor:"2,keyasint,omitempty"`
	RedfishType    string      `json:"RedfishType,omitempty" cbor:"3,keyasint,omitempty"`
	RedfishSubtype string      `json:"RedfishSubtype,omitempty" cbor:"4,keyasint,omitempty"`
	UUID           string      `json:"UUID,omitempty" cbor:"5,keyasint,omitempty"`
	OdataID        string      `json:"OdataID,omitempty" cbor:"6,keyasint,omitempty"`
	Endpoint       string      `json:"RedfishEndpointID" cbor:"7,keyasint"`
	Enabled        *bool       `json:"Enabled,omitempty" cbor:"8,keyasint,omitempty"`
	EndpointType   string      `json:"ComponentEndpointType,omitempty" cbor:"9,keyasint,omitempty"`
	SystemInfo     *systemInfo `json:"RedfishSystemInfo,omitempty" cbor:"10,keyasint,omitempty"`
}

// systemInfo is smd.RedfishSystemInfo.
type systemInfo struct {
	Name    string   `json:"Name" cbor:"1,keyasint,omitempty"`
	Actions smd.JSON `json:"Actions,omitempty" cbor:"2,keyasint,omitempty"`
	NICs    []port   `json:"EthernetNICInfo,omitempty" cbor:"3,keyasint,omitempty"`
}

// port is smd.EthernetNICInfo.
type port struct {
	RedfishID   string `json:"RedfishId" cbor:"1,keyasint,omitempty"`
	OdataID     string `json:"OdataID" cbor:"2,keyasint,omitempty"`
	Description string `json:"Description" cbor:"3,keyasint,omitempty"`
	Enabled     *bool  `json:"InterfaceEnabled,omitempty" cbor:"4,keyasint,omitempty"`
	MACAddress  string `json:"MACAddress" cbor:"5,keyasint,omitempty"`
}

var componentEndpoints = &table[componentEndpoint]{
	name: "component_endpoints",
	key:  func(e *componentEndpoint) string { return xname.Canonical(e.ID) },
	by: map[string]func(*componentEndpoint) string{
		"endpoint": func(e *componentEndpoint) string { return xname.Canonical(e.Endpoint) },
	},
	large: true,
}

// deriveEndpoints stores what an endpoint says of its components, in place of
// what it said before. When it says nothing, what it said stays.
func (tx *Txn) deriveEndpoints(op string, of redfishEndpoint, list []componentEndpoint) error {
	if len(list) == 0 {
		return nil
	}
	tx.dropComponentEndpoints(xname.Canonical(of.ID))
	for _, e := range list {
		if !xname.ValidComponent(e.ID) {
			return &api.Error{Kind: api.Invalid, Op: op, Msg: "a ComponentEndpoint is not valid: see errors",
				Fields: []api.FieldError{{Pointer: "/ID", Detail: "expected the xname of a component"}}}
		}
		if err := tx.territory(op, e.ID); err != nil {
			return err
		}
		e.Type, e.Endpoint = string(xname.TypeOf(e.ID)), of.ID
		if e.Enabled == nil {
			e.Enabled = new(true)
		}
		componentEndpoints.put(tx, e)
	}
	return nil
}

// dropComponentEndpoints forgets what an endpoint said of its components.
func (tx *Txn) dropComponentEndpoints(endpoint string) {
	var keys []string
	for e := range componentEndpoints.all(tx.Reader, "endpoint", endpoint) {
		keys = append(keys, xname.Canonical(e.ID))
	}
	for _, key := range keys {
		componentEndpoints.remove(tx, key)
	}
}

func applyDeleteComponentEndpoints(tx *Txn, c removal) (object, error) {
	const op = "component_endpoint.delete"
	rows, err := picked(tx, op, "ComponentEndpoint", componentEndpoints, c, xname.Canonical, func(string) error { return nil })
	if err != nil {
		return nothing, err
	}
	for _, row := range rows {
		if err := tx.territory(op, row.ID); err != nil {
			return nothing, err
		}
		componentEndpoints.remove(tx, xname.Canonical(row.ID))
	}
	return object{count: int64(len(rows))}, nil
}

// shownComponentEndpoint is a row with what follows from its endpoint.
func (r Reader) shownComponentEndpoint(e *componentEndpoint) smd.ComponentEndpoint {
	shown := smd.ComponentEndpoint{ID: e.ID, Type: e.Type, RedfishType: e.RedfishType, RedfishSubtype: e.RedfishSubtype, UUID: e.UUID, OdataID: e.OdataID,
		RedfishEndpointID: e.Endpoint, Enabled: e.Enabled, EndpointType: e.EndpointType}
	if of, ok := r.RedfishEndpoint(e.Endpoint); ok {
		shown.RedfishEndpointFQDN, shown.RedfishURL = of.FQDN, of.FQDN+e.OdataID
	}
	if i := e.SystemInfo; i != nil {
		shown.SystemInfo = &smd.RedfishSystemInfo{Name: i.Name, Actions: i.Actions}
		for _, p := range i.NICs {
			shown.SystemInfo.EthernetNICInfo = append(shown.SystemInfo.EthernetNICInfo,
				smd.EthernetNICInfo{RedfishID: p.RedfishID, OdataID: p.OdataID, Description: p.Description, InterfaceEnabled: p.Enabled, MACAddress: p.MACAddress})
		}
	}
	return shown
}

// componentEndpointOf is a client's ComponentEndpoint as the log carries it.
func componentEndpointOf(e smd.ComponentEndpoint) componentEndpoint {
	row := componentEndpoint{ID: e.ID, Type: e.Type, RedfishType: e.RedfishType, RedfishSubtype: e.RedfishSubtype, UUID: e.UUID, OdataID: e.OdataID,
		Endpoint: e.RedfishEndpointID, Enabled: e.Enabled, EndpointType: e.EndpointType}
	if i := e.SystemInfo; i != nil {
		row.SystemInfo = &systemInfo{Name: i.Name, Actions: i.Actions, NICs: mapped(i.EthernetNICInfo, func(p smd.EthernetNICInfo) port {
			return port{RedfishID: p.RedfishID, OdataID: p.OdataID, Description: p.Description, Enabled: p.InterfaceEnabled, MACAddress: p.MACAddress}
		})}
	}
	return row
}

// ComponentEndpoint finds what an endpoint said of a component.
func (r Reader) ComponentEndpoint(name string) (smd.ComponentEndpoint, bool) {
	it, ok := componentEndpoints.in(r.state).rows.get(xname.Canonical(name))
	if !ok {
		return smd.ComponentEndpoint{}, false
	}
	return r.shownComponentEndpoint(&it.row), true
}

// ComponentEndpoints lists what endpoints said of components, in the order of
// their canonical names, behind the one named after.
func (r Reader) ComponentEndpoints(after string) iter.Seq[smd.ComponentEndpoint] {
	return func(yield func(smd.ComponentEndpoint) bool) {
		for e := range componentEndpoints.rowsAfter(r.state, xname.Canonical(after)) {
			if !yield(r.shownComponentEndpoint(e)) {
				return
			}
		}
	}
}

// DeleteComponentEndpoints forgets what endpoints said of components; nil means of all.
func (w *Writer) DeleteComponentEndpoints(ctx context.Context, xnames []string) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, deleteComponentEndpoints, removal{xnames, xnames == nil})
}
