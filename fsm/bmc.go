package fsm

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// bmc is a board's management controller as it is stored: with its password sealed.
type bmc struct {
	ID          string    `json:"id" cbor:"1,keyasint"`
	XName       string    `json:"xname,omitempty" cbor:"2,keyasint,omitempty"` // as it was given
	Username    string    `json:"username,omitempty" cbor:"3,keyasint,omitempty"`
	Password    []byte    `json:"password,omitempty" cbor:"4,keyasint,omitempty" secret:"true"`
	MAC         string    `json:"mac_address,omitempty" cbor:"5,keyasint,omitempty"`
	IPv4        string    `json:"ipv4_address,omitempty" cbor:"6,keyasint,omitempty"`
	IPv6        string    `json:"ipv6_address,omitempty" cbor:"7,keyasint,omitempty"`
	Description string    `json:"description,omitempty" cbor:"8,keyasint,omitempty"`
	Inferred    bool      `json:"inferred,omitempty" cbor:"9,keyasint,omitempty"` // from a node's xname: nobody posted it
	Version     uint64    `json:"version" cbor:"10,keyasint"`
	CreatedAt   time.Time `json:"created_at" cbor:"11,keyasint"`
	UpdatedAt   time.Time `json:"updated_at" cbor:"12,keyasint"`
}

var bmcs = &table[bmc]{
	name:    "bmcs",
	secrets: func(row *bmc) []secretPart { return []secretPart{{SealBMCPassword, 0, &row.Password}} },
	key:     func(b *bmc) string { return b.ID },
	unique: map[string]func(*bmc) []string{
		"xname": func(b *bmc) []string { return oneOrNone(xname.Canonical(b.XName)) },
		"mac":   func(b *bmc) []string { return oneOrNone(inventory.MACKey(b.MAC)) },
	},
	large: true,
	derived: func(s *sums, old, row *bmc) {
		s.addresses.leave(old.addresses(), nil)
		s.addresses.enter(row.addresses(), nil)
	},
}

// oneOrNone is a value as an index takes it.
func oneOrNone(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

func (b *bmc) addresses() []string {
	if b == nil {
		return nil
	}
	return []string{b.IPv4, b.IPv6}
}

// bmcWrite is what a client says of a BMC.
type bmcWrite struct {
	ID          string      `cbor:"1,keyasint,omitempty"` // in a node: an existing BMC
	XName       string      `cbor:"2,keyasint,omitempty"`
	Username    string      `cbor:"3,keyasint,omitempty"`
	Password    secretWrite `cbor:"4,keyasint,omitempty"`
	MAC         string      `cbor:"5,keyasint,omitempty"`
	IPv4        string      `cbor:"6,keyasint,omitempty"`
	IPv6        string      `cbor:"7,keyasint,omitempty"`
	Description string      `cbor:"8,keyasint,omitempty"`
}

// row is the BMC that the write makes of old, with everything that it does not name gone.
func (w bmcWrite) row(old bmc) bmc {
	old.XName, old.Username, old.MAC, old.IPv4, old.IPv6, old.Description = w.XName, w.Username, w.MAC, w.IPv4, w.IPv6, w.Description
	old.Password = w.Password.over(old.Password)
	return old
}

// onto is old with what the write names laid over it. Another spelling of its
// xname or MAC address is no change.
func (w bmcWrite) onto(old bmc) bmc {
	if xname.Canonical(w.XName) == xname.Canonical(old.XName) {
		w.XName = old.XName
	}
	if key := inventory.MACKey(w.MAC); key != "" && key == inventory.MACKey(old.MAC) {
		w.MAC = old.MAC
	}
	for _, f := range []struct {
		to   *string
		from string
	}{{&old.XName, w.XName}, {&old.Username, w.Username}, {&old.MAC, w.MAC}, {&old.IPv4, w.IPv4}, {&old.IPv6, w.IPv6}, {&old.Description, w.Description}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	old.Password = w.Password.over(old.Password)
	return old
}

// put stores a BMC if what is unique in it is free. node is the id of a node
// that is stored in the same step, whose old addresses do not count.
func (b bmc) put(tx *Txn, op, node string) (bmc, error) {
	if err := b.faults(op); err != nil {
		return b, err
	}
	was, _ := bmcs.one(tx.Reader, b.ID)
	if err := tx.ownBoard(op, was, b); err != nil {
		return b, err
	}
	if b.XName != "" {
		if other, taken := bmcs.holder(tx.Reader, "xname", xname.Canonical(b.XName)); taken && other.ID != b.ID {
			return b, api.Errorf(api.Conflict, op, "a BMC with the xname %s already exists: %s", b.XName, other.ID)
		}
	}
	if err := tx.freeMAC(op, node, b.ID, b.MAC); err != nil {
		return b, err
	}
	if b.XName != "" {
		if err := tx.freeInterface(op, b.XName, b.MAC); err != nil {
			return b, err
		}
	}
	b.Version++
	b.UpdatedAt = tx.Now
	if b.CreatedAt.IsZero() {
		b.CreatedAt = tx.Now
	}
	b = bmcs.put(tx, b)
	tx.dropImplied(was.XName)
	return b, nil
}

// ownBoard refuses to make is of was when one of their nodes belongs to another
// tenant or partition than the actor. What a node's xname implies is made for everybody.
func (tx *Txn) ownBoard(op string, was, is bmc) error {
	if tx.Actor.Tenant == "" && tx.Actor.Partition == "" || was.ID == "" && is.Inferred {
		return nil
	}
	for n := range computeNodes.all(tx.Reader, "bmc", is.ID) {
		if err := tx.tenancy(op, n.XName); err != nil {
			return err
		}
	}
	if err := tx.territory(op, was.XName); err != nil {
		return err
	}
	return tx.territory(op, is.XName)
}

// faults says what is missing or malformed in a BMC.
func (b bmc) faults(op string) error {
	var fields []api.FieldError
	if b.XName != "" {
		if _, err := xname.ParseBMC(b.XName); err != nil {
			fields = append(fields, api.FieldError{Pointer: "/xname", Detail: err.Error()})
		}
	}
	if !b.Inferred && b.Username == "" {
		fields = append(fields, api.FieldError{Pointer: "/username", Detail: "is required"})
	}
	if !b.Inferred && b.Password == nil {
		fields = append(fields, api.FieldError{Pointer: "/password", Detail: "is required"})
	}
	if len(fields) == 0 {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Op: op, Msg: "the BMC is not valid: see errors", Fields: fields}
}

// freeMAC refuses a MAC address that belongs to another node or another BMC.
// node and board are the ids of those that may have it.
func (tx *Txn) freeMAC(op, node, board, mac string) error {
	key := inventory.MACKey(mac)
	if key == "" {
		return nil
	}
	if n, taken := computeNodes.holder(tx.Reader, "mac", key); taken && n.ID != node {
		return api.Errorf(api.Conflict, op, "a ComputeNode with the MAC address %s already exists: %s", mac, n.ID)
	}
	if b, taken := bmcs.holder(tx.Reader, "mac", key); taken && b.ID != board {
		return api.Errorf(api.Conflict, op, "a BMC with the MAC address %s already exists: %s", mac, b.ID)
	}
	return nil
}

func applyCreateBMC(tx *Txn, w bmcWrite) (object, error) {
	const op = "bmc.create"
	if err := tx.may(api.Create, op, api.Object{Kind: "bmc"}); err != nil {
		return nothing, err
	}
	made, inferred := tx.inferred(w)
	if !inferred {
		made = bmc{ID: tx.newID()}
	}
	made.Inferred = false
	made, err := w.onto(made).put(tx, op, "")
	return object{table: bmcs, key: made.ID}, err
}

// inferred finds the BMC that a node's xname implied and that somebody posts now.
func (tx *Txn) inferred(w bmcWrite) (bmc, bool) {
	b, found := bmcs.holder(tx.Reader, "xname", xname.Canonical(w.XName))
	if w.XName == "" || !found || !b.Inferred {
		return bmc{}, false
	}
	return *b, true
}

type bmcReplace struct {
	ID        string   `cbor:"1,keyasint"`
	IfVersion uint64   `cbor:"2,keyasint,omitempty"`
	BMC       bmcWrite `cbor:"3,keyasint"`
}

func applyReplaceBMC(tx *Txn, c bmcReplace) (object, error) {
	const op = "bmc.replace"
	if err := tx.may(api.Update, op, api.Object{Kind: "bmc"}); err != nil {
		return nothing, err
	}
	old, err := tx.bmcAt(op, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	after := c.BMC.row(old)
	after.Inferred = old.Inferred && after.Username == "" && after.Password == nil
	after, err = after.put(tx, op, "")
	return object{table: bmcs, key: after.ID}, err
}

// bmcAt is the BMC with that id, in that version if one is named.
func (tx *Txn) bmcAt(op, id string, ifVersion uint64) (bmc, error) {
	b, ok := bmcs.one(tx.Reader, id)
	if !ok {
		return b, api.Errorf(api.NotFound, op, "BMC not found")
	}
	return b, sameVersion(op, b.Version, ifVersion)
}

// sameVersion refuses a change of another version than the one that was looked at.
func sameVersion(op string, is, want uint64) error {
	if want != 0 && want != is {
		return api.Errorf(api.Precondition, op, "it was changed meanwhile: its version is %d, you named %d", is, want)
	}
	return nil
}

type versioned struct {
	ID        string `cbor:"1,keyasint"`
	IfVersion uint64 `cbor:"2,keyasint,omitempty"`
}

func applyDeleteBMC(tx *Txn, c versioned) (object, error) {
	const op = "bmc.delete"
	if err := tx.may(api.Delete, op, api.Object{Kind: "bmc"}); err != nil {
		return nothing, err
	}
	b, err := tx.bmcAt(op, c.ID, c.IfVersion)
	if err != nil {
		return nothing, err
	}
	if err := tx.ownBoard(op, b, b); err != nil {
		return nothing, err
	}
	for n := range computeNodes.all(tx.Reader, "bmc", c.ID) {
		return nothing, api.Errorf(api.Conflict, op, "this is the BMC of ComputeNode %s (%s); delete that first, or give it another bmc", n.ID, n.Hostname)
	}
	bmcs.remove(tx, c.ID)
	tx.dropImplied(b.XName)
	return nothing, nil
}

// bmcOf finds or makes the BMC of a node: the one that the write is about, or,
// when it says nothing, the one that the node's xname implies.
func (tx *Txn) bmcOf(op string, n computeNode, w *bmcWrite) (string, error) {
	had, _ := bmcs.one(tx.Reader, n.BMC)
	if w == nil {
		if had.XName == "" && had.ID != "" { // nothing but the node leads to it
			return had.ID, nil
		}
		return tx.impliedBMC(op, n.XName)
	}
	known, found, err := tx.knownBMC(op, *w)
	if err != nil {
		return "", err
	}
	if !found {
		known = bmc{ID: tx.newID()}
	}
	after := w.onto(known)
	after.Inferred = known.Inferred && after.Username == "" && after.Password == nil
	if found && sameBMC(after, known) {
		if known.Inferred && known.ID == had.ID { // it was not chosen: it follows the node's xname
			return tx.impliedBMC(op, n.XName)
		}
		return known.ID, nil
	}
	after, err = after.put(tx, op, n.ID)
	return after.ID, err
}

// sameBMC tells whether nothing would change, so that the fourth node of a board
// gives its BMC no fourth version. A password is sealed anew each time.
func sameBMC(a, b bmc) bool {
	return a.XName == b.XName && a.Username == b.Username && string(a.Password) == string(b.Password) && a.MAC == b.MAC &&
		a.IPv4 == b.IPv4 && a.IPv6 == b.IPv6 && a.Description == b.Description && a.Inferred == b.Inferred
}

// knownBMC finds the BMC that a write is about, by id, xname or MAC address. The
// id may be one that another cluster gave: then the rest of the write decides.
func (tx *Txn) knownBMC(op string, w bmcWrite) (bmc, bool, error) {
	if b, ok := bmcs.one(tx.Reader, w.ID); ok {
		return b, true, nil
	}
	if w.ID != "" && w.XName == "" && w.MAC == "" && w.Username == "" {
		return bmc{}, false, &api.Error{Kind: api.Invalid, Op: op, Msg: "there is no BMC with this id",
			Fields: []api.FieldError{{Pointer: "/bmc/id", Detail: "there is no BMC with this id"}}}
	}
	byName, named := bmcs.holder(tx.Reader, "xname", xname.Canonical(w.XName))
	byMAC, met := bmcs.holder(tx.Reader, "mac", inventory.MACKey(w.MAC))
	switch {
	case named && met && byName.ID != byMAC.ID:
		return bmc{}, false, api.Errorf(api.Conflict, op, "a BMC with the MAC address %s already exists: %s, which is not that at %s", w.MAC, byMAC.ID, w.XName)
	case named:
		return *byName, true, nil
	case met && w.XName != "" && byMAC.XName != "" && xname.Canonical(w.XName) != xname.Canonical(byMAC.XName):
		return bmc{}, false, api.Errorf(api.Conflict, op, "a BMC with the MAC address %s already exists at %s", w.MAC, byMAC.XName)
	case met:
		return *byMAC, true, nil
	}
	return bmc{}, false, nil
}

// impliedBMC is the id of the BMC whose place a node's xname tells; empty without one.
func (tx *Txn) impliedBMC(op, nodeXName string) (string, error) {
	if nodeXName == "" {
		return "", nil
	}
	// Cut from what was given: the canonical form of a low cabinet's name has
	// fewer digits than the grammar of these names asks for.
	place := nodeXName[:strings.LastIndexByte(nodeXName, 'n')]
	if b, found := bmcs.holder(tx.Reader, "xname", xname.Canonical(place)); found {
		return b.ID, nil
	}
	b, err := bmc{ID: tx.newID(), XName: place, Inferred: true}.put(tx, op, "")
	return b.ID, err
}

// dropInferred forgets a BMC that only the xname of a node implied, once no node is left.
func (tx *Txn) dropInferred(id string) {
	b, ok := bmcs.one(tx.Reader, id)
	if !ok || !b.Inferred {
		return
	}
	for range computeNodes.all(tx.Reader, "bmc", id) {
		return
	}
	bmcs.remove(tx, id)
	tx.dropImplied(b.XName)
}

// shown is a BMC as an answer shows it: without its password.
func (b bmc) shown() inventory.BMC {
	return inventory.BMC{ID: b.ID, XName: b.XName, LocationString: b.XName, Username: b.Username, MACAddress: b.MAC,
		IPv4Address: b.IPv4, IPv6Address: b.IPv6, Description: b.Description, Version: b.Version, CreatedAt: b.CreatedAt, UpdatedAt: b.UpdatedAt}
}

// bmcRow finds a BMC by id or xname.
func (r Reader) bmcRow(ref string) (*bmc, bool) {
	if it, ok := bmcs.in(r.state).rows.get(ref); ok {
		return &it.row, true
	}
	return bmcs.holder(r, "xname", xname.Canonical(ref))
}

// BMC finds a BMC by id or xname.
func (r Reader) BMC(ref string) (inventory.BMC, bool) {
	b, ok := r.bmcRow(ref)
	if !ok {
		return inventory.BMC{}, false
	}
	return b.shown(), true
}

// BMCPassword is the sealed password of a BMC, by id or xname; nil without one.
func (r Reader) BMCPassword(ref string) []byte {
	b, ok := r.bmcRow(ref)
	if !ok {
		return nil
	}
	return b.Password
}

// BMCs lists BMCs by id.
func (r Reader) BMCs(after string) iter.Seq[inventory.BMC] {
	return func(yield func(inventory.BMC) bool) {
		for b := range bmcs.rowsAfter(r.state, after) {
			if !yield(b.shown()) {
				return
			}
		}
	}
}

// bmcWrite is a client's BMC with its password sealed.
func (w *Writer) bmcWrite(b *inventory.BMC) (*bmcWrite, error) {
	if b == nil {
		return nil, nil
	}
	password, err := w.sealed(SealBMCPassword, b.Password)
	return &bmcWrite{ID: b.ID, XName: b.XName, Username: b.Username, Password: password, MAC: b.MACAddress,
		IPv4: b.IPv4Address, IPv6: b.IPv6Address, Description: b.Description}, err
}

// CreateBMC makes a BMC known, or completes one that a node's xname implied.
func (w *Writer) CreateBMC(ctx context.Context, b inventory.BMC) (Done[inventory.BMC], error) {
	write, err := w.bmcWrite(&b)
	if err != nil {
		return Done[inventory.BMC]{}, err
	}
	write.ID = ""
	return shownBMC(propose[bmc](ctx, w, createBMC, write))
}

// ReplaceBMC replaces what a user may set of a BMC; a password that is not given stays.
func (w *Writer) ReplaceBMC(ctx context.Context, id string, ifVersion uint64, b inventory.BMC) (Done[inventory.BMC], error) {
	write, err := w.bmcWrite(&b)
	if err != nil {
		return Done[inventory.BMC]{}, err
	}
	return shownBMC(propose[bmc](ctx, w, replaceBMC, bmcReplace{id, ifVersion, *write}))
}

// DeleteBMC forgets a BMC that no node names.
func (w *Writer) DeleteBMC(ctx context.Context, id string, ifVersion uint64) (Done[struct{}], error) {
	return propose[struct{}](ctx, w, deleteBMC, versioned{id, ifVersion})
}

func shownBMC(d Done[bmc], err error) (Done[inventory.BMC], error) {
	if d.Gone {
		d.Object.ID = d.ID
	}
	return as(d, d.Object.shown()), err
}

// as is the outcome of a write with another object in it.
func as[T, U any](d Done[T], object U) Done[U] {
	return Done[U]{Object: object, ID: d.ID, Replayed: d.Replayed, Gone: d.Gone, Index: d.Index, Command: d.Command, Count: d.Count, Version: d.Version}
}

// isID tells whether a ref has the form of an id.
func isID(ref string) bool { return uuid.Validate(ref) == nil }
