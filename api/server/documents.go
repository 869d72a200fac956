package server

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/schema"
)

// documents tell about the API. They are made once, from the routes.
type documents struct {
	openapi    *huma.OpenAPI
	json, yaml []byte
	page       []byte            // /docs: one HTML file that needs nothing from elsewhere
	schemas    map[string][]byte // by file name, "VM.json"; the kinds of the inventory too
}

//go:embed docs.html
var docsTemplate string

// newDocuments writes everything down. What fails here fails in every process
// alike, so that it is a mistake in the program and a test finds it.
func newDocuments(doc *huma.OpenAPI) documents {
	d := documents{openapi: doc, schemas: map[string][]byte{}}
	d.json = must(json.MarshalIndent(doc, "", " "))
	d.yaml = must(doc.YAML())
	schemas := doc.Components.Schemas.Map()
	for name, native := range schemas {
		d.schemas[name+".json"] = schemaFile(name, native)
	}
	for _, kind := range schema.Kinds() {
		if _, taken := d.schemas[kind+".json"]; taken {
			panic("api documents: two schemas have the name " + kind)
		}
		d.schemas[kind+".json"], _ = schema.Of(kind)
	}
	var page bytes.Buffer
	must(0, template.Must(template.New("docs").Parse(docsTemplate)).Execute(&page, pageOfDocs(doc)))
	d.page = page.Bytes()
	return d
}

// schemaFile is one schema as a document of its own, which refers to its
// neighbours in the same folder.
func schemaFile(name string, schema *huma.Schema) []byte {
	var tree map[string]any
	must(0, json.Unmarshal(must(json.Marshal(schema)), &tree))
	tree["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	tree["$id"] = name + ".json"
	text := must(json.MarshalIndent(tree, "", " "))
	return refs.ReplaceAll(text, []byte(`"$$ref": "$1.json"`))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("api documents: %v", err))
	}
	return v
}

// serve answers with a document.
func (d documents) serve(contentType string, text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Write(text)
	}
}

// servePage answers with the page for people, which may load nothing.
func (d documents) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	d.serve("text/html; charset=utf-8", d.page)(w, r)
}

// serveSchema answers with the schema that the path names.
func (d documents) serveSchema(w http.ResponseWriter, r *http.Request) {
	text, ok := d.schemas[r.PathValue("file")]
	if !ok {
		writeProblem(w, r, &api.Error{Kind: api.NotFound, Op: "schema.show",
			Msg: "there is no such schema; there are " + strings.Join(slices.Sorted(maps.Keys(d.schemas)), ", ")})
		return
	}
	d.serve("application/schema+json", text)(w, r)
}
