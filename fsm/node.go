package fsm

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// computeNode is a node as it is stored: with its BMC by id and its secrets sealed.
type computeNode struct {
	ID           string                       `json:"id" cbor:"1,keyasint"`
	Hostname     string                       `json:"hostname" cbor:"2,keyasint"`
	Architecture string                       `json:"architecture" cbor:"3,keyasint"`
	XName        string                       `json:"xname,omitempty" cbor:"4,keyasint,omitempty"` // as it was given
	BootMAC      string                       `json:"boot_mac,omitempty" cbor:"5,keyasint,omitempty"`
	BootIPv4     string                       `json:"boot_ipv4_address,omitempty" cbor:"6,keyasint,omitempty"`
	BootIPv6     string                       `json:"boot_ipv6_address,omitempty" cbor:"7,keyasint,omitempty"`
	NICs         []inventory.NetworkInterface `json:"network_interfaces,omitempty" cbor:"8,keyasint,omitempty"`
	BMC          string                       `json:"bmc,omitempty" cbor:"9,keyasint,omitempty"`
	Description  string                       `json:"description,omitempty" cbor:"10,keyasint,omitempty"`
	BootData     *inventory.BootData          `json:"boot_data,omitempty" cbor:"11,keyasint,omitempty"`
	CloudInit    *cloudInit                   `json:"cloud_init_data,omitempty" cbor:"12,keyasint,omitempty"`
	Spec         *nodeSpec                    `json:"spec,omitempty" cbor:"13,keyasint,omitempty"`
	Status       *inventory.NodeStatus        `json:"status,omitempty" cbor:"14,keyasint,omitempty"`
	Version      uint64                       `json:"version" cbor:"15,keyasint"`
	CreatedAt    time.Time                    `json:"created_at" cbor:"16,keyasint"`
	UpdatedAt    time.Time                    `json:"updated_at" cbor:"17,keyasint"`
}

// nodeSpec is inventory.NodeSpec with its password sealed.
type nodeSpec struct {
	Hostname          string                       `json:"hostname,omitempty" cbor:"1,keyasint,omitempty"`
	BootMAC           string                       `json:"boot_mac,omitempty" cbor:"2,keyasint,omitempty"`
	BootIPv4          string                       `json:"boot_ipv4_address,omitempty" cbor:"3,keyasint,omitempty"`
	BootIPv6          string                       `json:"boot_ipv6_address,omitempty" cbor:"4,keyasint,omitempty"`
	BMCEndpoint       string                       `json:"bmc_endpoint,omitempty" cbor:"5,keyasint,omitempty"`
	BMCUsername       string                       `json:"bmc_username,omitempty" cbor:"6,keyasint,omitempty"`
	BMCPassword       []byte                       `json:"bmc_password,omitempty" cbor:"7,keyasint,omitempty" secret:"true"`
	NICs              []inventory.NetworkInterface `json:"network_interfaces,omitempty" cbor:"8,keyasint,omitempty"`
	BootConfiguration string                       `json:"boot_configuration,omitempty" cbor:"9,keyasint,omitempty"`
}

// cloudInit is inventory.CloudInit with each part sealed.
type cloudInit struct {
	UserData   []byte `json:"userdata,omitempty" cbor:"1,keyasint,omitempty" secret:"true"`
	MetaData   []byte `json:"metadata,omitempty" cbor:"2,keyasint,omitempty" secret:"true"`
	VendorData []byte `json:"vendordata,omitempty" cbor:"3,keyasint,omitempty" secret:"true"`
}

// cloudInitWrite is what a client says of cloud-init data.
type cloudInitWrite struct {
	UserData   secretWrite `cbor:"1,keyasint,omitempty"`
	MetaData   secretWrite `cbor:"2,keyasint,omitempty"`
	VendorData secretWrite `cbor:"3,keyasint,omitempty"`
}

// over is the data after the write; nil when none is left.
func (w *cloudInitWrite) over(old *cloudInit) *cloudInit {
	if w == nil {
		return old
	}
	if old == nil {
		old = &cloudInit{}
	}
	c := cloudInit{w.UserData.over(old.UserData), w.MetaData.over(old.MetaData), w.VendorData.over(old.VendorData)}
	if len(c.UserData)+len(c.MetaData)+len(c.VendorData) == 0 {
		return nil
	}
	return &c
}

// nodeSecretParts are the sealed values of a node, which it then shares with no other row.
func nodeSecretParts(n *computeNode) (parts []secretPart) {
	if n.Spec != nil {
		spec := *n.Spec
		n.Spec = &spec
		parts = append(parts, secretPart{SealSpecPassword, 0, &spec.BMCPassword})
	}
	if n.CloudInit != nil {
		c := *n.CloudInit
		n.CloudInit = &c
		parts = append(parts, secretPart{SealNodeCloudInit, 0, &c.UserData}, secretPart{SealNodeCloudInit, 1, &c.MetaData}, secretPart{SealNodeCloudInit, 2, &c.VendorData})
	}
	return parts
}

var computeNodes = &table[computeNode]{
	name:    "compute_nodes",
	secrets: nodeSecretParts,
	key:     func(n *computeNode) string { return n.ID },
	by: map[string]func(*computeNode) string{
		"bmc": func(n *computeNode) string { return n.BMC },
	},
	unique: map[string]func(*computeNode) []string{
		"xname": func(n *computeNode) []string { return oneOrNone(xname.Canonical(n.XName)) },
		"mac":   (*computeNode).macs,
	},
	large: true,
	derived: func(s *sums, old, row *computeNode) {
		s.addresses.leave(old.addresses(), old)
		s.addresses.enter(row.addresses(), row)
	},
}

// macs are the keys of the MAC addresses that belong to a node, each once. What
// controllers saw is not among them: a wrong sight must not bar a true statement.
func (n *computeNode) macs() []string {
	keys := distinct[string]{list: make([]string, 0, 1+len(n.NICs))}
	add := func(mac string) {
		if key := inventory.MACKey(mac); key != "" {
			keys.add(key)
		}
	}
	add(n.BootMAC)
	for i := range n.NICs {
		add(n.NICs[i].MACAddress)
	}
	if n.Spec != nil {
		add(n.Spec.BootMAC)
		for i := range n.Spec.NICs {
			add(n.Spec.NICs[i].MACAddress)
		}
	}
	return keys.list
}

// addresses are all IP addresses that a node names, its own and those seen.
func (n *computeNode) addresses() []string {
	if n == nil {
		return nil
	}
	all := make([]string, 0, 2+2*len(n.NICs))
	all = append(all, n.BootIPv4, n.BootIPv6)
	add := func(nics []inventory.NetworkInterface) {
		for i := range nics {
			all = append(all, nics[i].IPv4Address, nics[i].IPv6Address)
		}
	}
	add(n.NICs)
	if n.Spec != nil {
		all = append(all, n.Spec.BootIPv4, n.Spec.BootIPv6)
		add(n.Spec.NICs)
	}
	if n.Status != nil {
		add(n.Status.NetworkInterfaces)
	}
	return all
}

// nodeWrite is what a client says of a node. In Node stand the fields that are
// stored as they are given.
type nodeWrite struct {
	Node         computeNode     `cbor:"1,keyasint"`
	BMC          *bmcWrite       `cbor:"2,keyasint,omitempty"`
	CloudInit    *cloudInitWrite `cbor:"3,keyasint,omitempty"`
	SpecPassword *secretWrite    `cbor:"4,keyasint,omitempty"`
}

type nodesCreate struct {
	Nodes []nodeWrite `cbor:"1,keyasint"`
	Array bool        `cbor:"2,keyasint,omitempty"` // faults are pointed at as /K/...
}

// maxFaults is how many items of an array are told to be wrong at once.
const maxFaults = 100

// applyCreateNodes stores all nodes or none. The k-th has id objectID(command, k);
// BMCs that come into being have the ids after theirs.
func applyCreateNodes(tx *Txn, c nodesCreate) (object, error) {
	const op = "node.create"
	if err := tx.may(api.Create, op, api.Object{Kind: "node"}); err != nil {
		return nothing, err
	}
	tx.next = len(c.Nodes)
	var all batchFaults
	for k, w := range c.Nodes {
		if err := tx.createNode(op, k, w); err != nil && !all.add(k, err) {
			break
		}
	}
	if err := all.asError(op, c.Array); err != nil {
		return nothing, err
	}
	return object{table: computeNodes, key: objectID(tx.ID, 0), count: int64(len(c.Nodes))}, nil
}

func (tx *Txn) createNode(op string, k int, w nodeWrite) error {
	if w.Node.Status != nil {
		if err := tx.mayStatus(op); err != nil {
			return err
		}
	}
	n := w.over(computeNode{ID: objectID(tx.ID, k)})
	_, err := tx.putNode(op, n, w.BMC)
	return err
}

// over is what the write makes of old: the fields of the write, but for what the
// server gives and the secrets that are not mentioned.
func (w nodeWrite) over(old computeNode) computeNode {
	n := w.Node
	n.ID, n.BMC, n.Version, n.CreatedAt = old.ID, old.BMC, old.Version, old.CreatedAt
	n.CloudInit = w.CloudInit.over(old.CloudInit)
	n.Spec = w.spec(old.Spec)
	return n
}

// spec is the spec after the write, where it was old; nil when nothing is in it.
func (w nodeWrite) spec(old *nodeSpec) *nodeSpec {
	var spec nodeSpec
	if w.Node.Spec != nil {
		spec = *w.Node.Spec
	}
	if old != nil {
		spec.BMCPassword = old.BMCPassword
	}
	if w.SpecPassword != nil {
		spec.BMCPassword = w.SpecPassword.over(spec.BMCPassword)
	}
	if len(spec.BMCPassword) == 0 && !spec.isVisible() {
		return nil
	}
	return &spec
}

// isVisible tells whether there is more in a spec than its password.
func (s *nodeSpec) isVisible() bool {
	return len(s.NICs) > 0 || cmp.Or(s.Hostname, s.BootMAC, s.BootIPv4, s.BootIPv6, s.BMCEndpoint, s.BMCUsername, s.BootConfiguration) != ""
}

// putNode stores a node, and its BMC, if what is unique in it is free.
func (tx *Txn) putNode(op string, n computeNode, w *bmcWrite) (computeNode, error) {
	if err := n.faults(op); err != nil {
		return n, err
	}
	if err := tx.tenancy(op, n.XName); err != nil {
		return n, err
	}
	if err := tx.freePlace(op, n); err != nil {
		return n, err
	}
	before := n.BMC
	var err error
	if n.BMC, err = tx.bmcOf(op, n, w); err != nil {
		return n, below("/bmc", err)
	}
	for _, mac := range n.macs() { // after its BMC, which may not have them either
		if err := tx.freeMAC(op, n.ID, "", mac); err != nil {
			return n, err
		}
		if err := tx.freeInterface(op, n.XName, mac); err != nil {
			return n, err
		}
	}
	n.Version++
	n.UpdatedAt = tx.Now
	if n.CreatedAt.IsZero() {
		n.CreatedAt = tx.Now
	}
	was, _ := computeNodes.one(tx.Reader, n.ID)
	n = computeNodes.put(tx, n)
	tx.dropImplied(was.XName)
	if before != "" && before != n.BMC {
		tx.dropInferred(before)
	}
	return n, nil
}

// freePlace refuses the xname of another node.
func (tx *Txn) freePlace(op string, n computeNode) error {
	if n.XName == "" {
		return nil
	}
	if other, taken := computeNodes.holder(tx.Reader, "xname", xname.Canonical(n.XName)); taken && other.ID != n.ID {
		return api.Errorf(api.Conflict, op, "a ComputeNode with the xname %s already exists: %s", n.XName, other.ID)
	}
	return nil
}

// faults says what is missing or malformed in a node; the rest its schema has checked.
func (n *computeNode) faults(op string) error {
	var fields []api.FieldError
	if n.Hostname == "" {
		fields = append(fields, api.FieldError{Pointer: "/hostname", Detail: "is required"})
	}
	if n.Architecture == "" {
		fields = append(fields, api.FieldError{Pointer: "/architecture", Detail: "is required"})
	}
	if n.XName != "" {
		if _, err := xname.ParseNode(n.XName); err != nil {
			fields = append(fields, api.FieldError{Pointer: "/xname", Detail: err.Error()})
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Op: op, Msg: "the ComputeNode is not valid: see errors", Fields: fields}
}

// mayStatus refuses a status from who does not observe nodes.
func (tx *Txn) mayStatus(op string) error {
	if api.Allowed(tx.Actor, api.Update, api.Object{Kind: "node-status"}) {
		return nil
	}
	return api.Errorf(api.Forbidden, op, "the status of a node is written by controllers; role %q may not", tx.Actor.Role)
}

type nodeReplace struct {
	ID        string    `cbor:"1,keyasint"`
	IfVersion uint64    `cbor:"2,keyasint,omitempty"`
	Node      nodeWrite `cbor:"3,keyasint"`
}

// applyReplaceNode replaces what a client may set. Status belongs to
// controllers and the rest to users, so each leaves the other's part as it is.
func applyReplaceNode(tx *Txn, c nodeReplace) (object, error) {
	const op = "node.replace"
	old, err := tx.nodeAt(op, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	n := c.Node.over(old)
	canonicalize(&n)
	if n.Status == nil {
		n.Status = old.Status
	} else if !sameRow(n.Status, old.Status) {
		if err := tx.mayStatus(op); err != nil {
			return nothing, err
		}
	}
	if err := tx.may(api.Update, op, api.Object{Kind: "node"}); err != nil {
		if !tx.statusOnly(c.Node, n, old) {
			return nothing, err
		}
		return tx.storeStatus(op, n)
	}
	if err := tx.tenancy(op, old.XName); err != nil {
		return nothing, err
	}
	n, err = tx.putNode(op, n, c.Node.BMC)
	return object{table: computeNodes, key: n.ID}, err
}

// statusOnly tells whether a write leaves all but the status as it is; what it
// does not mention it leaves too.
func (tx *Txn) statusOnly(w nodeWrite, n, old computeNode) bool {
	if board, ok := bmcs.one(tx.Reader, old.BMC); w.BMC != nil && (!ok || !sameBMC(w.BMC.onto(board), board)) {
		return false
	}
	n.Status, n.UpdatedAt = old.Status, old.UpdatedAt
	return w.CloudInit == nil && w.SpecPassword == nil && sameRow(&n, &old)
}

// storeStatus stores a node of which only the status is new.
func (tx *Txn) storeStatus(op string, n computeNode) (object, error) {
	if err := tx.mayStatus(op); err != nil {
		return nothing, err
	}
	if err := tx.tenancy(op, n.XName); err != nil {
		return nothing, err
	}
	n.Version++
	n.UpdatedAt = tx.Now
	computeNodes.put(tx, n)
	return object{table: computeNodes, key: n.ID}, nil
}

// sameRow tells whether two values are stored alike.
func sameRow[T any](a, b *T) bool { return rowSum("", a) == rowSum("", b) }

// nodeAt is the node with that id, in that version if one is named.
func (tx *Txn) nodeAt(op, id string, ifVersion uint64) (computeNode, error) {
	n, ok := computeNodes.one(tx.Reader, id)
	if !ok {
		return n, api.Errorf(api.NotFound, op, "node not found")
	}
	return n, sameVersion(op, n.Version, ifVersion)
}

// applyDeleteNode forgets a node, and what existed only by its xname. Collections
// still list the xname: they may list what does not exist.
func applyDeleteNode(tx *Txn, c versioned) (object, error) {
	const op = "node.delete"
	if err := tx.may(api.Delete, op, api.Object{Kind: "node"}); err != nil {
		return nothing, err
	}
	n, err := tx.nodeAt(op, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	if err := tx.tenancy(op, n.XName); err != nil {
		return nothing, err
	}
	computeNodes.remove(tx, n.ID)
	tx.dropImplied(n.XName)
	tx.dropInferred(n.BMC)
	return nothing, nil
}

// batchFaults collects what is wrong with the items of an array.
type batchFaults struct {
	first  *api.Error
	fields []api.FieldError
}

// add notes what is wrong with the k-th item; false when there is room for no more.
func (b *batchFaults) add(k int, err error) bool {
	e := refusal(err)
	if b.first == nil {
		b.first = e
	}
	at := "/" + strconv.Itoa(k)
	for _, f := range e.Fields {
		b.fields = append(b.fields, api.FieldError{Pointer: at + f.Pointer, Detail: f.Detail})
	}
	if len(e.Fields) == 0 {
		b.fields = append(b.fields, api.FieldError{Pointer: at, Detail: e.Msg})
	}
	return len(b.fields) < maxFaults && e.Kind != api.Forbidden
}

// asError is the error of the whole array, or of its only item.
func (b *batchFaults) asError(op string, array bool) error {
	switch {
	case b.first == nil:
		return nil
	case !array || b.first.Kind == api.Forbidden:
		return b.first
	}
	return &api.Error{Kind: b.first.Kind, Op: op, Msg: "nothing was stored, for an item was refused: " + b.first.Msg, Fields: b.fields}
}

// below moves the pointers of an error under a field.
func below(pointer string, err error) error {
	e := *refusal(err)
	fields := make([]api.FieldError, 0, len(e.Fields))
	for _, f := range e.Fields {
		if f.Pointer != pointer && !hasPrefixPath(f.Pointer, pointer) {
			f.Pointer = pointer + f.Pointer
		}
		fields = append(fields, f)
	}
	if e.Fields = fields; len(fields) == 0 {
		e.Fields = nil
	}
	return &e
}

func hasPrefixPath(pointer, prefix string) bool {
	rest, ok := strings.CutPrefix(pointer, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
