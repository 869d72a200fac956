package fsm

import (
	"iter"
	"strings"

	"github.com/orchd/orchd/api/smd"
	"github.com/orchd/orchd/api/xname"
)

// A component is put together from up to three rows: what the State Manager API
// was told of its xname, and the ComputeNode or the BMC that has it. The first wins.

// impliedComponent is the row that a ComputeNode or BMC stands for by its xname.
// What follows from the node, such as its architecture, is not in it: it is
// filled in when the component is shown, and so stays true.
func (r Reader) impliedComponent(name string) (component, bool) {
	key := xname.Canonical(name)
	if n, ok := computeNodes.holder(r, "xname", key); ok && key != "" {
		return component{ID: n.XName, Type: string(xname.Node), Enabled: new(true), Implied: true}, true
	}
	if b, ok := bmcs.holder(r, "xname", key); ok && key != "" {
		return component{ID: b.XName, Type: string(xname.NodeBMC), Enabled: new(true), Implied: true}, true
	}
	return component{}, false
}

// shownComponent is a component as an answer shows it, of the rows that there are.
func shownComponent(c *component, n *computeNode, b *bmc) smd.Component {
	var shown smd.Component
	switch {
	case c != nil:
		shown = smd.Component{ID: c.ID, Type: c.Type, Subtype: c.Subtype, Role: c.Role, SubRole: c.SubRole, NetType: c.NetType, Arch: c.Arch, Class: c.Class,
			State: c.State, Flag: c.Flag, Enabled: c.Enabled, SoftwareStatus: c.SoftwareStatus, NID: c.NID,
			ReservationDisabled: c.ReservationDisabled, Locked: c.Locked}
	case n != nil:
		shown = smd.Component{ID: n.XName, Type: string(xname.Node), Enabled: new(true)}
	case b != nil:
		shown = smd.Component{ID: b.XName, Type: string(xname.NodeBMC), Enabled: new(true)}
	}
	if n == nil {
		return shown
	}
	if shown.Role == "" {
		shown.Role = "Compute"
	}
	if shown.Arch == "" {
		shown.Arch = archOf(n.Architecture)
	}
	return shown
}

// archOf is a node's architecture in the State Manager's words.
func archOf(architecture string) string {
	switch strings.ToLower(architecture) {
	case "x86_64":
		return "X86"
	case "aarch64", "arm64":
		return "ARM"
	}
	return "Other"
}

// Component finds what is known of an xname.
func (r Reader) Component(name string) (smd.Component, bool) {
	key := xname.Canonical(name)
	it, _ := components.in(r.state).rows.get(key)
	n, _ := computeNodes.holder(r, "xname", key)
	b, _ := bmcs.holder(r, "xname", key)
	if it == nil && n == nil && b == nil {
		return smd.Component{}, false
	}
	return shownComponent(it.orNil(), n, b), true
}

// ComponentByNID finds the component that has a NID.
func (r Reader) ComponentByNID(nid int64) (smd.Component, bool) {
	c, ok := components.holder(r, "nid", nidKey(nid))
	if !ok {
		return smd.Component{}, false
	}
	return r.Component(c.ID)
}

// Components lists all components in the order of their canonical names, behind
// the one named after.
func (r Reader) Components(after string) iter.Seq[smd.Component] {
	return func(yield func(smd.Component) bool) {
		after := xname.Canonical(after)
		rows := components.in(r.state).rows.behind(after)
		nodes := computeNodes.index(r.state, "xname").behind(after)
		boards := bmcs.index(r.state, "xname").behind(after)
		for {
			key := boards.before(nodes.before(rows.before("")))
			if key == "" || !yield(shownComponent(rows.take(key).orNil(), nodes.take(key), boards.take(key))) {
				return
			}
		}
	}
}
