package schema

import (
	"bytes"
	"encoding/json"

	"github.com/orchd/orchd/api/inventory"
)

// emptied is what null makes of a secret, by kind and pointer. An answer does not
// show it, so that to leave it out would not take it away.
var emptied = map[string]map[string]any{
	"ComputeNode": {
		"/bmc/password": "", "/spec/bmc_password": "", "/cloud_init_data": map[string]any{},
		"/cloud_init_data/userdata": "", "/cloud_init_data/metadata": "", "/cloud_init_data/vendordata": "",
	},
	"BMC":            {"/password": ""},
	"NodeCollection": {"/cloud_init_data": map[string]any{}},
}

// Merge applies a JSON merge patch (RFC 7396) to an object as an answer shows
// it, and gives the body that would replace it, for the decoder of its kind. The
// patch must be an object, else the error is Malformed. Either name of a field
// that has two sets both. null takes a secret away by its empty value. An object
// that is a secret is replaced, not merged, for its old parts are not in current;
// null for a part of one stays null, which the decoder of a collection refuses.
func Merge(current any, patch []byte) ([]byte, error) {
	change, err := patchObject(patch)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(current)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := decodeNumbers(text, &tree); err != nil {
		return nil, err
	}
	return json.Marshal(merger{emptied[kindOfValue(current)]}.merged("", tree, change))
}

// patchObject reads a patch, which must be an object.
func patchObject(patch []byte) (map[string]any, error) {
	if !json.Valid(patch) {
		return nil, malformed(notJSON)
	}
	p := newParser(patch)
	tree, err := p.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, ok := tree.(map[string]any); !ok {
		return nil, malformed("a patch must be a JSON object (RFC 7396)")
	}
	if err := invalid(p.bad); err != nil {
		return nil, err
	}
	var change map[string]any
	return change, decodeNumbers(patch, &change)
}

// decodeNumbers reads JSON and leaves numbers as they are written.
func decodeNumbers(text []byte, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

func kindOfValue(v any) string {
	switch v.(type) {
	case inventory.ComputeNode, *inventory.ComputeNode:
		return "ComputeNode"
	case inventory.BMC, *inventory.BMC:
		return "BMC"
	case inventory.NodeCollection, *inventory.NodeCollection:
		return "NodeCollection"
	}
	return ""
}

// merger merges objects of one kind.
type merger struct {
	secrets map[string]any // by pointer
}

// merged is target, which stands at pointer at, with change in it.
func (m merger) merged(at string, target, change map[string]any) map[string]any {
	if target == nil {
		target = map[string]any{}
	}
	if at == "" || at == "/bmc" {
		alias(target, change, "xname", "location_string")
		alias(target, change, "ipv4_address", "ip_address")
	}
	for key, value := range change {
		here := at + "/" + escape(key)
		empty, isSecret := m.secrets[here]
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil && isSecret:
			target[key] = empty
		case value == nil && here == "/spec" && m.hidden("/spec/bmc_password"): // with the secret that is in it
			target[key] = map[string]any{"bmc_password": ""}
		case value == nil && !m.hidden(at):
			delete(target, key)
		case isObject:
			before, _ := target[key].(map[string]any)
			target[key] = m.merged(here, before, inner)
		default:
			target[key] = value
		}
	}
	return target
}

// hidden tells whether the object at that pointer is a secret as a whole, so
// that nobody here knows what is in it.
func (m merger) hidden(at string) bool {
	_, secret := m.secrets[at]
	return secret
}

// alias drops from the target the other name of a field that the change names by one.
func alias(target, change map[string]any, names ...string) {
	for i, name := range names {
		if _, named := change[name]; named {
			delete(target, names[1-i])
		}
	}
}
