package server

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// fakeStates is what the State Manager API knows, in memory, beside the
// collections of the fleet. It gives passwords in every answer, so that what is not
// in an answer was left out by the server.
type fakeStates struct {
	*fakeFleet
	components map[string]smd.Component // by canonical xname, as all of them
	endpoints  map[string]smd.RedfishEndpoint
	parts      map[string]smd.ComponentEndpoint
	interfaces map[string]smd.EthernetInterface // by MAC
	replays    map[string]int
	walkedSMD  int // rows given to lists
	interferes int // so many replacements of a collection come a moment after somebody else's
}

// newFakeStates makes it a part of f, without anything in it, nor in the collections of the fleet.
func newFakeStates(f *fake) *fakeStates {
	st := &fakeStates{fakeFleet: f.fleet, components: map[string]smd.Component{}, endpoints: map[string]smd.RedfishEndpoint{},
		parts: map[string]smd.ComponentEndpoint{}, interfaces: map[string]smd.EthernetInterface{}, replays: map[string]int{}}
	st.collections = map[string]inventory.NodeCollection{}
	st.open.SMD = true
	f.smd, f.StateManagerWrites, f.InventoryWrites = st, st, st
	return st
}

// asker sends a request as startFake does.
type asker = func(method, path, body string, headers ...string) *http.Response

// startStates is startFake with a State Manager.
func startStates(t *testing.T) (*fakeStates, asker) {
	t.Helper()
	f, _, ask := startFake(t)
	return newFakeStates(f), ask
}

// stored notes a write; again tells that it was there before, with so many objects.
func (f *fakeStates) stored(ctx context.Context, what string) (n int, again bool, err error) {
	if err := f.write(ctx, what); err != nil {
		return 0, false, err
	}
	if k := api.CallerOf(ctx).Once; k != nil {
		n, again = f.replays[k.Key]
	}
	return n, again, nil
}

func (f *fakeStates) counted(ctx context.Context, n int) (Done[int], error) {
	if k := api.CallerOf(ctx).Once; k != nil {
		f.replays[k.Key] = n
	}
	return Done[int]{Object: n, Index: f.index}, nil
}

// changeable refuses what is locked.
func changeable(old smd.Component, force bool) error {
	if old.Locked && !force {
		return api.Errorf(api.Conflict, "component.update", "the component is locked: send Force to change it")
	}
	return nil
}

func (f *fakeStates) PutComponents(ctx context.Context, list []smd.Component, force bool) (Done[int], error) {
	n, again, err := f.stored(ctx, fmt.Sprintf("component.put %d %v", len(list), force))
	if again || err != nil {
		return Done[int]{Object: n, Replayed: true}, err
	}
	for _, c := range list {
		if err := changeable(f.components[xname.Canonical(c.ID)], force); err != nil {
			return Done[int]{}, err
		}
	}
	for _, c := range list {
		f.put(c)
	}
	return f.counted(ctx, len(list))
}

// put stores a component with what it does not bring: what is there, or the defaults.
func (f *fakeStates) put(c smd.Component) {
	key := xname.Canonical(c.ID)
	old := f.components[key]
	if c.Enabled == nil {
		c.Enabled = new(true)
	}
	if c.Type == "Node" {
		if c.Role == "" {
			c.Role = "Compute"
		}
		if c.NID == nil {
			c.NID = old.NID
		}
		if c.NID == nil {
			c.NID = new(int64(len(f.components) + 1000))
		}
	}
	f.components[key] = c
}

func (f *fakeStates) PatchComponents(ctx context.Context, list []smd.ComponentChange, force bool) (Done[int], error) {
	n, again, err := f.stored(ctx, fmt.Sprintf("component.patch %d %v", len(list), force))
	if again || err != nil {
		return Done[int]{Object: n, Replayed: true}, err
	}
	for _, c := range list {
		old, there := f.components[xname.Canonical(c.ID)]
		if !there {
			return Done[int]{}, api.Errorf(api.NotFound, "component.update", "there is no component %s", c.ID)
		}
		if err := changeable(old, force); err != nil {
			return Done[int]{}, err
		}
	}
	for _, p := range list {
		c := f.components[xname.Canonical(p.ID)]
		for to, from := range map[*string]*string{&c.State: p.State, &c.Flag: p.Flag, &c.Role: p.Role, &c.SubRole: p.SubRole, &c.SoftwareStatus: p.SoftwareStatus} {
			if from != nil {
				*to = *from
			}
		}
		if p.Enabled != nil {
			c.Enabled = p.Enabled
		}
		if p.NID != nil {
			c.NID = p.NID
		}
		f.components[xname.Canonical(p.ID)] = c
	}
	return f.counted(ctx, len(list))
}

// forget removes rows by name, all for nil.
func forget[T any](f *fakeStates, ctx context.Context, kind string, table map[string]T, names []string) (Done[int], error) {
	n, again, err := f.stored(ctx, fmt.Sprintf("%s.delete %v", kind, names))
	if again || err != nil {
		return Done[int]{Object: n, Replayed: true}, err
	}
	if names == nil {
		n = len(table)
		clear(table)
		return f.counted(ctx, n)
	}
	for _, key := range names {
		if kind != "interface" { // those are keyed by MAC
			key = xname.Canonical(key)
		}
		if _, there := table[key]; !there {
			return Done[int]{}, notFound(kind)
		}
		delete(table, key)
	}
	return f.counted(ctx, len(names))
}

func (f *fakeStates) DeleteComponents(ctx context.Context, names []string) (Done[int], error) {
	return forget(f, ctx, "component", f.components, names)
}

func (f *fakeStates) PutEndpoint(ctx context.Context, r smd.EndpointRecord, replace bool) (Done[smd.RedfishEndpoint], error) {
	if _, again, err := f.stored(ctx, fmt.Sprintf("endpoint.put %s %v", r.Endpoint.ID, replace)); again || err != nil {
		return Done[smd.RedfishEndpoint]{Object: r.Endpoint, Replayed: true}, err
	}
	key := xname.Canonical(r.Endpoint.ID)
	_, there := f.endpoints[key]
	switch {
	case replace && !there:
		return Done[smd.RedfishEndpoint]{}, notFound("endpoint")
	case !replace && there:
		return Done[smd.RedfishEndpoint]{}, api.Errorf(api.Conflict, "endpoint.create", "this endpoint already exists")
	}
	for other, e := range f.endpoints {
		if other != key && e.FQDN == r.Endpoint.FQDN {
			return Done[smd.RedfishEndpoint]{}, api.Errorf(api.Conflict, "endpoint.create", "an endpoint with this FQDN already exists")
		}
	}
	f.endpoints[key] = r.Endpoint
	for _, c := range r.Components {
		if old, there := f.components[xname.Canonical(c.ID)]; there {
			c.NID, c.Role = old.NID, old.Role
			f.components[xname.Canonical(c.ID)] = c
			continue
		}
		f.put(c)
	}
	for _, p := range r.Endpoints {
		f.parts[xname.Canonical(p.ID)] = p
	}
	for _, i := range r.Interfaces {
		i.LastUpdate = time.Unix(1767225600, 0).UTC()
		f.interfaces[i.ID] = i
	}
	_, err := f.counted(ctx, 1)
	return Done[smd.RedfishEndpoint]{Object: r.Endpoint, Index: f.index}, err
}

func (f *fakeStates) DeleteEndpoints(ctx context.Context, names []string) (Done[int], error) {
	gone := maps.Clone(f.endpoints)
	done, err := forget(f, ctx, "endpoint", f.endpoints, names)
	for key := range gone {
		if _, still := f.endpoints[key]; still {
			continue
		}
		maps.DeleteFunc(f.parts, func(_ string, p smd.ComponentEndpoint) bool { return xname.Canonical(p.RedfishEndpointID) == key })
		for id, c := range f.components {
			if id == key || xname.Parent(id) == key {
				c.State = "Empty"
				f.components[id] = c
			}
		}
	}
	return done, err
}

func (f *fakeStates) DeleteComponentEndpoints(ctx context.Context, names []string) (Done[int], error) {
	return forget(f, ctx, "part", f.parts, names)
}

func (f *fakeStates) CreateInterface(ctx context.Context, i smd.EthernetInterface) (Done[smd.EthernetInterface], error) {
	if _, again, err := f.stored(ctx, "interface.create "+i.ID); again || err != nil {
		return Done[smd.EthernetInterface]{Object: i, Replayed: true}, err
	}
	if _, there := f.interfaces[i.ID]; there {
		return Done[smd.EthernetInterface]{}, api.Errorf(api.Conflict, "interface.create", "an interface with this MAC already exists")
	}
	i.LastUpdate = time.Unix(1767225600, 0).UTC()
	f.interfaces[i.ID] = i
	_, err := f.counted(ctx, 1)
	return Done[smd.EthernetInterface]{Object: i, Index: f.index}, err
}

func (f *fakeStates) PatchInterface(ctx context.Context, id string, p smd.InterfacePatch) (Done[smd.EthernetInterface], error) {
	if _, _, err := f.stored(ctx, "interface.patch "+id); err != nil {
		return Done[smd.EthernetInterface]{}, err
	}
	i, there := f.interfaces[id]
	if !there {
		return Done[smd.EthernetInterface]{}, notFound("interface")
	}
	if p.Description != nil {
		i.Description = *p.Description
	}
	if p.ComponentID != nil {
		i.ComponentID, i.Type = *p.ComponentID, string(xname.TypeOf(*p.ComponentID))
	}
	if p.IPAddresses != nil {
		i.IPAddresses = *p.IPAddresses
	}
	f.interfaces[id] = i
	return Done[smd.EthernetInterface]{Object: i, Index: f.index}, nil
}

func (f *fakeStates) DeleteInterfaces(ctx context.Context, ids []string) (Done[int], error) {
	return forget(f, ctx, "interface", f.interfaces, ids)
}

func one[T any](table map[string]T, key, kind string) (T, error) {
	row, there := table[key]
	if !there {
		return row, notFound(kind)
	}
	return row, nil
}

func (f *fakeStates) Component(x string) (smd.Component, error) {
	return one(f.components, xname.Canonical(x), "component")
}

func (f *fakeStates) ComponentByNID(nid int64) (smd.Component, error) {
	for _, c := range f.components {
		if c.NID != nil && *c.NID == nid {
			return c, nil
		}
	}
	return smd.Component{}, notFound("component")
}

// walk lists a table and counts the rows that were taken.
func walk[T any](f *fakeStates, table map[string]T, after string) iter.Seq[T] {
	all := rows(table, after)
	return func(yield func(T) bool) {
		for row := range all {
			f.walkedSMD++
			if !yield(row) {
				return
			}
		}
	}
}

func (f *fakeStates) Components(after string) iter.Seq[smd.Component] {
	return walk(f, f.components, after)
}

func (f *fakeStates) RedfishEndpoint(x string) (smd.RedfishEndpoint, error) {
	return one(f.endpoints, xname.Canonical(x), "endpoint")
}

func (f *fakeStates) RedfishEndpoints(after string) iter.Seq[smd.RedfishEndpoint] {
	return walk(f, f.endpoints, after)
}

func (f *fakeStates) ComponentEndpoint(x string) (smd.ComponentEndpoint, error) {
	return one(f.parts, xname.Canonical(x), "endpoint")
}

func (f *fakeStates) ComponentEndpoints(after string) iter.Seq[smd.ComponentEndpoint] {
	return walk(f, f.parts, after)
}

func (f *fakeStates) EthernetInterface(id string) (smd.EthernetInterface, error) {
	return one(f.interfaces, id, "interface")
}

func (f *fakeStates) EthernetInterfaces(after string) iter.Seq[smd.EthernetInterface] {
	return walk(f, f.interfaces, after)
}

// ReplaceCollection is that of the fleet, unless somebody was faster.
func (f *fakeStates) ReplaceCollection(ctx context.Context, id string, ifVersion uint64, c inventory.NodeCollection) (Done[inventory.NodeCollection], error) {
	if f.interferes > 0 {
		f.interferes--
		late := f.collections[id]
		late.Version++
		f.collections[id] = late
	}
	return f.fakeFleet.ReplaceCollection(ctx, id, ifVersion, c)
}

// wrote are the calls since the first n that were to change something, as one line.
func (f *fakeStates) wrote(n int) string { return strings.Join(slices.Clone(f.wroteSince(n)), "; ") }
