package schema

import (
	"bytes"
	"encoding/json"
	"errors"

	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/orchd/orchd/api"
)

// File is a schema that somebody keeps in a file, to check objects by without a server.
type File struct {
	kind   string
	schema *validator.Schema
}

// Read reads the schema file of a kind. The file must stand alone.
func Read(kind string, text []byte) (File, error) {
	doc, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return File{}, api.Errorf(api.Malformed, "schema.read", "the schema of %s is not valid JSON: %w", kind, err)
	}
	s, err := compileOne(kind, doc)
	if err != nil {
		return File{}, api.Errorf(api.Invalid, "schema.read", "the schema of %s: %w", kind, err)
	}
	return File{kind, s}, nil
}

// Published is the schema of a kind, one of Kinds, that this program itself goes by.
func Published(kind string) File { return File{kind, compiled[kind]} }

// Validate checks an object; its errors are those of DecodeNode.
func (f File) Validate(body []byte) error {
	if !json.Valid(body) {
		return malformed(notJSON)
	}
	faults, err := judge(f, "", body, 0)
	if err != nil {
		return err
	}
	return invalid(faults)
}

// Validate checks an object against the published schema of its kind, which
// must be one of Kinds. Its errors are those of DecodeNode.
func Validate(kind string, body []byte) error { return Published(kind).Validate(body) }

// compiled are the published schemas, by kind.
var compiled = compile()

func compile() map[string]*validator.Schema {
	all := map[string]*validator.Schema{}
	for _, k := range kinds {
		doc, err := validator.UnmarshalJSON(bytes.NewReader(documents[k.name]))
		if err == nil {
			all[k.name], err = compileOne(k.name, doc)
		}
		if err != nil {
			panic("schema of " + k.name + ": " + err.Error()) // a mistake in the tables
		}
	}
	return all
}

// compileOne compiles a schema that refers to nothing outside of itself.
func compileOne(kind string, doc any) (*validator.Schema, error) {
	c := validator.NewCompiler()
	c.AssertFormat()
	c.UseLoader(noLoader{})
	for name, holds := range formats {
		c.RegisterFormat(&validator.Format{Name: name, Validate: func(v any) error {
			if s, ok := v.(string); ok && !holds(s) {
				return errors.New("not " + name)
			}
			return nil
		}})
	}
	at := "orchd:/schemas/" + kind + ".json"
	if err := c.AddResource(at, doc); err != nil {
		return nil, err
	}
	return c.Compile(at)
}

// noLoader forbids schemas from elsewhere.
type noLoader struct{}

// Load refuses.
func (noLoader) Load(url string) (any, error) {
	return nil, errors.New(url + " is not loaded: a schema must stand alone")
}
