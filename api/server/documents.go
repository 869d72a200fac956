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
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/schema"
)

// documents tell about the API. They are written when somebody first asks for one: few
// processes are ever asked, and it takes a third of a second.
type documents struct {
	openapi *huma.OpenAPI
	texts   func() texts
}

func newDocuments(doc *huma.OpenAPI) documents {
	return documents{doc, sync.OnceValue(func() texts { return textsOf(doc) })}
}

// texts are the documents in writing.
type texts struct {
	json, yaml []byte
	page       []byte            // /docs: one HTML file that needs nothing from elsewhere
	schemas    map[string][]byte // by file name, "VM.json"; the kinds of the inventory too
}

//go:embed docs.html
var docsTemplate string

// textsOf writes everything down. What fails here fails in every process
// alike, so that it is a mistake in the program and a test finds it.
func textsOf(doc *huma.OpenAPI) texts {
	d := texts{schemas: map[string][]byte{}}
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
func (d documents) serve(contentType string, which func(texts) []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text := which(d.texts())
		w.Header().Set("Content-Type", contentType)
		w.Write(text)
	}
}

// servePage answers with the page for people, which may load nothing.
func (d documents) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	d.serve("text/html; charset=utf-8", func(t texts) []byte { return t.page })(w, r)
}

// serveSchema answers with the schema that the path names.
func (d documents) serveSchema(w http.ResponseWriter, r *http.Request) {
	schemas := d.texts().schemas
	text, ok := schemas[r.PathValue("file")]
	if !ok {
		writeProblem(w, r, &api.Error{Kind: api.NotFound, Op: "schema.show",
			Msg: "there is no such schema; there are " + strings.Join(slices.Sorted(maps.Keys(schemas)), ", ")})
		return
	}
	d.serve("application/schema+json", func(texts) []byte { return text })(w, r)
}
