package vmm

import (
	"github.com/orchd/orchd/api"
)

// self is who plans, and what it takes to tell what a domain is made from.
type self struct {
	id, name string
	cluster  string
	seeds    Seeds // nil: no VM has a seed
}

// build is what the domain of a row is made from, as the tables tell. Where the
// content of an image that orchd keeps lies on this host is not known here:
// Loop.prepare adds it.
func (me self) build(w Wanted, row api.VM) (Build, error) {
	b := Build{
		Mark:   Mark{Cluster: me.cluster, VM: row.ID, Epoch: row.Status.Epoch},
		Name:   DomainName(row),
		Spec:   row.Spec,
		Seeded: me.seeds != nil && me.seeds.Seeded(row),
		Record: record(row),
	}
	b.Spec.UserData = ""
	if name := row.Spec.Image; name != "" {
		image, found := w.Image(name)
		if !found {
			return b, api.Errorf(api.Invalid, "vmm.build", "there is no image %q: make it, then start the VM", name)
		}
		b.Image = &image
	}
	nic, err := nicOf(w, row)
	b.NIC = nic
	b.Mark.Spec = Shape(b)
	return b, err
}

// nicOf is the interface of a row's domain, with the addresses that the log allotted.
func nicOf(w Wanted, row api.VM) (*NIC, error) {
	name := row.Spec.Network
	if name == "" {
		return nil, nil
	}
	n, found := w.Network(name)
	switch {
	case !found:
		return nil, api.Errorf(api.Invalid, "vmm.build", "there is no network %q: make it, then start the VM", name)
	case n.Bridge == "" && n.Libvirt == "":
		return nil, api.Errorf(api.Invalid, "vmm.build",
			"network %q has neither a bridge nor a libvirt network to plug a VM into: make a network that has one, and the VM on that", name)
	}
	nic := &NIC{Bridge: n.Bridge, Network: n.Libvirt, Filter: !n.Open, MTU: n.MTU}
	for _, a := range row.Status.Addresses {
		if a.Network != n.Name && a.Network != name { // the row may name it by its id
			continue
		}
		nic.MAC = a.MAC
		if a.IP != "" { // the network may have no range of its own
			nic.IPs = append(nic.IPs, a.IP)
		}
	}
	if nic.MAC == "" {
		return nil, api.Errorf(api.Invalid, "vmm.build", "no address of network %q is allotted to the VM: delete it and make it again", name)
	}
	return nic, nil
}

// record is what a domain remembers of its row: nothing secret, and nothing that
// is about a moment only.
func record(row api.VM) api.VM {
	row.Spec.UserData = ""
	row.Status.Operation, row.Status.Reason, row.Status.Doubles = "", "", nil
	return row
}

// misshapen tells whether a domain is made from something else than its row asks
// for. Where that cannot be told it is left as it is.
func (me self) misshapen(w Wanted, row api.VM, own *Domain) bool {
	b, err := me.build(w, row)
	return err == nil && b.Mark.Spec != own.Mark.Spec
}

// adopted tells whether orchd did not make the domain of a row. It is not made
// again when it has vanished: orchd does not know all of it.
func adopted(row api.VM) bool { return len(row.Status.Flags) > 0 }

// diskElsewhere flags an adopted VM with a disk that is not in orchd's folder.
const diskElsewhere = "disk-not-in-pool"
