package peer

import (
	"github.com/orchd/orchd/api/xname"
)

// The labels that say where a peer stands.
const (
	labelXName = "xname"
	labelRack  = "rack"
)

// place is where a peer stands, as far as that is known, so that voters do not all stand
// in one rack: cabinet/chassis by the label xname, or by the node of the inventory that
// has the peer's name; else the label rack.
func (p *Peer) place(id string) string {
	now := p.machine.Read()
	host, known := now.Peer(id)
	if !known {
		return ""
	}
	name := host.Labels[labelXName]
	if n, there := now.ComputeNode(host.Name); name == "" && there {
		name = n.XName
	}
	if n, err := xname.ParseNode(name); err == nil {
		return n.CabinetName() + "/" + n.ChassisName()
	}
	return host.Labels[labelRack]
}
