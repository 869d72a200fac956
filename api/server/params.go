package server

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// maxWait bounds how long a request may wait for something to happen.
const maxWait = 10 * time.Minute

// The parts that inputs and answers of handlers are made of. Their names are
// exported because huma finds embedded structs by reflection.

// Freshness is the promise that a read asks for.
type Freshness struct {
	Consistency api.Consistency `query:"consistency" enum:"linearizable,local" default:"linearizable" doc:"linearizable: every write acknowledged before is in it; local: what this peer has, and its age in Orchd-Age-Ms"`
}

// Keyed is a write that can be repeated safely. Admission reads the header; it stands here to be documented.
type Keyed struct {
	Key string `header:"Idempotency-Key" doc:"Up to 128 printable ASCII characters: the same key takes effect once, for 24 hours"`
}

// Waiting is a request that may wait for what it began.
type Waiting struct {
	Wait string `query:"wait" doc:"How long to wait for the end, as 30s or 5m, at most 10m" example:"30s"`
	time time.Duration
}

// Resolve reads the duration before the handler runs.
func (p *Waiting) Resolve(huma.Context) []error {
	if p.Wait == "" {
		return nil
	}
	d, err := time.ParseDuration(p.Wait)
	if err != nil || d < 0 || d > maxWait {
		return []error{&huma.ErrorDetail{Location: "query.wait", Message: "expected a duration from 0s to 10m, as 30s"}}
	}
	p.time = d
	return nil
}

// or is the time to wait, d when the caller did not say.
func (p *Waiting) or(d time.Duration) time.Duration {
	if p.Wait == "" {
		return d
	}
	return p.time
}

// Matching is a write that may ask for one version of what it changes.
type Matching struct {
	IfMatch string `header:"If-Match" doc:"ETag of the version to change; 412 when it is another by now"`
	version uint64
}

// Resolve reads the version; 0 is any.
func (p *Matching) Resolve(huma.Context) []error {
	if p.IfMatch == "" || p.IfMatch == "*" {
		return nil
	}
	inner, ok := strings.CutPrefix(p.IfMatch, `"`)
	inner, ok2 := strings.CutSuffix(inner, `"`)
	v, err := strconv.ParseUint(inner, 10, 64)
	if !ok || !ok2 || err != nil || v == 0 {
		return []error{&huma.ErrorDetail{Location: "header.If-Match", Message: "expected one ETag as this API gives it"}}
	}
	p.version = v
	return nil
}

// Head is what answers carry beside their body.
type Head struct {
	ETag              string  `header:"ETag" doc:"Version of the object, for If-Match"`
	Location          string  `header:"Location" doc:"Where the new object is"`
	OperationLocation string  `header:"Operation-Location" doc:"Where to follow the work that was begun"`
	Replayed          string  `header:"Idempotency-Replayed" doc:"true: an earlier request with this Idempotency-Key did it"`
	Index             *uint64 `header:"Orchd-Index" doc:"Log index of the state that this shows"`
	AgeMs             *int64  `header:"Orchd-Age-Ms" doc:"Of a local read: milliseconds since this peer knew itself up to date"`
}

// Reply is an answer with a body.
type Reply[T any] struct {
	Status int
	Head
	Body T
}

// Nothing is an answer without one.
type Nothing struct{}

// seen is the head of an answer read from v.
func seen(v View, c api.Consistency) Head {
	h := Head{Index: new(v.Index())}
	if c == api.Local {
		h.AgeMs = new(v.AgeMs())
	}
	return h
}

func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// etagAfter is the ETag that a write answers with: of what the write made of the object,
// also where the answer shows what others have made of it since. An If-Match with it
// then gets a 412, and overwrites nothing.
func etagAfter[T any](done Done[T], shown uint64) string { return etag(cmp.Or(done.Version, shown)) }
