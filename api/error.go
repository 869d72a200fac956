package api

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an Error is. It crosses the wire between peers
// and decides the HTTP status; kinds are only ever added at the end.
type Kind uint8

// The kinds of failure.
const (
	Internal        Kind = iota // our fault; details go to the log only
	Invalid                     // the request can never succeed as written
	NotFound                    // no such resource
	Conflict                    // the state forbids it, or someone was faster
	Unavailable                 // no leader or no answer just now; try again
	NoCapacity                  // no host fits; Hosts says why, host by host
	Unauthenticated             // no credential, or one that is not known
	Forbidden                   // the credential is known and may not do this
	Precondition                // If-Match names another version
	Gone                        // it was there and can never be again
	TooLarge                    // the body is larger than this route takes
	TooMany                     // a limit of this caller is reached; try later
	Mismatch                    // an Idempotency-Key came back with another body
	Malformed                   // the body is no JSON object at all
	ServiceFailed               // a function of a service says that it failed, in its own words
	ServiceDeadline             // a function of a service took longer than it may
)

// Code is the stable word for a kind in problem documents and on the command line.
func (k Kind) Code() string {
	if int(k) < len(kindCodes) {
		return kindCodes[k]
	}
	return kindCodes[Internal]
}

var kindCodes = [...]string{
	"internal", "invalid", "not-found", "conflict", "unavailable", "no-capacity",
	"unauthenticated", "forbidden", "precondition", "gone", "too-large", "too-many", "key-mismatch", "malformed",
	"service-failed", "service-deadline",
}

// KindOf is the kind whose Code is code; Internal when there is none.
func KindOf(code string) Kind {
	for k, c := range kindCodes {
		if c == code {
			return Kind(k)
		}
	}
	return Internal
}

// FieldError points at one field of a request body that is wrong.
type FieldError struct {
	Pointer string `json:"pointer" doc:"JSON pointer (RFC 6901) to the field"`
	Detail  string `json:"detail" doc:"What is wrong with it; never the value itself"`
}

// Error is a failure that the caller can act on. Msg may be shown to the user,
// Err is for the log only and does not cross the wire.
type Error struct {
	Kind   Kind         `json:"kind"`
	Op     string       `json:"op,omitempty"`     // what was being done, "vm.create"
	Msg    string       `json:"msg"`              // what happened, why, what to do next
	Fields []FieldError `json:"fields,omitempty"` // Invalid: which fields
	Hosts  []HostPart   `json:"hosts,omitempty"`  // NoCapacity: why not, host by host
	Err    error        `json:"-"`
}

// Error gives the message, and the cause behind it for the log.
func (e *Error) Error() string {
	s := e.Msg
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of a kind; %w keeps a cause for errors.Is.
func Errorf(kind Kind, op, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Op: op, Msg: wrapped.Error(), Err: errors.Unwrap(wrapped)}
}

// IsKind tells whether err is an Error of that kind.
func IsKind(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
