package schema

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
	keyword "github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/nearest"
	"github.com/orchd/orchd/api/xname"
)

// maxFaults bounds how many faults of a body are told.
const maxFaults = 100

// judge finds what is wrong with one value, which stands at pointer at and below
// depth others. The text must be JSON.
func judge(by File, at string, body []byte, depth int) ([]api.FieldError, error) {
	p := newParser(body)
	tree, err := p.value(at, depth)
	if err != nil {
		return nil, err
	}
	if _, ok := tree.(map[string]any); !ok {
		return []api.FieldError{{Pointer: at, Detail: "expected an object"}}, nil
	}
	if len(p.bad) == 0 {
		p.bad = bySchema(by, at, tree)
	}
	if len(p.bad) == 0 {
		p.bad = byHand(by.kind, at, tree.(map[string]any))
	}
	return p.bad, nil
}

// bySchema is what the schema has against a value.
func bySchema(by File, at string, tree any) []api.FieldError {
	var wrong *validator.ValidationError
	if !errors.As(by.schema.Validate(tree), &wrong) {
		return nil
	}
	var out []api.FieldError
	for _, leaf := range leaves(wrong) {
		out = append(out, faultsOf(by.kind, at, leaf)...)
	}
	slices.SortStableFunc(out, func(x, y api.FieldError) int { return cmp.Compare(x.Pointer, y.Pointer) })
	return slices.CompactFunc(out, func(x, y api.FieldError) bool { return x.Pointer == y.Pointer }) // a pattern and its format are one fault
}

// leaves are the errors that have no causes of their own. Those of alternatives
// stay one.
func leaves(e *validator.ValidationError) []*validator.ValidationError {
	if _, either := e.ErrorKind.(*keyword.AnyOf); either || len(e.Causes) == 0 {
		return []*validator.ValidationError{e}
	}
	var all []*validator.ValidationError
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}

// faultsOf says in our words what the validator found.
func faultsOf(name, root string, e *validator.ValidationError) []api.FieldError {
	at := root
	for _, step := range e.InstanceLocation {
		at += "/" + escape(step)
	}
	one := func(detail string) []api.FieldError { return []api.FieldError{{Pointer: at, Detail: detail}} }
	switch k := e.ErrorKind.(type) {
	case *keyword.Required:
		if strings.HasSuffix(e.SchemaURL, "/then") { // see passwordNeedsName
			return each(at, k.Missing, "is required with password")
		}
		return each(at, k.Missing, "is required")
	case *keyword.AdditionalProperties:
		return unknown(at, k.Properties, propertiesAt(name, e.SchemaURL))
	case *keyword.Type:
		return one("expected " + strings.Join(k.Want, " or ") + ", not " + k.Got)
	case *keyword.AnyOf:
		return one("expected a text or an object")
	case *keyword.Enum:
		return one("expected one of " + wordsOf(k.Want))
	case *keyword.MaxItems:
		return one("expected at most " + strconv.Itoa(k.Want) + " items")
	case *keyword.MinLength:
		return one("must not be empty")
	case *keyword.Format:
		return one(formatTexts[k.Want])
	case *keyword.Pattern:
		return one(patternText(k))
	case *keyword.Minimum, *keyword.Maximum:
		return one("expected a number from 0 to " + strconv.Itoa(maxVersion))
	}
	return one("is not as the schema wants it")
}

func wordsOf(values []any) string {
	var words []string
	for _, v := range values {
		words = append(words, fmt.Sprint(v))
	}
	return strings.Join(words, ", ")
}

// each is the same fault of several properties of an object.
func each(at string, names []string, detail string) (all []api.FieldError) {
	for _, name := range names {
		all = append(all, api.FieldError{Pointer: at + "/" + escape(name), Detail: detail})
	}
	return all
}

// unknown are the fields that there are not, with what was probably meant.
func unknown(at string, names, known []string) (all []api.FieldError) {
	for _, name := range names[:min(len(names), maxFaults)] {
		detail := "there is no such field"
		if near := nearest.Of(name, known); near != "" {
			detail += "; did you mean " + near + "?"
		}
		all = append(all, api.FieldError{Pointer: at + "/" + escape(name), Detail: detail})
	}
	return all
}

// propertiesAt are the properties of the schema that an error is from: the
// file's own, or those of a definition in it.
func propertiesAt(name, url string) (names []string) {
	if _, inner, ok := strings.Cut(url, "/$defs/"); ok {
		name, _, _ = strings.Cut(inner, "/")
	}
	k, _ := kindOf(name) // a schema file may know other kinds
	for _, f := range k.fields {
		names = append(names, f.name)
	}
	return names
}

var formatTexts = map[string]string{
	"uuid":        "expected a UUID, as 0b9f2d1e-0000-4000-8000-000000000001",
	"ipv4":        "expected an IPv4 address, as 10.1.0.7",
	"ipv6":        "expected an IPv6 address, as fd00:1::7",
	"mac-address": macText,
	"date-time":   "expected a time, as 2026-11-01T12:00:00Z",
}

const macText = "expected a MAC address, as 68:da:e6:4b:b0:9a"

func patternText(k *keyword.Pattern) string {
	if k.Want == nodeNamePattern || k.Want == bmcNamePattern {
		return xname.ErrSyntax.Error()
	}
	return macText
}

// byHand checks what a schema cannot say: how large the numbers of an xname may
// be, and that two names of one field agree. The tree fits the schema.
func byHand(kind, at string, tree map[string]any) (all []api.FieldError) {
	switch kind {
	case "ComputeNode":
		all = xnames(at, tree, func(s string) error { _, err := xname.ParseNode(s); return err })
		if inner, ok := tree["bmc"].(map[string]any); ok {
			all = append(all, byHand("BMC", at+"/bmc", inner)...)
		}
		all = append(all, ofInterfaces(at, tree)...)
		for _, part := range []string{"spec", "status"} {
			inner, _ := tree[part].(map[string]any)
			all = append(all, ofInterfaces(at+"/"+part, inner)...)
		}
	case "BMC":
		all = append(xnames(at, tree, func(s string) error { _, err := xname.ParseBMC(s); return err }), addresses(at, tree)...)
	case "NetworkInterface":
		all = addresses(at, tree)
	case "NodeCollection":
		nodes, _ := tree["nodes"].([]any)
		for i, n := range nodes {
			if s, _ := n.(string); !xname.ValidComponent(s) {
				all = append(all, api.FieldError{Pointer: at + "/nodes/" + strconv.Itoa(i), Detail: xname.ErrSyntax.Error()})
			}
		}
	}
	return all
}

func ofInterfaces(at string, tree map[string]any) (all []api.FieldError) {
	items, _ := tree["network_interfaces"].([]any)
	for i, item := range items {
		inner, _ := item.(map[string]any)
		all = append(all, byHand("NetworkInterface", at+"/network_interfaces/"+strconv.Itoa(i), inner)...)
	}
	return all
}

// xnames checks both names of a place.
func xnames(at string, tree map[string]any, parse func(string) error) (all []api.FieldError) {
	for _, name := range []string{"xname", "location_string"} {
		if s, _ := tree[name].(string); s != "" && parse(s) != nil {
			all = append(all, api.FieldError{Pointer: at + "/" + name, Detail: parse(s).Error()})
		}
	}
	x, _ := tree["xname"].(string)
	l, _ := tree["location_string"].(string)
	if len(all) == 0 && x != "" && l != "" && xname.Canonical(x) != xname.Canonical(l) {
		all = append(all, api.FieldError{Pointer: at + "/location_string", Detail: "differs from xname, which is the same field"})
	}
	return all
}

// addresses checks both names of an IPv4 address.
func addresses(at string, tree map[string]any) []api.FieldError {
	a, _ := tree["ipv4_address"].(string)
	b, _ := tree["ip_address"].(string)
	if a != "" && b != "" && a != b {
		return []api.FieldError{{Pointer: at + "/ip_address", Detail: "differs from ipv4_address, which is the same field"}}
	}
	return nil
}
