package server

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// refs finds references in an indented document.
var refs = regexp.MustCompile(`"\$ref": "#/components/schemas/([^"]+)"`)

// docsPage is what docs.html shows.
type docsPage struct {
	Title, Version, Description string
	Tags                        []docsTag
	Schemas                     []docsSchema
	Codes                       []docsCode
}

type docsTag struct {
	Name       string
	Operations []docsOperation
}

type docsOperation struct {
	Method, Path, ID, Summary, Body string
	Open                            bool
	Params                          []*huma.Param
	Answers                         []docsAnswer
}

type docsAnswer struct{ Status, Meaning, Schema string }

type docsSchema struct {
	Name   string
	Fields []docsField
}

type docsField struct {
	Name, Type, Ref, Doc string
	Required             bool
}

type docsCode struct {
	Code   string
	Status int
	Title  string
}

// pageOfDocs arranges the OpenAPI document for reading.
func pageOfDocs(doc *huma.OpenAPI) docsPage {
	page := docsPage{Title: doc.Info.Title, Version: doc.Info.Version, Description: doc.Info.Description}
	for _, rt := range routes {
		if n := len(page.Tags); n == 0 || page.Tags[n-1].Name != rt.tag() {
			page.Tags = append(page.Tags, docsTag{Name: rt.tag()})
		}
		for _, op := range operationsAt(doc.Paths[rt.path]) {
			if op.Method == rt.method {
				tag := &page.Tags[len(page.Tags)-1]
				tag.Operations = append(tag.Operations, docsOf(op))
			}
		}
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		page.Schemas = append(page.Schemas, docsSchema{name, fieldsOf(schemas[name])})
	}
	for kind := range statusOf {
		page.Codes = append(page.Codes, docsCode{kind.Code(), statusOf[kind], http.StatusText(statusOf[kind])})
	}
	for _, e := range []*httpError{errMethod, errUnsupported, errRange, errUpgrade} {
		page.Codes = append(page.Codes, docsCode{e.code, e.status, http.StatusText(e.status)})
	}
	slices.SortFunc(page.Codes, func(a, b docsCode) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), strings.Compare(a.Code, b.Code))
	})
	return page
}

func docsOf(op *huma.Operation) docsOperation {
	d := docsOperation{Method: op.Method, Path: op.Path, ID: op.OperationID, Summary: op.Summary,
		Open: len(op.Security) == 0, Params: op.Parameters}
	if op.RequestBody != nil {
		for _, media := range op.RequestBody.Content {
			d.Body, _ = typeOf(media.Schema)
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		a := docsAnswer{Status: status, Meaning: r.Description}
		for _, media := range r.Content {
			a.Schema, _ = typeOf(media.Schema)
		}
		d.Answers = append(d.Answers, a)
	}
	return d
}

func fieldsOf(s *huma.Schema) []docsField {
	var fields []docsField
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		f := docsField{Name: name, Doc: p.Description, Required: slices.Contains(s.Required, name)}
		f.Type, f.Ref = typeOf(p)
		fields = append(fields, f)
	}
	return fields
}

// typeOf says in words what a schema takes, and which schema that refers to.
func typeOf(s *huma.Schema) (words, ref string) {
	if s.Ref != "" {
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		return name, name
	}
	switch s.Type {
	case huma.TypeArray:
		inner, ref := typeOf(s.Items)
		return "list of " + inner, ref
	case huma.TypeObject:
		if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
			inner, ref := typeOf(of)
			return "map of " + inner, ref
		}
	}
	words = cmp.Or(s.Type, "any")
	if s.Format != "" {
		words += " (" + s.Format + ")"
	}
	if s.Minimum != nil && s.Maximum != nil {
		words += ", " + number(*s.Minimum) + " to " + number(*s.Maximum)
	}
	if s.Pattern != "" {
		words += ", " + s.Pattern
	}
	if len(s.Enum) > 0 {
		words += " of " + strings.Trim(fmt.Sprint(s.Enum), "[]")
	}
	return words, ""
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
