package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/orchd/orchd/api"
)

// statusOf is the one place where a kind of failure becomes an HTTP status.
var statusOf = map[api.Kind]int{
	api.Internal:        http.StatusInternalServerError,
	api.Invalid:         http.StatusUnprocessableEntity,
	api.NotFound:        http.StatusNotFound,
	api.Conflict:        http.StatusConflict,
	api.Unavailable:     http.StatusServiceUnavailable,
	api.NoCapacity:      http.StatusInsufficientStorage,
	api.Unauthenticated: http.StatusUnauthorized,
	api.Forbidden:       http.StatusForbidden,
	api.Precondition:    http.StatusPreconditionFailed,
	api.Gone:            http.StatusGone,
	api.TooLarge:        http.StatusRequestEntityTooLarge,
	api.TooMany:         http.StatusTooManyRequests,
	api.Mismatch:        http.StatusUnprocessableEntity,
	api.Malformed:       http.StatusBadRequest,
	api.ServiceFailed:   http.StatusUnprocessableEntity,
	api.ServiceDeadline: http.StatusGatewayTimeout,
}

// headersOf are the headers that go with a kind of failure.
var headersOf = map[api.Kind]http.Header{
	api.Unavailable:     {"Retry-After": {"1"}},
	api.TooMany:         {"Retry-After": {"2"}},
	api.Unauthenticated: {"Www-Authenticate": {`Bearer realm="orchd"`}},
}

// statusClientGone is what the request log says of a client that left before
// its answer; nobody is there to see it.
const statusClientGone = 499

// Failures that only HTTP knows and that therefore have no api.Kind.
var (
	errMethod      = &httpError{http.StatusMethodNotAllowed, "method-not-allowed", "this path does not take that method; the Allow header lists those it takes"}
	errUnsupported = &httpError{http.StatusNotImplemented, "not-implemented", "draining a peer is not there yet: cordon it, then stop or delete its virtual machines"}
)

// httpError is a failure with a status of its own.
type httpError struct {
	status       int
	code, detail string
}

// Error gives the detail.
func (e *httpError) Error() string { return e.detail }

// otherStatus is a failure of a known kind that a surface answers with a status of
// its own: its clients know no other.
type otherStatus struct {
	err    *api.Error
	status int
}

// Error gives the failure's own text.
func (e *otherStatus) Error() string { return e.err.Error() }

// Unwrap gives the failure itself.
func (e *otherStatus) Unwrap() error { return e.err }

// problem is an api.Problem on its way out; it is what huma takes for an error.
type problem struct {
	api.Problem
	header http.Header
}

// Error gives the detail.
func (p *problem) Error() string { return p.Detail }

// GetStatus tells huma the HTTP status.
func (p *problem) GetStatus() int { return p.Status }

// GetHeaders tells huma which headers go with it.
func (p *problem) GetHeaders() http.Header { return p.header }

// ContentType turns JSON into RFC 9457's media type.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// problemOf turns any error into what the caller is shown. The error itself
// goes to the request log, and only there.
func problemOf(ctx context.Context, err error) *problem {
	x := exchangeOf(ctx)
	x.err = err
	p := describe(ctx, err)
	p.Type = "/docs#" + p.Code
	p.Title = http.StatusText(p.Status)
	p.RequestID = x.id
	return p
}

func describe(ctx context.Context, err error) *problem {
	var known *api.Error
	var plain *httpError
	var other *otherStatus
	switch {
	case errors.As(err, &other):
		p := describe(ctx, other.err)
		p.Status = other.status
		return p
	case errors.As(err, &known) && known.Kind != api.Internal && statusOf[known.Kind] != 0:
		return &problem{header: headersOf[known.Kind], Problem: api.Problem{
			Status: statusOf[known.Kind], Code: known.Kind.Code(), Detail: known.Msg, Errors: known.Fields, Hosts: known.Hosts}}
	case errors.As(err, &plain):
		return &problem{Problem: api.Problem{Status: plain.status, Code: plain.code, Detail: plain.detail}}
	case ctx.Err() != nil:
		return &problem{Problem: api.Problem{Status: statusClientGone, Code: api.Unavailable.Code(), Detail: "the client went away"}}
	case errors.Is(err, context.DeadlineExceeded):
		return describe(ctx, &api.Error{Kind: api.Unavailable, Msg: "no answer in time; try again"})
	}
	return &problem{Problem: api.Problem{Status: statusOf[api.Internal], Code: api.Internal.Code(),
		Detail: "internal error; the peer's log tells more under the request id"}}
}

// writeProblem answers with an error, outside of huma.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(r.Context(), err)
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	if isStateManager(r.URL.Path) {
		json.NewEncoder(w).Encode(p.asStateManager())
		return
	}
	json.NewEncoder(w).Encode(p)
}

// invalid is the failure of a body whose fields are wrong.
func invalid(op string, fields []api.FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	sortFields(fields)
	return &api.Error{Kind: api.Invalid, Op: op, Msg: "the request is not valid: see errors", Fields: fields}
}

// badParameter is the failure of a query parameter or header.
func badParameter(pointer, detail string) error {
	return &api.Error{Kind: api.Malformed, Msg: "a parameter is not valid: see errors",
		Fields: []api.FieldError{{Pointer: pointer, Detail: detail}}}
}
