package peer

import (
	"context"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/fsm"
)

// counted is the outcome of a write that tells how many objects it touched.
func counted(d fsm.Done[struct{}], err error) (server.Done[int], error) {
	return server.Done[int]{Object: int(d.Count), Replayed: d.Replayed, Index: d.Index}, err
}

// PutComponents makes components, or lays what is given over those that are there.
func (p *Peer) PutComponents(ctx context.Context, c []smd.Component, force bool) (server.Done[int], error) {
	if err := p.room("component.create"); err != nil {
		return server.Done[int]{}, err
	}
	return counted(p.writer.PutComponents(ctx, c, force))
}

// PatchComponents changes components, all or none.
func (p *Peer) PatchComponents(ctx context.Context, c []smd.ComponentChange, force bool) (server.Done[int], error) {
	return counted(p.writer.PatchComponents(ctx, c, force))
}

// DeleteComponents forgets components; nil means all of them.
func (p *Peer) DeleteComponents(ctx context.Context, xnames []string) (server.Done[int], error) {
	return counted(p.writer.DeleteComponents(ctx, xnames))
}

// PutEndpoint stores a Redfish endpoint with what is derived from it.
func (p *Peer) PutEndpoint(ctx context.Context, r smd.EndpointRecord, replace bool) (server.Done[smd.RedfishEndpoint], error) {
	if err := p.room("endpoint.create"); err != nil {
		return server.Done[smd.RedfishEndpoint]{}, err
	}
	return done(p.writer.PutEndpoint(ctx, r, replace))
}

// DeleteEndpoints forgets Redfish endpoints; nil means all of them.
func (p *Peer) DeleteEndpoints(ctx context.Context, xnames []string) (server.Done[int], error) {
	return counted(p.writer.DeleteEndpoints(ctx, xnames))
}

// DeleteComponentEndpoints forgets what Redfish endpoints said of components; nil means of all.
func (p *Peer) DeleteComponentEndpoints(ctx context.Context, xnames []string) (server.Done[int], error) {
	return counted(p.writer.DeleteComponentEndpoints(ctx, xnames))
}

// CreateInterface stores an interface.
func (p *Peer) CreateInterface(ctx context.Context, i smd.EthernetInterface) (server.Done[smd.EthernetInterface], error) {
	if err := p.room("interface.create"); err != nil {
		return server.Done[smd.EthernetInterface]{}, err
	}
	return done(p.writer.CreateInterface(ctx, i))
}

// PatchInterface changes an interface, which may live in a ComputeNode: the
// answer is read from the tables.
func (p *Peer) PatchInterface(ctx context.Context, id string, c smd.InterfacePatch) (server.Done[smd.EthernetInterface], error) {
	d, err := p.writer.PatchInterface(ctx, id, c)
	return afterwards(ctx, p, d, err, func(r fsm.Reader) (smd.EthernetInterface, bool) {
		i, there := r.EthernetInterface(id)
		i.ID = inventory.MACKey(id)
		return i, there
	})
}

// DeleteInterfaces forgets interfaces; nil means all of them.
func (p *Peer) DeleteInterfaces(ctx context.Context, ids []string) (server.Done[int], error) {
	return counted(p.writer.DeleteInterfaces(ctx, ids))
}

func (v view) Component(xname string) (smd.Component, error) {
	c, ok := v.Reader.Component(xname)
	return foundRow(c, ok, "component", "no such component: "+xname)
}

func (v view) ComponentByNID(nid int64) (smd.Component, error) {
	c, ok := v.Reader.ComponentByNID(nid)
	return foundRow(c, ok, "component", "no component has this NID")
}

func (v view) RedfishEndpoint(xname string) (smd.RedfishEndpoint, error) {
	e, ok := v.Reader.RedfishEndpoint(xname)
	return foundRow(e, ok, "redfish_endpoint", "no such RedfishEndpoint: "+xname)
}

func (v view) ComponentEndpoint(xname string) (smd.ComponentEndpoint, error) {
	e, ok := v.Reader.ComponentEndpoint(xname)
	return foundRow(e, ok, "component_endpoint", "no such ComponentEndpoint: "+xname)
}

func (v view) EthernetInterface(id string) (smd.EthernetInterface, error) {
	i, ok := v.Reader.EthernetInterface(id)
	return foundRow(i, ok, "ethernet_interface", "no such EthernetInterface: "+id)
}
