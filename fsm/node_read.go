package fsm

import (
	"context"
	"iter"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// nodeRow finds a node by id or xname.
func (r Reader) nodeRow(ref string) (*computeNode, bool) {
	if it, ok := computeNodes.in(r.state).rows.get(ref); ok {
		return &it.row, true
	}
	return computeNodes.holder(r, "xname", xname.Canonical(ref))
}

// ComputeNode finds a node by id or xname.
func (r Reader) ComputeNode(ref string) (inventory.ComputeNode, bool) {
	n, ok := r.nodeRow(ref)
	if !ok {
		return inventory.ComputeNode{}, false
	}
	return r.shownNode(n), true
}

// shownNode is a node as an answer shows it: with its BMC and without secrets.
func (r Reader) shownNode(n *computeNode) inventory.ComputeNode {
	shown := inventory.ComputeNode{
		ID: n.ID, Hostname: n.Hostname, Architecture: n.Architecture, XName: n.XName, LocationString: n.XName,
		BootMAC: n.BootMAC, BootIPv4: n.BootIPv4, BootIPv6: n.BootIPv6, NetworkInterfaces: n.NICs, Description: n.Description,
		BootData: n.BootData, Spec: n.Spec.shown(), Status: n.Status, Version: n.Version, CreatedAt: n.CreatedAt, UpdatedAt: n.UpdatedAt,
	}
	if b, ok := bmcs.in(r.state).rows.get(n.BMC); ok {
		board := b.row.shown()
		shown.BMC = &board
	}
	return shown
}

func (s *nodeSpec) shown() *inventory.NodeSpec {
	if s == nil || !s.isVisible() {
		return nil
	}
	return &inventory.NodeSpec{Hostname: s.Hostname, BootMAC: s.BootMAC, BootIPv4: s.BootIPv4, BootIPv6: s.BootIPv6,
		BMCEndpoint: s.BMCEndpoint, BMCUsername: s.BMCUsername, NetworkInterfaces: s.NICs, BootConfiguration: s.BootConfiguration}
}

// ComputeNodes lists the nodes that a filter selects, by id.
func (r Reader) ComputeNodes(f inventory.NodeFilter, after string) iter.Seq[inventory.ComputeNode] {
	keep := r.nodeTest(f)
	return func(yield func(inventory.ComputeNode) bool) {
		for n := range r.nodeCandidates(f, after) {
			if n.ID > after && keep(n) && !yield(r.shownNode(n)) {
				return
			}
		}
	}
}

// nodeCandidates are the rows to look at: by an index where the filter names
// what has one.
func (r Reader) nodeCandidates(f inventory.NodeFilter, after string) iter.Seq[*computeNode] {
	switch {
	case f.XName != "":
		return oneRow(computeNodes.holder(r, "xname", xname.Canonical(f.XName)))
	case f.BootMAC != "":
		return oneRow(computeNodes.holder(r, "mac", inventory.MACKey(f.BootMAC)))
	case f.BMCMAC != "":
		return func(yield func(*computeNode) bool) {
			b, ok := bmcs.holder(r, "mac", inventory.MACKey(f.BMCMAC))
			if !ok {
				return
			}
			for n := range computeNodes.all(r, "bmc", b.ID) {
				if !yield(&n) {
					return
				}
			}
		}
	}
	return computeNodes.rowsAfter(r.state, after)
}

func oneRow[T any](row *T, found bool) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		if found {
			yield(row)
		}
	}
}

// nodeTest tells which rows a filter selects; its candidates may be too many.
func (r Reader) nodeTest(f inventory.NodeFilter) func(*computeNode) bool {
	place, bootMAC, bmcMAC := xname.Canonical(f.XName), inventory.MACKey(f.BootMAC), inventory.MACKey(f.BMCMAC)
	return func(n *computeNode) bool {
		return (f.XName == "" || xname.Canonical(n.XName) == place) &&
			(f.Hostname == "" || n.Hostname == f.Hostname) &&
			(f.Arch == "" || n.Architecture == f.Arch) &&
			(f.BootMAC == "" || bootMAC != "" && inventory.MACKey(n.BootMAC) == bootMAC) &&
			(f.BMCMAC == "" || bmcMAC != "" && r.bmcMAC(n.BMC) == bmcMAC) &&
			(!f.MissingIPv4 || !n.hasAddress(func(i *inventory.NetworkInterface) string { return i.IPv4Address }, n.BootIPv4)) &&
			(!f.MissingIPv6 || !n.hasAddress(func(i *inventory.NetworkInterface) string { return i.IPv6Address }, n.BootIPv6))
	}
}

func (r Reader) bmcMAC(id string) string {
	b, _ := bmcs.one(r, id)
	return inventory.MACKey(b.MAC)
}

// hasAddress tells whether a node has an address of one family, to boot with or on an interface.
func (n *computeNode) hasAddress(of func(*inventory.NetworkInterface) string, boot string) bool {
	if boot != "" {
		return true
	}
	for i := range n.NICs {
		if of(&n.NICs[i]) != "" {
			return true
		}
	}
	return false
}

// NodeSecrets are the sealed secrets of a node and of its BMC.
type NodeSecrets struct {
	Node, BMC    string // their ids
	BMCPassword  []byte
	SpecPassword []byte
	UserData     []byte
	MetaData     []byte
	VendorData   []byte
}

// NodeSecrets finds the secrets of a node by id or xname.
func (r Reader) NodeSecrets(ref string) (NodeSecrets, bool) {
	n, ok := r.nodeRow(ref)
	if !ok {
		return NodeSecrets{}, false
	}
	s := NodeSecrets{Node: n.ID, BMC: n.BMC, BMCPassword: r.BMCPassword(n.BMC)}
	if c := n.CloudInit; c != nil {
		s.UserData, s.MetaData, s.VendorData = c.UserData, c.MetaData, c.VendorData
	}
	if n.Spec != nil {
		s.SpecPassword = n.Spec.BMCPassword
	}
	return s, true
}

// nodeWrite is a client's node with its secrets sealed.
func (w *Writer) nodeWrite(n *inventory.ComputeNode) (nodeWrite, error) {
	write := nodeWrite{Node: computeNode{
		Hostname: n.Hostname, Architecture: n.Architecture, XName: n.XName, BootMAC: n.BootMAC, BootIPv4: n.BootIPv4, BootIPv6: n.BootIPv6,
		NICs: n.NetworkInterfaces, Description: n.Description, BootData: n.BootData, Status: n.Status,
	}}
	var err error
	if write.BMC, err = w.bmcWrite(n.BMC); err != nil {
		return write, err
	}
	if s := n.Spec; s != nil {
		write.Node.Spec = &nodeSpec{Hostname: s.Hostname, BootMAC: s.BootMAC, BootIPv4: s.BootIPv4, BootIPv6: s.BootIPv6,
			BMCEndpoint: s.BMCEndpoint, BMCUsername: s.BMCUsername, NICs: s.NetworkInterfaces, BootConfiguration: s.BootConfiguration}
		password, err := w.sealed(SealSpecPassword, s.BMCPassword)
		if err != nil {
			return write, err
		}
		if password.Given {
			write.SpecPassword = &password
		}
	}
	write.CloudInit, err = w.cloudInitWrite(n.CloudInit)
	return write, err
}

// cloudInitWrite is a client's cloud-init data sealed. Parts that are left out
// stay; nothing in it at all takes everything away.
func (w *Writer) cloudInitWrite(c *inventory.CloudInit) (*cloudInitWrite, error) {
	if c == nil {
		return nil, nil
	}
	if *c == (inventory.CloudInit{ID: c.ID}) {
		gone := secretWrite{Given: true}
		return &cloudInitWrite{gone, gone, gone}, nil
	}
	var write cloudInitWrite
	for _, part := range []struct {
		to   *secretWrite
		from inventory.Object
	}{{&write.UserData, c.UserData}, {&write.MetaData, c.MetaData}, {&write.VendorData, c.VendorData}} {
		var err error
		if *part.to, err = w.sealed(SealNodeCloudInit, part.from.Secret()); err != nil {
			return nil, err
		}
	}
	return &write, nil
}

// CreateNodes stores all nodes or none. It gives the id of each, in order; the
// rows are to be read once the index of the write has been applied.
func (w *Writer) CreateNodes(ctx context.Context, nodes []inventory.ComputeNode, array bool) (Done[[]string], error) {
	c := nodesCreate{Nodes: make([]nodeWrite, len(nodes)), Array: array}
	for k := range nodes {
		var err error
		if c.Nodes[k], err = w.nodeWrite(&nodes[k]); err != nil {
			return Done[[]string]{}, err
		}
	}
	d, err := propose[computeNode](ctx, w, createNodes, c)
	ids := make([]string, d.Count)
	for k := range ids {
		ids[k] = objectID(d.Command, k)
	}
	return as(d, ids), err
}

// ReplaceNode replaces what the caller may set of a node: a user all but its
// status, a controller its status. Secrets that are not given stay.
func (w *Writer) ReplaceNode(ctx context.Context, id string, ifVersion uint64, n inventory.ComputeNode) (Done[string], error) {
	write, err := w.nodeWrite(&n)
	if err != nil {
		return Done[string]{}, err
	}
	d, err := propose[computeNode](ctx, w, replaceNode, nodeReplace{id, ifVersion, write})
	return as(d, id), err
}

// DeleteNode forgets a node.
func (w *Writer) DeleteNode(ctx context.Context, id string, ifVersion uint64) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, deleteNode, versioned{id, ifVersion})
}
