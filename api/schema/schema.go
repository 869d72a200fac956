package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	"github.com/invopop/jsonschema"

	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/smd"
)

// kind is one thing that has a schema, of its own or within others.
type kind struct {
	name   string
	sample any // a value of its Go type
	about  string
	open   bool // other properties are ignored
	fields []property
	more   func(*jsonschema.Schema) // what is true of several fields together; nil: nothing
}

// kinds are those that have a file of their own.
var kinds = []kind{
	{name: "ComputeNode", sample: inventory.ComputeNode{}, about: "A machine of the fleet", fields: computeNode.properties()},
	{name: "NetworkInterface", sample: inventory.NetworkInterface{}, about: "A port of a node", fields: networkInterface.properties()},
	{name: "BMC", sample: inventory.BMC{}, about: "A board's management controller; one serves all nodes of its board", fields: bmc.properties(), more: passwordNeedsName},
	{name: "BootData", sample: inventory.BootData{}, about: "What a node boots", fields: bootData.properties()},
	{name: "NodeCollection", sample: inventory.NodeCollection{}, about: "A named set of nodes", fields: nodeCollection.properties()},
	{name: "Component", sample: smd.Component{}, about: "State, role and flags of an xname. " + openKind, open: true, fields: component},
	{name: "RedfishEndpoint", sample: smd.RedfishEndpoint{}, about: "A BMC that speaks Redfish. " + openKind, open: true, fields: redfishEndpoint},
	{name: "EthernetInterface", sample: smd.EthernetInterface{}, about: "A MAC address that was seen. " + openKind, open: true, fields: ethernetInterface},
}

// innerKinds are found only within others.
var innerKinds = []kind{
	{name: "CloudInit", sample: inventory.CloudInit{}, fields: cloudInit.properties()},
	{name: "NodeSpec", sample: inventory.NodeSpec{}, fields: nodeSpec.properties()},
	{name: "NodeStatus", sample: inventory.NodeStatus{}, fields: nodeStatus.properties()},
	{name: "PowerState", sample: inventory.PowerState{}, fields: powerState.properties()},
	{name: "BootStatus", sample: inventory.BootStatus{}, fields: bootStatus.properties()},
	{name: "DiscoveryInfo", sample: smd.DiscoveryInfo{}, open: true, fields: discoveryInfo},
	{name: "IPAddress", sample: smd.IPAddress{}, open: true, fields: ipAddress},
}

// Kinds are the names of the schemas.
func Kinds() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// Of is the JSON Schema (draft 2020-12) of a kind: one file that needs no other,
// the same bytes in every process.
func Of(kind string) (doc []byte, ok bool) {
	doc, ok = documents[kind]
	return doc, ok
}

// documents are the files, by kind.
var documents = makeDocuments()

func makeDocuments() map[string][]byte {
	all := map[string][]byte{}
	for _, k := range kinds {
		text, err := json.MarshalIndent(k.document(), "", "  ")
		if err != nil {
			panic(fmt.Sprintf("schema of %s: %v", k.name, err)) // a mistake in the tables
		}
		all[k.name] = append(text, '\n')
	}
	return all
}

// document is the file of a kind.
func (k kind) document() *jsonschema.Schema {
	r := jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, Mapper: mapped}
	doc := r.Reflect(k.sample)
	doc.ID = jsonschema.ID("/schemas/" + k.name + ".json")
	doc.Title = k.name
	k.complete(doc)
	for name, inner := range doc.Definitions {
		k, ok := kindOf(name)
		if !ok {
			panic("no table tells of " + name)
		}
		k.complete(inner)
	}
	if len(doc.Definitions) == 0 {
		doc.Definitions = nil
	}
	return doc
}

// kindOf is the kind with that name.
func kindOf(name string) (kind, bool) {
	for _, k := range append(kinds[:len(kinds):len(kinds)], innerKinds...) {
		if k.name == name {
			return k, true
		}
	}
	return kind{}, false
}

// mapped is the schema of types that reflection does not understand.
func mapped(t reflect.Type) *jsonschema.Schema {
	if t == reflect.TypeFor[inventory.Object]() {
		return &jsonschema.Schema{Type: "object"}
	}
	return nil
}

// complete gives the schema of a struct what its table says.
func (k kind) complete(s *jsonschema.Schema) {
	s.Description = k.about
	s.AdditionalProperties = jsonschema.FalseSchema
	if k.open {
		s.AdditionalProperties = jsonschema.TrueSchema
	}
	s.Required = nil
	if k.more != nil {
		k.more(s)
	}
	reflected := s.Properties
	s.Properties = jsonschema.NewProperties()
	for _, f := range k.fields {
		p, ok := reflected.Get(f.name)
		if !ok {
			p = &jsonschema.Schema{Type: "string"} // a second name
		}
		f.complete(p)
		k.special(f.name, p)
		s.Properties.Set(f.name, p)
		if f.is.has(required) {
			s.Required = append(s.Required, f.name)
		}
	}
}

// complete gives the schema of a property what its traits say.
func (f property) complete(s *jsonschema.Schema) {
	s.Description = f.about
	s.ReadOnly, s.WriteOnly = f.is.has(readOnly), f.is.has(writeOnly)
	if f.is.has(notEmpty) {
		s.MinLength = new(uint64(1))
	}
	switch {
	case f.is.has(isUUID):
		s.Format = "uuid"
	case f.is.has(isIPv4):
		s.Format = "ipv4"
	case f.is.has(isIPv6):
		s.Format = "ipv6"
	case f.is.has(isMAC):
		s.Format, s.Pattern = "mac-address", macOrEmpty
		if f.is.has(notEmpty) {
			s.Pattern = macPattern
		}
	case f.is.has(isNodeName):
		s.Pattern = nodeNamePattern
	case f.is.has(isBMCName):
		s.Pattern = bmcNamePattern
	}
}

// special is what only one property needs.
func (k kind) special(name string, s *jsonschema.Schema) {
	for _, word := range enums[k.name+"."+name] {
		s.Enum = append(s.Enum, word)
	}
	switch {
	case name == "network_interfaces":
		s.MaxItems = new(uint64(maxPorts))
	case name == "version":
		s.Minimum, s.Maximum = "0", json.Number(strconv.Itoa(maxVersion))
	case k.name == "CloudInit" && name != "id":
		s.Type = ""
		s.AnyOf = []*jsonschema.Schema{{Type: "object"}, {Type: "string"}}
	}
}
