package server

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// plain makes a route of a handler that writes its answer itself, because that is
// no JSON: it writes an answer or returns an error, never both. describe completes
// the documentation, above all with the parameters: others are refused.
func plain(describe func(huma.API, *huma.Operation), handle plainHandler) binder {
	return taking(intake{}, describe, handle)
}

// streaming is plain for a handler that reads the body itself, as it comes.
func streaming(describe func(huma.API, *huma.Operation), handle plainHandler) binder {
	return taking(intake{stream: true}, describe, handle)
}

type plainHandler = func(*Server, http.ResponseWriter, *http.Request) error

// taking is plain with another way to take requests in.
func taking(in intake, describe func(huma.API, *huma.Operation), handle plainHandler) binder {
	return func(s *Server, h huma.API, op huma.Operation) {
		describe(h, &op)
		h.OpenAPI().AddOperation(&op)
		in := in
		in.need, _ = op.Metadata["need"].(need)
		run := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			err := knownParameters(r, &op)
			if err == nil {
				err = handle(s, w, r)
			}
			if err != nil {
				writeProblem(w, r, s.failures.judge(exchangeOf(r.Context()).remote, err))
			}
		})
		s.mux.Handle(op.Method+" "+op.Path, s.admitted(in, run))
	}
}

// schemaOf is the schema of a type, as a reference.
func schemaOf[T any](h huma.API) *huma.Schema {
	return h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

// queryParameter documents one parameter of a plain route.
func queryParameter(name, doc string, schema *huma.Schema) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: schema}
}

// pathParameter documents one part of the path of a plain route.
func pathParameter(name, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "path", Description: doc, Required: true, Schema: &huma.Schema{Type: huma.TypeString}}
}

// knownParameters refuses a query parameter that the operation does not have: a
// misspelt filter must not answer with everything.
func knownParameters(r *http.Request, op *huma.Operation) error {
	for name := range r.URL.Query() {
		if !hasQuery(op, name) {
			return &api.Error{Kind: api.Malformed, Op: op.OperationID, Msg: "the request is not valid: see errors",
				Fields: []api.FieldError{{Pointer: "/query/" + escapePointer(name), Detail: "this path does not know that parameter"}}}
		}
	}
	return nil
}

func hasQuery(op *huma.Operation, name string) bool {
	for _, p := range op.Parameters {
		if p.In == "query" && p.Name == name {
			return true
		}
	}
	return false
}
