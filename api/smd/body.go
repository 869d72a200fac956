package smd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// maxAddresses is how many IP addresses an interface may have.
const maxAddresses = 1024

// maxText bounds a text that is kept as it was sent, in bytes.
const maxText = 4 << 10

// Decode reads a body as these clients write it: keys in any case, as
// encoding/json takes them, and keys that nobody knows. Malformed when it is no
// JSON or a value has another type; the error never repeats the value.
func Decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field != "":
		return api.Errorf(api.Malformed, "body", "the value of %s in the body has the wrong type", wrong.Field)
	case errors.As(err, &wrong):
		return api.Errorf(api.Malformed, "body", "the body is JSON of another type than this operation takes")
	case errors.Is(err, errNumber):
		return api.Errorf(api.Malformed, "body", "a NID in the body is not a whole number from 1 on")
	}
	return api.Errorf(api.Malformed, "body", "the body is not valid JSON of the form that this operation takes")
}

// Number is a whole number that some clients write as a string. An empty string is none: 0.
type Number int64

var errNumber = errors.New("not a whole number")

// UnmarshalJSON reads a number, or a string of digits.
func (n *Number) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "" || text == "null" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 0 {
		return errNumber
	}
	*n = Number(v)
	return nil
}

// nid is the NID that a body asks for; nil for none.
func (n *Number) nid() *int64 {
	if n == nil || *n == 0 {
		return nil
	}
	v := int64(*n)
	return &v
}

// ComponentPost is a component as clients send it.
type ComponentPost struct {
	Component
	NID *Number `json:"NID"`
}

// Checked is the component with its words spelled as the API spells them and
// its type taken from its name. What is wrong is told with at, where in the body it stands.
func (p ComponentPost) Checked(at string) (Component, error) {
	c := p.Component
	if !xname.ValidComponent(c.ID) {
		return c, BadName(at + "/ID")
	}
	c.Type = string(xname.TypeOf(c.ID))
	c.NID = p.NID.nid()
	err := errors.Join(
		respell(&c.State, States, at+"/State"), respell(&c.Flag, Flags, at+"/Flag"),
		respell(&c.Role, Roles, at+"/Role"), respell(&c.SubRole, SubRoles, at+"/SubRole"),
		respell(&c.NetType, NetTypes, at+"/NetType"), respell(&c.Arch, Archs, at+"/Arch"), respell(&c.Class, Classes, at+"/Class"),
		checkedText(c.Subtype, at+"/Subtype"), checkedText(c.SoftwareStatus, at+"/SoftwareStatus"))
	return c, first(err)
}

// ComponentUpdate is the body of a PATCH of components; each operation looks at its own fields.
type ComponentUpdate struct {
	ID             string
	ComponentIDs   []string
	State          *string
	Flag           *string
	Enabled        *bool
	SoftwareStatus *string
	Role           *string
	SubRole        *string
	NID            *Number
	Force          bool

	// The older form.
	XNames []string         `json:"xnames"`
	Data   *ComponentUpdate `json:"data"`
}

// Names are the components of a bulk PATCH, in either form, each once.
func (u ComponentUpdate) Names() ([]string, error) {
	ids := append(u.ComponentIDs, u.XNames...)
	if len(ids) == 0 {
		return nil, Bad("/ComponentIDs", "names of components are required")
	}
	return CheckedNames(ids, "/ComponentIDs")
}

// Fields are the values of an update: those of data, in the older form.
func (u ComponentUpdate) Fields() ComponentUpdate {
	if u.Data == nil {
		return u
	}
	d := *u.Data
	d.Force = d.Force || u.Force
	return d
}

// CheckedNames are xnames, each once; at says where in the body they stand.
func CheckedNames(ids []string, at string) ([]string, error) {
	seen := make(map[string]bool, len(ids))
	once := make([]string, 0, len(ids))
	for i, id := range ids {
		if !xname.ValidComponent(id) {
			return nil, BadName(fmt.Sprintf("%s/%d", at, i))
		}
		if key := xname.Canonical(id); !seen[key] {
			seen[key] = true
			once = append(once, id)
		}
	}
	return once, nil
}

// Patch makes a change of what one operation may change, from the fields of its body.
type Patch func(ComponentUpdate) (ComponentPatch, error)

// StatePatch needs State; Flag becomes OK when it is not given.
func StatePatch(u ComponentUpdate) (ComponentPatch, error) {
	if missing(u.State) {
		return ComponentPatch{}, Bad("/State", "a state is required")
	}
	if missing(u.Flag) {
		u.Flag = new("OK")
	}
	err := errors.Join(respell(u.State, States, "/State"), respell(u.Flag, Flags, "/Flag"))
	return ComponentPatch{State: u.State, Flag: u.Flag}, first(err)
}

// FlagPatch needs Flag.
func FlagPatch(u ComponentUpdate) (ComponentPatch, error) {
	if missing(u.Flag) {
		return ComponentPatch{}, Bad("/Flag", "a flag is required")
	}
	return ComponentPatch{Flag: u.Flag}, respell(u.Flag, Flags, "/Flag")
}

// EnabledPatch needs Enabled.
func EnabledPatch(u ComponentUpdate) (ComponentPatch, error) {
	if u.Enabled == nil {
		return ComponentPatch{}, Bad("/Enabled", "true or false is required")
	}
	return ComponentPatch{Enabled: u.Enabled}, nil
}

// SoftwarePatch needs SoftwareStatus, which may be empty.
func SoftwarePatch(u ComponentUpdate) (ComponentPatch, error) {
	if u.SoftwareStatus == nil {
		return ComponentPatch{}, Bad("/SoftwareStatus", "a software status is required")
	}
	return ComponentPatch{SoftwareStatus: u.SoftwareStatus}, checkedText(*u.SoftwareStatus, "/SoftwareStatus")
}

// RolePatch needs Role. The sub-role belongs to it: it goes when it is not given.
func RolePatch(u ComponentUpdate) (ComponentPatch, error) {
	if missing(u.Role) {
		return ComponentPatch{}, Bad("/Role", "a role is required")
	}
	if u.SubRole == nil {
		u.SubRole = new("")
	}
	err := errors.Join(respell(u.Role, Roles, "/Role"), respell(u.SubRole, SubRoles, "/SubRole"))
	return ComponentPatch{Role: u.Role, SubRole: u.SubRole}, first(err)
}

// NIDPatch needs NID.
func NIDPatch(u ComponentUpdate) (ComponentPatch, error) {
	nid := u.NID.nid()
	if nid == nil {
		return ComponentPatch{}, Bad("/NID", "a NID from 1 on is required")
	}
	return ComponentPatch{NID: nid}, nil
}

func missing(s *string) bool { return s == nil || *s == "" }

// InterfacePost is an interface as clients send it; when it was last changed is not theirs to say.
type InterfacePost struct {
	EthernetInterface
	LastUpdate JSON `json:"LastUpdate"`
}

// Checked is the interface with the fields that follow from others: ID and the
// usual form of its MAC, Type by the name of its component.
func (i EthernetInterface) Checked() (EthernetInterface, error) {
	i.ID = inventory.MACKey(i.MACAddress)
	if i.ID == "" {
		return i, Bad("/MACAddress", "expected a MAC address of 12 hexadecimal digits that is not all zero or broadcast")
	}
	i.MACAddress = inventory.Colons(i.ID)
	if i.ComponentID != "" && !xname.ValidComponent(i.ComponentID) {
		return i, BadName("/ComponentID")
	}
	i.Type = typeName(i.ComponentID)
	if err := checkedText(i.Description, "/Description"); err != nil {
		return i, err
	}
	var err error
	i.IPAddresses, err = checkedAddresses(i.IPAddresses)
	return i, err
}

// Checked is the patch when all in it is sound; it must change something.
func (p InterfacePatch) Checked() (InterfacePatch, error) {
	if p.Description == nil && p.ComponentID == nil && p.IPAddresses == nil {
		return p, Bad("", "one of Description, ComponentID and IPAddresses is required")
	}
	if p.ComponentID != nil && *p.ComponentID != "" && !xname.ValidComponent(*p.ComponentID) {
		return p, BadName("/ComponentID")
	}
	if p.Description != nil {
		if err := checkedText(*p.Description, "/Description"); err != nil {
			return p, err
		}
	}
	if p.IPAddresses == nil {
		return p, nil
	}
	list, err := checkedAddresses(*p.IPAddresses)
	p.IPAddresses = &list
	return p, err
}

// described refuses what a group or partition must not be described with.
func described(description string, tags []string) error {
	if err := checkedText(description, "/description"); err != nil {
		return err
	}
	for i, tag := range tags {
		if err := checkedText(tag, fmt.Sprintf("/tags/%d", i)); err != nil {
			return err
		}
	}
	return nil
}

// Checked is the patch when all in it is sound.
func (p GroupPatch) Checked() (GroupPatch, error) {
	var description string
	var tags []string
	if p.Description != nil {
		description = *p.Description
	}
	if p.Tags != nil {
		tags = *p.Tags
	}
	return p, described(description, tags)
}

// Checked is the group with each member once; it must have a label.
func (g Group) Checked() (Group, error) {
	if g.Label == "" {
		return g, Bad("/label", "a label is required")
	}
	err := errors.Join(checkedText(g.Label, "/label"), checkedText(g.ExclusiveGroup, "/exclusiveGroup"), described(g.Description, g.Tags))
	if err != nil {
		return g, first(err)
	}
	g.Members.IDs, err = CheckedNames(g.Members.IDs, "/members/ids")
	return g, err
}

// Checked is the partition with each member once; it must have a name.
func (p PartitionOf) Checked() (PartitionOf, error) {
	if p.Name == "" {
		return p, Bad("/name", "a name is required")
	}
	err := errors.Join(checkedText(p.Name, "/name"), described(p.Description, p.Tags))
	if err != nil {
		return p, first(err)
	}
	p.Members.IDs, err = CheckedNames(p.Members.IDs, "/members/ids")
	return p, err
}

// checkedAddresses leaves out empty ones, which some clients send for none; never nil.
func checkedAddresses(list []IPAddress) ([]IPAddress, error) {
	if len(list) > maxAddresses {
		return nil, Bad("/IPAddresses", fmt.Sprintf("more than %d addresses", maxAddresses))
	}
	kept := make([]IPAddress, 0, len(list))
	for i, a := range list {
		if a.IPAddress == "" && a.Network == "" {
			continue
		}
		if _, err := netip.ParseAddr(a.IPAddress); err != nil {
			return nil, Bad(fmt.Sprintf("/IPAddresses/%d/IPAddress", i), "expected an IPv4 or IPv6 address")
		}
		if err := checkedText(a.Network, fmt.Sprintf("/IPAddresses/%d/Network", i)); err != nil {
			return nil, err
		}
		kept = append(kept, a)
	}
	return kept, nil
}

// typeName is the type of a component; empty for no name.
func typeName(id string) string {
	if id == "" {
		return ""
	}
	return string(xname.TypeOf(id))
}

// UsualMAC is a MAC address as DHCP servers look for it, in lower case with
// colons; what is none stays as it is.
func UsualMAC(mac string) string {
	key := inventory.MACKey(mac)
	if key == "" || len(mac) == len("02:00:00:00:00:01") && mac[2] == ':' && mac == strings.ToLower(mac) {
		return mac
	}
	return inventory.Colons(key)
}

// Bad is the failure of one field of a body.
func Bad(pointer, detail string) error {
	return &api.Error{Kind: api.Invalid, Op: "body", Msg: "the request is not valid: see errors", Fields: []api.FieldError{{Pointer: pointer, Detail: detail}}}
}

// BadName is the failure of a field that should name a component.
func BadName(pointer string) error { return Bad(pointer, "expected the xname of a component") }

// respell puts a word into the API's spelling; empty is none.
func respell(word *string, list []string, pointer string) error {
	if *word == "" {
		return nil
	}
	w, ok := Spelled(*word, list)
	if !ok {
		return Bad(pointer, "expected one of "+strings.Join(list, ", "))
	}
	*word = w
	return nil
}

// checkedText refuses a text that is too long to be kept, or that the inventory's
// routes, which show it too, would not take back.
func checkedText(text, pointer string) error {
	switch {
	case len(text) > maxText:
		return Bad(pointer, fmt.Sprintf("longer than %d bytes", maxText))
	case !inventory.IsText(text):
		return Bad(pointer, "expected valid UTF-8 without control characters")
	}
	return nil
}

// first is all that errors.Join put together as one failure with all its fields.
func first(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var all *api.Error
	for _, e := range joined.Unwrap() {
		one := e.(*api.Error) // Bad makes them
		if all == nil {
			all = one
			continue
		}
		all.Fields = append(all.Fields, one.Fields...)
	}
	return all
}
