package server

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// addTo sets the headers, as huma does on the native routes.
func (h Head) addTo(to http.Header) {
	for name, value := range map[string]string{"Etag": h.ETag, "Location": h.Location,
		"Operation-Location": h.OperationLocation, "Idempotency-Replayed": h.Replayed} {
		if value != "" {
			to.Set(name, value)
		}
	}
	if h.Index != nil {
		to.Set("Orchd-Index", strconv.FormatUint(*h.Index, 10))
	}
	if h.AgeMs != nil {
		to.Set("Orchd-Age-Ms", strconv.FormatInt(*h.AgeMs, 10))
	}
}

// headOf is the head of the answer to a write.
func headOf[T any](d Done[T]) Head {
	h := Head{}
	if d.Index != 0 {
		h.Index = new(d.Index)
	}
	if d.Replayed {
		h.Replayed = "true"
	}
	return h
}

// returnMinimal is the preference of a client that has no use for what it wrote (RFC 7240,
// section 4.2).
const returnMinimal = "return=minimal"

// prefersMinimal tells whether the client has stated it. Names of preferences are
// compared without regard to case, and each may have parameters (section 2).
func prefersMinimal(r *http.Request) bool {
	for _, field := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(field, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, value, _ := strings.Cut(preference, "=")
			if strings.EqualFold(strings.TrimSpace(name), "return") && strings.Trim(strings.TrimSpace(value), `"`) == "minimal" {
				return true
			}
		}
	}
	return false
}

// headOnly answers HEAD where to make the body would be work for nothing.
func headOnly(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	return nil
}

// viewFor opens the state that a facade's read answers from, with the head that tells of it.
func (s *Server) viewFor(r *http.Request) (View, Head, error) {
	c, err := consistencyOf(r)
	if err != nil {
		return nil, Head{}, err
	}
	v, err := s.backend.View(r.Context(), c)
	if err != nil {
		return nil, Head{}, err
	}
	return v, seen(v, c), nil
}

// bodyOf is the body of a request, which admission has read.
func bodyOf(r *http.Request) ([]byte, error) {
	body, err := wholeOf(r.Body)
	if err == nil && len(body) == 0 {
		err = malformed("the body is empty")
	}
	return body, err
}

// wholeOf is all of a body.
func wholeOf(body io.ReadCloser) ([]byte, error) {
	if held, ok := body.(heldBody); ok {
		return held.all, nil
	}
	return io.ReadAll(body)
}

// decoded is the object in a body.
func decoded[T any](r *http.Request, decode func([]byte) (T, error)) (T, error) {
	body, err := bodyOf(r)
	if err != nil {
		var none T
		return none, err
	}
	return decode(body)
}

// ifMatch is the version that a write asks for; 0 is any.
func ifMatch(r *http.Request) (uint64, error) {
	m := Matching{IfMatch: r.Header.Get("If-Match")}
	if len(m.Resolve(nil)) > 0 {
		return 0, badParameter("/header/If-Match", "expected one ETag as this API gives it")
	}
	return m.version, nil
}

// queryOf is the query of a request. Keys that nobody knows are ignored.
func queryOf(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badParameter("/query", "it is not of the form key=value&key=value, percent-encoded")
	}
	return q, nil
}

// flagIn is a parameter that is true or false, false when it is not there.
func flagIn(q url.Values, name string) (bool, error) {
	on, err := strconv.ParseBool(cmp.Or(q.Get(name), "false"))
	if err != nil {
		return false, badParameter("/query/"+name, "expected true or false")
	}
	return on, nil
}

// pagingIn is the page that a query asks for; paged is false when it asks for none.
func pagingIn(q url.Values) (p Paging, paged bool, err error) {
	p = Paging{Limit: 100, Cursor: q.Get("cursor")}
	if q.Has("limit") {
		p.Limit, err = strconv.Atoi(q.Get("limit"))
		if err != nil || p.Limit < 1 || p.Limit > 10000 {
			return p, true, badParameter("/query/limit", "expected a number from 1 to 10000")
		}
	}
	if len(p.Resolve(nil)) > 0 {
		return p, true, badParameter("/query/cursor", "expected the next of a page before")
	}
	return p, q.Has("limit") || q.Has("cursor"), nil
}
