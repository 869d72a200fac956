package server

import (
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/schema"
	"github.com/orchd/orchd/api/xname"
)

var nodeKind = inventoryKind[inventory.ComputeNode]{
	kind: "node", noun: "node", named: xname.ForComputeNode,
	taken:   http.StatusBadRequest,
	decode:  schema.DecodeNode,
	find:    InventoryView.ComputeNode,
	rows:    nodesWanted,
	replace: InventoryWrites.ReplaceNode,
	remove:  InventoryWrites.DeleteNode,
	reveal:  InventoryWrites.RevealNode,
	shown:   shownNode,
	append:  appendNode,
	head:    func(n *inventory.ComputeNode) (*string, uint64) { return &n.ID, n.Version },
}

// nodeRoutes are the routes of compute nodes: those of every kind, but for a
// create that takes many, and the allotting of addresses.
func nodeRoutes(path string) []facade {
	routes := nodeKind.routes(path)
	for i := range routes {
		if routes[i].method == post && routes[i].path == path {
			routes[i].answer = createNodes
		}
	}
	return append(routes, facade{post, path + "/{id}/network_interfaces/{n}/allocate", need{api.Update, "node"}, closed, false, allocateAddress})
}

// createNodes stores one node, or the nodes of an array: all of them or none.
func createNodes(s *Server, w http.ResponseWriter, r *http.Request) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	nodes, array, err := schema.DecodeNodes(body)
	switch {
	case err != nil:
		return err
	case len(nodes) == 0: // an empty array asks for nothing
		return writeJSON(w, http.StatusCreated, nodes)
	}
	done, err := s.backend.CreateNodes(r.Context(), nodes, array)
	if err != nil {
		return nodeKind.refused(err)
	}
	if !array {
		return nodeKind.written(w, r, http.StatusCreated, firstOf(done))
	}
	headOf(done).addTo(w.Header())
	w.Header().Add("Vary", "Prefer")
	if prefersMinimal(r) {
		w.Header().Set("Preference-Applied", returnMinimal)
		w.WriteHeader(http.StatusCreated)
		return nil
	}
	sendRows(w, r, http.StatusCreated, slices.Values(done.Object), nodeKind.appendShown)
	return nil
}

// firstOf is what a write of one object gave back.
func firstOf(d Done[[]inventory.ComputeNode]) Done[inventory.ComputeNode] {
	if len(d.Object) == 0 {
		return about(d, inventory.ComputeNode{})
	}
	return about(d, d.Object[0])
}

// allocateAddress gives an interface of a node the next free address of a network.
func allocateAddress(s *Server, w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	network := q.Get("network")
	if !findable(network) {
		return badParameter("/query/network", "expected the name or id of a network")
	}
	k, err := strconv.ParseUint(r.PathValue("n"), 10, 16)
	if err != nil {
		return badParameter("/path/n", "expected the number of an interface, from 0")
	}
	node, err := nodeKind.target(s, r)
	if err != nil {
		return err
	}
	done, err := s.backend.AllocateAddress(r.Context(), node.ID, int(k), network)
	if err != nil {
		return err
	}
	return nodeKind.written(w, r, http.StatusOK, done)
}

// nodesWanted are the nodes that a query selects. What could not be an xname or a
// MAC address selects none, as any other value that no node has.
func nodesWanted(v InventoryView, q url.Values, after string) (iter.Seq[inventory.ComputeNode], error) {
	f := inventory.NodeFilter{XName: q.Get("xname"), Hostname: q.Get("hostname"), Arch: q.Get("arch"),
		BootMAC: q.Get("boot_mac"), BMCMAC: q.Get("bmc_mac")}
	var err error
	if f.MissingIPv4, err = flagIn(q, "missingIPV4"); err != nil {
		return nil, err
	}
	if f.MissingIPv6, err = flagIn(q, "missingIPV6"); err != nil {
		return nil, err
	}
	for _, name := range []string{"xname", "hostname", "arch", "boot_mac", "bmc_mac", "missingIPV4", "missingIPV6"} {
		if len(q[name]) > 1 {
			return nil, badParameter("/query/"+name, "expected once")
		}
	}
	for _, mac := range []string{f.BootMAC, f.BMCMAC} {
		if mac != "" && inventory.MACKey(mac) == "" {
			return func(func(inventory.ComputeNode) bool) {}, nil
		}
	}
	return v.ComputeNodes(f, after), nil
}

// shownNode is a node as answers have it: both names of its place, no secret.
func shownNode(n inventory.ComputeNode) inventory.ComputeNode {
	n.LocationString = n.XName
	n.CloudInit = nil
	if n.Spec != nil && n.Spec.BMCPassword != nil {
		spec := *n.Spec
		spec.BMCPassword = nil
		n.Spec = &spec
	}
	if b := n.BMC; b != nil && (b.Password != nil || b.LocationString != b.XName) {
		bmc := shownBMC(*b)
		n.BMC = &bmc
	}
	return n
}
