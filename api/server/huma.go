package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/orchd/orchd/api"
)

// huma keeps these for the whole program: the shape of its errors, whether
// "VCPUS" may stand for "vcpus", whether a list may be null.
func init() {
	huma.NewError = func(status int, detail string, errs ...error) huma.StatusError {
		return humaProblem(context.Background(), status, detail, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, detail string, errs ...error) huma.StatusError {
		return humaProblem(ctx.Context(), status, detail, errs)
	}
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
}

// humaProblem is what huma found wrong with a request, as our own problem: with
// pointers, and never with the value, which may be a password.
func humaProblem(ctx context.Context, status int, detail string, errs []error) *problem {
	e := &api.Error{Kind: api.Malformed, Msg: "the request is not valid: see errors"}
	for _, err := range errs {
		var d *huma.ErrorDetail
		if !errors.As(err, &d) {
			return problemOf(ctx, err)
		}
		if strings.HasPrefix(d.Location, "body") {
			e.Kind = api.Invalid
		}
		e.Fields = append(e.Fields, fieldError(d))
	}
	if len(errs) == 0 {
		e.Msg = detail
	}
	sortFields(e.Fields)
	return problemOf(ctx, e)
}

var missing, missingEnd, _ = strings.Cut(validation.MsgExpectedRequiredProperty, "%s")

// fieldError points at a field. A missing one huma reports on the object around
// it, and names it in the message.
func fieldError(d *huma.ErrorDetail) api.FieldError {
	f := api.FieldError{Pointer: pointerTo(d.Location), Detail: d.Message}
	if rest, ok := strings.CutPrefix(d.Message, missing); ok {
		f.Pointer += "/" + escapePointer(strings.TrimSuffix(rest, missingEnd))
		f.Detail = "is required"
	}
	if detail, ok := strangers[path.Base(f.Pointer)]; ok && d.Message == validation.MsgUnexpectedProperty {
		f.Detail = detail
	}
	return f
}

// strangers are fields that people know from elsewhere, and what is to be said of them.
var strangers = map[string]string{"blockchain": json.Unmarshal([]byte(`{"blockchain":{}}`), new(api.Trigger)).Error()}

// jsonFormat is how bodies are read and written. huma reads each twice: once
// into any, to check it against the schema, then into the Go type.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		if page, ok := v.(vmPage); ok {
			return sendVMs(w, page)
		}
		return huma.DefaultJSONFormat.Marshal(w, v)
	},
	Unmarshal: func(body []byte, v any) error {
		if tree, ok := v.(*any); ok {
			parsed, _, err := parseJSON(body)
			*tree = parsed
			return err
		}
		if json.Unmarshal(body, v) != nil {
			return errors.New("a value does not fit its field") // json's own words would repeat it
		}
		return nil
	},
}

// adapter is humago on our mux, with admission before each operation.
type adapter struct {
	*Server
}

// Handle adds one operation to the mux.
func (a adapter) Handle(op *huma.Operation, h func(huma.Context)) {
	run := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(humago.NewContext(op, r, w)) })
	need, _ := op.Metadata["need"].(need)
	versions := slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.Name == "If-Match" })
	body := op.RequestBody != nil
	in := intake{need: need, body: body, optional: body && !op.RequestBody.Required, versions: versions, limit: op.MaxBodyBytes - 1}
	in.verbatim, _ = op.Metadata["verbatim"].(string)
	a.mux.Handle(op.Method+" "+op.Path, a.admitted(in, run))
}

// ServeHTTP is the bare mux.
func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// newAPI is huma without its own documents, links and schema fields.
func (s *Server) newAPI() huma.API {
	return huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "orchd", Version: s.cfg.Version, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
				Description: "One place to run virtual machines, on every peer alike. Errors are RFC 9457 problems."},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}, adapter{s})
}

// schemaName is the name of a type's schema. What is shown of a peer is the kind Peer.
func schemaName(t reflect.Type, hint string) string {
	return strings.ReplaceAll(huma.DefaultSchemaNamer(t, hint), "PeerView", "Peer")
}

// binder adds one route's operation to huma.
type binder func(s *Server, h huma.API, op huma.Operation)

// on makes a route of a handler: what it takes and gives are the documentation
// and the validation of the route.
func on[I, O any](handle func(*Server, context.Context, *I) (*O, error)) binder {
	return func(s *Server, h huma.API, op huma.Operation) {
		huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
			out, err := handle(s, ctx, in)
			if err != nil {
				return nil, problemOf(ctx, s.failures.judge(exchangeOf(ctx).remote, err))
			}
			return out, nil
		})
	}
}

// sized is a route whose body may be larger than others.
func sized(limit int64, bind binder) binder {
	return func(s *Server, h huma.API, op huma.Operation) {
		op.MaxBodyBytes = limit + 1
		bind(s, h, op)
	}
}

// verbatim is a route that hands on what lies below a pointer of its body as it stands.
func verbatim(pointer string, bind binder) binder {
	return func(s *Server, h huma.API, op huma.Operation) {
		op.Metadata["verbatim"] = pointer
		bind(s, h, op)
	}
}

// operation is a route in huma's words.
func (rt route) operation(h huma.API) huma.Operation {
	registry := h.OpenAPI().Components.Schemas
	op := huma.Operation{
		OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: rt.summary, Tags: []string{rt.tag()},
		DefaultStatus: rt.status[0], MaxBodyBytes: maxBody + 1, BodyReadTimeout: -1, // the body has been read by then
		Metadata: map[string]any{"need": rt.need},
		Responses: map[string]*huma.Response{"default": {Description: "A problem", Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: registry.Schema(reflect.TypeFor[problem](), true, "")}}}},
	}
	if !rt.need.open() {
		op.Security = []map[string][]string{{"token": {}}}
	}
	return op
}

// alsoAnswers documents the further good answers of a route, which look like its first.
func (rt route) alsoAnswers(h huma.API) {
	for _, op := range operationsAt(h.OpenAPI().Paths[rt.path]) {
		if op.Method != rt.method {
			continue
		}
		first := op.Responses[strconv.Itoa(rt.status[0])]
		for _, status := range rt.status[1:] {
			op.Responses[strconv.Itoa(status)] = &huma.Response{
				Description: http.StatusText(status), Headers: first.Headers, Content: first.Content}
		}
	}
}

// operationsAt lists what a path takes.
func operationsAt(p *huma.PathItem) []*huma.Operation {
	var found []*huma.Operation
	for _, op := range []*huma.Operation{p.Get, p.Post, p.Put, p.Patch, p.Delete} {
		if op != nil {
			found = append(found, op)
		}
	}
	return found
}
