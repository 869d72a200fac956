package server

import (
	"encoding/base64"
	"iter"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// Paging asks for one piece of a list.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"Items at most"`
	Cursor string `query:"cursor" maxLength:"512" doc:"The next of the page before"`
	after  string
}

// Resolve reads the cursor: the key of the last item of the page before.
func (p *Paging) Resolve(huma.Context) []error {
	key, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil || !showable(string(key), api.MaxKVKey) {
		return []error{errCursor}
	}
	p.after = string(key)
	return nil
}

// cursorBehind is where the page goes on whose last item has that key.
func cursorBehind(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

var errCursor = &huma.ErrorDetail{Location: "query.cursor", Message: "expected the next of a page before"}

// pageOf takes one page of what keep wants from rows, which begin after the cursor.
func pageOf[T any](p Paging, rows iter.Seq[T], key func(T) string, keep func(T) bool) api.Page[T] {
	page := api.Page[T]{Items: []T{}}
	for row := range rows {
		if !keep(row) {
			continue
		}
		if len(page.Items) == p.Limit {
			page.Next = cursorBehind(key(page.Items[p.Limit-1]))
			break
		}
		page.Items = append(roomy(page.Items, p.Limit), row)
	}
	return page
}

// roomy makes room for more of a page where there is none. append would add a quarter at a
// time, and a page of 10,000 be copied five times over, which costs more in what the collector
// has to do than all else.
func roomy[T any](items []T, limit int) []T {
	const first, times = 100, 4
	if len(items) < cap(items) {
		return items
	}
	return slices.Grow(items, min(max(first, (times-1)*len(items)), limit-len(items)))
}

// filled is a list that is an array in JSON, also when there is nothing in it.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// ListInput is a list without filters.
type ListInput struct {
	Freshness
	Paging
}

// maxRef bounds what can name an object: an id, a name, a key.
const maxRef = 128

// findable tells whether ref could name anything. What could not is answered
// with 404 before anybody looks.
func findable(ref string) bool {
	return ref != "" && showable(ref, maxRef) && !strings.ContainsAny(ref, "/ ")
}
