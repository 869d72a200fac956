package fsm

import (
	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/xname"
)

// domain is what VMs of a group are spread over: a host, its chassis, its cabinet,
// or all hosts with the same value of a label.
type domain struct{ key, name string }

// domains are those of one placement.
type domains struct {
	by     api.Placement
	xnames map[string]string // by peer name: where its ComputeNode stands
	held   map[string]int    // by key: VMs of the group
}

// domainsOf counts the VMs of the group in each domain.
func domainsOf(r Reader, a ask) domains {
	d := domains{by: a.spec.Placement, held: map[string]int{}}
	if d.by.Spread == "" {
		return d
	}
	if d.by.Spread == api.SpreadChassis || d.by.Spread == api.SpreadCabinet {
		d.xnames = hostXnames(r)
	}
	for owner, n := range ordered(neighbours(r, a, d.by.Group)) {
		if host, known := peers.one(r, owner); known {
			d.held[d.of(host).key] += n
		}
	}
	return d
}

// of is the domain that a host is in. One whose place is not known is its own.
func (d domains) of(host api.Peer) domain {
	switch d.by.Spread {
	case api.SpreadLabel:
		if value, has := host.Labels[d.by.SpreadLabel]; has {
			label := d.by.SpreadLabel + "=" + value
			return domain{"label " + label, "peers with " + label}
		}
	case api.SpreadChassis, api.SpreadCabinet:
		at, err := xname.ParseNode(d.xnames[host.Name])
		if err != nil {
			break
		}
		if d.by.Spread == api.SpreadChassis {
			return domain{"chassis " + at.ChassisName(), "chassis " + at.ChassisName()}
		}
		return domain{"cabinet " + at.CabinetName(), "cabinet " + at.CabinetName()}
	}
	return domain{"peer " + host.ID, "this peer"}
}

// hostXnames are the xnames of the ComputeNodes that are also peers: those whose
// hostname is the peer's name, the first by id where several have it. This walks all
// nodes, 10 ms with a quarter of a million: an index would cost every peer its memory
// for what is asked only when VMs are spread over chassis or cabinets.
func hostXnames(r Reader) map[string]string {
	names := map[string]string{}
	for p := range r.Members() {
		names[p.Name] = ""
	}
	for n := range computeNodes.rowsAfter(r.state, "") {
		if at, isPeer := names[n.Hostname]; isPeer && at == "" {
			names[n.Hostname] = n.XName
		}
	}
	return names
}
